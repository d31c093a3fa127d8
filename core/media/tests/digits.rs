//! Keys that are pressed.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod common;

use std::time::Duration;

use codec::Codec;
use codec::dtmf::{self, Detector, Dialer};
use common::talker::{Guard, Talker};
use common::{Call, V4, World, receive};
use media::{
    Command, Config, DigitSource, Event, Format, Key, Keys, PayloadKind, Profile, Side, Source,
};
use rtp::telephone_event::{Receiver, Sender, TelephoneEvent, event};
use rtp::{HEADER_LEN, Header, Packet};

fn world() -> World {
    World::new(Config {
        ports: 16_384..=23_999,
        ..Config::default()
    })
}

fn call(world: &mut World, one: &Talker, other: &Talker) -> Call {
    let call = world.allocate([Some(V4), Some(V4)], 1).unwrap();
    world.connect(&call, Side::Caller, 0, Some(one.remote()));
    world.connect(&call, Side::Callee, 0, Some(other.remote()));
    world.settle();
    call
}

const EVENTS: PayloadKind = PayloadKind::TelephoneEvent { clock: 8000 };

fn talker(ssrc: u32, codec: Codec, number: u8) -> Talker {
    Talker::new(V4, ssrc, codec, number, 1004.0).with(101, EVENTS)
}

/// Presses a key for `ms` milliseconds; of its packets, `lost` never leave.
fn press(party: &mut Talker, call: &Call, side: Side, key: char, ms: u32, lost: &[usize]) {
    let to = call.rtp(side, 0);
    let begin = party.header(101).timestamp;
    let mut sender = Sender::new(event(key).unwrap(), begin, 160, Some(ms * 8));
    let reports = std::iter::from_fn(|| sender.report()).enumerate();
    for (n, report) in reports {
        let mut header = party.header(101);
        (header.marker, header.timestamp) = (report.marker, report.timestamp);
        let mut packet = vec![0; HEADER_LEN + 4];
        header.encode(&mut packet);
        packet[HEADER_LEN..].copy_from_slice(&report.event.encode());
        if let Some(guard) = &mut party.guard {
            guard.protect(&mut packet);
        }
        if !lost.contains(&n) {
            party.phone.rtp.send_to(&packet, to).unwrap();
        }
    }
}

/// The next digit: who pressed which key for how long.
fn digit(world: &mut World, call: &Call) -> (Side, char, u32) {
    let wanted = call.session;
    world.event(|event| match event {
        Event::Digit {
            session,
            stream: 0,
            side,
            digit,
            duration_ms,
            source: DigitSource::TelephoneEvent,
        } if *session == wanted => Some((*side, digit.char(), *duration_ms)),
        _ => None,
    })
}

/// RFC 4733 §2.5.2.2: each key once, whatever is lost of it.
#[test]
fn rfc4733_2_5_2_2_digits_of_both_sides_are_told_once_and_passed_on() {
    let mut world = world();
    for other in [Codec::Pcmu, Codec::Opus] {
        for protected in [false, true] {
            let mut caller = talker(1, Codec::Pcmu, 0);
            if protected {
                caller.guard = Some(Guard::new(Profile::Aes128CmSha1_80, 7));
            }
            let mut callee = talker(2, other, 111);
            let call = call(&mut world, &caller, &callee);
            for (key, lost) in [('1', &[][..]), ('1', &[1, 3]), ('#', &[4]), ('9', &[5, 6])] {
                press(&mut caller, &call, Side::Caller, key, 100, lost);
                caller.phone.timestamp += 1600;
                assert_eq!(digit(&mut world, &call), (Side::Caller, key, 100));
            }
            // No end arrives at all.
            press(&mut callee, &call, Side::Callee, '0', 100, &[4, 5, 6]);
            assert_eq!(digit(&mut world, &call), (Side::Callee, '0', 80));
            world.close(&call);
            assert!(!world.has_event(|event| matches!(event, Event::Digit { .. })));
        }
    }
}

