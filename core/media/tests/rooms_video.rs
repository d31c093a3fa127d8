//! Pictures in conference rooms over real sockets.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod common;

use codec::Codec;
use common::talker::{Guard, Talker};
use common::{Call, Phone, V4, World};
use media::{
    Command, Config, Event, Format, Participant, Profile, Remote, RoomId, Security, Side,
    VideoCodec, VideoFormat,
};
use rtp::feedback::{self, Feedback};
use rtp::rtcp::{Packets, Writer};
use rtp::{HEADER_LEN, Header, Packet};

const ROOM: RoomId = RoomId(9);
const FORMAT: VideoFormat = VideoFormat {
    codec: VideoCodec::Vp8,
    payload_type: 96,
    sends: true,
    receives: true,
    repeats: true,
    intra: false,
};
/// Packets of a picture.
const PARTS: u16 = 2;

fn world(workers: usize) -> World {
    World::new(Config {
        ports: 16_384..=23_999,
        workers,
        ..Config::default()
    })
}

/// What a participant has been shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Seen {
    header: Header,
    /// Whose picture it is, and whether it stands alone.
    camera: u8,
    keyframe: bool,
    /// The picture's number.
    number: u16,
}

/// A participant with a microphone and a camera.
struct Member {
    talker: Talker,
    video: Phone,
    guard: Option<Guard>,
    call: Call,
    camera: u8,
    /// The number of the next picture.
    number: u16,
    /// A keyframe is wanted; how often one was.
    wanted: bool,
    wishes: usize,
    /// Sequence numbers that are wanted once more.
    missing: Vec<u16>,
    /// Its camera hears no wishes.
    deaf: bool,
    /// This packet is lost on its way to us.
    loses: Option<u16>,
    seen: Vec<Seen>,
}

impl Member {
    fn new(world: &mut World, camera: u8, guard: Option<Guard>, format: VideoFormat) -> Self {
        let talker = Talker::new(V4, camera.into(), Codec::Pcmu, 0, 600.0);
        let video = Phone::new(V4, 1000 + u32::from(camera));
        let call = world.allocate([Some(V4), None], 2).unwrap();
        world.connect(&call, Side::Caller, 0, Some(talker.remote()));
        let security = guard.as_ref().map_or(Security::Plain, Guard::security);
        let remote = Remote {
            security,
            ..video.remote()
        };
        world.connect(&call, Side::Caller, 1, Some(remote));
        let session = call.session;
        world.submit(Command::Join {
            session,
            stream: 0,
            side: Side::Caller,
            room: ROOM,
            participant: Participant::default(),
            format: Format {
                codec: Codec::Pcmu,
                payload_type: 0,
                ptime: 20,
            },
        });
        let member = Self {
            talker,
            video,
            guard,
            call,
            camera,
            number: u16::from(camera) * 1000,
            wanted: false,
            wishes: 0,
            missing: Vec::new(),
            deaf: false,
            loses: None,
            seen: Vec::new(),
        };
        member.watch(world, format);
        // Who comes first is seen first, whatever worker it is at.
        world.submit(Command::Count { session });
        world.event(|event| match event {
            Event::Counted { session: s, .. } if *s == session => Some(()),
            _ => None,
        });
        member
    }

    fn watch(&self, world: &World, format: VideoFormat) {
        world.submit(Command::Watch {
            session: self.call.session,
            stream: 1,
            side: Side::Caller,
            room: ROOM,
            format,
        });
    }

    /// Sends a picture, which is a keyframe if one is wanted.
    fn film(&mut self) {
        let keyframe = std::mem::take(&mut self.wanted) && !self.deaf;
        self.number = self.number.wrapping_add(1) & 0x7fff;
        self.video.timestamp = self.video.timestamp.wrapping_add(3600);
        for part in 0..PARTS {
            self.video.sequence = self.video.sequence.wrapping_add(1);
            if self
                .loses
                .take_if(|lost| *lost == self.number * PARTS + part)
                .is_some()
            {
                continue;
            }
            let packet = self.packet(part, keyframe);
            self.send(packet);
        }
    }

    fn packet(&self, part: u16, keyframe: bool) -> Vec<u8> {
        let [high, low] = (self.number | 0x8000).to_be_bytes();
        let start = if part == 0 { 0x90 } else { 0x80 };
        let mut packet = vec![0; HEADER_LEN + 900];
        packet[HEADER_LEN..HEADER_LEN + 6].copy_from_slice(&[
            start,
            0x80,
            high,
            low,
            u8::from(!keyframe),
            self.camera,
        ]);
        Header {
            payload_type: 96,
            marker: part + 1 == PARTS,
            sequence: self.video.sequence,
            timestamp: self.video.timestamp,
            ssrc: self.video.ssrc,
        }
        .encode(&mut packet);
        packet
    }

    fn send(&mut self, mut packet: Vec<u8>) {
        if let Some(guard) = &mut self.guard {
            guard.protect(&mut packet);
        }
        let to = self.call.rtp(Side::Caller, 1);
        self.video.rtp.send_to(&packet, to).unwrap();
    }

