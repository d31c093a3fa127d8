"""An ICE agent made of aioice. Commands come as JSON lines on standard input; answers and events leave
as JSON lines that begin with `@`.

Usage: aioice_agent.py controlling|controlled
"""

import asyncio
import json
import sys

import aioice
import aioice.ice

# It leaves out loopback, which is all that a test may use.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


def tell(**more):
    print("@" + json.dumps(more), flush=True)


class Agent:
    def __init__(self, controlling):
        self.connection = aioice.Connection(ice_controlling=controlling)

    async def gather(self, command):
        await self.connection.gather_candidates()
        return {
            "ufrag": self.connection.local_username,
            "password": self.connection.local_password,
            "candidates": [c.to_sdp() for c in self.connection.local_candidates],
        }

    async def connect(self, command):
        connection = self.connection
        connection.remote_username = command["ufrag"]
        connection.remote_password = command["password"]
        connection.remote_is_lite = command["lite"]
        for line in command["candidates"]:
            await connection.add_remote_candidate(aioice.Candidate.from_sdp(line))
        await connection.add_remote_candidate(None)
        await connection.connect()
        asyncio.ensure_future(self.listen())
        return {"controlling": connection.ice_controlling}

    async def send(self, command):
        await self.connection.send(command["text"].encode())
        return {}

    async def end(self, command):
        await self.connection.close()
        return {}

    async def listen(self):
        try:
            while True:
                tell(event="data", text=(await self.connection.recv()).decode())
        except ConnectionError:
            tell(event="closed")


async def main():
    agent = Agent(sys.argv[1] == "controlling")
    loop = asyncio.get_running_loop()
    tell(event="ready")
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        try:
            answer = await getattr(agent, command["do"])(command)
        except Exception as error:
            answer = {"error": repr(error)}
        tell(reply=command["n"], **answer)


asyncio.run(main())
