//! What phones that speak Opus ask of what we make: pauses for silence, and repetition against loss.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod common;

use std::sync::Arc;

use codec::{Codec, Parameters};
use common::talker::Talker;
use common::{Call, V4, World, receive};
use media::{Command, Config, Format, Participant, PayloadKind, RoomId, Side, Source};
use rtp::rtcp::{self, ReportBlock, Writer};
use rtp::{Header, Packet};

/// Ticks of a packet of 20 ms.
const TICKS: u32 = 960;
const FORMAT: Format = Format {
    codec: Codec::Opus,
    payload_type: 111,
    ptime: 20,
};

fn world() -> World {
    World::new(Config {
        ports: 16_384..=23_999,
        ..Config::default()
    })
}

/// A phone whose `a=fmtp` line says so.
fn phone(ssrc: u32, fmtp: &str) -> Talker {
    let mut talker = Talker::new(V4, ssrc, Codec::Opus, 111, 700.0);
    let wished = Parameters::from_fmtp(Codec::Opus, fmtp);
    talker.payloads[0].kind = PayloadKind::Codec(Codec::Opus, wished);
    talker
}

/// A call that ends at us.
fn alone(world: &mut World, phone: &Talker) -> Call {
    let call = world.allocate([Some(V4), None], 1).unwrap();
    world.connect(&call, Side::Caller, 0, Some(phone.remote()));
    call
}

fn serve(world: &World, call: &Call, cadence: &str) {
    world.submit(Command::Serve {
        session: call.session,
        stream: 0,
        side: Side::Caller,
        source: Source::Cadence(Arc::new(cadence.parse().unwrap())),
        number: 0,
        format: FORMAT,
    });
}

fn join(world: &World, call: &Call) {
    world.submit(Command::Join {
        session: call.session,
        stream: 0,
        side: Side::Caller,
        room: RoomId(1),
        participant: Participant::default(),
        format: FORMAT,
    });
}

/// The next packet of sound.
fn heard(phone: &Talker) -> (Header, Vec<u8>) {
    let (datagram, _) = receive(&phone.phone.rtp);
    let packet = Packet::parse(&datagram).unwrap();
    (packet.header(), packet.payload().to_vec())
}

/// Checks that packets come in whole steps, and that only those behind a pause have a marker; returns how many
/// of so many steps were sent.
fn sent_of(phone: &Talker, steps: u32) -> u32 {
    let first = heard(phone).0;
    let (mut last, mut sent) = (first, 1);
    while last.timestamp.wrapping_sub(first.timestamp) < steps * TICKS {
        let next = heard(phone).0;
        let ticks = next.timestamp.wrapping_sub(last.timestamp);
        assert_eq!(next.sequence, last.sequence.wrapping_add(1));
        assert_eq!((ticks % TICKS, ticks == 0), (0, false));
        assert_eq!(next.marker, ticks > TICKS, "{ticks}");
        (last, sent) = (next, sent + 1);
    }
    sent
}

/// RFC 7587 §3.1.3: silence is left out of what we serve if the phone prefers so, and only then.
#[test]
fn rfc7587_3_1_3_served_silence_is_left_out() {
    let mut world = world();
    for (fmtp, pauses) in [("usedtx=1", true), ("usedtx=0", false), ("", false)] {
        let phone = phone(1, fmtp);
        let call = alone(&mut world, &phone);
        serve(&world, &call, "425/200,0/1800");
        let sent = sent_of(&phone, 150);
        assert_eq!(sent < 100, pauses, "{fmtp}: {sent}");
        assert!(sent > 20, "{fmtp}: {sent}");
        world.close(&call);
    }
}

/// RFC 7587 §3.1.3: the same of a room where nobody speaks.
#[test]
fn rfc7587_3_1_3_the_silence_of_a_room_is_left_out() {
    let mut world = world();
    let phones = [phone(1, "usedtx=1"), phone(2, "")];
    let calls = phones.each_ref().map(|phone| alone(&mut world, phone));
    calls.iter().for_each(|call| join(&world, call));
    let sent = phones.each_ref().map(|phone| sent_of(phone, 150));
    assert!(sent[0] < 50 && sent[1] == 151, "{sent:?}");
}

