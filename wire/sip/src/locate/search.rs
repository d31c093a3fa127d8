//! The search for a server, from stage to stage.

use std::net::{IpAddr, SocketAddr};

use super::order::{Naptr, Srv, in_order};
use super::{Server, Way};
use crate::Protocol;

/// A search for one server: says what to look up, takes what was found, ends with a list of ways.
///
/// # Source
/// RFC 3263 §4.1 (transport), §4.2 (address and port).
#[derive(Clone, Debug)]
pub struct Search {
    server: Server,
    speaks: &'static [Protocol],
    stage: State,
}

/// Records of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// NAPTR records.
    Naptr(Box<str>),
    /// SRV records.
    Srv(Box<str>),
    /// A and AAAA records.
    Addresses(Box<str>),
}

/// What a [`Lookup`] has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// NAPTR records.
    Naptr(Vec<Naptr>),
    /// SRV records.
    Srv(Vec<Srv>),
    /// Addresses of both families.
    Addresses(Vec<IpAddr>),
    /// There are none, or nobody said so in time.
    None,
}

/// Where a search stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage<'a> {
    /// These are to be looked up, best all at once; then [`Search::take`] wants one answer for each.
    Look(&'a [Lookup]),
    /// The end: ways, the one to try first in front. None: the server can't be found.
    Found(&'a [Way]),
}

#[derive(Clone, Debug)]
enum State {
    /// NAPTR records of the host.
    Transport([Lookup; 1]),
    /// SRV records, one name for each of the transports, in order.
    Service(Vec<Protocol>, Vec<Lookup>),
    /// Addresses of hosts; behind each the transport and the port.
    Address(Vec<(Protocol, u16)>, Vec<Lookup>),
    Found(Vec<Way>),
}

impl Search {
    /// Begins a search by somebody who speaks these transports; if several will do and the domain does
    /// not say which it likes, the first in the list is tried first.
    #[must_use]
    pub fn new(server: Server, speaks: &'static [Protocol]) -> Self {
        let stage = State::Found(Vec::new());
        let mut search = Self {
            server,
            speaks,
            stage,
        };
        search.stage = search.begin();
        search
    }

    /// What is to be done next.
    #[must_use]
    pub fn stage(&self) -> Stage<'_> {
        match &self.stage {
            State::Transport(lookups) => Stage::Look(lookups),
            State::Service(_, lookups) | State::Address(_, lookups) => Stage::Look(lookups),
            State::Found(ways) => Stage::Found(ways),
        }
    }

    /// Takes what was found, in the order of the lookups; what is absent counts as nothing found.
    /// `random` gives a number below its argument: it spreads the load over servers of equal priority.
    pub fn take(&mut self, records: Vec<Records>, random: &mut dyn FnMut(u32) -> u32) {
        let stage = std::mem::replace(&mut self.stage, State::Found(Vec::new()));
        self.stage = match stage {
            State::Transport(_) => self.transports(records),
            State::Service(protocols, _) => self.servers(&protocols, records, random),
            State::Address(targets, _) => State::Found(ways(&targets, records)),
            State::Found(ways) => State::Found(ways),
        };
    }

    /// The transports that the domain's NAPTR records offer.
    ///
    /// # Source
    /// RFC 3263 §4.1: records of other services are discarded, and for `sips:` those without TLS; if
    /// none is left, SRV records are asked for under the well-known names.
    fn transports(&self, records: Vec<Records>) -> State {
        let mut offers = Vec::new();
        for records in records {
            if let Records::Naptr(records) = records {
                offers.extend(records);
            }
        }
        offers.sort_by_key(|offer| (offer.order, offer.preference));
        let offers = offers
            .into_iter()
            .filter_map(|offer| Some((offer.protocol()?, offer.replacement)))
            .filter(|(protocol, _)| self.suits(*protocol))
            .take(MOST_SERVICES);
        let (protocols, names): (Vec<_>, Vec<_>) = offers.unzip();
        if protocols.is_empty() {
            return self.services();
        }
        State::Service(protocols, names.into_iter().map(Lookup::Srv).collect())
    }

    /// The servers that SRV records name.
    ///
    /// # Source
    /// RFC 3263 §4.2: without SRV records the host itself is asked for, on the transport's port.
    fn servers(
        &self,
        protocols: &[Protocol],
        records: Vec<Records>,
        random: &mut dyn FnMut(u32) -> u32,
    ) -> State {
        let mut targets = Vec::new();
        let mut names = Vec::new();
        let mut denied = false;
        for (protocol, records) in protocols.iter().zip(records) {
            let Records::Srv(records) = records else {
                continue;
            };
            for record in in_order(records, random) {
                // RFC 2782: a lone dot as target means that the service is not there.
                if &*record.target == "." {
                    denied = true;
                } else if names.len() < MOST_SERVERS {
                    targets.push((*protocol, record.port));
                    names.push(Lookup::Addresses(record.target));
                }
            }
        }
        match (names.is_empty(), denied) {
            (true, true) => State::Found(Vec::new()),
            (true, false) => self.host(),
            (false, _) => State::Address(targets, names),
        }
    }

    fn begin(&self) -> State {
        let server = &self.server;
        if server.protocol.is_some_and(|named| !self.suits(named)) {
            return State::Found(Vec::new());
        }
        if let Some(way) = server.numeric() {
            return State::Found(vec![way]);
        }
        match (server.port, server.protocol) {
            (Some(_), _) => self.host(),
            (None, Some(_)) => self.services(),
            (None, None) => State::Transport([Lookup::Naptr(server.host.clone())]),
        }
    }

    /// SRV records under the well-known names of all transports that will do.
    fn services(&self) -> State {
        let suiting = self.speaks.iter().copied().filter(|p| self.suits(*p));
        let protocols: Vec<_> = match self.server.protocol {
            Some(named) => vec![named],
            // A WebSocket is used only where it is named.
            None => suiting.filter(|p| !p.is_websocket()).collect(),
        };
        let name = |protocol: &Protocol| {
            let name = format!("{}.{}", well_known(*protocol), self.server.host);
            Lookup::Srv(name.into())
        };
        let names = protocols.iter().map(name).collect();
        State::Service(protocols, names)
    }

    /// The addresses of the host itself.
    fn host(&self) -> State {
        let protocol = self.server.default_protocol();
        let port = self.server.port.unwrap_or_else(|| protocol.default_port());
        let name = Lookup::Addresses(self.server.host.clone());
        State::Address(vec![(protocol, port)], vec![name])
    }

    fn suits(&self, protocol: Protocol) -> bool {
        self.speaks.contains(&protocol) && (protocol.is_secure() || !self.server.secure)
    }
}

