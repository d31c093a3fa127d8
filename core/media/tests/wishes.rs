//! What signalling may want of a party's leg beside its address.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod common;

use std::net::{SocketAddr, UdpSocket};

use codec::{Codec, Parameters};
use common::{Call, PATIENCE, Phone, V4, World, is_quiet, receive, rtp_packet};
use media::{Command, Config, Event, Latching, Payload, PayloadKind, Remote, Side};
use rtp::HEADER_LEN;

fn world() -> World {
    World::new(Config {
        ports: 16_384..=23_999,
        ..Config::default()
    })
}

/// A call whose caller is dealt with as `change` says.
fn call(world: &mut World, change: impl Fn(&mut Remote)) -> (Call, [Phone; 2]) {
    let phones = [1, 2].map(|ssrc| Phone::new(V4, ssrc));
    let call = world.allocate([Some(V4); 2], 1).unwrap();
    for (side, phone) in [Side::Caller, Side::Callee].into_iter().zip(&phones) {
        let mut remote = phone.remote();
        if side == Side::Caller {
            change(&mut remote);
        }
        world.connect(&call, side, 0, Some(remote));
    }
    world.settle();
    (call, phones)
}

/// Packets of a stream from a socket of its own.
fn speak(from: &UdpSocket, to: SocketAddr, ssrc: u32, numbers: std::ops::Range<u16>) {
    for n in numbers {
        let packet = rtp_packet(ssrc, n, u32::from(n) * 160, n as u8);
        from.send_to(&packet, to).unwrap();
    }
}

fn elsewhere() -> UdpSocket {
    let socket = UdpSocket::bind((V4, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[test]
fn who_sends_from_elsewhere_is_answered_where_he_said() {
    let mut world = world();
    let (call, [caller, mut callee]) = call(&mut world, |r| r.latching = Latching::Asymmetric);
    let other = elsewhere();
    speak(&other, call.rtp(Side::Caller, 0), 7, 0..5);
    assert_eq!(
        receive(&callee.rtp).0[HEADER_LEN],
        3,
        "after three on probation"
    );
    receive(&callee.rtp);
    let sent = callee.send(call.rtp(Side::Callee, 0), 9);
    assert_eq!(receive(&caller.rtp).0, sent);
    assert!(is_quiet(&other));
}

#[test]
fn nobody_else_is_heard_where_that_is_said() {
    let mut world = world();
    let (call, [mut caller, mut callee]) = call(&mut world, |r| r.latching = Latching::Signalled);
    let other = elsewhere();
    speak(&other, call.rtp(Side::Caller, 0), 7, 0..9);
    let sent = caller.send(call.rtp(Side::Caller, 0), 1);
    assert_eq!(receive(&callee.rtp).0, sent, "and nothing before");
    let sent = callee.send(call.rtp(Side::Callee, 0), 9);
    assert_eq!(receive(&caller.rtp).0, sent);
    assert_eq!(world.close(&call)[0].rejected, 9);
}

#[test]
fn a_new_source_takes_over_where_that_is_said() {
    for (latching, moves) in [(Latching::Handover, true), (Latching::Learn, false)] {
        let mut world = world();
        let (call, [mut caller, mut callee]) = call(&mut world, |r| r.latching = latching);
        caller.send(call.rtp(Side::Caller, 0), 1);
        receive(&callee.rtp);
        let other = elsewhere();
        speak(&other, call.rtp(Side::Caller, 0), 7, 0..5);
        if moves {
            assert_eq!(
                receive(&callee.rtp).0[HEADER_LEN],
                3,
                "the last on probation"
            );
        }
        let sent = callee.send(call.rtp(Side::Callee, 0), 9);
        let heard = if moves { &other } else { &caller.rtp };
        assert_eq!(receive(heard).0, sent, "{latching:?}");
    }
}

fn payload(number: u8, kind: PayloadKind) -> Payload {
    Payload {
        number,
        kind,
        ptime: 20,
    }
}

#[test]
fn rfc4733_digits_of_one_side_are_blocked_and_told() {
    let mut world = world();
    let event = || payload(101, PayloadKind::TelephoneEvent { clock: 8000 });
    let (call, [caller, callee]) = call(&mut world, |remote| remote.described = vec![event()]);
    let block = |blocked| Command::BlockDigits {
        session: call.session,
        stream: 0,
        side: Side::Caller,
        blocked,
    };
    let press = |sequence: u16| {
        // Key 5, the end of the event, after 100 ms.
        let mut packet = rtp_packet(1, sequence, u32::from(sequence) * 160, 0);
        packet.truncate(HEADER_LEN + 4);
        packet[1] = 101;
        packet[HEADER_LEN..].copy_from_slice(&[5, 0x8a, 0x03, 0x20]);
        caller
            .rtp
            .send_to(&packet, call.rtp(Side::Caller, 0))
            .unwrap();
    };
    world.submit(block(true));
    world.settle();
    press(1);
    speak(&caller.rtp, call.rtp(Side::Caller, 0), 1, 2..3);
    assert_eq!(
        receive(&callee.rtp).0[1],
        0,
        "sound passes, the key does not"
    );
    let told = world.event(|event| match event {
        Event::Digit { side, digit, .. } => Some((*side, digit.char())),
        _ => None,
    });
    assert_eq!(told, (Side::Caller, '5'));
    world.submit(block(false));
    world.settle();
    press(3);
    assert_eq!(receive(&callee.rtp).0[1], 101);
}

#[test]
fn rfc4566_6_packets_are_made_as_long_as_is_said() {
    let mut world = world();
    let phones = [1, 2].map(|ssrc| Phone::new(V4, ssrc));
    let call = world.allocate([Some(V4); 2], 1).unwrap();
    let law = || payload(0, PayloadKind::Codec(Codec::Pcmu, Parameters::default()));
    for (side, phone) in [Side::Caller, Side::Callee].into_iter().zip(&phones) {
        let mut remote = phone.remote();
        remote.payloads = vec![law()];
        remote.ptime = (side == Side::Callee).then_some(40);
        world.connect(&call, side, 0, Some(remote));
    }
    world.settle();
    let [caller, callee] = phones;
    speak(&caller.rtp, call.rtp(Side::Caller, 0), 1, 0..6);
    for _ in 0..2 {
        assert_eq!(receive(&callee.rtp).0.len(), HEADER_LEN + 320);
    }
    speak(&callee.rtp, call.rtp(Side::Callee, 0), 2, 0..1);
    assert_eq!(
        receive(&caller.rtp).0.len(),
        HEADER_LEN + 160,
        "as they come"
    );
}
