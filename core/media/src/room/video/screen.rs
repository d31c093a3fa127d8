//! A participant's place among the pictures: what it sends, and what it is shown.

use rtp::{HEADER_LEN, Header};

use super::camera::Camera;
use super::picture::Picture;
use super::ring::Shot;
use super::splice::Splice;
use super::{CLOCK, Stage, VideoFormat};
use crate::SessionId;
use crate::convert::Own;

/// What a stream of pictures has while its participant is in a room.
#[derive(Debug)]
pub(crate) struct Screen {
    /// The worker's part of the room.
    pub(in crate::room) mixer: usize,
    pub(super) session: SessionId,
    pub(super) format: VideoFormat,
    pub(super) camera: Camera,
    /// Whose pictures are shown, and whose are to be, since when in milliseconds.
    shown: u64,
    wanted: u64,
    since: u64,
    splice: Splice,
}

impl Screen {
    /// A place in the part `mixer` of a room, for a stream that goes on as `own`.
    pub(super) fn new(
        mixer: usize,
        session: SessionId,
        format: VideoFormat,
        own: &mut Own,
        now: u64,
    ) -> Self {
        own.resume(CLOCK, now);
        let (sequence, timestamp) = own.last();
        Self {
            mixer,
            session,
            format,
            camera: Camera::default(),
            shown: 0,
            wanted: 0,
            since: now,
            splice: Splice::new(sequence, timestamp, now),
        }
    }

    /// The worker's part of its room.
    pub(crate) fn mixer(&self) -> usize {
        self.mixer
    }

    /// Looks who is to be seen. A keyframe of somebody new is wanted.
    pub(super) fn look(&mut self, stage: &Stage, now: u64) {
        let wanted = stage.seen_by(self.session);
        if std::mem::replace(&mut self.wanted, wanted) != wanted {
            self.since = now;
            if wanted != self.shown && self.format.receives {
                stage.wish(wanted);
            }
        }
    }

    /// Whose pictures are shown; 0: nobody's.
    pub(super) fn shown(&self) -> u64 {
        self.shown
    }

    /// Makes the packet that the participant gets of this one, at the start of `buffer`, and returns its
    /// length; none: it is not to see it.
    pub(super) fn show(
        &mut self,
        own: &mut Own,
        (shot, payload): (&Shot, &[u8]),
        buffer: &mut [u8],
        now: u64,
    ) -> Option<usize> {
        let candidate = shot.source == self.shown || shot.source == self.wanted;
        if !candidate || !self.format.receives {
            return None;
        }
        let picture = Picture::of(self.format.codec, payload);
        if shot.source != self.shown {
            // Better a broken picture, which its receiver complains about, than somebody else's.
            let waited = now.saturating_sub(self.since) >= PATIENCE_MS;
            if !picture.keyframe && !waited {
                return None;
            }
            self.shown = shot.source;
            self.splice.change(shot, &picture, now);
        }
        self.write(own, (shot, payload), &picture, buffer, now)
    }

    /// Makes a packet once more that has been sent.
    pub(super) fn repeat(
        &mut self,
        own: &mut Own,
        (shot, payload): (&Shot, &[u8]),
        buffer: &mut [u8],
        now: u64,
    ) -> Option<usize> {
        let picture = Picture::of(self.format.codec, payload);
        self.write(own, (shot, payload), &picture, buffer, now)
    }

    /// The sequence number that the one who is shown gave to what was sent as `sequence`.
    pub(super) fn original(&self, sequence: u16) -> Option<u16> {
        self.splice.original(sequence)
    }

    fn write(
        &mut self,
        own: &mut Own,
        (shot, payload): (&Shot, &[u8]),
        picture: &Picture,
        buffer: &mut [u8],
        now: u64,
    ) -> Option<usize> {
        let end = HEADER_LEN + payload.len();
        let space = buffer.get_mut(HEADER_LEN..end)?;
        space.copy_from_slice(payload);
        let (sequence, timestamp) = self.splice.place(shot, picture, space, now)?;
        let header = Header {
            payload_type: self.format.payload_type,
            marker: shot.marker,
            sequence,
            timestamp,
            ..Header::default()
        };
        own.put(&mut buffer[..end], &header, now);
        Some(end)
    }
}

