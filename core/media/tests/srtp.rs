//! Encrypted parties.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use codec::Codec;
use common::handshake::{IDENTITY, by_dtls, shake};
use common::talker::{Guard, Talker};
use common::{Call, PATIENCE, Phone, V4, World, is_quiet, receive};
use media::dtls::{self, Endpoint, Output, Setup};
use media::{
    Command, Config, Event, Format, Insecurity, MasterKey, OwnCertificate, Profile, Remote,
    Security, Side, Source,
};
use rtp::rtcp;

fn world() -> World {
    World::new(Config {
        ports: 16_384..=23_999,
        ..Config::default()
    })
}

fn connect(world: &mut World, call: &Call, one: &Talker, other: &Talker) {
    world.connect(call, Side::Caller, 0, Some(one.remote()));
    world.connect(call, Side::Callee, 0, Some(other.remote()));
    world.settle();
}

fn call(world: &mut World, one: &Talker, other: &Talker) -> Call {
    let call = world.allocate([Some(V4), Some(V4)], 1).unwrap();
    connect(world, &call, one, other);
    call
}

fn party(ssrc: u32, codec: Codec, number: u8, profile: Option<Profile>) -> Talker {
    let frequency = [1004.0, 700.0][ssrc as usize - 1];
    let mut talker = Talker::new(V4, ssrc, codec, number, frequency);
    talker.guard = profile.map(|profile| Guard::new(profile, 10 * ssrc as u8));
    talker
}

/// A packet each way.
fn talk(call: &Call, caller: &mut Talker, callee: &mut Talker) {
    caller.speak(call.rtp(Side::Caller, 0));
    callee.hear();
    callee.speak(call.rtp(Side::Callee, 0));
    caller.hear();
}

const KINDS: [Option<Profile>; 3] = [
    None,
    Some(Profile::Aes128CmSha1_80),
    Some(Profile::AeadAes256Gcm),
];

#[test]
fn every_protection_joins_every_other_with_every_codec() {
    let mut world = world();
    let codecs = [
        ((Codec::Pcmu, 0), (Codec::Pcmu, 0)),
        ((Codec::Pcma, 8), (Codec::Pcmu, 0)),
        ((Codec::Pcmu, 0), (Codec::G722, 9)),
        ((Codec::Pcmu, 0), (Codec::Opus, 111)),
    ];
    for (one, other) in codecs {
        for one_kind in KINDS {
            for other_kind in KINDS {
                let mut caller = party(1, one.0, one.1, one_kind);
                let mut callee = party(2, other.0, other.1, other_kind);
                let call = call(&mut world, &caller, &callee);
                (0..40).for_each(|_| talk(&call, &mut caller, &mut callee));
                callee.check(1004.0);
                caller.check(700.0);
                for side in world.close(&call) {
                    let dropped = (side.forged, side.replayed, side.rejected, side.unexpected);
                    assert_eq!((side.packets, dropped), (40, (0, 0, 0, 0)));
                }
            }
        }
    }
}

#[test]
fn every_profile_is_spoken() {
    let mut world = world();
    for profile in Profile::ALL {
        let mut caller = party(1, Codec::Pcmu, 0, Some(profile));
        let mut callee = party(2, Codec::Pcmu, 0, None);
        let call = call(&mut world, &caller, &callee);
        (0..5).for_each(|_| talk(&call, &mut caller, &mut callee));
    }
}

