//! Connections through a running engine.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use base::Slot;
use common::{Command, PATIENCE, Report, Rig, Seen, flow, request, until};
use engine::{Counter, Limits, Services};
use sip::{Flow, Protocol};

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask(stream: &mut TcpStream, method: &str, call: &str, cseq: u32) {
    let request = request(method, call, cseq);
    stream.write_all(request.as_bytes()).unwrap();
}

/// Reads one message without a body.
fn answer(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("more of an answer");
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

/// Whether the peer has closed, once all that it sent has been read.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

fn message_flow(report: &Report) -> Flow {
    match report.seen {
        Seen::Message { flow, .. } => flow,
        ref other => panic!("{other:?}"),
    }
}

fn limited(limits: Limits) -> Rig {
    Rig::with(&["tcp:127.0.0.1:0"], 2, limits, Services::none())
}

#[test]
fn options_over_ipv4_and_ipv6() {
    let rig = Rig::new(&["tcp:127.0.0.1:0", "tcp:[::]:0"], 2);
    let mut streams = [connect(rig.address(0)), connect(rig.address(1))];
    for stream in &mut streams {
        for number in 0..20 {
            let text = request("OPTIONS", &format!("call-{number}"), number);
            stream.write_all(text.as_bytes()).unwrap();
            assert!(answer(stream).starts_with("SIP/2.0 200 OK\r\n"));
            let flow = message_flow(&rig.report());
            assert_eq!(flow.remote, stream.local_addr().unwrap());
            assert_eq!(flow.local, stream.peer_addr().unwrap());
            assert!(flow.connection.is_some());
        }
    }
    assert_eq!(rig.engine.handle().stats().connections(), 2);
    assert!(rig.count(Counter::Forwarded) > 0);
}

#[test]
fn pieces_and_pipelines_keep_their_order() {
    let rig = Rig::new(&["tcp:127.0.0.1:0"], 2);
    let mut stream = connect(rig.address(0));
    stream.set_nodelay(true).unwrap();
    let mut text = String::new();
    for number in 0..300 {
        text.push_str(&request("OPTIONS", "one-call", number));
    }
    for piece in text.as_bytes().chunks(97) {
        stream.write_all(piece).unwrap();
    }
    for number in 0..300 {
        assert!(answer(&mut stream).contains(&format!("CSeq: {number} OPTIONS")));
    }
}

/// RFC 5626 §3.5.1, §4.4.1.
#[test]
fn keep_alives_are_answered() {
    let rig = Rig::new(&["tcp:127.0.0.1:0"], 1);
    let mut stream = connect(rig.address(0));
    stream.write_all(b"\r\n\r\n").unwrap();
    let mut pong = [0; 2];
    stream.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"\r\n");
    assert_eq!(rig.count(Counter::KeepAlives), 1);
}

/// RFC 3261 §21.4.9.
#[test]
fn a_message_that_is_not_finished_in_time_is_refused() {
    let rig = limited(Limits {
        unfinished: Duration::from_millis(200),
        ..Limits::default()
    });
    let mut stream = connect(rig.address(0));
    stream.set_nodelay(true).unwrap();
    let text = request("OPTIONS", "a", 1);
    // One octet after the other, for ever: each shows that the peer lives, and none helps it.
    let mut octets = text
        .bytes()
        .take(text.len() - 20)
        .chain(std::iter::repeat(b'x'));
    let end = Instant::now() + PATIENCE;
    while rig.count(Counter::TimedOut) == 0 {
        assert!(Instant::now() < end);
        let octet = octets.next().unwrap();
        stream.write_all(&[octet]).unwrap();
        std::thread::sleep(Duration::from_micros(500));
    }
    assert!(answer(&mut stream).starts_with("SIP/2.0 408 "));
    assert!(is_closed(&mut stream));
}

