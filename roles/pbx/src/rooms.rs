//! Who is in which conference room.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::{Slot, Token, UnixTime};
use media::{Participant, RoomId, VideoCodec};

use crate::RecordAction;
use crate::call::record::RecordStep;
use crate::dialplan::Conference;
use crate::room_event::RoomChange;

/// The rooms in which somebody is. Shared by all slots; the lock is held for one look or change, which
/// happens when somebody comes, goes, begins to speak or is moderated.
#[derive(Debug, Default)]
pub struct Rooms {
    open: Mutex<HashMap<Arc<str>, Room>>,
    /// Seats whose call has to look at them.
    pending: AtomicUsize,
    /// Rooms that there have been.
    opened: AtomicU64,
}

/// A conference room.
#[derive(Clone, Debug)]
pub struct Room {
    /// What the media workers call it.
    pub id: RoomId,
    /// Nobody but moderators may come.
    pub locked: bool,
    /// Moderators alone are heard.
    pub lecture: bool,
    /// Since when somebody is there.
    pub since: UnixTime,
    /// The call whose party speaks loudest, or did.
    pub speaker: Option<Token>,
    /// How pictures are encoded, if somebody has some.
    pub video: Option<VideoCodec>,
    /// What is said is recorded.
    pub recording: Option<Taken>,
    /// Who is there, in the order of their coming.
    pub seats: Vec<Seat>,
    announce: bool,
    /// Files so far.
    takes: u32,
    /// What observers have not been told yet.
    news: Vec<News>,
    /// News that there was no room for.
    lost_news: u64,
    /// The speaker of whom they know.
    told_speaker: Option<Token>,
}

/// Something that was done in a room, and to which participant.
pub(crate) type News = (Option<(Token, Arc<str>)>, RoomChange);

/// The recording of a room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taken {
    /// The file, in the folder of recordings.
    pub name: Arc<str>,
    /// What is said is left out just now.
    pub paused: bool,
}

/// Somebody in a room.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says one thing of its own"
)]
pub struct Seat {
    /// The call.
    pub call: Token,
    /// The party's name.
    pub name: Arc<str>,
    /// Since when.
    pub since: UnixTime,
    /// It came with the moderators' PIN.
    pub moderator: bool,
    /// A moderator or operator has muted it.
    pub muted: bool,
    /// It has muted itself.
    pub mutes_itself: bool,
    /// It does not hear the others.
    pub deaf: bool,
    /// It has put us on hold: neither is heard.
    pub held: bool,
    /// It speaks.
    pub talking: bool,
    /// What the packets of the others call it (CSRC), if it has been heard.
    pub ssrc: Option<u32>,
    /// It sees pictures, or sends some.
    pub video: bool,
    /// It is asked for its name, and neither is heard before it has said it.
    pub naming: bool,
    kicked: bool,
    changed: bool,
    /// What it is to see to about the recording of the room: its call is the one that speaks with the media
    /// workers. At most one for each word of an operator.
    orders: Vec<Order>,
}

/// Something about the recording of a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// Record, if that is not done already.
    Start(RecordStep),
    /// Something else.
    Other(RecordAction),
}

/// What a moderator or operator may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moderation {
    /// Mutes a participant, or all who are no moderators; or lets it speak again.
    Mute(bool),
    /// Lets a participant hear nothing, or hear again.
    Deafen(bool),
    /// Throws a participant out.
    Kick,
    /// Lets nobody in but moderators, or everybody again.
    Lock(bool),
    /// Only moderators are heard, or everybody again.
    Lecture(bool),
    /// What is said in the room is recorded, or something about that.
    Record(RecordAction),
}

impl Moderation {
    /// What it comes to for a participant whom it concerns.
    const fn change(self) -> Option<RoomChange> {
        match self {
            Self::Mute(on) => Some(RoomChange::Muted(on)),
            Self::Deafen(on) => Some(RoomChange::Deafened(on)),
            Self::Kick => Some(RoomChange::Kicked),
            Self::Lock(_) | Self::Lecture(_) | Self::Record(_) => None,
        }
    }
}

/// Why somebody may not come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Closed {
    Locked,
    Full,
}

/// A place in a room, given up when it is dropped; the room is gone with its last one.
#[derive(Debug)]
pub(crate) struct Place {
    rooms: Arc<Rooms>,
    room: Arc<str>,
    call: Token,
    pub(crate) id: RoomId,
}

