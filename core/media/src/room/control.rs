//! What signalling wants of rooms.

use std::sync::Arc;

use crate::clock::Due;
use crate::convert::Own;
use crate::relay::Buffer;
use crate::sessions::Sessions;
use crate::{Event, Format, SessionId, Side};

use super::{Mixer, Participant, RoomId, Seat, TURN_MS};

impl Sessions {
    /// [`Command::Join`](crate::Command::Join).
    pub(crate) fn join(
        &mut self,
        id: SessionId,
        place: (u8, Side),
        room: RoomId,
        participant: Participant,
        format: Format,
        now: u64,
    ) {
        let Some(key) = self.leg_at(id, place) else {
            return;
        };
        let again = self.legs[key].seat.as_ref();
        let again = again.is_some_and(|seat| self.mixers[seat.mixer].id == room);
        // Another format, not another coming.
        let announced = participant.announced && !again;
        let spoken = self.legs[key].seat.as_mut().filter(|_| again);
        let spoken = spoken.map(|seat| (seat.name.take(), seat.dictation.take()));
        self.unseat(key, again);
        let mixer = self.mixer(room, now);
        let payloads = self.legs[key].payloads();
        let mut seat = Seat::new(
            mixer,
            Participant {
                announced,
                ..participant
            },
            payloads,
            format,
        );
        if let Some((name, dictation)) = spoken {
            seat.name = name;
            seat.dictation = dictation.or(seat.dictation);
        }
        if self.mixers[mixer].join(key, &mut seat).is_err() {
            return self.close_if_over(mixer);
        }
        seat.participant = participant;
        let leg = &mut self.legs[key];
        leg.server = None;
        leg.seat = Some(Box::new(seat));
        let mint = &mut self.mint;
        let own = leg
            .own
            .get_or_insert_with(|| Box::new(Own::minted(mint, now)));
        own.marker = true;
        self.mixers[mixer].declare(&self.legs);
        self.arm(id, place.0, now);
    }

    /// [`Command::Leave`](crate::Command::Leave).
    pub(crate) fn leave(&mut self, id: SessionId, place: (u8, Side)) {
        if let Some(key) = self.leg_at(id, place) {
            self.look_away(key);
            self.unseat(key, false);
        }
    }

    /// [`Command::Adjust`](crate::Command::Adjust).
    pub(crate) fn adjust(&mut self, id: SessionId, place: (u8, Side), participant: Participant) {
        let seat = self.leg_at(id, place);
        let Some(seat) = seat.and_then(|key| self.legs[key].seat.as_mut()) else {
            return;
        };
        let before = std::mem::replace(&mut seat.participant, participant);
        if before.deaf != participant.deaf {
            self.mixers[seat.mixer].deafen(seat);
        }
        if before.naming && !participant.naming {
            self.mixers[seat.mixer].named(seat);
        }
    }

    /// Is told that a party, if it is in a room, misses so many of a hundred packets.
    pub(crate) fn prepare_seat(&mut self, key: usize, missed: u8) {
        if let Some(seat) = &mut self.legs[key].seat {
            self.mixers[seat.mixer].expect_loss(seat, missed);
        }
    }

    /// Takes a leg out of its room, if it is in one; `quietly`: nobody hears of it.
    pub(crate) fn unseat(&mut self, key: usize, quietly: bool) {
        let Some(mut seat) = self.legs[key].seat.take() else {
            return;
        };
        seat.participant.announced &= !quietly;
        let mixer = &mut self.mixers[seat.mixer];
        mixer.leave(key, &seat);
        mixer.declare(&self.legs);
        self.close_if_over(seat.mixer);
    }

    /// The turns of the rooms that are due.
    pub(crate) fn mix(&mut self, buffer: &mut Buffer, now: u64, deliver: &dyn Fn(Event)) {
        while let Some(at) = self.room_clock.take(now, &mut self.due) {
            let mut turns = std::mem::take(&mut self.due);
            for due in turns.drain(..) {
                let Some(mixer) = self.mixers.get_mut(due.leg) else {
                    continue;
                };
                if mixer.ticket != due.ticket {
                    continue;
                }
                mixer.turn(&mut self.legs, buffer, now, deliver);
                self.close_if_over(due.leg);
                if self.mixers.contains(due.leg) {
                    self.room_clock.again(due, at, TURN_MS);
                }
            }
            self.due = turns;
        }
    }

    /// This worker's part of a room, which is made if nobody is there yet.
    pub(super) fn mixer(&mut self, room: RoomId, now: u64) -> usize {
        if let Some((key, _)) = self.mixers.iter().find(|(_, mixer)| mixer.id == room) {
            return key;
        }
        self.tickets += 1;
        let ticket = self.tickets;
        let exchange = Arc::clone(&self.rooms).enter(room);
        let leg = self
            .mixers
            .insert(Mixer::new(room, ticket, self.worker, exchange));
        self.room_clock.start(Due { leg, ticket }, now);
        leg
    }

    pub(super) fn close_if_over(&mut self, mixer: usize) {
        if self.mixers.get(mixer).is_some_and(Mixer::is_over) {
            self.mixers.remove(mixer);
        }
    }
}