#[test]
fn reports_are_protected_too() {
    let mut world = world();
    let mut caller = party(1, Codec::Pcmu, 0, Some(Profile::AeadAes128Gcm));
    let callee = party(2, Codec::Pcmu, 0, Some(Profile::Aes128CmSha1_32));
    let call = call(&mut world, &caller, &callee);
    let report = caller.phone.report();
    let mut sealed = || {
        let guard = caller.guard.as_mut().unwrap();
        let mut datagram = report.clone();
        datagram.resize(report.len() + srtp::MAX_OVERHEAD, 0);
        let len = guard.sender.protect_rtcp(&mut datagram, report.len());
        datagram.truncate(len.unwrap());
        datagram
    };
    let (first, second) = (sealed(), sealed());
    let mut forged = first.clone();
    forged[10] ^= 1;
    for sent in [&report, &forged, &first, &first, &second] {
        let to = call.rtcp(Side::Caller, 0);
        caller.phone.rtcp.send_to(sent, to).unwrap();
    }
    let mut guard = callee.guard.unwrap();
    for _ in 0..2 {
        let (mut heard, _) = receive(&callee.phone.rtcp);
        let len = guard.receiver.unprotect_rtcp(&mut heard).unwrap();
        assert_eq!(heard[..len], report);
    }
    let [stats, _] = world.close(&call);
    assert_eq!((stats.forged, stats.replayed), (2, 1));
    assert!(is_quiet(&callee.phone.rtcp));
}

#[test]
fn two_parties_with_the_same_keys_hear_each_other() {
    let mut world = world();
    let mut caller = party(1, Codec::Pcmu, 0, Some(Profile::AeadAes128Gcm));
    let mut callee = party(2, Codec::Pcmu, 0, None);
    callee.guard = Some(Guard::new(Profile::AeadAes128Gcm, 10));
    let call = call(&mut world, &caller, &callee);
    (0..10).for_each(|_| talk(&call, &mut caller, &mut callee));
}

/// RFC 3711 §3.3.2, §9.5.1: what is not authentic changes nothing.
#[test]
fn rfc3711_9_5_1_a_spoofed_packet_does_not_move_the_stream() {
    let mut world = world();
    let mut caller = party(1, Codec::Pcmu, 0, Some(Profile::Aes128CmSha1_80));
    let mut callee = party(2, Codec::Pcmu, 0, None);
    let call = call(&mut world, &caller, &callee);
    talk(&call, &mut caller, &mut callee);
    let to = call.rtp(Side::Caller, 0);
    // Anyone may send from the signalled address to a plain party; here it takes the key.
    let stranger = Phone::new(V4, 1);
    for n in 0..20 {
        let mut packet = caller.packet();
        packet.extend([n; 10]);
        stranger.rtp.send_to(&packet, to).unwrap();
        caller.phone.rtp.send_to(&packet, to).unwrap();
    }
    let replayed = caller.guarded();
    caller.phone.rtp.send_to(&replayed, to).unwrap();
    callee.hear();
    stranger.rtp.send_to(&replayed, to).unwrap();
    talk(&call, &mut caller, &mut callee);
    assert!(is_quiet(&stranger.rtp) && is_quiet(&callee.phone.rtp));
    let [stats, _] = world.close(&call);
    assert_eq!((stats.forged, stats.replayed, stats.packets), (40, 1, 3));
}

#[test]
fn whoever_has_the_key_is_answered_where_he_is() {
    let mut world = world();
    let mut caller = party(1, Codec::Pcmu, 0, Some(Profile::AeadAes128Gcm));
    let mut callee = party(2, Codec::Pcmu, 0, None);
    let call = call(&mut world, &caller, &callee);
    talk(&call, &mut caller, &mut callee);
    // Its NAT gave it another port.
    caller.phone.rtp = Phone::new(V4, 1).rtp;
    talk(&call, &mut caller, &mut callee);
}

