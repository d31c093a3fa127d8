//! A participant: what it says, put into order and decoded, and what it may do.

use std::sync::Arc;

use codec::mix::{self, Activity};
use codec::resample::Resampler;
use codec::{Codec, Decoder, Parameters};
use rtp::jitter_buffer::{self, JitterBuffer, Playout};
use rtp::{AudioLevel, Contributor, Header, Packet};

use super::claims::Claims;
use super::line::Solo;
use super::name::Dictation;
use super::{Participant, TURNS};
use crate::encoder::Manner;
use crate::sound::Clip;
use crate::{Format, Payload, PayloadKind, playout};

/// What a leg has while it is in a room.
#[derive(Debug)]
pub(crate) struct Seat {
    /// The worker's part of the room.
    pub(super) mixer: usize,
    pub(super) participant: Participant,
    buffer: JitterBuffer,
    ears: Vec<Ear>,
    /// Samples a second of what is heard; the clock of the packets, in hertz.
    rate: u32,
    clock: u32,
    /// Decoded and not yet mixed.
    pcm: Vec<i16>,
    activity: Activity,
    claims: Claims,
    /// What it calls itself in its packets.
    ssrc: u32,
    /// Its share of the sum in this turn, at the room's rate; empty if it has none.
    pub(super) voice: Vec<i16>,
    /// How loud it was at the end of the last turn, as a factor.
    gain: f32,
    resampler: Option<(u32, Resampler)>,
    /// How packets for it are made, and with which payload type.
    pub(super) manner: Manner,
    pub(super) payload_type: u8,
    /// Which of the room's lines makes them.
    pub(super) line: usize,
    pub(super) solo: Option<Box<Solo>>,
    /// Has been told of as somebody who speaks.
    talking: bool,
    /// By which SSRC it has been told of, and when.
    told: (u32, u64),
    /// The name that it has said, and what it says while it is asked for it.
    pub(super) name: Option<Arc<Clip>>,
    pub(super) dictation: Option<Box<Dictation>>,
}

/// What a payload type says.
#[derive(Debug)]
struct Ear {
    number: u8,
    kind: EarKind,
}

#[derive(Debug)]
enum EarKind {
    Speech {
        codec: Codec,
        parameters: Parameters,
        /// Made when it is first heard; none if that failed.
        decoder: Option<Option<Box<Decoder>>>,
    },
    /// Nothing to be heard for a while: comfort noise, a key pressed.
    Silence,
}

impl Seat {
    /// A seat in the part `mixer` of a room for a party that agreed to `payloads` and is sent
    /// `format`.
    pub(super) fn new(
        mixer: usize,
        participant: Participant,
        payloads: &[Payload],
        format: Format,
    ) -> Self {
        let mut ears: Vec<Ear> = payloads.iter().filter_map(Ear::of).collect();
        if !ears.iter().any(|ear| ear.number == format.payload_type) {
            ears.push(Ear::speech(
                format.payload_type,
                format.codec,
                Parameters::default(),
            ));
        }
        let (codec, clock) = (format.codec, format.codec.clock());
        Self {
            mixer,
            participant,
            buffer: JitterBuffer::new(&jitter_buffer::Config {
                clock,
                octets: octets(codec),
                ..jitter_buffer::Config::default()
            }),
            ears,
            rate: codec.sample_rate(),
            clock,
            pcm: Vec::with_capacity(MOST_WAITING_MS * codec.sample_rate() as usize / 1000),
            activity: Activity::new(),
            claims: Claims::default(),
            ssrc: 0,
            voice: Vec::with_capacity(super::MOST_SAMPLES),
            gain: 0.0,
            resampler: None,
            manner: Manner::wished(payloads, format),
            payload_type: format.payload_type,
            line: 0,
            solo: None,
            talking: false,
            told: (0, 0),
            name: None,
            dictation: participant.naming.then(|| Box::new(Dictation::new())),
        }
    }