#[test]
fn digits_are_heard_where_payloads_pass_untouched_and_where_we_are_the_other_party() {
    let mut world = world();
    let mut caller = talker(1, Codec::Pcmu, 0);
    let mut remote = caller.remote();
    remote.described = std::mem::take(&mut remote.payloads);
    for served in [false, true] {
        let callee = (!served).then_some(V4);
        let call = world.allocate([Some(V4), callee], 1).unwrap();
        world.connect(&call, Side::Caller, 0, Some(remote.clone()));
        if served {
            world.submit(Command::Serve {
                session: call.session,
                stream: 0,
                side: Side::Caller,
                source: Source::Silence,
                number: 0,
                format: Format {
                    codec: Codec::Pcmu,
                    payload_type: 0,
                    ptime: 20,
                },
            });
        }
        world.settle();
        press(&mut caller, &call, Side::Caller, '*', 240, &[]);
        assert_eq!(digit(&mut world, &call), (Side::Caller, '*', 240));
        caller.phone.timestamp += 4000;
    }
}

fn dial(world: &World, call: &Call, side: Side, keys: &str) {
    world.submit(Command::Digits {
        session: call.session,
        stream: 0,
        side,
        digits: keys.chars().filter_map(Key::from_char).collect(),
        duration_ms: 60,
        pause_ms: 40,
    });
}

/// Hears packets until so many keys have been told of; returns these and the last header.
fn hear_keys(party: &mut Talker, count: usize) -> (String, Header) {
    let mut receiver = Receiver::default();
    let (mut keys, mut ends) = (String::new(), 0);
    loop {
        let mut datagram = receive(&party.phone.rtp).0;
        if let Some(guard) = &mut party.guard {
            let len = guard.receiver.unprotect_rtp(&mut datagram).unwrap();
            datagram.truncate(len);
        }
        let packet = Packet::parse(&datagram).unwrap();
        if packet.payload_type() != 101 {
            continue;
        }
        let event = TelephoneEvent::parse(packet.payload()).unwrap();
        ends += usize::from(event.end);
        if let Some((event, ticks)) = receiver.handle(packet.timestamp(), event).ended {
            assert_eq!(ticks, 480);
            keys.push(Key::from_event(event).unwrap().char());
        }
        if ends == 3 * count {
            return (keys, packet.header());
        }
    }
}

/// RFC 4733 §2.5.1: into a relayed, a converted and a served stream, which goes on behind them.
#[test]
fn rfc4733_2_5_1_we_press_keys_in_any_stream() {
    let mut world = world();
    let protected = Profile::AeadAes128Gcm;
    for (codec, untouched, served) in [
        (Codec::Pcmu, true, false),
        (Codec::Pcmu, false, false),
        (Codec::Pcma, false, false),
        (Codec::Pcmu, false, true),
    ] {
        let mut caller = talker(1, codec, 8);
        let mut callee = talker(2, Codec::Pcmu, 0);
        if untouched {
            caller.number = 0;
        } else {
            callee.guard = Some(Guard::new(protected, 9));
        }
        let call = world.allocate([Some(V4), Some(V4)], 1).unwrap();
        for (side, party) in [(Side::Caller, &caller), (Side::Callee, &callee)] {
            let mut remote = party.remote();
            if untouched {
                remote.described = std::mem::take(&mut remote.payloads);
            }
            world.connect(&call, side, 0, Some(remote));
        }
        if served {
            world.submit(Command::Serve {
                session: call.session,
                stream: 0,
                side: Side::Callee,
                source: Source::Tone(1004.0),
                number: 0,
                format: Format {
                    codec: Codec::Pcmu,
                    payload_type: 0,
                    ptime: 20,
                },
            });
        }
        world.settle();
        let to = call.rtp(Side::Caller, 0);
        (0..3).for_each(|_| caller.speak(to));
        (0..3).for_each(|_| _ = callee.hear());
        dial(&world, &call, Side::Callee, "1");
        dial(&world, &call, Side::Callee, "1#");
        let (keys, last) = hear_keys(&mut callee, 3);
        assert_eq!(keys, "11#");
        // The sound comes back: at the latest when the pause is over.
        let header = loop {
            caller.speak(to);
            let timeout = Some(Duration::from_millis(20));
            callee.phone.rtp.set_read_timeout(timeout).unwrap();
            let mut buffer = [0; 1];
            if callee.phone.rtp.peek_from(&mut buffer).is_ok() {
                break callee.hear();
            }
        };
        assert_eq!(header.ssrc, last.ssrc);
        assert_eq!(header.sequence, last.sequence.wrapping_add(1));
        let ticks = header.timestamp.wrapping_sub(last.timestamp);
        assert!((480..80_000).contains(&ticks), "{ticks}");
        assert!(header.marker);
        world.close(&call);
    }
}

