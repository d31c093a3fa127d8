//! What a room's observers are told by the calls of those who are in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::conference::Meeting;
use super::{Alive, Call};
use crate::Event;
use crate::context::Context;
use crate::room_event::{RoomChange, RoomEvent};

/// What has been told of a participant's speech.
#[derive(Debug, Default)]
pub(super) struct Speech {
    talking: bool,
    /// When the next word about it may be said, if that was lately.
    again: Option<Instant>,
    /// Something else holds by now.
    untold: bool,
}

impl Call {
    /// Tells something about the party in its room.
    pub(super) fn tell_of_participant(&self, ctx: &mut Context<'_>, change: RoomChange) {
        let Some(place) = self.meeting.as_ref().and_then(Meeting::place) else {
            return;
        };
        let name = place.note(|seat| Arc::clone(&seat.name));
        ctx.out.events.push(Event::Room(Box::new(RoomEvent {
            room: Arc::clone(place.room()),
            participant: name.map(|name| (self.id, name)),
            change,
            at: ctx.clock.unix(ctx.now),
        })));
    }

    /// Tells what has been done in the party's room, whoever it was.
    pub(super) fn tell_room_news(&self, ctx: &mut Context<'_>) {
        let Some(place) = self.meeting.as_ref().and_then(Meeting::place) else {
            return;
        };
        let at = ctx.clock.unix(ctx.now);
        let (news, lost) = place.take_news();
        for (participant, change) in news {
            ctx.out.events.push(Event::Room(Box::new(RoomEvent {
                room: Arc::clone(place.room()),
                participant,
                change,
                at,
            })));
        }
        if lost > 0 {
            let room = Arc::clone(place.room());
            ctx.out.events.push(Event::RoomNewsLost { room, lost });
        }
    }

    /// The party leaves its room, if it is in one.
    pub(super) fn tell_left(&self, ctx: &mut Context<'_>) {
        if let Some(place) = self.meeting.as_ref().and_then(Meeting::place) {
            place.is_leaving();
        }
        self.tell_room_news(ctx);
        self.tell_of_participant(ctx, RoomChange::Left);
    }

    /// The party begins to speak in its room, or has stopped.
    pub(crate) fn talking(
        self: Box<Self>,
        ctx: &mut Context<'_>,
        talking: bool,
        ssrc: Option<u32>,
    ) -> Alive {
        if let Some(place) = self.meeting.as_ref().and_then(Meeting::place) {
            place.note(|seat| (seat.talking, seat.ssrc) = (talking, ssrc));
        }
        self.tell_speech(ctx)
    }

    /// The party is the one who speaks loudest in its room.
    pub(crate) fn leads(self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        if let Some(place) = self.meeting.as_ref().and_then(Meeting::place) {
            place.leads();
        }
        self.tell_speech(ctx)
    }

    /// Tells who speaks, unless something like that has just been told of the party: then later, what holds
    /// by then.
    pub(super) fn tell_speech(mut self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        let Some(meeting) = &mut self.meeting else {
            return Some(self);
        };
        let (place, speech) = meeting.place_and_speech();
        let Some(place) = place else {
            return Some(self);
        };
        if speech.again.is_some_and(|again| ctx.now < again) {
            speech.untold = true;
            return Some(self);
        }
        speech.untold = false;
        let talking = place.note(|seat| seat.talking).unwrap_or(false);
        let changed = std::mem::replace(&mut speech.talking, talking) != talking;
        let leads = place.leads_anew();
        if changed || leads {
            speech.again = Some(ctx.now + PAUSE);
        }
        if changed {
            self.tell_of_participant(ctx, RoomChange::Talking(talking));
        }
        if leads {
            self.tell_of_participant(ctx, RoomChange::ActiveSpeaker);
        }
        Some(self)
    }

    /// When the party's speech is to be told of again.
    pub(super) fn speech_deadline(&self) -> Option<Instant> {
        let speech = self.meeting.as_ref().map(Meeting::speech)?;
        speech.again.filter(|_| speech.untold)
    }
}

/// Between two words about the speech of one participant.
const PAUSE: Duration = Duration::from_secs(1);