    /// The rate that it needs for what it says and hears.
    pub(super) fn needs(&self) -> u32 {
        self.rate.max(self.manner.codec.sample_rate())
    }

    /// Takes a packet that has arrived; false if its payload type was not agreed. How loud it is stands in the
    /// extension with the number `spoken`, if that was agreed.
    pub(crate) fn insert(
        &mut self,
        datagram: &[u8],
        header: &Header,
        spoken: Option<u8>,
        now: u64,
    ) -> bool {
        let Some(ear) = self.ears.iter().find(|e| e.number == header.payload_type) else {
            return false;
        };
        if let EarKind::Speech { codec, .. } = &ear.kind
            && codec.clock() != self.clock
        {
            self.clock = codec.clock();
            self.buffer.change_clock(self.clock);
        }
        if let Ok(packet) = Packet::parse(datagram) {
            self.ssrc = header.ssrc;
            self.claims.read(&packet, spoken);
            let payload = match self.claims.is_silence() {
                true => NOTHING,
                false => packet.payload(),
            };
            self.buffer.insert(header, payload, now);
        }
        true
    }

    /// Has 20 ms ready, and tells whether somebody speaks in them.
    pub(super) fn listen(&mut self, now: u64) -> bool {
        while self.pcm.len() < self.turn() {
            self.take(now);
        }
        let turn = self.turn();
        if let Some(dictation) = &mut self.dictation {
            dictation.take(&self.pcm[..turn], self.rate);
        }
        let level = mix::level(&self.pcm[..turn]);
        self.claims.compare(level);
        self.activity.update(match self.is_silenced() {
            true => mix::SILENT,
            false => level,
        })
    }

    /// Whether it is to be told that it speaks, or does not, and as whom.
    pub(super) fn has_news(&mut self, talking: bool, now: u64) -> bool {
        let changed = std::mem::replace(&mut self.talking, talking) != talking;
        let (told, at) = self.told;
        let other = told != self.ssrc && (told == 0 || now >= at + BETWEEN_SSRCS_MS);
        if changed || other {
            self.told = (self.ssrc, now);
        }
        changed || other
    }

    /// Its SSRC, if it has been heard.
    pub(super) fn known_as(&self) -> Option<u32> {
        (self.ssrc != 0).then_some(self.ssrc)
    }

    /// It has said its name.
    pub(super) fn is_named(&mut self) {
        self.name = self.dictation.take().and_then(|said| said.name());
    }

    /// Whether nothing of it is heard by the others.
    const fn is_silenced(&self) -> bool {
        self.participant.muted || self.participant.naming
    }

    /// How loud it has been lately, in dBov; who is heard already stays so more easily.
    pub(super) fn loudness(&self) -> f32 {
        let heard = if self.gain > 0.0 { PREFERENCE } else { 0.0 };
        self.activity.loudness() + heard
    }

    /// Whether it is, or still fades, in the sum of this turn.
    pub(super) fn is_heard(&self) -> bool {
        !self.voice.is_empty()
    }

    /// Who it is in the sum of this turn, if it is in it.
    pub(super) fn contributor(&self) -> Option<Contributor> {
        self.is_heard().then(|| Contributor {
            ssrc: self.ssrc,
            level: AudioLevel::from_dbov(mix::level(&self.voice)),
        })
    }

    /// Whether that is it.
    pub(super) const fn is_source(&self, source: &Contributor) -> bool {
        source.ssrc == self.ssrc
    }