#[test]
fn silent_connections_end_and_proven_ones_stay_longer() {
    let rig = limited(Limits {
        unproven: Duration::from_millis(50),
        ..Limits::default()
    });
    let mut proven = connect(rig.address(0));
    ask(&mut proven, "OPTIONS", "a", 1);
    answer(&mut proven);
    let mut silent = connect(rig.address(0));
    let mut ping = connect(rig.address(0));
    ping.write_all(b"\r\n\r\n").unwrap();
    assert!(is_closed(&mut silent));
    assert!(is_closed(&mut ping));
    ask(&mut proven, "OPTIONS", "a", 2);
    assert!(answer(&mut proven).contains("CSeq: 2 "));
}

/// RFC 3261 §18.3, §21.4.11.
#[test]
fn what_is_not_sip_or_too_large_is_refused_and_the_connection_closed() {
    let rig = limited(Limits {
        message: 4096,
        ..Limits::default()
    });
    let good = request("OPTIONS", "a", 1);
    let long = good.replace(
        "Max-Forwards",
        &format!("X: {}\r\nMax-Forwards", "x".repeat(70_000)),
    );
    for (text, refusal) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), ""),
        ("\x16\x03\x01\x02\0\x01".to_owned(), ""),
        (good.replace("Length: 0", "Length: 5000"), "SIP/2.0 413 "),
        (good.replace("Length: 0", "Length: many"), "SIP/2.0 400 "),
        (good.replace("Content-Length: 0\r\n", ""), "SIP/2.0 400 "),
        (long, ""),
    ] {
        let mut stream = connect(rig.address(0));
        // The engine may close before everything is written.
        let _ = stream.write_all(text.as_bytes());
        if !refusal.is_empty() {
            let answer = answer(&mut stream);
            assert!(answer.starts_with(refusal), "{answer}");
        }
        assert!(is_closed(&mut stream), "{text}");
    }
    until(
        || rig.engine.handle().stats().connections() == 0,
        || "connections stay open".to_owned(),
    );
}

#[test]
fn malformed_requests_are_refused_and_the_connection_stays() {
    let rig = Rig::new(&["tcp:127.0.0.1:0"], 1);
    let mut stream = connect(rig.address(0));
    let text = request("OPTIONS", "a", 1).replace("CSeq: 1 OPTIONS", "CSeq: 1 BYE");
    stream.write_all(text.as_bytes()).unwrap();
    assert!(answer(&mut stream).starts_with("SIP/2.0 400 "));
    ask(&mut stream, "OPTIONS", "a", 2);
    assert!(answer(&mut stream).starts_with("SIP/2.0 200 "));
}

#[test]
fn too_many_connections_of_one_peer_are_refused() {
    let rig = limited(Limits {
        connections_per_peer: 3,
        ..Limits::default()
    });
    let mut streams: Vec<TcpStream> = (0..3).map(|_| connect(rig.address(0))).collect();
    rig.await_count(Counter::Accepted, 3);
    let mut fourth = connect(rig.address(0));
    assert!(is_closed(&mut fourth));
    ask(&mut streams[0], "OPTIONS", "a", 1);
    assert!(answer(&mut streams[0]).starts_with("SIP/2.0 200 "));
    drop(streams);
    rig.await_count(Counter::Closed, 3);
    let mut fifth = connect(rig.address(0));
    ask(&mut fifth, "OPTIONS", "a", 2);
    assert!(answer(&mut fifth).starts_with("SIP/2.0 200 "));
}

#[test]
fn silent_connections_make_room_for_others() {
    let rig = Rig::with(
        &["tcp:127.0.0.1:0"],
        1,
        Limits {
            connections: 3,
            ..Limits::default()
        },
        Services::none(),
    );
    let mut proven = connect(rig.address(0));
    ask(&mut proven, "OPTIONS", "a", 1);
    answer(&mut proven);
    let mut oldest = connect(rig.address(0));
    rig.await_count(Counter::Accepted, 2);
    let _silent = connect(rig.address(0));
    rig.await_count(Counter::Accepted, 3);
    let mut newest = connect(rig.address(0));
    ask(&mut newest, "OPTIONS", "a", 2);
    assert!(answer(&mut newest).starts_with("SIP/2.0 200 "));
    assert!(is_closed(&mut oldest));
    ask(&mut proven, "OPTIONS", "a", 3);
    assert!(answer(&mut proven).starts_with("SIP/2.0 200 "));
}