    /// Looks at what has come.
    fn look(&mut self) {
        let mut buffer = [0; 2048];
        self.video.rtp.set_nonblocking(true).unwrap();
        while let Ok((len, _)) = self.video.rtp.recv_from(&mut buffer) {
            let len = match &mut self.guard {
                None => len,
                Some(guard) => guard.receiver.unprotect_rtp(&mut buffer[..len]).unwrap(),
            };
            let packet = Packet::parse(&buffer[..len]).unwrap();
            let payload = packet.payload();
            assert_eq!(payload.len(), 900);
            self.seen.push(Seen {
                header: packet.header(),
                camera: payload[5],
                keyframe: payload[4] & 1 == 0,
                number: u16::from_be_bytes([payload[2] & 0x7f, payload[3]]),
            });
        }
        self.video.rtcp.set_nonblocking(true).unwrap();
        while let Ok((len, _)) = self.video.rtcp.recv_from(&mut buffer) {
            let len = match &mut self.guard {
                None => len,
                Some(guard) => guard.receiver.unprotect_rtcp(&mut buffer[..len]).unwrap(),
            };
            assert!(Packets::new(&buffer[..len]).all(|packet| packet.is_ok()));
            for feedback in feedback::read(&buffer[..len]) {
                match feedback {
                    Feedback::Keyframe => {
                        self.wanted = true;
                        self.wishes += 1;
                    }
                    Feedback::Missing(missing) => self.missing.extend(missing),
                    _ => {}
                }
            }
        }
    }

