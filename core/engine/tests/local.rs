//! Messages from one machine of the process to another.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use base::Slot;
use common::{Command, Rig, Seen, request};
use engine::{Counter, Limits, Services};
use sip::Flow;

/// A Call-ID that is steered to `slot`.
fn call_id_of(slot: u8) -> String {
    (0..)
        .map(|number| format!("call-{number}"))
        .find(|call_id| Slot::of_key(call_id.as_bytes()) == Slot::new(slot))
        .unwrap()
}

/// The request, with a Via that brings the answer to `from`.
fn from_slot(from: u8, method: &str, to: u8, cseq: u32) -> String {
    let branch = format!("z9hG4bK{from:02x}-0123456789abcdef");
    request(method, &call_id_of(to), cseq)
        .replace(&format!("z9hG4bK{cseq}"), &branch)
        .replace("/UDP ", "/LOCAL ")
}

#[test]
fn a_request_reaches_another_thread_and_its_answer_comes_back() {
    let rig = Rig::new(&["udp:127.0.0.1:0"], 2);
    let inside = Flow::inside();
    rig.command(4, Command::Send(inside, from_slot(4, "OPTIONS", 7, 1)));
    let asked = rig.report_that(|report| matches!(report.seen, Seen::Message { .. }));
    assert_eq!(asked.slot, Slot::new(7));
    assert_eq!(asked.thread, "sip-1");
    assert_eq!(
        asked.seen,
        Seen::Message {
            cseq: 1,
            flow: inside.reversed()
        }
    );
    let answered = rig.report_that(|report| matches!(report.seen, Seen::Message { .. }));
    assert_eq!(answered.slot, Slot::new(4));
    assert_eq!(answered.thread, "sip-0");
}

#[test]
fn a_machine_can_send_to_itself_and_to_its_own_thread() {
    let rig = Rig::new(&["udp:127.0.0.1:0"], 2);
    for to in [4, 6] {
        let text = from_slot(4, "OPTIONS", to, 1);
        rig.command(4, Command::Send(Flow::inside(), text));
        for slot in [to, 4] {
            let report = rig.report_that(|report| matches!(report.seen, Seen::Message { .. }));
            assert_eq!(report.slot, Slot::new(slot));
        }
    }
}

#[test]
fn order_between_two_slots_is_kept() {
    let rig = Rig::new(&["udp:127.0.0.1:0"], 2);
    for cseq in 0..500 {
        let text = from_slot(4, "INFO", 7, cseq);
        rig.command(4, Command::Send(Flow::inside(), text));
    }
    for expected in 0..500 {
        let report = rig.report_that(|report| report.slot == Slot::new(7));
        assert!(matches!(report.seen, Seen::Message { cseq, .. } if cseq == expected));
    }
}

#[test]
fn what_finds_no_room_is_reported_to_its_sender() {
    let limits = Limits {
        mailbox_bytes: 1000,
        ..Limits::default()
    };
    let rig = Rig::with(&["udp:127.0.0.1:0"], 2, limits, Services::none());
    let long = from_slot(4, "INFO", 7, 1).replace(
        "Content-Length: 0\r\n\r\n",
        &format!("Content-Length: 2000\r\n\r\n{}", "x".repeat(2000)),
    );
    rig.command(4, Command::Send(Flow::inside(), long));
    let report = rig.report_that(|report| matches!(report.seen, Seen::Unreachable(_)));
    assert_eq!(report.slot, Slot::new(4));
    assert_eq!(report.seen, Seen::Unreachable(Flow::inside()));
    assert_eq!(rig.count(Counter::MailboxFull), 1);
}

#[test]
fn an_answer_to_nothing_and_a_broken_message_are_dropped() {
    let rig = Rig::new(&["udp:127.0.0.1:0"], 1);
    let stray = "SIP/2.0 200 OK\r\nVia: SIP/2.0/LOCAL h;branch=z9hG4bKforeign\r\n\r\n";
    rig.command(4, Command::Send(Flow::inside(), stray.to_owned()));
    rig.command(4, Command::Send(Flow::inside(), "nonsense".to_owned()));
    rig.await_count(Counter::Stray, 2);
}

#[test]
fn nobody_can_listen_for_it() {
    let listen = engine::Listen {
        protocol: sip::Protocol::Local,
        address: "127.0.0.1:0".parse().unwrap(),
    };
    let error = engine::bind::<()>(engine::Config::new(vec![listen])).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}