    /// Makes its share of this turn's sum at `rate`: its voice if it is `on`, what is left of it if it
    /// was, or nothing. The 20 ms are gone then.
    pub(super) fn speak(&mut self, on: bool, rate: u32) {
        let gain = match on {
            true => 10f32.powf(f32::from(self.participant.gain.clamp(-40, 20)) / 20.0),
            false => 0.0,
        };
        let turn = self.turn();
        self.voice.clear();
        let before = std::mem::replace(&mut self.gain, gain);
        if before > 0.0 || gain > 0.0 {
            let said = &self.pcm[..turn];
            match &mut self.resampler {
                _ if rate == self.rate => self.voice.extend_from_slice(said),
                Some((to, resampler)) if *to == rate => resampler.process(said, &mut self.voice),
                place => {
                    let resampler = &mut place.insert((rate, Resampler::new(self.rate, rate))).1;
                    resampler.process(said, &mut self.voice);
                }
            }
            mix::fade(&mut self.voice, before, gain);
        }
        self.pcm.drain(..turn);
    }

    /// Samples of a turn.
    fn turn(&self) -> usize {
        (self.rate / TURNS) as usize
    }

    /// Decodes the next packet, or makes up for it.
    fn take(&mut self, now: u64) {
        let (rate, clock) = (self.rate, self.clock);
        let step = self.buffer.packet_ticks();
        let samples = |ticks: u32| {
            let samples = u64::from(ticks) * u64::from(rate) / u64::from(clock.max(1));
            samples as usize
        };
        // Even of one that is muted the name is wanted.
        let muted = self.participant.muted && self.dictation.is_none();
        match self.buffer.take(now) {
            Playout::Packet {
                payload_type,
                payload,
                pace,
            } => {
                let ear = self.ears.iter_mut().find(|e| e.number == payload_type);
                let Some(decoder) = ear.and_then(Ear::decoder) else {
                    return self.pause();
                };
                if decoder.sample_rate() != rate {
                    let rate = decoder.sample_rate();
                    return self.change_rate(rate);
                }
                if muted || payload == NOTHING {
                    return playout::make_up(None, None, samples(step), &mut self.pcm);
                }
                if playout::append(decoder, payload, pace, samples(step), &mut self.pcm) {
                    self.buffer.pause();
                }
            }
            Playout::Lost { ticks, next } => {
                // The codec that spoke last goes on.
                let decoder = last_decoder(&mut self.ears, rate).filter(|_| !muted);
                playout::make_up(decoder, next, samples(ticks), &mut self.pcm);
            }
            Playout::Silence => {
                let turn = self.turn();
                self.pcm.resize(turn, 0);
            }
        }
    }

    /// A packet without sound has been taken: what follows is a pause.
    fn pause(&mut self) {
        self.buffer.pause();
    }

    /// The party has changed to a codec of another rate; what waits of the old one is left out.
    fn change_rate(&mut self, rate: u32) {
        self.rate = rate;
        self.resampler = None;
        self.pcm.clear();
        self.pcm.resize(self.turn(), 0);
    }
}

impl Ear {
    fn of(payload: &Payload) -> Option<Self> {
        let number = payload.number;
        match &payload.kind {
            PayloadKind::Codec(codec, parameters) => {
                Some(Self::speech(number, *codec, parameters.clone()))
            }
            PayloadKind::TelephoneEvent { .. } | PayloadKind::ComfortNoise => Some(Self {
                number,
                kind: EarKind::Silence,
            }),
            PayloadKind::Other { .. } => None,
        }
    }

    fn speech(number: u8, codec: Codec, parameters: Parameters) -> Self {
        Self {
            number,
            kind: EarKind::Speech {
                codec,
                parameters,
                decoder: None,
            },
        }
    }

    /// Its decoder, which is made when it is needed first.
    fn decoder(&mut self) -> Option<&mut Decoder> {
        let EarKind::Speech {
            codec,
            parameters,
            decoder,
        } = &mut self.kind
        else {
            return None;
        };
        decoder
            .get_or_insert_with(|| Decoder::new(*codec, parameters).ok().map(Box::new))
            .as_deref_mut()
    }

    fn made(&mut self) -> Option<&mut Decoder> {
        match &mut self.kind {
            EarKind::Speech {
                decoder: Some(Some(decoder)),
                ..
            } => Some(decoder),
            _ => None,
        }
    }
}