#[test]
fn saying_the_same_keys_again_changes_nothing_and_new_ones_take_over() {
    let mut world = world();
    let mut caller = party(1, Codec::Pcmu, 0, Some(Profile::Aes128CmSha1_80));
    let mut callee = party(2, Codec::Opus, 111, Some(Profile::AeadAes256Gcm));
    // Through the turn of the sequence numbers.
    caller.phone.sequence = 65_530;
    let call = call(&mut world, &caller, &callee);
    for round in 0..5 {
        for _ in 0..5 {
            talk(&call, &mut caller, &mut callee);
        }
        if round > 1 {
            caller.guard.as_mut().unwrap().rekey(100 + 2 * round);
        }
        connect(&mut world, &call, &caller, &callee);
    }
    // A packet under the old key that was still under way.
    let late = caller.guarded();
    caller.guard.as_mut().unwrap().rekey(200);
    connect(&mut world, &call, &caller, &callee);
    caller
        .phone
        .rtp
        .send_to(&late, call.rtp(Side::Caller, 0))
        .unwrap();
    callee.hear();
    talk(&call, &mut caller, &mut callee);
    caller.check(700.0);
    let stats = world.close(&call);
    assert!(stats.iter().all(|s| s.forged == 0 && s.replayed == 0));
}

/// RFC 3711 §9.1: no key stream is used twice.
#[test]
fn rfc3711_9_1_a_source_that_counts_anew_gets_another_ssrc() {
    let mut world = world();
    let mut caller = party(1, Codec::Pcmu, 0, None);
    let mut callee = party(2, Codec::Pcmu, 0, Some(Profile::AeadAes128Gcm));
    caller.phone.sequence = 20_000;
    let call = call(&mut world, &caller, &callee);
    (0..5).for_each(|_| talk(&call, &mut caller, &mut callee));
    caller.phone.sequence = 15_000;
    let to = call.rtp(Side::Caller, 0);
    // The first packet after the jump may be noise; it is refused.
    caller.speak(to);
    (0..5).for_each(|_| talk(&call, &mut caller, &mut callee));
    let ssrcs: Vec<u32> = callee.headers.iter().map(|h| h.ssrc).collect();
    assert!(ssrcs[..5].iter().all(|ssrc| *ssrc == 1));
    assert!(
        ssrcs[5..]
            .iter()
            .all(|ssrc| *ssrc == ssrcs[5] && *ssrc != 1)
    );
    assert_eq!(callee.headers[5].sequence, 15_002);
}

#[test]
fn a_withdrawn_stream_comes_back_with_its_counters() {
    let mut world = world();
    let mut caller = party(1, Codec::Pcmu, 0, Some(Profile::AeadAes128Gcm));
    let mut callee = party(2, Codec::Pcmu, 0, Some(Profile::AeadAes128Gcm));
    let call = call(&mut world, &caller, &callee);
    talk(&call, &mut caller, &mut callee);
    let seen = caller.guarded();
    caller
        .phone
        .rtp
        .send_to(&seen, call.rtp(Side::Caller, 0))
        .unwrap();
    callee.hear();
    world.connect(&call, Side::Caller, 0, None);
    world.settle();
    connect(&mut world, &call, &caller, &callee);
    caller
        .phone
        .rtp
        .send_to(&seen, call.rtp(Side::Caller, 0))
        .unwrap();
    talk(&call, &mut caller, &mut callee);
    assert_eq!(world.close(&call)[0].replayed, 1);
}

#[test]
fn keys_that_do_not_fit_let_nothing_pass() {
    let mut world = world();
    let caller = party(1, Codec::Pcmu, 0, None);
    let mut callee = party(2, Codec::Pcmu, 0, None);
    let call = call(&mut world, &caller, &callee);
    let key = MasterKey::new(&[1; 16], &[1; 14]).unwrap();
    let remote = Remote {
        security: Security::Sdes {
            profile: Profile::AeadAes128Gcm,
            local: key.clone(),
            remote: key,
        },
        ..caller.remote()
    };
    world.connect(&call, Side::Caller, 0, Some(remote));
    let session = call.session;
    let failed = Event::SecurityFailed {
        session,
        stream: 0,
        side: Side::Caller,
        reason: Insecurity::KeyLength,
    };
    world.event(|event| (*event == failed).then_some(()));
    callee.speak(call.rtp(Side::Callee, 0));
    world.close(&call);
    assert!(is_quiet(&caller.phone.rtp));
}

