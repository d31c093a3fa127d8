//! Two phones back to back, over a network that loses, doubles and delays.

use std::time::{Duration, Instant};

use base::{Mint, Slot};
use engine::{Input, Machine, Out};
use sip::digest::{Algorithm, Challenge, Credentials};
use sip::{Flow, HeaderName, Message, Method, Protocol, StatusCode, Writer};

use super::*;

/// Phone 0 and phone 1, each the other's server.
struct World {
    start: Instant,
    now: Instant,
    phones: [Phone; 2],
    events: [Vec<Event>; 2],
    /// Arrival, receiver, datagram.
    wire: Vec<(Instant, usize, Vec<u8>)>,
    trace: Vec<String>,
    dice: Mint,
    /// Of 100 datagrams, how many are lost and how many doubled.
    loss: u32,
    doubling: u32,
}

impl World {
    fn new(seed: u64, loss: u32, doubling: u32) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let now = Instant::now();
        let phone = |index: usize| {
            let mut seed = bytes;
            seed[31] = index as u8;
            Phone::new(settings(index), seed)
        };
        Self {
            start: now,
            now,
            phones: [phone(0), phone(1)],
            events: [Vec::new(), Vec::new()],
            wire: Vec::new(),
            trace: Vec::new(),
            dice: Mint::new(Slot::new(9), bytes),
            loss,
            doubling,
        }
    }

    fn command(&mut self, phone: usize, command: Command) {
        self.feed(phone, Input::Command(command));
    }

    fn feed(&mut self, phone: usize, input: Input<'_, Command>) {
        let mut out = Out::new();
        self.phones[phone].handle(self.now, input, &mut out);
        for send in &out.send {
            self.send(phone, &out.bytes[send.range.clone()]);
        }
        self.events[phone].append(&mut out.events);
    }

    fn send(&mut self, from: usize, datagram: &[u8]) {
        let line = String::from_utf8_lossy(datagram);
        let line = line.lines().next().unwrap_or_default();
        let at = self.now.duration_since(self.start).as_millis();
        self.trace.push(format!("{at:>6} {from}: {line}"));
        let copies = 1 + usize::from(self.dice.below(100) < self.doubling);
        for _ in 0..copies {
            if self.dice.below(100) >= self.loss {
                let delay = Duration::from_millis(1 + u64::from(self.dice.below(40)));
                self.wire
                    .push((self.now + delay, 1 - from, datagram.to_vec()));
            }
        }
    }

    /// The next arrival or deadline; `false` if there is none before `until`.
    fn step(&mut self, until: Instant) -> bool {
        let arrival = self.wire.iter().enumerate().min_by_key(|(_, (at, ..))| *at);
        let arrival = arrival.map(|(index, (at, ..))| (*at, index));
        let deadlines = self.phones.iter().enumerate();
        let deadline = deadlines
            .filter_map(|(index, phone)| Some((phone.deadline()?, index)))
            .min();
        match (arrival, deadline) {
            (Some((at, index)), wake) if at <= until && wake.is_none_or(|(wake, _)| at <= wake) => {
                self.now = self.now.max(at);
                let (_, phone, bytes) = self.wire.remove(index);
                let message = Message::parse(&bytes).expect("a phone's message");
                message.check().expect("a phone's message");
                let flow = settings(phone).server;
                let message = &message;
                self.feed(phone, Input::Message { flow, message });
                true
            }
            (_, Some((wake, phone))) if wake <= until => {
                self.now = self.now.max(wake);
                self.feed(phone, Input::Timer);
                true
            }
            _ => false,
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
        self.now = until;
    }

    fn take(&mut self, phone: usize) -> Vec<Event> {
        std::mem::take(&mut self.events[phone])
    }

    /// Dials from phone 0 and picks up at phone 1.
    fn connect(&mut self) {
        self.command(0, Command::Dial("sip:1@192.0.2.2".to_owned()));
        self.run(MOMENT);
        self.command(1, Command::Ring(CALL));
        self.command(1, Command::Answer(CALL));
        self.run(MOMENT);
        assert!(matches!(self.take(0).last(), Some(Event::Up { .. })));
        assert!(matches!(self.take(1).last(), Some(Event::Up { .. })));
    }

    fn assert_idle(&mut self) {
        self.run(Duration::from_secs(200));
        assert!(self.phones.iter().all(Phone::is_idle), "{:#?}", self.trace);
    }
}