/// A decoder for `rate` that has been used.
fn last_decoder(ears: &mut [Ear], rate: u32) -> Option<&mut Decoder> {
    let mut made = ears.iter_mut().filter_map(Ear::made);
    made.find(|decoder| decoder.sample_rate() == rate)
}

/// Octets that hold a third of a second and more.
fn octets(codec: Codec) -> usize {
    match codec {
        Codec::L16 { rate, channels } => rate as usize * 2 * usize::from(channels) / 3,
        Codec::Opus => 8192,
        _ => 4096,
    }
}

/// Between two words about another SSRC of somebody, in milliseconds: who changes it with each packet is not told
/// of each time.
const BETWEEN_SSRCS_MS: u64 = 1000;
/// The payload of a packet that is not worth decoding.
const NOTHING: &[u8] = &[];
/// The most sound that waits between decoder and mixer: a packet, its stretching, and the rest of one.
const MOST_WAITING_MS: usize = 160;
/// By how many decibels another speaker has to be louder to be heard instead.
const PREFERENCE: f32 = 6.0;

#[cfg(test)]
mod tests {
    use codec::Encoder;
    use codec::tone::{self, Tone};

    use super::*;

    /// What a room hears of a tone whose packets arrive when `arrival` says, in milliseconds.
    fn heard(codec: Codec, packets: u32, arrival: impl Fn(u32) -> u64) -> (Seat, Vec<i16>) {
        let format = Format {
            codec,
            payload_type: 100,
            ptime: 20,
        };
        let mut seat = Seat::new(0, Participant::default(), &[], format);
        let mut encoder = Encoder::new(codec, &Parameters::default()).unwrap();
        let rate = encoder.sample_rate();
        let mut tone = Tone::new(950.0, rate);
        let mut sent = Vec::new();
        for n in 0..packets {
            let mut pcm = vec![0; rate as usize / 50];
            tone.fill(&mut pcm);
            let mut datagram = vec![0; 2000];
            let len = encoder.encode(&pcm, &mut datagram[12..]).unwrap();
            datagram.truncate(12 + len);
            let header = Header {
                payload_type: 100,
                sequence: n as u16,
                timestamp: n * codec.clock() / 50,
                ..Header::default()
            };
            header.encode(&mut datagram);
            sent.push((arrival(n), header, datagram));
        }
        sent.sort_by_key(|(at, ..)| *at);
        let mut sent = sent.into_iter().peekable();
        let mut pcm = Vec::new();
        let mut now = 0;
        while sent.peek().is_some() {
            while let Some((at, header, datagram)) = sent.next_if(|(at, ..)| *at <= now) {
                assert!(seat.insert(&datagram, &header, None, at));
            }
            seat.listen(now);
            seat.speak(true, rate);
            pcm.extend_from_slice(&seat.voice);
            now += 20;
        }
        (seat, pcm)
    }

    fn levels(pcm: &[i16], rate: u32) -> impl Iterator<Item = f32> {
        let pieces = pcm.chunks_exact(rate as usize / 10).skip(2);
        pieces.map(move |piece| tone::level(piece, 950.0, rate) - tone::ZERO_DBM0)
    }

    #[test]
    fn a_tone_comes_through_whole() {
        for codec in [Codec::Pcmu, Codec::G722, Codec::Opus] {
            let (_, pcm) = heard(codec, 100, |n| u64::from(n) * 20 + u64::from(n * 7 % 20));
            let rate = codec.sample_rate();
            assert!(levels(&pcm, rate).all(|level| level.abs() < 1.5), "{codec}");
        }
    }

    /// Who sends too slowly is stretched.
    #[test]
    fn a_slow_clock_is_followed() {
        for codec in [Codec::Pcmu, Codec::G722] {
            let (seat, pcm) = heard(codec, 300, |n| u64::from(n) * 22);
            let rate = codec.sample_rate();
            assert!(levels(&pcm, rate).all(|level| level.abs() < 2.5), "{codec}");
            assert_eq!(seat.buffer.counts().late, 0);
        }
    }

