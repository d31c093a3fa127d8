//! Encrypted connections through a running engine.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use base::Slot;
use common::tls::{Authority, Pair, Stream, answer, ask, client_config, connect};
use common::{Command, PATIENCE, Rig, Seen, flow, request, until};
use engine::tls::{ClientCertificates, Identity, Peer, Roots, TlsError};
use engine::{Config, Counter, Limits, Services, Tls};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConnection, StreamOwned};
use sip::{Flow, Protocol, TlsPeer};

/// A rig that listens for TLS.
struct Secure {
    rig: Rig,
    authority: Authority,
}

impl Secure {
    fn new() -> Self {
        Self::with(Limits::default(), |_| ClientCertificates::Off)
    }

    fn with(limits: Limits, clients: impl FnOnce(&Authority) -> ClientCertificates) -> Self {
        let authority = Authority::new();
        let clients = clients(&authority);
        let tls = snapshot(&authority, &authority.issue(&["pbx.test"]), &clients);
        let config = Config {
            tls: Some(tls),
            limits,
            ..Config::new(vec![common::parse_listen("tls:127.0.0.1:0")])
        };
        let rig = Rig::of(config, 2, Services::none());
        Self { rig, authority }
    }

    fn connect(&self) -> Stream {
        connect(self.rig.address(0), &client_config(&TLS13, None))
    }

    fn connect_as(&self, pair: &Pair) -> Stream {
        connect(self.rig.address(0), &client_config(&TLS13, Some(pair)))
    }
}

fn snapshot(authority: &Authority, ours: &Pair, clients: &ClientCertificates) -> Tls {
    Tls::new(&ours.identity(), clients, peers(authority)).unwrap()
}

/// Peers 1 and 2 are verified, 3 is not.
fn peers(authority: &Authority) -> Vec<Peer> {
    let ours = authority.issue(&["pbx.test"]).identity();
    let peer = |name: &str, roots| Peer::new(name, roots, Some(&ours)).unwrap();
    let roots = authority.roots();
    vec![
        peer("carrier.test", Some(&roots)),
        peer("other.test", Some(&roots)),
        peer("careless.test", None),
    ]
}

/// How the next message came; that older connections end says nothing.
fn message_flow(rig: &Rig) -> Flow {
    let report = rig.report_that(|report| matches!(report.seen, Seen::Message { .. }));
    match report.seen {
        Seen::Message { flow, .. } => flow,
        other => panic!("{other:?}"),
    }
}

fn is_closed(stream: &mut impl Read) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

#[test]
fn options_over_both_versions() {
    let secure = Secure::new();
    for version in [&TLS12, &TLS13] {
        let mut stream = connect(secure.rig.address(0), &client_config(version, None));
        for number in 0..20 {
            let text = request("OPTIONS", &format!("call-{number}"), number);
            assert!(ask(&mut stream, &text).starts_with("SIP/2.0 200 OK\r\n"));
            let flow = message_flow(&secure.rig);
            assert_eq!(flow.protocol, Protocol::Tls);
            assert_eq!(flow.remote, stream.sock.local_addr().unwrap());
            assert_eq!(flow.local, stream.sock.peer_addr().unwrap());
            assert_eq!(flow.tls, TlsPeer::ANY);
        }
        assert_eq!(stream.conn.protocol_version(), Some(version.version));
    }
    assert_eq!(secure.rig.count(Counter::Secured), 2);
}

#[test]
fn a_session_is_resumed() {
    let secure = Secure::new();
    for version in [&TLS12, &TLS13] {
        let config = client_config(version, None);
        let mut kinds = Vec::new();
        for number in 0..2 {
            let mut stream = connect(secure.rig.address(0), &config);
            ask(&mut stream, &request("OPTIONS", "call", number));
            kinds.push(stream.conn.handshake_kind().unwrap());
        }
        let expected = [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed];
        assert_eq!(kinds, expected);
    }
}

#[test]
fn long_messages_and_pieces_arrive_whole() {
    let secure = Secure::new();
    let mut stream = secure.connect();
    let body = "x".repeat(60_000);
    let long = request("OPTIONS", "call", 1).replace(
        "Content-Length: 0\r\n\r\n",
        &format!("Content-Length: {}\r\n\r\n{body}", body.len()),
    );
    assert!(ask(&mut stream, &long).starts_with("SIP/2.0 200 "));
    // Records that end anywhere in a message, in segments that end anywhere in a record.
    let text = request("OPTIONS", "call", 2) + &request("OPTIONS", "call", 3);
    for piece in text.as_bytes().chunks(7) {
        stream.write_all(piece).unwrap();
    }
    for _ in 2..=3 {
        assert!(answer(&mut stream).starts_with("SIP/2.0 200 "));
    }
    let to_phone = flow_to(&stream, message_flow(&secure.rig));
    secure.rig.command(0, Command::Send(to_phone, long.clone()));
    let mut received = vec![0; long.len()];
    stream.read_exact(&mut received).unwrap();
    assert_eq!(received, long.as_bytes());
}

