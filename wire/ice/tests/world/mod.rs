//! A small network in which two agents look for each other: addresses, NATs, loss and delay.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ice::{Agent, Candidate, Credentials, Event, Lite, Pair, Role};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

pub(crate) enum Mind {
    Full(Box<Agent>),
    Lite(Box<Lite>),
}

/// What stands between a host and the network.
pub(crate) struct Nat {
    outside: IpAddr,
    /// A mapping for each destination, or one for all.
    symmetric: bool,
    mappings: HashMap<(SocketAddr, Option<SocketAddr>), u16>,
    /// Who may send to which port: those that were sent to.
    holes: HashSet<(u16, SocketAddr)>,
}

pub(crate) struct Host {
    pub(crate) mind: Mind,
    pub(crate) address: SocketAddr,
    pub(crate) nat: Option<Nat>,
    pub(crate) events: Vec<Event>,
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) hosts: [Host; 2],
    /// In a thousand.
    pub(crate) loss: u32,
    pub(crate) cut: bool,
    random: ChaCha8Rng,
    sent: u64,
    flying: BinaryHeap<Reverse<Flight>>,
}

#[expect(clippy::disallowed_methods, reason = "any instant will do")]
pub(crate) fn any_time() -> Instant {
    Instant::now()
}

/// When it arrives, its number, from where, where to, what.
type Flight = (Instant, u64, SocketAddr, SocketAddr, Vec<u8>);

pub(crate) fn secret(byte: u8) -> Credentials {
    Credentials::mint(u64::from(byte), [byte; 24])
}

impl Nat {
    pub(crate) fn new(outside: &str, symmetric: bool) -> Self {
        Self {
            outside: outside.parse().expect("an address"),
            symmetric,
            mappings: HashMap::new(),
            holes: HashSet::new(),
        }
    }

    fn out(&mut self, inside: SocketAddr, to: SocketAddr) -> SocketAddr {
        let next = 40_000 + self.mappings.len() as u16;
        let key = (inside, self.symmetric.then_some(to));
        let port = *self.mappings.entry(key).or_insert(next);
        self.holes.insert((port, to));
        SocketAddr::new(self.outside, port)
    }

    fn back(&self, from: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
        self.holes.get(&(to.port(), from))?;
        let mapping = self.mappings.iter().find(|(_, port)| **port == to.port())?;
        Some(mapping.0.0)
    }

    /// What a STUN server would have told the host.
    pub(crate) fn ask(&mut self, inside: SocketAddr) -> SocketAddr {
        self.out(inside, SocketAddr::from(([192, 0, 2, 250], 3478)))
    }

    /// Forgets everything, as when the host has moved.
    pub(crate) fn forget(&mut self, outside: &str) {
        *self = Self::new(outside, self.symmetric);
    }
}

impl Host {
    pub(crate) fn full(address: &str, role: Role, byte: u8) -> Self {
        let agent = Agent::new(role, secret(byte), [byte; 32]);
        Self::new(address, Mind::Full(Box::new(agent)))
    }

    pub(crate) fn lite(address: &str, byte: u8) -> Self {
        Self::new(address, Mind::Lite(Box::new(Lite::new(secret(byte)))))
    }

    pub(crate) fn behind(mut self, nat: Nat) -> Self {
        self.nat = Some(nat);
        self
    }

    fn new(address: &str, mind: Mind) -> Self {
        Self {
            mind,
            address: address.parse().expect("an address"),
            nat: None,
            events: Vec::new(),
        }
    }

    pub(crate) fn agent(&mut self) -> &mut Agent {
        match &mut self.mind {
            Mind::Full(agent) => agent,
            Mind::Lite(_) => panic!("this host is lite"),
        }
    }

    pub(crate) fn local(&self) -> Credentials {
        match &self.mind {
            Mind::Full(agent) => agent.local().clone(),
            Mind::Lite(agent) => agent.local().clone(),
        }
    }

