//! Conference rooms over real sockets.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod common;

use codec::{Codec, tone};
use common::talker::{Guard, Talker};
use common::{Call, V4, V6, World};
use media::{
    Command, Config, Container, Event, Format, Participant, Profile, Recording, RoomId, SessionId,
    Side,
};

const ROOM: RoomId = RoomId(7);
/// No two add up to a third, or are its multiples.
const TONES: [f32; 6] = [350.0, 550.0, 950.0, 1250.0, 1450.0, 2150.0];
const CODECS: [(Codec, u8); 4] = [
    (Codec::Pcmu, 0),
    (Codec::Pcma, 8),
    (Codec::G722, 9),
    (Codec::Opus, 111),
];

fn world(workers: usize) -> World {
    World::new(Config {
        ports: 16_384..=23_999,
        workers,
        ..Config::default()
    })
}

/// A phone in a room, and the tone that it sends.
struct Member {
    talker: Talker,
    call: Call,
    tone: f32,
}

impl Member {
    fn new(world: &mut World, host: &str, tone: f32, (codec, number): (Codec, u8)) -> Self {
        Self::of(
            world,
            Talker::new(host, tone as u32, codec, number, tone),
            tone,
        )
    }

    /// A phone that has joined.
    fn seated(world: &mut World, host: &str, tone: f32, codec: (Codec, u8)) -> Self {
        Self::new(world, host, tone, codec).join(world, Participant::default())
    }

    /// One for each tone.
    fn all(world: &mut World, tones: &[f32], codec: (Codec, u8)) -> Vec<Self> {
        let seated = |tone: &f32| Self::seated(world, V4, *tone, codec);
        tones.iter().map(seated).collect()
    }

    fn of(world: &mut World, talker: Talker, tone: f32) -> Self {
        let host = talker.phone.host();
        let call = world.allocate([Some(host), None], 1).unwrap();
        world.connect(&call, Side::Caller, 0, Some(talker.remote()));
        Self { talker, call, tone }
    }

    fn join(self, world: &World, participant: Participant) -> Self {
        let (session, payload) = (self.call.session, &self.talker.payloads[0]);
        world.submit(Command::Join {
            session,
            stream: 0,
            side: Side::Caller,
            room: ROOM,
            participant,
            format: Format {
                codec: self.talker.codec(),
                payload_type: payload.number,
                ptime: payload.ptime,
            },
        });
        self
    }

    fn adjust(&self, world: &World, participant: Participant) {
        world.submit(Command::Adjust {
            session: self.session(),
            stream: 0,
            side: Side::Caller,
            participant,
        });
    }

    fn session(&self) -> SessionId {
        self.call.session
    }

    fn speak(&mut self) {
        self.talker.speak(self.call.rtp(Side::Caller, 0));
    }

    /// The levels of a tone in what it has heard lately, by tenths of a second.
    fn levels(&self, frequency: f32) -> Vec<f32> {
        let rate = self.talker.sample_rate();
        let pcm = &self.talker.pcm;
        let recent = &pcm[pcm.len() - rate as usize * 2 / 5..];
        let tenths = recent.chunks_exact(rate as usize / 10);
        let mut levels: Vec<f32> = tenths.map(|t| tone::level(t, frequency, rate)).collect();
        levels.sort_by(f32::total_cmp);
        levels
    }

    /// The level of a tone where it is heard best.
    fn level(&self, frequency: f32) -> f32 {
        *self.levels(frequency).last().unwrap()
    }

    fn assert_hears(&self, frequency: f32) {
        self.assert_hears_at(-20.0, frequency);
    }

    fn assert_hears_no(&self, frequency: f32) {
        let level = self.levels(frequency)[1];
        assert!(level < -38.0, "{} hears {frequency} at {level}", self.tone);
    }

    fn assert_hears_at(&self, least: f32, frequency: f32) {
        let level = self.level(frequency);
        assert!(level > least, "{} hears {frequency} at {level}", self.tone);
    }
}

/// All speak, and hear what comes meanwhile: the room's packets keep the time.
fn converse(members: &mut [Member], turns: u32) {
    for _ in 0..turns {
        members.iter_mut().for_each(Member::speak);
        listen(members);
    }
}

/// All hear what comes next.
fn listen(members: &mut [Member]) {
    for member in members {
        member.talker.hear();
    }
}

/// Everybody hears all others and not itself.
fn assert_mix_minus(members: &[Member]) {
    for (at, member) in members.iter().enumerate() {
        for (other, it) in members.iter().enumerate() {
            match at == other {
                true => member.assert_hears_no(it.tone),
                false => member.assert_hears(it.tone),
            }
        }
    }
}

