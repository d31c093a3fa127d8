//! Datagrams through a running engine.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base::Slot;
use common::{Command, Rig, Seen, flow, peer, receive, request};
use engine::{Counter, Limits, Services};
use sip::{Message, Protocol};

#[test]
fn options_over_ipv4_and_ipv6() {
    let rig = Rig::new(&["udp:127.0.0.1:0", "udp:[::1]:0"], 2);
    for (index, bind) in ["127.0.0.1:0", "[::1]:0"].into_iter().enumerate() {
        let peer = peer(bind);
        peer.send_to(request("OPTIONS", "a", 1).as_bytes(), rig.address(index))
            .unwrap();
        let (answer, from) = receive(&peer);
        assert!(answer.starts_with("SIP/2.0 200 OK\r\n"), "{answer}");
        assert_eq!(from, rig.address(index));
    }
    rig.engine.stop();
}

#[test]
fn a_wildcard_answers_from_the_address_it_was_asked_at() {
    let rig = Rig::new(&["udp:0.0.0.0:0", "udp:[::]:0"], 1);
    let mut asked = rig.address(0);
    asked.set_ip("127.0.0.2".parse().unwrap());
    let v4 = peer("127.0.0.1:0");
    v4.send_to(request("OPTIONS", "a", 1).as_bytes(), asked)
        .unwrap();
    assert_eq!(receive(&v4).1, asked);
    let Seen::Message { flow, .. } = rig.report().seen else {
        panic!("a message was sent");
    };
    assert_eq!(flow.local, asked);
    let v6 = peer("[::1]:0");
    v6.send_to(request("OPTIONS", "a", 1).as_bytes(), rig.address(1))
        .unwrap();
    assert_eq!(receive(&v6).1, rig.address(1));
}

#[test]
fn messages_find_the_thread_of_their_slot() {
    let rig = Rig::new(&["udp:127.0.0.1:0"], 4);
    let peer = peer("127.0.0.1:0");
    for number in 0..64 {
        let call_id = format!("call-{number}");
        peer.send_to(
            request("OPTIONS", &call_id, number).as_bytes(),
            rig.address(0),
        )
        .unwrap();
        receive(&peer);
        let report = rig.report();
        let slot = Slot::of_key(call_id.as_bytes());
        assert_eq!(report.slot, slot);
        assert_eq!(report.thread, format!("sip-{}", slot.index() % 4));
    }
    assert!(rig.count(Counter::Forwarded) > 0);
}

#[test]
fn a_response_goes_to_the_slot_of_its_branch_and_strays_are_dropped() {
    let rig = Rig::new(&["udp:127.0.0.1:0"], 2);
    let peer = peer("127.0.0.1:0");
    for slot in [0x00u8, 0x3f, 0xfe] {
        let branch = format!("{slot:02x}-0123456789abcdef");
        let text = request("OPTIONS", "x", 5)
            .replace("OPTIONS sip:echo@test SIP/2.0", "SIP/2.0 200 OK")
            .replace("z9hG4bK5", &format!("z9hG4bK{branch}"));
        peer.send_to(text.as_bytes(), rig.address(0)).unwrap();
        assert_eq!(rig.report().slot, Slot::new(slot));
        peer.send_to(text.replace(&branch, "foreign").as_bytes(), rig.address(0))
            .unwrap();
    }
    rig.await_count(Counter::Stray, 3);
}

#[test]
fn messages_sent_back_to_back_arrive_in_order() {
    let rig = Rig::new(&["udp:127.0.0.1:0"], 2);
    let peer = peer("127.0.0.1:0");
    // Enough for many batches, in bursts that the socket's buffer holds.
    for burst in 0..20 {
        for number in 0..200u32 {
            let call_id = format!("call-{}", number % 8);
            let text = request("INFO", &call_id, burst * 200 + number);
            peer.send_to(text.as_bytes(), rig.address(0)).unwrap();
        }
        rig.await_count(Counter::Received, u64::from(burst + 1) * 200);
    }
    let mut last: HashMap<Slot, u32> = HashMap::new();
    for _ in 0..4000 {
        let report = rig.report();
        let Seen::Message { cseq, .. } = report.seen else {
            panic!("only messages were sent");
        };
        if let Some(before) = last.insert(report.slot, cseq) {
            assert!(before < cseq, "{cseq} came behind {before}");
        }
    }
}

