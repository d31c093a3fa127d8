"""A softphone made of pjsua2. Commands come as JSON lines on standard input; answers and events
leave as JSON lines that begin with `@`.

Usage: pjsua2_phone.py SETTINGS, a JSON file: user, password, server, transport, sip_port,
media_port, tone, log, ca, mwi, publish.
"""

import json
import queue
import sys
import threading

import pjsua2 as pj


def tell(event, **more):
    print("@" + json.dumps({"event": event, **more}), flush=True)


class Call(pj.Call):
    """A call; it lives in the phone's table until it is over."""

    def __init__(self, phone, call_id=pj.PJSUA_INVALID_ID):
        super().__init__(phone.account, call_id)
        self.phone = phone

    def onCallState(self, prm):
        info = self.getInfo()
        # A call that a transfer made is known to us only now.
        self.phone.calls[info.id] = self
        over = info.state == pj.PJSIP_INV_STATE_DISCONNECTED
        tell("call", call=info.id, state=info.stateText, code=info.lastStatusCode,
             reason=info.lastReason, peer=info.remoteUri)
        if over:
            self.phone.ended.append(self.phone.calls.pop(info.id, None))

    def onCallMediaState(self, prm):
        info = self.getInfo()
        for media in info.media:
            active = media.status in (pj.PJSUA_CALL_MEDIA_ACTIVE, pj.PJSUA_CALL_MEDIA_REMOTE_HOLD)
            if media.type == pj.PJMEDIA_TYPE_AUDIO and active:
                self.phone.player.startTransmit(self.getAudioMedia(media.index))
            tell("media", call=info.id, status=media.status)

    def onCallTransferRequest(self, prm):
        tell("transfer_request", call=self.getInfo().id, to=prm.dstUri)
        prm.newCall = Call(self.phone)
        self.phone.transferred.append(prm.newCall)

    def onCallTransferStatus(self, prm):
        tell("transfer_status", code=prm.statusCode, reason=prm.reason, final=prm.finalNotify)

    def onCallReplaceRequest(self, prm):
        tell("replace_request", call=self.getInfo().id)
        prm.newCall = Call(self.phone)
        self.phone.transferred.append(prm.newCall)

    def onCallReplaced(self, prm):
        tell("replaced", call=self.getInfo().id, by=prm.newCallId)

    def onDtmfDigit(self, prm):
        tell("digit", digit=prm.digit)

    def onInstantMessage(self, prm):
        tell("message", sender=prm.fromUri, type=prm.contentType, body=prm.msgBody)


class Account(pj.Account):
    """The account of the phone."""

    def __init__(self, phone):
        super().__init__()
        self.phone = phone

    def onRegState(self, prm):
        info = self.getInfo()
        tell("registration", active=info.regIsActive, code=prm.code, reason=prm.reason)

    def onIncomingCall(self, prm):
        call = Call(self.phone, prm.callId)
        self.phone.calls[prm.callId] = call
        tell("incoming", call=prm.callId, peer=call.getInfo().remoteUri, message=prm.rdata.wholeMsg)

    def onInstantMessage(self, prm):
        tell("message", sender=prm.fromUri, type=prm.contentType, body=prm.msgBody)

    def onInstantMessageStatus(self, prm):
        tell("message_status", to=prm.toUri, code=prm.code, reason=prm.reason)

    def onTypingIndication(self, prm):
        tell("typing", sender=prm.fromUri, typing=prm.isTyping)

    def onMwiInfo(self, prm):
        tell("mwi", state=prm.state, message=prm.rdata.wholeMsg)


class Buddy(pj.Buddy):
    """Somebody whose presence is watched."""

    def onBuddyState(self):
        info = self.getInfo()
        tell("presence", uri=info.uri, subscription=info.subStateName,
             status=info.presStatus.status, text=info.presStatus.statusText,
             note=info.presStatus.note, activity=info.presStatus.activity)


