//! Parties that agreed to different payload types.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod common;

use codec::Codec;
use common::talker::{Talker, speech};
use common::{Call, V4, World, is_quiet, receive};
use media::{Config, PayloadKind, Side};
use rtp::rtcp;

fn world() -> World {
    World::new(Config {
        ports: 16_384..=23_999,
        ..Config::default()
    })
}

fn call(world: &mut World, one: &Talker, other: &Talker) -> Call {
    let hosts = [Some(one.phone.host()), Some(other.phone.host())];
    let call = world.allocate(hosts, 1).unwrap();
    world.connect(&call, Side::Caller, 0, Some(one.remote()));
    world.connect(&call, Side::Callee, 0, Some(other.remote()));
    world.settle();
    call
}

const CODECS: [(Codec, u8); 4] = [
    (Codec::Pcmu, 0),
    (Codec::Pcma, 8),
    (Codec::G722, 9),
    (Codec::Opus, 111),
];

#[test]
fn any_two_codecs_carry_a_tone_both_ways() {
    let mut world = world();
    for (one, number) in CODECS {
        for (other, its_number) in CODECS {
            let mut caller = Talker::new(V4, 1, one, number, 1004.0);
            let mut callee = Talker::new(V4, 2, other, its_number, 700.0);
            let call = call(&mut world, &caller, &callee);
            for _ in 0..50 {
                caller.speak(call.rtp(Side::Caller, 0));
                callee.hear();
                callee.speak(call.rtp(Side::Callee, 0));
                caller.hear();
            }
            callee.check(1004.0);
            caller.check(700.0);
            assert_eq!(callee.headers[0].ssrc == 1, one == other);
            let stats = world.close(&call);
            assert!(stats.iter().all(|s| s.packets == 50 && s.unexpected == 0));
        }
    }
}

/// Codecs made for speech alone bend a tone, but it stays the loudest by far.
#[test]
fn every_codec_that_we_have_is_joined_with_g711() {
    let mut world = world();
    for codec in Codec::all().filter(|codec| codec.is_available()) {
        let mut caller = Talker::new(V4, 1, Codec::Pcmu, 0, 1004.0);
        let mut callee = Talker::new(V4, 2, codec, 100, 700.0);
        let call = call(&mut world, &caller, &callee);
        // 600 ms are a whole number of packets of either length.
        for _ in 0..30 {
            caller.speak(call.rtp(Side::Caller, 0));
        }
        for _ in 0..600 / callee.ptime {
            callee.hear();
            callee.speak(call.rtp(Side::Callee, 0));
        }
        (0..30).for_each(|_| _ = caller.hear());
        for (party, frequency) in [(&callee, 1004.0), (&caller, 700.0)] {
            let rate = party.pcm.len() as u32 * 10 / 6;
            let settled = &party.pcm[party.pcm.len() / 3..];
            let level = codec::tone::level(settled, frequency, rate);
            let other = codec::tone::level(settled, frequency * 1.7, rate);
            let clear = (level - codec::tone::ZERO_DBM0).abs() < 6.0 && other < level - 15.0;
            assert!(clear, "{codec} {frequency}: {level} and {other}");
        }
        world.close(&call);
    }
}

