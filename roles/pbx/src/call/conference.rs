//! A party in a conference room, or at its door.

use std::time::{Duration, Instant};

use media::{Command, Container, Format, Key, Recording, Source};
use sip::StatusCode;
use store::calendar::Date;

use super::minutes::Speech;
use super::naming::Naming;
use super::watch::Watching;
use super::{Alive, Call, Stage};
use crate::Cause;
use crate::context::Context;
use crate::dialplan::Conference;
use crate::room_event::RoomChange;
use crate::rooms::{Closed, Moderation, Place, Tape};

/// What the party has to do with a room.
#[derive(Debug)]
pub(super) struct Meeting {
    rules: Box<Conference>,
    state: State,
    /// A star was pressed: what follows is a command.
    starred: bool,
    /// Until when a hash key ends the PIN that was taken without it, and means nothing else.
    pin_open: Option<Instant>,
    /// The party has put us on hold.
    held: bool,
    /// What observers know of its speech.
    speech: Speech,
    /// It is being asked for its name.
    pub(super) naming: Option<Naming>,
    /// Pictures that were agreed on.
    pub(super) pictures: Option<Watching>,
}

#[derive(Debug)]
enum State {
    /// It is asked for a PIN.
    Entering {
        digits: String,
        tries: u8,
        until: Instant,
    },
    Seated(Place),
}

/// What a PIN opens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Entrance {
    /// The room, for a moderator or not.
    Open {
        moderator: bool,
    },
    /// More digits are needed to tell.
    Unclear,
    Wrong,
}

impl Call {
    /// Lets the party into a room, once it has said the PIN if there is one.
    pub(super) fn confer(mut self: Box<Self>, ctx: &mut Context<'_>, rules: Conference) -> Alive {
        self.leave_room(ctx);
        let rules = Box::new(rules);
        if rules.has_pin() {
            self.meeting = Some(Meeting {
                rules,
                state: State::Entering {
                    digits: String::new(),
                    tries: 0,
                    until: ctx.now + PATIENCE,
                },
                starred: false,
                pin_open: None,
                held: false,
                speech: Speech::default(),
                naming: None,
                pictures: None,
            });
            return self.serve_source(ctx, Source::Prompt(ASK_PIN.into()));
        }
        match self.take_place(ctx, rules, false) {
            Ok(()) => self.come_in(ctx),
            Err(Closed::Locked) => self.fail_step(ctx, StatusCode(403)),
            Err(Closed::Full) => self.fail_step(ctx, StatusCode(486)),
        }
    }

    fn take_place(
        &mut self,
        ctx: &mut Context<'_>,
        rules: Box<Conference>,
        moderator: bool,
    ) -> Result<(), Closed> {
        let party = self.legs[self.subject.index()].as_ref();
        let name = party.map_or("", |leg| &*leg.party.name).into();
        let at = ctx.clock.unix(ctx.now);
        let place = ctx
            .services
            .rooms
            .join(&rules, (self.id, name), moderator, at)?;
        self.record.room = Some(std::sync::Arc::clone(place.room()));
        self.meeting = Some(Meeting {
            rules,
            state: State::Seated(place),
            starred: false,
            pin_open: None,
            held: false,
            speech: Speech::default(),
            naming: None,
            pictures: None,
        });
        self.tell_of_participant(ctx, RoomChange::Joined);
        Ok(())
    }

    /// Gives up the place in a room, if there is one: the party is served otherwise.
    pub(super) fn leave_room(&mut self, ctx: &mut Context<'_>) {
        self.tell_left(ctx);
        let Some(Meeting {
            state: State::Seated(_),
            pictures,
            ..
        }) = self.meeting.take()
        else {
            return;
        };
        if let Some(pictures) = pictures {
            self.look_away(ctx, pictures);
        }
        if let (Some(session), Some((stream, _))) = (&self.session, self.format) {
            ctx.out.media.push(Command::Leave {
                session: session.id,
                stream,
                side: session.end(self.subject),
            });
        }
    }

