//! Ports, time-outs and queues at their limits.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod common;

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use base::Slot;
use common::{Phone, V4, V6, World, free_ports, receive};
use media::{
    Codec, Command, Config, Event, Format, Plane, Refusal, SessionId, Side, SideStats, Source,
};

fn config(pairs: u16) -> Config {
    Config {
        ports: free_ports(pairs),
        ..Config::default()
    }
}

#[test]
fn ports_run_out_and_come_back() {
    for idle_pairs in [0, 3, 100] {
        let config = Config {
            idle_pairs,
            ..config(6)
        };
        let ports = config.ports.clone();
        let mut world = World::new(config);
        for _ in 0..4 {
            let calls: Vec<_> = (0..3)
                .map(|_| world.allocate([Some(V4); 2], 1).unwrap())
                .collect();
            let mut used: Vec<_> = calls.iter().flat_map(|call| call.streams[0].rtp).collect();
            used.sort_unstable();
            let even: Vec<_> = ports.clone().step_by(2).collect();
            assert_eq!(used, even);
            assert_eq!(
                world.allocate([Some(V4), None], 1).unwrap_err(),
                Refusal::NoPorts
            );
            // A session that wants more and cannot have it keeps what it has.
            assert_eq!(world.again(&calls[0], 2).unwrap_err(), Refusal::NoPorts);
            assert_eq!(world.again(&calls[0], 1).unwrap().streams, calls[0].streams);
            // Another address has its own ports.
            let other = world.allocate([Some(V6); 2], 3).unwrap();
            world.close(&other);
            calls.iter().for_each(|call| _ = world.close(call));
        }
    }
}

#[test]
fn a_refused_session_gives_back_what_it_got_first() {
    let mut world = World::new(config(3));
    assert_eq!(
        world.allocate([Some(V4); 2], 2).unwrap_err(),
        Refusal::NoPorts
    );
    let call = world.allocate([Some(V4), None], 3).unwrap();
    assert!(call.streams.iter().all(|s| s.rtp[0] != 0 && s.rtp[1] == 0));
}

#[test]
fn ports_of_other_processes_are_passed_over() {
    let config = config(4);
    let first = *config.ports.start();
    let taken = [first, first + 3].map(|port| UdpSocket::bind((V4, port)).unwrap());
    let mut world = World::new(config);
    let call = world.allocate([Some(V4); 2], 1).unwrap();
    let mut ports = call.streams[0].rtp;
    ports.sort_unstable();
    assert_eq!(ports, [first + 4, first + 6]);
    assert_eq!(
        world.allocate([Some(V4), None], 1).unwrap_err(),
        Refusal::NoPorts
    );
    drop(taken);
    assert!(world.allocate([Some(V4); 2], 1).is_ok());
}

#[test]
fn an_address_that_is_not_ours_is_refused() {
    let mut world = World::new(config(2));
    assert_eq!(
        world.allocate([Some("192.0.2.1"), None], 1).unwrap_err(),
        Refusal::BadAddress
    );
    assert_eq!(
        world
            .allocate([Some(V4), Some("192.0.2.1")], 1)
            .unwrap_err(),
        Refusal::BadAddress
    );
    assert!(world.allocate([Some(V4); 2], 1).is_ok());
}

#[test]
fn a_side_may_move_to_another_address() {
    let mut world = World::new(config(2));
    let call = world.allocate([Some(V4); 2], 1).unwrap();
    let moved = common::Call {
        local: [Some(V4), Some(V6)].map(|ip| ip.map(|ip| ip.parse().unwrap())),
        ..call.clone()
    };
    let moved = world.again(&moved, 1).unwrap();
    assert_eq!(moved.streams[0].rtp[0], call.streams[0].rtp[0]);
    let [mut caller, callee] = [Phone::new(V4, 1), Phone::new(V6, 2)];
    world.connect(&moved, Side::Caller, 0, Some(caller.remote()));
    world.connect(&moved, Side::Callee, 0, Some(callee.remote()));
    world.settle();
    let sent = caller.send(moved.rtp(Side::Caller, 0), 1);
    assert_eq!(receive(&callee.rtp), (sent, moved.rtp(Side::Callee, 0)));
    // The port that was left is free.
    assert!(world.allocate([Some(V4), None], 1).is_ok());
}

#[test]
fn a_new_call_does_not_hear_the_one_before() {
    let mut world = World::new(config(2));
    let [mut caller, mut callee] = [Phone::new(V4, 1), Phone::new(V4, 2)];
    for n in 0..10 {
        let call = world.call(&caller, &callee);
        // In another call the phones have changed sides.
        let sent = caller.send(call.rtp(Side::Caller, 0), n);
        assert_eq!(receive(&callee.rtp).0, sent);
        world.close(&call);
        (0..5).for_each(|_| _ = caller.send(call.rtp(Side::Caller, 0), 0xee));
        std::mem::swap(&mut caller, &mut callee);
    }
    assert!(common::is_quiet(&caller.rtp) && common::is_quiet(&callee.rtp));
}

