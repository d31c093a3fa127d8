//! The TURN server, seen from a client and a peer.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ice::stun::attribute::{
    CHANNEL_NUMBER, DATA, EVEN_PORT, LIFETIME, NONCE, REALM, REQUESTED_ADDRESS_FAMILY,
    REQUESTED_TRANSPORT, USERNAME, XOR_MAPPED_ADDRESS, XOR_PEER_ADDRESS, XOR_RELAYED_ADDRESS,
};
use ice::stun::{Class, Key, Message, TransactionId, Writer};
use ice::turn::{Client, Command, Config, Out, RelayId, Server, channel};

const ALLOCATE: u16 = 3;
const REFRESH: u16 = 4;
const SEND: u16 = 6;
const PERMIT: u16 = 8;
const BIND: u16 = 9;
const PEER: &str = "203.0.113.9:7000";
const UDP: (u16, &[u8]) = (REQUESTED_TRANSPORT, &[17, 0, 0, 0]);

/// A server, and a client that knows its password.
struct World {
    server: Server,
    now: Instant,
    client: Client,
    user: String,
    key: Key,
    nonce: Vec<u8>,
    transactions: u8,
    out: Out,
    /// Commands that were no answers.
    commands: Vec<Command>,
    ports: u16,
}

/// What came back.
#[derive(Debug, PartialEq)]
enum Answer {
    Success(Vec<u8>),
    Error(u16),
    Nothing,
}

fn config() -> Config {
    let mut config = Config {
        realm: "example.org".into(),
        max_relays: 4,
        max_relays_per_user: 2,
        ..Config::default()
    };
    config.users.insert("alice", "example.org", "secret");
    config.users.set_secret("north");
    config
}

#[expect(clippy::disallowed_methods, reason = "any instant will do")]
fn world() -> World {
    let now = Instant::now();
    World {
        server: Server::new(config(), [7; 32], now, Duration::from_secs(1_000_000)),
        now,
        client: client(5000),
        user: "alice".into(),
        key: Key::long_term("alice", "example.org", "secret"),
        nonce: Vec::new(),
        transactions: 0,
        out: Out::default(),
        commands: Vec::new(),
        ports: 50_000,
    }
}

fn client(port: u16) -> Client {
    Client {
        address: SocketAddr::from(([192, 0, 2, 1], port)),
        listener: 0,
        connection: 0,
    }
}

fn peer_value(peer: &str, id: TransactionId) -> Vec<u8> {
    let mut octets = Vec::new();
    Writer::new(&mut octets, Class::Request, 1, id)
        .address(XOR_PEER_ADDRESS, peer.parse().unwrap());
    octets[24..].to_vec()
}

impl World {
    fn request(&mut self, method: u16, attributes: &[(u16, &[u8])], signed: bool) -> Vec<u8> {
        self.transactions += 1;
        let id = TransactionId([self.transactions; 12]);
        let mut octets = Vec::new();
        let mut request = Writer::new(&mut octets, Class::Request, method, id);
        for (kind, value) in attributes {
            if *kind == XOR_PEER_ADDRESS {
                request.put(*kind, &peer_value(std::str::from_utf8(value).unwrap(), id));
            } else {
                request.put(*kind, value);
            }
        }
        if signed {
            request
                .put(USERNAME, self.user.as_bytes())
                .put(REALM, b"example.org")
                .put(NONCE, &self.nonce)
                .sign(&self.key);
        }
        octets
    }

    fn hand(&mut self, datagram: &[u8]) -> Answer {
        let mut out = std::mem::take(&mut self.out);
        self.server
            .handle(self.now, self.client, datagram, &mut out);
        let mut answer = Answer::Nothing;
        let mut at = 0;
        while let Some(command) = out.commands.get(at).cloned() {
            at += 1;
            match command {
                Command::ToClient { client, octets } => {
                    assert_eq!(client, self.client);
                    answer = self.read(&out.octets[octets]);
                }
                Command::Bind { relay, ipv6, even } => {
                    assert!(!ipv6);
                    self.ports += if even { self.ports % 2 + 2 } else { 1 };
                    let address = SocketAddr::from(([198, 51, 100, 1], self.ports));
                    let address = (self.ports < 60_000).then_some(address);
                    self.server.bound(relay, address, &mut out);
                }
                other => self.commands.push(other),
            }
        }
        out.clear();
        self.out = out;
        answer
    }

