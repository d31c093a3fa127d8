// A phone in a browser, without the browser: JsSIP on Node. Commands come as JSON lines on standard
// input; answers and events leave as JSON lines that begin with `@`.
//
// Only the signalling is JsSIP's. The media is a peer connection of our own that offers and answers
// plain RTP at a port, and says and hears nothing.
//
// Usage: jssip_phone.mjs SETTINGS, a JSON file: user, password, domain, url, ca, from, media_port.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const settings = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const require = createRequire(`${settings.modules}/`);
const WebSocketOfNode = require('ws');

function tell(event, more = {}) {
  process.stdout.write(`@${JSON.stringify({ event, ...more })}\n`);
}

class WebSocket extends WebSocketOfNode {
  constructor(url, protocols) {
    super(url, protocols, {
      ca: settings.ca ? readFileSync(settings.ca) : undefined,
      localAddress: settings.from || undefined,
      origin: 'https://phone.example',
    });
    this.on('error', (error) => tell('socket_error', { why: String(error) }));
  }
}

class MediaStream {
  getTracks() { return []; }
  getAudioTracks() { return []; }
  getVideoTracks() { return []; }
}

// What JsSIP asks of a peer connection, with one stream of G.711 over plain RTP.
class PeerConnection {
  constructor() {
    this.signalingState = 'stable';
    this.iceGatheringState = 'complete';
    this.iceConnectionState = 'connected';
    this.connectionState = 'connected';
    this.localDescription = null;
    this.remoteDescription = null;
    this.version = 0;
    this.direction = 'sendrecv';
  }

  addEventListener() {}
  removeEventListener() {}
  addTrack() {}
  addStream() {}
  getSenders() { return []; }
  getReceivers() { return []; }
  getTransceivers() { return []; }
  close() { this.signalingState = 'closed'; }

  description() {
    this.version += 1;
    return `v=0\r\no=- 1 ${this.version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n`
      + `m=audio ${settings.media_port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=${this.direction}\r\n`;
  }

  async createOffer() { return { type: 'offer', sdp: this.description() }; }
  async createAnswer() { return { type: 'answer', sdp: this.description() }; }

  async setLocalDescription(description) {
    this.localDescription = description;
    this.signalingState = description.type === 'offer' ? 'have-local-offer' : 'stable';
  }

  async setRemoteDescription(description) {
    this.remoteDescription = description;
    this.signalingState = description.type === 'offer' ? 'have-remote-offer' : 'stable';
    tell('remote_description', { type: description.type, sdp: description.sdp });
  }
}

globalThis.window = globalThis;
globalThis.WebSocket = WebSocket;
globalThis.MediaStream = MediaStream;
globalThis.RTCPeerConnection = PeerConnection;
globalThis.RTCSessionDescription = class { constructor(init) { Object.assign(this, init); } };

const JsSIP = require('jssip');
if (settings.debug) {
  JsSIP.debug.enable('JsSIP:*');
}

const phone = new JsSIP.UA({
  uri: `sip:${settings.user}@${settings.domain}`,
  password: settings.password,
  sockets: [new JsSIP.WebSocketInterface(settings.url)],
  register_expires: 120,
  session_timers: true,
});
const mediaStream = new MediaStream();
const subscriptions = new Map();
let session = null;

phone.on('connected', () => tell('connected'));
phone.on('disconnected', (data) => tell('disconnected', { code: data.code, reason: data.reason }));
phone.on('registered', (data) => tell('registered', {
  contacts: data.response.getHeaders('Contact'),
}));
phone.on('unregistered', () => tell('unregistered'));
phone.on('registrationFailed', (data) => tell('registration_failed', { cause: data.cause }));
phone.on('newMessage', ({ originator, request, message }) => {
  if (originator === 'remote') {
    tell('message', {
      sender: request.from.uri.toString(),
      type: request.getHeader('Content-Type'),
      body: request.body,
    });
  }
});
phone.on('newRTCSession', (data) => {
  session = data.session;
  session.on('progress', (e) => tell('progress', { code: e.response ? e.response.status_code : 0 }));
  session.on('accepted', () => tell('accepted'));
  session.on('confirmed', () => tell('confirmed'));
  session.on('ended', (e) => tell('ended', { by: e.originator, cause: e.cause }));
  session.on('failed', (e) => tell('failed', {
    by: e.originator,
    cause: e.cause,
    code: e.message && e.message.status_code,
  }));
  session.on('hold', (e) => tell('hold', { by: e.originator }));
  session.on('unhold', (e) => tell('unhold', { by: e.originator }));
  session.on('newDTMF', (e) => tell('digit', { by: e.originator, digit: e.dtmf.tone }));
  session.on('refer', () => tell('refer'));
  tell(data.originator === 'remote' ? 'incoming' : 'outgoing', {
    peer: session.remote_identity.uri.toString(),
  });
});

const uri = (user) => `sip:${user}@${settings.domain}`;
const commands = {
  call: ({ to }) => {
    phone.call(uri(to), { mediaStream, mediaConstraints: { audio: true, video: false } });
  },
  answer: () => session.answer({ mediaStream }),
  refuse: ({ code }) => session.terminate({ status_code: code }),
  hangup: () => session.terminate(),
  hold: () => {
    if (!session.hold({}, () => tell('held'))) throw new Error('it can not hold now');
  },
  resume: () => {
    if (!session.unhold({}, () => tell('resumed'))) throw new Error('it can not resume now');
  },
  digit: ({ digit }) => session.sendDTMF(digit, { transportType: 'INFO' }),
  transfer: ({ to }) => {
    session.refer(uri(to), {
      eventHandlers: {
        requestSucceeded: () => tell('transfer_status', { code: 202 }),
        requestFailed: (e) => tell('transfer_status', { code: e.message ? e.message.status_code : 0 }),
        accepted: () => tell('transfer_status', { code: 200 }),
        failed: (e) => tell('transfer_status', { code: e.status_line.status_code }),
      },
    });
  },
  message: ({ to, body, type }) => {
    phone.sendMessage(uri(to), body, {
      contentType: type || 'text/plain',
      eventHandlers: {
        succeeded: (e) => tell('message_status', { code: e.response.status_code }),
        failed: (e) => tell('message_status', { code: e.response ? e.response.status_code : 0 }),
      },
    });
  },
  subscribe: ({ to, package: name, accept }) => {
    const subscription = phone.subscribe(uri(to), name, accept, { expires: 300 });
    subscription.on('active', () => tell('subscription', { to, state: 'active' }));
    subscription.on('pending', () => tell('subscription', { to, state: 'pending' }));
    subscription.on('terminated', (code, reason) => {
      tell('subscription', { to, state: 'terminated', code, reason });
    });
    subscription.on('notify', (isFinal, notify, body, type) => {
      tell('notify', { to, package: name, type, body, final: isFinal });
    });
    subscription.subscribe();
    subscriptions.set(to, subscription);
  },
  unsubscribe: ({ to }) => subscriptions.get(to).terminate(),
  unregister: () => phone.unregister(),
  quit: () => { phone.stop(); },
};

createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line);
  const answer = { reply: command.n };
  try {
    commands[command.do](command);
  } catch (error) {
    answer.error = String(error);
  }
  process.stdout.write(`@${JSON.stringify(answer)}\n`);
}).on('close', () => process.exit(0));

phone.start();
tell('ready');
