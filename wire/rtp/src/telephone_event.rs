//! Telephone events: keys pressed, told beside the sound instead of in it.
//!
//! # Source
//! RFC 4733

use crate::Error;

/// One report of an event: a payload of `telephone-event`.
///
/// # Source
/// RFC 4733 §2.3
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TelephoneEvent {
    /// What happens: 0 to 15 are the keys 0 to 9, star, pound, A to D.
    pub event: u8,
    /// It is over.
    pub end: bool,
    /// Its level, −`volume` dBm0; 0 to 63.
    pub volume: u8,
    /// How long it has lasted so far, in ticks of the RTP clock.
    pub duration: u16,
}

impl TelephoneEvent {
    /// Reads a payload. Of several events in it, only the first; no one sends more.
    ///
    /// # Errors
    /// It is shorter than an event.
    pub fn parse(payload: &[u8]) -> Result<Self, Error> {
        let [event, flags, high, low] = *payload.first_chunk().ok_or(Error::Truncated)?;
        Ok(Self {
            event,
            end: flags & END != 0,
            volume: flags & 0x3f,
            duration: u16::from_be_bytes([high, low]),
        })
    }

    /// The payload.
    #[must_use]
    pub fn encode(&self) -> [u8; 4] {
        let [high, low] = self.duration.to_be_bytes();
        let end = if self.end { END } else { 0 };
        [self.event, end | self.volume.min(0x3f), high, low]
    }

    /// The key, in capitals; `None` for what is none.
    ///
    /// # Source
    /// RFC 4733 §3.2, table 3
    #[must_use]
    pub fn key(&self) -> Option<char> {
        KEYS.chars().nth(self.event.into())
    }
}

/// The event of a key: a digit, `*`, `#`, or `A` to `D` in either case.
///
/// # Source
/// RFC 4733 §3.2, table 3
#[must_use]
pub fn event(key: char) -> Option<u8> {
    let at = KEYS.chars().position(|k| k == key.to_ascii_uppercase())?;
    u8::try_from(at).ok()
}

/// Sends one event: a report each packet time while it lasts, and its end three times.
///
/// # Source
/// RFC 4733 §2.5.1
#[derive(Clone, Debug)]
pub struct Sender {
    event: u8,
    volume: u8,
    /// When the segment began.
    timestamp: u32,
    /// Ticks between reports.
    interval: u16,
    /// Of the segment, at the last report.
    duration: u16,
    /// Ticks until the event is over; `None`: until [`stop`](Self::stop).
    left: Option<u32>,
    first: bool,
    /// Reports of the end that are still to be sent.
    ends: u8,
}

/// What is to be sent in one packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// Of the RTP header: set in the first one.
    pub marker: bool,
    /// Of the RTP header: when the event, or this segment of it, began.
    pub timestamp: u32,
    /// The payload.
    pub event: TelephoneEvent,
}

impl Sender {
    /// An event that begins at `timestamp`, is reported every `interval` ticks and lasts
    /// `duration` ticks, or until it is stopped.
    #[must_use]
    pub fn new(event: u8, timestamp: u32, interval: u16, duration: Option<u32>) -> Self {
        Self {
            event,
            volume: VOLUME,
            timestamp,
            interval: interval.max(1),
            duration: 0,
            left: duration,
            first: true,
            ends: ENDS,
        }
    }

    /// The next report, due at the next packet time; `None`: the end has been said often enough.
    pub fn report(&mut self) -> Option<Report> {
        if self.ends == 0 {
            return None;
        }
        if self.ends == ENDS {
            self.grow();
        }
        let end = self.left == Some(0);
        if end {
            self.ends -= 1;
        }
        let marker = std::mem::take(&mut self.first);
        Some(Report {
            marker,
            timestamp: self.timestamp,
            event: TelephoneEvent {
                event: self.event,
                end,
                volume: self.volume,
                duration: self.duration,
            },
        })
    }

    /// Ends the event with the next report.
    pub fn stop(&mut self) {
        let interval = self.interval.into();
        self.left = Some(self.left.unwrap_or(interval).min(interval));
    }