const CALL: CallNumber = CallNumber(1);

const MOMENT: Duration = Duration::from_millis(400);

fn settings(index: usize) -> Settings {
    let addresses = ["192.0.2.1:5060", "192.0.2.2:5060"].map(|text| text.parse().unwrap());
    let server = Flow {
        protocol: Protocol::Udp,
        local: addresses[index],
        remote: addresses[1 - index],
        connection: None,
        tls: sip::TlsPeer::ANY,
    };
    Settings::new(&index.to_string(), "secret", "example.com", server)
}

#[test]
fn a_call_rings_is_answered_and_ended() {
    let mut world = World::new(1, 0, 0);
    world.command(0, Command::Dial("sip:1@192.0.2.2".to_owned()));
    world.run(MOMENT);
    let from = "sip:0@example.com".to_owned();
    assert_eq!(world.take(1), [Event::Incoming { call: CALL, from }]);
    world.command(1, Command::Ring(CALL));
    world.run(MOMENT);
    let ringing = Event::Progress(CALL, StatusCode(180));
    assert_eq!(world.take(0), [Event::Dialing(CALL), ringing]);
    world.command(1, Command::Answer(CALL));
    world.run(MOMENT);
    let up = |rtp: &str, remote: &str| Event::Up {
        call: CALL,
        rtp: rtp.parse().unwrap(),
        sound: Some(Sound {
            remote: remote.parse().unwrap(),
            codec: Codec::Pcma,
            payload_type: 8,
            parameters: codec::Parameters::default(),
            events: None,
            security: media::Security::Plain,
            direction: Direction::SendRecv,
        }),
    };
    let places = ["192.0.2.1:40002", "192.0.2.2:40002"];
    assert_eq!(world.take(0), [up(places[0], places[1])]);
    assert_eq!(world.take(1), [up(places[1], places[0])]);
    world.command(1, Command::HangUp(CALL));
    world.run(MOMENT);
    assert_eq!(world.take(0), [Event::Ended(CALL, End::There)]);
    assert_eq!(world.take(1), [Event::Ended(CALL, End::Here)]);
    world.assert_idle();
}

#[test]
fn hold_and_resume_reach_the_other_side() {
    let mut world = World::new(2, 0, 0);
    world.connect();
    world.command(0, Command::Hold(CALL));
    world.run(MOMENT);
    let held = Event::Direction(CALL, Direction::RecvOnly);
    assert_eq!(world.take(1), [held]);
    let holds = Event::Changed(CALL, Direction::SendOnly);
    assert_eq!(world.take(0), [holds]);
    world.command(0, Command::Resume(CALL));
    world.run(MOMENT);
    let back = Event::Direction(CALL, Direction::SendRecv);
    assert_eq!(world.take(1), [back]);
    world.command(0, Command::HangUp(CALL));
    world.assert_idle();
}

#[test]
fn both_holding_at_once_is_refused_and_the_call_lives() {
    let mut world = World::new(3, 0, 0);
    world.connect();
    world.command(0, Command::Hold(CALL));
    world.command(1, Command::Hold(CALL));
    world.run(MOMENT);
    let glare = Failure::Status(StatusCode(491));
    for phone in [0, 1] {
        let refused = Event::ChangeRefused(CALL, glare);
        assert_eq!(world.take(phone), [refused]);
    }
    world.command(0, Command::HangUp(CALL));
    world.assert_idle();
}

#[test]
fn a_rejected_call_tells_why() {
    let mut world = World::new(4, 0, 0);
    world.command(0, Command::Dial("sip:1@192.0.2.2".to_owned()));
    world.run(MOMENT);
    world.command(1, Command::Reject(CALL, StatusCode(486)));
    world.run(MOMENT);
    let busy = End::Failed(Failure::Status(StatusCode(486)));
    assert_eq!(world.take(0).last(), Some(&Event::Ended(CALL, busy)));
    world.assert_idle();
}

