//! The pictures of one after the other as one stream.

use super::ring::Shot;
use super::{CLOCK, picture::Picture};

/// Makes the numbers of several streams, one shown after the other, go on without a break.
#[derive(Debug, Default)]
pub(super) struct Splice {
    /// What the stream that is shown is off by; none: nothing has been shown.
    now: Option<Offsets>,
    /// The highest that have been sent.
    sequence: u16,
    timestamp: u32,
    picture: u16,
    base: u8,
    /// When the last one was sent, in milliseconds.
    at: u64,
}

#[derive(Clone, Copy, Debug)]
struct Offsets {
    /// The source's sequence number where its part begins.
    first: u16,
    sequence: u16,
    timestamp: u32,
    picture: u16,
    base: u8,
}

impl Splice {
    /// A stream that begins behind these numbers.
    pub(super) fn new(sequence: u16, timestamp: u32, now: u64) -> Self {
        Self {
            sequence,
            timestamp,
            at: now,
            ..Self::default()
        }
    }

    /// Another source is shown, with this packet first.
    pub(super) fn change(&mut self, shot: &Shot, picture: &Picture, now: u64) {
        // A picture's time has passed at least, whatever the clocks say.
        let passed = now.saturating_sub(self.at).clamp(LEAST_MS, MOST_MS) as u32 * CLOCK;
        let number = picture.number.map_or(0, |(number, ..)| number);
        let base = picture.base.map_or(0, |(base, _)| base);
        self.now = Some(Offsets {
            first: shot.sequence,
            sequence: self.sequence.wrapping_add(1).wrapping_sub(shot.sequence),
            timestamp: self
                .timestamp
                .wrapping_add(passed)
                .wrapping_sub(shot.timestamp),
            picture: self.picture.wrapping_add(1).wrapping_sub(number),
            base: self.base.wrapping_add(1).wrapping_sub(base),
        });
    }

    /// The sequence number and timestamp that a packet is sent with; its payload is changed to fit.
    /// None: it comes from before the source was shown.
    pub(super) fn place(
        &mut self,
        shot: &Shot,
        picture: &Picture,
        payload: &mut [u8],
        now: u64,
    ) -> Option<(u16, u32)> {
        let offsets = self.now.as_mut()?;
        let ahead = shot.sequence.wrapping_sub(offsets.first);
        if ahead >= 1 << 15 {
            return None;
        }
        // The first of a long run falls ever farther behind.
        if ahead >= 1 << 14 {
            offsets.first = shot.sequence.wrapping_sub(1 << 13);
        }
        let offsets = *offsets;
        let sequence = shot.sequence.wrapping_add(offsets.sequence);
        let timestamp = shot.timestamp.wrapping_add(offsets.timestamp);
        let (number, base) = offsets.renumber(picture, payload);
        if sequence.wrapping_sub(self.sequence) < 1 << 15 {
            (self.sequence, self.timestamp, self.at) = (sequence, timestamp, now);
            self.picture = number.unwrap_or(self.picture);
            self.base = base.unwrap_or(self.base);
        }
        Some((sequence, timestamp))
    }

    /// The sequence number that the source gave to what was sent as `sequence`; none: it is from
    /// another source.
    pub(super) fn original(&self, sequence: u16) -> Option<u16> {
        let offsets = self.now?;
        let original = sequence.wrapping_sub(offsets.sequence);
        (original.wrapping_sub(offsets.first) < 1 << 15).then_some(original)
    }
}

impl Offsets {
    /// Moves the numbers of a picture in its payload, and returns what they have become.
    ///
    /// # Source
    /// RFC 7741 §4.2: they go on by one from picture to picture.
    fn renumber(&self, picture: &Picture, payload: &mut [u8]) -> (Option<u16>, Option<u8>) {
        let number = picture.number.map(|(number, at, bits)| {
            let moved = number.wrapping_add(self.picture);
            if bits == 7 {
                payload[at] = moved as u8 & 0x7f;
            } else {
                payload[at..at + 2].copy_from_slice(&(moved | 0x8000).to_be_bytes());
            }
            moved
        });
        let base = picture.base.map(|(base, at)| {
            payload[at] = base.wrapping_add(self.base);
            payload[at]
        });
        (number, base)
    }
}

/// How far apart the pictures of two sources seem to be taken, in milliseconds.
const LEAST_MS: u64 = 10;
const MOST_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::super::VideoCodec;
    use super::*;

    /// A packet of a picture with these numbers.
    fn shot(sequence: u16, timestamp: u32, number: u16) -> (Shot, [u8; 6]) {
        let [high, low] = (number | 0x8000).to_be_bytes();
        let payload = [0x90, 0xc0, high, low, number as u8, 0];
        let shot = Shot {
            source: 1,
            sequence,
            timestamp,
            marker: true,
            len: payload.len(),
        };
        (shot, payload)
    }

    fn place(splice: &mut Splice, shot: &(Shot, [u8; 6]), now: u64) -> Option<(u16, u32, Picture)> {
        let (shot, mut payload) = *shot;
        let picture = Picture::of(VideoCodec::Vp8, &payload);
        let (sequence, timestamp) = splice.place(&shot, &picture, &mut payload, now)?;
        Some((sequence, timestamp, Picture::of(VideoCodec::Vp8, &payload)))
    }

    fn change(splice: &mut Splice, shot: &(Shot, [u8; 6]), now: u64) {
        let picture = Picture::of(VideoCodec::Vp8, &shot.1);
        splice.change(&shot.0, &picture, now);
    }

    #[test]
    fn one_source_goes_on_where_the_other_one_ended() {
        let mut splice = Splice::new(65_534, 100, 0);
        let first = shot(7, 90_000, 0x7fff);
        assert_eq!(place(&mut splice, &first, 0), None);
        change(&mut splice, &first, 20);
        let (sequence, timestamp, picture) = place(&mut splice, &first, 20).unwrap();
        assert_eq!((sequence, timestamp), (65_535, 100 + 20 * 90));
        assert_eq!(picture.number.unwrap().0, 1);
        // One is lost, and a late one comes.
        let (sequence, timestamp, picture) = place(&mut splice, &shot(9, 96_000, 1), 60).unwrap();
        assert_eq!((sequence, timestamp), (1, 1900 + 6000));
        assert_eq!((picture.number.unwrap().0, picture.base.unwrap().0), (3, 3));
        assert_eq!(place(&mut splice, &shot(8, 93_000, 0), 70).unwrap().0, 0);
        assert_eq!(place(&mut splice, &shot(6, 87_000, 0x7ffe), 70), None);
        assert_eq!(splice.original(1), Some(9));

        let other = shot(40_000, 5, 500);
        change(&mut splice, &other, 100);
        let (sequence, timestamp, picture) = place(&mut splice, &other, 100).unwrap();
        assert_eq!((sequence, timestamp), (2, 7900 + 40 * 90));
        assert_eq!((picture.number.unwrap().0, picture.base.unwrap().0), (4, 4));
        assert_eq!(splice.original(1), None);
    }

    #[test]
    fn a_long_run_never_ends() {
        let mut splice = Splice::new(0, 0, 0);
        change(&mut splice, &shot(0, 0, 0), 0);
        for n in 0..200_000u32 {
            let shot = shot(n as u16, n * 3000, n as u16 & 0x7fff);
            let (sequence, ..) = place(&mut splice, &shot, u64::from(n) * 33).unwrap();
            assert_eq!(sequence, (n as u16).wrapping_add(1));
        }
    }
}
