//! A party that speaks and hears one codec.

use std::net::SocketAddr;

use codec::tone::{self, Tone};
use codec::{Codec, Decoder, Encoder, Parameters};
use media::dtls::Keys;
use media::{Levels, MasterKey, Payload, PayloadKind, Profile, Remote, Security};
use rtp::{HEADER_LEN, Header, Spoken};
use srtp::{MAX_OVERHEAD, Receiver, Sender};

use super::{Phone, receive};

pub(crate) struct Talker {
    pub(crate) phone: Phone,
    pub(crate) payloads: Vec<Payload>,
    pub(crate) number: u8,
    encoder: Encoder,
    decoder: Decoder,
    tone: Tone,
    /// Milliseconds a packet.
    pub(crate) ptime: u32,
    /// What has been heard: headers, and sound.
    pub(crate) headers: Vec<Header>,
    pub(crate) pcm: Vec<i16>,
    pub(crate) guard: Option<Guard>,
    /// It says nothing, in as many packets.
    pub(crate) silent: bool,
    /// Header extensions that were agreed, and what it says of how loud it is.
    pub(crate) levels: Levels,
    pub(crate) claim: u8,
    /// Who was heard in the last packet, and how loud if that was said.
    pub(crate) sources: Vec<(u32, Option<u8>)>,
}

/// SRTP as a party does it.
pub(crate) struct Guard {
    profile: Profile,
    /// Of this party, and of the plane.
    keys: [MasterKey; 2],
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
}

impl Guard {
    /// With keys made of `seed`.
    pub(crate) fn new(profile: Profile, seed: u8) -> Self {
        let key = |seed| MasterKey::parse(profile, &vec![seed; MasterKey::len_for(profile)]);
        let keys = [key(seed).unwrap(), key(seed + 1).unwrap()];
        Self {
            sender: Sender::new(profile, &keys[0]).unwrap(),
            receiver: Receiver::new(profile, &keys[1]).unwrap(),
            profile,
            keys,
        }
    }

    /// With keys that were agreed on.
    pub(crate) fn of(keys: &Keys) -> Self {
        Self {
            sender: Sender::new(keys.profile, &keys.local).unwrap(),
            receiver: Receiver::new(keys.profile, &keys.remote).unwrap(),
            profile: keys.profile,
            keys: [keys.local.clone(), keys.remote.clone()],
        }
    }

    /// Changes the keys.
    pub(crate) fn rekey(&mut self, seed: u8) {
        let next = Self::new(self.profile, seed);
        self.keys = next.keys;
        self.sender.rekey(self.profile, &self.keys[0]).unwrap();
        self.receiver.rekey(self.profile, &self.keys[1]).unwrap();
    }

    /// What signalling tells the plane.
    pub(crate) fn security(&self) -> Security {
        let [remote, local] = self.keys.clone();
        Security::Sdes {
            profile: self.profile,
            local,
            remote,
        }
    }

    pub(crate) fn protect(&mut self, packet: &mut Vec<u8>) {
        let len = packet.len();
        packet.resize(len + MAX_OVERHEAD, 0);
        let len = self.sender.protect_rtp(packet, len).unwrap();
        packet.truncate(len);
    }
}