    /// Lets one interval pass.
    fn grow(&mut self) {
        let left = self.left.unwrap_or(u32::MAX);
        let step = u16::try_from(left).unwrap_or(u16::MAX).min(self.interval);
        self.left = self.left.map(|left| left - u32::from(step));
        // RFC 4733 §2.5.1.3: what is too long for the field goes on in another segment.
        if u32::from(self.duration) + u32::from(step) > u32::from(u16::MAX) {
            self.timestamp = self.timestamp.wrapping_add(self.duration.into());
            self.duration = 0;
        }
        self.duration += step;
    }
}

/// Hears the events of one stream, each once.
///
/// # Source
/// RFC 4733 §2.5.2
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    event: u8,
    timestamp: u32,
    duration: u16,
    /// Ticks of the segments before this one.
    before: u32,
    over: bool,
}

/// What a report brings. Both at once if the end of the event before was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Heard {
    /// This event is over; it lasted so many ticks.
    pub ended: Option<(u8, u32)>,
    /// This event has begun.
    pub began: Option<u8>,
}

impl Receiver {
    /// Takes in a report that came with this RTP timestamp.
    pub fn handle(&mut self, timestamp: u32, report: TelephoneEvent) -> Heard {
        let mut heard = Heard::default();
        match &mut self.last {
            Some(last) if last.timestamp == timestamp => {
                last.duration = last.duration.max(report.duration);
            }
            Some(last) if last.is_followed_by(timestamp, report.event) => {
                last.before += timestamp.wrapping_sub(last.timestamp);
                last.timestamp = timestamp;
                last.duration = report.duration;
            }
            // An earlier event: its report came late.
            Some(last) if timestamp.wrapping_sub(last.timestamp) > 1 << 31 => return heard,
            _ => {
                heard.ended = self.lost();
                heard.began = Some(report.event);
                self.last = Some(Last {
                    event: report.event,
                    timestamp,
                    duration: report.duration,
                    before: 0,
                    over: false,
                });
            }
        }
        if report.end {
            heard.ended = heard.ended.or_else(|| self.lost());
        }
        heard
    }

    /// The event that lasts is over because nothing more is heard of it, or sound came again.
    pub fn lost(&mut self) -> Option<(u8, u32)> {
        let last = self.last.as_mut().filter(|last| !last.over)?;
        last.over = true;
        Some((last.event, last.before + u32::from(last.duration)))
    }

    /// Whether an event lasts.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.last.is_some_and(|last| !last.over)
    }
}

impl Last {
    /// Whether what began at `timestamp` is a further segment. Half of the field's range is long
    /// enough to tell it from the same key pressed again.
    fn is_followed_by(&self, timestamp: u32, event: u8) -> bool {
        let gap = timestamp.wrapping_sub(self.timestamp);
        !self.over && event == self.event && (1 << 15..1 << 16).contains(&gap)
    }
}

