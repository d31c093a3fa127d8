//! What the program does with frames, run by the kernel itself outside any network. Each frame that it lets go is
//! compared with one that is written anew with other addresses, as a relay with sockets would send it.
//!
//! Where the process may not load programs there is nothing to run, and the tests say so.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod frames;

use std::net::SocketAddr;

use frames::{Frame, Sums};
use proptest::prelude::*;
use xdp::{Flow, Path, PayloadTypes, Unavailable};

/// The interface that frames seem to come from.
const LOOPBACK: u32 = 1;
const PASS: u32 = 2;
const TX: u32 = 3;
const REDIRECT: u32 = 4;

fn path() -> Option<Path> {
    match Path::detached() {
        Ok(path) => Some(path),
        Err(error @ Unavailable::NotPermitted) => {
            eprintln!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn flow(addresses: [&str; 4]) -> Flow {
    let [from, arrives, leaves, to] = addresses.map(|a| a.parse::<SocketAddr>().unwrap());
    Flow {
        from,
        arrives,
        leaves,
        to,
        ssrc: 0x0102_0304,
        payload_types: PayloadTypes::default().with(0, 0).with(96, 111),
        dscp: 46,
        clock: 8,
        highest: 65_536 + 99,
        jitter: 0,
    }
}

fn ipv4() -> Flow {
    flow([
        "192.0.2.7:4000",
        "192.0.2.1:20000",
        "198.51.100.1:20002",
        "198.51.100.9:5004",
    ])
}

fn ipv6() -> Flow {
    flow([
        "[2001:db8::7]:4000",
        "[2001:db8::1]:20000",
        "[2001:db8:1::1]:20002",
        "[2001:db8:1::9]:5004",
    ])
}

/// A packet of the flow, the next one in order.
fn next(flow: &Flow) -> Frame {
    Frame {
        from: flow.from,
        to: flow.arrives,
        ssrc: flow.ssrc,
        sequence: 100,
        ..Frame::default()
    }
}

/// The same packet as it should leave.
fn passed(flow: &Flow, frame: &Frame) -> Frame {
    Frame {
        hardware: [OURS, THEIRS],
        from: flow.leaves,
        to: flow.to,
        class: 46 << 2,
        hops: frame.hops - 1,
        payload_type: if frame.payload_type == 96 {
            111
        } else {
            frame.payload_type
        },
        ..frame.clone()
    }
}

const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 9];

fn insert(path: &Path, flow: &Flow, interface: u32) {
    path.insert_by(flow, interface, THEIRS, OURS).unwrap();
}

#[test]
fn the_next_packet_leaves_with_new_addresses_and_is_counted() {
    let Some(path) = path() else { return };
    for flow in [ipv4(), ipv6()] {
        insert(&path, &flow, LOOPBACK);
        let frame = next(&flow);
        let outcome = path.run(&frame.bytes(), 1).unwrap();
        assert_eq!(outcome.action, TX);
        assert_eq!(outcome.frame, passed(&flow, &frame).bytes(), "{flow:?}");
        let counters = path.read(&flow).unwrap();
        assert_eq!((counters.packets, counters.octets), (1, 12 + 160));
        assert_eq!((counters.highest, counters.timestamp), (65_536 + 100, 8000));
        assert!(counters.idle.is_some_and(|idle| idle.as_secs() < 60));
    }
}

#[test]
fn a_flow_to_another_interface_is_redirected() {
    let Some(path) = path() else { return };
    let flow = ipv4();
    insert(&path, &flow, 7777);
    let frame = next(&flow);
    let outcome = path.run(&frame.bytes(), 1).unwrap();
    assert_eq!(outcome.action, REDIRECT);
    assert_eq!(outcome.frame, passed(&flow, &frame).bytes());
}

/// RFC 3550 §5.1, RFC 3551 §6: the marker stays where it is.
#[test]
fn rfc3551_6_payload_types_are_rewritten() {
    let Some(path) = path() else { return };
    for flow in [ipv4(), ipv6()] {
        insert(&path, &flow, LOOPBACK);
        for (sequence, marker) in [(100, false), (101, true)] {
            let frame = Frame {
                payload_type: 96,
                sequence,
                marker,
                ..next(&flow)
            };
            let outcome = path.run(&frame.bytes(), 1).unwrap();
            assert_eq!(outcome.action, TX);
            assert_eq!(outcome.frame, passed(&flow, &frame).bytes());
        }
    }
}

/// RFC 768: a checksum of zero is none, which IPv6 does not allow (RFC 8200 §8.1).
#[test]
fn rfc768_a_datagram_without_checksum_stays_without() {
    let Some(path) = path() else { return };
    let without = |flow: &Flow| Frame {
        sums: Sums::None,
        ..next(flow)
    };
    insert(&path, &ipv4(), LOOPBACK);
    let outcome = path.run(&without(&ipv4()).bytes(), 1).unwrap();
    assert_eq!(outcome.action, TX);
    assert_eq!(outcome.frame, passed(&ipv4(), &without(&ipv4())).bytes());
    insert(&path, &ipv6(), LOOPBACK);
    assert_untouched(&path, &without(&ipv6()).bytes());
}

/// RFC 1624 §3: what was damaged on the way stays recognisable as damaged.
#[test]
fn rfc1624_3_a_wrong_checksum_stays_wrong() {
    let Some(path) = path() else { return };
    let flow = ipv4();
    insert(&path, &flow, LOOPBACK);
    let frame = next(&flow);
    let mut bytes = frame.bytes();
    *bytes.last_mut().unwrap() ^= 0x55;
    let outcome = path.run(&bytes, 1).unwrap();
    let mut expected = passed(&flow, &frame).bytes();
    *expected.last_mut().unwrap() ^= 0x55;
    assert_eq!((outcome.action, outcome.frame), (TX, expected));
}

#[track_caller]
fn assert_untouched(path: &Path, bytes: &[u8]) {
    let outcome = path.run(bytes, 1).unwrap();
    assert_eq!(outcome.action, PASS);
    assert_eq!(outcome.frame, bytes);
}

#[test]
fn what_is_not_the_next_packet_of_the_flow_goes_to_the_workers() {
    let Some(path) = path() else { return };
    for flow in [ipv4(), ipv6()] {
        insert(&path, &flow, LOOPBACK);
        let next = || next(&flow);
        let elsewhere = |mut address: SocketAddr| {
            address.set_port(address.port() ^ 1);
            address
        };
        let strange = [
            Frame {
                from: elsewhere(flow.from),
                ..next()
            },
            Frame {
                to: elsewhere(flow.arrives),
                ..next()
            },
            Frame { ssrc: 5, ..next() },
            // RFC 4733: keys. RFC 5761: RTCP on the same port.
            Frame {
                payload_type: 101,
                ..next()
            },
            Frame {
                payload_type: 72,
                marker: true,
                ..next()
            },
            // Repeated, late, and too far ahead.
            Frame {
                sequence: 99,
                ..next()
            },
            Frame {
                sequence: 98,
                ..next()
            },
            Frame {
                sequence: 99 + 3000,
                ..next()
            },
            // An extension, contributing sources, padding, another version.
            Frame {
                first: 0x90,
                ..next()
            },
            Frame {
                first: 0x81,
                ..next()
            },
            Frame {
                first: 0xa0,
                ..next()
            },
            Frame {
                first: 0x40,
                ..next()
            },
            Frame { hops: 1, ..next() },
            Frame {
                payload: vec![0; 1500 - 12 - 8 - 19],
                ..next()
            },
            Frame {
                sums: Sums::Partial,
                ..next()
            },
        ];
        for frame in strange {
            assert_untouched(&path, &frame.bytes());
        }
        assert_eq!(path.read(&flow).unwrap().packets, 0);
        assert_eq!(path.run(&next().bytes(), 1).unwrap().action, TX);
    }
}

/// RFC 791 §3.1, §3.2; IEEE 802.1Q.
#[test]
fn rfc791_3_2_fragments_options_and_tags_go_to_the_system() {
    let Some(path) = path() else { return };
    let flow = ipv4();
    insert(&path, &flow, LOOPBACK);
    let frame = next(&flow).bytes();
    let with = |at: usize, octet: u8| {
        let mut bytes = frame.clone();
        bytes[at] = octet;
        bytes
    };
    assert_untouched(&path, &with(14, 0x46));
    assert_untouched(&path, &with(20, 0x20));
    assert_untouched(&path, &with(21, 1));
    assert_untouched(&path, &with(23, 6));
    assert_untouched(&path, &with(17, 9));
    assert_untouched(&path, &with(39, 9));
    let mut tagged = frame.clone();
    tagged.splice(12..12, [0x81, 0, 0, 5]);
    assert_untouched(&path, &tagged);
    // That it may not be cut is no obstacle.
    assert_eq!(path.run(&with(20, 0x40), 1).unwrap().action, TX);
}

#[test]
fn cut_frames_go_to_the_system() {
    let Some(path) = path() else { return };
    for flow in [ipv4(), ipv6()] {
        insert(&path, &flow, LOOPBACK);
        let frame = next(&flow).bytes();
        // Shorter ones the kernel itself does not take.
        (14..frame.len()).for_each(|len| assert_untouched(&path, &frame[..len]));
    }
}

/// RFC 3550 appendix A.1, A.3.
#[test]
fn rfc3550_a_1_gaps_and_cycles_are_counted_on() {
    let Some(path) = path() else { return };
    let flow = Flow {
        highest: 65_536 * 2 - 2,
        ..ipv4()
    };
    insert(&path, &flow, LOOPBACK);
    for sequence in [65_535, 3, 4] {
        let frame = Frame {
            sequence,
            ..next(&flow)
        };
        assert_eq!(path.run(&frame.bytes(), 1).unwrap().action, TX);
    }
    let counters = path.read(&flow).unwrap();
    assert_eq!((counters.packets, counters.highest), (3, 65_536 * 2 + 4));
}

/// RFC 3550 appendix A.8: a step of the clock of 160 ticks with no time in between is jitter.
#[test]
fn rfc3550_a_8_jitter_is_estimated() {
    let Some(path) = path() else { return };
    let flow = ipv4();
    insert(&path, &flow, LOOPBACK);
    let packet = |n: u32| Frame {
        sequence: 100 + n as u16,
        timestamp: 160_000 * n,
        ..next(&flow)
    };
    let jitter = |n| {
        assert_eq!(path.run(&packet(n).bytes(), 1).unwrap().action, TX);
        path.read(&flow).unwrap().jitter[0]
    };
    assert_eq!(jitter(0), 0);
    // What time really passes is far below the step of 20 seconds.
    let first = jitter(1);
    assert!((100_000..=160_000).contains(&first), "{first}");
    let second = jitter(2);
    assert!(second > first && second < 2 * first, "{second}");
    assert_eq!(path.read(&flow).unwrap().jitter[1], second);
}

#[test]
fn a_flow_that_is_taken_out_tells_what_has_passed_and_takes_nothing_more() {
    let Some(path) = path() else { return };
    let flow = ipv4();
    insert(&path, &flow, LOOPBACK);
    assert!(path.insert_by(&flow, LOOPBACK, THEIRS, OURS).is_err());
    let frame = next(&flow).bytes();
    assert_eq!(path.run(&frame, 1).unwrap().action, TX);
    assert_eq!(path.remove(&flow).unwrap().packets, 1);
    assert_eq!((path.remove(&flow), path.read(&flow)), (None, None));
    assert_untouched(&path, &frame);
}

proptest! {
    /// Whatever stands in a packet, its checksum is right afterwards.
    #[test]
    fn rfc1624_3_checksums_are_right(
        [a, b, c, d]: [u32; 4],
        ports: [u16; 4],
        [ssrc, timestamp]: [u32; 2],
        marker: bool,
        payload in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let Some(path) = path() else { return Ok(()) };
        let address = |ip: u32, port| SocketAddr::new(std::net::Ipv4Addr::from(ip).into(), port);
        let flow = Flow {
            from: address(a, ports[0]),
            arrives: address(b, ports[1]),
            leaves: address(c, ports[2]),
            to: address(d, ports[3]),
            ssrc,
            ..ipv4()
        };
        insert(&path, &flow, LOOPBACK);
        let frame = Frame { timestamp, marker, payload, payload_type: 96, ..next(&flow) };
        let outcome = path.run(&frame.bytes(), 1).unwrap();
        // One in 65536 looks as if its checksum was not made yet, and takes the long way.
        if outcome.action == TX {
            prop_assert_eq!(outcome.frame, passed(&flow, &frame).bytes());
        } else {
            prop_assert_eq!(frame.bytes(), Frame { sums: Sums::Partial, ..frame }.bytes());
        }
    }
}