#[test]
fn requests_to_one_address_share_one_connection_whichever_slot_sends_them() {
    let rig = Rig::new(&["tcp:127.0.0.1:0"], 4);
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let way = flow(Protocol::Tcp, rig.address(0), peer.local_addr().unwrap());
    for slot in 0..40 {
        let text = request("OPTIONS", "a", u32::from(slot));
        rig.command(slot, Command::Send(way, text));
    }
    let (mut stream, _) = peer.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut numbers: Vec<u32> = (0..40)
        .map(|_| {
            let text = answer(&mut stream);
            let message = sip::Message::parse(text.as_bytes()).unwrap();
            message.cseq().unwrap().number
        })
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..40).collect::<Vec<_>>());
    assert_eq!(rig.count(Counter::Connected), 1);
    // What comes back on it arrives with its connection.
    ask(&mut stream, "OPTIONS", "back", 1);
    answer(&mut stream);
    let report = rig.report_that(|report| matches!(report.seen, Seen::Message { .. }));
    assert!(message_flow(&report).connection.is_some());
}

#[test]
fn a_peer_is_reached_over_the_connection_that_it_made() {
    let rig = Rig::new(&["tcp:127.0.0.1:0"], 2);
    let mut stream = connect(rig.address(0));
    ask(&mut stream, "INFO", "a", 1);
    let way = message_flow(&rig.report());
    let by_address = Flow {
        connection: None,
        tls: sip::TlsPeer::ANY,
        ..way
    };
    for (slot, way) in [(0, way), (1, way), (2, by_address), (3, by_address)] {
        rig.command(
            slot,
            Command::Send(way, request("OPTIONS", "b", u32::from(slot))),
        );
        assert!(answer(&mut stream).contains(&format!("CSeq: {slot} ")));
    }
    assert_eq!(rig.count(Counter::Connected), 0);
}

#[test]
fn an_id_of_an_earlier_process_leads_to_the_right_peer_or_nowhere() {
    let rig = Rig::new(&["tcp:127.0.0.1:0"], 2);
    let mut stream = connect(rig.address(0));
    ask(&mut stream, "INFO", "a", 1);
    let way = message_flow(&rig.report());
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let remote = other.local_addr().unwrap();
    let send = |slot, connection| {
        let wrong = Flow {
            connection,
            remote,
            ..way
        };
        let text = request("OPTIONS", "b", u32::from(slot));
        rig.command(slot, Command::Send(wrong, text));
    };
    // This id is open, with another peer; the peer had made it, so it is not made again.
    for slot in [0, 1] {
        send(slot, way.connection);
        let failed = |report: &Report| matches!(report.seen, Seen::Unreachable(_));
        assert_eq!(rig.report_that(failed).slot, Slot::new(slot));
    }
    // This one names a thread that there is not.
    send(2, Some(sip::ConnectionId(0x1_0000_00fe)));
    let (mut made, _) = other.accept().unwrap();
    made.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(answer(&mut made).starts_with("OPTIONS "));
    ask(&mut stream, "OPTIONS", "c", 9);
    assert!(answer(&mut stream).contains("CSeq: 9 "));
}

#[test]
fn a_connection_that_nobody_accepts_is_reported() {
    let rig = Rig::new(&["tcp:127.0.0.1:0"], 2);
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let way = flow(Protocol::Tcp, rig.address(0), gone);
    for slot in [4, 5] {
        rig.command(slot, Command::Send(way, request("OPTIONS", "a", 1)));
        let report = rig.report_that(|report| matches!(report.seen, Seen::Unreachable(_)));
        assert_eq!(report.slot, Slot::new(slot));
        assert!(matches!(report.seen, Seen::Unreachable(flow) if flow.same_peer(&way)));
    }
}