#[test]
fn a_caller_gives_up_before_and_after_ringing() {
    for rings in [false, true] {
        let mut world = World::new(5, 0, 0);
        world.command(0, Command::Dial("sip:1@192.0.2.2".to_owned()));
        world.run(MOMENT);
        if rings {
            world.command(1, Command::Ring(CALL));
            world.run(MOMENT);
        }
        world.command(0, Command::HangUp(CALL));
        // Without a provisional answer no CANCEL may go out (RFC 3261 §9.1).
        world.command(1, Command::Ring(CALL));
        world.run(MOMENT);
        assert_eq!(world.take(1).last(), Some(&Event::Ended(CALL, End::There)));
        assert_eq!(world.take(0).last(), Some(&Event::Ended(CALL, End::Here)));
        world.assert_idle();
    }
}

#[test]
fn a_busy_phone_says_so() {
    let mut world = World::new(6, 0, 0);
    for _ in 0..5 {
        world.command(0, Command::Dial("sip:1@192.0.2.2".to_owned()));
    }
    world.run(MOMENT);
    assert_eq!(world.phones[1].calls(), 4);
    let busy = End::Failed(Failure::Status(StatusCode(486)));
    let last = world.take(0).into_iter().next_back();
    assert!(matches!(last, Some(Event::Ended(_, end)) if end == busy));
}

#[test]
fn nobody_there_is_a_time_out() {
    let mut world = World::new(7, 100, 0);
    world.command(0, Command::Dial("sip:1@192.0.2.2".to_owned()));
    world.command(0, Command::Register);
    world.run(Duration::from_secs(33));
    let events = world.take(0);
    let failed = Event::Ended(CALL, End::Failed(Failure::Timeout));
    assert!(events.contains(&failed), "{events:?}");
    assert!(events.contains(&Event::RegistrationFailed(Failure::Timeout)));
    world.run(Duration::from_secs(31));
    let again = world.trace.iter().filter(|line| line.contains("REGISTER"));
    assert!(again.count() > 11, "it tries again after 30 s");
}

#[test]
fn the_network_says_that_nobody_is_there() {
    let mut world = World::new(8, 100, 0);
    world.command(0, Command::Dial("sip:1@192.0.2.2".to_owned()));
    let flow = settings(0).server;
    world.feed(0, Input::Unreachable { flow });
    let failed = Event::Ended(CALL, End::Failed(Failure::Unreachable));
    assert_eq!(world.take(0).last(), Some(&failed));
}

#[test]
fn every_call_ends_whatever_the_network_does() {
    for seed in 0..300 {
        let mut world = World::new(seed, 20, 15);
        for _ in 0..3 {
            world.command(0, Command::Dial("sip:1@192.0.2.2".to_owned()));
        }
        for round in 0..12 {
            world.run(Duration::from_secs(1));
            for phone in [0, 1] {
                for number in (1..=3).map(CallNumber) {
                    let command = match world.dice.below(9) {
                        0 => Command::Ring(number),
                        1 | 2 => Command::Answer(number),
                        3 => Command::Hold(number),
                        4 => Command::Resume(number),
                        5 if round > 6 => Command::HangUp(number),
                        _ => continue,
                    };
                    world.command(phone, command);
                }
            }
        }
        for phone in [0, 1] {
            for number in (1..=9).map(CallNumber) {
                world.command(phone, Command::HangUp(number));
            }
        }
        world.run(Duration::from_secs(200));
        let idle = world.phones.iter().all(Phone::is_idle);
        assert!(idle, "seed {seed}: {:#?}", world.trace);
        for events in &world.events {
            let count = |wanted: fn(&Event) -> bool| events.iter().filter(|e| wanted(e)).count();
            let begun = |event: &Event| matches!(event, Event::Dialing(_) | Event::Incoming { .. });
            let ended = |event: &Event| matches!(event, Event::Ended(..));
            assert_eq!(count(begun), count(ended), "seed {seed}: {events:?}");
        }
    }
}

/// Answers the last request that phone 0 sent, as its registrar.
fn answer(world: &mut World, status: u16, fields: &[(HeaderName, String)]) {
    let (_, _, request) = world.wire.pop().expect("a request on the wire");
    let request = Message::parse(&request).unwrap();
    let flow = settings(1).server;
    let mut bytes = Vec::new();
    let status = StatusCode(status);
    let mut writer = Writer::response_to(&mut bytes, &request, &flow, status, "t");
    for (name, value) in fields {
        writer.header(*name, value);
    }
    writer.finish();
    let message = Message::parse(&bytes).unwrap();
    let flow = settings(0).server;
    let message = &message;
    world.feed(0, Input::Message { flow, message });
}

