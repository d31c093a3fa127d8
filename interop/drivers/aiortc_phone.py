"""A phone made of aiortc, with as much of SIP over UDP as a call needs. Commands come as JSON lines on
standard input; answers and events leave as JSON lines that begin with `@`.

Usage: aiortc_phone.py SETTINGS, a JSON file: user, password, server (host and port), hertz
"""

import asyncio
import fractions
import hashlib
import json
import math
import re
import secrets
import sys

import aioice.ice
import numpy
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from av import AudioFrame

# It leaves out loopback, which is all that a test may use.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]

RATE = 48000
STEP = RATE // 50


def tell(**more):
    print("@" + json.dumps(more), flush=True)


class Tone(MediaStreamTrack):
    """The sound that we send."""

    kind = "audio"

    def __init__(self, hertz):
        super().__init__()
        self.hertz = hertz
        self.at = 0
        self.begun = None

    async def recv(self):
        loop = asyncio.get_event_loop()
        if self.begun is None:
            self.begun = loop.time()
        await asyncio.sleep(max(0, self.begun + self.at / RATE - loop.time()))
        angles = 2 * math.pi * self.hertz / RATE * (self.at + numpy.arange(STEP))
        samples = (8000 * numpy.sin(angles)).astype(numpy.int16)
        frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = RATE
        frame.pts = self.at
        frame.time_base = fractions.Fraction(1, RATE)
        self.at += STEP
        return frame


class Ear:
    """The sound that we hear: its last second, mono."""

    def __init__(self):
        self.samples = numpy.zeros(0)
        self.rate = RATE
        self.total = 0

    async def listen(self, track):
        while True:
            try:
                frame = await track.recv()
            except Exception:
                return
            samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0]
            self.rate = frame.sample_rate
            self.total += len(samples)
            self.samples = numpy.concatenate([self.samples, samples])[-self.rate:]

    def moment(self):
        """The loudest frequency, and how much of the power is within 40 Hz of it."""
        if len(self.samples) < self.rate:
            return {"hertz": 0, "purity": 0, "seconds": self.total / self.rate}
        power = numpy.abs(numpy.fft.rfft(self.samples * numpy.hanning(len(self.samples)))) ** 2
        peak = int(numpy.argmax(power[100:4000])) + 100
        near = power[peak - 40:peak + 41].sum()
        whole = power[100:4000].sum()
        loud = math.sqrt(float(numpy.mean(self.samples.astype(float) ** 2)))
        return {
            "hertz": peak,
            "purity": float(near / whole) if whole > 0 else 0,
            "loud": loud,
            "seconds": self.total / self.rate,
        }


class Message:
    def __init__(self, data):
        head, _, self.body = data.decode().partition("\r\n\r\n")
        self.first, *lines = head.split("\r\n")
        self.headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines]

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def one(self, name):
        return (self.all(name) or [""])[0]

    @property
    def status(self):
        return int(self.first.split()[1]) if self.first.startswith("SIP/") else None


