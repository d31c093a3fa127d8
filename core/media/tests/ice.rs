//! Parties that do ICE.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod common;

use std::net::{SocketAddr, UdpSocket};

use common::{PATIENCE, Phone, V4, World, is_quiet, receive};
use ice::Credentials;
use ice::stun::attribute::{PRIORITY, USE_CANDIDATE, USERNAME, XOR_MAPPED_ADDRESS};
use ice::stun::{BINDING, Class, Key, Message, TransactionId, Writer};
use media::{Config, Ice, Side};

fn world() -> World {
    World::new(Config {
        ports: 16_384..=23_999,
        ..Config::default()
    })
}

/// A check of a party that has read our credentials.
fn check(ours: &Credentials, nominates: bool) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut request = Writer::new(&mut octets, Class::Request, BINDING, TransactionId([7; 12]));
    request
        .put(USERNAME, [ours.ufrag(), ":them"].concat().as_bytes())
        .number(PRIORITY, 1);
    if nominates {
        request.put(USE_CANDIDATE, &[]);
    }
    request
        .sign(&Key::short_term(ours.password()))
        .fingerprint();
    octets
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((V4, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// RFC 7983 §7.
fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first < 4)
}

/// Checks the port at `to` and returns what the answer says of the socket.
fn ask(
    socket: &UdpSocket,
    to: SocketAddr,
    ours: &Credentials,
    nominates: bool,
) -> Option<SocketAddr> {
    socket.send_to(&check(ours, nominates), to).unwrap();
    // RTP that was on its way comes first.
    let answer = std::iter::repeat_with(|| receive(socket).0)
        .find(|datagram| is_stun(datagram))
        .unwrap();
    let answer = Message::parse(&answer).unwrap();
    answer.address(XOR_MAPPED_ADDRESS)
}

#[test]
fn rfc8445_7_3_1_5_media_go_where_the_party_nominates() {
    let mut world = world();
    let (mut caller, mut callee) = (Phone::new(V4, 1), Phone::new(V4, 2));
    let call = world.allocate([Some(V4), Some(V4)], 1).unwrap();
    let ours = Credentials::mint(1, [1; 24]);
    // Browsers hide their address: what SDP says is of no use.
    let mut remote =
        media::Remote::plain("0.0.0.0:9".parse().unwrap(), "0.0.0.0:9".parse().unwrap());
    remote.ice = Some(Ice::lite(ours.clone()));
    world.connect(&call, Side::Caller, 0, Some(remote.clone()));
    world.connect(&call, Side::Callee, 0, Some(callee.remote()));
    world.settle();
    let port = call.rtp(Side::Caller, 0);

    // A check alone opens nothing.
    assert_eq!(
        ask(&caller.rtp, port, &ours, false),
        caller.rtp.local_addr().ok()
    );
    callee.send(call.rtp(Side::Callee, 0), 1);
    assert!(is_quiet(&caller.rtp));
    // A nomination does.
    ask(&caller.rtp, port, &ours, true);
    callee.send(call.rtp(Side::Callee, 0), 1);
    receive(&caller.rtp);
    caller.send(port, 1);
    // Another network.
    let elsewhere = socket();
    ask(&elsewhere, port, &ours, true);
    callee.send(call.rtp(Side::Callee, 0), 1);
    receive(&elsewhere);
    // A restart leaves media where they are until there is a new nomination.
    let new = Credentials::mint(2, [2; 24]);
    remote.ice = Some(Ice::lite(new.clone()));
    world.connect(&call, Side::Caller, 0, Some(remote));
    world.settle();
    callee.send(call.rtp(Side::Callee, 0), 1);
    receive(&elsewhere);
    ask(&caller.rtp, port, &new, true);
    callee.send(call.rtp(Side::Callee, 0), 1);
    receive(&caller.rtp);
}

#[test]
fn rfc8445_7_3_nobody_else_moves_the_stream() {
    let mut world = world();
    let call = world.allocate([Some(V4), Some(V4)], 1).unwrap();
    let callee = Phone::new(V4, 2);
    let ours = Credentials::mint(1, [1; 24]);
    let mut remote =
        media::Remote::plain("0.0.0.0:9".parse().unwrap(), "0.0.0.0:9".parse().unwrap());
    remote.ice = Some(Ice::lite(ours));
    world.connect(&call, Side::Caller, 0, Some(remote));
    world.connect(&call, Side::Callee, 0, Some(callee.remote()));
    world.settle();
    let stranger = socket();
    let guess = Credentials::mint(1, [9; 24]);
    assert_eq!(
        ask(&stranger, call.rtp(Side::Caller, 0), &guess, true),
        None
    );
    let mut callee = callee;
    callee.send(call.rtp(Side::Callee, 0), 1);
    assert!(is_quiet(&stranger));
}
