//! Keys that we press towards a party.

use std::collections::VecDeque;

use codec::dtmf::{Dialer, Key};
use codec::{Encoder, Parameters};
use rtp::HEADER_LEN;
use rtp::telephone_event::Sender;

use crate::convert::Own;
use crate::encoder::packet_time;
use crate::relay::MAX_DATAGRAM;
use crate::serve::Tick;
use crate::{Payload, PayloadKind};

/// Keys that wait to be pressed towards one party. While there are some, the party hears nothing else.
#[derive(Debug)]
pub(crate) struct Dialing {
    /// Its turns of the clock.
    pub(crate) ticket: u64,
    presses: VecDeque<Press>,
    manner: Manner,
}

/// One key, and for how many milliseconds it is pressed and let go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Press {
    pub(crate) key: Key,
    pub(crate) on: u16,
    pub(crate) off: u16,
}

/// How keys reach a party.
#[derive(Debug)]
enum Manner {
    Events(Events),
    Tones(Box<Tones>),
}

/// As telephone events.
///
/// # Source
/// RFC 4733
#[derive(Debug)]
struct Events {
    number: u8,
    /// Ticks of the event's clock in a millisecond.
    clock: u32,
    pressed: Option<Sender>,
    /// Milliseconds until the next key.
    pause: u16,
}

/// As sound, for a party that has agreed to no events.
#[derive(Debug)]
struct Tones {
    number: u8,
    ptime: u8,
    encoder: Encoder,
    pressed: Option<Dialer>,
    pcm: Vec<i16>,
}

impl Dialing {
    /// For a party that has agreed to `payloads` and whose stream has a clock of `clock` ticks in a
    /// millisecond; `None` if it understands neither events nor a codec that we have.
    pub(crate) fn new(payloads: &[Payload], clock: u32, ticket: u64) -> Option<Self> {
        let events = Events::new(payloads, clock).map(Manner::Events);
        let tones = || Some(Manner::Tones(Box::new(Tones::new(payloads)?)));
        Some(Self {
            ticket,
            presses: VecDeque::new(),
            manner: events.or_else(tones)?,
        })
    }

    /// Adds a key behind those that wait. When there are too many it is dropped: nobody dials so much.
    pub(crate) fn press(&mut self, press: Press) {
        if self.presses.len() < MOST_WAITING {
            self.presses.push_back(press);
        }
    }

    /// Writes what is due at `now` into `packet`, as a packet of `own`. [`Tick::Gone`]: all keys have
    /// been pressed.
    pub(crate) fn tick(&mut self, own: &mut Own, packet: &mut [u8], now: u64) -> Tick {
        match &mut self.manner {
            Manner::Events(events) => events.tick(&mut self.presses, own, packet, now),
            Manner::Tones(tones) => tones.tick(&mut self.presses, own, packet, now),
        }
    }

    /// A turn in which nobody can hear anything.
    pub(crate) fn hold() -> Tick {
        Tick::Later(STEP_MS)
    }
}

impl Events {
    /// The clock of events had better be that of the sound.
    ///
    /// # Source
    /// RFC 4733 §2.1
    fn new(payloads: &[Payload], clock: u32) -> Option<Self> {
        let events = payloads.iter().filter_map(|payload| match payload.kind {
            PayloadKind::TelephoneEvent { clock } => Some((payload.number, clock / 1000)),
            _ => None,
        });
        let (number, clock) = events.min_by_key(|event| event.1 != clock)?;
        Some(Self {
            number,
            // Longer steps than these do not fit the field of an event.
            clock: clock.clamp(1, 192),
            pressed: None,
            pause: 0,
        })
    }

    fn tick(
        &mut self,
        presses: &mut VecDeque<Press>,
        own: &mut Own,
        packet: &mut [u8],
        now: u64,
    ) -> Tick {
        if let Some(sender) = &mut self.pressed {
            if let Some(report) = sender.report() {
                let payload = report.event.encode();
                let len = HEADER_LEN + payload.len();
                packet[HEADER_LEN..len].copy_from_slice(&payload);
                own.tell(packet, self.number, payload.len(), &report, now);
                return Tick::Packet(len, STEP_MS);
            }
            self.pressed = None;
        }
        if self.pause > 0 {
            self.pause = self.pause.saturating_sub(STEP_MS.into());
            return Tick::Later(STEP_MS);
        }
        let Some(press) = presses.pop_front() else {
            return Tick::Gone;
        };
        let ticks = u32::from(press.on) * self.clock;
        let interval = u32::from(STEP_MS) * self.clock;
        let begin = own.timestamp_at(now);
        // The step is at most 20 ms at 192 kHz, which fits.
        let sender = Sender::new(press.key.event(), begin, interval as u16, Some(ticks));
        self.pressed = Some(sender);
        self.pause = press.off;
        // The first report comes once a step has passed.
        Tick::Later(STEP_MS)
    }
}

impl Tones {
    fn new(payloads: &[Payload]) -> Option<Self> {
        payloads.iter().find_map(|payload| {
            let PayloadKind::Codec(codec, parameters) = &payload.kind else {
                return None;
            };
            let parameters: &Parameters = parameters;
            let encoder = Encoder::new(*codec, parameters).ok()?;
            let ptime = packet_time(*codec, payload.ptime);
            let samples = encoder.sample_rate() / 1000 * u32::from(ptime);
            Some(Self {
                number: payload.number,
                ptime,
                encoder,
                pressed: None,
                pcm: vec![0; samples as usize],
            })
        })
    }

