//! Conference rooms, as the API shows and moderates them.

use api::{Concerned, Refusal, Room, RoomParticipant, RoomRecording};
use base::{Slot, Token};
use pbx::{Moderation, RecordAction, Rooms};

pub(super) fn list(rooms: &Rooms) -> Vec<Room> {
    let rooms = rooms.list().into_iter();
    rooms
        .map(|(name, room)| Room {
            name: name.to_string(),
            locked: room.locked,
            lecture: room.lecture,
            since: room.since.0,
            recording: room.recording.as_ref().map(|taken| RoomRecording {
                name: taken.name.to_string(),
                paused: taken.paused,
            }),
            participants: room
                .seats
                .iter()
                .map(|seat| participant(&room, seat))
                .collect(),
        })
        .collect()
}

fn participant(room: &pbx::Room, seat: &pbx::Seat) -> RoomParticipant {
    RoomParticipant {
        call: seat.call.to_string(),
        name: seat.name.to_string(),
        since: seat.since.0,
        moderator: seat.moderator,
        muted: room.silences(seat),
        deaf: seat.deaf,
        talking: seat.talking,
        ssrc: seat.ssrc,
        video: seat.video,
        active: room.speaker == Some(seat.call),
    }
}

/// Moderates a room and returns the slots that have to look at their calls.
pub(super) fn moderate(
    rooms: &Rooms,
    room: &str,
    moderation: api::Moderation,
    concerned: &Concerned,
) -> Result<Vec<Slot>, Refusal> {
    let unknown = || {
        let who = match &concerned.call {
            Some(call) => format!("there is no call {call} in a room {room}"),
            None => format!("nobody is in a room {room}"),
        };
        Refusal::new(format!("{who}; `dialtone rooms` shows all"))
    };
    let call = match &concerned.call {
        Some(call) => Some(Token::parse(call).ok_or_else(unknown)?),
        None => None,
    };
    let moderation = match moderation {
        api::Moderation::Mute => Moderation::Mute(true),
        api::Moderation::Unmute => Moderation::Mute(false),
        api::Moderation::Deafen => Moderation::Deafen(true),
        api::Moderation::Undeafen => Moderation::Deafen(false),
        api::Moderation::Kick => Moderation::Kick,
        api::Moderation::Lock => Moderation::Lock(true),
        api::Moderation::Unlock => Moderation::Lock(false),
        api::Moderation::Lecture => Moderation::Lecture(true),
        api::Moderation::Discuss => Moderation::Lecture(false),
        api::Moderation::Record => Moderation::Record(RecordAction::Start),
        api::Moderation::Pause => Moderation::Record(RecordAction::Pause),
        api::Moderation::Resume => Moderation::Record(RecordAction::Resume),
        api::Moderation::Stop => Moderation::Record(RecordAction::Stop),
        _ => return Err(Refusal::new("this server can't do that")),
    };
    rooms.moderate(room, moderation, call).ok_or_else(unknown)
}
