//! Many legs at one port.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod common;

use std::net::SocketAddr;

use common::{Call, Phone, V4, V6, World, free_ports, is_quiet, receive};
use ice::Credentials;
use ice::stun::attribute::{PRIORITY, USE_CANDIDATE, USERNAME};
use ice::stun::{BINDING, Class, Key, Writer};
use media::{Config, Refusal, Remote, Side};

const CALLER: Side = Side::Caller;
const CALLEE: Side = Side::Callee;

/// A plane whose calls share so many ports.
fn world(ports: u16, workers: usize) -> World {
    let free = free_ports(ports.div_ceil(2));
    let first = *free.start();
    World::new(Config {
        ports: first..=first + ports - 1,
        shared: true,
        workers,
        ..Config::default()
    })
}

/// Two phones and their call.
fn couple(world: &mut World, host: &str, ssrc: u32) -> (Call, [Phone; 2]) {
    let phones = [Phone::new(host, ssrc), Phone::new(host, ssrc + 1)];
    let call = world.call(&phones[0], &phones[1]);
    (call, phones)
}

/// Each hears the other, from where he sends to.
fn talk(call: &Call, [caller, callee]: &mut [Phone; 2], fill: u8) {
    let sent = caller.send(call.rtp(CALLER, 0), fill);
    assert_eq!(receive(&callee.rtp), (sent, call.rtp(CALLEE, 0)));
    let sent = callee.send(call.rtp(CALLEE, 0), fill);
    assert_eq!(receive(&caller.rtp), (sent, call.rtp(CALLER, 0)));
}

#[test]
fn one_port_serves_all_calls() {
    let mut world = world(1, 4);
    let calls: Vec<_> = (0..20).map(|n| couple(&mut world, V4, 2 * n)).collect();
    let mut ports: Vec<_> = calls.iter().map(|c| c.0.streams[0].rtp).collect();
    ports.dedup();
    assert_eq!(ports.len(), 1);
    assert_eq!(ports[0][0], ports[0][1]);
    let mut calls = calls;
    for round in 0..5 {
        for (call, phones) in &mut calls {
            talk(call, phones, round);
        }
    }
    for (call, _) in &calls {
        let stats = world.close(call);
        assert_eq!(stats.map(|side| (side.packets, side.rejected)), [(5, 0); 2]);
    }
}

#[test]
fn every_worker_has_its_share_of_the_ports() {
    let mut world = world(2, 2);
    let calls: Vec<_> = (0..30).map(|n| couple(&mut world, V6, 2 * n)).collect();
    let mut ports: Vec<_> = calls.iter().flat_map(|c| c.0.streams[0].rtp).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 2);
    for (call, mut phones) in calls {
        talk(&call, &mut phones, 3);
    }
}

#[test]
fn rfc3605_2_1_rtcp_comes_to_the_same_port() {
    let mut world = world(1, 1);
    let (first, [caller, callee]) = couple(&mut world, V4, 1);
    let (_second, others) = couple(&mut world, V4, 3);
    let port = first.rtp(CALLER, 0);
    caller.rtcp.send_to(&caller.report(), port).unwrap();
    assert_eq!(receive(&callee.rtcp), (caller.report(), port));
    assert!(is_quiet(&callee.rtp) && others.iter().all(|phone| is_quiet(&phone.rtcp)));
}

/// Where a phone is said to be that is behind a NAT.
fn private(number: u8) -> Remote {
    let at = |port: u16| SocketAddr::from(([192, 168, 7, number], port));
    Remote::plain(at(4000), at(4001))
}

#[test]
fn phones_behind_nats_are_learnt_one_after_the_other() {
    let mut world = world(1, 1);
    for number in 0..5 {
        let mut phones = [1, 2].map(|n| Phone::new(V4, 10 * u32::from(number) + n));
        let call = world.allocate([Some(V4); 2], 1).unwrap();
        // The callee is where it says, so that the caller is the only one to be learnt once the callee
        // has been heard.
        world.connect(&call, CALLEE, 0, Some(phones[1].remote()));
        world.settle();
        phones[1].send(call.rtp(CALLEE, 0), 0);
        world.connect(&call, CALLER, 0, Some(private(number)));
        (0..5).for_each(|_| world.settle());
        (0..3).for_each(|_| _ = phones[0].send(call.rtp(CALLER, 0), 0));
        // The fourth packet ends the probation.
        let sent = phones[0].send(call.rtp(CALLER, 0), 1);
        assert_eq!(receive(&phones[1].rtp).0, sent);
        talk(&call, &mut phones, 2);
    }
}