    fn read(&mut self, octets: &[u8]) -> Answer {
        let message = Message::parse(octets).unwrap();
        if let Some(nonce) = message.find(NONCE) {
            self.nonce = nonce.to_vec();
        } else if message.error_code() != Some(400) {
            assert!(message.is_signed_by(&self.key));
        }
        match message.class() {
            Class::Success => Answer::Success(octets.to_vec()),
            _ => Answer::Error(message.error_code().unwrap()),
        }
    }

    fn ask(&mut self, method: u16, attributes: &[(u16, &[u8])]) -> Answer {
        let request = self.request(method, attributes, true);
        self.hand(&request)
    }

    /// Gets a nonce and a relay.
    fn allocate(&mut self) -> SocketAddr {
        let request = self.request(ALLOCATE, &[UDP], false);
        assert_eq!(self.hand(&request), Answer::Error(401));
        let Answer::Success(octets) = self.ask(ALLOCATE, &[UDP]) else {
            panic!("no relay");
        };
        let message = Message::parse(&octets).unwrap();
        assert_eq!(
            message.address(XOR_MAPPED_ADDRESS),
            Some(self.client.address)
        );
        message.address(XOR_RELAYED_ADDRESS).unwrap()
    }

    fn permit(&mut self, peer: &str) -> Answer {
        self.ask(PERMIT, &[(XOR_PEER_ADDRESS, peer.as_bytes())])
    }

    fn bind(&mut self, number: u16, peer: &str) -> Answer {
        let number = [(number >> 8) as u8, number as u8, 0, 0];
        self.ask(
            BIND,
            &[
                (CHANNEL_NUMBER, &number),
                (XOR_PEER_ADDRESS, peer.as_bytes()),
            ],
        )
    }

    /// What leaves the relay when the client says this.
    fn sent(&mut self, datagram: &[u8]) -> Option<(String, Vec<u8>)> {
        self.server
            .handle(self.now, self.client, datagram, &mut self.out);
        let command = self.out.commands.pop();
        let Some(Command::ToPeer { peer, octets, .. }) = command else {
            return None;
        };
        let data = self.out.octets[octets].to_vec();
        self.out.clear();
        Some((peer.to_string(), data))
    }

    fn send(&mut self, peer: &str) -> Option<(String, Vec<u8>)> {
        let mut octets = Vec::new();
        Writer::new(
            &mut octets,
            Class::Indication,
            SEND,
            TransactionId::default(),
        )
        .address(XOR_PEER_ADDRESS, peer.parse().unwrap())
        .put(DATA, b"hello");
        self.sent(&octets)
    }

    /// What the client gets when a peer says this to its relay.
    fn relayed(&mut self, peer: &str, data: &[u8]) -> Option<Vec<u8>> {
        let peer = peer.parse().unwrap();
        self.server
            .relayed(self.now, RelayId(1), peer, data, &mut self.out);
        let Some(Command::ToClient { octets, .. }) = self.out.commands.pop() else {
            return None;
        };
        Some(self.out.octets[octets].to_vec())
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.server.wake(self.now, &mut self.out);
        self.commands.append(&mut self.out.commands);
    }
}

#[test]
fn rfc8656_7_2_a_relay_for_who_knows_the_password() {
    let mut world = world();
    let relayed = world.allocate();
    assert_eq!(relayed.to_string(), "198.51.100.1:50001");
    assert_eq!(world.ask(ALLOCATE, &[UDP]), Answer::Error(437));
    world.key = Key::long_term("alice", "example.org", "guess");
    assert_eq!(world.ask(REFRESH, &[]), Answer::Error(401));
    world.user = "mallory".into();
    assert_eq!(world.ask(REFRESH, &[]), Answer::Error(401));
}

#[test]
fn rfc8656_7_2_an_answer_that_was_lost_comes_again() {
    let mut world = world();
    let first = world.request(ALLOCATE, &[UDP], false);
    world.hand(&first);
    let request = world.request(ALLOCATE, &[UDP], true);
    let Answer::Success(one) = world.hand(&request) else {
        panic!("no relay");
    };
    assert_eq!(world.hand(&request), Answer::Success(one));
    assert_eq!(world.server.relays(), 1);
}