    /// Joins the party to its room in the media workers; false if it is in none.
    pub(super) fn play_room(&self, ctx: &mut Context<'_>, stream: u8, format: Format) -> bool {
        let Some(place) = self.meeting.as_ref().and_then(Meeting::place) else {
            return false;
        };
        if self.is_asked_for_name() {
            return false;
        }
        if let (Some(session), Some(participant)) = (&self.session, place.participant()) {
            ctx.out.media.push(Command::Join {
                session: session.id,
                stream,
                side: session.end(self.subject),
                room: place.id,
                participant,
                format,
            });
        }
        self.watch_room(ctx);
        self.tape_room(ctx);
        true
    }

    /// What the participant may do has changed.
    pub(crate) fn reseated(self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        self.tell_room_news(ctx);
        let Some(place) = self.meeting.as_ref().and_then(Meeting::place) else {
            return Some(self);
        };
        let Some(participant) = place.participant() else {
            return self.end(ctx, Cause::Operator, None);
        };
        // Who is asked for its name is no participant for the media workers yet.
        let there = self.format.filter(|_| !self.is_asked_for_name());
        if let (Some(session), Some((stream, _))) = (&self.session, there) {
            ctx.out.media.push(Command::Adjust {
                session: session.id,
                stream,
                side: session.end(self.subject),
                participant,
            });
        }
        self.tape_room(ctx);
        Some(self)
    }

    /// Sees to the recording of the room, if that is its task.
    fn tape_room(&self, ctx: &mut Context<'_>) {
        let place = self.meeting.as_ref().and_then(Meeting::place);
        let Some((place, session)) = place
            .zip(self.session.as_ref())
            .filter(|_| self.format.is_some() && !self.is_asked_for_name())
        else {
            return;
        };
        let date = Date::from(ctx.clock.unix(ctx.now)).to_string();
        let (day, time) = date.split_once('T').unwrap_or((&date, ""));
        let time: String = time.chars().filter(char::is_ascii_digit).collect();
        let name = |take: u32, opus: bool| {
            let (room, kind) = (place.room(), if opus { "opus" } else { "wav" });
            format!("{day}/room-{room}-{time}-{take}.{kind}").into()
        };
        let (session, room) = (session.id, place.id);
        for tape in place.tapes(name) {
            ctx.out.media.push(match tape {
                Tape::Begin(name, opus) => Command::RecordRoom {
                    session,
                    room,
                    recording: Some(Box::new(Recording {
                        name: (&*name).into(),
                        container: if opus {
                            Container::OggOpus
                        } else {
                            Container::Wav
                        },
                        mono: true,
                        sides: [true; 2],
                    })),
                },
                Tape::Pause(paused) => Command::PauseRoom {
                    session,
                    room,
                    paused,
                },
                Tape::End(_) => Command::RecordRoom {
                    session,
                    room,
                    recording: None,
                },
            });
        }
        self.tell_room_news(ctx);
    }

    /// A recording has ended; `error`: why it broke off.
    pub(crate) fn room_recorded(
        self: Box<Self>,
        ctx: &mut Context<'_>,
        name: &str,
        error: bool,
    ) -> Alive {
        if let Some(place) = self.meeting.as_ref().and_then(Meeting::place)
            && error
        {
            place.not_recorded(name);
        }
        self.tell_room_news(ctx);
        Some(self)
    }

    /// The party listens no more, or again: music on hold is not for the others.
    pub(super) fn hold_in_room(&mut self, held: bool) -> bool {
        let Some(meeting) = &mut self.meeting else {
            return false;
        };
        let changed = std::mem::replace(&mut meeting.held, held) != held;
        if let Some(place) = meeting.place() {
            place.note(|seat| seat.held = held);
        }
        changed
    }

    /// Whether keys that the party presses are for a room.
    pub(super) fn confers(&self) -> bool {
        self.stage == Stage::Serving && self.meeting.is_some()
    }