#[test]
fn the_same_codec_under_two_numbers_stays_its_senders_stream() {
    let mut world = world();
    let events = |clock| PayloadKind::TelephoneEvent { clock };
    let mut caller = Talker::new(V4, 1, Codec::Opus, 96, 1004.0).with(101, events(48_000));
    let callee = Talker::new(V4, 2, Codec::Opus, 111, 700.0).with(97, events(48_000));
    let call = call(&mut world, &caller, &callee);
    for _ in 0..3 {
        let mut packet = caller.packet();
        let to = call.rtp(Side::Caller, 0);
        caller.phone.rtp.send_to(&packet, to).unwrap();
        packet[1] = 111;
        assert_eq!(receive(&callee.phone.rtp).0, packet);
    }
    let mut event = [0; 16];
    caller.header(101).encode(&mut event);
    let to = call.rtp(Side::Caller, 0);
    caller.phone.rtp.send_to(&event, to).unwrap();
    event[1] = 97;
    assert_eq!(receive(&callee.phone.rtp).0, event);
    // A number that was never agreed goes nowhere; RTCP stays the parties' own.
    caller.header(55).encode(&mut event);
    caller.phone.rtp.send_to(&event, to).unwrap();
    let report = callee.phone.report();
    let to = call.rtcp(Side::Callee, 0);
    callee.phone.rtcp.send_to(&report, to).unwrap();
    assert_eq!(receive(&caller.phone.rtcp).0, report);
    assert!(is_quiet(&callee.phone.rtp));
    assert_eq!(world.close(&call)[0].unexpected, 1);
}

/// RFC 4733 §2.3: the duration counts by the clock of the stream.
#[test]
fn rfc4733_2_3_events_cross_a_transcoded_call() {
    let mut world = world();
    let events = |clock| PayloadKind::TelephoneEvent { clock };
    let mut caller = Talker::new(V4, 1, Codec::Pcmu, 0, 1004.0).with(101, events(8000));
    let mut callee = Talker::new(V4, 2, Codec::Opus, 111, 700.0)
        .with(110, events(8000))
        .with(97, events(48_000));
    let call = call(&mut world, &caller, &callee);
    let to = call.rtp(Side::Caller, 0);
    let mut last = None;
    for _ in 0..5 {
        caller.speak(to);
        last = Some(callee.hear());
    }
    let last = last.unwrap();
    let mut starts = Vec::new();
    for (n, duration) in [160u16, 320, 480, 480].into_iter().enumerate() {
        let mut event = vec![0; 16];
        caller.header(101).encode(&mut event);
        event[1] |= if n == 0 { 0x80 } else { 0 };
        event[12..14].copy_from_slice(&[5, if n < 2 { 10 } else { 0x8a }]);
        event[14..].copy_from_slice(&duration.to_be_bytes());
        caller.phone.rtp.send_to(&event, to).unwrap();
        let (datagram, _) = receive(&callee.phone.rtp);
        let packet = rtp::Packet::parse(&datagram).unwrap();
        let header = packet.header();
        assert_eq!((header.payload_type, header.ssrc), (97, last.ssrc));
        assert_eq!(header.sequence, last.sequence.wrapping_add(1 + n as u16));
        assert_eq!(header.marker, n == 0);
        assert_eq!(packet.payload()[..2], event[12..14]);
        assert_eq!(packet.payload()[2..], (duration * 6).to_be_bytes());
        starts.push(header.timestamp.wrapping_sub(last.timestamp));
    }
    assert_eq!(starts, [960; 4]);
    // Sound goes on behind the event.
    caller.phone.timestamp += 480;
    caller.speak(to);
    let next = callee.hear();
    assert_eq!(next.timestamp.wrapping_sub(last.timestamp), 960 + 2880);
    assert_eq!(next.sequence, last.sequence.wrapping_add(5));
}

