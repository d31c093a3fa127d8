//! Streams that we serve: echo, tones and prompts.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod common;

use codec::{Decoder, Parameters, tone};
use common::{Call, Phone, V4, V6, World, receive};
use media::{Codec, Command, Config, Event, Format, Side, Source};
use rtp::rtcp;

fn world() -> World {
    World::new(Config {
        ports: 16_384..=23_999,
        ..Config::default()
    })
}

fn format(codec: Codec, ptime: u8) -> Format {
    let payload_type = match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        _ => 111,
    };
    Format {
        codec,
        payload_type,
        ptime,
    }
}

/// A call that ends at us.
fn call(world: &mut World, phone: &Phone) -> Call {
    let call = world.allocate([Some(phone.host()), None], 1).unwrap();
    world.connect(&call, Side::Caller, 0, Some(phone.remote()));
    call
}

fn serve(world: &World, call: &Call, source: Source, format: Format) {
    world.submit(Command::Serve {
        session: call.session,
        stream: 0,
        side: Side::Caller,
        source,
        number: NUMBER,
        format,
    });
}

/// What each source is numbered with.
const NUMBER: u32 = 7;

fn finished(world: &mut World, call: &Call) {
    let session = call.session;
    let over = Event::Finished {
        session,
        stream: 0,
        side: Side::Caller,
        number: NUMBER,
    };
    world.event(|e| (*e == over).then_some(()));
}

/// The next RTP packet's header and payload.
fn heard(phone: &Phone) -> (rtp::Header, Vec<u8>) {
    let (datagram, _) = receive(&phone.rtp);
    let packet = rtp::Packet::parse(&datagram).unwrap();
    (packet.header(), packet.payload().to_vec())
}

/// Decodes payloads one after the other.
fn decode(codec: Codec, payloads: &[Vec<u8>]) -> (u32, Vec<i16>) {
    let mut decoder = Decoder::new(codec, &Parameters::default()).unwrap();
    let mut heard = Vec::new();
    for payload in payloads {
        let mut pcm = [0; 5760];
        let samples = decoder.decode(payload, &mut pcm).unwrap();
        heard.extend(&pcm[..samples]);
    }
    (decoder.sample_rate(), heard)
}

#[test]
fn echo_returns_each_packet_under_our_own_numbers() {
    let mut world = world();
    for host in [V4, V6] {
        let mut phone = Phone::new(host, 0xabc);
        let call = call(&mut world, &phone);
        serve(&world, &call, Source::Echo, format(Codec::Pcma, 20));
        world.settle();
        let mut first = None;
        for n in 0..50u16 {
            let sent = phone.send(call.rtp(Side::Caller, 0), n as u8);
            let (header, payload) = heard(&phone);
            assert_eq!(payload, sent[rtp::HEADER_LEN..]);
            let first = *first.get_or_insert(header);
            assert_ne!(header.ssrc, phone.ssrc);
            assert_eq!(header.ssrc, first.ssrc);
            assert_eq!(header.sequence.wrapping_sub(first.sequence), n);
            assert_eq!(
                header.timestamp.wrapping_sub(first.timestamp),
                u32::from(n) * 160
            );
        }
        let [caller, callee] = world.close(&call);
        assert_eq!((caller.packets, caller.lost, callee.packets), (50, 0, 0));
    }
}