fn flow_to(stream: &Stream, flow: Flow) -> Flow {
    assert_eq!(flow.remote, stream.sock.local_addr().unwrap());
    flow
}

#[test]
fn what_is_sent_while_keys_are_agreed_on_follows() {
    let secure = Secure::new();
    let (listener, address) = listen();
    let server = secure.authority.issue(&["carrier.test"]).server();
    for cseq in 1..=3 {
        let text = request("OPTIONS", "call", cseq);
        secure
            .rig
            .command(0, Command::Send(to(address, TlsPeer(1)), text));
    }
    let mut peer = accept(&listener, server);
    for cseq in 1..=3 {
        let text = answer(&mut peer);
        assert!(text.contains(&format!("CSeq: {cseq} ")), "{text}");
    }
}

#[test]
fn what_is_no_handshake_is_refused_and_others_do_not_notice() {
    let secure = Secure::new();
    let mut phone = secure.connect();
    ask(&mut phone, &request("OPTIONS", "call", 1));
    for nonsense in [
        "OPTIONS sip:a@b SIP/2.0\r\n\r\n",
        "\r\n\r\n\r\n\r\n\r\n",
        "\u{16}\u{3}\u{1}\0\u{1}x",
    ] {
        let mut stranger = TcpStream::connect(secure.rig.address(0)).unwrap();
        stranger.set_read_timeout(Some(PATIENCE)).unwrap();
        stranger.write_all(nonsense.as_bytes()).unwrap();
        stranger.shutdown(Shutdown::Write).unwrap();
        assert!(is_closed(&mut stranger), "{nonsense:?}");
    }
    secure.rig.await_count(Counter::Closed, 3);
    assert!(secure.rig.count(Counter::HandshakesFailed) >= 1);
    ask(&mut phone, &request("OPTIONS", "call", 2));
}

/// Octets that come slowly don't buy time.
#[test]
fn a_slow_handshake_is_ended() {
    let limits = Limits {
        handshake: Duration::from_millis(300),
        ..Limits::default()
    };
    let secure = Secure::with(limits, |_| ClientCertificates::Off);
    let mut hello = Vec::new();
    let mut client = connect(secure.rig.address(0), &client_config(&TLS13, None));
    client.conn.write_tls(&mut hello).unwrap();
    let mut octets = hello.into_iter();
    until(
        || {
            if let Some(octet) = octets.next() {
                // The end may have come.
                let _ = client.sock.write_all(&[octet]);
            }
            secure.rig.count(Counter::TimedOut) == 1
        },
        || "the slow handshake goes on".to_owned(),
    );
    assert!(octets.next().is_some(), "it was not ended for being done");
    assert_eq!(secure.rig.engine.handle().stats().connections(), 0);
}

#[test]
fn a_peer_that_vanishes_is_forgotten() {
    let secure = Secure::new();
    let mut phone = secure.connect();
    ask(&mut phone, &request("OPTIONS", "call", 1));
    let flow = message_flow(&secure.rig);
    // Without a farewell.
    phone.sock.shutdown(Shutdown::Both).unwrap();
    secure.rig.await_count(Counter::Closed, 1);
    secure
        .rig
        .command(0, Command::Send(flow, request("OPTIONS", "call", 2)));
    let report = secure.rig.report_that(|report| {
        report.slot == Slot::new(0) && matches!(report.seen, Seen::Unreachable(_))
    });
    assert_eq!(report.seen, Seen::Unreachable(flow));
}

#[test]
fn a_farewell_is_answered() {
    let secure = Secure::new();
    let mut phone = secure.connect();
    ask(&mut phone, &request("OPTIONS", "call", 1));
    phone.conn.send_close_notify();
    // A request in the same segment as the farewell would still be answered; here is none.
    phone.flush().unwrap();
    assert!(is_closed(&mut phone));
    secure.rig.await_count(Counter::Closed, 1);
}

#[test]
fn a_new_certificate_is_for_new_connections() {
    let secure = Secure::new();
    let mut old = secure.connect();
    ask(&mut old, &request("OPTIONS", "call", 1));
    let shown = |stream: &Stream| stream.conn.peer_certificates().unwrap()[0].clone();
    let fresh = secure.authority.issue(&["pbx.test"]);
    let tls = snapshot(&secure.authority, &fresh, &ClientCertificates::Off);
    secure.rig.engine.handle().set_tls(tls);
    let mut new = secure.connect();
    ask(&mut new, &request("OPTIONS", "call", 2));
    assert_eq!(shown(&new), fresh.der());
    assert_ne!(shown(&old), fresh.der());
    ask(&mut old, &request("OPTIONS", "call", 3));
    assert_eq!(secure.rig.count(Counter::Closed), 0);
}