impl Rooms {
    /// Whether nobody is anywhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open().is_empty()
    }

    /// All rooms, by name.
    #[must_use]
    pub fn list(&self) -> Vec<(Arc<str>, Room)> {
        let open = self.open();
        let mut rooms: Vec<_> = open
            .iter()
            .map(|(n, r)| (Arc::clone(n), r.clone()))
            .collect();
        drop(open);
        rooms.sort_by(|one, other| one.0.cmp(&other.0));
        rooms
    }

    /// Moderates a room: one `call` in it, or where that makes sense all that are not moderators'.
    /// Returns the slots that have to look at their calls; `None`: there is no such room, or call in
    /// it.
    pub fn moderate(
        &self,
        room: &str,
        moderation: Moderation,
        call: Option<Token>,
    ) -> Option<Vec<Slot>> {
        let mut open = self.open();
        let room = open.get_mut(room)?;
        let slots = room.moderate(moderation, call)?;
        self.count(&open);
        Some(slots)
    }

    /// The calls of a slot that have to look at their places.
    pub(crate) fn take_changed(&self, slot: Slot) -> Vec<Token> {
        if self.pending.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let mut open = self.open();
        let seats = open.values_mut().flat_map(|room| &mut room.seats);
        let ours = seats.filter(|seat| seat.changed && seat.call.slot() == slot);
        let mut calls: Vec<Token> = ours
            .map(|seat| {
                seat.changed = false;
                seat.call
            })
            .collect();
        self.count(&open);
        // In a fixed order, so that a replay sends the same messages.
        calls.sort_unstable();
        calls
    }

    /// How pictures are encoded in a room, if there are any.
    pub(crate) fn pictures(&self, room: &str) -> Option<VideoCodec> {
        self.open().get(room)?.video
    }

    /// Takes a place for a call.
    pub(crate) fn join(
        self: &Arc<Self>,
        rules: &Conference,
        (call, name): (Token, Arc<str>),
        moderator: bool,
        at: UnixTime,
    ) -> Result<Place, Closed> {
        let mut open = self.open();
        let name_of_room: Arc<str> = rules.room.as_str().into();
        let room = open
            .entry(Arc::clone(&name_of_room))
            .or_insert_with(|| Room {
                id: RoomId(self.opened.fetch_add(1, Ordering::Relaxed) + 1),
                locked: rules.locked,
                lecture: rules.lecture,
                since: at,
                speaker: None,
                video: None,
                recording: None,
                seats: Vec::new(),
                announce: rules.announce,
                takes: 0,
                news: Vec::new(),
                lost_news: 0,
                told_speaker: None,
            });
        if room.seats.len() >= rules.max {
            return Err(Closed::Full);
        }
        if room.locked && !moderator {
            return Err(Closed::Locked);
        }
        room.seats.push(Seat {
            call,
            name,
            since: at,
            moderator,
            muted: false,
            mutes_itself: false,
            deaf: false,
            held: false,
            talking: false,
            ssrc: None,
            video: false,
            naming: false,
            kicked: false,
            changed: false,
            orders: Vec::new(),
        });
        if let Some(step) = rules.record.filter(|_| room.seats.len() == 1) {
            room.order(Order::Start(step));
        }
        Ok(Place {
            rooms: Arc::clone(self),
            room: name_of_room,
            call,
            id: room.id,
        })
    }

    fn count(&self, open: &HashMap<Arc<str>, Room>) {
        let seats = open.values().flat_map(|room| &room.seats);
        let changed = seats.filter(|seat| seat.changed).count();
        self.pending.store(changed, Ordering::Release);
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Arc<str>, Room>> {
        // The map is whole after each statement.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    fn moderate(&mut self, moderation: Moderation, call: Option<Token>) -> Option<Vec<Slot>> {
        if call.is_some_and(|call| !self.seats.iter().any(|seat| seat.call == call)) {
            return None;
        }
        if let Moderation::Record(action) = moderation {
            let order = match action {
                RecordAction::Start => Order::Start(RecordStep::default()),
                other => Order::Other(other),
            };
            return Some(self.order(order).into_iter().collect());
        }
        let (locked, lecture) = (self.locked, self.lecture);
        let before = self.news.len();
        match moderation {
            Moderation::Lock(locked) => self.locked = locked,
            Moderation::Lecture(on) => self.lecture = on,
            _ => {}
        }
        let mut slots = Vec::new();
        if locked != self.locked {
            self.tell(None, RoomChange::Locked(self.locked));
        }
        if lecture != self.lecture {
            self.tell(None, RoomChange::Lecture(self.lecture));
        }
        let mut news = Vec::new();
        for seat in &mut self.seats {
            let meant = call.map_or(!seat.moderator, |call| call == seat.call);
            let concerned = match moderation {
                Moderation::Lock(_) | Moderation::Record(_) => false,
                Moderation::Lecture(on) => on != lecture && !seat.moderator,
                Moderation::Mute(on) => meant && seat.mute(on),
                Moderation::Deafen(on) => meant && std::mem::replace(&mut seat.deaf, on) != on,
                Moderation::Kick => meant && !std::mem::replace(&mut seat.kicked, true),
            };
            if concerned {
                seat.changed = true;
                slots.push(seat.call.slot());
                let whom = (seat.call, Arc::clone(&seat.name));
                news.extend(moderation.change().map(|change| (whom, change)));
            }
        }
        for (whom, change) in news {
            self.tell(Some(whom), change);
        }
        // Somebody's call has to tell.
        if let Some(first) = self
            .seats
            .first_mut()
            .filter(|_| slots.is_empty() && self.news.len() > before)
        {
            first.changed = true;
            slots.push(first.call.slot());
        }
        slots.sort_unstable_by_key(|slot| slot.number());
        slots.dedup();
        Some(slots)
    }

    /// Gives an order to who has been here longest, and returns the slot that has to look at it; none:
    /// too many wait.
    fn order(&mut self, order: Order) -> Option<Slot> {
        let seat = self.seats.first_mut()?;
        if seat.orders.len() >= MOST_ORDERS {
            return None;
        }
        seat.orders.push(order);
        seat.changed = true;
        Some(seat.call.slot())
    }

    /// Notes something that observers are to be told. Beyond [`MOST_NEWS`] they are told only how many there
    /// were, until a call of the room has passed on what waits.
    fn tell(&mut self, whom: Option<(Token, Arc<str>)>, change: RoomChange) {
        if self.news.len() < MOST_NEWS {
            self.news.push((whom, change));
        } else {
            self.lost_news += 1;
        }
    }

    /// Notes what an order comes to.
    fn obey(&mut self, order: Order, name: impl FnOnce(u32, bool) -> Arc<str>) -> Option<Tape> {
        let tape = self.tape(order, name)?;
        let change = match (&tape, self.recording.as_ref()) {
            (Tape::Begin(name, _), _) => RoomChange::RecordingBegun(Arc::clone(name)),
            (Tape::Pause(on), Some(taken)) => {
                RoomChange::RecordingPaused(Arc::clone(&taken.name), *on)
            }
            (Tape::End(name), _) => RoomChange::RecordingEnded(Arc::clone(name)),
            (Tape::Pause(_), None) => return None,
        };
        self.tell(None, change);
        Some(tape)
    }

    fn tape(&mut self, order: Order, name: impl FnOnce(u32, bool) -> Arc<str>) -> Option<Tape> {
        match (order, &mut self.recording) {
            (Order::Start(step), None) => {
                self.takes += 1;
                let name = name(self.takes, step.opus);
                self.recording = Some(Taken {
                    name: Arc::clone(&name),
                    paused: false,
                });
                Some(Tape::Begin(name, step.opus))
            }
            (Order::Other(RecordAction::Stop), taken @ Some(_)) => {
                taken.take().map(|taken| Tape::End(taken.name))
            }
            (Order::Other(RecordAction::Pause), Some(taken)) => {
                taken.paused = true;
                Some(Tape::Pause(true))
            }
            (Order::Other(RecordAction::Resume), Some(taken)) => {
                taken.paused = false;
                Some(Tape::Pause(false))
            }
            _ => None,
        }
    }

    /// Notes whether a call has pictures, and returns whether somebody has.
    fn watch(&mut self, call: Token, video: bool) -> bool {
        for seat in self.seats.iter_mut().filter(|seat| seat.call == call) {
            seat.video = video;
        }
        self.seats.iter().any(|seat| seat.video)
    }

    /// Whether a participant is not heard, for whatever reason.
    #[must_use]
    pub fn silences(&self, seat: &Seat) -> bool {
        let lectured = self.lecture && !seat.moderator;
        lectured || seat.muted || seat.mutes_itself || seat.held
    }
}

