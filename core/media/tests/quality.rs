//! How calls sound, and what is wrong with them.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod common;

use std::time::Duration;

use codec::Codec;
use common::talker::Talker;
use common::{Call, V4, World, receive};
use media::{Alarm, Config, Event, Side};
use rtp::rtcp::{Packet, Packets, ReportBlock, SenderInfo, Writer};

fn world() -> World {
    World::new(Config {
        ports: 16_384..=23_999,
        ..Config::default()
    })
}

/// A call whose payload passes untouched, or is understood all the same.
fn call(world: &mut World, parties: [&Talker; 2], untouched: bool) -> Call {
    let call = world.allocate([Some(V4), Some(V4)], 1).unwrap();
    for (side, party) in [Side::Caller, Side::Callee].into_iter().zip(parties) {
        let mut remote = party.remote();
        if untouched {
            remote.described = std::mem::take(&mut remote.payloads);
        }
        world.connect(&call, side, 0, Some(remote));
    }
    world.settle();
    call
}

/// RFC 3550 §6.4.1: both halves of the way are seen in reports that pass.
#[test]
fn rfc3550_6_4_1_losses_and_round_trips_of_a_relayed_call_are_seen() {
    let mut world = world();
    let mut caller = Talker::new(V4, 1, Codec::Pcmu, 0, 1004.0);
    let callee = Talker::new(V4, 2, Codec::Pcmu, 0, 700.0);
    let call = call(&mut world, [&caller, &callee], true);
    for n in 0..100 {
        let packet = caller.packet();
        if n % 10 != 5 {
            let to = call.rtp(Side::Caller, 0);
            caller.phone.rtp.send_to(&packet, to).unwrap();
            receive(&callee.phone.rtp);
        }
    }
    // The caller's sender report passes, and is answered.
    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer);
    let info = SenderInfo {
        ssrc: 1,
        ntp: 0x1234_5678_9abc_def0,
        ..SenderInfo::default()
    };
    writer.sender_report(&info, &[]);
    let to = call.rtcp(Side::Caller, 0);
    caller.phone.rtcp.send_to(writer.finish(), to).unwrap();
    let (heard, _) = receive(&callee.phone.rtcp);
    assert!(
        matches!(Packets::new(&heard).next(), Some(Ok(Packet::SenderReport(seen, _))) if seen == info)
    );
    let block = ReportBlock {
        ssrc: 1,
        lost: 10,
        fraction_lost: 26,
        last_report: 0x5678_9abc,
        ..ReportBlock::default()
    };
    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer);
    writer.receiver_report(2, &[block]);
    let to = call.rtcp(Side::Callee, 0);
    callee.phone.rtcp.send_to(writer.finish(), to).unwrap();
    receive(&caller.phone.rtcp);

    let [from_caller, from_callee] = world.close(&call);
    assert_eq!((from_caller.packets, from_caller.lost), (90, 10));
    let mos = from_caller.mos.unwrap();
    assert!((200..400).contains(&mos.hundredths()), "{mos}");
    assert_eq!(from_caller.worst_mos, Some(mos));
    assert_eq!(from_caller.round_trip_ms, None);
    assert!(from_callee.round_trip_ms.is_some_and(|ms| ms < 5000));
    let reported = from_callee.reported.unwrap();
    assert_eq!((reported.lost, reported.fraction_lost), (10, 26));
    assert_eq!((from_callee.packets, from_callee.mos), (0, None));
}

#[test]
fn sound_that_goes_one_way_is_told_once() {
    let mut world = world();
    let mut caller = Talker::new(V4, 1, Codec::Pcma, 8, 1004.0);
    let callee = Talker::new(V4, 2, Codec::Pcmu, 0, 700.0);
    let call = call(&mut world, [&caller, &callee], false);
    let told = |event: &Event| match event {
        Event::Alarm { side, alarm, .. } => Some((*side, *alarm)),
        _ => None,
    };
    caller.speak(call.rtp(Side::Caller, 0));
    let nothing = Alarm::NoRtp {
        one_way: true,
        strangers: 0,
    };
    assert_eq!(world.event(told), (Side::Callee, nothing));
    world.close(&call);
    assert!(!world.has_event(|event| told(event).is_some()));
}

#[test]
fn a_codec_that_was_not_agreed_is_told_of() {
    let mut world = world();
    for untouched in [false, true] {
        let mut caller = Talker::new(V4, 1, Codec::Pcma, 8, 1004.0);
        let callee = Talker::new(V4, 2, Codec::Pcma, 8, 700.0);
        let call = call(&mut world, [&caller, &callee], untouched);
        let to = call.rtp(Side::Caller, 0);
        for _ in 0..60 {
            let mut packet = caller.packet();
            packet[1] = 18;
            caller.phone.rtp.send_to(&packet, to).unwrap();
        }
        let alarm = world.event(|event| match event {
            Event::Alarm { side, alarm, .. } => Some((*side, *alarm)),
            _ => None,
        });
        assert_eq!(alarm, (Side::Caller, Alarm::WrongCodec { number: 18 }));
        let unexpected = world.close(&call)[0].unexpected;
        assert_eq!(unexpected > 0, !untouched);
    }
}

/// Told every ten seconds, which a test need not wait for more than once.
#[test]
fn quality_is_told_while_a_call_lasts() {
    let mut world = world();
    let mut caller = Talker::new(V4, 1, Codec::Pcmu, 0, 1004.0);
    let mut callee = Talker::new(V4, 2, Codec::Opus, 111, 700.0);
    let call = call(&mut world, [&caller, &callee], false);
    let session = call.session;
    let stats = loop {
        for _ in 0..2 {
            caller.speak(call.rtp(Side::Caller, 0));
            callee.hear();
        }
        std::thread::sleep(Duration::from_millis(40));
        let mut stats = None;
        if world
            .has_event(|event| matches!(event, Event::Quality { session: s, .. } if *s == session))
        {
            stats = Some(world.event(|event| match event {
                Event::Quality { stats, .. } => Some(**stats),
                _ => None,
            }));
        }
        if let Some(stats) = stats {
            break stats;
        }
    };
    let mos = stats[0].mos.unwrap();
    assert!(mos.hundredths() > 250, "{mos}");
    assert!(stats[0].worst_mos.unwrap() <= mos);
    assert!(stats[0].worst_jitter_us > 0);
}