    fn tick(
        &mut self,
        presses: &mut VecDeque<Press>,
        own: &mut Own,
        packet: &mut [u8],
        now: u64,
    ) -> Tick {
        let mut filled = 0;
        while filled < self.pcm.len() {
            let rest = &mut self.pcm[filled..];
            let made = self.pressed.as_mut().map_or(0, |dialer| dialer.fill(rest));
            filled += made;
            if made == 0 {
                let Some(press) = presses.pop_front() else {
                    break;
                };
                let key = press.key.char();
                let key = key.encode_utf8(&mut [0; 4]).to_owned();
                let rate = self.encoder.sample_rate();
                self.pressed = Some(Dialer::new(&key, press.on, press.off, rate));
            }
        }
        if filled == 0 {
            return Tick::Gone;
        }
        self.pcm[filled..].fill(0);
        let codec = self.encoder.codec();
        let ticks = u32::from(self.ptime) * codec.clock() / 1000;
        match self
            .encoder
            .encode(&self.pcm, &mut packet[HEADER_LEN..MAX_DATAGRAM])
        {
            Ok(len @ 1..) => {
                own.make(packet, self.number, len, ticks, now);
                Tick::Packet(HEADER_LEN + len, self.ptime)
            }
            _ => {
                own.advance(ticks, now);
                Tick::Later(self.ptime)
            }
        }
    }
}

/// Keys that wait at once for one party.
const MOST_WAITING: usize = 64;
/// How often a key is told of while it is pressed.
const STEP_MS: u8 = 20;

#[cfg(test)]
mod tests {
    use base::{Mint, Slot};
    use codec::dtmf::{Detector, Event};
    use codec::{Codec, Decoder};
    use rtp::Packet;
    use rtp::telephone_event::{Receiver, TelephoneEvent};

    use super::*;

    fn own() -> Own {
        let token = Mint::new(Slot::new(0), [1; 32]).token();
        Own::new([7, 65_534, 1000], token, 0)
    }

    fn payload(number: u8, kind: PayloadKind) -> Payload {
        Payload {
            number,
            kind,
            ptime: 20,
        }
    }

    /// The packets of all presses, each with its time.
    fn run(payloads: &[Payload], keys: &str) -> Vec<(u64, Vec<u8>)> {
        let mut own = own();
        let mut dialing = Dialing::new(payloads, 8, 1).unwrap();
        for key in keys.chars() {
            dialing.press(Press {
                key: Key::from_char(key).unwrap(),
                on: 100,
                off: 80,
            });
        }
        let mut packet = [0; MAX_DATAGRAM];
        let (mut now, mut sent) = (0, Vec::new());
        loop {
            match dialing.tick(&mut own, &mut packet, now) {
                Tick::Packet(len, ms) => {
                    sent.push((now, packet[..len].to_vec()));
                    now += u64::from(ms);
                }
                Tick::Later(ms) => now += u64::from(ms),
                Tick::Finished(_) => unreachable!(),
                Tick::Gone => return sent,
            }
        }
    }

    /// RFC 4733 §2.5.1.2, §2.5.1.4: marker, steps, and the end three times.
    #[test]
    fn rfc4733_2_5_1_4_keys_become_events() {
        let payloads = [
            payload(111, PayloadKind::Codec(Codec::Pcmu, Parameters::default())),
            payload(97, PayloadKind::TelephoneEvent { clock: 48_000 }),
            payload(101, PayloadKind::TelephoneEvent { clock: 8000 }),
        ];
        let sent = run(&payloads, "1#");
        let mut receiver = Receiver::default();
        let mut heard = Vec::new();
        for (n, (now, packet)) in sent.iter().enumerate() {
            let packet = Packet::parse(packet).unwrap();
            let header = packet.header();
            assert_eq!((header.payload_type, header.ssrc), (101, 7));
            assert_eq!(header.sequence, 65_534u16.wrapping_add(n as u16));
            assert_eq!(header.marker, n % 7 == 0);
            let begin = now - 20 * (n as u64 % 7 + 1);
            assert_eq!(header.timestamp, 1000 + begin as u32 * 8);
            let event = TelephoneEvent::parse(packet.payload()).unwrap();
            assert_eq!(event.end, n % 7 >= 4);
            heard.extend(receiver.handle(header.timestamp, event).ended);
        }
        assert_eq!(heard, [(1, 800), (11, 800)]);
        assert_eq!(sent.len(), 14);
    }

    #[test]
    fn without_events_keys_become_tones() {
        let codec = PayloadKind::Codec(Codec::G722, Parameters::default());
        let sent = run(&[payload(9, codec)], "1#A");
        let mut decoder = Decoder::new(Codec::G722, &Parameters::default()).unwrap();
        let mut detector = Detector::new(decoder.sample_rate());
        let mut heard = String::new();
        for (_, packet) in &sent {
            let mut pcm = [0; 2000];
            let packet = Packet::parse(packet).unwrap();
            let samples = decoder.decode(packet.payload(), &mut pcm).unwrap();
            detector.process(&pcm[..samples], |event| {
                if let Event::Pressed(key) = event {
                    heard.push(key.char());
                }
            });
        }
        assert_eq!((&*heard, sent.len()), ("1#A", 27));
        assert!(Dialing::new(&[], 8, 1).is_none());
    }
}