impl Seat {
    /// Mutes it, or lets it speak whoever has muted it; whether that is a change.
    fn mute(&mut self, on: bool) -> bool {
        let before = (self.muted, self.mutes_itself);
        self.muted = on;
        self.mutes_itself &= on;
        before != (self.muted, self.mutes_itself)
    }
}

impl Place {
    /// What the participant may do now; none: it has been thrown out.
    pub(crate) fn participant(&self) -> Option<Participant> {
        self.with(|room, seat| {
            let allowed = Participant {
                muted: room.silences(seat),
                deaf: seat.deaf || seat.held || seat.naming,
                gain: 0,
                announced: room.announce,
                naming: seat.naming,
            };
            (!seat.kicked).then_some(allowed)
        })?
    }

    /// Whether it came with the moderators' PIN.
    pub(crate) fn is_moderator(&self) -> bool {
        self.with(|_, seat| seat.moderator).unwrap_or(false)
    }

    pub(crate) fn room(&self) -> &Arc<str> {
        &self.room
    }

    /// Whether nobody but moderators may come, and whether only they are heard.
    pub(crate) fn rules(&self) -> (bool, bool) {
        let rules = self.with(|room, _| (room.locked, room.lecture));
        rules.unwrap_or_default()
    }

    /// Moderates the room.
    pub(crate) fn moderate(&self, moderation: Moderation) -> Vec<Slot> {
        let slots = self.rooms.moderate(&self.room, moderation, None);
        slots.unwrap_or_default()
    }

