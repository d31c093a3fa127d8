//! What a worker does about recordings.

use super::{Recording, Start};
use crate::sessions::Sessions;
use crate::{Event, Payload, SessionId, Side};

impl Sessions {
    /// [`Command::Record`](crate::Command::Record).
    pub(crate) fn record(
        &mut self,
        session: SessionId,
        stream: u8,
        recording: Option<Recording>,
        now: u64,
    ) -> Option<Event> {
        let places = [Side::Caller, Side::Callee];
        let legs = places.map(|side| self.leg_at(session, (stream, side)));
        for key in legs.into_iter().flatten() {
            self.legs[key].tap = None;
        }
        let recording = recording?;
        let name = recording.name.clone();
        let failed = |error: &str| Event::Recorded {
            session,
            name,
            milliseconds: 0,
            error: Some(error.into()),
        };
        if legs == [None, None] {
            return Some(failed("there is no such stream"));
        }
        let start = Start {
            session,
            recording,
            payloads: places.map(|side| self.meaning_at(session, (stream, side))),
            epoch: self.epoch,
            now,
        };
        let Some(tap) = self.recorder.record(start) else {
            return Some(failed("too many recordings begin at once"));
        };
        for (key, tap) in legs.into_iter().zip([tap.clone(), tap.across()]) {
            if let Some(key) = key {
                self.legs[key].tap = Some(Box::new(tap));
            }
        }
        None
    }

    /// [`Command::PauseRecording`](crate::Command::PauseRecording).
    pub(crate) fn pause_recording(&mut self, session: SessionId, stream: u8, paused: bool) {
        for side in [Side::Caller, Side::Callee] {
            if let Some(key) = self.leg_at(session, (stream, side))
                && let Some(tap) = &self.legs[key].tap
            {
                tap.pause(paused);
            }
        }
    }

    /// Something else may have been agreed on with a side that is recorded.
    pub(crate) fn tell_recorder(&self, session: SessionId, (stream, side): (u8, Side)) {
        let key = self.leg_at(session, (stream, side));
        let Some(tap) = key.and_then(|key| self.legs[key].tap.as_ref()) else {
            return;
        };
        let meaning = self.meaning_at(session, (stream, side));
        self.recorder.agree(tap.number(), side, &meaning);
        let across = self.leg_at(session, (stream, side.other()));
        if across.is_none() {
            self.recorder.agree(tap.number(), side.other(), &meaning);
        }
    }

    /// What the payload types of a side mean; of one that is ours, what they mean to the other one.
    fn meaning_at(&self, session: SessionId, (stream, side): (u8, Side)) -> Vec<Payload> {
        let own = self.leg_at(session, (stream, side));
        let key = own.or_else(|| self.leg_at(session, (stream, side.other())));
        key.map_or(Vec::new(), |key| self.legs[key].meaning().to_vec())
    }
}
