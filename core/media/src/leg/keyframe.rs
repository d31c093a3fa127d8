//! Pictures that stand alone, asked for when somebody begins to look.

use rtp::feedback::{self, Feedback};
use rtp::rtcp::Writer;

use super::Leg;
use crate::relay::{Buffer, SIZE};
use crate::sessions::Sessions;
use crate::{Event, SessionId, Side};

/// Who asks a side for pictures that stand alone.
#[derive(Debug)]
pub(crate) struct Keyframes {
    /// Under which name: its own, as the other party's tells of another clock.
    ssrc: u32,
    /// The side understands Full Intra Requests instead of Picture Loss Indications.
    full_intra: bool,
    /// Of the next Full Intra Request.
    number: u8,
    /// The request waits for the first packet, which tells whom it is for.
    waits: bool,
    /// When signalling was told of it last, in milliseconds.
    told: Option<u64>,
}

/// A picture is wanted that the side has to be asked for otherwise than in RTCP.
#[must_use]
#[derive(Debug)]
pub(crate) struct Aside;

impl Keyframes {
    pub(crate) const fn new(ssrc: u32) -> Self {
        Self {
            ssrc,
            full_intra: false,
            number: 0,
            waits: false,
            told: None,
        }
    }

    /// Has one asked for.
    pub(crate) const fn wish(&mut self, full_intra: bool) {
        (self.full_intra, self.waits) = (full_intra, true);
    }

    /// Whether signalling is told now. What is wanted right after is answered by the same picture.
    fn tells(&mut self, now: u64) -> bool {
        let early = self.told.is_some_and(|at| now < at + ASIDE_MS);
        let tells = std::mem::take(&mut self.waits) && !early;
        if tells {
            self.told = Some(now);
        }
        tells
    }
}

impl Leg {
    /// Asks for the picture that is wished for, as soon as there is somebody to ask.
    ///
    /// # Source
    /// RFC 4585 §6.3.1, RFC 5104 §4.3.1
    pub(crate) fn ask_for_keyframe(&mut self, now: u64) -> Option<Aside> {
        let keyframes = self.keyframes.as_mut().filter(|wish| wish.waits)?;
        let theirs = self.received.ssrc?;
        if self.remote.as_ref().is_some_and(|it| it.asked_aside) {
            return keyframes.tells(now).then_some(Aside);
        }
        keyframes.waits = false;
        let mut buffer: Buffer = [0; SIZE];
        let mut writer = Writer::new(&mut buffer[..MAX_REQUEST]);
        writer.receiver_report(keyframes.ssrc, &[]);
        writer.cname(keyframes.ssrc, "keyframes@dialtone");
        if keyframes.full_intra {
            keyframes.number = keyframes.number.wrapping_add(1);
            writer.full_intra(keyframes.ssrc, theirs, keyframes.number);
        } else {
            writer.picture_loss(keyframes.ssrc, theirs);
        }
        let len = writer.finish().len();
        self.send_rtcp(&mut buffer, len);
        None
    }

    /// Has a picture asked for when the side's next packet comes, if it is asked otherwise than in RTCP; false
    /// if it is not.
    pub(crate) fn wish_aside(&mut self) -> bool {
        let aside = self.is_asked_aside();
        if let Some(own) = self.own.as_ref().filter(|_| aside) {
            let ssrc = own.ssrc();
            let keyframes = self
                .keyframes
                .get_or_insert_with(|| Box::new(Keyframes::new(ssrc)));
            keyframes.wish(false);
        }
        aside
    }

    /// Whether feedback to this side means nothing to it.
    fn is_asked_aside(&self) -> bool {
        self.remote.as_ref().is_some_and(|it| it.asked_aside)
    }
}

impl Sessions {
    /// [`Command::Keyframe`](crate::Command::Keyframe).
    pub(crate) fn want_keyframe(
        &mut self,
        id: SessionId,
        place: (u8, Side),
        full_intra: bool,
        now: u64,
    ) {
        let Some(key) = self.leg_at(id, place) else {
            return;
        };
        self.keyframes(key).wish(full_intra);
        let leg = &mut self.legs[key];
        // Who is asked otherwise is asked with its next packet.
        if !leg.is_asked_aside() {
            let _ = leg.ask_for_keyframe(now);
        }
    }

    /// Reads the feedback that a party gives about the pictures of the side `key`, if that one has to be told
    /// of it otherwise than in RTCP.
    pub(crate) fn hear_wishes(
        &mut self,
        key: usize,
        datagram: &[u8],
        now: u64,
        deliver: &dyn Fn(Event),
    ) {
        if !self.legs[key].is_asked_aside() {
            return;
        }
        if feedback::read(datagram).any(|it| it == Feedback::Keyframe) {
            self.keyframes(key).wish(false);
            if let Some(aside) = self.legs[key].ask_for_keyframe(now) {
                self.tell_wish(key, &aside, deliver);
            }
        }
    }

    /// Tells that a picture of the side `key` is wanted.
    pub(crate) fn tell_wish(&self, key: usize, _: &Aside, deliver: &dyn Fn(Event)) {
        if let Some(session) = self.legs[key].session
            && let Some((stream, side)) = self.place_of(session, key)
        {
            deliver(Event::PictureWanted {
                session,
                stream,
                side,
            });
        }
    }

    fn keyframes(&mut self, key: usize) -> &mut Keyframes {
        let ssrc = self.mint.number();
        let keyframes = &mut self.legs[key].keyframes;
        keyframes.get_or_insert_with(|| Box::new(Keyframes::new(ssrc)))
    }
}

/// A report, a name and a request are shorter.
const MAX_REQUEST: usize = 128;
/// How often signalling is told of one side at most, in milliseconds: each picture costs as much as ten others.
const ASIDE_MS: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_in_quick_succession_are_one() {
        let mut keyframes = Keyframes::new(1);
        assert!(!keyframes.tells(0));
        for (now, tells) in [(1000, true), (1999, false), (2000, true), (5000, true)] {
            keyframes.wish(false);
            assert_eq!(keyframes.tells(now), tells, "{now}");
            assert!(!keyframes.tells(now + 1));
        }
    }
}