    pub(crate) fn selected(&self) -> Option<Pair> {
        match &self.mind {
            Mind::Full(agent) => agent.selected(),
            Mind::Lite(agent) => agent.selected(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.mind {
            Mind::Full(agent) => agent.deadline(),
            Mind::Lite(agent) => agent.deadline(),
        }
    }

    /// Its candidates, as it would write them into its description.
    pub(crate) fn candidates(&mut self, now: Instant) -> Vec<Candidate> {
        let host = Candidate::host(self.address, 65535);
        let mut candidates = vec![host];
        if let Some(nat) = &mut self.nat {
            let outside = nat.ask(self.address);
            let kind = ice::candidate::Kind::ServerReflexive;
            candidates.push(Candidate::new(kind, outside, self.address, 65535));
        }
        if let Mind::Full(agent) = &mut self.mind {
            for candidate in &candidates {
                agent.add_local(now, candidate.clone());
            }
        }
        candidates
    }
}

impl World {
    pub(crate) fn new(hosts: [Host; 2], loss: u32, seed: u8) -> Self {
        Self {
            now: any_time(),
            hosts,
            loss,
            cut: false,
            random: ChaCha8Rng::from_seed([seed; 32]),
            sent: 0,
            flying: BinaryHeap::new(),
        }
    }

    /// Offer and answer.
    pub(crate) fn introduce(&mut self) {
        for (us, them) in [(0, 1), (1, 0)] {
            let candidates = self.hosts[them].candidates(self.now);
            let credentials = self.hosts[them].local();
            let lite = matches!(self.hosts[them].mind, Mind::Lite(_));
            let now = self.now;
            if let Mind::Full(agent) = &mut self.hosts[us].mind {
                agent.set_remote(now, credentials, lite);
                for candidate in &candidates {
                    agent.add_remote(now, candidate);
                }
            }
        }
    }

    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut steps = 0;
        loop {
            self.drain();
            let flying = self.flying.peek().map(|next| next.0.0);
            let due = self.hosts.iter().filter_map(Host::deadline).min();
            let Some(next) = flying
                .into_iter()
                .chain(due)
                .min()
                .filter(|next| *next <= end)
            else {
                break;
            };
            self.now = next.max(self.now);
            self.deliver();
            for host in &mut self.hosts {
                host.wake(self.now);
            }
            steps += 1;
            assert!(steps < 100_000, "they never come to rest");
        }
        self.now = end;
    }

    fn drain(&mut self) {
        for host in 0..2 {
            let mut datagram = Vec::new();
            let Mind::Full(agent) = &mut self.hosts[host].mind else {
                continue;
            };
            let mut leaving = Vec::new();
            while let Some(path) = agent.poll_transmit(&mut datagram) {
                leaving.push((path, datagram.clone()));
            }
            while let Some(event) = agent.poll_event() {
                self.hosts[host].events.push(event);
            }
            for (path, datagram) in leaving {
                self.send(host, path.remote, datagram);
            }
        }
    }

    fn send(&mut self, host: usize, to: SocketAddr, datagram: Vec<u8>) {
        let host = &mut self.hosts[host];
        let from = match &mut host.nat {
            Some(nat) => nat.out(host.address, to),
            None => host.address,
        };
        if self.cut || self.random.next_u32() % 1000 < self.loss {
            return;
        }
        let delay = Duration::from_millis(u64::from(5 + self.random.next_u32() % 40));
        self.sent += 1;
        let flight = (self.now + delay, self.sent, from, to, datagram);
        self.flying.push(Reverse(flight));
    }

    fn deliver(&mut self) {
        while self.flying.peek().is_some_and(|next| next.0.0 <= self.now) {
            let (_, _, from, to, datagram) = self.flying.pop().expect("was just seen").0;
            for place in 0..2 {
                let host = &mut self.hosts[place];
                let inside = match &host.nat {
                    Some(nat) if nat.outside == to.ip() => nat.back(from, to),
                    None if host.address == to => Some(to),
                    _ => None,
                };
                if inside == Some(host.address)
                    && let Some(answer) = host.hear(self.now, &datagram, from)
                {
                    self.send(place, from, answer);
                }
            }
        }
    }
}

impl Host {
    fn wake(&mut self, now: Instant) {
        match &mut self.mind {
            Mind::Full(agent) => agent.wake(now),
            Mind::Lite(agent) => self.events.extend(agent.wake(now)),
        }
    }

    fn hear(&mut self, now: Instant, datagram: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
        let Mind::Lite(agent) = &mut self.mind else {
            let address = self.address;
            self.agent().handle(now, datagram, from, address);
            return None;
        };
        let mut answer = Vec::new();
        let event = agent.handle(now, datagram, from, self.address, &mut answer);
        self.events.extend(event);
        (!answer.is_empty()).then_some(answer)
    }
}
