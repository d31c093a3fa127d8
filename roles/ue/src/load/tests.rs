//! Caller and callee face to face, without sockets or clock.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip::digest::{Algorithm, Challenge, Credentials};
use sip::{HeaderName, Message, Method, StatusCode, Writer};

use super::callee::Callee;
use super::outbox::{Outbox, Way};
use super::request::{self, Script};
use super::window::{Rules, Window};
use super::{Accounts, Failure, Job, Transport};

/// A window, the callee it calls, and a clock that only moves when told.
struct World {
    now: Instant,
    window: Window,
    callee: Callee,
    out: Outbox,
}

impl World {
    fn new(job: Job, hold: Option<Duration>) -> Self {
        Self::with(job, hold, false, 1)
    }

    fn with(job: Job, hold: Option<Duration>, refresh: bool, users: u32) -> Self {
        let local = address("127.0.0.1:7001");
        let transport = Transport::Udp;
        let script = Script {
            run: 0xbeef,
            transport,
            locals: vec![local],
            domain: "example.com".to_owned(),
            callers: Accounts::numbered(5, users),
            callee: request::Callee::Address(address("127.0.0.1:7002")),
            expires: 60,
            rtp_port: 9000,
        };
        let rules = Rules {
            job,
            timeout: Duration::from_secs(32),
            hold,
            refresh,
        };
        let now = Instant::now();
        Self {
            now,
            window: Window::new(script, rules, 2, now),
            callee: Callee::new(address("127.0.0.1:7002"), transport, 9002),
            out: Outbox::default(),
        }
    }

    fn begin(&mut self) -> bool {
        self.window.begin(self.now, &mut self.out)
    }

    /// Takes what waits to be sent.
    fn sent(&mut self) -> Vec<Vec<u8>> {
        let sent = self.out.messages().map(|(bytes, _)| bytes.to_vec());
        let sent = sent.collect();
        self.out.clear();
        sent
    }

    /// Hands requests to the callee and responses to the window, until nothing is left.
    fn settle(&mut self) {
        loop {
            let sent = self.sent();
            if sent.is_empty() {
                return;
            }
            for bytes in sent {
                self.deliver(&bytes);
            }
        }
    }

    fn deliver(&mut self, bytes: &[u8]) {
        let message = Message::parse(bytes).expect("our own message");
        if message.method().is_some() {
            message.check().expect("our own request");
            let from = Way::address(address("127.0.0.1:7001"));
            self.callee.handle(self.now, from, &message, &mut self.out);
        } else {
            self.window.handle(self.now, &message, &mut self.out);
        }
    }

    /// Answers a request as a server.
    fn answer(&mut self, request: &[u8], status: u16, fields: &[(HeaderName, String)]) {
        let request = Message::parse(request).expect("our own request");
        let mut bytes = Vec::new();
        let mut writer = Writer::response(&mut bytes, StatusCode(status));
        for name in [
            HeaderName::Via,
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
            HeaderName::CSeq,
        ] {
            writer.copy(&request, name);
        }
        for (name, value) in fields {
            writer.header(*name, value);
        }
        writer.finish();
        self.deliver(&bytes);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.window.sweep(self.now, &mut self.out);
        self.callee.sweep(self.now, &mut self.out);
    }