    /// Says something about the pictures that it gets.
    fn complain(&self, write: impl FnOnce(&mut Writer<'_>, u32, u32)) {
        let mut buffer = [0; 128];
        let mut writer = Writer::new(&mut buffer);
        writer.receiver_report(self.video.ssrc, &[]);
        write(&mut writer, self.video.ssrc, self.seen[0].header.ssrc);
        let to = self.call.rtcp(Side::Caller, 1);
        self.video.rtcp.send_to(writer.finish(), to).unwrap();
    }

    /// Whose pictures have come lately.
    fn sees(&self) -> Option<u8> {
        self.seen.last().map(|seen| seen.camera)
    }

    /// What it has seen is one stream, and begins with a keyframe whenever somebody else is shown.
    fn assert_continuous(&self) {
        let first = self.seen.first().unwrap();
        assert!(first.keyframe, "{}", self.camera);
        for pair in self.seen.windows(2) {
            let [before, after] = pair else { continue };
            let (one, other) = (before.header, after.header);
            assert_eq!(one.ssrc, other.ssrc);
            assert_eq!(one.sequence.wrapping_add(1), other.sequence, "{pair:?}");
            let step = other.timestamp.wrapping_sub(one.timestamp);
            assert!(step < 90_000, "{pair:?}");
            let number = after.number.wrapping_sub(before.number);
            assert_eq!(number, u16::from(step > 0), "{pair:?}");
            assert!(before.camera == after.camera || after.keyframe, "{pair:?}");
        }
    }
}

/// All are there for some turns of 20 ms, and send a picture in every other one. The room's packets keep
/// the time.
fn meet(members: &mut [Member], speaker: usize, turns: u32) {
    for turn in 0..turns {
        for (at, member) in members.iter_mut().enumerate() {
            member.talker.silent = at != speaker;
            member.talker.speak(member.call.rtp(Side::Caller, 0));
            if turn % 2 == 0 {
                member.film();
            }
        }
        for member in &mut *members {
            member.talker.hear();
            member.look();
        }
    }
}

/// Until all see what is expected of them.
fn meet_until(members: &mut [Member], speaker: usize, expected: &[u8]) {
    for _ in 0..40 {
        meet(members, speaker, 5);
        if members
            .iter()
            .map(Member::sees)
            .eq(expected.iter().map(|c| Some(*c)))
        {
            return;
        }
    }
    let seen: Vec<_> = members.iter().map(Member::sees).collect();
    panic!("{seen:?} are seen, not {expected:?}");
}

#[test]
fn who_speaks_is_seen_and_sees_who_spoke_before() {
    for workers in [1, 2] {
        let mut world = world(workers);
        let mut members: Vec<Member> = (1..=4)
            .map(|camera| {
                let guard = (camera == 2).then(|| Guard::new(Profile::AeadAes128Gcm, 40));
                Member::new(&mut world, camera, guard, FORMAT)
            })
            .collect();
        meet_until(&mut members, 2, &[3, 3, 1, 3]);
        meet_until(&mut members, 1, &[2, 3, 2, 2]);
        meet_until(&mut members, 3, &[4, 4, 4, 2]);
        members.iter().for_each(Member::assert_continuous);
        for member in members {
            world.close(&member.call);
        }
    }
}

#[test]
fn who_only_looks_on_is_not_seen_and_who_leaves_neither() {
    let mut world = world(2);
    let viewer = VideoFormat {
        sends: false,
        ..FORMAT
    };
    let mut members: Vec<Member> = [FORMAT, FORMAT, viewer]
        .into_iter()
        .zip(1..)
        .map(|(format, camera)| Member::new(&mut world, camera, None, format))
        .collect();
    meet_until(&mut members, 1, &[2, 1, 2]);
    // The viewer speaks, and nobody else is shown for that.
    meet(&mut members, 2, 40);
    assert_eq!(members[0].sees(), Some(2));
    let gone = members.remove(1);
    world.close(&gone.call);
    meet_until(&mut members, 1, &[2, 1]);
    members.iter().for_each(Member::assert_continuous);
}

/// RFC 4585 §6.3.1: a wish for a keyframe reaches who is seen, and no more often than is good for it.
#[test]
fn rfc4585_6_3_1_wishes_for_keyframes_are_passed_on_but_not_all() {
    let mut world = world(2);
    let mut members: Vec<Member> = (1..=4)
        .map(|camera| Member::new(&mut world, camera, None, FORMAT))
        .collect();
    meet_until(&mut members, 0, &[1 + 1, 1, 1, 1]);
    let before = members[0].wishes;
    for _ in 0..20 {
        for viewer in &members[1..] {
            viewer.complain(|writer, ours, theirs| writer.picture_loss(ours, theirs));
        }
        meet(&mut members, 0, 2);
    }
    let wishes = members[0].wishes - before;
    // 800 ms of wishes, and what the last ones bring.
    assert!((1..=4).contains(&wishes), "{wishes}");
    assert_eq!(members[3].wishes, 0);
}

/// RFC 4585 §6.2.1: what a receiver misses is sent to it once more, and what we miss is asked for.
#[test]
fn rfc4585_6_2_1_missing_packets_come_once_more() {
    let mut world = world(2);
    let mut members: Vec<Member> = (1..=3)
        .map(|camera| Member::new(&mut world, camera, None, FORMAT))
        .collect();
    meet_until(&mut members, 0, &[2, 1, 1]);
    for viewer in [1, 2] {
        let lost = members[viewer].seen[members[viewer].seen.len() - 3];
        let sequence = lost.header.sequence;
        members[viewer].complain(|w, ours, theirs| w.missing(ours, theirs, sequence, 1));
        let again = |member: &Member| member.seen.iter().filter(|seen| **seen == lost).count();
        (0..50).find(|_| {
            meet(&mut members, 0, 1);
            again(&members[viewer]) == 2
        });
        assert_eq!(again(&members[viewer]), 2);
    }
    let lost = (members[0].number + 2) * PARTS;
    members[0].loses = Some(lost);
    let before = members[0].video.sequence;
    meet(&mut members, 0, 20);
    assert_eq!(members[0].missing, [before.wrapping_add(3)]);
}

/// The new one's keyframe does not come: after a while it is seen without.
#[test]
fn nobody_is_looked_at_for_ever_because_another_one_sends_no_keyframe() {
    let mut world = world(1);
    let mut members: Vec<Member> = (1..=3)
        .map(|camera| Member::new(&mut world, camera, None, FORMAT))
        .collect();
    meet_until(&mut members, 0, &[2, 1, 1]);
    members[2].deaf = true;
    meet(&mut members, 2, 60);
    assert_eq!(members[0].sees(), Some(2));
    assert!(members[2].wishes >= 2);
    meet_until(&mut members, 2, &[3, 3, 1]);
}

/// RFC 5168 §3: of who takes no feedback, signalling hears what is wanted; and who can't give any is heard by it.
#[test]
fn rfc5168_3_wishes_come_and_go_by_signalling_too() {
    let mut world = world(1);
    let mut members: Vec<Member> = (1..=3)
        .map(|camera| Member::new(&mut world, camera, None, FORMAT))
        .collect();
    let remote = Remote {
        asked_aside: true,
        ..members[0].video.remote()
    };
    world.connect(&members[0].call, Side::Caller, 1, Some(remote));
    world.settle();
    // It sends pictures that stand alone as long as it is not told by RTCP, which it never is.
    members[0].wanted = true;
    meet_until(&mut members, 0, &[2, 1, 1]);
    let (session, before) = (members[0].call.session, members[0].wishes);
    let wanted = |event: &Event| match event {
        Event::PictureWanted {
            session,
            stream: 1,
            side: Side::Caller,
        } => Some(*session),
        _ => None,
    };
    members[2].complain(|writer, ours, theirs| writer.picture_loss(ours, theirs));
    meet(&mut members, 0, 60);
    assert_eq!(world.event(wanted), session);
    assert_eq!(members[0].wishes, before);
    // The other way round.
    let before = members[1].wishes;
    world.submit(Command::Wish {
        session,
        stream: 1,
        side: Side::Caller,
    });
    meet(&mut members, 0, 60);
    assert!(members[1].wishes > before);
}