#[test]
fn what_is_not_sip_is_counted_and_dropped() {
    let rig = Rig::new(&["udp:127.0.0.1:0"], 1);
    let peer = peer("127.0.0.1:0");
    for bytes in [
        &b"\x16\x03\x01"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 1400],
    ] {
        peer.send_to(bytes, rig.address(0)).unwrap();
    }
    for bytes in [&b"\r\n\r\n"[..], b"", b"\0"] {
        peer.send_to(bytes, rig.address(0)).unwrap();
    }
    rig.await_count(Counter::NotSip, 3);
    rig.await_count(Counter::KeepAlives, 3);
    peer.send_to(request("OPTIONS", "a", 1).as_bytes(), rig.address(0))
        .unwrap();
    assert!(receive(&peer).0.starts_with("SIP/2.0 200"));
}

#[test]
fn malformed_requests_are_refused_and_never_reach_a_machine() {
    let rig = Rig::new(&["udp:127.0.0.1:0"], 1);
    let peer = peer("127.0.0.1:0");
    let good = request("OPTIONS", "a", 1);
    let largest = "x".repeat(65_000 - good.len());
    for (text, status) in [
        (good.replace("CSeq: 1 OPTIONS", "CSeq: 1 BYE"), "400"),
        (good.replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia"), "505"),
        (good.replace("Length: 0", "Length: 10"), "400"),
        (
            good.replace(
                "Max-Forwards: 70",
                &format!("X: {largest}\r\nMax-Forwards: 700"),
            ),
            "400",
        ),
    ] {
        peer.send_to(text.as_bytes(), rig.address(0)).unwrap();
        let (answer, _) = receive(&peer);
        assert!(
            answer.starts_with(&format!("SIP/2.0 {status} ")),
            "{answer}"
        );
    }
    let long = good.replace("Max-Forwards", &format!("X: {largest}\r\nMax-Forwards"));
    peer.send_to(long.as_bytes(), rig.address(0)).unwrap();
    assert!(receive(&peer).0.starts_with("SIP/2.0 200"));
    assert_eq!(rig.count(Counter::Malformed), 4);
    assert!(matches!(rig.report().seen, Seen::Message { .. }));
}

#[test]
fn random_octets_kill_nothing() {
    let rig = Rig::new(&["udp:127.0.0.1:0"], 2);
    let peer = peer("127.0.0.1:0");
    let good = request("OPTIONS", "a", 1).into_bytes();
    let mut random = base::Mint::new(Slot::new(0), [5; 32]);
    for round in 0..2000u64 {
        let mut bytes = good.clone();
        if round % 4 == 0 {
            bytes = (0..random.below(1400))
                .map(|_| random.number() as u8)
                .collect();
        }
        for _ in 0..random.below(6) {
            if !bytes.is_empty() {
                let at = random.below(bytes.len() as u32) as usize;
                bytes[at] = random.number() as u8;
            }
        }
        bytes.truncate(random.below(2 * good.len() as u32) as usize + 1);
        peer.send_to(&bytes, rig.address(0)).unwrap();
    }
    let last = common::peer("127.0.0.1:0");
    last.send_to(&good, rig.address(0)).unwrap();
    assert!(receive(&last).0.starts_with("SIP/2.0 200"));
    assert_eq!(rig.count(Counter::Panics), 0);
}

#[test]
fn a_machine_that_panics_is_built_again_and_the_others_go_on() {
    let rig = Rig::new(&["udp:127.0.0.1:0"], 1);
    let peer = peer("127.0.0.1:0");
    peer.send_to(request("PANIC", "a", 1).as_bytes(), rig.address(0))
        .unwrap();
    rig.command(3, Command::Panic);
    rig.await_count(Counter::Panics, 2);
    peer.send_to(request("OPTIONS", "a", 2).as_bytes(), rig.address(0))
        .unwrap();
    assert!(receive(&peer).0.starts_with("SIP/2.0 200"));
    rig.command(3, Command::Note("still here"));
    rig.report_that(|report| report.seen == Seen::Command("still here"));
}

#[test]
fn a_datagram_that_nobody_takes_is_reported_to_its_slot() {
    let rig = Rig::new(&["udp:127.0.0.1:0"], 2);
    let gone = peer("127.0.0.1:0").local_addr().unwrap();
    let way = flow(Protocol::Udp, rig.address(0), gone);
    let text = request("OPTIONS", "x", 1).replace("z9hG4bK1", "z9hG4bK21-0123456789abcdef");
    rig.command(0x21, Command::Send(way, text));
    let report = rig.report_that(|report| matches!(report.seen, Seen::Unreachable(_)));
    assert_eq!(report.slot, Slot::new(0x21));
    let Seen::Unreachable(flow) = report.seen else {
        panic!("asked for above");
    };
    assert!(flow.same_peer(&way));
}

#[test]
fn a_datagram_that_cannot_leave_is_reported_to_its_slot() {
    let rig = Rig::new(&["udp:127.0.0.1:0"], 1);
    // No IPv6 socket, no route from loopback, and no datagram of this size.
    for (remote, size) in [
        ("[::1]:5060", 10),
        ("192.0.2.1:5060", 10),
        ("127.0.0.1:9", 70_000),
    ] {
        let way = flow(Protocol::Udp, rig.address(0), remote.parse().unwrap());
        rig.command(1, Command::Send(way, "x".repeat(size)));
        let report = rig.report_that(|report| matches!(report.seen, Seen::Unreachable(_)));
        assert_eq!(report.seen, Seen::Unreachable(way));
    }
}

#[test]
fn deadlines_commands_and_media_events_reach_their_slot() {
    let rig = Rig::new(&["udp:127.0.0.1:0"], 2);
    rig.command(7, Command::Wake(Duration::from_millis(30)));
    rig.command(8, Command::Wake(Duration::from_millis(10)));
    let timer = |report: &common::Report| report.seen == Seen::Timer;
    let mut woken = [rig.report_that(timer).slot, rig.report_that(timer).slot];
    woken.sort();
    assert_eq!(woken, [Slot::new(7), Slot::new(8)]);
    let session = media::SessionId::new(Slot::new(200), 5);
    let event = media::Event::Silent { session };
    rig.engine.handle().media(event.clone()).unwrap();
    let report = rig.report();
    assert_eq!(report.slot, Slot::new(200));
    assert_eq!(report.seen, Seen::Media(event));
    rig.engine
        .handle()
        .broadcast(|| Command::Note("all"))
        .unwrap();
    let mut slots: Vec<Slot> = (0..256).map(|_| rig.report().slot).collect();
    slots.sort();
    slots.dedup();
    assert_eq!(slots.len(), 256);
}

#[test]
fn nothing_leaves_before_its_records_are_written() {
    let full = Arc::new(AtomicBool::new(true));
    let disk = Arc::clone(&full);
    let services = Services {
        records: Box::new(move |_| match disk.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }),
        ..Services::none()
    };
    let rig = Rig::with(&["udp:127.0.0.1:0"], 1, Limits::default(), services);
    let peer = peer("127.0.0.1:0");
    let way = flow(Protocol::Udp, rig.address(0), peer.local_addr().unwrap());
    rig.command(1, Command::SendRecorded(way, "withheld".to_owned()));
    rig.await_count(Counter::Withheld, 1);
    rig.command(1, Command::Send(way, "free".to_owned()));
    assert_eq!(receive(&peer).0, "free");
    full.store(false, Ordering::SeqCst);
    rig.command(1, Command::SendRecorded(way, "recorded".to_owned()));
    assert_eq!(receive(&peer).0, "recorded");
}

