//! Digits that are heard on a leg, each told once.

use codec::dtmf::Key;
use rtp::telephone_event::{Receiver, TelephoneEvent};
use rtp::{Header, Packet};

use crate::sessions::Sessions;
use crate::{Event, Payload, PayloadKind};

/// How a digit came.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DigitSource {
    /// As a telephone event.
    ///
    /// # Source
    /// RFC 4733
    TelephoneEvent,
    /// As a tone in the sound.
    ///
    /// # Source
    /// ITU-T Q.23, Q.24
    Tone,
}

/// A digit that is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Digit {
    pub(crate) key: Key,
    /// For how long it was pressed, in milliseconds.
    pub(crate) duration_ms: u32,
    pub(crate) source: DigitSource,
}

/// Follows the telephone events of one side.
#[derive(Debug, Default)]
pub(crate) struct Digits {
    /// The payload types that are events: one bit each.
    numbers: u128,
    /// Ticks in a millisecond of the event that was heard last.
    clock: u32,
    ssrc: u32,
    receiver: Receiver,
    /// When an event was heard last, in milliseconds.
    heard: u64,
    budget: Budget,
}

impl Digits {
    /// Learns which payload types are events.
    pub(crate) fn agree(&mut self, payloads: &[Payload]) {
        let events = payloads
            .iter()
            .filter(|payload| event_clock(payload).is_some());
        self.numbers = events.fold(0, |bits, payload| bits | bit(payload.number));
    }

    /// Whether a packet of this payload type is an event.
    pub(crate) fn knows(&self, number: u8) -> bool {
        self.numbers & bit(number) != 0
    }

    /// Takes in a packet whose payload type is an event; what is over is told.
    pub(crate) fn hear(
        &mut self,
        datagram: &[u8],
        header: &Header,
        payloads: &[Payload],
        now: u64,
    ) -> Option<Digit> {
        let packet = Packet::parse(datagram).ok()?;
        let report = TelephoneEvent::parse(packet.payload()).ok()?;
        let mut payloads = payloads.iter().filter(|p| p.number == header.payload_type);
        let clock = payloads.find_map(event_clock)?;
        let mut before = None;
        if self.ssrc != header.ssrc {
            // Timestamps of another source say nothing about those before.
            before = self.receiver.lost();
            self.receiver = Receiver::default();
            self.ssrc = header.ssrc;
        }
        self.heard = now;
        let ended = self.receiver.handle(header.timestamp, report).ended;
        let clock = std::mem::replace(&mut self.clock, clock);
        self.digit(before.or(ended)?, clock, now)
    }

    /// Ends an event of which nothing has been heard for some time.
    pub(crate) fn lapse(&mut self, now: u64) -> Option<Digit> {
        if !self.receiver.is_active() || now.saturating_sub(self.heard) < LAPSE_MS {
            return None;
        }
        let lost = self.receiver.lost()?;
        self.digit(lost, self.clock, now)
    }

    fn digit(&mut self, (event, ticks): (u8, u32), clock: u32, now: u64) -> Option<Digit> {
        // The first packet may be all that came of the event.
        let clock = if clock == 0 { self.clock } else { clock };
        let key = Key::from_event(event)?;
        self.budget.take(now).then(|| Digit {
            key,
            duration_ms: ticks / clock.max(1),
            source: DigitSource::TelephoneEvent,
        })
    }
}

/// What may be told in a second: more than anyone can press; the rest is noise, and dropped.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    second: u64,
    spent: u8,
}

impl Budget {
    /// Whether one more may be told.
    pub(crate) fn take(&mut self, now: u64) -> bool {
        let second = now / 1000;
        if self.second != second {
            (self.second, self.spent) = (second, 0);
        }
        self.spent = self.spent.saturating_add(1);
        self.spent <= DIGITS_PER_SECOND
    }
}

impl Sessions {
    /// Tells signalling of a digit that was heard on the leg `key`.
    pub(crate) fn tell_digit(&self, key: usize, digit: Digit, deliver: &dyn Fn(Event)) {
        let place = self.legs[key].session.and_then(|session| {
            let (stream, side) = self.place_of(session, key)?;
            Some((session, stream, side))
        });
        if let Some((session, stream, side)) = place {
            deliver(Event::Digit {
                session,
                stream,
                side,
                digit: digit.key,
                duration_ms: digit.duration_ms,
                source: digit.source,
            });
        }
    }
}

/// Ticks in a millisecond of a payload that is an event.
fn event_clock(payload: &Payload) -> Option<u32> {
    match payload.kind {
        PayloadKind::TelephoneEvent { clock } => Some((clock / 1000).max(1)),
        _ => None,
    }
}

