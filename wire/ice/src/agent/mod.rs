//! The full agent: checks pairs of candidates until one works, and watches over it.
//!
//! - [`pair`]: a pair and its checks. - [`list`]: which pairs there are.
//! - [`send`]: whose turn it is. - [`receive`]: what comes.
//! - [`select`]: nomination and consent.

mod list;
mod pair;
mod receive;
mod select;
mod send;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::candidate::{Candidate, Kind, Transport};
use crate::check::Secret;
use crate::credentials::Credentials;
use crate::stun::TransactionId;
use crate::{Event, Pair};
use pair::CandidatePair;
use select::Consent;

/// Who decides which pair is used.
///
/// # Source
/// RFC 8445 §6.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// This agent: it made the offer, or its peer is lite.
    Controlling,
    /// The peer.
    Controlled,
}

/// A full agent for one component.
///
/// Whoever has it calls [`Agent::wake`] at [`Agent::deadline`], hands it what comes, and after either sends
/// what [`Agent::poll_transmit`] gives and looks at [`Agent::poll_event`].
///
/// # Source
/// RFC 8445, RFC 8838 (candidates may come late), RFC 7675 (consent).
pub struct Agent {
    component: u16,
    /// How its transactions begin.
    tag: Option<[u8; 4]>,
    role: Role,
    tie_breaker: u64,
    random: ChaCha8Rng,
    local: Secret,
    /// Before a restart: what keeps the old way open is answered.
    previous: Option<Secret>,
    remote: Option<Remote>,
    locals: Vec<Local>,
    remotes: Vec<RemoteCandidate>,
    pairs: Vec<CandidatePair>,
    /// Places in `pairs`; each is there once.
    triggered: VecDeque<usize>,
    early: Vec<Early>,
    /// When the next check may leave; none: at once.
    pace: Option<Instant>,
    first_valid: Option<Instant>,
    /// Until when a list of failures is not yet a failure.
    patience: Option<Instant>,
    /// A pair was selected: no more ordinary checks.
    concluded: bool,
    consent: Option<Consent>,
    outbox: VecDeque<(Pair, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
    events: VecDeque<Event>,
}

struct Remote {
    secret: Secret,
    lite: bool,
}

/// A candidate of ours, and the socket behind it.
struct Local {
    candidate: Candidate,
    base: SocketAddr,
}

/// What is needed of a candidate of the peer.
#[derive(Clone, Copy)]
struct RemoteCandidate {
    address: SocketAddr,
    priority: u32,
    foundation: u32,
}

/// A check that came before the peer's credentials.
#[derive(Clone, Copy)]
struct Early {
    path: Pair,
    priority: u32,
    nominates: bool,
}

impl Agent {
    /// An agent that knows nothing of its peer yet. `seed` makes its transactions unguessable.
    #[must_use]
    pub fn new(role: Role, local: Credentials, seed: [u8; 32]) -> Self {
        let mut random = ChaCha8Rng::from_seed(seed);
        Self {
            component: 1,
            tag: None,
            role,
            tie_breaker: random.next_u64(),
            random,
            local: Secret::new(local),
            previous: None,
            remote: None,
            locals: Vec::new(),
            remotes: Vec::new(),
            pairs: Vec::new(),
            triggered: VecDeque::new(),
            early: Vec::new(),
            pace: None,
            first_valid: None,
            patience: None,
            concluded: false,
            consent: None,
            outbox: VecDeque::new(),
            spare: Vec::new(),
            events: VecDeque::new(),
        }
    }

    /// For another component than the first: 2 is RTCP on a port of its own.
    ///
    /// # Source
    /// RFC 8445 §4.
    #[must_use]
    pub fn for_component(mut self, component: u16) -> Self {
        self.component = component;
        self
    }

    /// Its transactions begin with `tag`, so that answers to it can be told from those to others with the
    /// same socket: [`answered`] reads it. The other 64 bits stay unguessable.
    #[must_use]
    pub fn tagged(mut self, tag: u32) -> Self {
        self.tag = Some(tag.to_be_bytes());
        self
    }

    /// Our credentials.
    #[must_use]
    pub fn local(&self) -> &Credentials {
        &self.local.credentials
    }

    /// Who decides; this may change when both agents think that it is they.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Our candidates, for our description.
    pub fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.locals.iter().map(|local| &local.candidate)
    }

    /// Adds a candidate of ours. Of those beyond 16, and of one that is there already, nothing is done.
    ///
    /// # Source
    /// RFC 8445 §5.1.1; §5.1.3: the better of two with the same base is kept in a pair.
    pub fn add_local(&mut self, now: Instant, candidate: Candidate) {
        let Some(address) = candidate.socket_address() else {
            return;
        };
        let base = match candidate.kind {
            // A relayed candidate is its own base (RFC 8445 §5.1.1.2): who relays is the owner's affair.
            Kind::Host | Kind::Relayed => address,
            Kind::ServerReflexive | Kind::PeerReflexive => candidate.related.unwrap_or(address),
        };
        let known = |local: &Local| local.candidate.socket_address() == Some(address);
        if self.locals.len() >= LOCALS || self.locals.iter().any(known) {
            return;
        }
        self.locals.push(Local { candidate, base });
        self.pair_up_local(now, self.locals.len() - 1);
    }