#[test]
fn what_was_said_before_the_stop_is_done() {
    let rig = Rig::new(&["udp:127.0.0.1:0"], 2);
    let peer = peer("127.0.0.1:0");
    let way = flow(Protocol::Udp, rig.address(0), peer.local_addr().unwrap());
    for slot in 0..20 {
        rig.command(slot, Command::Send(way, "farewell".to_owned()));
    }
    let handle = rig.engine.handle().clone();
    rig.engine.stop();
    for _ in 0..20 {
        assert_eq!(receive(&peer).0, "farewell");
    }
    let late = handle.command(Slot::new(0), Command::Note("too late"));
    assert!(late.is_err());
}

#[test]
fn events_go_to_the_observer_with_their_slot() {
    let (sender, events) = std::sync::mpsc::channel();
    let services = Services {
        events: Box::new(move |slot, events: &mut Vec<String>| {
            for event in events.drain(..) {
                let _ = sender.send((slot, event));
            }
        }),
        ..Services::none()
    };
    let rig = Rig::with(&["udp:127.0.0.1:0"], 1, Limits::default(), services);
    let peer = peer("127.0.0.1:0");
    peer.send_to(request("OPTIONS", "the-call", 1).as_bytes(), rig.address(0))
        .unwrap();
    let (slot, event) = events.recv_timeout(common::PATIENCE).unwrap();
    assert_eq!(event, "the-call");
    assert_eq!(slot, Slot::of_key(b"the-call"));
}