#[test]
fn a_connection_that_is_never_made_is_reported_in_time() {
    let rig = limited(Limits {
        connect: Duration::from_millis(50),
        ..Limits::default()
    });
    // A listener whose queue is full takes no more connections.
    let deaf = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    deaf.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into())
        .unwrap();
    deaf.listen(0).unwrap();
    let address = deaf.local_addr().unwrap().as_socket().unwrap();
    let _fill: Vec<_> = (0..8)
        .map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(20)))
        .collect();
    let way = flow(Protocol::Tcp, rig.address(0), address);
    rig.command(9, Command::Send(way, request("OPTIONS", "a", 1)));
    let report = rig.report_that(|report| matches!(report.seen, Seen::Unreachable(_)));
    assert_eq!(report.slot, Slot::new(9));
    assert_eq!(rig.count(Counter::TimedOut), 1);
}

#[test]
fn slots_learn_that_a_connection_they_used_is_gone() {
    let rig = Rig::new(&["tcp:127.0.0.1:0"], 2);
    let mut stream = connect(rig.address(0));
    ask(&mut stream, "INFO", "a", 1);
    let way = message_flow(&rig.report());
    for slot in [10, 11] {
        rig.command(slot, Command::Send(way, request("OPTIONS", "b", 1)));
        answer(&mut stream);
    }
    stream.shutdown(Shutdown::Both).unwrap();
    drop(stream);
    let lost = |report: &Report| report.seen == Seen::Unreachable(way);
    let mut slots = [rig.report_that(lost).slot, rig.report_that(lost).slot];
    slots.sort();
    assert_eq!(slots, [Slot::new(10), Slot::new(11)]);
    // Nobody listens on the port that the peer had: the next message fails at once.
    rig.command(12, Command::Send(way, request("OPTIONS", "b", 2)));
    assert_eq!(rig.report_that(lost).slot, Slot::new(12));
}

#[test]
fn a_peer_that_does_not_read_is_cut_off() {
    let rig = limited(Limits {
        unsent: 100_000,
        ..Limits::default()
    });
    let mut stream = connect(rig.address(0));
    ask(&mut stream, "INFO", "a", 1);
    let way = message_flow(&rig.report());
    let text = request("OPTIONS", "b", 1).replace(
        "\r\n\r\n",
        &format!("\r\nX: {}\r\n\r\n", "x".repeat(50_000)),
    );
    let end = Instant::now() + PATIENCE;
    while rig.count(Counter::TimedOut) == 0 {
        assert!(Instant::now() < end);
        // The mailbox may be full for a moment.
        let _ = rig
            .engine
            .handle()
            .command(Slot::new(1), Command::Send(way, text.clone()));
    }
    rig.report_that(|report| report.seen == Seen::Unreachable(way));
}

#[test]
fn a_thousand_idle_connections_hinder_nobody() {
    let rig = Rig::with(
        &["tcp:127.0.0.1:0"],
        2,
        Limits {
            connections_per_peer: 2000,
            ..Limits::default()
        },
        Services::none(),
    );
    let _idle: Vec<TcpStream> = (0..1000).map(|_| connect(rig.address(0))).collect();
    rig.await_count(Counter::Accepted, 1000);
    let mut stream = connect(rig.address(0));
    ask(&mut stream, "OPTIONS", "a", 1);
    assert!(answer(&mut stream).starts_with("SIP/2.0 200 "));
}

#[test]
fn random_octets_kill_nothing() {
    let rig = Rig::new(&["tcp:127.0.0.1:0"], 2);
    let good = request("OPTIONS", "a", 1).into_bytes();
    let mut random = base::Mint::new(Slot::new(0), [6; 32]);
    for _ in 0..300 {
        let mut bytes = good.repeat(3);
        for _ in 0..random.below(8) {
            let at = random.below(bytes.len() as u32) as usize;
            bytes[at] = random.number() as u8;
        }
        let mut stream = connect(rig.address(0));
        // The engine may close at any octet.
        let _ = stream.write_all(&bytes);
    }
    let mut stream = connect(rig.address(0));
    stream.write_all(&good).unwrap();
    assert!(answer(&mut stream).starts_with("SIP/2.0 200 "));
    assert_eq!(rig.count(Counter::Panics), 0);
}

#[test]
fn a_taken_port_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("tcp:{}", taken.local_addr().unwrap());
    let config = engine::Config::new(vec![common::parse_listen(&text)]);
    let error = engine::bind::<Command>(config).unwrap_err();
    assert!(error.to_string().contains(&text), "{error}");
}