#[test]
fn echo_and_tones_are_protected() {
    let mut world = world();
    let mut caller = party(1, Codec::Pcmu, 0, Some(Profile::Aes256CmSha1_80));
    let call = world.allocate([Some(V4), None], 1).unwrap();
    world.connect(&call, Side::Caller, 0, Some(caller.remote()));
    let serve = |source| Command::Serve {
        session: call.session,
        stream: 0,
        side: Side::Caller,
        source,
        number: 0,
        format: Format {
            codec: Codec::Pcmu,
            payload_type: 0,
            ptime: 20,
        },
    };
    world.submit(serve(Source::Echo));
    world.settle();
    for _ in 0..30 {
        caller.speak(call.rtp(Side::Caller, 0));
        caller.hear();
    }
    caller.check(1004.0);
    caller.hear_again();
    world.submit(serve(Source::Tone(440.0)));
    (0..30).for_each(|_| _ = caller.hear());
    caller.check(440.0);
    world.close(&call);
    let (mut report, _) = receive(&caller.phone.rtcp);
    let guard = caller.guard.as_mut().unwrap();
    let len = guard.receiver.unprotect_rtcp(&mut report).unwrap();
    let packets: Vec<_> = rtcp::Packets::new(&report[..len]).collect();
    assert!(matches!(packets[0], Ok(rtcp::Packet::SenderReport(..))));
}

#[test]
fn a_served_party_is_protected_and_stays_so_when_it_hears_the_other_again() {
    let mut world = world();
    let profile = Some(Profile::AeadAes128Gcm);
    // Once with the same codec on both sides, once with what has to be transcoded.
    for codec in [Codec::Pcmu, Codec::G722] {
        let mut caller = party(1, Codec::Pcmu, 0, None);
        let mut callee = party(2, codec, 9, profile);
        let call = call(&mut world, &caller, &callee);
        talk(&call, &mut caller, &mut callee);
        callee.hear_again();
        world.submit(Command::Serve {
            session: call.session,
            stream: 0,
            side: Side::Callee,
            source: Source::Tone(700.0),
            number: 0,
            format: Format {
                codec,
                payload_type: 9,
                ptime: 20,
            },
        });
        (0..30).for_each(|_| _ = callee.hear());
        callee.check(700.0);
        let served = callee.headers.last().unwrap().ssrc;
        world.submit(Command::Unserve {
            session: call.session,
            stream: 0,
            side: Side::Callee,
        });
        world.settle();
        while !is_quiet(&callee.phone.rtp) {}
        callee.hear_again();
        for _ in 0..30 {
            caller.speak(call.rtp(Side::Caller, 0));
            assert_eq!(callee.hear().ssrc, served);
        }
        callee.check(1004.0);
        world.close(&call);
    }
}

fn secured(world: &mut World, call: &Call) -> (Side, Profile) {
    let session = call.session;
    world.event(|event| match event {
        Event::Secured {
            session: s,
            side,
            profile,
            ..
        } if *s == session => Some((*side, *profile)),
        _ => None,
    })
}

/// RFC 5763 §5: either side may begin.
#[test]
fn rfc5763_5_dtls_keys_a_party_that_begins_or_waits() {
    let mut world = world();
    let ours = world
        .plane
        .handle()
        .fingerprint(OwnCertificate::First)
        .unwrap();
    for (setup, theirs) in [
        (Setup::Active, Setup::Passive),
        (Setup::Passive, Setup::Active),
    ] {
        for (codec, number) in [(Codec::Pcmu, 0), (Codec::Opus, 111)] {
            let mut caller = party(1, codec, number, None);
            let mut callee = party(2, Codec::Pcmu, 0, None);
            let call = world.allocate([Some(V4), Some(V4)], 1).unwrap();
            let remote = by_dtls(&caller, IDENTITY.fingerprint(), setup);
            world.connect(&call, Side::Callee, 0, Some(callee.remote()));
            world.connect(&call, Side::Caller, 0, Some(remote.clone()));
            world.settle();
            // Nothing passes before there are keys.
            callee.speak(call.rtp(Side::Callee, 0));
            let to = call.rtp(Side::Caller, 0);
            caller.speak(to);
            let now = Instant::now();
            let mut endpoint = Endpoint::new(Arc::clone(&IDENTITY), theirs, ours, now);
            assert_eq!(shake(&mut caller, &mut endpoint, to), None);
            assert_eq!(secured(&mut world, &call).0, Side::Caller);
            assert!(is_quiet(&callee.phone.rtp));
            for _ in 0..20 {
                talk(&call, &mut caller, &mut callee);
            }
            callee.check(1004.0);
            // Saying the same again begins nothing.
            world.connect(&call, Side::Caller, 0, Some(remote));
            world.settle();
            talk(&call, &mut caller, &mut callee);
            let [stats, _] = world.close(&call);
            assert_eq!((stats.packets, stats.forged, stats.replayed), (21, 0, 0));
        }
    }
}

