//! A port that many legs share: whose datagram is it?
//!
//! 1. A connectivity check names its receiver (RFC 8445 §7.2.2), and an answer to one of ours the leg that has
//!    asked. Where a valid one came from is the leg's from then on.
//! 2. Anything else belongs to the leg whose party was heard from that address, or said in its
//!    description that it is there. Parties with one address for all calls, such as a server that shares a
//!    port itself, are told apart by their SSRCs.
//! 3. A stranger may be a party behind a NAT, which is not where it thinks. He is taken for the one whose
//!    stream he goes on with, by its SSRC; else for the one leg that still waits for its party and whose
//!    party claims to be on his host or signals from there; else for the only one that waits. The leg's
//!    [latch](crate::latch) judges him. If several are possible he is nobody's, for crosstalk is worse than
//!    silence. Therefore legs are spread so that on each port as few as possible wait at a time: a small
//!    range of ports serves as many calls that begin at the same moment, whatever NATs they come through.
//!
//! # Source
//! RFC 7983 for what shares a port, RFC 5761 for RTCP among it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use rtp::{Header, Kind, rtcp};
use slab::Slab;

use crate::leg::Leg;
use crate::transport::Outlet;

/// One shared port.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) outlet: Rc<Outlet>,
    sources: HashMap<SocketAddr, Vec<usize>>,
    ufrags: HashMap<Box<str>, usize>,
    ssrcs: HashMap<u32, usize>,
    streams: HashMap<(SocketAddr, u32), usize>,
    tenants: HashMap<usize, Tenant>,
    /// Legs that have not heard from their party.
    waiting: Vec<usize>,
}

/// How a leg's party will be known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected<'a> {
    /// There is none, or none yet.
    Nobody,
    /// It said that it is at these addresses, and its signalling comes from this host.
    At([SocketAddr; 2], Option<IpAddr>),
    /// It makes connectivity checks for this user fragment.
    Checks(&'a str),
}

/// By what a leg is known.
#[derive(Debug, Default)]
struct Tenant {
    /// Where its party said that it is.
    signalled: Option<[SocketAddr; 2]>,
    /// Where its signalling comes from.
    host: Option<IpAddr>,
    /// Where it was heard from, the latest last.
    heard: Vec<SocketAddr>,
    ufrag: Option<Box<str>>,
    /// Of what it sends, the latest last.
    ssrcs: Vec<(SocketAddr, u32)>,
}

impl Hub {
    /// A port without legs.
    pub(crate) fn new(outlet: Outlet) -> Self {
        Self {
            outlet: Rc::new(outlet),
            sources: HashMap::new(),
            ufrags: HashMap::new(),
            ssrcs: HashMap::new(),
            streams: HashMap::new(),
            tenants: HashMap::new(),
            waiting: Vec::new(),
        }
    }

    /// How many legs wait for their party, and how many there are.
    pub(crate) fn load(&self) -> (usize, usize) {
        (self.waiting.len(), self.tenants.len())
    }

    /// Takes a leg in.
    pub(crate) fn enter(&mut self, leg: usize) {
        self.tenants.insert(leg, Tenant::default());
        self.waiting.push(leg);
    }

    /// Forgets a leg.
    pub(crate) fn leave(&mut self, leg: usize) {
        let Some(tenant) = self.tenants.remove(&leg) else {
            return;
        };
        for source in tenant.signalled.iter().flatten().chain(&tenant.heard) {
            self.let_go(*source, leg);
        }
        if let Some(ufrag) = &tenant.ufrag {
            self.ufrags.remove(ufrag);
        }
        for stream in &tenant.ssrcs {
            self.forget_ssrc(*stream, leg);
        }
        self.waiting.retain(|other| *other != leg);
    }

    /// What signalling has told of a leg's party. If that is the same as before, who was heard stays.
    pub(crate) fn expect(&mut self, leg: usize, expected: Expected<'_>) {
        let Some(tenant) = self.tenants.get_mut(&leg) else {
            return;
        };
        let (signalled, host, ufrag) = match expected {
            Expected::Nobody => (None, None, None),
            Expected::At(signalled, host) => (Some(signalled), host, None),
            Expected::Checks(ufrag) => (None, None, Some(ufrag)),
        };
        tenant.host = host;
        if tenant.signalled == signalled && tenant.ufrag.as_deref() == ufrag {
            return;
        }
        let mut gone: Vec<_> = tenant.signalled.iter().flatten().copied().collect();
        if tenant.signalled != signalled {
            // Somebody else perhaps: who was heard before has to be heard again.
            gone.append(&mut tenant.heard);
        }
        tenant.signalled = signalled;
        if let Some(old) = std::mem::replace(&mut tenant.ufrag, ufrag.map(Into::into)) {
            self.ufrags.remove(&old);
        }
        gone.iter().for_each(|source| self.let_go(*source, leg));
        let usable = signalled.iter().flatten().filter(|at| is_usable(**at));
        usable.for_each(|source| self.belongs(*source, leg));
        self.waiting.retain(|other| *other != leg);
        match ufrag {
            // Checks will introduce it; nobody else is taken for it.
            Some(ufrag) => _ = self.ufrags.insert(ufrag.into(), leg),
            None => self.waiting.push(leg),
        }
    }