    /// A key was pressed in the room or at its door.
    pub(super) fn room_key(mut self: Box<Self>, ctx: &mut Context<'_>, key: Key) -> Alive {
        let meeting = self.meeting.as_mut();
        if meeting.is_some_and(|meeting| meeting.closes_pin(key, ctx.now)) {
            return Some(self);
        }
        match &mut self.meeting {
            Some(meeting) if meeting.naming.is_some() => match key.char() {
                '#' => self.has_said_name(ctx),
                _ => Some(self),
            },
            Some(Meeting {
                state: State::Seated(place),
                starred,
                ..
            }) => {
                match key.char() {
                    '*' => *starred = true,
                    digit if std::mem::take(starred) => return self.room_command(ctx, digit),
                    _ => _ = place,
                }
                Some(self)
            }
            Some(_) => self.pin_key(ctx, key),
            None => Some(self),
        }
    }

    /// `*1`: mutes oneself or speaks again. For moderators `*2`: locks or opens the room; `*3`: begins or
    /// ends a lecture; `*4` and `*5`: mutes all others, lets them speak again.
    fn room_command(self: Box<Self>, ctx: &mut Context<'_>, digit: char) -> Alive {
        let Some(place) = self.meeting.as_ref().and_then(Meeting::place) else {
            return Some(self);
        };
        if digit == '1' {
            place.mute_itself();
            return self.reseated(ctx);
        }
        let (locked, lecture) = place.rules();
        let moderation = match digit {
            '2' => Moderation::Lock(!locked),
            '3' => Moderation::Lecture(!lecture),
            '4' => Moderation::Mute(true),
            '5' => Moderation::Mute(false),
            _ => return Some(self),
        };
        if place.is_moderator() {
            ctx.out.wake.extend(place.moderate(moderation));
        }
        Some(self)
    }

    fn pin_key(mut self: Box<Self>, ctx: &mut Context<'_>, key: Key) -> Alive {
        let Some(Meeting {
            rules,
            state: State::Entering { digits, .. },
            ..
        }) = &mut self.meeting
        else {
            return Some(self);
        };
        let entrance = match key.char() {
            '*' => {
                digits.clear();
                return Some(self);
            }
            '#' => rules.entrance(digits, true),
            digit => {
                digits.push(digit);
                rules.entrance(digits, false)
            }
        };
        let open = (key.char() != '#').then_some(ctx.now + BETWEEN_KEYS);
        match entrance {
            Entrance::Unclear => self.serve_source(ctx, Source::Silence),
            Entrance::Wrong => self.wrong_pin(ctx, open),
            Entrance::Open { moderator } => self.enter_room(ctx, moderator, open),
        }
    }

    fn wrong_pin(mut self: Box<Self>, ctx: &mut Context<'_>, open: Option<Instant>) -> Alive {
        if let Some(Meeting {
            pin_open,
            state:
                State::Entering {
                    digits,
                    tries,
                    until,
                },
            ..
        }) = &mut self.meeting
        {
            digits.clear();
            *pin_open = open;
            *tries += 1;
            *until = ctx.now + PATIENCE;
            if *tries < MOST_TRIES {
                return self.serve_source(ctx, Source::Prompt(WRONG_PIN.into()));
            }
        }
        self.end(ctx, Cause::Refused, None)
    }

    fn enter_room(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        moderator: bool,
        open: Option<Instant>,
    ) -> Alive {
        let Some(meeting) = self.meeting.take() else {
            return Some(self);
        };
        match self.take_place(ctx, meeting.rules, moderator) {
            Ok(()) => {
                self.hold_in_room(meeting.held);
                if let Some(now) = &mut self.meeting {
                    now.pictures = meeting.pictures;
                    now.pin_open = open;
                }
                self.come_in(ctx)
            }
            Err(_) => self.serve_source(ctx, Source::Prompt(CLOSED.into())),
        }
    }

    /// When the party has had time enough to say the PIN.
    pub(super) fn pin_deadline(&self) -> Option<Instant> {
        match self.meeting.as_ref()?.state {
            State::Entering { until, .. } if self.stage == Stage::Serving => Some(until),
            _ => None,
        }
    }
}

