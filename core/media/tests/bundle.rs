//! Streams of one side that share a transport, towards streams that have ports of their own.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::net::{SocketAddr, UdpSocket};

use common::talker::Guard;
use common::{Call, Phone, V4, World, is_quiet, receive};
use media::{Bundled, Command, Config, Profile, Remote, Side};
use rtp::{Header, rtcp};
use srtp::MAX_OVERHEAD;

/// A browser with sound and pictures on one port, and a phone that has a port for each.
struct Scene {
    world: World,
    call: Call,
    browser: Phone,
    guard: Guard,
    /// Sound and pictures of the phone.
    phone: [Phone; 2],
}

const PICTURES: u8 = 96;
/// The number of the header extension that names a stream.
const MID: u8 = 4;

impl Scene {
    fn new(shared: bool) -> Self {
        let config = Config {
            shared,
            ..Config::default()
        };
        let mut world = World::new(Config {
            ports: common::free_ports(20),
            ..config
        });
        let mut browser = Phone::new(V4, 10);
        browser.mux = true;
        let guard = Guard::new(Profile::Aes128CmSha1_80, 7);
        let phone = [Phone::new(V4, 20), Phone::new(V4, 21)];
        let call = world.allocate([Some(V4), Some(V4)], 2).unwrap();
        let carrier = Remote {
            security: guard.security(),
            ..browser.remote()
        };
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 9));
        let carried = Remote {
            bundled: Some(Box::new(Bundled {
                stream: 0,
                mid: "v".into(),
                extension: Some(MID),
                payload_types: 1 << PICTURES,
            })),
            ..Remote::plain(nowhere, nowhere)
        };
        world.connect(&call, Side::Caller, 0, Some(carrier));
        world.connect(&call, Side::Caller, 1, Some(carried));
        for (stream, phone) in (0..).zip(&phone) {
            world.connect(&call, Side::Callee, stream, Some(phone.remote()));
        }
        world.settle();
        Self {
            world,
            call,
            browser,
            guard,
            phone,
        }
    }

    /// The browser sends a packet, with the name of its stream or without.
    fn say(&mut self, ssrc: u32, payload_type: u8, mid: Option<u8>) -> Vec<u8> {
        self.browser.sequence = self.browser.sequence.wrapping_add(1);
        let mut packet = vec![0x5a; 60];
        let header = Header {
            payload_type,
            marker: false,
            sequence: self.browser.sequence,
            timestamp: 0,
            ssrc,
        };
        header.encode(&mut packet);
        if let Some(mid) = mid {
            packet[0] |= 0x10;
            packet.splice(12..12, [0xbe, 0xde, 0, 1, MID << 4, mid, 0, 0]);
        }
        let plain = packet.clone();
        self.guard.protect(&mut packet);
        self.send(&packet);
        plain
    }

    fn send(&self, packet: &[u8]) {
        let to = self.call.rtp(Side::Caller, 0);
        self.browser.rtp.send_to(packet, to).unwrap();
    }

    /// The stream of the phone that gets a packet, which is passed on as it was.
    fn comes_to(&self, stream: usize, packet: &[u8]) {
        assert_eq!(receive(&self.phone[stream].rtp).0, packet);
        assert!(is_quiet(&self.phone[1 - stream].rtp));
    }

    /// The browser sends a report, which has to reach one stream of the phone.
    fn reports_to(&mut self, stream: usize, write: impl Fn(&mut rtcp::Writer<'_>)) {
        let mut buffer = [0; 256];
        let mut writer = rtcp::Writer::new(&mut buffer);
        write(&mut writer);
        let plain = writer.finish().to_vec();
        let mut packet = plain.clone();
        packet.resize(plain.len() + MAX_OVERHEAD, 0);
        let protected = self.guard.sender.protect_rtcp(&mut packet, plain.len());
        self.send(&packet[..protected.unwrap()]);
        assert_eq!(receive(&self.phone[stream].rtcp).0, plain);
        assert!(is_quiet(&self.phone[1 - stream].rtcp));
    }

    /// The next RTP packet that the browser gets, on its one port.
    fn hears(&mut self) -> Vec<u8> {
        let (mut packet, from) = receive(&self.browser.rtp);
        assert_eq!(from, self.call.rtp(Side::Caller, 0));
        let len = self.guard.receiver.unprotect_rtp(&mut packet).unwrap();
        packet.truncate(len);
        packet
    }
}

#[test]
fn rfc9143_9_2_packets_find_their_stream_by_payload_type_name_and_source() {
    for shared in [false, true] {
        let mut scene = Scene::new(shared);
        for (ssrc, number, mid, stream) in [
            (1, 0, None, 0),
            (2, PICTURES, None, 1),
            (1, 0, None, 0),
            // Named once, known by its source afterwards, whatever its payload type.
            (3, 100, Some(b'v'), 1),
            (3, 100, None, 1),
            (4, PICTURES, Some(b'a'), 0),
            (4, PICTURES, None, 0),
        ] {
            let packet = scene.say(ssrc, number, mid);
            scene.comes_to(stream, &packet);
        }
        // What was made up is nobody's.
        let mut forged = vec![0x80; 60];
        forged[1] = PICTURES;
        scene.send(&forged);
        let packet = scene.say(2, PICTURES, None);
        scene.comes_to(1, &packet);
    }
}