    /// The leg that a datagram from `from` is for.
    pub(crate) fn whose(
        &self,
        kind: Kind,
        from: SocketAddr,
        datagram: &[u8],
        legs: &Slab<Leg>,
    ) -> Option<usize> {
        if kind == Kind::Stun {
            if let Some(leg) = ice::agent::answered(datagram) {
                return Some(leg as usize).filter(|leg| self.tenants.contains_key(leg));
            }
            let named =
                ice::credentials::receiver_of(datagram).and_then(|ufrag| self.ufrags.get(ufrag));
            return named.copied().or_else(|| self.only(from));
        }
        let ssrc = ssrc(kind, datagram);
        match self.sources.get(&from).map(Vec::as_slice) {
            Some([leg]) => Some(*leg),
            Some(several) => {
                let known = ssrc.and_then(|ssrc| self.streams.get(&(from, ssrc)));
                known.copied().or_else(|| {
                    let silent = |leg: &&usize| legs.get(**leg).is_some_and(Leg::is_unheard);
                    one(several.iter().filter(silent))
                })
            }
            None => {
                let open = |leg: &&usize| legs.get(**leg).is_some_and(Leg::is_open);
                let waiting = || self.waiting.iter().filter(open);
                let here = || waiting().filter(|leg| self.is_at(**leg, from.ip()));
                let known = ssrc.and_then(|ssrc| self.ssrcs.get(&ssrc));
                known.copied().or_else(|| match here().next() {
                    Some(_) => one(here()),
                    None => one(waiting()),
                })
            }
        }
    }

    /// The leg that `from` belongs to alone.
    fn only(&self, from: SocketAddr) -> Option<usize> {
        one(self.sources.get(&from)?.iter())
    }

    /// Whether the leg's party claims to be on this host, or signals from there.
    fn is_at(&self, leg: usize, host: IpAddr) -> bool {
        self.tenants.get(&leg).is_some_and(|tenant| {
            let mut said = tenant.signalled.iter().flatten();
            tenant.host == Some(host) || said.any(|said| said.ip() == host)
        })
    }

    /// Notes that a leg has accepted a datagram from `from`, with this SSRC if it was media.
    pub(crate) fn accepted(&mut self, leg: usize, from: SocketAddr, ssrc: Option<u32>) {
        let Some(tenant) = self.tenants.get_mut(&leg) else {
            return;
        };
        let is_new = !tenant.heard.contains(&from);
        if is_new {
            tenant.heard.push(from);
            let old = (tenant.heard.len() > MAX_KNOWN).then(|| tenant.heard.remove(0));
            if let Some(old) = old {
                self.let_go(old, leg);
            }
            self.belongs(from, leg);
        }
        if let Some(ssrc) = ssrc {
            self.waiting.retain(|other| *other != leg);
            self.note_ssrc(leg, (from, ssrc));
        }
    }

    fn note_ssrc(&mut self, leg: usize, stream: (SocketAddr, u32)) {
        let Some(tenant) = self.tenants.get_mut(&leg) else {
            return;
        };
        if tenant.ssrcs.contains(&stream) {
            return;
        }
        tenant.ssrcs.push(stream);
        let old = (tenant.ssrcs.len() > MAX_KNOWN).then(|| tenant.ssrcs.remove(0));
        if let Some(old) = old {
            self.forget_ssrc(old, leg);
        }
        self.ssrcs.insert(stream.1, leg);
        self.streams.insert(stream, leg);
    }

    fn forget_ssrc(&mut self, stream: (SocketAddr, u32), leg: usize) {
        if self.ssrcs.get(&stream.1) == Some(&leg) {
            self.ssrcs.remove(&stream.1);
        }
        if self.streams.get(&stream) == Some(&leg) {
            self.streams.remove(&stream);
        }
    }

    fn belongs(&mut self, source: SocketAddr, leg: usize) {
        let legs = self.sources.entry(source).or_default();
        if !legs.contains(&leg) {
            legs.push(leg);
        }
    }

    fn let_go(&mut self, source: SocketAddr, leg: usize) {
        if let Some(legs) = self.sources.get_mut(&source) {
            legs.retain(|other| *other != leg);
            if legs.is_empty() {
                self.sources.remove(&source);
            }
        }
    }

    /// Whether it is known that the leg is reached by this address and sends with this SSRC, so that
    /// there is nothing to learn.
    pub(crate) fn knows(&self, leg: usize, from: SocketAddr, ssrc: Option<u32>) -> bool {
        match ssrc {
            Some(ssrc) => self.streams.get(&(from, ssrc)) == Some(&leg),
            None => self
                .sources
                .get(&from)
                .is_some_and(|legs| legs.contains(&leg)),
        }
    }
}

/// The SSRC of media, or of the sender of a report.
pub(crate) fn ssrc(kind: Kind, datagram: &[u8]) -> Option<u32> {
    match kind {
        Kind::Rtp => Header::parse(datagram).ok().map(|header| header.ssrc),
        Kind::Rtcp => rtcp::sender(datagram).ok(),
        _ => None,
    }
}

/// The element of an iterator that has just one.
fn one<'a>(mut legs: impl Iterator<Item = &'a usize>) -> Option<usize> {
    let first = legs.next()?;
    legs.next().is_none().then_some(*first)
}

/// Whether datagrams can come from an address: descriptions have placeholders.
fn is_usable(address: SocketAddr) -> bool {
    address.port() != 0 && !address.ip().is_unspecified()
}

/// Addresses and SSRCs that are remembered of a leg; the oldest goes.
const MAX_KNOWN: usize = 16;
