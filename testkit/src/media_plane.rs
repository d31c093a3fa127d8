//! The media workers as the signalling sees them, with a finite number of ports that are counted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use media::{Command, Event, Refusal, SessionId, Side, Source, StreamPorts};

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
    faults: Vec<String>,
}

/// One session.
#[derive(Debug, Default)]
pub struct Session {
    local: [Option<IpAddr>; 2],
    streams: Vec<StreamPorts>,
    /// Where each side of each stream receives.
    remotes: BTreeMap<(u8, usize), SocketAddr>,
    served: Option<u64>,
    /// Commands wait for the answer to `Allocate`, as in a worker's queue.
    closing: bool,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Answer {
    Do(SessionId, Work),
    Look(SessionId),
    Finish(SessionId, u64),
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
            faults: Vec::new(),
        }
    }

    /// Whether all ports are free and no session is left.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.sessions.is_empty() && self.free.len() == self.ports
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
        sessions.any(|session| session.served.is_some() && session.find(port).is_some())
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
            Command::Close { .. } => {
                match self.sessions.get_mut(&session) {
                    Some(open) => open.closing = true,
                    None => self.faults.push(format!("{command:?} without Allocate")),
                }
                self.closed.insert(session);
                // Not before what came earlier: the answers of one session keep their order.
                self.answer(now + SLOWEST, Answer::Do(session, Work::Close));
            }
            Command::Connect {
                stream,
                side,
                remote,
                ..
            } => {
                let key = (*stream, side.index());
                let Some(open) = self.with_stream(session, *stream) else {
                    self.faults
                        .push(format!("{command:?} without such a stream"));
                    return;
                };
                match remote {
                    Some(remote) => open.remotes.insert(key, remote.rtp),
                    None => open.remotes.remove(&key),
                };
            }
            Command::Serve { stream, source, .. } => self.serve(now, session, *stream, source),
        }
    }

    fn serve(&mut self, now: Instant, session: SessionId, stream: u8, source: &Source) {
        self.number += 1;
        let number = self.number;
        match self.with_stream(session, stream) {
            Some(open) => open.served = Some(number),
            None => self.faults.push(format!(
                "{source:?} for {session:?}, which has no stream {stream}"
            )),
        }
        if matches!(source, Source::Prompt(_)) {
            self.answer(now + PROMPT, Answer::Finish(session, number));
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
                Answer::Finish(session, number) => self
                    .sessions
                    .get(&session)
                    .filter(|open| open.served == Some(number) && !open.closing)
                    .map(|_| Event::Finished { session }),
            };
            if event.is_some() {
                return event;
            }
        }
        None
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
            open.streams.push(StreamPorts { rtp });
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

/// No answer takes longer.
pub(crate) const SLOWEST: Duration = Duration::from_millis(50);

/// How long every prompt is.
const PROMPT: Duration = Duration::from_secs(3);