/// What stands before a domain in the name of its SRV records (RFC 3263 §4.1).
const fn well_known(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Udp | Protocol::Local => "_sip._udp",
        Protocol::Tcp => "_sip._tcp",
        Protocol::Tls => "_sips._tcp",
        Protocol::Ws => "_sip._ws",
        Protocol::Wss => "_sips._ws",
    }
}

/// All addresses of all servers, those of one server together, each way once.
fn ways(targets: &[(Protocol, u16)], records: Vec<Records>) -> Vec<Way> {
    let mut ways = Vec::new();
    for ((protocol, port), records) in targets.iter().zip(records) {
        let Records::Addresses(addresses) = records else {
            continue;
        };
        for address in by_turns(&addresses).take(MOST_ADDRESSES) {
            let way = (*protocol, SocketAddr::new(address, *port));
            if ways.len() < MOST_WAYS && !ways.contains(&way) {
                ways.push(way);
            }
        }
    }
    ways
}

/// Addresses of both families by turns, the family of the first in front: if one family does not get
/// through, the second try is of the other (RFC 8305 §4).
fn by_turns(addresses: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
    let six_first = addresses.first().is_some_and(IpAddr::is_ipv6);
    let family = |six| {
        addresses
            .iter()
            .copied()
            .filter(move |a| a.is_ipv6() == six)
    };
    let (mut first, mut second) = (family(six_first), family(!six_first));
    let mut turn = false;
    std::iter::from_fn(move || {
        turn = !turn;
        if turn {
            first.next().or_else(|| second.next())
        } else {
            second.next().or_else(|| first.next())
        }
    })
}

/// Most services of one domain; further ones are left out, as below.
const MOST_SERVICES: usize = 8;

/// Most servers of one domain.
const MOST_SERVERS: usize = 16;

/// Most addresses of one server.
const MOST_ADDRESSES: usize = 8;

/// Most ways in all.
const MOST_WAYS: usize = 32;