#[test]
fn rfc5922_7_1_who_shows_a_certificate_is_known_by_its_name() {
    let limits = Limits::default();
    let secure = Secure::with(limits, |a| ClientCertificates::Request(a.roots()));
    let tls_of = |names: &[&str]| {
        let mut stream = secure.connect_as(&secure.authority.issue(names));
        ask(&mut stream, &request("OPTIONS", "call", 1));
        message_flow(&secure.rig).tls
    };
    assert_eq!(tls_of(&["x.test", "carrier.test"]), TlsPeer(1));
    assert_eq!(tls_of(&["sip:other.test"]), TlsPeer(2));
    assert_eq!(tls_of(&["sip:alice@other.test"]), TlsPeer::ANY);
    // Its SIP domain counts, not its host name.
    assert_eq!(tls_of(&["carrier.test", "sip:stranger.test"]), TlsPeer::ANY);
    assert_eq!(tls_of(&["stranger.test"]), TlsPeer::ANY);
    let mut anonymous = secure.connect();
    ask(&mut anonymous, &request("OPTIONS", "call", 1));
    assert_eq!(message_flow(&secure.rig).tls, TlsPeer::ANY);
    let forged = Authority::new().issue(&["carrier.test"]);
    assert!(is_refused(&mut secure.connect_as(&forged)));
}

fn is_refused(stream: &mut Stream) -> bool {
    let text = request("OPTIONS", "call", 1);
    let written = stream.write_all(text.as_bytes());
    written.is_err() || stream.read(&mut [0; 100]).is_err()
}

#[test]
fn without_a_certificate_nobody_gets_in_where_one_is_required() {
    let secure = Secure::with(Limits::default(), |authority| {
        ClientCertificates::Require(authority.roots())
    });
    for version in [&TLS12, &TLS13] {
        let config = client_config(version, None);
        assert!(is_refused(&mut connect(secure.rig.address(0), &config)));
    }
    secure.rig.await_count(Counter::HandshakesFailed, 2);
    let pair = secure.authority.issue(&["carrier.test"]);
    ask(
        &mut secure.connect_as(&pair),
        &request("OPTIONS", "call", 1),
    );
}

#[test]
fn a_server_is_believed_only_under_its_name() {
    let secure = Secure::new();
    let forged = Authority::new().issue(&["carrier.test"]);
    let cases = [
        (TlsPeer(1), secure.authority.issue(&["carrier.test"]), true),
        (
            TlsPeer(1),
            secure.authority.issue(&["sip:carrier.test"]),
            true,
        ),
        (TlsPeer(1), secure.authority.issue(&["other.test"]), false),
        (TlsPeer(1), forged.clone(), false),
        (TlsPeer(3), forged, true),
    ];
    for (number, (peer, shown, believed)) in cases.into_iter().enumerate() {
        let (listener, address) = listen();
        let to = to(address, peer);
        secure
            .rig
            .command(0, Command::Send(to, request("OPTIONS", "call", 1)));
        let mut peer = accept(&listener, shown.server());
        if believed {
            assert!(answer(&mut peer).starts_with("OPTIONS "), "{number}");
            continue;
        }
        assert!(peer.read(&mut [0; 100]).is_err(), "{number}");
        secure.rig.report_that(|report| match report.seen {
            Seen::Unreachable(flow) => (flow.remote, flow.tls) == (to.remote, to.tls),
            _ => false,
        });
    }
}

#[test]
fn nobody_in_particular_is_not_connected_to() {
    let secure = Secure::new();
    let (_listener, address) = listen();
    for peer in [TlsPeer::ANY, TlsPeer(99)] {
        let to = to(address, peer);
        secure
            .rig
            .command(0, Command::Send(to, request("OPTIONS", "call", 1)));
        let report = secure
            .rig
            .report_that(|r| matches!(r.seen, Seen::Unreachable(_)));
        assert_eq!(report.seen, Seen::Unreachable(to));
    }
    for protocol in [Protocol::Ws, Protocol::Wss] {
        let to = flow(protocol, "127.0.0.1:1".parse().unwrap(), address);
        secure
            .rig
            .command(0, Command::Send(to, request("OPTIONS", "call", 1)));
        secure.rig.report_that(|r| r.seen == Seen::Unreachable(to));
    }
}

