//! Relayed calls over loopback sockets.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod common;

use common::{Phone, V4, V6, World, receive};
use media::{Config, Side};

fn world(first: u16) -> World {
    World::new(Config {
        ports: first..=first + 99,
        ..Config::default()
    })
}

/// Sends a packet each way and checks that it arrives as it was, from the right port.
fn talk(call: &common::Call, caller: &mut Phone, callee: &mut Phone) {
    let sent = caller.send(call.rtp(Side::Caller, 0), 1);
    assert_eq!(receive(&callee.rtp), (sent, call.rtp(Side::Callee, 0)));
    let sent = callee.send(call.rtp(Side::Callee, 0), 2);
    assert_eq!(receive(&caller.rtp), (sent, call.rtp(Side::Caller, 0)));
}

fn relays_between(hosts: [&str; 2], ports: u16) {
    let mut world = world(ports);
    let [mut caller, mut callee] = [Phone::new(hosts[0], 1), Phone::new(hosts[1], 2)];
    let call = world.call(&caller, &callee);
    for _ in 0..50 {
        talk(&call, &mut caller, &mut callee);
    }
    caller
        .rtcp
        .send_to(&caller.report(), call.rtcp(Side::Caller, 0))
        .unwrap();
    assert_eq!(
        receive(&callee.rtcp),
        (caller.report(), call.rtcp(Side::Callee, 0))
    );
    callee
        .rtcp
        .send_to(&callee.report(), call.rtcp(Side::Callee, 0))
        .unwrap();
    assert_eq!(
        receive(&caller.rtcp),
        (callee.report(), call.rtcp(Side::Caller, 0))
    );

    let stats = world.close(&call);
    for side in stats {
        assert_eq!(
            (side.packets, side.octets, side.lost, side.rejected),
            (50, 50 * 172, 0, 0)
        );
    }
}

#[test]
fn relays_v4() {
    relays_between([V4, V4], 42_000);
}

#[test]
fn relays_v6() {
    relays_between([V6, V6], 42_100);
}

#[test]
fn relays_between_v4_and_v6() {
    relays_between([V4, V6], 42_200);
}
