//! Keys that come as tones in the sound of a party that has agreed to no telephone events.
//!
//! Each packet is decoded a second time for it, so it is done only where somebody wants the keys: we
//! ourselves, or another party that is told of them otherwise. That party then hears nothing of the tone, or it
//! would take one key for two.

use codec::dtmf::{Detector, Event, Key};
use codec::{Codec, Decoder};
use rtp::{Arrival, Header, Packet};

use crate::convert::at_rate;
use crate::digits::{Budget, Digit};
use crate::leg::Leg;
use crate::sessions::Sessions;
use crate::{DigitSource, Payload, PayloadKind};

/// How keys go to and fro between us and a party, beside telephone events, which are always understood where
/// they were agreed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Keys {
    /// Tones of the party are taken for the keys that they are, for it has agreed to no telephone events. We
    /// listen only where we are the other party, or where that one has agreed to telephone events, which the
    /// tones then become, or is [`told`](Self::told) otherwise. We listen in G.711, G.722, L16 and Opus: what is
    /// made for speech alone bends tones.
    ///
    /// # Source
    /// ITU-T Q.24
    pub tones: bool,
    /// The party is told of keys otherwise than in its RTP, such as by INFO: keys that the other party presses
    /// don't reach it, neither as events nor as tones. [`Command::Digits`](crate::Command::Digits) does.
    pub told: bool,
}

/// Listens to one side.
#[derive(Debug)]
pub(crate) struct Ear {
    /// The payload type that is decoded.
    number: u8,
    ssrc: u32,
    decoder: Decoder,
    detector: Detector,
    pressed: bool,
    /// A packet of a key is being kept from the other side.
    hushed: bool,
    /// When something was heard last, in milliseconds.
    heard: u64,
    budget: Budget,
}

/// What a packet holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Heard {
    /// A key, most likely.
    pub(crate) tone: bool,
    /// A key is over.
    pub(crate) digit: Option<Digit>,
}

impl Ear {
    /// For packets like this one; `None` if no tone survives in them.
    fn new(header: &Header, payloads: &[Payload]) -> Option<Self> {
        let mut payloads = payloads.iter().filter(|p| p.number == header.payload_type);
        let (codec, parameters) = payloads.find_map(|payload| match &payload.kind {
            PayloadKind::Codec(codec, parameters) => Some((*codec, parameters)),
            _ => None,
        })?;
        let parameters = match codec {
            Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::L16 { .. } => parameters.clone(),
            // All keys are far below 4 kHz, and less is cheaper.
            Codec::Opus => at_rate(codec, parameters, 8000),
            _ => return None,
        };
        let decoder = Decoder::new(codec, &parameters).ok()?;
        Some(Self {
            number: header.payload_type,
            ssrc: header.ssrc,
            detector: Detector::new(decoder.sample_rate()),
            decoder,
            pressed: false,
            hushed: false,
            heard: 0,
            budget: Budget::default(),
        })
    }

    /// Whether packets like this one are what it was made for.
    fn knows(&self, header: &Header) -> bool {
        (self.number, self.ssrc) == (header.payload_type, header.ssrc)
    }

    /// Listens to a packet. What is missing before it is as if it had never been: a key goes on.
    fn hear(&mut self, payload: &[u8], now: u64) -> Heard {
        self.heard = now;
        let mut pcm = [0; MAX_SAMPLES];
        let Ok(samples) = self.decoder.decode(payload, &mut pcm) else {
            return Heard::default();
        };
        let mut released = None;
        self.detector
            .process(&pcm[..samples.min(MAX_SAMPLES)], |event| match event {
                Event::Pressed(_) => self.pressed = true,
                Event::Released(key, ms) => {
                    self.pressed = false;
                    released = Some((key, ms));
                }
            });
        Heard {
            tone: self.pressed || self.detector.suspects(),
            digit: released.and_then(|key| self.digit(key, now)),
        }
    }

    /// Ends a key of which nothing has been heard for some time.
    fn lapse(&mut self, now: u64) -> Option<Digit> {
        if !self.pressed || now.saturating_sub(self.heard) < LAPSE_MS {
            return None;
        }
        self.pressed = false;
        let released = self.detector.release()?;
        self.digit(released, now)
    }

    fn digit(&mut self, (key, duration_ms): (Key, u32), now: u64) -> Option<Digit> {
        self.budget.take(now).then_some(Digit {
            key,
            duration_ms,
            source: DigitSource::Tone,
        })
    }
}