class Phone(asyncio.DatagramProtocol):
    def __init__(self, settings):
        self.settings = settings
        self.host, self.port = settings["server"]
        self.replies = asyncio.Queue()
        self.connection = None
        self.ear = Ear()
        self.dialog = None
        self.invite = None

    def connection_made(self, transport):
        self.transport = transport
        self.address = "%s:%d" % transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data, source):
        if data.strip():
            message = Message(data)
            if message.status:
                self.replies.put_nowait(message)
            else:
                asyncio.ensure_future(self.request(message))

    def uri(self, user):
        return "sip:%s@%s:%d" % (user, self.host, self.port)

    def send(self, text):
        self.transport.sendto(text.encode(), (self.host, self.port))

    def write(self, method, target, headers, body=""):
        lines = ["%s %s SIP/2.0" % (method, target)]
        lines.append("Via: SIP/2.0/UDP %s;branch=z9hG4bK%s;rport" % (self.address, secrets.token_hex(8)))
        lines += ["Max-Forwards: 70", "Contact: <sip:%s@%s>" % (self.settings["user"], self.address)]
        lines += headers
        if body:
            lines.append("Content-Type: application/sdp")
        lines.append("Content-Length: %d" % len(body.encode()))
        self.send("\r\n".join(lines) + "\r\n\r\n" + body)

    async def final(self, method):
        """The final response to our request of this method."""
        while True:
            message = await asyncio.wait_for(self.replies.get(), 30)
            if message.one("CSeq").endswith(method) and message.status >= 200:
                return message

    def proof(self, challenge, method, target):
        fields = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge))
        digest = lambda text: hashlib.md5(text.encode()).hexdigest()
        user, password = self.settings["user"], self.settings["password"]
        cnonce = secrets.token_hex(4)
        secret = digest("%s:%s:%s" % (user, fields["realm"], password))
        order = digest("%s:%s" % (method, target))
        response = digest(":".join([secret, fields["nonce"], "00000001", cnonce, "auth", order]))
        return (
            'Digest username="%s", realm="%s", nonce="%s", uri="%s", qop=auth, nc=00000001, '
            'cnonce="%s", response="%s", algorithm=MD5'
        ) % (user, fields["realm"], fields["nonce"], target, cnonce, response)

    async def ask(self, method, target, to, body=""):
        """Sends a request, with a proof if that is wanted; the final response to it, and its headers."""
        call, tag = secrets.token_hex(8), secrets.token_hex(4)
        extra = []
        for number in (1, 2):
            headers = [
                "From: <%s>;tag=%s" % (self.uri(self.settings["user"]), tag),
                "To: <%s>" % to,
                "Call-ID: %s" % call,
                "CSeq: %d %s" % (number, method),
            ]
            self.write(method, target, headers + extra, body)
            message = await self.final(method)
            if method == "INVITE":
                self.acknowledge(message, target)
            challenge = message.one("WWW-Authenticate") or message.one("Proxy-Authenticate")
            if message.status not in (401, 407):
                return message
            name = "Authorization" if message.status == 401 else "Proxy-Authorization"
            extra = ["%s: %s" % (name, self.proof(challenge, method, target))]
            if method == "REGISTER":
                extra.append("Expires: 120")
        raise RuntimeError(message.first)

    def acknowledge(self, message, target):
        number = message.one("CSeq").split()[0]
        contact = re.search(r"<([^>]+)>", message.one("Contact"))
        target = contact.group(1) if contact and message.status < 300 else target
        headers = ["From: " + message.one("From"), "To: " + message.one("To")]
        headers += ["Call-ID: " + message.one("Call-ID"), "CSeq: %s ACK" % number]
        if message.status < 300:
            self.write("ACK", target, headers)
            self.dialog = (target, headers[:3], int(number))
        else:
            # RFC 3261 17.1.1.3: hop by hop, in the transaction of the INVITE.
            lines = ["ACK %s SIP/2.0" % target, "Via: " + message.one("Via"), "Max-Forwards: 70"]
            self.send("\r\n".join(lines + headers) + "\r\nContent-Length: 0\r\n\r\n")

    def reply(self, request, status, body=""):
        lines = ["SIP/2.0 " + status] + ["Via: " + via for via in request.all("Via")]
        lines += ["Record-Route: " + route for route in request.all("Record-Route")]
        to = request.one("To")
        to = to if ";tag=" in to else to + ";tag=aiortc"
        lines += ["From: " + request.one("From"), "To: " + to, "Call-ID: " + request.one("Call-ID")]
        lines += ["CSeq: " + request.one("CSeq")]
        lines += ["Contact: <sip:%s@%s>" % (self.settings["user"], self.address)]
        if body:
            lines.append("Content-Type: application/sdp")
        lines.append("Content-Length: %d" % len(body.encode()))
        self.send("\r\n".join(lines) + "\r\n\r\n" + body)

    async def request(self, message):
        method = message.first.split()[0]
        if method == "INVITE" and (self.invite is None or self.connection is None):
            if self.invite is None:
                self.invite = message
                self.reply(message, "180 Ringing")
                tell(event="incoming", sdp=message.body)
        elif method == "BYE":
            self.reply(message, "200 OK")
            await self.close()
            tell(event="ended")
        elif method not in ("ACK", "INVITE"):
            self.reply(message, "200 OK")

    def connect(self):
        self.ear = Ear()
        self.connection = RTCPeerConnection()
        self.connection.addTrack(Tone(self.settings["hertz"]))
        self.connection.on("track", lambda track: asyncio.ensure_future(self.ear.listen(track)))
        connection = self.connection
        state = lambda: tell(event="connection", state=connection.connectionState)
        self.connection.on("connectionstatechange", state)

    async def close(self):
        connection, self.connection, self.dialog, self.invite = self.connection, None, None, None
        if connection:
            await connection.close()

    async def register(self, command):
        target = "sip:%s:%d" % (self.host, self.port)
        message = await self.ask("REGISTER", target, self.uri(self.settings["user"]))
        return {"status": message.status}

    async def call(self, command):
        self.connect()
        await self.connection.setLocalDescription(await self.connection.createOffer())
        target = self.uri(command["to"])
        message = await self.ask("INVITE", target, target, self.connection.localDescription.sdp)
        if message.status >= 300:
            raise RuntimeError(message.first)
        answer = RTCSessionDescription(message.body, "answer")
        await self.connection.setRemoteDescription(answer)
        return {"sdp": message.body}

    async def answer(self, command):
        self.connect()
        offer = RTCSessionDescription(self.invite.body, "offer")
        await self.connection.setRemoteDescription(offer)
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        self.reply(self.invite, "200 OK", self.connection.localDescription.sdp)
        return {}

    async def hangup(self, command):
        target, headers, number = self.dialog
        self.write("BYE", target, headers + ["CSeq: %d BYE" % (number + 1)])
        message = await self.final("BYE")
        await self.close()
        return {"status": message.status}

    async def hear(self, command):
        return self.ear.moment()


async def main():
    with open(sys.argv[1]) as file:
        settings = json.load(file)
    loop = asyncio.get_event_loop()
    make = lambda: Phone(settings)
    _, phone = await loop.create_datagram_endpoint(make, local_addr=("127.0.0.1", 0))
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tell(event="ready")
    while line := await reader.readline():
        command = json.loads(line)
        answer = {"reply": command["n"]}
        try:
            answer.update(await getattr(phone, command["do"])(command))
        except Exception as error:
            answer["error"] = "%s: %s" % (type(error).__name__, error)
        print("@" + json.dumps(answer), flush=True)


asyncio.run(main())