#[test]
fn a_port_that_another_engine_has_is_refused() {
    let rig = Rig::new(&["udp:127.0.0.1:0"], 2);
    let config = engine::Config::new(rig.engine.listening().to_vec());
    let error = engine::bind::<Command>(config).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let listen = rig.engine.listening()[0];
    assert!(error.to_string().contains(&listen.to_string()), "{error}");
    rig.engine.stop();
    engine::bind::<Command>(engine::Config::new(vec![listen])).unwrap();
}

#[test]
fn answers_carry_tags_that_lead_back_to_the_slot() {
    let rig = Rig::new(&["udp:127.0.0.1:0"], 2);
    let peer = peer("127.0.0.1:0");
    peer.send_to(request("OPTIONS", "a", 1).as_bytes(), rig.address(0))
        .unwrap();
    let (answer, _) = receive(&peer);
    let answer = Message::parse(answer.as_bytes()).unwrap();
    let tag = answer.to().unwrap().tag().unwrap().to_owned();
    let first = rig.report();
    let inside = request("INFO", "another call-id", 2).replace(
        "To: <sip:echo@test>",
        &format!("To: <sip:echo@test>;tag={tag}"),
    );
    peer.send_to(inside.as_bytes(), rig.address(0)).unwrap();
    assert_eq!(rig.report().slot, first.slot);
}

#[test]
fn one_machine_wakes_others_even_if_they_are_told_too_much() {
    let limits = Limits {
        mailbox: 4,
        ..Limits::default()
    };
    let rig = Rig::with(&["udp:127.0.0.1:0"], 2, limits, Services::none());
    let asker = Slot::new(0);
    let all: Vec<Slot> = (0..=u8::MAX).map(Slot::new).collect();
    let asked = Command::WakeSlots(all.iter().chain(&all).copied().collect());
    rig.engine.handle().command(asker, asked).unwrap();
    let mut woken: Vec<Slot> = Vec::new();
    while woken.len() < all.len() {
        let report = rig.report();
        if report.seen == Seen::Woken {
            woken.push(report.slot);
        }
    }
    woken.sort_unstable();
    assert_eq!(woken, all, "each once");
}

/// RFC 5626 §4.4.2: a phone keeps its NAT's binding by STUN, and learns what its address looks like.
#[test]
fn rfc5626_4_4_2_binding_requests_are_answered_on_the_sip_port() {
    let rig = Rig::new(&["udp:127.0.0.1:0"], 1);
    let phone = peer("127.0.0.1:0");
    let transaction = b"0123456789ab";
    let binding = [&b"\x00\x01\x00\x00\x21\x12\xa4\x42"[..], transaction].concat();
    phone.send_to(&binding, rig.address(0)).unwrap();
    let mut answer = [0; 100];
    let (length, from) = phone.recv_from(&mut answer).unwrap();
    assert_eq!((length, from), (32, rig.address(0)));
    assert_eq!(answer[..8], *b"\x01\x01\x00\x0c\x21\x12\xa4\x42");
    assert_eq!(&answer[8..20], transaction);
    let port = phone.local_addr().unwrap().port() ^ 0x2112;
    assert_eq!(answer[26..28], port.to_be_bytes());
    // Something else that begins like STUN is answered by nobody.
    phone.send_to(&binding[..19], rig.address(0)).unwrap();
    phone
        .send_to(request("OPTIONS", "after", 1).as_bytes(), rig.address(0))
        .unwrap();
    assert!(receive(&phone).0.starts_with("SIP/2.0 200 "));
}