/// RFC 4733 §2.6.1: whoever takes no events hears tones.
#[test]
fn rfc4733_2_6_1_keys_are_heard_by_a_party_that_takes_no_events() {
    let mut world = world();
    for (codec, number) in [(Codec::Pcmu, 0), (Codec::G722, 9)] {
        let events = PayloadKind::TelephoneEvent { clock: 8000 };
        let mut caller = Talker::new(V4, 1, Codec::Pcmu, 0, 1004.0).with(101, events);
        let mut callee = Talker::new(V4, 2, codec, number, 700.0);
        let call = call(&mut world, &caller, &callee);
        let to = call.rtp(Side::Caller, 0);
        (0..5).for_each(|_| callee_hears_after(&mut caller, &mut callee, to, 1));
        let before = callee.pcm.len();
        for n in 1..=12u16 {
            let mut event = vec![0; 16];
            caller.header(101).encode(&mut event);
            let end = if n > 10 { 0x8a } else { 10 };
            event[12..14].copy_from_slice(&[7, end]);
            event[14..].copy_from_slice(&(n.min(10) * 160).to_be_bytes());
            caller.phone.rtp.send_to(&event, to).unwrap();
        }
        caller.phone.timestamp += 1600;
        caller.speak(to);
        (0..11).for_each(|_| _ = callee.hear());
        for pair in callee.headers.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
            assert_eq!(pair[1].timestamp, pair[0].timestamp.wrapping_add(160));
        }
        let rate = codec.sample_rate();
        let mut detector = codec::dtmf::Detector::new(rate);
        let mut heard = Vec::new();
        detector.process(&callee.pcm[before..], |event| heard.push(event));
        let key = codec::dtmf::Key::from_char('7').unwrap();
        assert_eq!(heard[0], codec::dtmf::Event::Pressed(key));
    }
}

#[test]
fn lost_packets_are_concealed_and_long_gaps_stay_pauses() {
    let mut world = world();
    for (codec, number) in [(Codec::G722, 9), (Codec::Opus, 111)] {
        let mut caller = Talker::new(V4, 1, codec, number, 1004.0);
        let mut callee = Talker::new(V4, 2, Codec::Pcma, 8, 700.0);
        let call = call(&mut world, &caller, &callee);
        let to = call.rtp(Side::Caller, 0);
        for n in 0..60 {
            if n % 20 == 10 {
                caller.packet();
                callee_hears_after(&mut caller, &mut callee, to, 2);
            } else {
                callee_hears_after(&mut caller, &mut callee, to, 1);
            }
        }
        for pair in callee.headers.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
            assert_eq!(pair[1].timestamp, pair[0].timestamp.wrapping_add(160));
        }
        assert_eq!(callee.headers.len(), 63);

        let last = *callee.headers.last().unwrap();
        (0..50).for_each(|_| _ = caller.packet());
        callee_hears_after(&mut caller, &mut callee, to, 4);
        let heard = &callee.headers[callee.headers.len() - 4..];
        assert!(
            heard
                .iter()
                .zip(1..)
                .all(|(h, n)| h.sequence == last.sequence.wrapping_add(n))
        );
        let ahead = heard
            .iter()
            .map(|h| h.timestamp.wrapping_sub(last.timestamp));
        assert_eq!(ahead.collect::<Vec<_>>(), [160, 320, 480, 51 * 160]);
        assert!(heard[3].marker && !heard[2].marker);
    }
}

/// Has the caller speak once and the callee hear `count` packets of it.
fn callee_hears_after(
    caller: &mut Talker,
    callee: &mut Talker,
    to: std::net::SocketAddr,
    count: usize,
) {
    caller.speak(to);
    (0..count).for_each(|_| _ = callee.hear());
}

#[test]
fn a_pause_without_loss_moves_the_timestamp() {
    let mut world = world();
    let mut caller = Talker::new(V4, 1, Codec::Pcmu, 0, 1004.0);
    let mut callee = Talker::new(V4, 2, Codec::Opus, 111, 700.0);
    let call = call(&mut world, &caller, &callee);
    let to = call.rtp(Side::Caller, 0);
    callee_hears_after(&mut caller, &mut callee, to, 1);
    caller.phone.timestamp += 8000;
    callee_hears_after(&mut caller, &mut callee, to, 1);
    let [first, second] = callee.headers[..] else {
        unreachable!()
    };
    assert_eq!(second.timestamp.wrapping_sub(first.timestamp), 960 + 48_000);
    assert_eq!(second.sequence, first.sequence.wrapping_add(1));
    assert!(first.marker && second.marker);
}

