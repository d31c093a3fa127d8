//! The media workers as the signalling sees them, with a finite number of ports that are counted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use media::{
    Command, Event, Participant, Refusal, Remote, RoomId, SessionId, Side, Source, StreamPorts,
};

/// All media of a simulated server.
#[derive(Debug)]
pub struct MediaPlane {
    free: BTreeSet<u16>,
    ports: usize,
    sessions: BTreeMap<SessionId, Session>,
    closed: BTreeSet<SessionId>,
    answers: BinaryHeap<Reverse<(Instant, u64, Answer)>>,
    number: u64,
    timeout: Duration,
    /// Keys that were pressed, and where they are heard.
    pressed: Vec<(SocketAddr, char)>,
    /// Who has been asked by RTCP for a picture that stands alone.
    asked: Vec<SocketAddr>,
    faults: Vec<String>,
}

/// One session.
#[derive(Debug, Default)]
pub struct Session {
    local: [Option<IpAddr>; 2],
    streams: Vec<StreamPorts>,
    /// Where each side of each stream receives.
    remotes: BTreeMap<(u8, usize), SocketAddr>,
    /// How many candidates each side of each stream has told.
    ways: BTreeMap<(u8, usize), usize>,
    /// Which sides of which streams we serve, and since which command.
    served: BTreeMap<(u8, usize), u64>,
    /// Which sides of which streams are in a room, and what they may do there.
    seats: BTreeMap<(u8, usize), (RoomId, Participant)>,
    /// Commands wait for the answer to `Allocate`, as in a worker's queue.
    closing: bool,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Answer {
    Do(SessionId, Work),
    Look(SessionId),
    /// A sound ends, unless another is played by then.
    Finish(SessionId, (u8, usize), Sound),
    /// It has ended, and word of that has been on its way.
    Finished(SessionId, (u8, usize), u32),
    /// Who is in a room begins to speak, or stops, and speaks loudest: so many times more.
    Talk(SessionId, (u8, usize), u8),
    Want(SessionId, (u8, usize)),
}

/// A sound that is played: by which command, and what signalling calls it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Sound {
    command: u64,
    number: u32,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Work {
    Allocate([Option<IpAddr>; 2], u8),
    Close,
}

impl MediaPlane {
    /// A plane with this many RTP ports (RTCP ports are not counted), which says that a session is
    /// silent after `timeout`.
    #[must_use]
    pub fn new(ports: usize, timeout: Duration) -> Self {
        Self {
            free: (0..ports as u16).map(|index| 20_000 + 2 * index).collect(),
            ports,
            sessions: BTreeMap::new(),
            closed: BTreeSet::new(),
            answers: BinaryHeap::new(),
            number: 0,
            timeout,
            pressed: Vec::new(),
            asked: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Whether all ports are free and no session is left.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.sessions.is_empty() && self.free.len() == self.ports
    }

    /// The keys that were pressed so far where this address hears them.
    #[must_use]
    pub fn pressed_at(&self, address: SocketAddr) -> String {
        let keys = self.pressed.iter().filter(|(at, _)| *at == address);
        keys.map(|(_, key)| *key).collect()
    }

    /// How many ways to parties there are to be checked.
    #[must_use]
    pub fn ways(&self) -> usize {
        let open = self.sessions.values();
        open.flat_map(|session| session.ways.values()).sum()
    }

    /// How often whoever sends pictures from this address has been asked by RTCP for one that stands alone.
    #[must_use]
    pub fn asked_for_pictures(&self, address: SocketAddr) -> usize {
        self.asked.iter().filter(|at| **at == address).count()
    }

    /// A picture is wanted of whom this address belongs to, who takes no RTCP about it.
    pub(crate) fn want_picture(&mut self, now: Instant, of: SocketAddr) {
        let wanted = self.sessions.iter().find_map(|(session, open)| {
            let place = open.remotes.iter().find(|(_, remote)| **remote == of)?.0;
            Some(Answer::Want(*session, *place))
        });
        match wanted {
            Some(wanted) => self.answer(now, wanted),
            None => self.faults.push(format!("nobody is at {of}")),
        }
    }

    /// How many ports are in use.
    #[must_use]
    pub fn ports_in_use(&self) -> usize {
        self.ports - self.free.len()
    }

    /// Whether `port` is one of a session that is open.
    #[must_use]
    pub fn is_open(&self, port: u16) -> bool {
        self.sessions.values().any(|session| {
            session
                .streams
                .iter()
                .any(|stream| stream.rtp.contains(&port))
        })
    }

    /// Where what arrives at `port` goes to: the address of the opposite side of its stream.
    #[must_use]
    pub fn relays_to(&self, port: u16) -> Option<SocketAddr> {
        self.sessions.values().find_map(|session| {
            let (index, side) = session.find(port)?;
            session.remotes.get(&(index, side.other().index())).copied()
        })
    }

    /// Whom somebody hears in the end who sends to `port`: calls of ours that are joined pass it on to
    /// each other.
    #[must_use]
    pub fn reaches(&self, port: u16) -> Option<SocketAddr> {
        self.relays_to(self.last(port))
    }

    /// The port of the last call in the chain that begins at `port`.
    fn last(&self, port: u16) -> u16 {
        let mut port = port;
        // No chain is longer than there are sessions.
        for _ in 0..self.sessions.len() {
            match self.relays_to(port) {
                Some(address) if address.ip().is_loopback() => port = address.port(),
                _ => break,
            }
        }
        port
    }

    /// Where `port` sends to: the address of its own side.
    #[must_use]
    pub fn sends_to(&self, port: u16) -> Option<SocketAddr> {
        self.sessions.values().find_map(|session| {
            let (index, side) = session.find(port)?;
            session.remotes.get(&(index, side.index())).copied()
        })
    }

    /// Whether whoever sends to `port` hears something that we play.
    #[must_use]
    pub fn is_served(&self, port: u16) -> bool {
        let port = self.last(port);
        let mut sessions = self.sessions.values();
        sessions.any(|session| {
            let place = session.find(port);
            place.is_some_and(|(stream, side)| session.served.contains_key(&(stream, side.index())))
        })
    }

    /// Whoever sends to `port` is in this room, and may do this there.
    #[must_use]
    pub fn seat(&self, port: u16) -> Option<(RoomId, Participant)> {
        self.sessions.values().find_map(|session| {
            let (stream, side) = session.find(port)?;
            session.seats.get(&(stream, side.index())).copied()
        })
    }

    pub(crate) fn take_faults(&mut self) -> Vec<String> {
        std::mem::take(&mut self.faults)
    }

    pub(crate) fn command(&mut self, now: Instant, command: &Command, delay: Duration) {
        let session = command.session();
        if self.closed.contains(&session) {
            self.faults.push(format!("{command:?} after Close"));
            return;
        }
        match command {
            Command::Allocate { local, streams, .. } => {
                self.sessions.entry(session).or_default();
                let work = Work::Allocate(*local, *streams);
                self.answer(now + delay, Answer::Do(session, work));
            }
            Command::Close { .. } => self.asked_to_close(now, command),
            Command::Serve {
                stream,
                side,
                source,
                number,
                ..
            } => self.serve(now, session, (*stream, side.index()), (source, *number)),
            Command::Connect { stream, .. }
            | Command::Digits { stream, .. }
            | Command::Join { stream, .. }
            | Command::Record { stream, .. }
            | Command::PauseRecording { stream, .. } => {
                if self.with_stream(session, *stream).is_some() {
                    self.on_stream(now, command);
                } else {
                    self.faults
                        .push(format!("{command:?} without such a stream"));
                }
            }
            Command::Adjust { .. }
            | Command::Leave { .. }
            | Command::Unserve { .. }
            | Command::Keyframe { .. } => self.on_side(command),
            // Pictures and recordings of rooms are the workers' affair, and the PBX has no use for the rest.
            Command::Watch { .. }
            | Command::Wish { .. }
            | Command::RecordRoom { .. }
            | Command::PauseRoom { .. }
            | Command::Count { .. }
            | Command::BlockDigits { .. } => {}
        }
    }

    fn asked_to_close(&mut self, now: Instant, command: &Command) {
        let session = command.session();
        match self.sessions.get_mut(&session) {
            Some(open) => open.closing = true,
            None => self.faults.push(format!("{command:?} without Allocate")),
        }
        self.closed.insert(session);
        // Not before what came earlier: the answers of one session keep their order.
        self.answer(now + SLOWEST, Answer::Do(session, Work::Close));
    }

    /// What is done to a stream that there is.
    fn on_stream(&mut self, now: Instant, command: &Command) {
        let session = command.session();
        let Some(open) = self.sessions.get_mut(&session) else {
            return;
        };
        match command {
            Command::Connect {
                stream,
                side,
                remote,
                ..
            } => open.connect((*stream, side.index()), remote.as_deref()),
            Command::Digits {
                stream,
                side,
                digits,
                ..
            } => {
                // While a party is replaced, nobody hears them.
                if let Some(remote) = open.remotes.get(&(*stream, side.index())).copied() {
                    let keys = digits.iter().map(|digit| (remote, digit.char()));
                    self.pressed.extend(keys);
                }
            }
            Command::Join {
                stream,
                side,
                room,
                participant,
                ..
            } => {
                let (place, seat) = ((*stream, side.index()), (*room, *participant));
                if open.seats.insert(place, seat).is_none() {
                    self.answer(now + WORD, Answer::Talk(session, place, WORDS));
                }
            }
            // Recordings are the workers' affair.
            _ => {}
        }
    }

    /// What is done to a side of a stream, if there is one.
    fn on_side(&mut self, command: &Command) {
        let Some(open) = self.sessions.get_mut(&command.session()) else {
            if matches!(command, Command::Adjust { .. }) {
                self.faults.push(format!("{command:?} without a seat"));
            }
            return;
        };
        match command {
            Command::Adjust {
                stream,
                side,
                participant,
                ..
            } => match open.seats.get_mut(&(*stream, side.index())) {
                Some(seat) => seat.1 = *participant,
                None => self.faults.push(format!("{command:?} without a seat")),
            },
            Command::Leave { stream, side, .. } => {
                open.seats.remove(&(*stream, side.index()));
            }
            Command::Unserve { stream, side, .. } => {
                open.served.remove(&(*stream, side.index()));
            }
            Command::Keyframe { stream, side, .. } => {
                self.asked
                    .extend(open.remotes.get(&(*stream, side.index())));
            }
            _ => {}
        }
    }

    fn serve(
        &mut self,
        now: Instant,
        session: SessionId,
        place: (u8, usize),
        (source, number): (&Source, u32),
    ) {
        self.number += 1;
        let command = self.number;
        match self.with_stream(session, place.0) {
            Some(open) => _ = open.served.insert(place, command),
            None => self.faults.push(format!(
                "{source:?} for {session:?}, which has no stream {}",
                place.0
            )),
        }
        if matches!(source, Source::Prompt(_)) {
            let sound = Sound { command, number };
            self.answer(now + PROMPT, Answer::Finish(session, place, sound));
        }
    }

    fn with_stream(&mut self, session: SessionId, stream: u8) -> Option<&mut Session> {
        self.sessions
            .get_mut(&session)
            .filter(|open| usize::from(stream) < open.streams.len())
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.answers.peek().map(|Reverse((at, _, _))| *at)
    }

    /// What the workers say next, if it is due. `sending` tells whether a phone sends RTP from an
    /// address.
    pub(crate) fn speak(
        &mut self,
        now: Instant,
        sending: impl Fn(SocketAddr) -> bool,
    ) -> Option<Event> {
        while self.next().is_some_and(|at| at <= now) {
            let Reverse((_, _, answer)) = self.answers.pop()?;
            let event = match answer {
                Answer::Do(session, Work::Allocate(local, streams)) => {
                    Some(self.allocate(now, session, local, streams))
                }
                Answer::Do(session, Work::Close) => self.close(session),
                Answer::Look(session) => self.look(now, session, &sending),
                Answer::Finish(session, place, sound) => {
                    self.finish(now, session, place, sound);
                    None
                }
                Answer::Finished(session, place, number) => self.finished(session, place, number),
                Answer::Talk(session, place, left) => self.talk(now, session, place, left),
                Answer::Want(session, (stream, side)) => Some(Event::PictureWanted {
                    session,
                    stream,
                    side: [Side::Caller, Side::Callee][side],
                }),
            };
            if event.is_some() {
                return event;
            }
        }
        None
    }

    fn talk(
        &mut self,
        now: Instant,
        session: SessionId,
        place: (u8, usize),
        left: u8,
    ) -> Option<Event> {
        let open = self.sessions.get(&session).filter(|open| !open.closing)?;
        open.seats.get(&place)?;
        if left > 0 {
            self.answer(now + WORD, Answer::Talk(session, place, left - 1));
        }
        Some(match left % 3 {
            0 => Event::Talking {
                session,
                talking: false,
                ssrc: Some(SSRC),
            },
            1 => Event::ActiveSpeaker { session },
            _ => Event::Talking {
                session,
                talking: true,
                ssrc: Some(SSRC),
            },
        })
    }

    fn finish(&mut self, now: Instant, session: SessionId, place: (u8, usize), sound: Sound) {
        let open = self.sessions.get(&session);
        let playing = open.and_then(|open| open.served.get(&place));
        if playing == Some(&sound.command) {
            self.answer(
                now + WORD_OF_END,
                Answer::Finished(session, place, sound.number),
            );
        }
    }

    fn finished(&self, session: SessionId, place: (u8, usize), number: u32) -> Option<Event> {
        self.sessions.get(&session).filter(|open| !open.closing)?;
        Some(Event::Finished {
            session,
            stream: place.0,
            side: [Side::Caller, Side::Callee][place.1],
            number,
        })
    }

    fn allocate(
        &mut self,
        now: Instant,
        session: SessionId,
        local: [Option<IpAddr>; 2],
        streams: u8,
    ) -> Event {
        let open = self.sessions.entry(session).or_default();
        let fresh = open.streams.is_empty();
        let wanted = usize::from(streams).saturating_sub(open.streams.len());
        let sides = local.iter().flatten().count();
        if self.free.len() < wanted * sides {
            let refusal = Refusal::NoPorts;
            return Event::Refused { session, refusal };
        }
        open.local = local;
        for _ in 0..wanted {
            let rtp = open
                .local
                .map(|address| address.and_then(|_| self.free.pop_first()).unwrap_or(0));
            open.streams.push(StreamPorts {
                rtp,
                rtcp: rtp.map(|port| if port == 0 { 0 } else { port + 1 }),
            });
        }
        let streams = open.streams.clone();
        if fresh {
            self.answer(now + self.timeout, Answer::Look(session));
        }
        Event::Allocated { session, streams }
    }

    fn close(&mut self, session: SessionId) -> Option<Event> {
        let open = self.sessions.remove(&session)?;
        for port in open.streams.iter().flat_map(|stream| stream.rtp) {
            if port != 0 && !self.free.insert(port) {
                self.faults
                    .push(format!("port {port} was given back twice"));
            }
        }
        let stats = Default::default();
        Some(Event::Closed { session, stats })
    }

    fn look(
        &mut self,
        now: Instant,
        session: SessionId,
        sending: impl Fn(SocketAddr) -> bool,
    ) -> Option<Event> {
        let open = self.sessions.get(&session).filter(|open| !open.closing)?;
        let silent = !open.remotes.values().any(|address| sending(*address));
        self.answer(now + self.timeout, Answer::Look(session));
        silent.then_some(Event::Silent { session })
    }

    fn answer(&mut self, at: Instant, answer: Answer) {
        self.number += 1;
        self.answers.push(Reverse((at, self.number, answer)));
    }
}

impl Session {
    fn connect(&mut self, key: (u8, usize), remote: Option<&Remote>) {
        let peer = remote.and_then(|remote| remote.ice.as_ref()?.peer.as_ref());
        self.ways
            .insert(key, peer.map_or(0, |peer| peer.candidates.len()));
        match remote {
            Some(remote) => self.remotes.insert(key, remote.rtp),
            None => self.remotes.remove(&key),
        };
    }

    fn find(&self, port: u16) -> Option<(u8, Side)> {
        let sides = [Side::Caller, Side::Callee];
        self.streams.iter().enumerate().find_map(|(index, stream)| {
            let side = sides
                .into_iter()
                .find(|side| stream.rtp[side.index()] == port)?;
            Some((index as u8, side))
        })
    }
}

/// What everybody in a room calls itself.
const SSRC: u32 = 0x5eed;

/// How long a word of somebody in a room takes, and how often he changes between speech and silence.
const WORD: Duration = Duration::from_millis(130);
const WORDS: u8 = 29;

/// No answer takes longer.
pub(crate) const SLOWEST: Duration = Duration::from_millis(50);

/// How long every prompt is.
const PROMPT: Duration = Duration::from_secs(3);

/// How long it takes until signalling hears that a prompt is over: it goes through a queue.
const WORD_OF_END: Duration = Duration::from_millis(20);