    /// Changes what is known of the participant.
    pub(crate) fn note<T>(&self, change: impl FnOnce(&mut Seat) -> T) -> Option<T> {
        let mut open = self.rooms.open();
        let seats = &mut open.get_mut(&self.room)?.seats;
        let seat = seats.iter_mut().find(|seat| seat.call == self.call)?;
        Some(change(seat))
    }

    /// The participant has pictures of this codec, or none; false if it can't have a part in those of the
    /// others, which are encoded otherwise.
    pub(crate) fn watches(&self, codec: Option<VideoCodec>) -> bool {
        let mut open = self.rooms.open();
        let Some(room) = open.get_mut(&self.room) else {
            return false;
        };
        let others = room.watch(self.call, false);
        room.video = room.video.filter(|_| others).or(codec);
        let fits = codec.is_some() && room.video == codec;
        room.watch(self.call, fits);
        fits
    }

    /// What the media workers are to do about the recording of the room. `name` makes one for the file: of
    /// which number, and whether it is compressed.
    pub(crate) fn tapes(&self, name: impl Fn(u32, bool) -> Arc<str>) -> Vec<Tape> {
        let mut open = self.rooms.open();
        let Some(room) = open.get_mut(&self.room) else {
            return Vec::new();
        };
        let seat = room.seats.iter_mut().find(|seat| seat.call == self.call);
        let orders = seat.map(|seat| std::mem::take(&mut seat.orders));
        let orders = orders.unwrap_or_default().into_iter();
        orders.filter_map(|order| room.obey(order, &name)).collect()
    }

    /// The recording could not be made.
    pub(crate) fn not_recorded(&self, name: &str) {
        if let Some(room) = self.rooms.open().get_mut(&self.room)
            && room
                .recording
                .as_ref()
                .is_some_and(|taken| &*taken.name == name)
        {
            room.recording = None;
            room.tell(None, RoomChange::RecordingEnded(name.into()));
        }
    }

    /// What has been done in the room and not been told, and how much more was lost.
    pub(crate) fn take_news(&self) -> (Vec<News>, u64) {
        let mut open = self.rooms.open();
        let room = open.get_mut(&self.room);
        let news = room.map(|room| {
            let lost = std::mem::take(&mut room.lost_news);
            (std::mem::take(&mut room.news), lost)
        });
        news.unwrap_or_default()
    }