#[test]
fn calls_that_begin_at_the_same_moment_get_ports_of_their_own() {
    let mut world = world(4, 1);
    let mut calls = Vec::new();
    for number in 0..4 {
        let phone = Phone::new(V4, u32::from(number));
        let call = world.allocate([Some(V4), None], 1).unwrap();
        world.connect(&call, CALLER, 0, Some(private(number)));
        calls.push((call, phone));
    }
    let mut ports: Vec<_> = calls.iter().map(|(call, _)| call.rtp(CALLER, 0)).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 4);
    world.settle();
    for (call, phone) in &mut calls {
        (0..4).for_each(|_| _ = phone.send(call.rtp(CALLER, 0), 0));
    }
    (0..5).for_each(|_| world.settle());
    for (call, _) in &calls {
        assert_eq!(world.close(call)[0].packets, 1);
    }
}

#[test]
fn two_phones_behind_nats_are_told_apart_by_where_they_signal_from() {
    let mut world = world(1, 1);
    let call = world.allocate([Some(V4); 2], 1).unwrap();
    let hosts = ["127.0.0.2", "127.0.0.3"];
    let mut phones = hosts.map(|host| Phone::new(host, 5));
    phones[1].ssrc = 6;
    for (side, host) in [(CALLER, hosts[0]), (CALLEE, hosts[1])] {
        let mut remote = private(side.index() as u8);
        remote.host = host.parse().ok();
        world.connect(&call, side, 0, Some(remote));
    }
    world.settle();
    for phone in &mut phones {
        (0..4).for_each(|_| _ = phone.send(call.rtp(CALLER, 0), 0));
    }
    // What the second sent after its probation has reached the first.
    receive(&phones[0].rtp);
    talk(&call, &mut phones, 1);
}

#[test]
fn a_stranger_is_nobody_s_where_two_wait() {
    let mut world = world(1, 1);
    let calls = [1, 2].map(|number| {
        let call = world.allocate([Some(V4), None], 1).unwrap();
        world.connect(&call, CALLER, 0, Some(private(number)));
        call
    });
    world.settle();
    let mut phone = Phone::new(V4, 7);
    (0..20).for_each(|_| _ = phone.send(calls[0].rtp(CALLER, 0), 0));
    (0..5).for_each(|_| world.settle());
    for call in calls {
        assert_eq!(world.close(&call)[0].packets, 0);
    }
}

#[test]
fn a_phone_whose_nat_forgot_it_goes_on() {
    let mut world = world(1, 1);
    let (call, mut phones) = couple(&mut world, V4, 1);
    let (_, mut others) = couple(&mut world, V4, 5);
    talk(&call, &mut phones, 1);
    let moved = Phone::new(V4, 1);
    let deadline = std::time::Instant::now() + common::PATIENCE;
    // Silent for a while, as the latch demands; the others talk on.
    loop {
        let packet = phones[0].packet(9);
        moved.rtp.send_to(&packet, call.rtp(CALLER, 0)).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        others[0].send(call.rtp(CALLER, 0), 2);
        receive(&others[1].rtp);
        if !is_quiet(&phones[1].rtp) {
            break;
        }
        assert!(std::time::Instant::now() < deadline);
    }
    phones[1].rtp.set_nonblocking(true).unwrap();
    while phones[1].rtp.recv_from(&mut [0; 512]).is_ok() {}
    phones[1].rtp.set_nonblocking(false).unwrap();
    let sent = phones[1].send(call.rtp(CALLEE, 0), 3);
    assert_eq!(receive(&moved.rtp).0, sent);
}

