//! What is wrong with the sound of a call, told once it is certain.

use codec::Codec;
use rtp::{Header, Packet};
use slab::Slab;

use crate::leg::Leg;
use crate::{Side, SideStats};

/// Something that the parties of a call will complain about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Alarm {
    /// Nothing has come from the party since it was told where to send to.
    NoRtp {
        /// The other party is heard, or we speak in its place: sound goes one way only.
        one_way: bool,
        /// Packets that came on its port from somewhere else, and were dropped.
        strangers: u64,
    },
    /// Packets come, but all that is in them since the beginning is digital silence. Looked for in G.711
    /// only, where that is cheap.
    Silence,
    /// No way to the party was found: neither our checks nor its own came through.
    ///
    /// # Source
    /// RFC 8445 §8.1.2.
    NoWay,
    /// The party has not consented to receive for 30 seconds, so nothing is sent to it any more.
    ///
    /// # Source
    /// RFC 7675 §5.1.
    NoConsent,
    /// Packets came, but none has for so long.
    Stopped {
        /// For how many seconds.
        seconds: u16,
    },
    /// Packets come with a payload type that was not agreed.
    WrongCodec {
        /// The payload type.
        number: u8,
    },
}

impl Alarm {
    const fn bit(self) -> u8 {
        match self {
            Self::NoRtp { .. } => 1,
            Self::Silence => 2,
            Self::WrongCodec { .. } => 4,
            Self::Stopped { .. } => STOPPED,
            // Told as they happen.
            Self::NoWay | Self::NoConsent => 0,
        }
    }
}

/// Watches over what one side sends.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Since when packets are expected, in milliseconds; none: not yet.
    since: Option<u64>,
    /// What has been told since: one bit each.
    told: u8,
    /// Something has been heard that is no silence, so nothing more is looked at.
    loud: bool,
    /// Packets of silence.
    quiet: u32,
    /// When a packet came last, or was expected anew, in milliseconds.
    spoke: u64,
}

impl Watch {
    /// Packets are expected from now on, none of which has come yet.
    pub(crate) fn expect(&mut self, now: u64) {
        (self.since, self.told) = (Some(now), 0);
    }

    /// Whether nothing of what is still to come will be looked at, or has to be.
    pub(crate) fn is_over(&self) -> bool {
        self.loud || self.told & Alarm::Silence.bit() != 0
    }

    /// Somebody speaks, or is to speak again: should that stop, that is news.
    pub(crate) fn go_on(&mut self, now: u64) {
        self.spoke = now;
        self.told &= !STOPPED;
    }

    /// Looks at the sound of a packet of `codec`.
    pub(crate) fn note(&mut self, datagram: &[u8], codec: Option<Codec>) {
        if self.loud {
            return;
        }
        let Ok(packet) = Packet::parse(datagram) else {
            return;
        };
        let payload = packet.payload();
        let silent = match codec {
            // The steps next to zero, of either sign.
            Some(Codec::Pcmu) => all(payload, |byte| byte | 0x80 >= 0xfc),
            Some(Codec::Pcma) => all(payload, |byte| (byte ^ 0x55) & 0x7f <= 3),
            _ => return,
        };
        let same = |pair: &[u8]| pair[0] == pair[1];
        if silent || payload.windows(2).all(same) {
            self.quiet = self.quiet.saturating_add(1);
        } else {
            self.loud = true;
        }
    }

    /// What is wrong at `now` with a side that has sent `stats`; the `other` one is heard, or not.
    fn find(&self, stats: &SideStats, other: bool, strange: Option<u8>, now: u64) -> Option<Alarm> {
        let waited = now.saturating_sub(self.since?);
        let patience = if other { ONE_WAY_MS } else { NOTHING_MS };
        let alarm = if stats.packets == 0 {
            (waited >= patience).then_some(Alarm::NoRtp {
                one_way: other,
                strangers: stats.rejected,
            })
        } else if let Some(number) = strange {
            Some(Alarm::WrongCodec { number })
        } else if now.saturating_sub(self.spoke) >= STOPPED_MS {
            let seconds = (STOPPED_MS / 1000) as u16;
            Some(Alarm::Stopped { seconds })
        } else {
            let silent = !self.loud && self.quiet >= SILENT_PACKETS && waited >= SILENT_MS;
            silent.then_some(Alarm::Silence)
        };
        alarm.filter(|alarm| self.told & alarm.bit() == 0)
    }
}

/// Whether all bytes are alike in this: without a branch for each, so that many are looked at in one step.
fn all(bytes: &[u8], is: impl Fn(u8) -> bool) -> bool {
    let mut pieces = bytes.chunks(PIECE);
    pieces.all(|piece| piece.iter().fold(true, |all, byte| all & is(*byte)))
}

impl Leg {
    /// Packets are expected from this side from now on. Who has sent some before may pause.
    pub(crate) fn expect(&mut self, now: u64) {
        if self.stats().packets == 0 {
            self.watch.expect(now);
        }
        self.watch.go_on(now);
    }

    /// Looks at an accepted packet, for what is told of the quality and of what is wrong.
    pub(crate) fn look(&mut self, datagram: &[u8], header: &Header, now: u64) {
        self.watch.go_on(now);
        if self.gist.is_meaningful {
            let payloads = || self.remote.as_ref().map_or(&[][..], |r| r.meaning());
            self.quality.note(header, payloads, now);
            self.watch.note(datagram, self.quality.codec());
        }
    }
}

