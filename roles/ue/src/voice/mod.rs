//! The sound of one call: says a tone, and keeps what it hears, so that it can be measured.
//!
//! There is no clock in it and no thread: whoever owns a [`Voice`] says when a packet is due and when to look
//! what has come.
//!
//! - `playout`: for whoever listens as time goes on: order, pace, and what is made up for losses.
//! - `reception`: losses and jitter.

mod playout;
mod reception;

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Instant;

use codec::tone::{self, Tone};
use codec::{Codec, Decoder, Encoder};
use media::Security;
use media::dtls::{self, Endpoint, Identity, Keys, Output};
use rtp::telephone_event::{self, Sender as Key};
use rtp::{HEADER_LEN, Header, Kind, Packet};
use srtp::{MAX_OVERHEAD, Receiver, Sender};

use crate::phone::Sound;
use playout::Playout;
pub use reception::Reception;

/// The RTP of one call.
pub struct Voice {
    socket: UdpSocket,
    /// What is agreed.
    sound: Sound,
    encoder: Encoder,
    decoder: Decoder,
    tone: Tone,
    hertz: f32,
    guard: Guard,
    /// Of the next packet.
    header: Header,
    heard: Vec<i16>,
    packets: u64,
    /// If somebody listens as time goes on.
    playout: Option<Playout>,
    reception: Reception,
    /// When it began.
    epoch: Instant,
    /// The key that is pressed, or the pause behind one, in packets.
    key: Result<Key, u8>,
    /// Keys that wait; at most [`MAX_KEYS`], further ones are refused.
    keys: VecDeque<u8>,
}

/// How packets are protected.
enum Guard {
    None,
    /// The handshake is not over.
    Shaking(Box<Endpoint>),
    Keyed(Box<(Sender, Receiver)>),
}

impl Guard {
    fn new(security: &Security, identity: &Arc<Identity>, now: Instant) -> Result<Self, Error> {
        Ok(match security {
            Security::Plain => Self::None,
            Security::Sdes {
                profile,
                local,
                remote,
            } => {
                let sender = Sender::new(*profile, local)?;
                Self::Keyed(Box::new((sender, Receiver::new(*profile, remote)?)))
            }
            Security::Dtls {
                fingerprint, setup, ..
            } => {
                let identity = Arc::clone(identity);
                Self::Shaking(Box::new(Endpoint::new(identity, *setup, *fingerprint, now)))
            }
            _ => return Err(Error::Security),
        })
    }

    /// Keeps what we protect by if only the other side's key is another: it counts what was sent.
    fn change(
        &mut self,
        former: &Security,
        security: &Security,
        identity: &Arc<Identity>,
        now: Instant,
    ) -> Result<(), Error> {
        match (self, former, security) {
            (
                Self::Keyed(keys),
                Security::Sdes {
                    profile: was,
                    local: before,
                    ..
                },
                Security::Sdes {
                    profile,
                    local,
                    remote,
                },
            ) if (was, before) == (profile, local) => keys.1 = Receiver::new(*profile, remote)?,
            (guard, ..) => *guard = Self::new(security, identity, now)?,
        }
        Ok(())
    }
}