#[test]
fn each_hears_all_others_and_not_itself_whatever_the_codec() {
    let mut world = world(1);
    let mut members: Vec<Member> = CODECS
        .into_iter()
        .zip(TONES)
        .map(|(codec, tone)| Member::seated(&mut world, V4, tone, codec))
        .collect();
    converse(&mut members, 60);
    assert_mix_minus(&members);
    for member in &members {
        let headers = &member.talker.headers;
        assert!(headers[0].marker);
        for pair in headers.windows(2) {
            assert_eq!(pair[0].ssrc, pair[1].ssrc);
            assert_eq!(pair[0].sequence.wrapping_add(1), pair[1].sequence);
            let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
            assert_eq!(step, member.talker.ticks());
        }
    }
    for member in members {
        let stats = world.close(&member.call);
        // The last ones may still be on their way.
        assert!(stats[0].packets >= 58);
        assert_eq!(stats[0].unexpected, 0);
    }
}

#[test]
fn a_room_spreads_over_workers() {
    let mut world = world(2);
    let mut members = Member::all(&mut world, &TONES, (Codec::Pcmu, 0));
    // Pairs of ports are dealt out to the workers in turn.
    let worker = |member: &Member| member.call.rtp(Side::Caller, 0).port() / 2 % 2;
    assert!(members.iter().any(|m| worker(m) == 0));
    assert!(members.iter().any(|m| worker(m) == 1));
    converse(&mut members, 70);
    assert_mix_minus(&members);
}

#[test]
fn packets_of_any_length_and_keys_of_ones_own() {
    let mut world = world(1);
    let mut members = Vec::new();
    for (n, (codec, ptime)) in [(8, 10), (0, 30), (9, 20), (111, 40)]
        .into_iter()
        .enumerate()
    {
        let (kind, number) = CODECS.into_iter().find(|(_, pt)| *pt == codec).unwrap();
        let mut talker = Talker::new(V6, n as u32 + 1, kind, number, TONES[n]);
        talker.ptime = ptime;
        talker.payloads[0].ptime = ptime as u8;
        if n % 2 == 0 {
            talker.guard = Some(Guard::new(Profile::AeadAes128Gcm, 10 * n as u8));
        }
        let member = Member::of(&mut world, talker, TONES[n]);
        members.push(member.join(&world, Participant::default()));
    }
    for turn in 0..120u32 {
        let due = |member: &Member| (turn * 10).is_multiple_of(member.talker.ptime);
        for member in members.iter_mut().filter(|m| due(m)) {
            member.speak();
        }
        // The one with the shortest packets keeps the time.
        members[0].talker.hear();
        for member in &mut members[1..] {
            while member.talker.hear_now() {}
        }
    }
    for member in &mut members {
        while member.talker.hear_now() {}
    }
    assert_mix_minus(&members);
}

#[test]
fn who_is_muted_is_not_heard_and_who_is_deaf_does_not_hear() {
    let mut world = world(1);
    let mut members = Member::all(&mut world, &TONES[..3], (Codec::G722, 9));
    converse(&mut members, 40);
    assert_mix_minus(&members);

    let muted = Participant {
        muted: true,
        ..Participant::default()
    };
    members[0].adjust(&world, muted);
    converse(&mut members, 40);
    members[0].assert_hears(TONES[1]);
    members[1].assert_hears_no(TONES[0]);
    members[2].assert_hears_no(TONES[0]);
    members[2].assert_hears(TONES[1]);

    let deaf = Participant {
        deaf: true,
        ..Participant::default()
    };
    members[0].adjust(&world, deaf);
    converse(&mut members, 40);
    members[0].assert_hears_no(TONES[1]);
    members[0].assert_hears_no(TONES[2]);
    members[1].assert_hears(TONES[0]);

    let loud = Participant {
        gain: -12,
        ..Participant::default()
    };
    members[0].adjust(&world, loud);
    converse(&mut members, 40);
    let softer = members[1].level(TONES[2]) - members[1].level(TONES[0]);
    assert!((softer - 12.0).abs() < 2.0, "{softer}");
    members[0].assert_hears(TONES[1]);
}