const fn bit(number: u8) -> u128 {
    1 << (number & 0x7f)
}

/// Reports come every 50 ms or oftener; three of them may be lost.
///
/// # Source
/// RFC 4733 §2.5.1.2, §2.5.2.2
const LAPSE_MS: u64 = 200;
/// 40 ms of tone and 40 of pause are the shortest that receivers need take (ITU-T Q.24).
const DIGITS_PER_SECOND: u8 = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rtp::HEADER_LEN;
    use rtp::telephone_event::Sender;

    use super::*;

    const EVENTS: [(u8, u32); 2] = [(101, 8000), (97, 48_000)];

    fn payloads() -> Vec<Payload> {
        let payload = |(number, clock)| Payload {
            number,
            kind: PayloadKind::TelephoneEvent { clock },
            ptime: 0,
        };
        EVENTS.map(payload).to_vec()
    }

    fn digits() -> Digits {
        let mut digits = Digits::default();
        digits.agree(&payloads());
        digits
    }

    fn hear(digits: &mut Digits, at: (u8, u32, u32), event: [u8; 4], now: u64) -> Option<Digit> {
        let (payload_type, ssrc, timestamp) = at;
        let header = Header {
            payload_type,
            ssrc,
            timestamp,
            ..Header::default()
        };
        let mut datagram = [0; HEADER_LEN + 4];
        header.encode(&mut datagram);
        datagram[HEADER_LEN..].copy_from_slice(&event);
        digits.hear(&datagram, &header, &payloads(), now)
    }

    /// The keys heard of presses of `ms` each, of whose packets `lost` tells which are lost.
    fn dial(keys: &[u8], ms: u32, lost: impl Fn(usize) -> bool) -> Vec<(char, u32)> {
        let mut digits = digits();
        let mut heard = Vec::new();
        let (mut now, mut n) = (0, 0);
        for (index, event) in keys.iter().enumerate() {
            let begin = 1000 + index as u32 * 4000;
            let mut sender = Sender::new(*event, begin, 160, Some(ms * 8));
            while let Some(report) = sender.report() {
                n += 1;
                now += 20;
                if !lost(n) {
                    let at = (101, 7, report.timestamp);
                    heard.extend(hear(&mut digits, at, report.event.encode(), now));
                }
            }
            now += 400;
            heard.extend(digits.lapse(now));
        }
        heard
            .iter()
            .map(|d| (d.key.char(), d.duration_ms))
            .collect()
    }

    /// RFC 4733 §2.5.1.4: the end is said three times.
    #[test]
    fn rfc4733_2_5_1_4_each_key_is_told_once() {
        let heard = dial(&[1, 1, 11, 15], 100, |_| false);
        assert_eq!(heard, [('1', 100), ('1', 100), ('#', 100), ('D', 100)]);
        // One packet of three is lost.
        assert_eq!(dial(&[4, 4], 100, |n| n % 3 == 0).len(), 2);
        // All ends are lost.
        let heard = dial(&[4, 5], 100, |n| matches!(n % 7, 5 | 6 | 0));
        assert_eq!(heard, [('4', 80), ('5', 80)]);
    }

    #[test]
    fn a_key_is_over_when_the_next_one_or_another_source_begins() {
        let mut digits = digits();
        assert_eq!(hear(&mut digits, (101, 7, 0), [3, 10, 1, 64], 0), None);
        let three = hear(&mut digits, (97, 7, 4000), [4, 10, 3, 192], 20).unwrap();
        assert_eq!((three.key.char(), three.duration_ms), ('3', 40));
        let four = hear(&mut digits, (101, 8, 77), [16, 10, 0, 160], 40).unwrap();
        assert_eq!((four.key.char(), four.duration_ms), ('4', 20));
        // A flash of the hook is no key.
        assert_eq!(digits.lapse(1000), None);
    }

    proptest! {
        #[test]
        fn no_more_is_told_than_can_be_pressed(
            steps in prop::collection::vec((any::<u32>(), any::<[u8; 4]>(), 0u64..30), 0..200),
        ) {
            let mut digits = digits();
            let (mut now, mut told) = (0, 0);
            for (timestamp, event, ms) in steps {
                now += ms;
                told += u64::from(hear(&mut digits, (101, timestamp % 3, timestamp), event, now).is_some());
                told += u64::from(digits.lapse(now).is_some());
            }
            prop_assert!(told <= (now / 1000 + 1) * u64::from(DIGITS_PER_SECOND));
        }
    }
}