#[test]
fn every_codec_carries_the_milliwatt_tone() {
    let mut world = world();
    let mut calls = Vec::new();
    for (codec, clock) in [
        (Codec::Pcmu, 8),
        (Codec::Pcma, 8),
        (Codec::G722, 8),
        (Codec::Opus, 48),
    ] {
        for ptime in [10, 20, 60] {
            let phone = Phone::new(V4, 1);
            let call = call(&mut world, &phone);
            serve(&world, &call, Source::Tone(1004.0), format(codec, ptime));
            calls.push((phone, call, codec, ptime, clock));
        }
    }
    for (phone, call, codec, ptime, clock) in calls {
        let format = format(codec, ptime);
        let packets: Vec<_> = (0..600 / usize::from(ptime))
            .map(|_| heard(&phone))
            .collect();
        world.close(&call);

        assert!(packets[0].0.marker);
        for pair in packets.windows(2) {
            let [(one, _), (next, _)] = pair else {
                unreachable!()
            };
            assert!(!next.marker);
            assert_eq!(
                (next.payload_type, next.ssrc),
                (format.payload_type, one.ssrc)
            );
            assert_eq!(next.sequence, one.sequence.wrapping_add(1));
            let ticks = u32::from(ptime) * clock;
            assert_eq!(next.timestamp, one.timestamp.wrapping_add(ticks));
        }
        let payloads: Vec<_> = packets.into_iter().map(|(_, payload)| payload).collect();
        let (rate, pcm) = decode(codec, &payloads);
        assert_eq!(pcm.len(), rate as usize * 6 / 10);
        // Codecs with a memory need a moment.
        let pcm = &pcm[pcm.len() / 6..];
        let level = tone::level(pcm, 1004.0, rate);
        assert!(
            (level - tone::ZERO_DBM0).abs() < 1.5,
            "{codec:?} {ptime}: {level}"
        );
        assert!(tone::level(pcm, 1404.0, rate) < -35.0);
    }
}

#[test]
fn a_prompt_is_spoken_to_its_end() {
    let mut world = world();
    let name = media::prompt("welcome").unwrap();
    let calls = [Codec::Pcmu, Codec::Opus].map(|codec| {
        let phone = Phone::new(V4, 1);
        let call = call(&mut world, &phone);
        serve(
            &world,
            &call,
            Source::Prompt(name.into()),
            format(codec, 20),
        );
        (phone, call, codec)
    });
    for (phone, call, codec) in calls {
        finished(&mut world, &call);
        let payloads: Vec<_> = waiting(&phone)
            .into_iter()
            .map(|(_, payload)| payload)
            .collect();
        world.close(&call);
        let (_, pcm) = decode(codec, &payloads);
        assert!(
            (100..400).contains(&payloads.len()),
            "{} packets",
            payloads.len()
        );
        let energy: f64 = pcm.iter().map(|s| f64::from(*s).powi(2)).sum();
        let rms = (energy / pcm.len() as f64).sqrt();
        assert!(rms > 800.0, "{codec:?}: {rms}");
    }
}

/// What has arrived already.
fn waiting(phone: &Phone) -> Vec<(rtp::Header, Vec<u8>)> {
    phone.rtp.set_nonblocking(true).unwrap();
    let mut packets = Vec::new();
    let mut buffer = [0; 2048];
    while let Ok(len) = phone.rtp.recv(&mut buffer) {
        let packet = rtp::Packet::parse(&buffer[..len]).unwrap();
        packets.push((packet.header(), packet.payload().to_vec()));
    }
    phone.rtp.set_nonblocking(false).unwrap();
    packets
}

#[test]
fn the_stream_goes_on_when_the_source_changes() {
    let mut world = world();
    let mut phone = Phone::new(V4, 1);
    let call = call(&mut world, &phone);
    let format = format(Codec::Pcmu, 20);
    let mut headers = Vec::new();
    for source in [
        Source::Tone(440.0),
        Source::Prompt("welcome".into()),
        Source::Tone(1004.0),
    ] {
        serve(&world, &call, source, format);
        world.settle();
        headers.extend((0..5).map(|_| heard(&phone).0));
    }
    serve(&world, &call, Source::Silence, format);
    world.settle();
    headers.extend(waiting(&phone).into_iter().map(|(header, _)| header));
    assert!(common::is_quiet(&phone.rtp));
    serve(&world, &call, Source::Echo, format);
    world.settle();
    phone.send(call.rtp(Side::Caller, 0), 0);
    headers.push(heard(&phone).0);

    assert_continued(&headers);
    world.close(&call);
}

