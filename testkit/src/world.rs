//! The world: a clock, a network, phones, a server.

mod verdict;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{Clock, Mint, Slot};
use pbx::{Config, Load};
use sip::{ConnectionId, Flow, Message, Protocol};

use crate::dice::{Dice, seed_bytes};
use crate::judge::Judge;
use crate::network::{Network, Packet, Weather};
use crate::phone::{Command, Manner, Phone};
use crate::server::{Death, Server};
use crate::wiretap::Wiretap;

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Everything that chance decides follows from it.
    pub seed: u64,
    /// How datagrams fare.
    pub weather: Weather,
    /// The server's configuration.
    pub config: Config,
    /// RTP ports of the server.
    pub ports: usize,
    /// When media workers call a session silent.
    pub media_timeout: Duration,
}

/// Names a phone of a world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PhoneId(pub usize);

/// Where a phone stands, seen from the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// UDP over IPv4.
    Udp,
    /// UDP over IPv6.
    Udp6,
    /// TCP over IPv4.
    Tcp,
    /// UDP behind an address translator: its Contact leads nowhere.
    Nat,
}

/// A phone and its place in the network.
#[derive(Debug)]
struct Seat {
    phone: Phone,
    place: Place,
    number: u16,
    /// Where its datagrams come from, and its own connection if it has one.
    source: SocketAddr,
    connection: Option<ConnectionId>,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Lives,
    /// Says nothing any more.
    Dead,
    /// And the network says so.
    Refusing,
}

#[derive(Debug)]
enum Happening {
    Tell(PhoneId, Command),
    Unreachable(Flow),
    Heal,
}

/// The world.
#[derive(Debug)]
pub struct World {
    start: Instant,
    now: Instant,
    dice: Dice,
    network: Network,
    /// The server.
    pub server: Server,
    seats: Vec<Seat>,
    agenda: BinaryHeap<Reverse<Entry>>,
    entries: u64,
    connections: BTreeMap<ConnectionId, (PhoneId, SocketAddr)>,
    next_connection: u64,
    /// The network between these phones and the server is cut.
    cut: HashSet<PhoneId>,
    down_until: Option<Instant>,
    /// Users one of whose phones removed all registrations.
    wiped: HashSet<String>,
    judge: Judge,
    tap: Wiretap,
    faults: Vec<String>,
    still: (Instant, u32),
    seed: u64,
    rebirths: u8,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    number: u64,
    happening: Happening,
}