#[test]
fn a_party_that_knows_no_events_hears_tones() {
    let mut world = world();
    for codec in [Codec::Pcma, Codec::G722, Codec::Opus] {
        let caller = talker(1, Codec::Pcmu, 0);
        let mut callee = Talker::new(V4, 2, codec, 111, 700.0);
        let call = call(&mut world, &caller, &callee);
        dial(&world, &call, Side::Callee, "159D");
        let rate = callee.rate();
        let mut detector = Detector::new(rate);
        let mut keys = String::new();
        while keys.len() < 4 {
            let from = callee.pcm.len();
            callee.hear();
            detector.process(&callee.pcm[from..], |event| {
                if let dtmf::Event::Pressed(key) = event {
                    keys.push(key.char());
                }
            });
        }
        assert_eq!(keys, "159D");
        world.close(&call);
    }
}

/// What pressing these keys for 80 ms each sounds like, with pauses of 80 ms, at so many samples a second.
fn dialed(keys: &str, rate: u32) -> Vec<i16> {
    let mut pcm = vec![0; rate as usize / 10];
    let mut dialer = Dialer::new(keys, 80, 80, rate);
    let mut piece = [0; 160];
    loop {
        match dialer.fill(&mut piece) {
            0 => return pcm,
            samples => pcm.extend(&piece[..samples]),
        }
    }
}

/// The next key that came as a tone, and from which side.
fn tone(world: &mut World, call: &Call) -> (Side, char) {
    let wanted = call.session;
    world.event(|event| match event {
        Event::Digit {
            session,
            side,
            digit,
            duration_ms: 65..=95,
            source: DigitSource::Tone,
            ..
        } if *session == wanted => Some((*side, digit.char())),
        _ => None,
    })
}

const TONES: Keys = Keys {
    tones: true,
    told: false,
};

/// A call of a party that says its keys in its sound, and of one that has events.
fn call_of_tones(world: &mut World, codec: Codec, callee: &Talker, told: bool) -> (Talker, Call) {
    let caller = Talker::new(V4, 1, codec, 0, 1004.0);
    let call = world.allocate([Some(V4), Some(V4)], 1).unwrap();
    let mut remote = caller.remote();
    remote.keys = TONES;
    world.connect(&call, Side::Caller, 0, Some(remote));
    let mut remote = callee.remote();
    remote.keys.told = told;
    world.connect(&call, Side::Callee, 0, Some(remote));
    world.settle();
    (caller, call)
}

/// RFC 4733 §2.1, ITU-T Q.24: tones become events, and are not heard beside them.
#[test]
fn rfc4733_2_1_tones_become_events_and_are_heard_no_more() {
    let mut world = world();
    for (codec, other) in [
        (Codec::Pcmu, Codec::Pcmu),
        (Codec::Pcma, Codec::Opus),
        (Codec::G722, Codec::Pcmu),
        (Codec::Opus, Codec::Pcma),
    ] {
        let mut callee = talker(2, other, 9);
        let (mut caller, call) = call_of_tones(&mut world, codec, &callee, false);
        let to = call.rtp(Side::Caller, 0);
        let mut detector = Detector::new(callee.rate());
        let mut keys = String::new();
        let mut receiver = Receiver::default();
        for key in "15D#".chars() {
            caller.say(&dialed(&key.to_string(), caller.rate()), to);
            assert_eq!(tone(&mut world, &call), (Side::Caller, key));
            let mut ends = 0;
            while ends < 3 {
                let datagram = receive(&callee.phone.rtp).0;
                let packet = Packet::parse(&datagram).unwrap();
                let header = packet.header();
                if header.payload_type == 101 {
                    let event = TelephoneEvent::parse(packet.payload()).unwrap();
                    ends += usize::from(event.end);
                    let pressed = receiver.handle(header.timestamp, event).ended;
                    keys.extend(
                        pressed
                            .and_then(|(event, _)| Key::from_event(event))
                            .map(Key::char),
                    );
                } else if header.payload_type == 9 {
                    let from = callee.pcm.len();
                    callee.hear_datagram(&datagram);
                    detector.process(&callee.pcm[from..], |event| panic!("{event:?} is heard"));
                }
            }
        }
        assert_eq!(keys, "15D#", "{codec}");
        world.close(&call);
    }
}