#[test]
fn rfc8656_7_2_what_can_not_be_had_is_refused_by_its_number() {
    let mut world = world();
    let request = world.request(ALLOCATE, &[UDP], false);
    world.hand(&request);
    let tcp: (u16, &[u8]) = (REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
    let ipv6: (u16, &[u8]) = (REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    let next: (u16, &[u8]) = (EVEN_PORT, &[0x80]);
    let whole: (u16, &[u8]) = (0x1a, &[]);
    assert_eq!(world.ask(ALLOCATE, &[]), Answer::Error(400));
    assert_eq!(world.ask(ALLOCATE, &[tcp]), Answer::Error(442));
    assert_eq!(world.ask(ALLOCATE, &[UDP, ipv6]), Answer::Error(440));
    assert_eq!(world.ask(ALLOCATE, &[UDP, next]), Answer::Error(508));
    assert_eq!(world.ask(ALLOCATE, &[UDP, whole]), Answer::Error(420));
    assert_eq!(world.server.relays(), 0);
    world.ports = 60_000;
    assert_eq!(world.ask(ALLOCATE, &[UDP]), Answer::Error(508));
    assert_eq!(world.server.relays(), 0, "no port, no relay");
}

#[test]
fn rfc8656_7_2_quotas_of_users_and_of_all() {
    let mut world = world();
    for port in [5000, 5001] {
        world.client = client(port);
        world.allocate();
    }
    world.client = client(5002);
    let request = world.request(ALLOCATE, &[UDP], false);
    world.hand(&request);
    assert_eq!(world.ask(ALLOCATE, &[UDP]), Answer::Error(486));
    // Others still get theirs, until all are given out.
    for (name, expected) in [("bob", None), ("carol", None), ("dave", Some(508))] {
        world
            .client
            .address
            .set_port(world.client.address.port() + 1);
        let expiry = Duration::from_secs(1_000_060);
        let (user, password) = config().users.issue(name, expiry).unwrap();
        world.key = Key::long_term(&user, "example.org", &password);
        world.user = user;
        let request = world.request(ALLOCATE, &[UDP], false);
        world.hand(&request);
        match (world.ask(ALLOCATE, &[UDP]), expected) {
            (Answer::Success(_), None) => {}
            (Answer::Error(code), Some(expected)) => assert_eq!(code, expected),
            (answer, _) => panic!("{name}: {answer:?}"),
        }
    }
    // What ends makes room.
    world.wait(601);
    assert_eq!(world.server.relays(), 0);
    let closed = |command: &&Command| matches!(command, Command::Close { .. });
    assert_eq!(world.commands.iter().filter(closed).count(), 4);
    assert_eq!(world.server.deadline(), None);
}

#[test]
fn rfc8656_5_a_time_limited_password_opens_a_relay_and_keeps_it() {
    let mut world = world();
    let expiry = Duration::from_secs(1_000_060);
    let (user, password) = config().users.issue("bob", expiry).unwrap();
    world.key = Key::long_term(&user, "example.org", &password);
    world.user = user;
    world.allocate();
    world.wait(120);
    assert!(matches!(world.ask(REFRESH, &[]), Answer::Success(_)));
    world.client = client(5001);
    let request = world.request(ALLOCATE, &[UDP], false);
    world.hand(&request);
    assert_eq!(world.ask(ALLOCATE, &[UDP]), Answer::Error(401));
}

#[test]
fn rfc8489_9_2_4_a_nonce_grows_stale() {
    let mut world = world();
    world.allocate();
    for _ in 0..8 {
        world.wait(500);
        if world.ask(REFRESH, &[]) == Answer::Error(438) {
            // The new nonce came with the refusal.
            assert!(matches!(world.ask(REFRESH, &[]), Answer::Success(_)));
        }
    }
    assert_eq!(world.server.relays(), 1);
}

#[test]
fn rfc8656_8_2_a_relay_lives_as_long_as_it_is_refreshed() {
    let mut world = world();
    world.allocate();
    for (asked, given) in [(1_u32, 600_u32), (1200, 1200), (100_000, 3600)] {
        let Answer::Success(octets) = world.ask(REFRESH, &[(LIFETIME, &asked.to_be_bytes())])
        else {
            panic!("not refreshed");
        };
        let message = Message::parse(&octets).unwrap();
        assert_eq!(message.number(LIFETIME), Some(given));
    }
    let (eve, other) = (
        "eve".to_owned(),
        Key::long_term("alice", "example.org", "secret"),
    );
    let mut users = config();
    users.users.insert("eve", "example.org", "hers");
    world.server.configure(users);
    let user = std::mem::replace(&mut world.user, eve);
    world.key = Key::long_term("eve", "example.org", "hers");
    assert_eq!(world.ask(REFRESH, &[]), Answer::Error(441));
    (world.user, world.key) = (user, other);
    for _ in 0..2 {
        let end = world.ask(REFRESH, &[(LIFETIME, &[0; 4])]);
        assert!(matches!(end, Answer::Success(_)), "{end:?}");
    }
    assert_eq!(world.commands, [Command::Close { relay: RelayId(1) }]);
}

#[test]
fn rfc8656_9_nothing_passes_without_a_permission() {
    let mut world = world();
    world.allocate();
    assert_eq!(world.send(PEER), None);
    assert_eq!(world.relayed(PEER, b"hi"), None);
    assert!(matches!(world.permit(PEER), Answer::Success(_)));
    assert_eq!(world.send(PEER), Some((PEER.into(), b"hello".to_vec())));
    // Permissions are for addresses, not for ports.
    let octets = world.relayed("203.0.113.9:7001", b"hi").unwrap();
    let message = Message::parse(&octets).unwrap();
    assert_eq!((message.class(), message.method()), (Class::Indication, 7));
    assert_eq!(message.find(DATA), Some(&b"hi"[..]));
    assert_eq!(message.address(XOR_PEER_ADDRESS).unwrap().port(), 7001);
    assert_eq!(world.relayed("203.0.113.8:7000", b"hi"), None);
    world.wait(301);
    assert_eq!(world.send(PEER), None);
    assert_eq!(world.relayed(PEER, b"hi"), None);
}

#[test]
fn rfc8656_12_channels() {
    let mut world = world();
    world.allocate();
    assert_eq!(world.bind(0x3fff, PEER), Answer::Error(400));
    assert_eq!(world.bind(0x8000, PEER), Answer::Error(400));
    assert!(matches!(world.bind(0x4000, PEER), Answer::Success(_)));
    assert!(
        matches!(world.bind(0x4000, PEER), Answer::Success(_)),
        "again"
    );
    assert_eq!(world.bind(0x4001, PEER), Answer::Error(400));
    assert_eq!(world.bind(0x4000, "203.0.113.9:7001"), Answer::Error(400));
    let mut framed = Vec::new();
    channel::encode(0x4000, b"hello", false, &mut framed);
    assert_eq!(world.sent(&framed), Some((PEER.into(), b"hello".to_vec())));
    assert_eq!(world.relayed(PEER, b"hello"), Some(framed.clone()));
    world.wait(301);
    assert_eq!(world.sent(&framed), None, "the permission has gone before");
    assert!(matches!(world.permit(PEER), Answer::Success(_)));
    assert!(world.sent(&framed).is_some());
    world.wait(300);
    assert_eq!(world.sent(&framed), None, "the channel has gone");
}

#[test]
fn rfc8656_21_4_a_relay_does_not_lead_inside() {
    let mut world = world();
    world.allocate();
    for inner in ["127.0.0.1:80", "10.0.0.1:80", "169.254.169.254:80"] {
        assert_eq!(world.permit(inner), Answer::Error(403), "{inner}");
        assert_eq!(world.bind(0x4000, inner), Answer::Error(403), "{inner}");
        assert_eq!(world.send(inner), None);
    }
    assert_eq!(world.permit("[2001:db8::1]:80"), Answer::Error(443));
}

#[test]
fn what_an_allocation_holds_is_bounded() {
    let mut world = world();
    world.allocate();
    for host in 0..64 {
        let peer = format!("203.0.113.{host}:7000");
        assert!(matches!(world.permit(&peer), Answer::Success(_)));
    }
    assert_eq!(world.permit("203.0.113.99:7000"), Answer::Error(508));
    world.wait(301);
    assert!(matches!(
        world.permit("203.0.113.99:7000"),
        Answer::Success(_)
    ));
}

#[test]
fn rfc8656_5_who_shows_no_password_costs_no_memory() {
    let mut world = world();
    for method in [ALLOCATE, REFRESH, PERMIT, BIND] {
        let request = world.request(method, &[UDP], false);
        assert_eq!(world.hand(&request), Answer::Error(401));
    }
    let unknown = world.request(0x0a, &[], false);
    assert_eq!(world.hand(&unknown), Answer::Nothing);
    assert_eq!(world.server.relays(), 0);
    assert_eq!(world.server.deadline(), None);
}