    #[test]
    fn who_changes_the_codec_is_heard_on() {
        let format = Format {
            codec: Codec::Pcmu,
            payload_type: 0,
            ptime: 20,
        };
        let opus = Payload {
            number: 100,
            kind: PayloadKind::Codec(Codec::Opus, Parameters::default()),
            ptime: 20,
        };
        let mut seat = Seat::new(0, Participant::default(), &[opus], format);
        let mut encoder = Encoder::new(Codec::Opus, &Parameters::default()).unwrap();
        let mut tone = Tone::new(950.0, 48_000);
        let mut active = 0;
        for n in 0..100u32 {
            let mut datagram = vec![0; 2000];
            let (payload_type, clock, len) = if n % 50 < 25 {
                (0, 8000, 160)
            } else {
                let mut pcm = [0; 960];
                tone.fill(&mut pcm);
                let len = encoder.encode(&pcm, &mut datagram[12..]).unwrap();
                (100, 48_000, len)
            };
            let header = Header {
                payload_type,
                sequence: n as u16,
                timestamp: n * clock / 50,
                ..Header::default()
            };
            header.encode(&mut datagram);
            let now = u64::from(n) * 20;
            assert!(seat.insert(&datagram[..12 + len], &header, None, now));
            active += u32::from(seat.listen(now));
            seat.speak(true, 48_000);
            assert_eq!(seat.voice.len(), 960);
        }
        assert!(active > 80, "{active}");
        let stranger = Header {
            payload_type: 101,
            ..Header::default()
        };
        assert!(!seat.insert(&[0; 12], &stranger, None, 0));
    }

    /// What says that it is silent, and was when it was listened to, is decoded only now and then.
    #[test]
    fn rfc6464_5_silence_that_a_party_tells_of_is_hardly_decoded() {
        let format = Format {
            codec: Codec::L16 {
                rate: 8000,
                channels: 1,
            },
            payload_type: 100,
            ptime: 20,
        };
        let mut seat = Seat::new(0, Participant::default(), &[], format);
        let mut heard = 0;
        for n in 0..200u16 {
            // The first half is silent; what comes then is loud, and said to be silent still.
            let mut datagram = vec![if n < 100 { 0 } else { 0x20 }; 12 + 8 + 320];
            let header = Header {
                payload_type: 100,
                sequence: n,
                timestamp: u32::from(n) * 160,
                ..Header::default()
            };
            header.encode(&mut datagram);
            datagram[0] |= 0x10;
            datagram[12..20].copy_from_slice(&[0xbe, 0xde, 0, 1, 0x30, 127, 0, 0]);
            let now = u64::from(n) * 20;
            assert!(seat.insert(&datagram, &header, Some(3), now));
            seat.listen(now);
            seat.speak(true, 8000);
            heard += usize::from(seat.voice.iter().any(|sample| *sample != 0));
        }
        // Until the lie was noticed, and no longer.
        assert!((60..90).contains(&heard), "{heard}");
    }

    #[test]
    fn keys_and_comfort_noise_are_silence() {
        let format = Format {
            codec: Codec::Pcmu,
            payload_type: 0,
            ptime: 20,
        };
        let event = Payload {
            number: 101,
            kind: PayloadKind::TelephoneEvent { clock: 8000 },
            ptime: 0,
        };
        let mut seat = Seat::new(0, Participant::default(), &[event], format);
        for n in 0..30u16 {
            let header = Header {
                payload_type: 101,
                sequence: n,
                timestamp: 7,
                ..Header::default()
            };
            let mut datagram = [0; 16];
            header.encode(&mut datagram);
            assert!(seat.insert(&datagram, &header, None, u64::from(n) * 20));
            assert!(!seat.listen(u64::from(n) * 20));
            seat.speak(true, 8000);
            assert!(seat.voice.iter().all(|sample| *sample == 0));
        }
    }
}