impl Leg {
    /// Whether tones of this side are to be listened to, beside those of `other`, if there is one.
    pub(crate) fn is_listened_to(&self, other: Option<&Self>) -> bool {
        self.gist.keys.tones
            && match other.filter(|_| self.seat.is_none() && !self.is_served()) {
                None => true,
                Some(other) => other.takes_events() || other.is_told(),
            }
    }

    /// Whether keys reach this side as telephone events.
    fn takes_events(&self) -> bool {
        has_events(self.meaning()) && !self.is_told()
    }

    /// Whether this side is told of keys otherwise than in its RTP.
    pub(crate) fn is_told(&self) -> bool {
        self.gist.keys.told
    }

    /// Listens to an accepted packet.
    fn listen(&mut self, datagram: &[u8], header: &Header, now: u64) -> Heard {
        if self.ear.as_ref().is_none_or(|ear| !ear.knows(header)) {
            // What is no sound, such as comfort noise, leaves the ear as it is.
            let Some(fresh) = Ear::new(header, self.meaning()) else {
                return Heard::default();
            };
            self.ear = Some(Box::new(fresh));
        }
        match (&mut self.ear, Packet::parse(datagram)) {
            (Some(ear), Ok(packet)) => ear.hear(packet.payload(), now),
            _ => Heard::default(),
        }
    }

    /// The key that is over because nothing more is heard at all.
    pub(crate) fn end_tone(&mut self, now: u64) -> Option<Digit> {
        self.ear.as_mut()?.lapse(now)
    }
}

impl Sessions {
    /// Listens for keys in an accepted packet of the leg `key`. Returns the key that is over, and whether the
    /// packet is to be kept from the other side.
    pub(crate) fn listen(
        &mut self,
        key: usize,
        datagram: &[u8],
        header: &Header,
        arrival: Arrival,
        now: u64,
    ) -> (Option<Digit>, bool) {
        let leg = &self.legs[key];
        let other = leg.other;
        if !leg.is_listened_to(other.map(|other| &self.legs[other])) {
            return (None, false);
        }
        let leg = &mut self.legs[key];
        if matches!(arrival, Arrival::Late | Arrival::Jump) {
            let hushed = leg.ear.as_ref().is_some_and(|ear| ear.hushed);
            return (None, hushed);
        }
        let heard = leg.listen(datagram, header, now);
        let Some(ear) = &mut leg.ear else {
            return (None, false);
        };
        let begins = heard.tone && !ear.hushed;
        ear.hushed = heard.tone;
        if begins && let Some(other) = other {
            self.hush(key, other, now);
        }
        (heard.digit, heard.tone)
    }

    /// Makes the stream to `other` one that can pause, as packets of `key` are kept from it.
    fn hush(&mut self, key: usize, other: usize, now: u64) {
        let own = &mut self.legs[other].own;
        let own =
            own.get_or_insert_with(|| Box::new(crate::convert::Own::minted(&mut self.mint, now)));
        own.resume(0, now);
        if let Some(converter) = &mut self.legs[key].converter {
            converter.interrupt();
        }
    }

    /// Passes a key that came as a tone on to the other party, if that has agreed to telephone events.
    pub(crate) fn pass_key(&mut self, key: usize, digit: Digit, now: u64) {
        let other = self.legs[key].other;
        let Some(other) = other.filter(|other| self.legs[*other].takes_events()) else {
            return;
        };
        let Some(session) = self.legs[other].session else {
            return;
        };
        if digit.source == DigitSource::Tone
            && let Some(place) = self.place_of(session, other)
        {
            let duration = u16::try_from(digit.duration_ms).unwrap_or(u16::MAX);
            self.dial(session, place, &[digit.key], (duration, PAUSE_MS), now);
        }
    }
}

fn has_events(payloads: &[Payload]) -> bool {
    let event = |payload: &Payload| matches!(payload.kind, PayloadKind::TelephoneEvent { .. });
    payloads.iter().any(event)
}

/// After so long a silence a key is over, in milliseconds: some packets may be lost.
const LAPSE_MS: u64 = 200;
/// Between two keys that are passed on, in milliseconds: no longer than the shortest that is heard, so that
/// they don't pile up.
///
/// # Source
/// ITU-T Q.24 table A-1
const PAUSE_MS: u16 = 40;
/// 60 ms at 16 kHz and 120 ms at 8 kHz; of longer packets the rest goes unheard.
const MAX_SAMPLES: usize = 960;