#[test]
fn who_leaves_is_gone_and_may_come_back() {
    let mut world = world(1);
    let mut members = Member::all(&mut world, &TONES[..3], (Codec::Pcma, 8));
    converse(&mut members, 30);
    let last = members.pop().unwrap();
    world.submit(Command::Leave {
        session: last.session(),
        stream: 0,
        side: Side::Caller,
    });
    let closed = members.pop().unwrap();
    world.close(&closed.call);
    converse(&mut members, 40);
    members[0].assert_hears_no(TONES[1]);
    members[0].assert_hears_no(TONES[2]);

    let mut last = last.join(&world, Participant::default());
    while last.talker.hear_now() {}
    members.push(last);
    converse(&mut members, 40);
    assert_mix_minus(&members);
    // The stream to it is the one that it knows.
    let headers = &members[1].talker.headers;
    assert!(headers.iter().all(|header| header.ssrc == headers[0].ssrc));
}

#[test]
fn coming_and_going_is_heard_if_wanted() {
    let mut world = world(1);
    let quiet = Member::new(&mut world, V4, 0.0, (Codec::Pcmu, 0));
    let mut members = [quiet.join(&world, Participant::default())];
    converse(&mut members, 10);
    let announced = Participant {
        announced: true,
        muted: true,
        ..Participant::default()
    };
    let guest = Member::new(&mut world, V4, TONES[0], (Codec::Pcmu, 0)).join(&world, announced);
    world.settle();
    converse(&mut members, 20);
    members[0].assert_hears_at(-30.0, 587.0);
    members[0].assert_hears_at(-30.0, 880.0);
    converse(&mut members, 20);
    members[0].assert_hears_no(880.0);
    world.close(&guest.call);
    converse(&mut members, 20);
    members[0].assert_hears_at(-30.0, 880.0);
}

/// Nobody hears a name while it is said; all others hear it when its owner comes, and when it goes.
#[test]
fn a_name_is_heard_at_coming_and_going() {
    let mut world = world(1);
    let listener = Member::new(&mut world, V4, 0.0, (Codec::Pcmu, 0));
    let naming = Participant {
        announced: true,
        deaf: true,
        naming: true,
        ..Participant::default()
    };
    let guest = Member::new(&mut world, V4, TONES[3], (Codec::Opus, 111));
    let mut members = [
        listener.join(&world, Participant::default()),
        guest.join(&world, naming),
    ];
    converse(&mut members, 60);
    members[0].assert_hears_no(TONES[3]);
    // Muted: what is heard from here on is the name.
    let named = Participant {
        announced: true,
        muted: true,
        ..Participant::default()
    };
    members[1].adjust(&world, named);
    world.settle();
    converse(&mut members, 20);
    members[0].assert_hears_at(-30.0, 587.0);
    let [mut listener, guest] = members;
    let mut until = |says: bool| {
        for _ in 0..100 {
            let levels = listener.levels(TONES[3]);
            if levels.iter().any(|level| *level > -20.0) == says {
                return;
            }
            converse(std::slice::from_mut(&mut listener), 10);
        }
        panic!("the name is heard: not {says}");
    };
    until(true);
    until(false);
    world.close(&guest.call);
    until(true);
    until(false);
}

#[test]
fn losses_and_disorder_are_made_up_for() {
    let mut world = world(1);
    let mut members: Vec<Member> = CODECS
        .into_iter()
        .zip(TONES)
        .map(|(codec, tone)| Member::seated(&mut world, V4, tone, codec))
        .collect();
    let mut held: Vec<Option<Vec<u8>>> = vec![None; members.len()];
    for turn in 0..150usize {
        for (at, member) in members.iter_mut().enumerate() {
            let packet = member.talker.guarded();
            let to = member.call.rtp(Side::Caller, 0);
            let late = held[at].take();
            match (turn * 7 + at * 3) % 20 {
                // Lost.
                0 => {}
                // Overtaken by the next one.
                5 | 11 => held[at] = Some(packet),
                _ => _ = member.talker.phone.rtp.send_to(&packet, to).unwrap(),
            }
            if let Some(late) = late {
                member.talker.phone.rtp.send_to(&late, to).unwrap();
            }
        }
        listen(&mut members);
    }
    assert_mix_minus(&members);
}

#[test]
fn who_speaks_is_told() {
    let mut world = world(2);
    let mut members = Member::all(&mut world, &TONES[..2], (Codec::Pcmu, 0));
    let sessions: Vec<SessionId> = members.iter().map(Member::session).collect();
    let told = |(session, ssrc): (SessionId, u32), talking| {
        move |event: &Event| match event {
            Event::Talking {
                session: of,
                talking: now,
                ssrc: known,
            } => {
                assert!(*of != session || *known == Some(ssrc), "{event:?}");
                (*of == session && *now == talking).then_some(())
            }
            _ => None,
        }
    };
    let leads =
        |session| move |event: &Event| (*event == Event::ActiveSpeaker { session }).then_some(());
    for at in [0, 1] {
        for _ in 0..60 {
            members[at].speak();
            listen(&mut members);
        }
        world.event(told((sessions[at], members[at].talker.phone.ssrc), true));
        world.event(leads(sessions[at]));
        // The other one's turn: this one falls silent.
        for _ in 0..40 {
            listen(&mut members);
        }
        world.event(told((sessions[at], members[at].talker.phone.ssrc), false));
    }
}