#[test]
fn silence_is_told_again_and_again_until_packets_flow() {
    let mut world = World::new(Config {
        timeout: Duration::from_millis(300),
        ..config(4)
    });
    let [mut caller, callee] = [Phone::new(V4, 1), Phone::new(V4, 2)];
    let silent = |session| move |e: &Event| (*e == Event::Silent { session }).then_some(());
    let ringing = world.allocate([Some(V4); 2], 1).unwrap();
    world.connect(&ringing, Side::Caller, 0, Some(caller.remote()));
    let call = world.call(&caller, &callee);
    world.event(silent(call.session));
    world.event(silent(call.session));
    let sent = caller.send(call.rtp(Side::Caller, 0), 1);
    assert_eq!(receive(&callee.rtp).0, sent);
    world.event(silent(call.session));
    world.close(&call);
    world.close(&ringing);
    // A call that only rings is never silent.
    assert!(!world.has_event(|e| e.session() == ringing.session));
}

#[test]
fn a_served_call_without_a_caller_is_silent_too() {
    let mut world = World::new(Config {
        timeout: Duration::from_millis(300),
        ..config(1)
    });
    let phone = Phone::new(V4, 1);
    let call = world.allocate([Some(V4), None], 1).unwrap();
    world.connect(&call, Side::Caller, 0, Some(phone.remote()));
    world.submit(Command::Serve {
        session: call.session,
        stream: 0,
        side: Side::Caller,
        source: Source::Tone(1004.0),
        number: 0,
        format: Format {
            codec: Codec::Pcmu,
            payload_type: 0,
            ptime: 20,
        },
    });
    let session = call.session;
    world.event(|e| (*e == Event::Silent { session }).then_some(()));
}

#[test]
fn unknown_sessions_are_closed_and_otherwise_ignored() {
    let mut world = World::new(config(1));
    let call = world.allocate([Some(V4), None], 1).unwrap();
    world.close(&call);
    world.connect(&call, Side::Caller, 0, None);
    world.connect(&call, Side::Caller, 9, None);
    assert_eq!(world.close(&call), [SideStats::default(); 2]);
}

#[test]
fn a_full_queue_refuses_new_sessions_and_loses_nothing_else() {
    let (sender, events) = mpsc::channel();
    let (gate, held) = mpsc::channel::<()>();
    let (sender, held) = (Mutex::new(sender), Mutex::new(held));
    let plane = Plane::start(
        Config {
            queue: 8,
            ..config(2)
        },
        Arc::new(move |event: Event| {
            // The worker stands still at its first event, so that its queue fills up.
            if matches!(event, Event::Closed { session, .. } if session.number() == 0) {
                let _ = held.lock().unwrap().recv();
            }
            sender.lock().unwrap().send(event).unwrap();
        }),
    )
    .unwrap();
    let session = |n| SessionId::new(Slot::new(1), n);
    let close = |n| Command::Close {
        session: session(n),
    };
    plane.handle().submit(&mut vec![close(0)]);
    let mut commands: Vec<_> = (1..=1000).map(close).collect();
    commands.push(Command::Allocate {
        session: session(5000),
        local: [None; 2],
        streams: 1,
    });
    plane.handle().submit(&mut commands);
    assert!(commands.is_empty());
    assert_eq!(
        events.recv().unwrap(),
        Event::Refused {
            session: session(5000),
            refusal: Refusal::Overload
        }
    );
    gate.send(()).unwrap();
    for n in 0..=1000 {
        assert_eq!(events.recv().unwrap().session(), session(n));
    }
}

#[test]
fn a_plane_stops_with_calls_up_and_frees_its_ports() {
    let config = Config {
        workers: 3,
        ..config(12)
    };
    let ports = config.ports.clone();
    let mut world = World::new(config);
    let handle = world.handle.clone();
    let calls: Vec<_> = (0..20)
        .filter_map(|_| world.allocate([Some(V4), None], 1).ok())
        .collect();
    assert!(calls.len() >= 4);
    drop(world);
    for port in ports {
        UdpSocket::bind((V4, port)).unwrap();
    }
    // What is sent afterwards is answered or dropped, but does not hang.
    handle.submit(&mut vec![Command::Close {
        session: calls[0].session,
    }]);
}

#[test]
fn a_panic_ends_no_other_call() {
    let (sender, events) = mpsc::channel();
    let sender = Mutex::new(sender);
    let plane = Plane::start(
        config(2),
        Arc::new(move |event: Event| {
            assert_ne!(event.session().number(), 13, "a fault made on purpose");
            sender.lock().unwrap().send(event).unwrap();
        }),
    )
    .unwrap();
    let close = |n| Command::Close {
        session: SessionId::new(Slot::new(1), n),
    };
    plane.handle().submit(&mut (10..20).map(close).collect());
    let heard: Vec<_> = (0..9)
        .map(|_| events.recv().unwrap().session().number())
        .collect();
    assert_eq!(heard, [10, 11, 12, 14, 15, 16, 17, 18, 19]);
}

#[test]
fn a_range_needs_room_for_a_pair_and_workers_need_pairs() {
    let start = |ports| {
        let config = Config {
            ports,
            workers: 8,
            ..Config::default()
        };
        Plane::start(config, Arc::new(|_| ()))
    };
    for ports in [24_001..=24_002, 24_000..=24_000, 0..=1, 65_535..=65_535] {
        assert_eq!(start(ports).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    // One pair means one worker, to which every session goes.
    let mut world = World::new(Config {
        workers: 8,
        ..config(1)
    });
    for _ in 0..20 {
        let call = world.allocate([Some(V4), None], 1).unwrap();
        world.close(&call);
    }
}