/// Why there is no sound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The socket.
    #[error("RTP: {0}")]
    Io(#[from] io::Error),
    /// What messages travel by.
    #[error("SIP: {0}")]
    Sip(io::Error),
    /// The codec was not compiled in, or fails.
    #[error("{0}")]
    Codec(#[from] codec::Error),
    /// Keys that were agreed can't be used.
    #[error("SRTP: {0}")]
    Srtp(#[from] srtp::Error),
    /// The handshake has failed.
    #[error("DTLS: {0}")]
    Dtls(#[from] dtls::Error),
    /// The other side hangs up the handshake, or was never to begin one.
    #[error("keys were agreed that this phone does not know")]
    Security,
}

impl Voice {
    /// A voice that says a tone of `hertz` at 0 dBm0 under `ssrc`. A handshake begins at once, under the name of
    /// `identity`.
    ///
    /// # Errors
    /// What was agreed can't be done.
    pub fn new(
        socket: UdpSocket,
        sound: &Sound,
        identity: &Arc<Identity>,
        (ssrc, hertz): (u32, f32),
        now: Instant,
    ) -> Result<Self, Error> {
        socket.set_nonblocking(true)?;
        let encoder = Encoder::new(sound.codec, &sound.parameters)?;
        let guard = Guard::new(&sound.security, identity, now)?;
        let header = Header {
            payload_type: sound.payload_type,
            marker: true,
            ssrc,
            ..Header::default()
        };
        let mut voice = Self {
            sound: sound.clone(),
            decoder: Decoder::new(sound.codec, &sound.parameters)?,
            tone: Tone::new(hertz, encoder.sample_rate()),
            hertz,
            encoder,
            guard,
            header,
            socket,
            heard: Vec::new(),
            packets: 0,
            playout: None,
            reception: Reception::new(sound.codec.clock()),
            epoch: now,
            key: Err(0),
            keys: VecDeque::new(),
        };
        voice.shake(now)?;
        Ok(voice)
    }

    /// From now on the sound goes as `sound` says, at the same port: what is heard before an answer need not come from
    /// whoever answers. What is sent goes on in the same stream, so that no key protects two packets of one number.
    ///
    /// # Errors
    /// What was agreed can't be done.
    pub fn agree(
        &mut self,
        sound: &Sound,
        identity: &Arc<Identity>,
        now: Instant,
    ) -> Result<(), Error> {
        let former = std::mem::replace(&mut self.sound, sound.clone());
        if former.security != sound.security {
            self.guard
                .change(&former.security, &sound.security, identity, now)?;
        }
        if former.codec != sound.codec || former.parameters != sound.parameters {
            self.encoder = Encoder::new(sound.codec, &sound.parameters)?;
            self.decoder = Decoder::new(sound.codec, &sound.parameters)?;
            self.tone = Tone::new(self.hertz, self.encoder.sample_rate());
            self.reception = Reception::new(sound.codec.clock());
            if self.playout.take().is_some() {
                self.listen_in_time();
            }
        }
        self.header.payload_type = sound.payload_type;
        self.shake(now)
    }

    /// From now on [`reception`](Self::reception) tells of what comes next.
    pub fn count_anew(&mut self) {
        self.reception = Reception::new(self.codec().clock());
    }

    /// Whether packets can be sent: there are keys, or none are needed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !matches!(self.guard, Guard::Shaking(_))
    }

    /// Sends the next 20 ms: of the tone, or of silence.
    ///
    /// # Errors
    /// Of the system, or of a codec.
    pub fn say(&mut self, silent: bool) -> Result<(), Error> {
        let mut pcm = vec![0; self.turn()];
        if !silent {
            self.tone.fill(&mut pcm);
        }
        self.speak(&pcm)
    }

    /// Samples of 20 ms of what is said: mono, at [`speaks_at`](Self::speaks_at).
    #[must_use]
    pub fn turn(&self) -> usize {
        self.encoder.sample_rate() as usize / 1000 * PTIME as usize
    }

    /// Samples a second of what is said.
    #[must_use]
    pub fn speaks_at(&self) -> u32 {
        self.encoder.sample_rate()
    }

    /// Sends the next 20 ms: these [`turn`](Self::turn) samples or, while a key is pressed, that.
    ///
    /// # Errors
    /// Of the system, or of a codec.
    pub fn speak(&mut self, pcm: &[i16]) -> Result<(), Error> {
        let mut packet = vec![0; MAX_PACKET];
        let len = match self.report_key(&mut packet) {
            Some(len) => len,
            None => {
                let room = &mut packet[HEADER_LEN..MAX_PACKET - MAX_OVERHEAD];
                let len = self.encoder.encode(pcm, room)?;
                self.header.encode(&mut packet);
                self.header.marker = false;
                len
            }
        };
        self.header.timestamp = self.header.timestamp.wrapping_add(self.ticks());
        // A codec may have nothing to say of silence.
        if len == 0 {
            return Ok(());
        }
        self.header.sequence = self.header.sequence.wrapping_add(1);
        let len = match &mut self.guard {
            Guard::None => HEADER_LEN + len,
            Guard::Keyed(keys) => keys.0.protect_rtp(&mut packet, HEADER_LEN + len)?,
            Guard::Shaking(_) => return Ok(()),
        };
        self.send(&packet[..len])?;
        Ok(())
    }

    /// Presses a key for 100 ms, after those that wait. False: it is none, telephone events were not agreed, or
    /// [`MAX_KEYS`] wait.
    ///
    /// # Source
    /// RFC 4733 §2.5
    pub fn press(&mut self, key: char) -> bool {
        let event = telephone_event::event(key);
        let event = event.filter(|_| self.sound.events.is_some() && self.keys.len() < MAX_KEYS);
        self.keys.extend(event);
        event.is_some()
    }

    /// Whether no key is pressed or waits.
    #[must_use]
    pub fn keys_are_said(&self) -> bool {
        self.keys.is_empty() && self.key.is_err()
    }

    /// Writes what is to be told of a key that is pressed, and returns the octets of the payload.
    fn report_key(&mut self, packet: &mut [u8]) -> Option<usize> {
        let number = self.sound.events?;
        if let Err(pause) = &mut self.key {
            *pause = pause.saturating_sub(1);
            if *pause == 0
                && let Some(event) = self.keys.pop_front()
            {
                let interval = u16::try_from(self.ticks()).unwrap_or(u16::MAX);
                let duration = Some(self.ticks() * KEY_TURNS);
                self.key = Ok(Key::new(event, self.header.timestamp, interval, duration));
            }
        }
        let Some(report) = self.key.as_mut().ok()?.report() else {
            self.key = Err(PAUSE_TURNS);
            // The sound goes on after a pause.
            self.header.marker = true;
            return None;
        };
        let header = Header {
            payload_type: number,
            marker: report.marker,
            timestamp: report.timestamp,
            ..self.header
        };
        header.encode(packet);
        let payload = report.event.encode();
        packet[HEADER_LEN..HEADER_LEN + payload.len()].copy_from_slice(&payload);
        Some(payload.len())
    }

    /// Of a packet.
    fn ticks(&self) -> u32 {
        self.codec().clock() / 1000 * PTIME
    }

    /// From now on packets go under this payload type, whatever was agreed.
    pub fn say_as(&mut self, payload_type: u8) {
        self.header.payload_type = payload_type;
    }

    /// Takes all that has come, and goes on with the handshake.
    ///
    /// # Errors
    /// Of the system, or the handshake has failed.
    pub fn listen(&mut self, now: Instant) -> Result<(), Error> {
        let mut datagram = [0; MAX_PACKET];
        loop {
            match self.socket.recv_from(&mut datagram) {
                Ok((len, _)) => self.take(&mut datagram[..len], now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // The other side is not there yet, or no more.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.shake(now)
    }

    /// From now on what comes is kept for [`hear`](Self::hear), and not in [`heard`](Self::heard), which grows as
    /// long as the call lasts.
    pub fn listen_in_time(&mut self) {
        let (codec, rate) = (self.decoder.codec(), self.rate());
        self.playout
            .get_or_insert_with(|| Playout::new(codec, rate));
    }

    /// Appends the next 20 ms of what is heard to `pcm`, at [`rate`](Self::rate); to be called every 20 ms.
    pub fn hear(&mut self, now: Instant, pcm: &mut Vec<i16>) {
        let now = self.milliseconds(now);
        if let Some(playout) = &mut self.playout {
            playout.hear(&mut self.decoder, now, pcm);
        }
    }

    /// What the network did to what came.
    #[must_use]
    pub fn reception(&self) -> &Reception {
        &self.reception
    }

    pub(crate) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    fn milliseconds(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_millis() as u64
    }

    /// All that has been heard: mono, at [`rate`](Self::rate).
    #[must_use]
    pub fn heard(&self) -> &[i16] {
        &self.heard
    }

    /// Samples a second of what is heard.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.decoder.sample_rate()
    }

    /// RTP packets heard.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// What both sides send.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.encoder.codec()
    }

    /// Measures a tone in what was heard; see [`Measured`]. None: nothing was heard for so long.
    #[must_use]
    pub fn measure(&self, hertz: f32, milliseconds: u32) -> Option<Measured> {
        Measured::of(&self.heard, self.rate(), hertz, milliseconds)
    }

    fn take(&mut self, datagram: &mut [u8], now: Instant) {
        match (Kind::of(datagram), &mut self.guard) {
            (Kind::Dtls, Guard::Shaking(endpoint)) => endpoint.handle(datagram, now),
            (Kind::Rtp, Guard::None) => self.decode(datagram, now),
            (Kind::Rtp, Guard::Keyed(keys)) => {
                if let Ok(len) = keys.1.unprotect_rtp(datagram) {
                    self.decode(&datagram[..len], now);
                }
            }
            _ => {}
        }
    }

    fn decode(&mut self, datagram: &[u8], now: Instant) {
        let Ok(packet) = Packet::parse(datagram) else {
            return;
        };
        let (is_sound, now) = (
            packet.payload_type() == self.sound.payload_type,
            self.milliseconds(now),
        );
        self.reception.note(&packet.header(), is_sound, now);
        if let Some(playout) = &mut self.playout {
            if is_sound {
                self.packets += 1;
                playout.insert(&packet, now);
            }
            return;
        }
        let mut pcm = [0; MAX_SAMPLES];
        if is_sound && let Ok(samples) = self.decoder.decode(packet.payload(), &mut pcm) {
            self.packets += 1;
            self.heard.extend_from_slice(&pcm[..samples]);
        }
    }

    /// Does what the handshake wants done.
    fn shake(&mut self, now: Instant) -> Result<(), Error> {
        let Guard::Shaking(endpoint) = &mut self.guard else {
            return Ok(());
        };
        endpoint.handle_timeout(now);
        let mut agreed: Option<Keys> = None;
        let mut packets = Vec::new();
        while let Some(output) = endpoint.poll() {
            match output {
                Output::Packet(packet) => packets.push(packet),
                Output::Keys(keys) => agreed = Some(keys),
                Output::Failed(error) => return Err(error.into()),
                Output::Closed => return Err(Error::Security),
            }
        }
        for packet in packets {
            self.send(&packet)?;
        }
        if let Some(keys) = agreed {
            let sender = Sender::new(keys.profile, &keys.local)?;
            let receiver = Receiver::new(keys.profile, &keys.remote)?;
            self.guard = Guard::Keyed(Box::new((sender, receiver)));
        }
        Ok(())
    }

    fn send(&self, datagram: &[u8]) -> io::Result<()> {
        match self.socket.send_to(datagram, self.sound.remote) {
            Err(error) if error.kind() != ErrorKind::ConnectionRefused => Err(error),
            _ => Ok(()),
        }
    }
}

/// What came of the other side's tone.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Measured {
    /// Its level in dBm0.
    pub level: f32,
    /// How far it is above everything else, in decibels.
    pub clarity: f32,
    /// When something was heard first, in milliseconds since the first packet.
    pub begun: f32,
}

impl Measured {
    /// Measures a tone in the last `milliseconds` of `pcm`, of which whole cycles are best. None: it is shorter.
    #[must_use]
    pub fn of(pcm: &[i16], rate: u32, hertz: f32, milliseconds: u32) -> Option<Self> {
        let last = (rate * milliseconds / 1000) as usize;
        let settled = &pcm[pcm.len().checked_sub(last).filter(|_| last > 0)?..];
        let square = |sample: &i16| (f32::from(*sample) / 32_768.0).powi(2);
        let total = settled.iter().map(square).sum::<f32>() / settled.len() as f32;
        let level = tone::level(settled, hertz, rate);
        // A sine at full scale has half the power of a square at full scale.
        let power = 10f32.powf(level / 10.0) / 2.0;
        let begun = pcm.iter().position(|sample| sample.unsigned_abs() > LOUD);
        Some(Self {
            level: level - tone::ZERO_DBM0,
            clarity: 10.0 * (power / (total - power).max(1e-9)).log10(),
            begun: begun.unwrap_or(pcm.len()) as f32 * 1000.0 / rate as f32,
        })
    }
}

/// Keys that may wait.
pub const MAX_KEYS: usize = 32;
/// Packets that a key is pressed, and that a pause behind it lasts.
const KEY_TURNS: u32 = 5;
const PAUSE_TURNS: u8 = 5;
/// Milliseconds a packet.
const PTIME: u32 = 20;
/// Octets of the longest packet that is sent or taken.
const MAX_PACKET: usize = 2048;
/// 120 ms at 48 kHz.
const MAX_SAMPLES: usize = 5760;
/// More than what a codec makes of silence.
const LOUD: u16 = 4000;

#[cfg(test)]
mod tests {
    use media::{MasterKey, Profile};

    use super::*;

    /// RFC 3711 §9.1: no key protects two packets of one number, whoever is spoken to before and behind the answer.
    #[test]
    fn rfc3711_9_1_a_stream_goes_on_towards_another_party() {
        let profile = Profile::Aes128CmSha1_80;
        let key = |octet| MasterKey::parse(profile, &vec![octet; MasterKey::len_for(profile)]);
        let (there, here) = (
            UdpSocket::bind("127.0.0.1:0").unwrap(),
            UdpSocket::bind("127.0.0.1:0").unwrap(),
        );
        let sound = |codec: Codec, remote| Sound {
            remote: there.local_addr().unwrap(),
            codec,
            payload_type: codec.static_payload_type().unwrap(),
            parameters: codec::Parameters::default(),
            events: None,
            security: Security::Sdes {
                profile,
                local: key(1).unwrap(),
                remote: key(remote).unwrap(),
            },
            direction: sdp::Direction::SendRecv,
        };
        let (identity, now) = (Arc::new(Identity::generate().unwrap()), Instant::now());
        let first = sound(Codec::Pcma, 2);
        let mut voice = Voice::new(here, &first, &identity, (7, 440.0), now).unwrap();
        let mut receiver = Receiver::new(profile, &key(1).unwrap()).unwrap();
        let mut next = || {
            let mut packet = [0; MAX_PACKET];
            let len = there.recv(&mut packet).unwrap();
            let len = receiver.unprotect_rtp(&mut packet[..len]).unwrap();
            let packet = Packet::parse(&packet[..len]).unwrap();
            (packet.header().sequence, packet.payload_type())
        };
        voice.say(false).unwrap();
        assert_eq!(next(), (0, 8));
        let second = sound(Codec::G722, 3);
        voice.agree(&second, &identity, now).unwrap();
        assert_eq!((voice.codec(), voice.rate()), (Codec::G722, 16_000));
        voice.say(false).unwrap();
        assert_eq!(next(), (1, 9));
    }

    #[test]
    fn a_tone_is_measured_where_it_is_and_not_where_it_is_not() {
        let mut pcm = vec![0; 8000];
        Tone::new(1000.0, 8000).fill(&mut pcm[1600..]);
        let heard = Measured::of(&pcm, 8000, 1000.0, 500).unwrap();
        assert!(heard.level.abs() < 0.1 && heard.clarity > 60.0, "{heard:?}");
        assert!((200.0..201.0).contains(&heard.begun), "{heard:?}");
        let other = Measured::of(&pcm, 8000, 700.0, 500).unwrap();
        assert!(other.level < -40.0 && other.clarity < -30.0, "{other:?}");
        assert_eq!(Measured::of(&pcm, 8000, 700.0, 1001), None);
    }
}