    fn failures(&self) -> Vec<(Failure, u64)> {
        let failures = self.window.tally().failures.iter();
        failures
            .map(|(failure, count)| (*failure, *count))
            .collect()
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn methods(sent: &[Vec<u8>]) -> Vec<String> {
    let method = |bytes: &Vec<u8>| {
        let line = bytes.split(|byte| *byte == b' ').next().unwrap();
        String::from_utf8_lossy(line).into_owned()
    };
    sent.iter().map(method).collect()
}

fn challenge(nonce: &str) -> [(HeaderName, String); 1] {
    let challenge = Challenge::new("example.com", nonce, Algorithm::Md5).to_string();
    [(HeaderName::WwwAuthenticate, challenge)]
}

#[test]
fn a_call_is_made_and_ended() {
    let mut world = World::new(Job::Call, Some(Duration::ZERO));
    assert!(world.begin());
    world.settle();
    assert_eq!(world.window.tally().ok, 1);
    assert_eq!(world.window.outstanding(), 0);
    let seen = world.callee.seen;
    assert_eq!((seen.invites, seen.acks, seen.byes), (1, 1, 1));
    world.pass(Duration::from_secs(60));
    assert!(world.sent().is_empty());
}

#[test]
fn a_held_call_ends_when_its_time_is_over() {
    let mut world = World::new(Job::Call, Some(Duration::from_secs(5)));
    world.begin();
    world.settle();
    assert_eq!(world.window.talking(), 1);
    world.pass(Duration::from_secs(4));
    assert!(world.sent().is_empty());
    world.pass(Duration::from_secs(2));
    world.settle();
    assert_eq!(world.window.tally().ok, 1);
    assert!(world.window.tally().latency.percentiles().max < 1_000_000);
}

#[test]
fn a_call_without_end_lasts_until_hang_up() {
    let mut world = World::new(Job::Rtp, None);
    world.begin();
    world.settle();
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.window.talking(), 1);
    let offered = world.callee.offered.take();
    assert_eq!(offered, Some(address("127.0.0.1:9000")));
    assert_eq!(
        world.window.take_answered(),
        Some(address("127.0.0.1:9002"))
    );
    world.window.hang_up(world.now, &mut world.out);
    world.settle();
    assert_eq!(world.window.tally().ok, 1);
}

#[test]
fn an_unanswered_request_is_sent_again_and_given_up() {
    let mut world = World::new(Job::Options, None);
    world.begin();
    let first = world.sent();
    let mut again = 0;
    for _ in 0..3300 {
        world.pass(Duration::from_millis(10));
        for bytes in world.sent() {
            assert_eq!(bytes, first[0]);
            again += 1;
        }
    }
    // RFC 3261 §17.1.2.2: after 0.5, 1.5, 3.5 s and then every 4 s.
    assert_eq!(again, 10);
    assert_eq!(world.failures(), [(Failure::Timeout, 1)]);
    assert_eq!(world.window.outstanding(), 0);
}

#[test]
fn a_lost_ack_is_made_up_for() {
    let mut world = World::new(Job::Call, Some(Duration::from_secs(9)));
    world.begin();
    let invite = world.sent();
    world.deliver(&invite[0]);
    for bytes in world.sent() {
        world.deliver(&bytes);
    }
    assert_eq!(methods(&world.sent()), ["ACK"]);
    world.pass(Duration::from_millis(600));
    world.settle();
    let seen = world.callee.seen;
    assert_eq!((seen.retransmissions, seen.acks), (1, 1));
    assert_eq!(world.window.talking(), 1);
}

#[test]
fn a_call_that_nobody_confirms_is_given_up() {
    let mut world = World::new(Job::Call, None);
    world.begin();
    let invite = world.sent();
    world.deliver(&invite[0]);
    for _ in 0..40 {
        world.sent();
        world.callee.sweep(world.now, &mut world.out);
        world.now += Duration::from_secs(1);
    }
    assert_eq!(world.callee.seen.unconfirmed, 1);
}

#[test]
fn a_refused_call_gets_its_ack() {
    let mut world = World::new(Job::Call, None);
    world.begin();
    let invite = world.sent();
    world.answer(&invite[0], 486, &[]);
    let ack = world.sent();
    assert_eq!(methods(&ack), ["ACK"]);
    let (invite, ack) = (
        Message::parse(&invite[0]).unwrap(),
        Message::parse(&ack[0]).unwrap(),
    );
    assert_eq!(
        invite.top_via().unwrap().branch(),
        ack.top_via().unwrap().branch()
    );
    assert_eq!(invite.request_uri(), ack.request_uri());
    let busy = Failure::Status(StatusCode(486));
    assert_eq!(world.failures(), [(busy, 1)]);
}

#[test]
fn a_challenged_call_is_made_with_credentials() {
    let mut world = World::new(Job::Call, Some(Duration::ZERO));
    world.begin();
    let invite = world.sent();
    world.answer(&invite[0], 401, &challenge("n1"));
    let sent = world.sent();
    assert_eq!(methods(&sent), ["ACK", "INVITE"]);
    let invite = Message::parse(&sent[1]).unwrap();
    assert_eq!(invite.cseq().unwrap().number, 2);
    let credentials = invite.header(HeaderName::Authorization).unwrap();
    let credentials = Credentials::parse(credentials).unwrap();
    assert!(credentials.verify("u5", "example.com", "pw5", Method::Invite, b""));
    world.deliver(&sent[1]);
    world.settle();
    assert_eq!(world.window.tally().ok, 1);
}

#[test]
fn a_registration_that_is_challenged_twice_fails() {
    let mut world = World::new(Job::Register, None);
    world.begin();
    let first = world.sent();
    world.answer(&first[0], 401, &challenge("n1"));
    let second = world.sent();
    world.answer(&second[0], 401, &challenge("n2"));
    let refused = Failure::Status(StatusCode(401));
    assert_eq!(world.failures(), [(refused, 1)]);
}

#[test]
fn a_challenge_of_an_unknown_kind_fails() {
    let mut world = World::new(Job::Register, None);
    world.begin();
    let first = world.sent();
    let basic = [(HeaderName::WwwAuthenticate, "Basic realm=\"x\"".to_owned())];
    world.answer(&first[0], 401, &basic);
    assert_eq!(world.failures(), [(Failure::Challenge, 1)]);
}

#[test]
fn a_refresh_uses_the_nonce_again() {
    let mut world = World::with(Job::Register, None, true, 1);
    world.begin();
    let first = world.sent();
    world.answer(&first[0], 401, &challenge("n1"));
    for count in 1..4 {
        let sent = world.sent();
        assert_eq!(methods(&sent), ["REGISTER"]);
        let register = Message::parse(&sent[0]).unwrap();
        assert_eq!(register.cseq().unwrap().number, count + 1);
        let credentials = register.header(HeaderName::Authorization).unwrap();
        let credentials = Credentials::parse(credentials).unwrap();
        assert_eq!(credentials.nonce_count, Some(count));
        world.answer(&sent[0], 200, &[]);
        world.begin();
    }
    assert_eq!(world.window.tally().ok, 3);
}

#[test]
fn one_phone_registers_one_at_a_time() {
    let mut world = World::new(Job::Register, None);
    assert!(world.begin());
    assert!(!world.begin());
    let mut world = World::with(Job::Register, None, false, 2);
    assert!(world.begin());
    assert!(world.begin());
}

#[test]
fn an_answer_without_contact_is_malformed() {
    let mut world = World::new(Job::Call, None);
    world.begin();
    let invite = world.sent();
    world.answer(&invite[0], 200, &[]);
    assert_eq!(world.failures(), [(Failure::Malformed, 1)]);
}

#[test]
fn the_callees_bye_ends_the_call() {
    let mut world = World::new(Job::Call, Some(Duration::from_secs(60)));
    world.begin();
    let invite = world.sent();
    world.deliver(&invite[0]);
    world.settle();
    let call_id = Message::parse(&invite[0]).unwrap().call_id().to_owned();
    world.window.ended_by_peer("somebody@else");
    assert_eq!(world.window.talking(), 1);
    world.window.ended_by_peer(&call_id);
    assert_eq!(world.failures(), [(Failure::Ended, 1)]);
}

#[test]
fn ringing_without_end_is_cancelled() {
    let mut world = World::new(Job::Call, None);
    world.begin();
    let invite = world.sent();
    world.answer(&invite[0], 180, &[]);
    world.pass(Duration::from_secs(31));
    assert!(world.sent().is_empty());
    world.pass(Duration::from_secs(2));
    let sent = world.sent();
    assert_eq!(methods(&sent), ["CANCEL"]);
    Message::parse(&sent[0]).unwrap().check().unwrap();
    assert_eq!(world.failures(), [(Failure::Timeout, 1)]);
}

#[test]
fn routes_are_followed_in_reverse() {
    let mut world = World::new(Job::Call, Some(Duration::ZERO));
    world.begin();
    let invite = world.sent();
    let fields = [
        (HeaderName::RecordRoute, "<sip:b;lr>, <sip:a;lr>".to_owned()),
        (HeaderName::Contact, "<sip:callee@192.0.2.1>".to_owned()),
    ];
    world.answer(&invite[0], 200, &fields);
    let sent = world.sent();
    assert_eq!(methods(&sent), ["ACK", "BYE"]);
    for bytes in &sent {
        let request = Message::parse(bytes).unwrap();
        assert_eq!(request.request_uri(), "sip:callee@192.0.2.1");
        let routes: Vec<&str> = request.values(HeaderName::Route).collect();
        assert_eq!(routes, ["<sip:a;lr>", "<sip:b;lr>"]);
    }
}

#[test]
fn what_is_not_ours_is_a_stray() {
    let mut world = World::new(Job::Options, None);
    world.begin();
    let sent = world.sent();
    let other = String::from_utf8_lossy(&sent[0]).replace("0000beef", "0000dead");
    world.answer(other.as_bytes(), 200, &[]);
    assert_eq!(
        (world.window.tally().strays, world.window.tally().ok),
        (1, 0)
    );
    // A late answer to an operation that has ended is none of a stray, and changes nothing.
    world.answer(&sent[0], 200, &[]);
    world.answer(&sent[0], 200, &[]);
    assert_eq!(
        (world.window.tally().strays, world.window.tally().ok),
        (1, 1)
    );
}