/// A room that is recorded, and what is in the file.
struct Taped {
    folder: tempfile::TempDir,
    world: World,
}

impl Taped {
    fn new(workers: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new(Config {
            ports: 16_384..=23_999,
            workers,
            recordings: Some(folder.path().to_owned()),
            ..Config::default()
        });
        Self { folder, world }
    }

    fn record(&self, by: &Member, name: Option<&str>) {
        self.world.submit(Command::RecordRoom {
            session: by.session(),
            room: ROOM,
            recording: name.map(|name| {
                Box::new(Recording {
                    name: name.into(),
                    container: Container::Wav,
                    mono: false,
                    sides: [true; 2],
                })
            }),
        });
    }

    fn pause(&self, by: &Member, paused: bool) {
        self.world.submit(Command::PauseRoom {
            session: by.session(),
            room: ROOM,
            paused,
        });
    }

    /// How many tenths of a second of a tone there are in a file, once it is complete.
    fn tenths(&mut self, wanted: &str, tones: &[f32]) -> Vec<usize> {
        let error = self.world.event(|event| match event {
            Event::Recorded { name, error, .. } if **name == *wanted => Some(error.clone()),
            _ => None,
        });
        assert_eq!(error, None);
        let wav = std::fs::read(self.folder.path().join(wanted)).unwrap();
        assert_eq!(wav[22], 1, "it has one channel");
        assert_eq!(wav[24..28], 16_000u32.to_le_bytes());
        let (samples, _) = wav[44..].as_chunks();
        let pcm: Vec<i16> = samples.iter().map(|s| i16::from_le_bytes(*s)).collect();
        let heard = |tone: &f32| {
            let tenths = pcm.chunks_exact(1600);
            tenths
                .filter(|t| tone::level(t, *tone, 16_000) > -20.0)
                .count()
        };
        tones.iter().map(heard).collect()
    }
}

#[test]
fn a_room_is_recorded_whoever_is_there() {
    let mut taped = Taped::new(2);
    let mut members: Vec<Member> = (0..6)
        .map(|n| Member::seated(&mut taped.world, V4, TONES[n % 2], CODECS[n % 4]))
        .collect();
    // The others are silent, or the tones would add up.
    members
        .iter_mut()
        .skip(2)
        .for_each(|m| m.talker.silent = true);
    converse(&mut members, 20);
    taped.record(&members[0], Some("one.wav"));
    converse(&mut members, 50);
    // Who was recorded first goes, and then all of one worker.
    while members.len() > 1 {
        let gone = members.remove(0);
        taped.world.close(&gone.call);
        converse(&mut members, 5);
    }
    members[0].talker.silent = false;
    converse(&mut members, 50);
    taped.world.close(&members[0].call);
    let heard = taped.tenths("one.wav", &TONES[..2]);
    assert!((8..=16).contains(&heard[0]), "{heard:?}");
    assert!((16..=26).contains(&heard[1]), "{heard:?}");
}

#[test]
fn a_recording_of_a_room_pauses_and_ends() {
    let mut taped = Taped::new(2);
    let mut members: Vec<Member> = (0..3)
        .map(|n| Member::seated(&mut taped.world, V4, TONES[n], CODECS[0]))
        .collect();
    members
        .iter_mut()
        .skip(1)
        .for_each(|m| m.talker.silent = true);
    converse(&mut members, 20);
    taped.record(&members[2], Some("one.wav"));
    converse(&mut members, 30);
    taped.pause(&members[1], true);
    converse(&mut members, 50);
    taped.pause(&members[0], false);
    converse(&mut members, 30);
    taped.record(&members[1], None);
    let heard = taped.tenths("one.wav", &TONES[..1]);
    assert!((9..=14).contains(&heard[0]), "{heard:?}");
    // Another one begins, and what was there is not written over.
    taped.record(&members[0], Some("one.wav"));
    let error = taped.world.event(|event| match event {
        Event::Recorded { error, .. } => Some(error.clone()),
        _ => None,
    });
    assert!(error.is_some());
    taped.record(&members[0], Some("two.wav"));
    converse(&mut members, 30);
    for member in members {
        taped.world.close(&member.call);
    }
    assert!(taped.tenths("two.wav", &TONES[..1])[0] >= 4);
}