impl Meeting {
    /// Whether this key belongs to the PIN before: many press the hash key after it, though the last digit
    /// was enough. Any other key begins something new.
    fn closes_pin(&mut self, key: Key, now: Instant) -> bool {
        let until = self.pin_open.take();
        key.char() == '#' && until.is_some_and(|until| now < until)
    }

    pub(super) fn rules(&self) -> &Conference {
        &self.rules
    }

    pub(super) const fn speech(&self) -> &Speech {
        &self.speech
    }

    /// The place, and what observers know of the speech of who has it.
    pub(super) fn place_and_speech(&mut self) -> (Option<&Place>, &mut Speech) {
        let place = match &self.state {
            State::Seated(place) => Some(place),
            State::Entering { .. } => None,
        };
        (place, &mut self.speech)
    }

    pub(super) fn place(&self) -> Option<&Place> {
        match &self.state {
            State::Seated(place) => Some(place),
            State::Entering { .. } => None,
        }
    }
}

impl Conference {
    fn has_pin(&self) -> bool {
        self.pin.is_some() || self.moderator_pin.is_some()
    }

    /// What these digits open; `complete`: there are no more.
    fn entrance(&self, digits: &str, complete: bool) -> Entrance {
        let is = |pin: &Option<String>| pin.as_deref() == Some(digits);
        let begins = |pin: &Option<String>| {
            pin.as_deref()
                .is_some_and(|pin| pin.len() > digits.len() && pin.starts_with(digits))
        };
        let longest = [&self.pin, &self.moderator_pin];
        let longest = longest.into_iter().flatten().map(String::len).max();
        let more = begins(&self.pin) || begins(&self.moderator_pin);
        match (is(&self.moderator_pin), is(&self.pin)) {
            (true, _) if complete || !more => Entrance::Open { moderator: true },
            (_, true) if complete || !more => Entrance::Open { moderator: false },
            // Who has no PIN comes in as what all others are.
            _ if complete && digits.is_empty() && self.pin.is_none() => {
                Entrance::Open { moderator: false }
            }
            _ if complete || digits.len() >= longest.unwrap_or(0) => Entrance::Wrong,
            _ => Entrance::Unclear,
        }
    }
}

const ASK_PIN: &str = "conference-pin";
const WRONG_PIN: &str = "conference-wrong-pin";
const CLOSED: &str = "conference-closed";
/// How long somebody may take for the PIN.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long after the last digit of a PIN a hash key belongs to it.
const BETWEEN_KEYS: Duration = Duration::from_secs(3);
/// Wrong PINs before the call is ended.
const MOST_TRIES: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_opens_as_soon_as_it_is_clear() {
        let rules = |pin: Option<&str>, moderator_pin: Option<&str>| Conference {
            pin: pin.map(Into::into),
            moderator_pin: moderator_pin.map(Into::into),
            ..Conference::default()
        };
        let (open, moderator) = (
            Entrance::Open { moderator: false },
            Entrance::Open { moderator: true },
        );
        let both = rules(Some("1234"), Some("12345"));
        assert_eq!(both.entrance("123", false), Entrance::Unclear);
        assert_eq!(both.entrance("1234", false), Entrance::Unclear);
        assert_eq!(both.entrance("1234", true), open);
        assert_eq!(both.entrance("12345", false), moderator);
        assert_eq!(both.entrance("99999", false), Entrance::Wrong);
        assert_eq!(both.entrance("", true), Entrance::Wrong);
        let one = rules(Some("77"), None);
        assert_eq!(one.entrance("77", false), open);
        assert_eq!(one.entrance("78", false), Entrance::Wrong);
        let some = rules(None, Some("42"));
        assert_eq!(some.entrance("", true), open);
        assert_eq!(some.entrance("42", false), moderator);
        assert_eq!(some.entrance("4", true), Entrance::Wrong);
    }
}
