//! What strangers are let have, through a running engine.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::io::Read;
use std::net::{SocketAddr, UdpSocket};

use common::tls::{Authority, Stream, ask, client_config, connect};
use common::{Rig, Seen, peer, receive, request};
use engine::tls::ClientCertificates;
use engine::{Config, Counter, Limits, Services, Tls};
use rustls::version::TLS13;

/// Long after this many requests at once nothing is left of what a stranger may have here.
const FLOOD: u32 = 60;

fn rig(trusted: Option<SocketAddr>) -> Rig {
    let limits = Limits {
        strangers: 1,
        ..Limits::default()
    };
    let services = Services {
        trusts: Box::new(move |flow| Some(flow.remote) == trusted),
        ..Services::none()
    };
    Rig::with(&["udp:127.0.0.1:0"], 2, limits, services)
}

fn ask_from(socket: &UdpSocket, rig: &Rig, number: u32) -> String {
    let text = request("OPTIONS", &format!("call-{number}"), number);
    socket.send_to(text.as_bytes(), rig.address(0)).unwrap();
    receive(socket).0
}

fn flood(socket: &UdpSocket, rig: &Rig) -> Vec<String> {
    let numbers = 1..=FLOOD;
    numbers
        .map(|number| ask_from(socket, rig, number))
        .collect()
}

/// RFC 3261 §21.5.4.
#[test]
fn rfc3261_21_5_4_a_stranger_who_asks_too_much_is_told_when_to_come_back() {
    let rig = rig(None);
    let answers = flood(&peer("127.0.0.1:0"), &rig);
    assert!(answers[0].starts_with("SIP/2.0 200 "));
    let busy = |answer: &&String| answer.starts_with("SIP/2.0 503 ");
    let refused = answers.iter().filter(busy).count();
    assert!(refused > 0 && rig.count(Counter::Limited) == refused as u64);
    let answer = answers.iter().find(busy).unwrap();
    assert!(answer.contains("\r\nRetry-After: 5\r\n"), "{answer}");
    // Another address has as much as the first.
    let other = ask_from(&peer("127.0.0.2:0"), &rig, 1);
    assert!(other.starts_with("SIP/2.0 200 "));
}

#[test]
fn who_has_proved_who_it_is_is_no_stranger() {
    let rig = rig(None);
    let phone = peer("127.0.0.1:0");
    let proof = request("PROVE", "proof", 1);
    phone.send_to(proof.as_bytes(), rig.address(0)).unwrap();
    rig.report_that(|report| matches!(report.seen, Seen::Message { .. }));
    // From the same address, whose share is used up afterwards.
    flood(&peer("127.0.0.1:0"), &rig);
    let answers = flood(&phone, &rig);
    assert!(
        answers
            .iter()
            .all(|answer| answer.starts_with("SIP/2.0 200 "))
    );
}

#[test]
fn who_proved_it_in_another_life_and_who_is_trusted_is_no_stranger() {
    let (phone, trunk) = (peer("127.0.0.1:0"), peer("127.0.0.1:0"));
    let rig = rig(trunk.local_addr().ok());
    let flow = common::flow(
        sip::Protocol::Udp,
        rig.address(0),
        phone.local_addr().unwrap(),
    );
    rig.engine.handle().vouch(&flow);
    let answers = [flood(&trunk, &rig), flood(&phone, &rig)].concat();
    assert!(
        answers
            .iter()
            .all(|answer| answer.starts_with("SIP/2.0 200 "))
    );
}

fn secure(limits: Limits) -> Rig {
    let authority = Authority::new();
    let ours = authority.issue(&["pbx.test"]).identity();
    let tls = Tls::new(&ours, &ClientCertificates::Off, Vec::new()).unwrap();
    let config = Config {
        tls: Some(tls),
        limits,
        ..Config::new(vec![common::parse_listen("tls:127.0.0.1:0")])
    };
    Rig::of(config, 1, Services::none())
}

fn shake_hands(rig: &Rig) -> Stream {
    connect(rig.address(0), &client_config(&TLS13, None))
}

#[test]
fn too_many_handshakes_of_one_address_end_before_they_begin() {
    let rig = secure(Limits {
        handshakes_per_peer: 1,
        ..Limits::default()
    });
    let mut phone = shake_hands(&rig);
    ask(&mut phone, &request("OPTIONS", "call", 1));
    let refused = (0..FLOOD).find_map(|_| {
        let mut stranger = shake_hands(&rig);
        // What is closed in the middle of a handshake is an error to the client.
        stranger.conn.complete_io(&mut stranger.sock).err()?;
        let mut rest = Vec::new();
        Some(stranger.sock.read_to_end(&mut rest).unwrap_or(0))
    });
    assert_eq!(refused, Some(0), "nothing is said to who is refused");
    assert!(rig.count(Counter::ConnectionsRefused) > 0);
    assert!(ask(&mut phone, &request("OPTIONS", "call", 2)).starts_with("SIP/2.0 200 "));
}

#[test]
fn too_many_handshakes_of_all_wait_their_turn() {
    let rig = secure(Limits {
        handshakes: 10,
        handshakes_per_peer: 0,
        ..Limits::default()
    });
    for number in 1..=25 {
        let mut phone = shake_hands(&rig);
        let answer = ask(&mut phone, &request("OPTIONS", "call", number));
        assert!(answer.starts_with("SIP/2.0 200 "));
    }
    assert_eq!(rig.count(Counter::ConnectionsRefused), 0);
}