    /// The participant is about to leave. With the last one the recording is complete.
    pub(crate) fn is_leaving(&self) {
        if let Some(room) = self.rooms.open().get_mut(&self.room)
            && room.seats.len() == 1
            && let Some(taken) = room.recording.take()
        {
            room.tell(None, RoomChange::RecordingEnded(taken.name));
        }
    }

    /// The participant mutes itself, or speaks again.
    pub(crate) fn mute_itself(&self) {
        let Some((muted, name)) = self.note(|seat| {
            seat.mutes_itself = !seat.mutes_itself;
            (seat.mutes_itself, Arc::clone(&seat.name))
        }) else {
            return;
        };
        if let Some(room) = self.rooms.open().get_mut(&self.room) {
            room.tell(Some((self.call, name)), RoomChange::Muted(muted));
        }
    }

    /// Whether the participant speaks loudest, and observers don't know it; from now on they do.
    pub(crate) fn leads_anew(&self) -> bool {
        let mut open = self.rooms.open();
        let Some(room) = open.get_mut(&self.room) else {
            return false;
        };
        let this = Some(self.call);
        room.speaker == this && std::mem::replace(&mut room.told_speaker, this) != this
    }

    /// The participant is the one who speaks loudest.
    pub(crate) fn leads(&self) {
        if let Some(room) = self.rooms.open().get_mut(&self.room) {
            room.speaker = Some(self.call);
        }
    }

    fn with<T>(&self, look: impl FnOnce(&Room, &Seat) -> T) -> Option<T> {
        let open = self.rooms.open();
        let room = open.get(&self.room)?;
        let seat = room.seats.iter().find(|seat| seat.call == self.call)?;
        Some(look(room, seat))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.rooms.open();
        if let Some(room) = open.get_mut(&self.room) {
            let at = room.seats.iter().position(|seat| seat.call == self.call);
            let orders = at.map(|at| room.seats.remove(at).orders);
            // Somebody else sees to what it has not. His call looks when something else happens to it.
            for order in orders.into_iter().flatten() {
                room.order(order);
            }
            if !room.seats.iter().any(|seat| seat.video) {
                room.video = None;
            }
            if room.seats.is_empty() {
                open.remove(&self.room);
            }
        }
        self.rooms.count(&open);
    }
}

/// What the media workers are told about the recording of a room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Tape {
    /// A file of this name, compressed or not.
    Begin(Arc<str>, bool),
    Pause(bool),
    /// The file of this name is complete.
    End(Arc<str>),
}

/// News that wait.
const MOST_NEWS: usize = 1024;

/// Orders that wait; further ones are forgotten.
const MOST_ORDERS: usize = 16;

#[cfg(test)]
mod tests {
    use base::Mint;

    use super::*;

    fn rules(max: usize) -> Conference {
        Conference {
            room: "800".into(),
            max,
            ..Conference::default()
        }
    }

    fn call(slot: u8) -> Token {
        Mint::new(Slot::new(slot), [slot; 32]).token()
    }

    fn join(rooms: &Arc<Rooms>, slot: u8, moderator: bool) -> Result<Place, Closed> {
        rooms.join(&rules(3), (call(slot), "x".into()), moderator, UnixTime(7))
    }

    #[test]
    fn a_room_is_there_while_somebody_is_in_it() {
        let rooms = Arc::new(Rooms::default());
        let first = join(&rooms, 1, false).unwrap();
        let second = join(&rooms, 2, false).unwrap();
        assert_eq!(first.id, second.id);
        assert_eq!(rooms.list()[0].1.seats.len(), 2);
        let id = first.id;
        drop((first, second));
        assert!(rooms.is_empty());
        assert_ne!(join(&rooms, 1, false).unwrap().id, id);
    }

    #[test]
    fn a_full_or_locked_room_takes_nobody() {
        let rooms = Arc::new(Rooms::default());
        let _first = join(&rooms, 1, true).unwrap();
        rooms.moderate("800", Moderation::Lock(true), None).unwrap();
        assert_eq!(join(&rooms, 2, false).unwrap_err(), Closed::Locked);
        let _second = join(&rooms, 2, true).unwrap();
        rooms
            .moderate("800", Moderation::Lock(false), None)
            .unwrap();
        let _third = join(&rooms, 3, false).unwrap();
        assert_eq!(join(&rooms, 4, true).unwrap_err(), Closed::Full);
    }