    /// Says who the peer is: `lite` if its description has `a=ice-lite`, which makes us controlling. The same
    /// credentials once more change nothing; others begin a new list.
    ///
    /// # Source
    /// RFC 8445 §6.1.1, §9.
    pub fn set_remote(&mut self, now: Instant, credentials: Credentials, lite: bool) {
        let is_known = |remote: &Remote| remote.secret.credentials == credentials;
        if self.remote.as_ref().is_some_and(is_known) {
            return;
        }
        self.forget_list();
        if lite {
            self.role = Role::Controlling;
        }
        self.remote = Some(Remote {
            secret: Secret::new(credentials),
            lite,
        });
        self.patience = Some(now + PATIENCE);
        for early in std::mem::take(&mut self.early) {
            self.learn_and_check(now, early);
        }
    }

    /// Adds a candidate of the peer, also late. Those over TCP, for another component, of another session of
    /// ICE, with a name for an address, and those beyond 32 are passed over.
    ///
    /// # Source
    /// RFC 8838 §11, RFC 8445 §6.1.2.2.
    pub fn add_remote(&mut self, now: Instant, candidate: &Candidate) {
        let Some(remote) = &self.remote else {
            return;
        };
        let ufrag = remote.secret.credentials.ufrag();
        let is_ours = candidate.ufrag.as_deref().is_none_or(|of| of == ufrag);
        let is_here = candidate.component == self.component;
        if candidate.transport != Transport::Udp || !is_here || !is_ours {
            return;
        }
        let Some(address) = candidate.socket_address().filter(is_possible) else {
            return;
        };
        let known = |remote: &RemoteCandidate| remote.address == address;
        if self.remotes.len() >= REMOTES || self.remotes.iter().any(known) {
            return;
        }
        self.remotes.push(RemoteCandidate {
            address,
            priority: candidate.priority,
            foundation: crate::stun::integrity::crc32(&[candidate.foundation.as_bytes()]),
        });
        self.pair_up_remote(now, self.remotes.len() - 1);
    }

    /// Begins anew with other credentials; the peer's have to be set again. Media go the way they went until
    /// another is selected.
    ///
    /// # Source
    /// RFC 8445 §9.
    pub fn restart(&mut self, local: Credentials) {
        let old = std::mem::replace(&mut self.local, Secret::new(local));
        self.previous = Some(old);
        self.remote = None;
        self.patience = None;
        self.early.clear();
        self.forget_list();
    }

    /// The pair that media take, while the peer consents.
    #[must_use]
    pub fn selected(&self) -> Option<Pair> {
        self.consent.as_ref().map(|consent| consent.path)
    }

    /// What is to be sent: `datagram` is replaced by it.
    pub fn poll_transmit(&mut self, datagram: &mut Vec<u8>) -> Option<Pair> {
        let (path, octets) = self.outbox.pop_front()?;
        let empty = std::mem::replace(datagram, octets);
        if self.spare.len() < SPARE {
            self.spare.push(empty);
        }
        Some(path)
    }

    /// What has happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Agent::wake`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let flights = self.pairs.iter().filter_map(|pair| pair.flight.as_ref());
        let times = [
            flights.map(|flight| flight.due).min(),
            self.pace.filter(|_| self.has_work()),
            self.nomination_due(),
            self.failure_due(),
            self.consent.as_ref().map(Consent::deadline),
        ];
        times.into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn wake(&mut self, now: Instant) {
        self.repeat_checks(now);
        self.nominate(now);
        self.start_check(now);
        self.keep_consent(now);
        self.give_up(now);
    }

    fn forget_list(&mut self) {
        self.remotes.clear();
        self.pairs.clear();
        self.triggered.clear();
        self.first_valid = None;
        self.concluded = false;
    }

    /// Room in the outbox is for 64 messages; what does not fit is lost, as in the network, and sent again
    /// when its time comes.
    fn post(&mut self, path: Pair, write: impl FnOnce(&mut Vec<u8>)) {
        if self.outbox.len() >= OUTBOX {
            return;
        }
        let mut octets = self.spare.pop().unwrap_or_default();
        octets.clear();
        write(&mut octets);
        self.outbox.push_back((path, octets));
    }

    /// At most 16 events wait; of more, the oldest is forgotten, as the state can be asked for.
    fn tell(&mut self, event: Event) {
        if self.events.len() >= EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn transaction(&mut self) -> TransactionId {
        let mut id = TransactionId::default();
        self.random.fill_bytes(&mut id.0);
        if let Some(tag) = self.tag {
            id.0[..4].copy_from_slice(&tag);
        }
        id
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("role", &self.role)
            .field("pairs", &self.pairs.len())
            .field("selected", &self.selected())
            .finish_non_exhaustive()
    }
}

/// The [tag](Agent::tagged) of the agent that a datagram answers; none: it is no answer. Whether there is such
/// an agent, and whether the answer is genuine, is yet to be found out.
///
/// # Source
/// RFC 8489 §5: the class of a message, and its transaction.
#[must_use]
pub fn answered(datagram: &[u8]) -> Option<u32> {
    let is_answer = *datagram.first()? & 0x01 != 0;
    let tag = datagram.get(8..12).filter(|_| is_answer)?;
    tag.try_into().ok().map(u32::from_be_bytes)
}

/// Whether anything can be there.
fn is_possible(address: &SocketAddr) -> bool {
    let ip = address.ip();
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()
}

/// Candidates of ours.
const LOCALS: usize = 16;

/// Candidates of the peer.
const REMOTES: usize = 32;

/// Checks that may come before the peer's credentials; later ones are sent again.
const EARLY: usize = 16;

const OUTBOX: usize = 64;

const EVENTS: usize = 16;

/// Buffers that are kept for reuse.
const SPARE: usize = 4;

/// How long the peer's candidates and checks may be on their way.
const PATIENCE: Duration = Duration::from_secs(30);