const KEYS: &str = "0123456789*#ABCD";
const END: u8 = 0x80;
/// Often enough that the loss of one is not noticed.
const ENDS: u8 = 3;
/// −10 dBm0.
const VOLUME: u8 = 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 4733 §2.3.
    #[test]
    fn rfc4733_2_3_payload() {
        let event = TelephoneEvent {
            event: 11,
            end: true,
            volume: 10,
            duration: 800,
        };
        assert_eq!(event.encode(), [11, 0x8a, 3, 0x20]);
        assert_eq!(TelephoneEvent::parse(&event.encode()), Ok(event));
        assert_eq!(TelephoneEvent::parse(&[1, 2, 3]), Err(Error::Truncated));
        assert_eq!(event.key(), Some('#'));
    }

    /// RFC 4733 §3.2.
    #[test]
    fn rfc4733_3_2_keys() {
        for (code, key) in KEYS.chars().enumerate() {
            assert_eq!(event(key), Some(code as u8));
        }
        assert_eq!(event('d'), Some(15));
        assert_eq!(event('E'), None);
        assert_eq!(TelephoneEvent::parse(&[16, 0, 0, 0]).unwrap().key(), None);
    }

    fn reports(sender: &mut Sender) -> Vec<Report> {
        std::iter::from_fn(|| sender.report()).take(2000).collect()
    }

    /// RFC 4733 §2.5.1.2.
    #[test]
    fn rfc4733_2_5_1_2_a_key_for_100_milliseconds() {
        let reports = reports(&mut Sender::new(5, 9000, 160, Some(800)));
        let durations: Vec<u16> = reports.iter().map(|r| r.event.duration).collect();
        assert_eq!(durations, [160, 320, 480, 640, 800, 800, 800]);
        let ends: Vec<bool> = reports.iter().map(|r| r.event.end).collect();
        assert_eq!(ends, [false, false, false, false, true, true, true]);
        assert!(reports.iter().all(|r| r.timestamp == 9000));
        let markers: Vec<bool> = reports.iter().map(|r| r.marker).collect();
        assert!(markers[0] && !markers[1..].contains(&true));
    }

    /// RFC 4733 §2.5.1.3.
    #[test]
    fn rfc4733_2_5_1_3_a_long_event_goes_on_in_segments() {
        let long = 65_535 + 30_000;
        let reports = reports(&mut Sender::new(1, u32::MAX - 7, 160, Some(long)));
        let mut receiver = Receiver::default();
        let heard: Vec<Heard> = reports
            .iter()
            .map(|r| receiver.handle(r.timestamp, r.event))
            .filter(|h| *h != Heard::default())
            .collect();
        let began = Heard {
            began: Some(1),
            ended: None,
        };
        let ended = Heard {
            began: None,
            ended: Some((1, long)),
        };
        assert_eq!(heard, [began, ended]);
        assert!(reports.iter().skip(1).all(|r| !r.marker));
    }

    #[test]
    fn a_key_is_stopped() {
        let mut sender = Sender::new(1, 0, 160, None);
        assert!(!sender.report().unwrap().event.end);
        assert!(!sender.report().unwrap().event.end);
        sender.stop();
        let rest = reports(&mut sender);
        assert_eq!(rest.len(), 3);
        assert!(rest.iter().all(|r| r.event.end && r.event.duration == 480));
    }

    /// RFC 4733 §2.5.2.2.
    #[test]
    fn rfc4733_2_5_2_2_each_event_is_heard_once_whatever_is_lost() {
        let first = reports(&mut Sender::new(1, 1000, 160, Some(480)));
        let second = reports(&mut Sender::new(1, 3000, 160, Some(480)));
        let mut receiver = Receiver::default();
        let mut hear = |r: &Report| receiver.handle(r.timestamp, r.event);
        // Of the first event, only the second report arrives.
        assert_eq!(hear(&first[1]).began, Some(1));
        let heard = hear(&second[0]);
        assert_eq!(heard.ended, Some((1, 320)));
        assert_eq!(heard.began, Some(1));
        // The end of the first one comes late.
        assert_eq!(hear(&first[4]), Heard::default());
        assert_eq!(hear(&second[3]).ended, Some((1, 480)));
        assert_eq!(hear(&second[4]), Heard::default());
        assert_eq!(hear(&second[1]), Heard::default());
    }

    #[test]
    fn an_event_whose_end_is_lost_is_over_when_nothing_comes() {
        let mut receiver = Receiver::default();
        let report = TelephoneEvent::parse(&[7, 10, 0, 160]).unwrap();
        assert_eq!(receiver.handle(0, report).began, Some(7));
        assert!(receiver.is_active());
        assert_eq!(receiver.lost(), Some((7, 160)));
        assert!(!receiver.is_active());
        assert_eq!(receiver.lost(), None);
    }

    proptest! {
        #[test]
        fn begins_and_ends_alternate(
            reports in prop::collection::vec((any::<u32>(), any::<[u8; 4]>()), 0..50),
        ) {
            let mut receiver = Receiver::default();
            let mut active = false;
            for (timestamp, payload) in reports {
                let report = TelephoneEvent::parse(&payload).unwrap();
                let mut bytes = report.encode();
                bytes[1] |= payload[1] & 0x40;
                prop_assert_eq!(bytes, payload);
                let heard = receiver.handle(timestamp % 70_000, report);
                if heard.began.is_some() {
                    prop_assert_eq!(heard.ended.is_some(), active || report.end);
                    active = receiver.is_active();
                } else if heard.ended.is_some() {
                    prop_assert!(active);
                    active = false;
                }
                prop_assert_eq!(active, receiver.is_active());
            }
        }
    }
}
