//! Calls whose packets pass in the kernel: two phones and the relay in network namespaces, with virtual interfaces
//! between them. Where the system does not allow that, the tests say so and end.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod common;
#[path = "../../xdp/tests/net/mod.rs"]
mod net;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use codec::{Codec, Parameters};
use common::{Call, PATIENCE, Phone, World, receive};
use media::{Command, Config, Event, Kernel, Payload, PayloadKind, Remote, Side, SideStats};
use net::Network;

/// Two phones that talk through a relay.
struct Scene {
    network: Network,
    world: World,
    call: Call,
    phones: [Phone; 2],
    /// Packets that each has sent.
    sent: [u64; 2],
}

/// The addresses of the relay and of the phone on each side, and the link where the phone is.
type Place = (&'static str, &'static str, usize);

const IPV4: [Place; 2] = [("10.77.0.1", "10.77.0.2", 0), ("10.77.1.1", "10.77.1.2", 1)];
const IPV6: [Place; 2] = [("fd77:0::1", "fd77:0::2", 0), ("fd77:1::1", "fd77:1::2", 1)];
const ONE_LINK: [Place; 2] = [("10.77.0.1", "10.77.0.2", 0), ("10.77.0.1", "10.77.0.3", 0)];

impl Scene {
    fn new(places: [Place; 2]) -> Option<Self> {
        let network = Network::new(places[1].2 + 1)?;
        network.make_checksums();
        Some(Self::within(network, places))
    }

    fn within(network: Network, places: [Place; 2]) -> Self {
        let world = network.relay(|| {
            World::new(Config {
                ports: 30_000..=30_099,
                timeout: Duration::from_secs(2),
                kernel: Kernel::Required,
                ..Config::default()
            })
        });
        let phone =
            |n: usize| network.neighbour(places[n].2, || Phone::new(places[n].1, 1 + n as u32));
        let phones = [phone(0), phone(1)];
        let mut scene = Self {
            network,
            call: Call {
                session: media::SessionId::new(base::Slot::new(0), 0),
                local: [None; 2],
                streams: Vec::new(),
            },
            world,
            phones,
            sent: [0; 2],
        };
        scene.call = scene
            .world
            .allocate([Some(places[0].0), Some(places[1].0)], 1)
            .unwrap();
        scene.agree([0, 0]);
        scene
    }

    /// Tells the relay what the phones have agreed to: the number of PCMU on each side.
    fn agree(&mut self, numbers: [u8; 2]) {
        for (n, side) in [Side::Caller, Side::Callee].into_iter().enumerate() {
            let payload = |number, kind| Payload {
                number,
                kind,
                ptime: 20,
            };
            let remote = Remote {
                payloads: vec![
                    payload(
                        numbers[n],
                        PayloadKind::Codec(Codec::Pcmu, Parameters::default()),
                    ),
                    payload(101, PayloadKind::TelephoneEvent { clock: 8000 }),
                ],
                ..self.phones[n].remote()
            };
            self.world.connect(&self.call, side, 0, Some(remote));
        }
        self.world.settle();
    }

    fn ways(&self) -> [(usize, usize, SocketAddr, SocketAddr); 2] {
        let ports = [Side::Caller, Side::Callee].map(|side| self.call.rtp(side, 0));
        [(0, 1, ports[0], ports[1]), (1, 0, ports[1], ports[0])]
    }

    /// Each sends a packet, which the other one hears with these payload types.
    fn talk(&mut self, numbers: [u8; 2]) {
        for (from, to, there, back) in self.ways() {
            let mut packet = self.phones[from].packet(0x3c);
            // No silence.
            packet[20] = 0x10;
            packet[1] = numbers[from];
            self.phones[from].rtp.send_to(&packet, there).unwrap();
            self.sent[from] += 1;
            packet[1] = numbers[to];
            assert_eq!(receive(&self.phones[to].rtp), (packet, back));
        }
    }