impl Talker {
    pub(crate) fn new(host: &str, ssrc: u32, codec: Codec, number: u8, frequency: f32) -> Self {
        let parameters = Parameters::default();
        let encoder = Encoder::new(codec, &parameters).unwrap();
        Self {
            phone: Phone::new(host, ssrc),
            payloads: vec![speech(number, codec, codec.ptime(20))],
            number,
            tone: Tone::new(frequency, encoder.sample_rate()),
            encoder,
            decoder: Decoder::new(codec, &parameters).unwrap(),
            ptime: codec.ptime(20).into(),
            headers: Vec::new(),
            pcm: Vec::new(),
            guard: None,
            silent: false,
            levels: Levels::default(),
            claim: 127,
            sources: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, number: u8, kind: PayloadKind) -> Self {
        self.payloads.push(Payload {
            number,
            kind,
            ptime: 0,
        });
        self
    }

    pub(crate) fn remote(&self) -> Remote {
        Remote {
            payloads: self.payloads.clone(),
            levels: self.levels,
            security: self.guard.as_ref().map_or(Security::Plain, Guard::security),
            ..self.phone.remote()
        }
    }

    /// Ticks of the RTP clock in a packet.
    pub(crate) fn ticks(&self) -> u32 {
        self.encoder.codec().clock() / 1000 * self.ptime
    }

    /// Samples a second of what is heard.
    pub(crate) fn rate(&self) -> u32 {
        self.decoder.sample_rate()
    }

    /// The next packet of the tone.
    pub(crate) fn packet(&mut self) -> Vec<u8> {
        let samples = self.encoder.sample_rate() / 1000 * self.ptime;
        let mut pcm = vec![0; samples as usize];
        if !self.silent {
            self.tone.fill(&mut pcm);
        }
        self.packet_of(&pcm)
    }

    /// Sends sound, at its [`rate`](Self::rate); the rest that fills no packet is left out.
    pub(crate) fn say(&mut self, pcm: &[i16], to: SocketAddr) {
        let samples = self.encoder.sample_rate() / 1000 * self.ptime;
        for pcm in pcm.chunks_exact(samples as usize) {
            let mut packet = self.packet_of(pcm);
            if let Some(guard) = &mut self.guard {
                guard.protect(&mut packet);
            }
            self.phone.rtp.send_to(&packet, to).unwrap();
        }
    }

    fn packet_of(&mut self, pcm: &[i16]) -> Vec<u8> {
        let mut packet = vec![0; 2048];
        let len = self.encoder.encode(pcm, &mut packet[HEADER_LEN..]);
        packet.truncate(HEADER_LEN + len.unwrap());
        self.header(self.number).encode(&mut packet);
        if let Some(number) = self.levels.spoken {
            packet[0] |= 0x10;
            let extension = [0xbe, 0xde, 0, 1, number << 4, self.claim, 0, 0];
            packet.splice(HEADER_LEN..HEADER_LEN, extension);
        }
        self.phone.timestamp = self.phone.timestamp.wrapping_add(self.ticks());
        packet
    }

    /// The header of the next packet.
    pub(crate) fn header(&mut self, payload_type: u8) -> Header {
        self.phone.sequence = self.phone.sequence.wrapping_add(1);
        Header {
            payload_type,
            marker: false,
            sequence: self.phone.sequence,
            timestamp: self.phone.timestamp,
            ssrc: self.phone.ssrc,
        }
    }

    /// Sends the next packet of the tone.
    pub(crate) fn speak(&mut self, to: SocketAddr) {
        let packet = self.guarded();
        self.phone.rtp.send_to(&packet, to).unwrap();
    }

    /// The next packet of the tone, protected if that was agreed.
    pub(crate) fn guarded(&mut self) -> Vec<u8> {
        let mut packet = self.packet();
        if let Some(guard) = &mut self.guard {
            guard.protect(&mut packet);
        }
        packet
    }

    /// Hears the next packet.
    pub(crate) fn hear(&mut self) -> Header {
        let mut datagram = receive(&self.phone.rtp).0;
        // The end of a handshake may still be under way, and reports share the port.
        while rtp::Kind::of(&datagram) != rtp::Kind::Rtp {
            datagram = receive(&self.phone.rtp).0;
        }
        if let Some(guard) = &mut self.guard {
            let len = guard.receiver.unprotect_rtp(&mut datagram).unwrap();
            datagram.truncate(len);
        }
        self.hear_datagram(&datagram)
    }

    /// Hears the next packet if one is there; false if none is.
    pub(crate) fn hear_now(&mut self) -> bool {
        self.phone.rtp.set_nonblocking(true).unwrap();
        let waits = self.phone.rtp.peek(&mut [0; 1]).is_ok();
        self.phone.rtp.set_nonblocking(false).unwrap();
        if waits {
            self.hear();
        }
        waits
    }

    pub(crate) fn codec(&self) -> Codec {
        self.encoder.codec()
    }

    /// Samples a second of what is heard.
    pub(crate) fn sample_rate(&self) -> u32 {
        self.decoder.sample_rate()
    }

    pub(crate) fn hear_datagram(&mut self, datagram: &[u8]) -> Header {
        let packet = rtp::Packet::parse(datagram).unwrap();
        let header = packet.header();
        assert_eq!(header.payload_type, self.number);
        self.sources = sources(&packet, self.levels);
        let mut pcm = [0; 5760];
        let samples = self.decoder.decode(packet.payload(), &mut pcm).unwrap();
        self.pcm.extend(&pcm[..samples]);
        self.headers.push(header);
        header
    }

    /// Forgets what has been heard so far.
    pub(crate) fn hear_again(&mut self) {
        (self.headers, self.pcm) = (Vec::new(), Vec::new());
    }

    /// Checks that numbers go on without a break and that a tone is heard at its level, once the
    /// codecs have settled.
    pub(crate) fn check(&self, frequency: f32) {
        for pair in self.headers.windows(2) {
            let [one, next] = pair else { unreachable!() };
            assert_eq!(next.ssrc, one.ssrc);
            assert_eq!(next.sequence, one.sequence.wrapping_add(1));
            assert_eq!(
                next.timestamp.wrapping_sub(one.timestamp),
                self.ticks(),
                "{:?}",
                self.payloads
            );
            assert!(!next.marker);
        }
        assert_tone(&self.pcm, self.decoder.sample_rate(), frequency);
    }
}

/// Who is heard in a packet, and how loud if that was agreed.
fn sources(packet: &rtp::Packet<'_>, agreed: Levels) -> Vec<(u32, Option<u8>)> {
    let extension = packet.extension();
    let listed = packet.csrc().count();
    let told = agreed.heard.is_some() && listed > 0;
    assert_eq!(extension.is_some(), told || agreed.whole.is_some());
    let element = |number: Option<u8>| extension?.element(number?);
    let whole = element(agreed.whole).map(|octets| Spoken::parse(octets).unwrap());
    assert_eq!(whole.is_some(), agreed.whole.is_some());
    assert!(whole.is_none_or(|whole| whole.voice == (listed > 0)));
    let levels = element(agreed.heard).unwrap_or_default();
    assert_eq!(levels.len(), if told { listed } else { 0 });
    let mut levels = levels.iter().copied();
    packet.csrc().map(|ssrc| (ssrc, levels.next())).collect()
}

pub(crate) fn assert_tone(pcm: &[i16], rate: u32, frequency: f32) {
    let settled = &pcm[pcm.len() / 4..];
    let level = tone::level(settled, frequency, rate);
    assert!(
        (level - tone::ZERO_DBM0).abs() < 2.0,
        "{frequency}: {level}"
    );
    let other = tone::level(settled, frequency * 1.7, rate);
    assert!(other < level - 20.0, "{other} beside {level}");
}

pub(crate) fn speech(number: u8, codec: Codec, ptime: u8) -> Payload {
    Payload {
        number,
        kind: PayloadKind::Codec(codec, Parameters::default()),
        ptime,
    }
}