    #[test]
    fn whoever_is_moderated_is_told_once() {
        let rooms = Arc::new(Rooms::default());
        let moderator = join(&rooms, 1, true).unwrap();
        let other = join(&rooms, 2, false).unwrap();
        assert_eq!(rooms.take_changed(Slot::new(2)), []);
        let slots = rooms.moderate("800", Moderation::Mute(true), None);
        assert_eq!(slots, Some(vec![Slot::new(2)]));
        assert_eq!(rooms.take_changed(Slot::new(1)), []);
        assert_eq!(rooms.take_changed(Slot::new(2)), [call(2)]);
        assert_eq!(rooms.take_changed(Slot::new(2)), []);
        assert!(other.participant().unwrap().muted);
        assert!(!moderator.participant().unwrap().muted);

        let one = rooms.moderate("800", Moderation::Kick, Some(call(1)));
        assert_eq!(one, Some(vec![Slot::new(1)]));
        assert_eq!(moderator.participant(), None);
        assert_eq!(rooms.moderate("800", Moderation::Kick, Some(call(9))), None);
        assert_eq!(rooms.moderate("801", Moderation::Kick, None), None);
    }

    #[test]
    fn news_that_there_is_no_room_for_is_counted() {
        let rooms = Arc::new(Rooms::default());
        let place = join(&rooms, 1, true).unwrap();
        for change in 0..MOST_NEWS + 7 {
            let lock = Moderation::Lock(change % 2 == 0);
            rooms.moderate("800", lock, None).unwrap();
        }
        let (news, lost) = place.take_news();
        assert_eq!((news.len(), lost), (MOST_NEWS, 7));
        assert_eq!(place.take_news(), (Vec::new(), 0));
    }

    #[test]
    fn pictures_are_encoded_as_those_of_who_was_first() {
        let rooms = Arc::new(Rooms::default());
        let one = join(&rooms, 1, false).unwrap();
        let other = join(&rooms, 2, false).unwrap();
        assert!(!one.watches(None));
        assert_eq!(rooms.pictures("800"), None);
        assert!(one.watches(Some(VideoCodec::H264)));
        assert!(!other.watches(Some(VideoCodec::Vp8)));
        assert_eq!(rooms.pictures("800"), Some(VideoCodec::H264));
        drop(one);
        assert_eq!(rooms.pictures("800"), None);
        assert!(other.watches(Some(VideoCodec::Vp8)));
        // The only one may change.
        assert!(other.watches(Some(VideoCodec::H264)));
    }

    #[test]
    fn who_came_first_sees_to_the_recording() {
        let rooms = Arc::new(Rooms::default());
        let one = join(&rooms, 1, false).unwrap();
        let other = join(&rooms, 2, false).unwrap();
        let name = |take: u32, opus: bool| Arc::from(format!("{take}{opus}"));
        let order = |action| rooms.moderate("800", Moderation::Record(action), None);
        assert_eq!(order(RecordAction::Pause), Some(vec![Slot::new(1)]));
        assert_eq!(one.tapes(name), [], "nothing runs");
        assert_eq!(order(RecordAction::Start), Some(vec![Slot::new(1)]));
        order(RecordAction::Start).unwrap();
        assert_eq!(other.tapes(name), []);
        assert_eq!(one.tapes(name), [Tape::Begin("1false".into(), false)]);
        let recorded = || rooms.list()[0].1.recording.clone();
        assert_eq!(&*recorded().unwrap().name, "1false");
        order(RecordAction::Stop).unwrap();
        // It is gone before it has done it.
        drop(one);
        assert_eq!(other.tapes(name), [Tape::End("1false".into())]);
        assert_eq!(recorded(), None);
    }

    #[test]
    fn in_a_lecture_moderators_alone_are_heard() {
        let rooms = Arc::new(Rooms::default());
        let moderator = join(&rooms, 1, true).unwrap();
        let other = join(&rooms, 2, false).unwrap();
        assert_eq!(
            moderator.moderate(Moderation::Lecture(true)),
            [Slot::new(2)]
        );
        assert_eq!(moderator.moderate(Moderation::Lecture(true)), []);
        assert!(other.participant().unwrap().muted);
        assert!(!moderator.participant().unwrap().muted);
        other.note(|seat| seat.held = true);
        assert!(other.participant().unwrap().deaf);
    }
}