#[test]
fn one_connection_serves_all_that_mean_the_same_peer() {
    let secure = Secure::new();
    let (listener, address) = listen();
    for peer in [TlsPeer(1), TlsPeer(3), TlsPeer(1)] {
        let text = request("OPTIONS", "call", 1);
        secure
            .rig
            .command(0, Command::Send(to(address, peer), text));
    }
    let shown = secure.authority.issue(&["carrier.test"]).server();
    let mut peers = [
        accept(&listener, Arc::clone(&shown)),
        accept(&listener, shown),
    ];
    peers.iter_mut().for_each(|peer| drop(answer(peer)));
    let is_carrier = |peer: &&mut Accepted| peer.conn.server_name() == Some("carrier.test");
    let carrier = peers.iter_mut().find(is_carrier).unwrap();
    answer(carrier);
    let text = request("BYE", "call", 2);
    secure
        .rig
        .command(1, Command::Send(to(address, TlsPeer(1)), text));
    assert!(answer(carrier).starts_with("BYE "));
    assert_eq!(secure.rig.count(Counter::Connected), 2);
}

#[test]
fn rfc5923_5_a_known_peer_is_reached_over_its_own_connection() {
    let limits = Limits::default();
    let secure = Secure::with(limits, |a| ClientCertificates::Request(a.roots()));
    let aliased = |cseq| {
        let text = request("OPTIONS", "call", cseq);
        text.replace("/UDP peer.test;", "/TLS peer.test:5999;alias;")
    };
    let mut carrier = secure.connect_as(&secure.authority.issue(&["carrier.test"]));
    ask(&mut carrier, &aliased(1));
    let to = to("127.0.0.1:5999".parse().unwrap(), TlsPeer(1));
    secure
        .rig
        .command(1, Command::Send(to, request("INVITE", "new", 9)));
    assert!(answer(&mut carrier).starts_with("INVITE "));
    // Somebody else who asks for the same gets nothing.
    let mut thief = secure.connect();
    ask(&mut thief, &aliased(2));
    let to = Flow {
        tls: TlsPeer::ANY,
        ..to
    };
    secure
        .rig
        .command(1, Command::Send(to, request("INVITE", "new", 10)));
    secure
        .rig
        .report_that(|report| report.seen == Seen::Unreachable(to));
    assert_eq!(secure.rig.count(Counter::Connected), 0);
}

#[test]
fn what_is_no_certificate_is_named() {
    let authority = Authority::new();
    let (one, other) = (authority.issue(&["a.test"]), authority.issue(&["b.test"]));
    let read = |certificate: &str, key: &str| {
        Identity::from_pem(certificate.as_bytes(), key.as_bytes()).map(drop)
    };
    read(&one.certificate, &one.key).unwrap();
    assert!(matches!(read("", &one.key), Err(TlsError::NoCertificate)));
    assert!(matches!(read(&one.certificate, ""), Err(TlsError::NoKey)));
    let broken = "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n";
    assert!(matches!(read(broken, &one.key), Err(TlsError::Pem(_))));
    assert!(matches!(
        read(&one.certificate, &other.key),
        Err(TlsError::Unusable(_))
    ));
    Peer::new("carrier.test", Some(&Roots::web()), None).unwrap();
    let nameless = Peer::new("no name", None, None);
    assert!(matches!(nameless, Err(TlsError::Name(_))));
    assert!(matches!(Roots::from_pem(b""), Err(TlsError::NoCertificate)));
}

#[test]
fn who_was_known_keeps_the_number() {
    let identity = Authority::new().issue(&["pbx.test"]).identity();
    let peer = |name: &&str| Peer::new(name, None, None).unwrap();
    let peers = |names: &[&str]| names.iter().map(peer).collect::<Vec<_>>();
    let off = ClientCertificates::Off;
    let old = Tls::new(&identity, &off, peers(&["a.test", "b.test"])).unwrap();
    let new = old
        .renew(&identity, &off, peers(&["c.test", "b.test"]))
        .unwrap();
    let again = new
        .renew(&identity, &off, peers(&["a.test", "c.test"]))
        .unwrap();
    let numbers = |tls: &Tls| ["a.test", "B.test", "c.test"].map(|name| tls.peer(name));
    let (one, two, three, four) = (TlsPeer(1), TlsPeer(2), TlsPeer(3), TlsPeer(4));
    assert_eq!(numbers(&old), [Some(one), Some(two), None]);
    assert_eq!(numbers(&new), [None, Some(two), Some(three)]);
    assert_eq!(numbers(&again), [Some(four), None, Some(three)]);
}

#[test]
fn a_listener_needs_a_certificate() {
    let config = Config::new(vec![common::parse_listen("tls:127.0.0.1:0")]);
    let error = engine::bind::<Command>(config).unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn to(address: SocketAddr, tls: TlsPeer) -> Flow {
    let local = "127.0.0.1:5061".parse().unwrap();
    Flow {
        tls,
        ..flow(Protocol::Tls, local, address)
    }
}

/// The other end of a connection that the engine made.
type Accepted = StreamOwned<ServerConnection, TcpStream>;

fn accept(listener: &TcpListener, config: Arc<rustls::ServerConfig>) -> Accepted {
    let (socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(ServerConnection::new(config).unwrap(), socket)
}