/// ITU-T Q.24: who wants no keys hears the tones as they are, and nobody is told.
#[test]
fn tones_are_heard_as_they_are_where_nobody_is_told_of_them() {
    let mut world = world();
    let mut callee = Talker::new(V4, 2, Codec::Pcmu, 0, 700.0);
    let (mut caller, call) = call_of_tones(&mut world, Codec::Pcmu, &callee, false);
    caller.say(&dialed("7", 8000), call.rtp(Side::Caller, 0));
    let mut heard = None;
    let mut detector = Detector::new(8000);
    while heard.is_none() {
        let from = callee.pcm.len();
        callee.hear();
        detector.process(&callee.pcm[from..], |event| heard = Some(event));
    }
    assert_eq!(heard, Key::from_char('7').map(dtmf::Event::Pressed));
    world.close(&call);
    assert!(!world.has_event(|event| matches!(event, Event::Digit { .. })));
}

/// RFC 4733 §2.1: who is told by INFO gets neither tones nor events beside it.
#[test]
fn rfc4733_2_1_who_is_told_otherwise_hears_no_keys() {
    let mut world = world();
    let mut callee = Talker::new(V4, 2, Codec::Pcmu, 0, 700.0);
    let (mut caller, call) = call_of_tones(&mut world, Codec::Pcmu, &callee, true);
    let to = call.rtp(Side::Caller, 0);
    caller.say(&dialed("7", 8000), to);
    assert_eq!(tone(&mut world, &call), (Side::Caller, '7'));
    // The party's own events, if it has agreed to some, don't become tones either.
    let mut remote = caller.remote();
    remote.payloads = talker(1, Codec::Pcmu, 0).payloads;
    world.connect(&call, Side::Caller, 0, Some(remote));
    world.settle();
    press(&mut caller, &call, Side::Caller, '5', 100, &[]);
    assert_eq!(digit(&mut world, &call), (Side::Caller, '5', 100));
    let mut detector = Detector::new(8000);
    (0..50).for_each(|_| caller.speak(to));
    callee
        .phone
        .rtp
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let tail = codec::tone::ZERO_DBM0 - 3.0;
    let level = |pcm: &[i16]| codec::tone::level(&pcm[pcm.len() - 800..], 1004.0, 8000);
    while callee.pcm.len() < 800 || level(&callee.pcm) < tail {
        let from = callee.pcm.len();
        callee.hear();
        detector.process(&callee.pcm[from..], |event| panic!("{event:?} is heard"));
    }
    world.close(&call);
}

#[test]
fn tones_are_heard_where_we_are_the_other_party_and_end_with_the_sound() {
    let mut world = world();
    let mut caller = Talker::new(V4, 1, Codec::Pcma, 8, 1004.0);
    let call = world.allocate([Some(V4), None], 1).unwrap();
    let mut remote = caller.remote();
    remote.described = std::mem::take(&mut remote.payloads);
    remote.keys = TONES;
    world.connect(&call, Side::Caller, 0, Some(remote));
    world.settle();
    let to = call.rtp(Side::Caller, 0);
    // 100 ms of silence, 80 ms of tone, then nothing at all.
    let pcm = dialed("*", 8000);
    caller.say(&pcm[..1440], to);
    assert_eq!(tone(&mut world, &call), (Side::Caller, '*'));
    world.close(&call);
}