fn challenge() -> [(HeaderName, String); 1] {
    let challenge = Challenge::new("example.com", "n", Algorithm::Sha256).to_string();
    [(HeaderName::WwwAuthenticate, challenge)]
}

#[test]
fn a_registration_answers_its_challenge_and_is_refreshed() {
    let mut world = World::new(20, 0, 0);
    world.command(0, Command::Register);
    answer(&mut world, 401, &challenge());
    let (_, _, request) = world.wire.last().unwrap().clone();
    let request = Message::parse(&request).unwrap();
    let credentials = request.header(HeaderName::Authorization).unwrap();
    let credentials = Credentials::parse(credentials).unwrap();
    assert!(credentials.verify("0", "example.com", "secret", Method::Register, b""));
    let contact = "<sip:0@192.0.2.1:5060>;expires=120".to_owned();
    answer(&mut world, 200, &[(HeaderName::Contact, contact)]);
    assert_eq!(world.take(0), [Event::Registered { expires: 120 }]);
    world.run(Duration::from_secs(59));
    let registrations = |world: &World| {
        let is_register = |line: &&String| line.contains("REGISTER");
        world.trace.iter().filter(is_register).count()
    };
    assert_eq!(registrations(&world), 2);
    world.run(Duration::from_millis(1100));
    assert_eq!(registrations(&world), 3);
}

#[test]
fn a_wrong_password_is_not_tried_for_ever() {
    let mut world = World::new(21, 0, 0);
    world.command(0, Command::Register);
    answer(&mut world, 401, &challenge());
    answer(&mut world, 401, &challenge());
    let refused = Failure::Status(StatusCode(401));
    assert_eq!(world.take(0), [Event::RegistrationFailed(refused)]);
    assert!(world.wire.is_empty());
}

#[test]
fn a_longer_registration_is_asked_for_if_the_server_insists() {
    let mut world = World::new(22, 0, 0);
    world.command(0, Command::Register);
    answer(&mut world, 423, &[(HeaderName::MinExpires, "7200".into())]);
    let (_, _, request) = world.wire.last().unwrap();
    let request = Message::parse(request).unwrap();
    assert_eq!(request.number(HeaderName::Expires), Ok(Some(7200)));
}

#[test]
fn unregistering_waits_for_the_registration_under_way() {
    let mut world = World::new(23, 0, 0);
    world.command(0, Command::Register);
    world.command(0, Command::Unregister);
    assert_eq!(world.wire.len(), 1);
    answer(&mut world, 200, &[]);
    assert_eq!(world.wire.len(), 1);
    answer(&mut world, 200, &[]);
    let registered = Event::Registered { expires: 3600 };
    assert_eq!(world.take(0), [registered, Event::Unregistered]);
    assert_eq!(world.phones[0].registration.refresh, None);
}

/// A provisional response to the INVITE of phone 0, which takes sound at this port.
fn describe(world: &mut World, invite: &[u8], tag: &str, port: u16) {
    let request = Message::parse(invite).unwrap();
    let flow = settings(1).server;
    let mut bytes = Vec::new();
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0\r\n"
    );
    Writer::response_to(&mut bytes, &request, &flow, StatusCode(183), tag)
        .body("application/sdp", sdp.as_bytes());
    let message = Message::parse(&bytes).unwrap();
    let flow = settings(0).server;
    let message = &message;
    world.feed(0, Input::Message { flow, message });
}

/// What may be heard before the answer is told when it is new, also of another party.
#[test]
fn rfc3261_13_2_1_descriptions_before_the_answer_are_told_once() {
    let mut world = World::new(9, 0, 0);
    world.command(0, Command::Dial("sip:1@192.0.2.2".to_owned()));
    let (_, _, invite) = world.wire.pop().expect("an INVITE");
    for (tag, port) in [("a", 4000), ("a", 4000), ("b", 4002)] {
        describe(&mut world, &invite, tag, port);
    }
    let early = |event: Event| match event {
        Event::Early { sound, .. } => Some((sound.remote.port(), sound.codec)),
        _ => None,
    };
    let told: Vec<_> = world.take(0).into_iter().filter_map(early).collect();
    assert_eq!(told, [(4000, Codec::Pcmu), (4002, Codec::Pcmu)]);
    world.command(0, Command::HangUp(CALL));
    world.assert_idle();
}