/// What is wrong with a stream at `now`: on which side, and what; each thing once.
pub(crate) fn find(
    all: &mut Slab<Leg>,
    stream: u8,
    legs: [Option<usize>; 2],
    now: u64,
) -> Option<(Side, Alarm)> {
    [Side::Caller, Side::Callee].into_iter().find_map(|side| {
        let key = legs[side.index()]?;
        let (leg, other) = (&all[key], legs[side.other().index()].map(|key| &all[key]));
        // Nobody waits for pictures.
        let sound = stream == 0 || leg.gist.is_meaningful;
        let ends_here = leg.server.is_some() || leg.seat.is_some();
        let expected = ends_here || other.is_some_and(Leg::is_open);
        if !(leg.is_open() && sound && expected) {
            return None;
        }
        let known = |number: &u8| {
            let mut theirs = other.map_or(&[][..], Leg::meaning).iter();
            theirs.any(|payload| payload.number == *number)
        };
        let strange = leg.quality.strange(STRANGE_PACKETS);
        let strange = strange.filter(|number| !known(number));
        let heard = other.is_some_and(|other| other.stats().packets > 0);
        let one_way = heard || ends_here;
        let alarm = leg.watch.find(&leg.stats(), one_way, strange, now)?;
        all[key].watch.told |= alarm.bit();
        Some((side, alarm))
    })
}

/// How long one side may be heard alone, and how long nobody, in milliseconds.
const ONE_WAY_MS: u64 = 5000;
const NOTHING_MS: u64 = 10_000;
/// How long a party may say nothing before that is odd: 20 seconds, most of them sent.
const SILENT_MS: u64 = 20_000;
const SILENT_PACKETS: u32 = 500;
/// How long somebody who has spoken may send nothing, in milliseconds: more than who saves silence does, since a
/// description of the silence comes now and then.
///
/// # Source
/// RFC 3389 §4
const STOPPED_MS: u64 = 15_000;
/// The bit of [`Alarm::Stopped`].
const STOPPED: u8 = 8;
/// Packets of a payload type that means nothing: a second of them.
const STRANGE_PACKETS: u32 = 50;

/// Bytes that are looked at before it is decided whether to go on.
const PIECE: usize = 32;

#[cfg(test)]
mod tests {
    use rtp::HEADER_LEN;

    use super::*;

    fn watch(packets: u64, waited: u64, other: bool) -> Option<Alarm> {
        let mut watch = Watch::default();
        watch.expect(1000);
        let stats = SideStats {
            packets,
            ..SideStats::default()
        };
        watch.go_on(waited);
        watch.find(&stats, other, None, 1000 + waited)
    }

    #[test]
    fn a_side_that_sends_nothing_is_told_of() {
        let nothing = |one_way| Alarm::NoRtp {
            one_way,
            strangers: 0,
        };
        assert_eq!(watch(0, 4999, true), None);
        assert_eq!(watch(0, 5000, true), Some(nothing(true)));
        assert_eq!(watch(0, 9999, false), None);
        assert_eq!(watch(0, 10_000, false), Some(nothing(false)));
        assert_eq!(watch(1, 60_000, true), None);
        assert_eq!(
            Watch::default().find(&SideStats::default(), true, None, 60_000),
            None
        );
    }

    #[test]
    fn digital_silence_is_told_of_until_something_is_heard() {
        let packet = |byte: fn(usize) -> u8| {
            let mut packet = [0; HEADER_LEN + 160];
            Header::default().encode(&mut packet);
            for (n, place) in packet[HEADER_LEN..].iter_mut().enumerate() {
                *place = byte(n);
            }
            packet
        };
        let stats = SideStats {
            packets: 600,
            ..SideStats::default()
        };
        let speech = packet(|n| n as u8);
        for (codec, silence) in [
            (Codec::Pcmu, packet(|n| [0xff, 0x7f, 0xfe][n % 3])),
            (Codec::Pcma, packet(|n| [0xd5, 0x55, 0xd4][n % 3])),
            (Codec::Pcma, packet(|_| 7)),
        ] {
            let mut watch = Watch::default();
            watch.expect(0);
            (0..600).for_each(|_| watch.note(&silence, Some(codec)));
            watch.go_on(19_000);
            assert_eq!(watch.find(&stats, true, None, 19_999), None);
            assert_eq!(watch.find(&stats, true, None, 20_000), Some(Alarm::Silence));
            watch.note(&speech, Some(codec));
            assert_eq!(watch.find(&stats, true, None, 20_000), None);
        }
    }

    #[test]
    fn sound_that_stops_is_told_of_each_time_it_does() {
        let mut watch = Watch::default();
        watch.expect(0);
        let stats = SideStats {
            packets: 60,
            ..SideStats::default()
        };
        let find = |watch: &mut Watch, now| {
            let alarm = watch.find(&stats, true, None, now)?;
            watch.told |= alarm.bit();
            Some(alarm)
        };
        for begun in [1000, 40_000] {
            watch.go_on(begun);
            assert_eq!(find(&mut watch, begun + 14_999), None);
            let stopped = Alarm::Stopped { seconds: 15 };
            assert_eq!(find(&mut watch, begun + 15_000), Some(stopped));
            assert_eq!(find(&mut watch, begun + 15_250), None);
        }
    }

    #[test]
    fn each_thing_is_told_once() {
        let mut watch = Watch::default();
        watch.expect(0);
        let stats = SideStats {
            packets: 60,
            ..SideStats::default()
        };
        let alarm = watch.find(&stats, true, Some(18), 2000).unwrap();
        assert_eq!(alarm, Alarm::WrongCodec { number: 18 });
        watch.told |= alarm.bit();
        assert_eq!(watch.find(&stats, true, Some(18), 2250), None);
    }
}