#[test]
fn an_unknown_prompt_is_over_at_once() {
    let mut world = world();
    let phone = Phone::new(V4, 1);
    let call = call(&mut world, &phone);
    serve(
        &world,
        &call,
        Source::Prompt("farewell".into()),
        format(Codec::Pcmu, 20),
    );
    finished(&mut world, &call);
}

#[test]
fn a_served_caller_hears_no_one_else() {
    let mut world = world();
    let [mut caller, mut callee] = [Phone::new(V4, 1), Phone::new(V4, 2)];
    let call = world.call(&caller, &callee);
    serve(&world, &call, Source::Echo, format(Codec::Pcmu, 20));
    world.settle();
    callee.send(call.rtp(Side::Callee, 0), 7);
    caller.send(call.rtp(Side::Caller, 0), 8);
    let (_, payload) = heard(&caller);
    assert_eq!(payload[0], 8);
    let [_, stats] = world.close(&call);
    assert_eq!(stats.packets, 1);
    assert!(common::is_quiet(&callee.rtp));
}

/// Continues what a party hears: the same SSRC, the next sequence number, time that goes on.
fn assert_continued(headers: &[rtp::Header]) {
    for pair in headers.windows(2) {
        assert_eq!(pair[1].ssrc, pair[0].ssrc);
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert!((160..8000 * 20).contains(&step), "{step}");
    }
}

/// RFC 3550 §5.1: one source, whose numbers go on.
#[test]
fn rfc3550_5_1_a_party_is_served_and_hears_the_other_again_in_one_stream() {
    let mut world = world();
    for side in [Side::Caller, Side::Callee] {
        let mut phones = [Phone::new(V4, 1), Phone::new(V4, 2)];
        let call = world.call(&phones[0], &phones[1]);
        let (own, other) = (side.index(), side.other().index());
        let command = Command::Serve {
            session: call.session,
            stream: 0,
            side,
            source: Source::Tone(440.0),
            number: 0,
            format: format(Codec::Pcmu, 20),
        };
        let mut headers = Vec::new();
        for _ in 0..2 {
            world.submit(command.clone());
            world.settle();
            headers.extend((0..5).map(|_| heard(&phones[own]).0));
            // Who is served is heard by the other, and does not hear the other.
            phones[other].send(call.rtp(side.other(), 0), 9);
            let sent = phones[own].send(call.rtp(side, 0), 8);
            assert_eq!(receive(&phones[other].rtp).0, sent);
            world.submit(Command::Unserve {
                session: call.session,
                stream: 0,
                side,
            });
            world.settle();
            let played = waiting(&phones[own]).into_iter();
            headers.extend(played.inspect(|(_, p)| assert_ne!(p[0], 9)).map(|(h, _)| h));
            for n in 10..15 {
                phones[other].send(call.rtp(side.other(), 0), n);
                let (header, payload) = heard(&phones[own]);
                assert_eq!(payload, [n; 160]);
                headers.push(header);
            }
        }
        assert_continued(&headers);
        world.close(&call);
    }
}

#[test]
fn a_served_stream_says_goodbye() {
    let mut world = world();
    for mux in [false, true] {
        let mut phone = Phone::new(V4, 9);
        phone.mux = mux;
        let call = call(&mut world, &phone);
        serve(&world, &call, Source::Echo, format(Codec::Pcmu, 20));
        world.settle();
        phone.send(call.rtp(Side::Caller, 0), 1);
        let (header, _) = heard(&phone);
        world.close(&call);
        let (datagram, _) = receive(if mux { &phone.rtp } else { &phone.rtcp });
        let packets: Vec<_> = rtcp::Packets::new(&datagram)
            .collect::<Result<_, _>>()
            .unwrap();
        let [
            rtcp::Packet::SenderReport(info, mut blocks),
            _,
            rtcp::Packet::Bye { ssrc },
        ] = packets[..]
        else {
            panic!("{packets:?}");
        };
        assert_eq!(
            (info.ssrc, info.packets, ssrc),
            (header.ssrc, 1, Some(header.ssrc))
        );
        assert_eq!(blocks.next().map(|block| block.ssrc), Some(9));
    }
}
