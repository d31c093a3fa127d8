//! Relayed calls over loopback sockets.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod common;

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use common::{Call, PATIENCE, Phone, V4, V6, World, is_quiet, receive};
use media::{Command, Config, Event, Remote, Side};

fn world(first: u16) -> World {
    World::new(Config {
        ports: first..=first + 99,
        ..Config::default()
    })
}

/// Sends a packet each way and checks that it arrives as it was, from the right port.
fn talk(call: &Call, caller: &mut Phone, callee: &mut Phone) {
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
        assert_eq!(side.rtcp_packets, 1);
        assert!(side.rtcp_octets > 8);
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

#[test]
fn rtcp_is_multiplexed_for_whom_that_was_agreed() {
    let mut world = world(42_300);
    let [mut caller, callee] = [Phone::new(V4, 1), Phone::new(V4, 2)];
    caller.mux = true;
    let call = world.call(&caller, &callee);
    caller
        .rtp
        .send_to(&caller.report(), call.rtp(Side::Caller, 0))
        .unwrap();
    let (datagram, from) = receive(&callee.rtcp);
    assert_eq!(
        (datagram, from),
        (caller.report(), call.rtcp(Side::Callee, 0))
    );
    callee
        .rtcp
        .send_to(&callee.report(), call.rtcp(Side::Callee, 0))
        .unwrap();
    let (datagram, from) = receive(&caller.rtp);
    assert_eq!(
        (datagram, from),
        (callee.report(), call.rtp(Side::Caller, 0))
    );
}

#[test]
fn each_stream_has_its_own_ports() {
    let mut world = world(42_400);
    let audio = [Phone::new(V4, 1), Phone::new(V4, 2)];
    let mut video = [Phone::new(V4, 3), Phone::new(V4, 4)];
    let call = world.allocate([Some(V4); 2], 1).unwrap();
    let first = call.streams[0];
    // A re-INVITE adds video.
    let call = world.again(&call, 2).unwrap();
    assert_eq!(call.streams[0], first);
    for (stream, phones) in [(0, &audio), (1, &video)] {
        world.connect(&call, Side::Caller, stream, Some(phones[0].remote()));
        world.connect(&call, Side::Callee, stream, Some(phones[1].remote()));
    }
    world.settle();
    let sent = video[0].send(call.rtp(Side::Caller, 1), 5);
    assert_eq!(receive(&video[1].rtp), (sent, call.rtp(Side::Callee, 1)));
    assert!(is_quiet(&audio[1].rtp));
    let session = call.session;
    world.submit(Command::Count { session });
    let counted = world.event(|event| match event {
        Event::Counted { session: s, stats } if *s == session => Some(**stats),
        _ => None,
    });
    assert_eq!(counted.map(|side| side.packets), [1, 0]);
    assert_eq!(world.close(&call)[0].packets, 1);
}

#[test]
fn nothing_passes_before_an_address_is_signalled_or_after_it_is_withdrawn() {
    let mut world = world(42_500);
    let [mut caller, mut callee] = [Phone::new(V4, 1), Phone::new(V4, 2)];
    let call = world.allocate([Some(V4); 2], 1).unwrap();
    world.connect(&call, Side::Callee, 0, Some(callee.remote()));
    world.settle();
    (0..3).for_each(|_| _ = caller.send(call.rtp(Side::Caller, 0), 9));
    // The worker takes at least one packet between two commands that are waited for.
    (0..5).for_each(|_| world.settle());
    world.connect(&call, Side::Caller, 0, Some(caller.remote()));
    world.settle();
    talk(&call, &mut caller, &mut callee);

    world.connect(&call, Side::Caller, 0, None);
    world.settle();
    caller.send(call.rtp(Side::Caller, 0), 9);
    callee.send(call.rtp(Side::Callee, 0), 9);
    world.connect(&call, Side::Caller, 0, Some(caller.remote()));
    world.settle();
    // What was sent while nothing was accepted may be read only now, so it may pass; what was
    // sent to the withdrawn address may not.
    talk_on(&call, &mut caller, &mut callee);
}

/// Talks until a marked packet has gone each way.
fn talk_on(call: &Call, caller: &mut Phone, callee: &mut Phone) {
    let sent = caller.send(call.rtp(Side::Caller, 0), 0xaa);
    while receive(&callee.rtp).0 != sent {}
    let sent = callee.send(call.rtp(Side::Callee, 0), 0xbb);
    while receive(&caller.rtp).0 != sent {}
}

#[test]
fn a_phone_behind_a_nat_is_learnt_and_a_stranger_is_not() {
    let mut world = world(42_600);
    let [mut caller, mut callee] = [Phone::new(V4, 1), Phone::new(V4, 2)];
    // The address in the SDP is one that the phone never sends from.
    let inside = Phone::new("127.0.0.2", 0);
    let call = world.allocate([Some(V4); 2], 1).unwrap();
    world.connect(&call, Side::Caller, 0, Some(inside.remote()));
    world.connect(&call, Side::Callee, 0, Some(callee.remote()));
    world.settle();
    // Until it is learnt, the signalled address is answered.
    let sent = callee.send(call.rtp(Side::Callee, 0), 2);
    assert_eq!(receive(&inside.rtp).0, sent);

    let mut stranger = Phone::new(V4, 66);
    for n in 0..20 {
        caller.send(call.rtp(Side::Caller, 0), n);
        stranger.sequence = stranger.sequence.wrapping_add(7);
        stranger.send(call.rtp(Side::Caller, 0), 0x66);
        let sent = callee.send(call.rtp(Side::Callee, 0), n);
        if n > 10 {
            while receive(&caller.rtp).0 != sent {}
        }
    }
    let sent = caller.send(call.rtp(Side::Caller, 0), 1);
    loop {
        let (datagram, _) = receive(&callee.rtp);
        assert_ne!(datagram[12], 0x66);
        if datagram == sent {
            break;
        }
    }
    assert!(is_quiet(&stranger.rtp));
    let [stats, _] = world.close(&call);
    assert!(stats.packets >= 15 && stats.rejected >= 10, "{stats:?}");
}

#[test]
fn a_stranger_cannot_join_a_call_that_is_up() {
    let mut world = world(42_700);
    let [mut caller, mut callee] = [Phone::new(V4, 1), Phone::new(V4, 2)];
    let call = world.call(&caller, &callee);
    talk(&call, &mut caller, &mut callee);
    let mut stranger = Phone::new(V4, 1);
    stranger.rtp.connect(call.rtp(Side::Caller, 0)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    // Until the kernel keeps the stranger out, which shows as a refused port.
    for n in 0.. {
        stranger.sequence = caller.sequence;
        let packet = stranger.packet(0x66);
        let error = stranger.rtp.send(&packet).err().map(|e| e.kind());
        talk(&call, &mut caller, &mut callee);
        if n > 20 && error == Some(ErrorKind::ConnectionRefused) {
            break;
        }
        assert!(Instant::now() < deadline, "the socket is never connected");
    }
    assert!(is_quiet(&callee.rtp));
    let [stats, _] = world.close(&call);
    assert!(stats.rejected >= 1, "{stats:?}");
}

#[test]
fn a_nat_may_move_a_silent_phone_but_not_hand_it_over() {
    let mut world = world(42_800);
    let [mut caller, mut callee] = [Phone::new(V4, 1), Phone::new(V4, 2)];
    let call = world.call(&caller, &callee);
    for _ in 0..5 {
        talk(&call, &mut caller, &mut callee);
    }
    // The same stream goes on from another port; a stranger knows everything but the SSRC.
    let moved = Phone::new(V4, 1);
    let mut stranger = Phone::new(V4, 66);
    let deadline = Instant::now() + PATIENCE;
    callee
        .rtp
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    loop {
        stranger.sequence = caller.sequence;
        stranger.timestamp = caller.timestamp;
        stranger.send(call.rtp(Side::Caller, 0), 0x66);
        let packet = caller.packet(1);
        moved
            .rtp
            .send_to(&packet, call.rtp(Side::Caller, 0))
            .unwrap();
        let mut buffer = [0; 2048];
        if let Ok(len) = callee.rtp.recv(&mut buffer) {
            assert_eq!(buffer[..len], packet);
            break;
        }
        assert!(Instant::now() < deadline, "never moved");
    }
    let sent = callee.send(call.rtp(Side::Callee, 0), 2);
    assert_eq!(receive(&moved.rtp).0, sent);
    assert!(is_quiet(&caller.rtp) && is_quiet(&stranger.rtp));
}

#[test]
fn a_changed_address_moves_the_stream_at_once() {
    let mut world = world(42_900);
    let [mut caller, mut callee] = [Phone::new(V4, 1), Phone::new(V4, 2)];
    let call = world.call(&caller, &callee);
    talk(&call, &mut caller, &mut callee);
    let mut elsewhere = Phone::new(V4, 3);
    world.connect(&call, Side::Caller, 0, Some(elsewhere.remote()));
    world.settle();
    talk(&call, &mut elsewhere, &mut callee);
    caller.send(call.rtp(Side::Caller, 0), 9);
    talk(&call, &mut elsewhere, &mut callee);
    let [stats, _] = world.close(&call);
    assert_eq!((stats.packets, stats.rejected), (3, 1));
    assert!(is_quiet(&caller.rtp));
}

#[test]
fn losses_are_counted() {
    let mut world = world(43_000);
    let [mut caller, callee] = [Phone::new(V4, 1), Phone::new(V4, 2)];
    let call = world.call(&caller, &callee);
    for n in 0..40 {
        if n % 10 == 5 {
            caller.packet(0);
        }
        caller.send(call.rtp(Side::Caller, 0), n);
        receive(&callee.rtp);
    }
    let [stats, _] = world.close(&call);
    assert_eq!((stats.packets, stats.lost), (40, 4));
}

#[test]
fn junk_goes_nowhere() {
    let mut world = world(43_100);
    let [mut caller, mut callee] = [Phone::new(V4, 1), Phone::new(V4, 2)];
    let call = world.call(&caller, &callee);
    talk(&call, &mut caller, &mut callee);
    let mut large = caller.packet(0);
    large.resize(65_000, 7);
    let stun = [
        0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let cut_extension = [0x90, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xbe, 0xde, 0, 9];
    let junk: [&[u8]; 8] = [
        &[],
        &[0x80],
        &[0; 172],
        b"OPTIONS sip:a@b SIP/2.0\r\n\r\n",
        &[0x8f; 20],
        &large,
        &stun,
        &cut_extension,
    ];
    for datagram in junk {
        caller
            .rtp
            .send_to(datagram, call.rtp(Side::Caller, 0))
            .unwrap();
        caller
            .rtcp
            .send_to(datagram, call.rtcp(Side::Caller, 0))
            .unwrap();
    }
    // RTP does not belong on the RTCP port.
    let packet = caller.packet(3);
    caller
        .rtcp
        .send_to(&packet, call.rtcp(Side::Caller, 0))
        .unwrap();
    talk(&call, &mut caller, &mut callee);
    assert!(is_quiet(&callee.rtp) && is_quiet(&callee.rtcp));
}

#[test]
fn a_strangers_rtcp_is_rejected() {
    let mut world = world(43_200);
    let [caller, callee] = [Phone::new(V4, 1), Phone::new(V4, 2)];
    let call = world.call(&caller, &callee);
    let stranger = UdpSocket::bind("127.0.0.9:0").unwrap();
    for to in [call.rtcp(Side::Caller, 0), call.rtp(Side::Caller, 0)] {
        stranger.send_to(&caller.report(), to).unwrap();
    }
    caller
        .rtcp
        .send_to(&caller.report(), call.rtcp(Side::Caller, 0))
        .unwrap();
    assert_eq!(receive(&callee.rtcp).0, caller.report());
    assert!(is_quiet(&callee.rtcp) && is_quiet(&callee.rtp));
    // Both ports are read in one go or one after the other, so the count may be on its way.
    let [stats, _] = world.close(&call);
    assert!((1..=2).contains(&stats.rejected), "{stats:?}");
}

#[test]
fn the_other_side_is_answered_where_it_says_before_it_speaks() {
    let mut world = world(43_300);
    let [mut caller, callee] = [Phone::new(V4, 1), Phone::new(V6, 2)];
    let call = world.allocate([Some(V4), Some(V6)], 1).unwrap();
    world.connect(&call, Side::Caller, 0, Some(caller.remote()));
    let remote: Remote = callee.remote();
    world.connect(&call, Side::Callee, 0, Some(remote));
    world.settle();
    let sent = caller.send(call.rtp(Side::Caller, 0), 1);
    assert_eq!(receive(&callee.rtp).0, sent);
}

/// RFC 5168 §3: what a party says of pictures of one that takes no feedback is told, but not again and again.
#[test]
fn rfc5168_3_feedback_to_who_takes_none_is_told() {
    let mut world = world(43_400);
    let [mut caller, callee] = [Phone::new(V4, 1), Phone::new(V4, 2)];
    let call = world.call(&caller, &callee);
    let remote = Remote {
        asked_aside: true,
        ..caller.remote()
    };
    world.connect(&call, Side::Caller, 0, Some(remote));
    world.settle();
    caller.send(call.rtp(Side::Caller, 0), 1);
    receive(&callee.rtp);
    for _ in 0..5 {
        let mut buffer = [0; 64];
        let mut writer = rtp::rtcp::Writer::new(&mut buffer);
        writer.receiver_report(2, &[]);
        writer.picture_loss(2, 1);
        let to = call.rtcp(Side::Callee, 0);
        callee.rtcp.send_to(writer.finish(), to).unwrap();
        receive(&caller.rtcp);
    }
    let session = call.session;
    let wanted = Event::PictureWanted {
        session,
        stream: 0,
        side: Side::Caller,
    };
    world.event(|event| (*event == wanted).then_some(()));
    let stats = world.close(&call);
    assert_eq!(stats[1].rtcp_packets, 5);
}
