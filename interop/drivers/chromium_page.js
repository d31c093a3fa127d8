// What runs in the page of a phone in Chromium: JsSIP, sound that is made and measured by Web Audio, and
// pictures from a canvas. `JsSIP` is there already; `tell(event, more)` reaches the test.

const phone = {
  ua: null,
  session: null,
  connection: null,
  oscillator: null,
  gain: null,
  audio: new AudioContext({ sampleRate: 48000 }),
  analyser: null,
  drawing: null,
  players: [],
};

// The sound that we send: a steady tone, not so loud that a codec clips it.
function sound(hertz, loudness = 0.4) {
  const gain = phone.audio.createGain();
  phone.gain = gain;
  gain.gain.value = loudness;
  phone.oscillator = phone.audio.createOscillator();
  phone.oscillator.frequency.value = hertz;
  const way = phone.audio.createMediaStreamDestination();
  phone.oscillator.connect(gain).connect(way);
  phone.oscillator.start();
  return way.stream.getAudioTracks()[0];
}

// The pictures that we send: a bar that moves, so that each differs from the one before, on a ground whose hue
// changes too unless it is given.
function pictures(hue) {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [320, 240];
  const pen = canvas.getContext('2d');
  let count = 0;
  const draw = () => {
    count += 1;
    pen.fillStyle = `hsl(${hue ?? (count * 7) % 360} 80% 50%)`;
    pen.fillRect(0, 0, 320, 240);
    pen.fillStyle = 'black';
    pen.fillRect((count * 5) % 320, 0, 20, 240);
  };
  clearInterval(phone.drawing);
  phone.drawing = setInterval(draw, 50);
  draw();
  return canvas.captureStream(20).getVideoTracks()[0];
}

function stream(video, hue, gain) {
  const tracks = [sound(phone.settings.hertz, gain)];
  if (video) tracks.push(pictures(hue));
  return new MediaStream(tracks);
}

// Chromium lets a remote track through Web Audio only while an element plays it.
function listen(track) {
  const heard = new MediaStream([track]);
  const player = document.createElement(track.kind);
  player.srcObject = heard;
  player.muted = true;
  player.play().catch((error) => tell('player_error', { why: String(error) }));
  phone.players.push(player);
  if (track.kind === 'audio') {
    phone.analyser = phone.audio.createAnalyser();
    phone.analyser.fftSize = 8192;
    phone.analyser.smoothingTimeConstant = 0;
    phone.audio.createMediaStreamSource(heard).connect(phone.analyser);
  }
  tell('track', { kind: track.kind });
}

// Media go through the relay of the test, if it has one: the candidate that we are told is replaced.
function divert(sdp) {
  const { relay } = phone.settings;
  if (!relay) return sdp;
  return sdp.replace(
    /^(a=candidate:\S+ \d+ udp \d+) (\S+) (\d+) typ host/gim,
    (line, head, address, port) => {
      tell('remote_candidate', { address, port: Number(port) });
      return `${head} ${relay.address} ${relay.port} typ host`;
    },
  );
}

function watch(connection) {
  phone.connection = connection;
  connection.addEventListener('track', ({ track }) => listen(track));
  connection.addEventListener('connectionstatechange', () => {
    tell('connection', { state: connection.connectionState });
  });
  const set = connection.setRemoteDescription.bind(connection);
  connection.setRemoteDescription = (description) => {
    const { type, sdp } = description;
    tell('remote_description', { type, sdp });
    return set({ type, sdp: divert(sdp) });
  };
}

function meet({ originator, session }) {
  phone.session = session;
  if (session.connection) watch(session.connection);
  session.on('peerconnection', ({ peerconnection }) => watch(peerconnection));
  session.on('sdp', ({ originator: by, type, sdp }) => tell('sdp', { by, type, sdp }));
  session.on('progress', () => tell('progress'));
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
  tell(originator === 'remote' ? 'incoming' : 'outgoing');
}

const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });

// The loudest frequency of one moment, and how much of the power between 100 Hz and 4 kHz is within 40 Hz of it.
function moment() {
  const bins = new Float32Array(phone.analyser.frequencyBinCount);
  phone.analyser.getFloatFrequencyData(bins);
  const width = phone.audio.sampleRate / phone.analyser.fftSize;
  const power = bins.map((decibel) => 10 ** (decibel / 10));
  const [from, to] = [Math.floor(100 / width), Math.ceil(4000 / width)];
  let peak = from;
  let all = 0;
  for (let bin = from; bin < to; bin += 1) {
    all += power[bin];
    if (power[bin] > power[peak]) peak = bin;
  }
  let near = 0;
  const reach = Math.ceil(40 / width);
  for (let bin = peak - reach; bin <= peak + reach; bin += 1) near += power[bin];
  return { hertz: peak * width, decibel: bins[peak], purity: all > 0 ? near / all : 0 };
}

// Moments over so many milliseconds, each of sound of its own.
async function moments(ms) {
  const found = [];
  for (let left = ms; left > 0; left -= 200) {
    await pause(200);
    found.push(moment());
  }
  return found;
}

// The hue of the ground that is seen just now, in degrees.
function hue() {
  const video = phone.players.findLast((player) => player.tagName === 'VIDEO');
  if (!video || video.readyState < 2) return { hue: null };
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [16, 12];
  const pen = canvas.getContext('2d');
  pen.drawImage(video, 0, 0, 16, 12);
  const { data } = pen.getImageData(0, 0, 16, 12);
  const sum = [0, 0, 0];
  for (let at = 0; at < data.length; at += 4) {
    for (let part = 0; part < 3; part += 1) sum[part] += data[at + part];
  }
  const [red, green, blue] = sum;
  const turn = Math.atan2(Math.sqrt(3) * (green - blue), 2 * red - green - blue) * 180 / Math.PI;
  return { hue: (turn + 360) % 360 };
}

async function stats() {
  const wanted = ['inbound-rtp', 'outbound-rtp', 'candidate-pair', 'codec', 'transport'];
  const reports = [];
  (await phone.connection.getStats()).forEach((report) => {
    if (wanted.includes(report.type)) reports.push(report);
  });
  return { reports };
}

// Who is in the sound that we have heard within the last ten seconds, as its packets tell.
function speakers() {
  const receivers = phone.connection.getReceivers();
  const receiver = receivers.find(({ track }) => track.kind === 'audio');
  const sources = receiver.getContributingSources();
  return { sources: sources.map(({ source, audioLevel }) => ({ source, audioLevel })) };
}

function later(change, event) {
  return new Promise((done, fail) => {
    if (!change(() => { tell(event); done(); })) fail(new Error('it can not do that now'));
  });
}

const uri = (user) => `sip:${user}@${phone.settings.domain}`;
const commands = {
  call: ({
    to, video, hue, gain,
  }) => {
    const { pcConfig } = phone.settings;
    phone.ua.call(uri(to), { mediaStream: stream(video, hue, gain), pcConfig });
  },
  answer: ({ video }) => {
    const { pcConfig } = phone.settings;
    phone.session.answer({ mediaStream: stream(video), pcConfig });
  },
  hangup: () => phone.session.terminate(),
  hold: () => later((done) => phone.session.hold({}, done), 'held'),
  resume: () => later((done) => phone.session.unhold({}, done), 'resumed'),
  restart_ice: () => later(
    (done) => phone.session.renegotiate({ rtcOfferConstraints: { iceRestart: true } }, done),
    'restarted',
  ),
  digit: ({ digit }) => phone.session.sendDTMF(digit, { transportType: 'RFC2833' }),
  tone: ({ hertz }) => { phone.oscillator.frequency.value = hertz; },
  loud: ({ gain }) => { phone.gain.gain.value = gain; },
  hue,
  hear: async ({ ms }) => ({ moments: await moments(ms) }),
  stats,
  speakers,
};

window.give = async (command) => await commands[command.do](command) || {};

window.begin = async (settings) => {
  phone.settings = settings;
  await phone.audio.resume();
  phone.ua = new JsSIP.UA({
    uri: uri(settings.user),
    password: settings.password,
    sockets: [new JsSIP.WebSocketInterface(settings.url)],
    register_expires: 120,
    session_timers: true,
  });
  phone.ua.on('registered', () => tell('registered'));
  phone.ua.on('registrationFailed', ({ cause }) => tell('registration_failed', { cause }));
  phone.ua.on('disconnected', ({ code, reason }) => tell('disconnected', { code, reason }));
  phone.ua.on('newRTCSession', meet);
  phone.ua.start();
};
