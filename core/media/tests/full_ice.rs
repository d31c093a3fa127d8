//! Parties to whom we look for a way ourselves.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use common::{Call, PATIENCE, Phone, V4, World, free_ports, receive};
use ice::{Agent, Candidate, Credentials, Lite, Role};
use media::{Config, Ice, IcePeer, Remote, Side};

/// A world with ports of each leg's own, and one with a single port for all.
fn worlds() -> [World; 2] {
    let own = Config {
        ports: 16_384..=23_999,
        ..Config::default()
    };
    let port = *free_ports(1).start();
    let shared = Config {
        ports: port..=port,
        shared: true,
        ..Config::default()
    };
    [World::new(own), World::new(shared)]
}

enum Mind {
    Full(Box<Agent>),
    Lite(Box<Lite>),
}

/// A party with one socket.
struct Party {
    mind: Mind,
    credentials: Credentials,
    phone: Phone,
    /// What came that was not STUN.
    heard: Vec<Vec<u8>>,
}

impl Party {
    fn new(number: u8, mind: fn(Credentials) -> Mind) -> Self {
        let credentials = Credentials::mint(number.into(), [number; 24]);
        let phone = Phone::new(V4, number.into());
        let step = Some(Duration::from_millis(5));
        phone.rtp.set_read_timeout(step).unwrap();
        Self {
            mind: mind(credentials.clone()),
            credentials,
            phone,
            heard: Vec::new(),
        }
    }

    fn address(&self) -> SocketAddr {
        self.phone.rtp.local_addr().unwrap()
    }

    fn candidate(&self) -> Candidate {
        Candidate::host(self.address(), 65_535)
    }

    /// What signalling tells of it: `controlling` is us.
    fn remote(&self, ours: &Credentials, controlling: bool, told: &[Candidate]) -> Remote {
        let nowhere = "0.0.0.0:9".parse().unwrap();
        let mut remote = Remote::plain(nowhere, nowhere);
        remote.ice = Some(Ice {
            local: ours.clone(),
            peer: Some(Box::new(IcePeer {
                credentials: self.credentials.clone(),
                lite: matches!(self.mind, Mind::Lite(_)),
                controlling,
                candidates: told.to_vec(),
            })),
        });
        remote
    }

    /// Is told of us.
    fn meet(&mut self, ours: &Credentials, at: SocketAddr) {
        let (now, own) = (Instant::now(), self.candidate());
        if let Mind::Full(agent) = &mut self.mind {
            agent.add_local(now, own);
            agent.set_remote(now, ours.clone(), false);
            agent.add_remote(now, &Candidate::host(at, 65_535));
        }
    }

    fn selected(&self) -> Option<SocketAddr> {
        let pair = match &self.mind {
            Mind::Full(agent) => agent.selected(),
            Mind::Lite(agent) => agent.selected(),
        };
        pair.map(|pair| pair.remote)
    }

    /// Takes what comes for a moment, and does what is due.
    fn step(&mut self) {
        let mut buffer = [0; 2048];
        let socket = &self.phone.rtp;
        let here = socket.local_addr().unwrap();
        let received = socket.recv_from(&mut buffer).ok();
        let now = Instant::now();
        let mut out = Vec::new();
        match (received, &mut self.mind) {
            (Some((len, _)), _) if buffer[0] > 3 => self.heard.push(buffer[..len].to_vec()),
            (Some((len, from)), Mind::Full(agent)) => agent.handle(now, &buffer[..len], from, here),
            (Some((len, from)), Mind::Lite(agent)) => {
                agent.handle(now, &buffer[..len], from, here, &mut out);
                send(socket, &out, from);
            }
            (None, _) => {}
        }
        if let Mind::Full(agent) = &mut self.mind {
            agent.wake(now);
            while let Some(pair) = agent.poll_transmit(&mut out) {
                send(socket, &out, pair.remote);
            }
        }
    }
}

fn send(socket: &UdpSocket, datagram: &[u8], to: SocketAddr) {
    if !datagram.is_empty() {
        socket.send_to(datagram, to).unwrap();
    }
}

/// Lets the parties live until it is so.
fn until(parties: &mut [&mut Party], what: &str, mut is_so: impl FnMut(&mut [&mut Party]) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so(parties) {
        assert!(Instant::now() < end, "never: {what}");
        parties.iter_mut().for_each(|party| party.step());
    }
}

/// A call between a party that does ICE and a plain phone.
struct Couple {
    call: Call,
    party: Party,
    phone: Phone,
    ours: Credentials,
}

impl Couple {
    fn new(world: &mut World, party: Party, number: u8) -> Self {
        let call = world.allocate([Some(V4), Some(V4)], 1).unwrap();
        let phone = Phone::new(V4, u32::from(number) + 100);
        world.connect(&call, Side::Callee, 0, Some(phone.remote()));
        Self {
            call,
            party,
            phone,
            ours: Credentials::mint(u64::from(number) + 50, [number + 50; 24]),
        }
    }

    fn begin(&mut self, world: &mut World, controlling: bool, told: &[Candidate]) {
        self.tell(world, controlling, told);
        let at = self.call.rtp(Side::Caller, 0);
        self.party.meet(&self.ours, at);
    }

    /// Says to the worker what signalling says.
    fn tell(&self, world: &mut World, controlling: bool, told: &[Candidate]) {
        let mut remote = self.party.remote(&self.ours, controlling, told);
        remote.mux = true;
        world.connect(&self.call, Side::Caller, 0, Some(remote));
        world.settle();
    }