#[test]
fn rfc9143_9_all_streams_come_from_one_port_and_reports_find_theirs() {
    for shared in [false, true] {
        let mut scene = Scene::new(shared);
        let packet = scene.say(1, 0, None);
        scene.comes_to(0, &packet);
        for stream in [0, 1] {
            let to = scene.call.rtp(Side::Callee, stream);
            let sent = scene.phone[stream].send(to, stream as u8);
            assert_eq!(scene.hears(), sent);
        }
        scene.reports_to(1, |writer| writer.picture_loss(9, 21));
        scene.reports_to(0, |writer| writer.picture_loss(9, 20));
        scene.reports_to(1, |writer| writer.full_intra(9, 21, 1));
        let picture = scene.say(2, PICTURES, None);
        scene.comes_to(1, &picture);
        scene.reports_to(1, |writer| {
            writer.receiver_report(2, &[]);
            writer.cname(2, "browser");
        });
        scene.reports_to(0, |writer| {
            writer.receiver_report(1, &[]);
            writer.cname(1, "browser");
        });
    }
}

#[test]
fn rfc4585_6_3_1_who_sends_pictures_is_asked_for_one_that_stands_alone() {
    let mut scene = Scene::new(false);
    let (session, stream) = (scene.call.session, 1);
    let ask = |scene: &Scene, side, full_intra| {
        scene.world.submit(Command::Keyframe {
            session,
            stream,
            side,
            full_intra,
        });
    };
    // Nobody is heard yet: it waits for the first packet.
    ask(&scene, Side::Callee, false);
    ask(&scene, Side::Caller, true);
    scene.world.settle();
    let to = scene.call.rtp(Side::Callee, 1);
    let sent = scene.phone[1].send(to, 1);
    assert_eq!(scene.hears(), sent);
    let request = receive(&scene.phone[1].rtcp).0;
    // The whole of it: a report, a name, and the request at its end.
    assert_eq!(request[request.len() - 12..][..2], [0x81, 206]);
    assert_eq!(request[request.len() - 4..], 21u32.to_be_bytes());
    let picture = scene.say(2, PICTURES, None);
    scene.comes_to(1, &picture);
    let (mut request, _) = receive(&scene.browser.rtp);
    let len = scene.guard.receiver.unprotect_rtcp(&mut request).unwrap();
    let entry = &request[len - 20..len];
    assert_eq!(entry[..2], [0x84, 206]);
    assert_eq!(entry[12..16], 2u32.to_be_bytes());
    // Another one is another request.
    ask(&scene, Side::Caller, true);
    let (mut request, _) = receive(&scene.browser.rtp);
    let len = scene.guard.receiver.unprotect_rtcp(&mut request).unwrap();
    assert_eq!(request[len - 4], 2);
}

#[test]
fn a_source_that_counts_anew_gets_another_name_and_the_others_keep_theirs() {
    let mut scene = Scene::new(false);
    let to = scene.call.rtp(Side::Callee, 1);
    scene.phone[1].sequence = 1000;
    let sent = scene.phone[1].send(to, 1);
    assert_eq!(scene.hears(), sent);
    scene.phone[1].sequence = 40_000;
    // The first packet far away may be a stray; the second one shows that it is not.
    let far = scene.phone[1].packet(2);
    send(&scene.phone[1].rtp, &far, to);
    let next = scene.phone[1].packet(3);
    send(&scene.phone[1].rtp, &next, to);
    let ssrc = |packet: &[u8]| Header::parse(packet).unwrap().ssrc;
    let mut heard = scene.hears();
    while heard[12..] != next[12..] {
        heard = scene.hears();
    }
    assert_ne!(ssrc(&heard), 21);
    let sound = scene.call.rtp(Side::Callee, 0);
    let sent = scene.phone[0].send(sound, 4);
    assert_eq!(scene.hears(), sent);
}

fn send(socket: &UdpSocket, packet: &[u8], to: SocketAddr) {
    socket.send_to(packet, to).unwrap();
}

#[test]
fn a_stream_that_leaves_the_bundle_goes_its_own_way() {
    let mut scene = Scene::new(false);
    let own = Phone::new(V4, 30);
    let (world, call) = (&mut scene.world, scene.call.clone());
    world.connect(&call, Side::Caller, 1, Some(own.remote()));
    world.settle();
    let sent = scene.phone[1].send(call.rtp(Side::Callee, 1), 1);
    let (packet, from) = receive(&own.rtp);
    assert_eq!((packet, from), (sent, call.rtp(Side::Caller, 1)));
    // Its packets on the other one's port are the other one's now.
    let packet = scene.say(2, PICTURES, None);
    scene.comes_to(0, &packet);
    scene.world.close(&call);
}