impl World {
    /// A world with a server and no phones.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let start = Instant::now();
        let clock = Clock::new(start, Duration::from_secs(1_800_000_000));
        let seed = settings.seed;
        let plane = (settings.ports, settings.media_timeout);
        Self {
            start,
            now: start,
            dice: Dice::new(seed, 1),
            network: Network::new(settings.weather),
            server: Server::new(Arc::new(settings.config), clock, seed, plane),
            seats: Vec::new(),
            agenda: BinaryHeap::new(),
            entries: 0,
            connections: BTreeMap::new(),
            next_connection: 0,
            cut: HashSet::new(),
            down_until: None,
            wiped: HashSet::new(),
            judge: Judge::default(),
            tap: Wiretap::new(start),
            faults: Vec::new(),
            still: (start, 0),
            seed,
            rebirths: 0,
        }
    }

    /// Since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// The moment.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Everything that was sent.
    #[must_use]
    pub fn tap(&self) -> &Wiretap {
        &self.tap
    }

    /// Whatever was wrong so far.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Changes how datagrams fare.
    pub fn set_weather(&mut self, weather: Weather) {
        self.network.weather = weather;
    }

    /// Puts up a phone for `user`, whose password is [`password`].
    pub fn phone(&mut self, user: &str, place: Place, manner: Manner) -> PhoneId {
        let id = PhoneId(self.seats.len());
        let number = id.0 as u16 + 1;
        let mut seat = Seat {
            phone: self.make_phone(user, place, number, manner),
            place,
            number,
            source: source(place, number, 0),
            connection: None,
            fate: Fate::Lives,
        };
        self.connect(id, &mut seat);
        self.seats.push(seat);
        id
    }

    /// A phone as it is now.
    #[must_use]
    pub fn at(&self, phone: PhoneId) -> &Phone {
        &self.seats[phone.0].phone
    }

    /// A phone, to change its behaviour.
    pub fn at_mut(&mut self, phone: PhoneId) -> &mut Phone {
        &mut self.seats[phone.0].phone
    }

    /// All phones.
    pub fn phones(&self) -> impl Iterator<Item = PhoneId> + use<> {
        (0..self.seats.len()).map(PhoneId)
    }

    /// The phone's user does something now.
    pub fn tell(&mut self, phone: PhoneId, command: Command) {
        self.tell_after(Duration::ZERO, phone, command);
        self.run(Duration::ZERO);
    }

    /// The phone's user does something later.
    pub fn tell_after(&mut self, wait: Duration, phone: PhoneId, command: Command) {
        self.plan(wait, Happening::Tell(phone, command));
    }

    /// An operator's wish.
    pub fn operate(&mut self, command: &pbx::Command) {
        self.server.command(self.now, command);
        self.drain_server();
    }

    /// Something that is not a phone sends the server a message from this address.
    pub fn inject(&mut self, from: SocketAddr, bytes: &[u8]) {
        let packet = Packet {
            protocol: Protocol::Udp,
            from,
            to: server_address(from.is_ipv6()),
            connection: None,
            bytes: bytes.into(),
        };
        self.put(false, &packet);
    }

    /// The phone loses its power; with `refusing` the network tells those who send to it.
    pub fn kill(&mut self, phone: PhoneId, refusing: bool) {
        self.tap.note(self.now, format!("{phone:?} dies"));
        self.seats[phone.0].fate = if refusing { Fate::Refusing } else { Fate::Dead };
        self.break_connections(phone);
    }

    /// The phone comes back with no memory of its calls, and registers.
    pub fn reboot(&mut self, phone: PhoneId) {
        self.tap.note(self.now, format!("{phone:?} is back"));
        self.rebirths += 1;
        self.break_connections(phone);
        let (user, place, number) = {
            let seat = &self.seats[phone.0];
            (seat.phone.user().to_owned(), seat.place, seat.number)
        };
        let manner = self.seats[phone.0].phone.manner().clone();
        let fresh = self.make_phone(&user, place, number, manner);
        let mut seat = self.seats.remove(phone.0);
        seat.phone = fresh;
        seat.fate = Fate::Lives;
        self.connect(phone, &mut seat);
        self.seats.insert(phone.0, seat);
        self.tell(phone, Command::Register);
    }

    /// Whether the phone has power.
    #[must_use]
    pub fn is_alive(&self, phone: PhoneId) -> bool {
        self.seats[phone.0].fate == Fate::Lives
    }

    /// The phone's TCP connections break; it makes a new one.
    pub fn break_connections(&mut self, phone: PhoneId) {
        let broken: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, (owner, _))| *owner == phone)
            .map(|(id, (_, remote))| (*id, *remote))
            .collect();
        for (connection, remote) in broken {
            self.connections.remove(&connection);
            self.network.break_connection(connection);
            let flow = Flow {
                protocol: Protocol::Tcp,
                local: server_address(remote.is_ipv6()),
                remote,
                connection: Some(connection),
            };
            self.plan(Duration::from_millis(5), Happening::Unreachable(flow));
        }
        if self.seats[phone.0].place == Place::Tcp {
            let mut seat = self.seats.remove(phone.0);
            self.connect(phone, &mut seat);
            self.seats.insert(phone.0, seat);
        }
    }

    /// Cuts the phone off from the network for a while.
    pub fn cut_off(&mut self, phone: PhoneId, wait: Duration) {
        self.tap
            .note(self.now, format!("{phone:?} is cut off for {wait:?}"));
        self.cut.insert(phone);
        self.plan(wait, Happening::Heal);
    }

    /// Kills the server, which is back after `downtime`.
    pub fn crash(&mut self, downtime: Duration) {
        self.tap
            .note(self.now, format!("the server dies for {downtime:?}"));
        self.down_until = Some(self.now + downtime);
        for phone in self.phones() {
            self.break_connections(phone);
        }
    }

    /// Kills the server at its next record on disk.
    pub fn crash_at_record(&mut self, death: Death) {
        self.server.dies = Some(death);
    }

    /// Lets time pass.
    pub fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time pass until `done`, at most `limit`; tells whether it came to be.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            if done(self) {
                return true;
            }
            if !self.step(end) {
                self.now = end;
                return done(self);
            }
        }
    }

    fn fault(&mut self, what: String) {
        self.tap.note(self.now, format!("WRONG: {what}"));
        self.faults.push(what);
    }

    fn plan(&mut self, wait: Duration, happening: Happening) {
        self.entries += 1;
        let (at, number) = (self.now + wait, self.entries);
        self.agenda.push(Reverse(Entry {
            at,
            number,
            happening,
        }));
    }

    /// When something happens next.
    fn next(&self) -> Option<Instant> {
        let phones = self
            .seats
            .iter()
            .filter(|seat| seat.fate == Fate::Lives)
            .filter_map(|seat| seat.phone.deadline());
        let agenda = self.agenda.peek().map(|Reverse(entry)| entry.at);
        let server = if self.down_until.is_some() {
            self.down_until
        } else {
            [self.server.deadline(), self.server.media.next()]
                .into_iter()
                .flatten()
                .min()
        };
        [agenda, self.network.next(), server]
            .into_iter()
            .flatten()
            .chain(phones)
            .min()
    }

    /// The next thing happens, if it does before `end`.
    fn step(&mut self, end: Instant) -> bool {
        let Some(at) = self.next().filter(|at| *at <= end) else {
            return false;
        };
        self.now = at.max(self.now);
        self.still = match self.still {
            (last, count) if last == self.now => (last, count + 1),
            _ => (self.now, 0),
        };
        assert!(self.still.1 < 100_000, "time stands still");
        if let Some(packet) = self.network.receive(self.now) {
            self.arrive(&packet);
        } else if self
            .agenda
            .peek()
            .is_some_and(|Reverse(entry)| entry.at <= self.now)
        {
            if let Some(Reverse(entry)) = self.agenda.pop() {
                self.happen(entry.happening);
            }
        } else {
            self.expire();
        }
        self.collect_faults();
        true
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tell(phone, command) => {
                if !self.is_alive(phone) {
                    return;
                }
                self.tap.note(self.now, format!("{phone:?}: {command:?}"));
                let seat = &mut self.seats[phone.0];
                if command == (Command::Unregister { all: true }) {
                    self.wiped.insert(seat.phone.user().to_owned());
                }
                seat.phone.command(self.now, &command);
                self.drain_phone(phone);
            }
            Happening::Unreachable(flow) => {
                if self.down_until.is_none() {
                    self.judge.unreachable(self.now, flow.remote);
                    self.server.unreachable(self.now, flow);
                    self.drain_server();
                }
            }
            Happening::Heal => self.cut.clear(),
        }
    }

    fn expire(&mut self) {
        if self.down_until.is_some_and(|until| until <= self.now) {
            self.down_until = None;
            self.tap.note(self.now, "the server is back".to_owned());
            self.judge.crashed();
            self.server.restart(self.now);
            self.check_registrations();
        }
        if self.down_until.is_none() {
            self.server.expire(self.now);
            self.drain_server();
            self.hear_media();
        }
        for phone in self.phones() {
            let seat = &mut self.seats[phone.0];
            if seat.fate == Fate::Lives && seat.phone.deadline().is_some_and(|at| at <= self.now) {
                seat.phone.expire(self.now);
                self.drain_phone(phone);
            }
        }
    }

    fn hear_media(&mut self) {
        let seats = &self.seats;
        let sending = |address: SocketAddr| {
            seats
                .iter()
                .any(|seat| seat.fate == Fate::Lives && seat.phone.sends_from(address))
        };
        let mut events = Vec::new();
        while let Some(event) = self.server.media.speak(self.now, sending) {
            events.push(event);
        }
        for event in events {
            self.server.media_event(self.now, event);
            self.drain_server();
        }
    }

    fn arrive(&mut self, packet: &Packet) {
        if packet.to.port() == 5060 && is_server(packet.to.ip()) {
            self.arrive_at_server(packet);
        } else if let Some(phone) = self.receiver(packet) {
            let Ok(message) = Message::parse(&packet.bytes) else {
                return;
            };
            let mut flow = packet.flow();
            // Behind a translator a phone sees its own address.
            if self.seats[phone.0].place == Place::Nat {
                flow.local = self.seats[phone.0].phone.contact_address();
            }
            self.seats[phone.0].phone.receive(self.now, flow, &message);
            self.drain_phone(phone);
        }
    }

    fn arrive_at_server(&mut self, packet: &Packet) {
        if self.down_until.is_some() {
            return;
        }
        let Ok(message) = Message::parse(&packet.bytes) else {
            return;
        };
        if message.check().is_err() {
            return;
        }
        self.judge.received(self.now, &message);
        self.server.receive(self.now, packet.flow(), &message);
        self.drain_server();
    }

    /// The living phone that a packet is for.
    fn receiver(&self, packet: &Packet) -> Option<PhoneId> {
        let phone = match packet.connection {
            Some(connection) => self.connections.get(&connection)?.0,
            None => PhoneId(
                self.seats
                    .iter()
                    .position(|seat| seat.source == packet.to)?,
            ),
        };
        self.is_alive(phone).then_some(phone)
    }

    fn drain_phone(&mut self, phone: PhoneId) {
        for (flow, bytes) in self.seats[phone.0].phone.take_sent() {
            let seat = &self.seats[phone.0];
            let connection = match flow.protocol {
                Protocol::Udp => None,
                Protocol::Tcp => flow
                    .connection
                    .filter(|id| self.connections.contains_key(id))
                    .or(seat.connection),
            };
            let from = match connection.and_then(|id| self.connections.get(&id)) {
                Some((_, remote)) => *remote,
                None => seat.source,
            };
            let packet = Packet {
                protocol: flow.protocol,
                from,
                to: flow.remote,
                connection,
                bytes: bytes.into(),
            };
            self.put(self.cut.contains(&phone), &packet);
        }
        for complaint in self.seats[phone.0].phone.take_complaints() {
            self.fault(complaint);
        }
    }

    fn drain_server(&mut self) {
        let Some(sent) = self.server.commit(self.now, &mut self.dice) else {
            self.crash(Duration::from_secs(2));
            return;
        };
        for (flow, bytes) in sent {
            self.judge
                .sends(self.now, flow.remote, &bytes, &self.server.media);
            self.send_from_server(flow, bytes.into());
        }
    }

    fn send_from_server(&mut self, flow: Flow, bytes: Rc<[u8]>) {
        let connection = match flow.protocol {
            Protocol::Udp => None,
            Protocol::Tcp => match self.connection_to(&flow) {
                Some(connection) => Some(connection),
                None => {
                    self.plan(Duration::from_millis(20), Happening::Unreachable(flow));
                    return;
                }
            },
        };
        let packet = Packet {
            protocol: flow.protocol,
            from: flow.local,
            to: flow.remote,
            connection,
            bytes,
        };
        let phone = self.seats.iter().position(|seat| match connection {
            Some(_) => false,
            None => seat.source == flow.remote,
        });
        let cut = phone.is_some_and(|phone| self.cut.contains(&PhoneId(phone)));
        if phone.is_some_and(|phone| self.seats[phone].fate == Fate::Refusing) {
            self.plan(Duration::from_millis(20), Happening::Unreachable(flow));
        }
        self.put(cut, &packet);
    }

    /// The connection of a flow if it is open, else another one to the same address, else a new one.
    fn connection_to(&mut self, flow: &Flow) -> Option<ConnectionId> {
        if let Some(known) = flow
            .connection
            .filter(|id| self.connections.contains_key(id))
        {
            return Some(known);
        }
        let open = self
            .connections
            .iter()
            .filter(|(_, (_, remote))| *remote == flow.remote)
            .map(|(id, _)| *id)
            .min();
        if open.is_some() {
            return open;
        }
        let phone = self.seats.iter().position(|seat| {
            seat.fate == Fate::Lives
                && seat.place == Place::Tcp
                && seat.phone.contact_address() == flow.remote
        })?;
        Some(self.open(PhoneId(phone), flow.remote))
    }

    fn open(&mut self, phone: PhoneId, remote: SocketAddr) -> ConnectionId {
        self.next_connection += 1;
        let id = ConnectionId(self.next_connection);
        self.connections.insert(id, (phone, remote));
        id
    }

    /// Gives a TCP phone a connection of its own to the server.
    fn connect(&mut self, phone: PhoneId, seat: &mut Seat) {
        if seat.place == Place::Tcp {
            seat.source = source(seat.place, seat.number, self.next_connection as u16 + 1);
            let id = self.open(phone, seat.source);
            seat.connection = Some(id);
            seat.phone.server().connection = Some(id);
        }
    }

    fn put(&mut self, cut: bool, packet: &Packet) {
        let by_server = is_server(packet.from.ip());
        let fortune = if cut {
            crate::network::Fortune::Lost
        } else {
            self.network.send(self.now, &mut self.dice, packet.clone())
        };
        self.tap.sent(self.now, by_server, packet, fortune);
    }

    fn make_phone(&self, user: &str, place: Place, number: u16, manner: Manner) -> Phone {
        let mut seed = seed_bytes(self.seed);
        (seed[2], seed[3]) = (number as u8, self.rebirths + 1);
        let mint = Mint::new(Slot::new(number as u8), seed);
        let contact = contact(place, number);
        let server = Flow {
            protocol: if place == Place::Tcp {
                Protocol::Tcp
            } else {
                Protocol::Udp
            },
            local: contact,
            remote: server_address(place == Place::Udp6),
            connection: None,
        };
        Phone::new(user, &password(user), manner, server, contact, mint)
    }

    fn collect_faults(&mut self) {
        let mut faults = std::mem::take(&mut self.judge.faults);
        faults.append(&mut self.server.faults);
        faults.append(&mut self.server.media.take_faults());
        for fault in faults {
            self.fault(fault);
        }
    }
}

