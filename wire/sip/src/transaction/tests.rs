use std::time::{Duration, Instant};

use base::{Mint, Slot};

use super::*;
use crate::{Protocol, Writer};

struct Wire(Vec<String>, Vec<Protocol>);

impl Transmit for Wire {
    fn transmit(&mut self, flow: Flow, message: &[u8]) {
        self.0.push(String::from_utf8(message.to_vec()).unwrap());
        self.1.push(flow.protocol);
    }
}

impl Wire {
    /// First lines of what was sent since the last call.
    fn sent(&mut self) -> Vec<String> {
        self.0
            .drain(..)
            .map(|text| text.lines().next().unwrap().to_owned())
            .collect()
    }
}

struct World {
    start: Instant,
    mint: Mint,
    transactions: Transactions<&'static str, ServerKey>,
    wire: Wire,
}

impl World {
    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do as the origin"
    )]
    fn new() -> Self {
        let mut mint = Mint::new(Slot::new(3), [5; 32]);
        let transactions = Transactions::new(&mut mint);
        Self {
            start: Instant::now(),
            mint,
            transactions,
            wire: Wire(Vec::new(), Vec::new()),
        }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn request(&mut self, method: Method<'_>, protocol: Protocol) -> (ClientKey, Token) {
        let branch = self.mint.token();
        let mut bytes = Vec::new();
        let mut writer = Writer::request(&mut bytes, method, "sip:b@h");
        writer.header(
            HeaderName::Via,
            format_args!("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{branch}"),
        );
        writer
            .header(HeaderName::From, "<sip:a@h>;tag=1")
            .header(HeaderName::To, "<sip:b@h>");
        writer
            .header(HeaderName::CallId, "c")
            .header(HeaderName::CSeq, format_args!("7 {method}"));
        writer.finish();
        let key = self.transactions.request(
            self.start,
            flow(protocol),
            method,
            branch,
            &bytes,
            "owner",
            &mut self.wire,
        );
        (key, branch)
    }

    fn answer(&mut self, ms: u64, branch: Token, status: u16, method: &str) -> Option<ClientKey> {
        let text = format!(
            "SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{branch}\r\nFrom: <sip:a@h>;tag=1\r\n\
             To: <sip:b@h>;tag=2\r\nCall-ID: c\r\nCSeq: 7 {method}\r\n\r\n"
        );
        let now = self.at(ms);
        self.transactions.receive_response(
            now,
            &Message::parse(text.as_bytes()).unwrap(),
            &mut self.wire,
        )
    }

    fn receive(&mut self, ms: u64, method: &str, branch: &str) -> Received {
        let text = format!(
            "{method} sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;rport;branch={branch}\r\nFrom: <sip:a@h>;tag=1\r\n\
             To: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 7 {method}\r\n\r\n"
        );
        let now = self.at(ms);
        let message = Message::parse(text.as_bytes()).unwrap();
        self.transactions
            .receive_request(now, flow(Protocol::Udp), &message, &mut self.wire)
    }

    fn respond(&mut self, ms: u64, key: ServerKey, status: u16) {
        let now = self.at(ms);
        let text = format!("SIP/2.0 {status} Y\r\n\r\n");
        self.transactions.respond(
            now,
            key,
            StatusCode(status),
            text.as_bytes(),
            &mut self.wire,
        );
    }

    /// Lets time run to `ms`; gives the times of all sendings and the time-out, if one comes.
    fn run(&mut self, ms: u64) -> (Vec<u64>, Option<TimeOut>) {
        let mut times = Vec::new();
        while let Some(at) = self.transactions.deadline().filter(|at| *at <= self.at(ms)) {
            let expired = self.transactions.expire(at, &mut self.wire);
            let elapsed = (at - self.start).as_millis() as u64;
            times.extend(std::iter::repeat_n(elapsed, self.wire.sent().len()));
            if let Some(expired) = expired {
                return (times, Some((elapsed, expired)));
            }
        }
        (times, None)
    }
}