    /// They talk for so many packets, one each two milliseconds. How many of both came to the workers' sockets.
    fn chat(&mut self, packets: u32, numbers: [u8; 2]) -> u64 {
        let before = self.network.received();
        let mut due = Instant::now();
        for _ in 0..packets {
            self.talk(numbers);
            due += Duration::from_millis(2);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        self.network.received() - before
    }

    /// They talk until their packets pass in the kernel.
    fn settle(&mut self, numbers: [u8; 2]) {
        let deadline = Instant::now() + PATIENCE;
        while self.chat(50, numbers) > 0 {
            assert!(
                Instant::now() < deadline,
                "packets still come to the workers"
            );
        }
    }

    fn count(&mut self) -> [SideStats; 2] {
        let session = self.call.session;
        self.world.submit(Command::Count { session });
        self.world.event(|event| match event {
            Event::Counted { session: s, stats } if *s == session => Some(**stats),
            _ => None,
        })
    }

    /// Nothing is missing in the relay's books.
    fn assert_counted(&self, stats: [SideStats; 2], lost: [u64; 2]) {
        for n in 0..2 {
            let SideStats {
                packets,
                octets,
                lost: missing,
                rejected,
                unexpected,
                ..
            } = stats[n];
            assert_eq!(
                (packets, octets),
                (self.sent[n], self.sent[n] * 172),
                "side {n}"
            );
            assert_eq!((missing, rejected, unexpected), (lost[n], 0, 0), "side {n}");
        }
    }

    fn is_told_silent(&mut self) -> bool {
        self.world
            .has_event(|event| matches!(event, Event::Silent { .. }))
    }
}

fn a_call_passes_in_the_kernel(places: [Place; 2], seconds: u64) {
    let Some(mut scene) = Scene::new(places) else {
        return;
    };
    scene.settle([0, 0]);
    // Longer than the time after which silence is told (15 seconds: that a party says nothing any more), and no packet comes to a worker.
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(seconds) {
        // One in 65536 has a checksum that seems unfinished.
        assert!(scene.chat(100, [0, 0]) <= 2);
    }
    assert!(!scene.is_told_silent());
    let alarm = |event: &Event| matches!(event, Event::Alarm { .. });
    assert!(!scene.world.has_event(alarm));
    let stats = scene.count();
    scene.assert_counted(stats, [0, 0]);
    assert!(stats.iter().all(|side| side.mos.is_some()), "{stats:?}");
    // What gets lost on the way is counted, wherever that is done.
    scene.phones[0].sequence += 10;
    scene.chat(50, [0, 0]);
    let stats = scene.world.close(&scene.call);
    scene.assert_counted(stats, [10, 0]);
}

#[test]
fn a_call_between_two_networks_passes_in_the_kernel() {
    a_call_passes_in_the_kernel(IPV4, 16);
}

#[test]
fn a_call_over_ipv6_passes_in_the_kernel() {
    a_call_passes_in_the_kernel(IPV6, 4);
}

#[test]
fn a_call_inside_one_network_passes_in_the_kernel() {
    a_call_passes_in_the_kernel(ONE_LINK, 4);
}

/// RFC 3264 §8: numbers change in the middle of a call. Nothing gets lost while the workers take over.
#[test]
fn rfc3264_8_payload_types_change_without_a_gap() {
    let Some(mut scene) = Scene::new(IPV4) else {
        return;
    };
    scene.agree([0, 96]);
    scene.settle([0, 96]);
    scene.agree([97, 0]);
    assert!(scene.chat(50, [97, 0]) > 0);
    scene.settle([97, 0]);
    let stats = scene.world.close(&scene.call);
    scene.assert_counted(stats, [0, 0]);
}

#[test]
fn who_goes_silent_is_told_of_and_who_speaks_again_is_heard() {
    let Some(mut scene) = Scene::new(IPV4) else {
        return;
    };
    scene.settle([0, 0]);
    assert!(!scene.is_told_silent());
    scene
        .world
        .event(|event| matches!(event, Event::Silent { .. }).then_some(()));
    scene.settle([0, 0]);
    let stats = scene.world.close(&scene.call);
    scene.assert_counted(stats, [0, 0]);
}

/// RFC 4733 §2.5: keys are understood in the middle of a stream that passes in the kernel; RTCP passes as well.
#[test]
fn rfc4733_2_5_keys_and_reports_take_the_long_way() {
    let Some(mut scene) = Scene::new(IPV4) else {
        return;
    };
    scene.settle([0, 0]);
    let [(_, _, there, back), _] = scene.ways();
    for duration in [160_u16, 320, 480, 480, 480] {
        let [phone, other] = &mut scene.phones;
        let timestamp = phone.timestamp;
        let mut packet = phone.packet(0)[..16].to_vec();
        packet[1] = 101;
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        let end = if duration == 480 { 0x80 } else { 0 };
        packet[12..14].copy_from_slice(&[5, end | 10]);
        packet[14..16].copy_from_slice(&duration.to_be_bytes());
        phone.rtp.send_to(&packet, there).unwrap();
        assert_eq!(receive(&other.rtp), (packet, back));
    }
    let digit = scene.world.event(|event| match event {
        Event::Digit { digit, side, .. } => Some((digit.char(), *side)),
        _ => None,
    });
    assert_eq!(digit, ('5', Side::Caller));
    let report = scene.phones[0].report();
    let [there, back] = [Side::Caller, Side::Callee].map(|side| scene.call.rtcp(side, 0));
    scene.phones[0].rtcp.send_to(&report, there).unwrap();
    assert_eq!(receive(&scene.phones[1].rtcp), (report, back));
    scene.settle([0, 0]);
    assert_eq!(scene.count().map(|side| side.lost), [0, 0]);
}

/// RFC 3550 §8.2: a phone that starts again takes another SSRC.
#[test]
fn rfc3550_8_2_another_source_is_followed() {
    let Some(mut scene) = Scene::new(IPV4) else {
        return;
    };
    scene.settle([0, 0]);
    (scene.phones[0].ssrc, scene.phones[0].sequence) = (99, 30_000);
    assert!(scene.chat(50, [0, 0]) > 0);
    scene.settle([0, 0]);
    let stats = scene.world.close(&scene.call);
    scene.assert_counted(stats, [0, 0]);
}

/// Phones on the same machine leave their checksums to interfaces that never make them.
#[test]
fn packets_without_a_finished_checksum_take_the_long_way() {
    let Some(network) = Network::new(2) else {
        return;
    };
    let mut scene = Scene::within(network, IPV4);
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        assert!(scene.chat(50, [0, 0]) >= 90);
    }
    let stats = scene.world.close(&scene.call);
    scene.assert_counted(stats, [0, 0]);
}

#[test]
fn a_plane_that_ends_leaves_nothing_behind() {
    let Some(mut scene) = Scene::new(IPV4) else {
        return;
    };
    scene.settle([0, 0]);
    assert!(scene.network.links().contains("prog/xdp"));
    let Scene { network, world, .. } = scene;
    drop(world);
    assert!(!network.links().contains("xdp"));
}