/// RFC 7587 §3.1.3: the same of what is transcoded for a phone.
#[test]
fn rfc7587_3_1_3_transcoded_silence_is_left_out() {
    let mut world = world();
    let mut caller = Talker::new(V4, 1, Codec::Pcmu, 0, 700.0);
    let callee = phone(2, "usedtx=1");
    let call = world.allocate([Some(V4), Some(V4)], 1).unwrap();
    world.connect(&call, Side::Caller, 0, Some(caller.remote()));
    world.connect(&call, Side::Callee, 0, Some(callee.remote()));
    world.settle();
    let mut sent: Vec<Header> = Vec::new();
    for spurt in 0..3 {
        for n in 0..60 {
            caller.silent = n >= 10;
            caller.speak(call.rtp(Side::Caller, 0));
        }
        // Until the spurt is heard.
        let enough = (spurt * 60 + 5) * TICKS;
        let since = |sent: &[Header]| {
            let [first, .., last] = sent else { return 0 };
            last.timestamp.wrapping_sub(first.timestamp)
        };
        while since(&sent) < enough {
            sent.push(heard(&callee).0);
        }
    }
    for pair in sent.windows(2) {
        let ticks = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        assert_eq!(pair[1].marker, ticks > TICKS, "{ticks}");
        assert_eq!(ticks % TICKS, 0);
    }
    // Three spurts and a little after each of the first two.
    assert!((25..100).contains(&sent.len()), "{}", sent.len());
    assert!(sent.iter().filter(|header| header.marker).count() > 2);
    // To save silence is no loss, and nobody's fault.
    let [stats, _] = world.close(&call);
    assert!(stats.packets > 120 && stats.lost == 0, "{stats:?}");
}

/// RFC 7587 §3.1.3: a phone that pauses has lost nothing, and is heard again where it goes on.
#[test]
fn rfc7587_3_1_3_a_phone_that_pauses_misses_nothing() {
    let mut world = world();
    let mut caller = phone(1, "usedtx=1");
    let mut callee = Talker::new(V4, 2, Codec::Pcmu, 0, 500.0);
    let call = world.allocate([Some(V4), Some(V4)], 1).unwrap();
    world.connect(&call, Side::Caller, 0, Some(caller.remote()));
    world.connect(&call, Side::Callee, 0, Some(callee.remote()));
    world.settle();
    for _ in 0..3 {
        (0..10).for_each(|_| caller.speak(call.rtp(Side::Caller, 0)));
        caller.phone.timestamp = caller.phone.timestamp.wrapping_add(19 * TICKS);
        (0..10).for_each(|_| _ = callee.hear());
    }
    let steps = callee.headers.windows(2).map(|pair| {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        let ticks = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert_eq!(pair[1].marker, ticks > 160);
        ticks
    });
    let pauses: Vec<u32> = steps.filter(|ticks| *ticks != 160).collect();
    assert_eq!(pauses, [20 * 160; 2]);
    let [stats, _] = world.close(&call);
    assert_eq!(
        (stats.packets, stats.lost, stats.mos.is_some()),
        (30, 0, true)
    );
}

/// Waits for a report of ours, and answers that a quarter is lost.
fn report_loss(phone: &Talker, call: &Call) {
    let (datagram, _) = receive(&phone.phone.rtcp);
    let mut packets = rtcp::Packets::new(&datagram);
    let Some(Ok(rtcp::Packet::SenderReport(info, _))) = packets.next() else {
        panic!("no report");
    };
    let block = ReportBlock {
        ssrc: info.ssrc,
        fraction_lost: 64,
        last_report: (info.ntp >> 16) as u32,
        ..ReportBlock::default()
    };
    let mut buffer = [0; 256];
    let mut writer = Writer::new(&mut buffer);
    writer.receiver_report(phone.phone.ssrc, &[block]);
    let to = call.rtcp(Side::Caller, 0);
    phone.phone.rtcp.send_to(writer.finish(), to).unwrap();
}

/// Whether a packet repeats something of the one before (RFC 6716 §4.2.3: the second bit of a frame of one
/// channel and 20 ms).
fn repeats(payload: &[u8]) -> bool {
    let speech = payload[0] >> 3 < 16;
    speech && payload.len() > 2 && payload[1] & 0x40 != 0
}

/// RFC 7587 §6.1: what is lost of what we serve is repeated for those who can make use of it.
#[test]
fn rfc7587_6_1_what_we_serve_is_protected_against_loss() {
    let mut world = world();
    let phones = [phone(1, "useinbandfec=1"), phone(2, "")];
    let calls = phones.each_ref().map(|phone| alone(&mut world, phone));
    calls.iter().for_each(|call| serve(&world, call, "425*20"));
    for (phone, call) in phones.iter().zip(&calls) {
        report_loss(phone, call);
    }
    while !repeats(&heard(&phones[0]).1) {}
    // The other one has been told the same by now, and sent as much.
    for _ in 0..100 {
        assert!(!repeats(&heard(&phones[1]).1));
    }
}

/// RFC 7587 §6.1: the same of what is said in a room.
#[test]
fn rfc7587_6_1_what_is_said_in_a_room_is_protected_against_loss() {
    let mut world = world();
    let mut speaker = phone(1, "");
    let hearer = phone(2, "useinbandfec=1");
    let calls = [&speaker, &hearer].map(|phone| alone(&mut world, phone));
    calls.iter().for_each(|call| join(&world, call));
    let mut reported = false;
    // Both speak in the pace of what they hear.
    while !repeats(&heard(&hearer).1) {
        speaker.speak(calls[0].rtp(Side::Caller, 0));
        if !reported && common::is_waiting(&hearer.phone.rtcp) {
            report_loss(&hearer, &calls[1]);
            reported = true;
        }
    }
    assert!(reported);
}
