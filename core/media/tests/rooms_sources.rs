//! Who is heard in a conference room, as its packets tell.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod common;

use codec::{Codec, tone};
use common::talker::{Guard, Talker};
use common::{Call, V4, V6, World};
use media::{Command, Config, Format, Levels, Participant, Profile, RoomId, Side};

/// A phone in a room.
struct Member {
    talker: Talker,
    call: Call,
}

impl Member {
    fn seated(world: &mut World, talker: Talker, participant: Participant) -> Self {
        let call = world
            .allocate([Some(talker.phone.host()), None], 1)
            .unwrap();
        world.connect(&call, Side::Caller, 0, Some(talker.remote()));
        let (session, payload) = (call.session, &talker.payloads[0]);
        world.submit(Command::Join {
            session,
            stream: 0,
            side: Side::Caller,
            room: RoomId(7),
            participant,
            format: Format {
                codec: talker.codec(),
                payload_type: payload.number,
                ptime: payload.ptime,
            },
        });
        Self { talker, call }
    }

    fn ssrcs(&self) -> Vec<u32> {
        let mut ssrcs: Vec<u32> = self.talker.sources.iter().map(|(ssrc, _)| *ssrc).collect();
        ssrcs.sort_unstable();
        ssrcs
    }

    /// In most tenths of a second there was this tone.
    fn assert_hears(&self, frequency: f32) {
        let rate = self.talker.sample_rate();
        let tenths = self.talker.pcm.chunks_exact(rate as usize / 10);
        let levels: Vec<f32> = tenths.map(|t| tone::level(t, frequency, rate)).collect();
        let heard = levels.iter().filter(|level| **level > -20.0).count();
        assert!(3 * heard > 2 * levels.len(), "{frequency}: {levels:?}");
    }
}

fn world(workers: usize) -> World {
    World::new(Config {
        ports: 16_384..=23_999,
        workers,
        ..Config::default()
    })
}

/// All send until everybody is told of these sources in the same turn: the room's packets keep the time.
fn converse_until(members: &mut [Member], expected: &[&[u32]]) {
    for _ in 0..1500 {
        for member in members.iter_mut() {
            member.talker.speak(member.call.rtp(Side::Caller, 0));
        }
        members
            .iter_mut()
            .for_each(|member| _ = member.talker.hear());
        let mut pairs = members.iter().zip(expected);
        if pairs.all(|(member, expected)| member.ssrcs() == *expected) {
            return;
        }
    }
    let told: Vec<_> = members.iter().map(Member::ssrcs).collect();
    panic!("{told:?} instead of {expected:?}");
}

/// The SSRCs of those who take part.
const A: u32 = 0xa000_0001;
const B: u32 = 0xb000_0002;
const C: u32 = 0xc000_0003;
const D: u32 = 0xd000_0004;
const TOLD: Levels = Levels {
    spoken: None,
    whole: None,
    heard: Some(5),
};

/// Two speak, with other codecs and keys, and on another worker; one listens; then one of the two is silent.
#[test]
fn rfc3550_7_1_everybody_is_told_whom_it_hears() {
    for workers in [1, 2] {
        let mut world = world(workers);
        let a = Talker::new(V4, A, Codec::Pcmu, 0, 550.0);
        let mut b = Talker::new(V6, B, Codec::Opus, 111, 950.0);
        b.guard = Some(Guard::new(Profile::AeadAes128Gcm, 3));
        b.levels = TOLD;
        let mut c = Talker::new(V4, C, Codec::G722, 9, 1250.0);
        c.guard = Some(Guard::new(Profile::Aes128CmSha1_80, 6));
        c.levels = Levels {
            whole: Some(1),
            ..TOLD
        };
        c.silent = true;
        let mut members: Vec<Member> = [a, b, c]
            .into_iter()
            .map(|talker| Member::seated(&mut world, talker, Participant::default()))
            .collect();
        converse_until(&mut members, &[&[B], &[A], &[A, B]]);
        converse_until(&mut members, &[&[B], &[A], &[A, B]]);
        members[0].talker.silent = true;
        converse_until(&mut members, &[&[B], &[], &[B]]);
        members[1].talker.silent = true;
        members[2].talker.silent = false;
        converse_until(&mut members, &[&[C], &[C], &[]]);
    }
}

#[test]
fn rfc6465_3_how_loud_each_is_says_its_level() {
    let mut world = world(2);
    let speakers = [A, B].map(|ssrc| Talker::new(V4, ssrc, Codec::Pcmu, 0, 550.0));
    let mut listener = Talker::new(V4, C, Codec::Pcmu, 0, 950.0);
    listener.levels = TOLD;
    listener.silent = true;
    let [a, b] = speakers;
    let soft = Participant {
        gain: -20,
        ..Participant::default()
    };
    let mut members = vec![
        Member::seated(&mut world, a, Participant::default()),
        Member::seated(&mut world, b, soft),
        Member::seated(&mut world, listener, Participant::default()),
    ];
    // The first turn of a voice fades in.
    for _ in 0..1500 {
        converse_until(&mut members, &[&[B], &[A], &[A, B]]);
        let told = &members[2].talker.sources;
        let level = |of| {
            told.iter()
                .find(|(ssrc, _)| *ssrc == of)
                .unwrap()
                .1
                .unwrap()
        };
        if level(B) == level(A) + 20 && (3..12).contains(&level(A)) {
            return;
        }
    }
    panic!("{:?}", members[2].talker.sources);
}

/// They hear the same packets, whether they want to be told of levels or not; who is deaf hears nobody.
#[test]
fn those_who_hear_the_same_are_told_the_same() {
    let mut world = world(1);
    let deaf = Participant {
        deaf: true,
        ..Participant::default()
    };
    let speaker = Talker::new(V4, A, Codec::G722, 9, 550.0);
    let mut members = vec![Member::seated(&mut world, speaker, Participant::default())];
    for (ssrc, levels) in [(B, TOLD), (C, Levels::default()), (D, TOLD)] {
        let mut talker = Talker::new(V4, ssrc, Codec::G722, 9, 550.0);
        (talker.levels, talker.silent) = (levels, true);
        let participant = if ssrc == D {
            deaf
        } else {
            Participant::default()
        };
        members.push(Member::seated(&mut world, talker, participant));
    }
    converse_until(&mut members, &[&[], &[A], &[A], &[]]);
    members.iter_mut().for_each(|m| m.talker.hear_again());
    for _ in 0..50 {
        converse_until(&mut members, &[&[], &[A], &[A], &[]]);
    }
    members[1].assert_hears(550.0);
    members[2].assert_hears(550.0);
}

/// Who says that it is silent and is not is heard nevertheless, as is who listens to it.
#[test]
fn rfc6464_7_a_wrong_level_silences_nobody() {
    let mut world = world(1);
    let mut liar = Talker::new(V4, A, Codec::Pcmu, 0, 550.0);
    liar.levels.spoken = Some(3);
    let honest = Talker::new(V4, B, Codec::Pcmu, 0, 950.0);
    let mut members: Vec<Member> = [liar, honest]
        .into_iter()
        .map(|talker| Member::seated(&mut world, talker, Participant::default()))
        .collect();
    for _ in 0..150 {
        converse_until(&mut members, &[&[B], &[A]]);
    }
    members[0].talker.silent = true;
    converse_until(&mut members, &[&[B], &[]]);
    members[0].talker.silent = false;
    members.iter_mut().for_each(|m| m.talker.hear_again());
    for _ in 0..150 {
        converse_until(&mut members, &[&[B], &[A]]);
    }
    members[0].assert_hears(950.0);
    members[1].assert_hears(550.0);
}