/// When a transaction timed out, and which.
type TimeOut = (u64, Expired<&'static str, ServerKey>);

fn flow(protocol: Protocol) -> Flow {
    Flow {
        protocol,
        local: "192.0.2.1:5060".parse().unwrap(),
        remote: "192.0.2.9:5060".parse().unwrap(),
        connection: None,
        tls: crate::TlsPeer::ANY,
    }
}

/// Timers A and B.
#[test]
fn rfc3261_17_1_1_2_an_unanswered_invite_is_repeated_and_given_up() {
    let mut world = World::new();
    let (key, _) = world.request(Method::Invite, Protocol::Udp);
    assert_eq!(world.wire.sent(), ["INVITE sip:b@h SIP/2.0"]);
    let (times, end) = world.run(60_000);
    assert_eq!(times, [500, 1500, 3500, 7500, 15_500, 31_500]);
    assert_eq!(end, Some((32_000, Expired::Client(key, "owner"))));
    assert!(world.transactions.is_empty());
}

/// Timers E and F.
#[test]
fn rfc3261_17_1_2_2_an_unanswered_bye_is_repeated_and_given_up() {
    let mut world = World::new();
    let (key, _) = world.request(Method::Bye, Protocol::Udp);
    world.wire.sent();
    let (times, end) = world.run(60_000);
    assert_eq!(
        times,
        [
            500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500
        ]
    );
    assert_eq!(end, Some((32_000, Expired::Client(key, "owner"))));
}

/// RFC 3261 §17.1.1.2, §17.1.2.2.
#[test]
fn a_reliable_transport_repeats_nothing() {
    let mut world = World::new();
    world.request(Method::Invite, Protocol::Tcp);
    world.wire.sent();
    let (times, end) = world.run(60_000);
    assert!(times.is_empty());
    assert!(end.is_some());
}

/// Timer D.
#[test]
fn rfc3261_17_1_1_3_a_refusal_is_acknowledged_as_often_as_it_comes() {
    let mut world = World::new();
    let (key, branch) = world.request(Method::Invite, Protocol::Udp);
    world.wire.sent();
    assert_eq!(world.answer(100, branch, 180, "INVITE"), Some(key));
    assert_eq!(world.answer(200, branch, 486, "INVITE"), Some(key));
    assert_eq!(world.wire.sent(), ["ACK sip:b@h SIP/2.0"]);
    assert_eq!(world.answer(700, branch, 486, "INVITE"), None);
    assert_eq!(world.wire.sent(), ["ACK sip:b@h SIP/2.0"]);
    assert_eq!(world.run(60_000), (vec![], None));
    assert!(world.transactions.is_empty());
}

#[test]
fn rfc6026_7_2_repeated_2xx_go_up() {
    let mut world = World::new();
    let (key, branch) = world.request(Method::Invite, Protocol::Udp);
    assert_eq!(world.answer(100, branch, 200, "INVITE"), Some(key));
    assert_eq!(world.answer(600, branch, 200, "INVITE"), Some(key));
    assert_eq!(world.answer(700, branch, 486, "INVITE"), None);
}

#[test]
fn rfc3261_9_1_cancel_waits_for_a_provisional_answer() {
    let mut world = World::new();
    let (key, branch) = world.request(Method::Invite, Protocol::Udp);
    world.wire.sent();
    let now = world.at(50);
    world
        .transactions
        .cancel(now, key, Some("SIP;cause=200"), &mut world.wire);
    assert!(world.wire.sent().is_empty());
    world.answer(100, branch, 100, "INVITE");
    assert!(
        world.wire.0[0].contains("Reason: SIP;cause=200"),
        "{:?}",
        world.wire.0
    );
    assert_eq!(world.wire.sent(), ["CANCEL sip:b@h SIP/2.0"]);
    assert_eq!(world.answer(120, branch, 200, "CANCEL"), None);
    assert_eq!(world.answer(130, branch, 180, "INVITE"), Some(key));
    let (_, end) = world.run(60_000);
    assert_eq!(end, Some((32_100, Expired::Client(key, "owner"))));
}

#[test]
fn repeated_requests_are_answered_again() {
    let mut world = World::new();
    let Received::New(key) = world.receive(0, "BYE", "z9hG4bKx") else {
        panic!()
    };
    assert_eq!(world.receive(10, "BYE", "z9hG4bKx"), Received::Absorbed);
    assert!(world.wire.sent().is_empty());
    world.respond(20, key, 200);
    assert_eq!(world.receive(30, "BYE", "z9hG4bKx"), Received::Absorbed);
    assert_eq!(world.wire.sent(), ["SIP/2.0 200 Y", "SIP/2.0 200 Y"]);
    assert_ne!(world.receive(40, "BYE", "z9hG4bKy"), Received::Absorbed);
}

/// RFC 3261 §17.2.3: without the magic cookie.
#[test]
fn rfc3261_17_2_3_old_peers_match_too() {
    let mut world = World::new();
    assert!(matches!(world.receive(0, "INVITE", "1"), Received::New(_)));
    assert_eq!(world.receive(10, "INVITE", "1"), Received::Absorbed);
    assert!(matches!(world.receive(20, "INVITE", "2"), Received::New(_)));
}

/// Timers G, H and I.
#[test]
fn rfc3261_17_2_1_a_refusal_is_repeated_until_its_ack() {
    let mut world = World::new();
    let Received::New(key) = world.receive(0, "INVITE", "z9hG4bKi") else {
        panic!()
    };
    world.respond(0, key, 486);
    world.wire.sent();
    assert_eq!(world.run(2000).0, [500, 1500]);
    assert_eq!(world.receive(2000, "ACK", "z9hG4bKi"), Received::Absorbed);
    assert_eq!(world.run(60_000), (vec![], None));
    assert!(world.transactions.is_empty());
}

#[test]
fn rfc3261_13_3_1_4_a_2xx_is_repeated_until_acknowledged() {
    let mut world = World::new();
    let Received::New(key) = world.receive(0, "INVITE", "z9hG4bKj") else {
        panic!()
    };
    world.respond(0, key, 200);
    world.wire.sent();
    assert_eq!(world.run(8000).0, [500, 1500, 3500, 7500]);
    let now = world.at(8000);
    assert!(matches!(
        world.receive(8000, "ACK", "z9hG4bKother"),
        Received::New(_)
    ));
    world.transactions.acknowledge(now, key);
    assert_eq!(world.run(60_000), (vec![], None));
    assert!(world.transactions.is_empty());
}

/// RFC 3261 §13.3.1.4.
#[test]
fn a_2xx_without_ack_expires() {
    let mut world = World::new();
    let Received::New(key) = world.receive(0, "INVITE", "z9hG4bKj") else {
        panic!()
    };
    world.transactions.keep(key, key);
    world.respond(0, key, 200);
    assert_eq!(world.run(60_000).1, Some((32_000, Expired::Accepted(key))));
}

#[test]
fn rfc3262_3_reliable_provisional_answers() {
    let mut world = World::new();
    let Received::New(key) = world.receive(0, "INVITE", "z9hG4bKk") else {
        panic!()
    };
    let now = world.at(0);
    world
        .transactions
        .respond_reliably(now, key, b"SIP/2.0 180 R\r\n\r\n", &mut world.wire);
    world.wire.sent();
    assert_eq!(world.run(4000).0, [500, 1500, 3500]);
    world.transactions.acknowledge_provisional(key);
    assert_eq!(world.run(20_000), (vec![], None));
    world.respond(20_000, key, 200);
    assert_eq!(world.wire.sent(), ["SIP/2.0 200 Y"]);
}

#[test]
fn a_broken_connection_ends_what_waits_for_its_first_answer() {
    let mut world = World::new();
    let (key, _) = world.request(Method::Invite, Protocol::Tcp);
    assert_eq!(
        world.transactions.unreachable(&flow(Protocol::Tcp)),
        [(key, "owner")]
    );
    assert!(world.transactions.is_empty());
}

impl World {
    /// An INVITE with so many octets of header section, over UDP unless it is too long.
    fn long_invite(&mut self, padding: usize) -> (ClientKey, Token) {
        let branch = self.mint.token();
        let mut bytes = Vec::new();
        let mut writer = Writer::request(&mut bytes, Method::Invite, "sip:b@h");
        writer
            .header(
                HeaderName::Via,
                format_args!("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{branch}"),
            )
            .header(HeaderName::Subject, "x".repeat(padding));
        writer.finish();
        let key = self.transactions.request_by_length(
            self.start,
            flow(Protocol::Udp),
            Method::Invite,
            branch,
            &bytes,
            "owner",
            &mut self.wire,
        );
        (key, branch)
    }

    /// By which transport messages left since the last call, and what their Via says of it.
    fn ways(&mut self) -> Vec<(Protocol, String)> {
        let texts = self.wire.0.drain(..);
        let vias = texts.map(|text| text.split_once("Via: ").unwrap().1[..11].to_owned());
        self.wire.1.drain(..).zip(vias).collect()
    }

    fn expire(&mut self, ms: u64) {
        let now = self.at(ms);
        assert!(self.transactions.expire(now, &mut self.wire).is_none());
    }
}

fn over(protocol: Protocol) -> (Protocol, String) {
    (protocol, format!("SIP/2.0/{}", protocol.via_name()))
}

#[test]
fn rfc3261_18_1_1_a_request_that_is_too_long_goes_over_a_stream() {
    let mut world = World::new();
    world.long_invite(1000);
    assert_eq!(world.ways(), [over(Protocol::Udp)]);
    let (key, branch) = world.long_invite(1300);
    assert_eq!(world.ways(), [over(Protocol::Tcp)]);
    assert_eq!(world.answer(100, branch, 180, "INVITE"), Some(key));
    // The first one is repeated, the second is not.
    for ms in [500, 1500, 3500] {
        world.expire(ms);
        assert_eq!(world.ways(), [over(Protocol::Udp)], "{ms}");
    }
}

#[test]
fn rfc3261_18_1_1_it_falls_back_to_a_datagram_where_no_stream_can_be_made() {
    let mut world = World::new();
    let (key, branch) = world.long_invite(1300);
    world.ways();
    let broken = flow(Protocol::Tcp);
    assert!(world.transactions.unreachable(&broken).is_empty());
    let due = world.transactions.deadline();
    assert!(due.is_some_and(|due| due <= world.at(0)));
    world.expire(10);
    assert_eq!(world.ways(), [over(Protocol::Udp)]);
    world.expire(510);
    assert_eq!(
        world.ways(),
        [over(Protocol::Udp)],
        "repeated like any other"
    );
    assert_eq!(world.answer(600, branch, 100, "INVITE"), Some(key));
    // The peer is remembered.
    world.long_invite(1300);
    assert_eq!(world.ways(), [over(Protocol::Udp)]);
    // And if the datagram does not arrive either, that is the end.
    assert_eq!(
        world.transactions.unreachable(&flow(Protocol::Udp)).len(),
        1
    );
}

#[test]
fn rfc3261_18_1_1_a_stream_that_stays_silent_is_not_waited_for_long() {
    let mut world = World::new();
    world.long_invite(1300);
    world.ways();
    world.expire(1999);
    assert_eq!(world.ways(), []);
    world.expire(2000);
    assert_eq!(world.ways(), [over(Protocol::Udp)]);
}
