//! WebSockets through a running engine, as a web server hands them over.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use base::Slot;
use common::tls::{Authority, client_config};
use common::{Command, PATIENCE, Rig, Seen, request, until};
use engine::{Counter, Limits, Services, Upgraded};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use sip::{Flow, Protocol};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, WebSocket};

/// The browser's end.
type Browser<S> = WebSocket<S>;

fn rig() -> Rig {
    Rig::new(&["udp:127.0.0.1:0"], 2)
}

/// Both ends of a fresh connection: the browser's and the server's.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let browser = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    for timeout in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
        timeout(&browser, Some(PATIENCE)).unwrap();
    }
    (browser, listener.accept().unwrap().0)
}

fn adopt(rig: &Rig, socket: TcpStream, session: Option<Box<ServerConnection>>, early: &[u8]) {
    let upgraded = Upgraded {
        socket,
        session,
        proxied: None,
        early: early.to_vec(),
    };
    rig.engine.handle().adopt(Box::new(upgraded)).unwrap();
}

fn client<S: Read + Write>(stream: S) -> Browser<S> {
    WebSocket::from_raw_socket(stream, Role::Client, None)
}

/// A WebSocket that the engine has taken over.
fn plain(rig: &Rig) -> Browser<TcpStream> {
    let (browser, server) = pair();
    adopt(rig, server, None, b"");
    client(browser)
}

fn ask<S: Read + Write>(browser: &mut Browser<S>, text: &str) -> String {
    browser.send(Message::text(text)).unwrap();
    answer(browser)
}