/// How long the one before is shown while a keyframe of somebody new has not come.
const PATIENCE_MS: u64 = 3000;

#[cfg(test)]
mod tests {
    use base::{Mint, Slot};
    use rtp::Packet;

    use super::super::VideoCodec;
    use super::*;

    const KEY: &[u8] = &[0x10, 0];
    const DELTA: &[u8] = &[0x10, 1];

    struct Room {
        stage: Stage,
        screen: Screen,
        own: Own,
        sequence: u16,
    }

    fn session(number: u64) -> SessionId {
        SessionId::new(Slot::new(1), number)
    }

    impl Room {
        /// What 9 sees of 1 and 2.
        fn new() -> Self {
            let stage = Stage::default();
            [1, 2].iter().for_each(|n| stage.enter(session(*n)));
            let mut own = Own::minted(&mut Mint::new(Slot::new(0), [1; 32]), 0);
            let format = VideoFormat {
                codec: VideoCodec::Vp8,
                payload_type: 96,
                sends: false,
                receives: true,
                repeats: false,
                intra: false,
            };
            let screen = Screen::new(0, session(9), format, &mut own, 0);
            let mut room = Self {
                stage,
                screen,
                own,
                sequence: 0,
            };
            room.screen.look(&room.stage, 0);
            room
        }

        fn sees(&mut self, source: u64, payload: &[u8], now: u64) -> Option<Header> {
            self.sequence += 1;
            let shot = Shot {
                source: session(source).raw(),
                sequence: self.sequence,
                timestamp: now as u32 * 90,
                marker: true,
                len: payload.len(),
            };
            let mut buffer = [0; 64];
            let sent = (&shot, payload);
            let len = self.screen.show(&mut self.own, sent, &mut buffer, now)?;
            let packet = Packet::parse(&buffer[..len]).unwrap();
            assert_eq!(packet.payload(), payload);
            Some(packet.header())
        }
    }

    #[test]
    fn the_one_before_is_shown_until_a_keyframe_comes() {
        let mut room = Room::new();
        assert_eq!(room.sees(1, DELTA, 0), None);
        let first = room.sees(1, KEY, 33).unwrap();
        room.stage.speaks(session(2));
        room.screen.look(&room.stage, 40);
        // One of them was for who was in this place before.
        assert_eq!(room.stage.wishes(session(2)), Some(2));
        assert_eq!(room.sees(2, DELTA, 50), None);
        let second = room.sees(1, DELTA, 66).unwrap();
        let third = room.sees(2, KEY, 80).unwrap();
        assert_eq!(room.sees(1, KEY, 99), None);
        let fourth = room.sees(2, DELTA, 113).unwrap();
        let all = [first, second, third, fourth];
        assert!(
            all.iter()
                .all(|h| h.ssrc == first.ssrc && h.payload_type == 96)
        );
        let ahead = |h: &Header| h.sequence.wrapping_sub(first.sequence);
        assert_eq!(all.each_ref().map(ahead), [0, 2, 3, 5]);
        let times = all.map(|h| h.timestamp.wrapping_sub(first.timestamp) / 90);
        assert_eq!(times, [0, 33, 47, 80]);
    }

    #[test]
    fn nobody_waits_for_a_keyframe_for_ever() {
        let mut room = Room::new();
        room.sees(1, KEY, 0).unwrap();
        room.stage.speaks(session(2));
        room.screen.look(&room.stage, 40);
        assert_eq!(room.sees(2, DELTA, 3039), None);
        assert!(room.sees(2, DELTA, 3040).is_some());
    }
}