#[test]
fn each_side_gets_the_packet_length_that_it_wants() {
    let mut world = world();
    let mut caller = Talker::new(V4, 1, Codec::Pcmu, 0, 1004.0);
    let mut callee = Talker::new(V4, 2, Codec::Pcma, 8, 700.0);
    callee.payloads = vec![speech(8, Codec::Pcma, 30)];
    callee.ptime = 30;
    let call = call(&mut world, &caller, &callee);
    for _ in 0..30 {
        // Three of 20 ms make two of 30.
        (0..3).for_each(|_| caller.speak(call.rtp(Side::Caller, 0)));
        (0..2).for_each(|_| _ = callee.hear());
        (0..2).for_each(|_| callee.speak(call.rtp(Side::Callee, 0)));
        (0..3).for_each(|_| _ = caller.hear());
    }
    callee.check(1004.0);
    caller.check(700.0);
}

/// RFC 3264 §5.1: any of the payload types agreed to may come at any time.
#[test]
fn rfc3264_5_1_the_codec_may_change_in_mid_stream() {
    let mut world = world();
    let mut caller = Talker::new(V4, 1, Codec::Pcmu, 0, 1004.0);
    caller.payloads.push(speech(9, Codec::G722, 20));
    caller.payloads.push(speech(111, Codec::Opus, 20));
    caller.payloads.push(speech(8, Codec::Pcma, 20));
    let mut callee = Talker::new(V4, 2, Codec::Pcma, 8, 700.0);
    let call = call(&mut world, &caller, &callee);
    let to = call.rtp(Side::Caller, 0);
    (0..20).for_each(|_| callee_hears_after(&mut caller, &mut callee, to, 1));
    for (codec, number) in [(Codec::G722, 9), (Codec::Pcma, 8), (Codec::Opus, 111)] {
        let mut next = Talker::new(V4, 1, codec, number, 1004.0);
        std::mem::swap(&mut next.phone, &mut caller.phone);
        caller = next;
        (0..20).for_each(|_| callee_hears_after(&mut caller, &mut callee, to, 1));
        let since = callee.pcm.len() - 18 * 160;
        common::talker::assert_tone(&callee.pcm[since..], 8000, 1004.0);
    }
    for pair in callee.headers.windows(2) {
        assert_eq!(pair[1].ssrc, pair[0].ssrc);
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        assert!(pair[1].timestamp.wrapping_sub(pair[0].timestamp) >= 160);
    }
}

/// RFC 3550 §7.2: a translator that changes the payload makes the reports its own.
#[test]
fn rfc3550_7_2_each_side_hears_reports_about_what_it_gets_and_sends() {
    let mut world = world();
    let mut caller = Talker::new(V4, 1, Codec::Pcmu, 0, 1004.0);
    let mut callee = Talker::new(V4, 2, Codec::Opus, 111, 700.0);
    let call = call(&mut world, &caller, &callee);
    for _ in 0..10 {
        caller.speak(call.rtp(Side::Caller, 0));
        callee.hear();
        callee.speak(call.rtp(Side::Callee, 0));
        caller.hear();
    }
    // The parties' own reports stop here.
    let to = call.rtcp(Side::Caller, 0);
    let report = caller.phone.report();
    caller.phone.rtcp.send_to(&report, to).unwrap();
    world.close(&call);
    for (party, sent) in [(&caller, 160 * 10), (&callee, 0)] {
        let (datagram, _) = receive(&party.phone.rtcp);
        let packets: Vec<_> = rtcp::Packets::new(&datagram)
            .collect::<Result<_, _>>()
            .unwrap();
        let rtcp::Packet::SenderReport(info, mut blocks) = packets[0] else {
            panic!("{packets:?}")
        };
        let ours = party.headers[0].ssrc;
        assert_eq!((info.ssrc, info.packets), (ours, 10));
        assert!(sent == 0 || info.octets == sent);
        let block = blocks.next().unwrap();
        assert_eq!((block.ssrc, block.lost), (party.phone.ssrc, 0));
        assert_eq!(block.highest as u16, party.phone.sequence);
    }
}