/// The next message that is no pong.
fn answer<S: Read + Write>(browser: &mut Browser<S>) -> String {
    loop {
        match browser.read().unwrap() {
            Message::Text(text) => return text.to_string(),
            Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn message_flow(rig: &Rig) -> Flow {
    let report = rig.report_that(|report| matches!(report.seen, Seen::Message { .. }));
    match report.seen {
        Seen::Message { flow, .. } => flow,
        other => panic!("{other:?}"),
    }
}

/// RFC 7118 §4.2: one SIP message is one WebSocket message, text or binary, and needs no Content-Length.
#[test]
fn rfc7118_4_2_a_request_is_answered_in_a_message_of_its_own() {
    let rig = rig();
    let mut browser = plain(&rig);
    let text = request("OPTIONS", "call", 1).replace("Content-Length: 0\r\n", "");
    assert!(ask(&mut browser, &text).starts_with("SIP/2.0 200 OK\r\n"));
    let flow = message_flow(&rig);
    assert_eq!(flow.protocol, Protocol::Ws);
    assert_eq!(flow.remote, browser.get_ref().local_addr().unwrap());
    browser
        .send(Message::binary(request("OPTIONS", "call", 2).into_bytes()))
        .unwrap();
    assert!(answer(&mut browser).starts_with("SIP/2.0 200 "));
    // Ours to the browser: along the connection that the request came by.
    let text = request("INVITE", "call", 3);
    rig.command(0, Command::Send(flow, text.clone()));
    assert_eq!(answer(&mut browser), text);
    // What is not text goes as binary.
    let odd = text.replace("Content-Length: 0\r\n\r\n", "Content-Length: 1\r\n\r\n");
    rig.command(0, Command::Send(flow, odd));
    assert!(answer(&mut browser).ends_with("Content-Length: 1\r\n\r\n"));
}

#[test]
fn encrypted_ones_keep_what_was_read_before_the_hand_over() {
    let authority = Authority::new();
    let config = authority.issue(&["pbx.test"]).server();
    for version in [&TLS12, &TLS13] {
        let rig = rig();
        let (browser, mut server) = pair();
        let config = Arc::clone(&config);
        let accepting = std::thread::spawn(move || {
            let mut session = ServerConnection::new(config).unwrap();
            while session.is_handshaking() {
                session.complete_io(&mut server).unwrap();
            }
            // The first frame: half of it read, half of it only decrypted.
            while session.reader().fill_buf_len() < 40 {
                session.read_tls(&mut server).unwrap();
                session.process_new_packets().unwrap();
            }
            let mut early = vec![0; 20];
            session.reader().read_exact(&mut early).unwrap();
            (server, session, early)
        });
        let name = ServerName::try_from("pbx.test").unwrap();
        let tls = ClientConnection::new(client_config(version, None), name).unwrap();
        let mut browser = client(StreamOwned::new(tls, browser));
        browser
            .send(Message::text(request("OPTIONS", "call", 1)))
            .unwrap();
        let (socket, session, early) = accepting.join().unwrap();
        adopt(&rig, socket, Some(Box::new(session)), &early);
        assert!(answer(&mut browser).starts_with("SIP/2.0 200 "));
        assert_eq!(message_flow(&rig).protocol, Protocol::Wss);
        assert!(ask(&mut browser, &request("OPTIONS", "call", 2)).starts_with("SIP/2.0 200 "));
    }
}

trait FillLength {
    fn fill_buf_len(self) -> usize;
}

impl FillLength for rustls::Reader<'_> {
    fn fill_buf_len(mut self) -> usize {
        use std::io::BufRead;
        self.fill_buf().map_or(0, <[u8]>::len)
    }
}

#[test]
fn rfc7118_6_keep_alives_are_answered() {
    let rig = rig();
    let mut browser = plain(&rig);
    assert_eq!(ask(&mut browser, "\r\n\r\n"), "\r\n");
    browser.send(Message::Ping("now".into())).unwrap();
    assert_eq!(browser.read().unwrap(), Message::Pong("now".into()));
    rig.await_count(Counter::KeepAlives, 1);
}

#[test]
fn fragments_and_pipelines_keep_their_order() {
    let rig = rig();
    let mut browser = plain(&rig);
    for number in 0..200 {
        browser
            .write(Message::text(request("OPTIONS", "call", number)))
            .unwrap();
    }
    browser.flush().unwrap();
    for number in 0..200 {
        assert!(answer(&mut browser).contains(&format!("CSeq: {number} ")));
    }
}

/// RFC 7118 §4.2 leaves no way to resynchronise, but a malformed request is refused like any other.
#[test]
fn malformed_requests_are_refused_and_nonsense_ends_the_connection() {
    let rig = rig();
    let mut browser = plain(&rig);
    let wrong = request("OPTIONS", "call", 1).replace("CSeq: 1 OPTIONS", "CSeq: 1 BYE");
    assert!(ask(&mut browser, &wrong).starts_with("SIP/2.0 400 "));
    browser.send(Message::text("hello")).unwrap();
    assert!(matches!(browser.read().unwrap(), Message::Close(_)));
    rig.await_count(Counter::NotSip, 1);
    assert!(browser.read().is_err());
    rig.await_count(Counter::Closed, 1);
}

#[test]
fn rfc6455_5_1_who_does_not_mask_is_sent_away() {
    let rig = rig();
    let (mut browser, server) = pair();
    adopt(&rig, server, None, b"\x81\x02hi");
    let mut farewell = Vec::new();
    browser.read_to_end(&mut farewell).unwrap();
    assert_eq!(farewell[..4], [0x88, 2, 0x03, 0xea]);
    rig.await_count(Counter::Closed, 1);
}

#[test]
fn what_is_too_long_is_not_waited_for() {
    let limits = Limits {
        message: 1000,
        ..Limits::default()
    };
    let rig = Rig::with(&["udp:127.0.0.1:0"], 1, limits, Services::none());
    let (browser, server) = pair();
    adopt(&rig, server, None, b"");
    let config = WebSocketConfig::default().write_buffer_size(0);
    let mut browser = WebSocket::from_raw_socket(browser, Role::Client, Some(config));
    browser.send(Message::text("x".repeat(3000))).unwrap();
    match browser.read().unwrap() {
        Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 1009),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_end_is_answered_and_the_slots_hear_of_it() {
    let rig = rig();
    let mut browser = plain(&rig);
    ask(&mut browser, &request("OPTIONS", "call", 1));
    let flow = message_flow(&rig);
    rig.command(5, Command::Send(flow, request("INVITE", "call", 2)));
    answer(&mut browser);
    browser.close(None).unwrap();
    assert!(matches!(browser.read().unwrap(), Message::Close(_)));
    assert!(browser.read().is_err());
    let told = rig.report_that(|report| report.slot == Slot::new(5) && is_unreachable(report));
    assert_eq!(told.seen, Seen::Unreachable(flow));
    rig.command(5, Command::Send(flow, request("INVITE", "call", 3)));
    rig.report_that(is_unreachable);
}

fn is_unreachable(report: &common::Report) -> bool {
    matches!(report.seen, Seen::Unreachable(_))
}

/// A frame that is never finished does not hold a connection, however slowly it goes on.
#[test]
fn an_unfinished_frame_is_not_waited_for_for_ever() {
    let limits = Limits {
        unfinished: Duration::from_millis(300),
        ..Limits::default()
    };
    let rig = Rig::with(&["udp:127.0.0.1:0"], 1, limits, Services::none());
    let (mut browser, server) = pair();
    adopt(&rig, server, None, b"\x81\xfe\x03\xe8\x01\x02\x03\x04");
    until(
        || {
            // The end may have come.
            let _ = browser.write_all(b"x");
            rig.count(Counter::TimedOut) == 1
        },
        || "the frame may go on".to_owned(),
    );
}

#[test]
fn who_does_not_read_the_answers_to_pings_is_cut_off() {
    let limits = Limits {
        unsent: 1000,
        ..Limits::default()
    };
    let rig = Rig::with(&["udp:127.0.0.1:0"], 1, limits, Services::none());
    let (mut browser, server) = pair();
    adopt(&rig, server, None, b"");
    let ping = [&b"\x89\xfd\x00\x00\x00\x00"[..], &[0; 125]].concat();
    let flood = ping.repeat(500);
    while browser.write_all(&flood).is_ok() {}
    rig.await_count(Counter::TimedOut, 1);
    assert_eq!(rig.engine.handle().stats().connections(), 0);
}