#[test]
fn calls_of_one_address_are_told_apart_by_their_ssrc() {
    let mut world = world(1, 1);
    // A server that shares a port itself: both calls come from it.
    let mut server = Phone::new(V4, 1);
    let mut phones = [Phone::new(V4, 11), Phone::new(V4, 12)];
    let calls = [0, 1].map(|n: usize| {
        let call = world.call(&server, &phones[n]);
        server.ssrc = 100 + n as u32;
        let sent = server.send(call.rtp(CALLER, 0), 1);
        assert_eq!(receive(&phones[n].rtp).0, sent);
        call
    });
    for round in 0..6 {
        let n = round % 2;
        server.ssrc = 100 + n as u32;
        let sent = server.send(calls[n].rtp(CALLER, 0), 2);
        assert_eq!(receive(&phones[n].rtp).0, sent);
        assert!(is_quiet(&phones[1 - n].rtp));
        let sent = phones[n].send(calls[n].rtp(CALLEE, 0), 3);
        assert_eq!(receive(&server.rtp).0, sent);
    }
}

/// A check of a party that has read our credentials, which nominates.
fn check(ours: &Credentials) -> Vec<u8> {
    let mut octets = Vec::new();
    let id = ice::stun::TransactionId([7; 12]);
    let mut request = Writer::new(&mut octets, Class::Request, BINDING, id);
    request
        .put(USERNAME, [ours.ufrag(), ":them"].concat().as_bytes())
        .number(PRIORITY, 1)
        .put(USE_CANDIDATE, &[]);
    let key = Key::short_term(ours.password());
    request.sign(&key).fingerprint();
    octets
}

#[test]
fn rfc8445_7_2_2_checks_name_the_call_that_they_are_for() {
    let mut world = world(1, 1);
    let hidden = || Remote::plain("0.0.0.0:9".parse().unwrap(), "0.0.0.0:9".parse().unwrap());
    let mut calls = Vec::new();
    for number in 1..4_u8 {
        let phones = [1, 2].map(|n| Phone::new(V4, 10 * u32::from(number) + n));
        let call = world.allocate([Some(V4); 2], 1).unwrap();
        let ours = Credentials::mint(number.into(), [number; 24]);
        let mut remote = hidden();
        (remote.ice, remote.mux) = (Some(media::Ice::lite(ours.clone())), true);
        world.connect(&call, CALLER, 0, Some(remote));
        world.connect(&call, CALLEE, 0, Some(phones[1].remote()));
        calls.push((call, phones, ours));
    }
    world.settle();
    for (call, phones, ours) in &mut calls {
        let port = call.rtp(CALLER, 0);
        let wrong = Credentials::parse(ours.ufrag(), "apasswordthatisnotours").unwrap();
        for credentials in [&wrong, &*ours] {
            phones[0].rtp.send_to(&check(credentials), port).unwrap();
            receive(&phones[0].rtp);
        }
        talk(call, phones, 1);
    }
    // One of them moves.
    let (call, phones, ours) = &mut calls[1];
    phones[0].rtp = Phone::new(V4, 0).rtp;
    let check = check(ours);
    phones[0].rtp.send_to(&check, call.rtp(CALLER, 0)).unwrap();
    receive(&phones[0].rtp);
    talk(call, phones, 2);
}

#[test]
fn what_is_over_is_forgotten() {
    let mut world = world(1, 1);
    let (call, mut phones) = couple(&mut world, V4, 1);
    talk(&call, &mut phones, 1);
    world.close(&call);
    phones[0].send(call.rtp(CALLER, 0), 2);
    let (next, mut others) = couple(&mut world, V4, 1);
    phones[0].send(call.rtp(CALLER, 0), 2);
    talk(&next, &mut others, 3);
    assert!(phones.iter().all(|phone| is_quiet(&phone.rtp)));
    assert_eq!(world.close(&next)[0].packets, 1);
}

#[test]
fn an_address_that_is_not_ours_is_refused() {
    let mut world = world(1, 1);
    let refused = world.allocate([Some("192.0.2.77"), None], 1);
    assert_eq!(refused.unwrap_err(), Refusal::BadAddress);
}