class Phone:
    """One endpoint with one account."""

    def __init__(self, settings):
        self.settings = settings
        self.calls = {}
        self.transferred = []
        # Objects of calls that are over: pjsua2 may still be inside one of them.
        self.ended = []
        self.buddies = []
        self.running = True
        self.endpoint = pj.Endpoint()
        self.endpoint.libCreate()
        self.endpoint.libInit(self.configuration())
        self.listen()
        self.endpoint.libStart()
        self.endpoint.audDevManager().setNullDev()
        for codec in self.endpoint.codecEnum2():
            self.endpoint.codecSetPriority(codec.codecId, 255 if codec.codecId.startswith("PCMU") else 0)
        self.player = pj.AudioMediaPlayer()
        self.player.createPlayer(settings["tone"])
        self.account = Account(self)
        self.account.create(self.account_configuration())

    def configuration(self):
        config = pj.EpConfig()
        config.uaConfig.threadCnt = 0
        config.uaConfig.mainThreadOnly = True
        config.logConfig.filename = self.settings["log"]
        config.logConfig.level = 5
        config.logConfig.consoleLevel = 0
        config.medConfig.clockRate = 8000
        config.medConfig.sndClockRate = 8000
        config.medConfig.noVad = True
        return config

    def listen(self):
        config = pj.TransportConfig()
        config.port = self.settings["sip_port"]
        config.boundAddress = "127.0.0.1"
        config.publicAddress = "127.0.0.1"
        kinds = {"udp": pj.PJSIP_TRANSPORT_UDP, "tcp": pj.PJSIP_TRANSPORT_TCP, "tls": pj.PJSIP_TRANSPORT_TLS}
        if self.settings["transport"] == "tls":
            config.tlsConfig.CaListFile = self.settings["ca"]
            config.tlsConfig.verifyServer = True
        self.endpoint.transportCreate(kinds[self.settings["transport"]], config)

    def uri(self, user):
        return f"sip:{user}@{self.settings['server']};transport={self.settings['transport']}"

    def account_configuration(self):
        config = pj.AccountConfig()
        user = self.settings["user"]
        config.idUri = f"sip:{user}@{self.settings['server']}"
        config.regConfig.registrarUri = self.uri(user).replace(f"{user}@", "")
        config.regConfig.timeoutSec = 120
        credentials = pj.AuthCredInfo("digest", "*", user, 0, self.settings["password"])
        config.sipConfig.authCreds.append(credentials)
        config.sipConfig.proxies.append(self.uri(user).replace(f"{user}@", "") + ";lr")
        config.mediaConfig.transportConfig.port = self.settings["media_port"]
        config.mediaConfig.transportConfig.portRange = 8
        config.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
        config.mwiConfig.enabled = self.settings["mwi"]
        config.presConfig.publishEnabled = self.settings["publish"]
        # One flow for everything, as a phone behind a NAT has it.
        config.natConfig.iceEnabled = False
        config.natConfig.sdpNatRewriteUse = 0
        return config

    def call(self, command):
        """The call that a command names, or the only one."""
        if "call" in command:
            return self.calls[command["call"]]
        (call,) = self.calls.values()
        return call

    def do_call(self, command):
        call = Call(self)
        call.makeCall(self.uri(command["to"]), self.options())
        identifier = call.getInfo().id
        self.calls[identifier] = call
        return {"call": identifier}

    def do_answer(self, command):
        options = self.options()
        options.statusCode = command.get("code", 200)
        self.call(command).answer(options)

    def do_hangup(self, command):
        self.call(command).hangup(pj.CallOpParam())

    def do_hold(self, command):
        self.call(command).setHold(pj.CallOpParam())

    def do_resume(self, command):
        options = self.options()
        options.opt.flag = pj.PJSUA_CALL_UNHOLD
        self.call(command).reinvite(options)

    def do_transfer(self, command):
        self.call(command).xfer(self.uri(command["to"]), pj.CallOpParam())

    def do_transfer_to_call(self, command):
        other = self.calls[command["other"]]
        self.call(command).xferReplaces(other, pj.CallOpParam())

    def do_digits(self, command):
        self.call(command).dialDtmf(command["digits"])

    def do_message(self, command):
        config = pj.BuddyConfig()
        config.uri = self.uri(command["to"])
        buddy = pj.Buddy()
        buddy.create(self.account, config)
        self.buddies.append(buddy)
        message = pj.SendInstantMessageParam()
        message.content = command["body"]
        buddy.sendInstantMessage(message)

    def do_typing(self, command):
        typing = pj.SendTypingIndicationParam()
        typing.isTyping = True
        self.buddies[-1].sendTypingIndication(typing)

    def do_watch(self, command):
        config = pj.BuddyConfig()
        config.uri = self.uri(command["who"])
        config.subscribe = True
        buddy = Buddy()
        buddy.create(self.account, config)
        self.buddies.append(buddy)

    def do_presence(self, command):
        status = pj.PresenceStatus()
        status.status = pj.PJSUA_BUDDY_STATUS_ONLINE if command["online"] else pj.PJSUA_BUDDY_STATUS_OFFLINE
        status.note = command.get("note", "")
        self.account.setOnlineStatus(status)

    def do_register(self, command):
        self.account.setRegistration(command["on"])

    def do_quit(self, command):
        self.running = False

    def options(self):
        options = pj.CallOpParam(True)
        options.opt.audioCount = 1
        options.opt.videoCount = 0
        return options

    def obey(self, line):
        command = json.loads(line)
        try:
            answer = getattr(self, "do_" + command["do"])(command) or {}
        except pj.Error as error:
            answer = {"error": error.info()}
        except Exception as error:  # Whatever it is, the test shall see it.
            answer = {"error": repr(error)}
        print("@" + json.dumps({"reply": command["n"], **answer}), flush=True)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        phone = Phone(json.load(file))
    commands = queue.SimpleQueue()

    def listen():
        for line in sys.stdin:
            commands.put(line)
        commands.put(None)

    threading.Thread(target=listen, daemon=True).start()
    tell("ready")
    while phone.running:
        phone.endpoint.libHandleEvents(10)
        phone.ended.clear()
        while not commands.empty():
            line = commands.get()
            if line is None:
                return
            phone.obey(line)
    phone.endpoint.libDestroy()


if __name__ == "__main__":
    main()
    # Its destructors wait for threads of the library that are gone.
    sys.stdout.flush()
    import os

    os._exit(0)