    /// Sound goes both ways.
    fn talk(&mut self) {
        let (party, phone) = (&mut self.party, &mut self.phone);
        let at = self.call.rtp(Side::Callee, 0);
        until(&mut [party], "sound for the party", |parties| {
            phone.send(at, 1);
            !parties[0].heard.is_empty()
        });
        assert_eq!(party.selected(), Some(self.call.rtp(Side::Caller, 0)));
        let sent = party.phone.send(self.call.rtp(Side::Caller, 0), 2);
        assert_eq!(receive(&phone.rtp).0, sent);
    }
}

fn controlled(credentials: Credentials) -> Mind {
    Mind::Full(Box::new(Agent::new(Role::Controlled, credentials, [1; 32])))
}

fn controlling(credentials: Credentials) -> Mind {
    Mind::Full(Box::new(Agent::new(
        Role::Controlling,
        credentials,
        [2; 32],
    )))
}

fn lite(credentials: Credentials) -> Mind {
    Mind::Lite(Box::new(Lite::new(credentials)))
}

#[test]
fn rfc8445_7_2_two_full_agents_find_a_way_whoever_chooses() {
    for mut world in worlds() {
        for (number, mind, we_choose) in [
            (1, controlled as fn(Credentials) -> Mind, true),
            (2, controlling, false),
            // RFC 8445 §7.3.1.1: both want to, or neither.
            (3, controlling, true),
            (4, controlled, false),
        ] {
            let mut couple = Couple::new(&mut world, Party::new(number, mind), number);
            let told = [couple.party.candidate()];
            couple.begin(&mut world, we_choose, &told);
            couple.talk();
        }
    }
}

#[test]
fn rfc8445_6_1_1_a_lite_party_is_led() {
    for mut world in worlds() {
        let mut couple = Couple::new(&mut world, Party::new(1, lite), 1);
        let told = [couple.party.candidate()];
        couple.begin(&mut world, true, &told);
        couple.talk();
    }
}

#[test]
fn rfc8445_2_5_a_full_party_leads_us_where_we_are_lite() {
    for mut world in worlds() {
        let mut couple = Couple::new(&mut world, Party::new(1, controlling), 1);
        let nowhere = "0.0.0.0:9".parse().unwrap();
        let mut remote = Remote::plain(nowhere, nowhere);
        (remote.ice, remote.mux) = (Some(Ice::lite(couple.ours.clone())), true);
        world.connect(&couple.call, Side::Caller, 0, Some(remote));
        world.settle();
        couple
            .party
            .meet(&couple.ours, couple.call.rtp(Side::Caller, 0));
        couple.talk();
    }
}

/// Several calls look for their ways through one port at the same time: answers find their call.
#[test]
fn rfc8445_7_2_5_answers_at_a_shared_port_find_their_call() {
    let [_, mut world] = worlds();
    let mut couples: Vec<_> = (1..=4)
        .map(|number| Couple::new(&mut world, Party::new(number, lite), number))
        .collect();
    for couple in &mut couples {
        let told = [couple.party.candidate()];
        couple.begin(&mut world, true, &told);
    }
    let mut parties: Vec<_> = couples.iter_mut().map(|couple| &mut couple.party).collect();
    until(&mut parties, "a way for each", |parties| {
        parties.iter().all(|party| party.selected().is_some())
    });
    couples.iter_mut().for_each(Couple::talk);
}

/// A browser hides its address behind a name of multicast DNS: its own checks show where it is.
#[test]
fn rfc8445_7_3_1_3_a_party_that_hides_its_address_is_learnt_from_its_checks() {
    for mut world in worlds() {
        let mut couple = Couple::new(&mut world, Party::new(1, controlled), 1);
        let name = "1 1 udp 9 3f0a1e4e-66c0-4b5e-9d6c-9e2f6f1d1a11.local 5000 typ host";
        let told = [Candidate::parse(name).unwrap()];
        couple.begin(&mut world, true, &told);
        couple.talk();
    }
}

#[test]
fn rfc8838_11_candidates_may_be_told_later() {
    for mut world in worlds() {
        let mut couple = Couple::new(&mut world, Party::new(1, lite), 1);
        couple.begin(&mut world, true, &[]);
        let party = &mut couple.party;
        (0..10).for_each(|_| party.step());
        assert_eq!(
            party.selected(),
            None,
            "a lite party does nothing by itself"
        );
        let told = [couple.party.candidate()];
        couple.tell(&mut world, true, &told);
        couple.talk();
    }
}

#[test]
fn rfc8445_9_after_a_restart_media_go_on() {
    for mut world in worlds() {
        let mut couple = Couple::new(&mut world, Party::new(1, lite), 1);
        let told = [couple.party.candidate()];
        couple.begin(&mut world, true, &told);
        couple.talk();
        let new = Credentials::mint(9, [9; 24]);
        couple.ours = Credentials::mint(8, [8; 24]);
        if let Mind::Lite(agent) = &mut couple.party.mind {
            agent.restart(new.clone());
        }
        couple.party.credentials = new;
        couple.party.heard.clear();
        couple.tell(&mut world, true, &told);
        couple.talk();
    }
}

#[test]
fn rfc8445_12_nothing_is_sent_before_there_is_a_way() {
    for mut world in worlds() {
        let mut couple = Couple::new(&mut world, Party::new(1, lite), 1);
        couple.tell(&mut world, true, &[]);
        couple.phone.send(couple.call.rtp(Side::Callee, 0), 1);
        world.settle();
        (0..5).for_each(|_| couple.party.step());
        assert!(couple.party.heard.is_empty());
    }
}