/// The password of a user of the simulated world.
#[must_use]
pub fn password(user: &str) -> String {
    format!("secret of {user}")
}

fn server_address(v6: bool) -> SocketAddr {
    let ip = if v6 {
        IpAddr::V6(SERVER6)
    } else {
        IpAddr::V4(SERVER)
    };
    SocketAddr::new(ip, 5060)
}

fn is_server(ip: IpAddr) -> bool {
    ip == IpAddr::V4(SERVER) || ip == IpAddr::V6(SERVER6)
}

fn contact(place: Place, number: u16) -> SocketAddr {
    let ip = match place {
        Place::Udp | Place::Tcp => IpAddr::V4(Ipv4Addr::new(10, 0, 0, number as u8)),
        Place::Udp6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number)),
        Place::Nat => IpAddr::V4(Ipv4Addr::new(192, 168, 1, number as u8)),
    };
    SocketAddr::new(ip, 5060)
}

fn source(place: Place, number: u16, connection: u16) -> SocketAddr {
    match place {
        Place::Udp | Place::Udp6 => contact(place, number),
        Place::Tcp => SocketAddr::new(contact(place, number).ip(), 40_000 + connection),
        Place::Nat => {
            let ip = IpAddr::V4(Ipv4Addr::new(203, 0, 113, number as u8));
            SocketAddr::new(ip, 50_000 + number)
        }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SERVER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);
