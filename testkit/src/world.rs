//! The world: a clock, a network, phones, a server.

mod clock;
mod names;
mod place;
mod verdict;
mod wires;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{Clock, Mint, Slot};
use pbx::Config;
use sip::{ConnectionId, Flow, Protocol};

use crate::dice::{Dice, seed_bytes};
use crate::judge::Judge;
use crate::network::{Network, Packet, Weather};
use crate::phone::{Command, Manner, Phone};
use crate::server::{Death, Server};
use crate::wiretap::Wiretap;
use clock::{Entry, Happening};
pub use names::Names;
pub use place::Place;
pub(crate) use place::server_address;
use place::{contact, source};

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
    names: Names,
    /// By name, besides those of the phones.
    addresses: HashMap<String, SocketAddr>,
    /// By URL.
    certificates: HashMap<String, Arc<stir::Certificate>>,
    judge: Judge,
    tap: Wiretap,
    faults: Vec<String>,
    still: (Instant, u32),
    seed: u64,
    rebirths: u8,
}

impl World {
    /// A world with a server and no phones.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let start = Instant::now();
        let clock = Clock::new(start, Duration::from_secs(1_800_000_000));
        let seed = settings.seed;
        let plane = (settings.ports, settings.media_timeout);
        let mut server = Server::new(Arc::new(settings.config), clock, seed, plane);
        server.wake(start);
        Self {
            start,
            now: start,
            dice: Dice::new(seed, 1),
            network: Network::new(settings.weather),
            server,
            seats: Vec::new(),
            agenda: BinaryHeap::new(),
            entries: 0,
            connections: BTreeMap::new(),
            next_connection: 0,
            cut: HashSet::new(),
            down_until: None,
            wiped: HashSet::new(),
            names: Names::good(),
            addresses: HashMap::new(),
            certificates: HashMap::new(),
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
        // Nobody listens while the server is down.
        if self.down_until.is_some() {
            return;
        }
        self.server.command(self.now, command);
        self.drain_server();
    }

    /// An operator changes the configuration.
    pub fn reload(&mut self, config: Config) {
        self.tap
            .note(self.now, "reload of the configuration".to_owned());
        let known = self.phones().map(|phone| self.at(phone).user().to_owned());
        let gone: Vec<_> = known
            .filter(|user| !config.users.contains_key(user.as_str()))
            .collect();
        self.wiped.extend(gone);
        self.operate(&pbx::Command::Reload(Arc::new(config)));
    }

    /// The media workers are asked for a picture of whoever sends pictures from this address, and can't tell it.
    pub fn want_picture(&mut self, of: SocketAddr) {
        self.server.media.want_picture(self.now, of);
    }

    /// Something that is not a phone sends the server a message from this address.
    pub fn inject(&mut self, from: SocketAddr, bytes: &[u8]) {
        let packet = Packet {
            protocol: Protocol::Udp,
            from,
            to: server_address(Protocol::Udp, from.is_ipv6()),
            connection: None,
            bytes: bytes.into(),
        };
        self.put(false, &packet);
    }

    /// Somebody sends the server again what it once received, changed a little, perhaps from elsewhere.
    /// From now on phones may find fault with what they are sent.
    pub fn tamper(&mut self, dice: &mut Dice) {
        let sent: Vec<_> = self
            .tap
            .all()
            .iter()
            .filter(|sent| !sent.by_server)
            .collect();
        if sent.is_empty() {
            return;
        }
        let victim = sent[dice.number(0..sent.len() as u32) as usize];
        let from = if dice.chance(70) {
            victim.phone
        } else {
            SocketAddr::from(([198, 51, 100, 66], 5060))
        };
        let bytes = crate::tamper::change(dice, &victim.bytes);
        self.judge.tampered = true;
        self.inject(from, &bytes);
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
        // Starting takes longer than any message is on its way.
        self.network.silence(self.seats[phone.0].source);
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
            let protocol = self.seats[phone.0].place.protocol();
            let flow = Flow {
                protocol,
                local: server_address(protocol, remote.is_ipv6()),
                remote,
                connection: Some(connection),
                tls: sip::TlsPeer::ANY,
            };
            self.plan(Duration::from_millis(5), Happening::Unreachable(flow));
        }
        if self.seats[phone.0].place.protocol().is_reliable() {
            let mut seat = self.seats.remove(phone.0);
            self.connect(phone, &mut seat);
            self.seats.insert(phone.0, seat);
            self.come_back(phone);
        }
    }

    /// A browser has a new connection: nobody else can reach it now, so it registers by this one.
    fn come_back(&mut self, phone: PhoneId) {
        let reachable = self.is_alive(phone) && self.down_until.is_none();
        if reachable && self.seats[phone.0].place == Place::Wss {
            let wait = Duration::from_millis(200);
            self.tell_after(wait, phone, Command::RegisterAgain);
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

    fn make_phone(&self, user: &str, place: Place, number: u16, manner: Manner) -> Phone {
        let mut seed = seed_bytes(self.seed);
        (seed[2], seed[3]) = (number as u8, self.rebirths + 1);
        let mint = Mint::new(Slot::new(number as u8), seed);
        let contact = contact(place, number);
        let server = Flow {
            protocol: place.protocol(),
            local: contact,
            remote: server_address(place.protocol(), place == Place::Udp6),
            connection: None,
            tls: sip::TlsPeer::ANY,
        };
        let hosts = (place::sent_by(place, number), place::name(number));
        Phone::new(user, &password(user), manner, server, hosts, mint)
    }
}

/// The password of a user of the simulated world.
#[must_use]
pub fn password(user: &str) -> String {
    format!("secret of {user}")
}