/// RFC 5763 §5, §6.7: the certificate must be the one that was signalled.
#[test]
fn rfc5763_5_a_party_with_another_certificate_is_not_heard() {
    let mut world = world();
    let ours = world
        .plane
        .handle()
        .fingerprint(OwnCertificate::First)
        .unwrap();
    let mut caller = party(1, Codec::Pcmu, 0, None);
    let call = world.allocate([Some(V4), Some(V4)], 1).unwrap();
    // Ours instead of the party's.
    let remote = by_dtls(&caller, ours, Setup::Passive);
    world.connect(&call, Side::Caller, 0, Some(remote));
    world.settle();
    let now = Instant::now();
    let mut endpoint = Endpoint::new(Arc::clone(&IDENTITY), Setup::Active, ours, now);
    let to = call.rtp(Side::Caller, 0);
    let session = call.session;
    // What the party itself sees of it does not matter.
    let socket = &caller.phone.rtp;
    socket
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let failed = Event::SecurityFailed {
        session,
        stream: 0,
        side: Side::Caller,
        reason: Insecurity::Dtls(dtls::Error::Fingerprint),
    };
    let deadline = Instant::now() + PATIENCE;
    while !world.has_event(|event| *event == failed) {
        assert!(Instant::now() < deadline, "never refused");
        endpoint.handle_timeout(Instant::now());
        while let Some(output) = endpoint.poll() {
            if let Output::Packet(packet) = output {
                caller.phone.rtp.send_to(&packet, to).unwrap();
            }
        }
        let mut datagram = [0; 2048];
        if let Ok((len, _)) = caller.phone.rtp.recv_from(&mut datagram) {
            endpoint.handle(&datagram[..len], Instant::now());
        }
    }
    let session_events = |event: &Event| matches!(event, Event::Secured { .. });
    assert!(!world.has_event(session_events));
    caller.speak(to);
    world.close(&call);
}

#[test]
fn a_lost_flight_of_the_handshake_is_sent_again() {
    let mut world = world();
    let ours = world
        .plane
        .handle()
        .fingerprint(OwnCertificate::First)
        .unwrap();
    let mut caller = party(1, Codec::Pcmu, 0, None);
    let callee = party(2, Codec::Pcmu, 0, None);
    let call = world.allocate([Some(V4), Some(V4)], 1).unwrap();
    world.connect(&call, Side::Callee, 0, Some(callee.remote()));
    let remote = by_dtls(&caller, IDENTITY.fingerprint(), Setup::Active);
    world.connect(&call, Side::Caller, 0, Some(remote));
    // The first ClientHello never arrives.
    receive(&caller.phone.rtp);
    let now = Instant::now();
    let mut endpoint = Endpoint::new(Arc::clone(&IDENTITY), Setup::Passive, ours, now);
    let to = call.rtp(Side::Caller, 0);
    assert_eq!(shake(&mut caller, &mut endpoint, to), None);
    assert_eq!(secured(&mut world, &call).0, Side::Caller);
}
