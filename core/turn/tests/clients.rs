//! Clients of the running server, over UDP and TCP.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use ice::stun::attribute::{
    CHANNEL_NUMBER, NONCE, REALM, REQUESTED_TRANSPORT, USERNAME, XOR_MAPPED_ADDRESS,
    XOR_PEER_ADDRESS, XOR_RELAYED_ADDRESS,
};
use ice::stun::{Class, Key, Message, TransactionId, Writer};
use ice::turn::channel::{self, Frame, frame};
use ice::turn::policy::Rule;
use turn::{Listen, Relays, Settings, Transport, Turn};

fn start() -> Turn {
    let here: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut clients = ice::turn::Config::default();
    clients.users.insert("alice", "dialtone", "secret");
    clients.policy.allow.push(Rule {
        network: here.ip(),
        prefix: 32,
        ports: 1..=65535,
    });
    let listen = [Transport::Udp, Transport::Tcp].map(|transport| Listen {
        transport,
        address: here,
    });
    Turn::start(Settings {
        listen: listen.into(),
        relays: Relays {
            bind: vec![here.ip()],
            advertise: vec![here.ip()],
            ports: 20_000..=59_999,
        },
        clients,
    })
    .unwrap()
}

/// How a client speaks.
trait Line {
    fn say(&mut self, octets: &[u8]);
    fn hear(&mut self) -> Vec<u8>;
}

impl Line for UdpSocket {
    fn say(&mut self, octets: &[u8]) {
        self.send(octets).unwrap();
    }

    fn hear(&mut self) -> Vec<u8> {
        let mut buffer = [0; 2000];
        let length = self.recv(&mut buffer).unwrap();
        buffer[..length].to_vec()
    }
}

impl Line for TcpStream {
    /// In two pieces, as networks like to do.
    fn say(&mut self, octets: &[u8]) {
        let (one, other) = octets.split_at(octets.len() / 2);
        self.write_all(one).unwrap();
        self.write_all(other).unwrap();
    }

    fn hear(&mut self) -> Vec<u8> {
        let mut octets = Vec::new();
        loop {
            if let Frame::Whole(length) = frame(&octets) {
                assert_eq!(length, octets.len());
                return octets;
            }
            let mut one = [0];
            self.read_exact(&mut one).unwrap();
            octets.push(one[0]);
        }
    }
}

fn udp(server: &Turn) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    socket.connect(server.listening()[0].address).unwrap();
    socket
}

fn tcp(server: &Turn) -> TcpStream {
    let stream = TcpStream::connect(server.listening()[1].address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// Signs a request when there is a nonce to sign it with.
fn ask(
    line: &mut impl Line,
    method: u16,
    nonce: &[u8],
    write: impl FnOnce(&mut Writer<'_>),
) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut request = Writer::new(
        &mut octets,
        Class::Request,
        method,
        TransactionId([method as u8; 12]),
    );
    write(&mut request);
    if !nonce.is_empty() {
        request
            .put(USERNAME, b"alice")
            .put(REALM, b"dialtone")
            .put(NONCE, nonce)
            .sign(&Key::long_term("alice", "dialtone", "secret"));
    }
    line.say(&octets);
    line.hear()
}

/// From client to peer and back.
fn relay(line: &mut impl Line) -> SocketAddr {
    let refused = ask(line, 3, &[], |_| {});
    let nonce = Message::parse(&refused)
        .unwrap()
        .find(NONCE)
        .unwrap()
        .to_vec();
    let allocated = ask(line, 3, &nonce, |request| {
        request.put(REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    });
    let relayed = Message::parse(&allocated)
        .unwrap()
        .address(XOR_RELAYED_ADDRESS)
        .unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let address = peer.local_addr().unwrap();
    let bound = ask(line, 9, &nonce, |request| {
        request
            .put(CHANNEL_NUMBER, &[0x40, 1, 0, 0])
            .address(XOR_PEER_ADDRESS, address);
    });
    assert_eq!(Message::parse(&bound).unwrap().class(), Class::Success);
    let mut framed = Vec::new();
    channel::encode(0x4001, b"hello", true, &mut framed);
    line.say(&framed);
    let mut buffer = [0; 100];
    let (length, from) = peer.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from), (&b"hello"[..], relayed));
    peer.send_to(b"back", relayed).unwrap();
    let heard = line.hear();
    assert_eq!(channel::parse(&heard), Some((0x4001, &b"back"[..])));
    relayed
}

#[test]
fn rfc8489_6_3_1_a_client_learns_its_address() {
    let server = start();
    let mut socket = udp(&server);
    let answer = ask(&mut socket, 1, &[], |_| {});
    let told = Message::parse(&answer).unwrap().address(XOR_MAPPED_ADDRESS);
    assert_eq!(told, socket.local_addr().ok());
}

#[test]
fn rfc8656_11_data_go_there_and_back_over_udp() {
    let server = start();
    relay(&mut udp(&server));
}

#[test]
fn rfc8656_3_1_data_go_there_and_back_over_tcp() {
    let server = start();
    let mut line = tcp(&server);
    let relayed = relay(&mut line);
    assert!(
        UdpSocket::bind(relayed).is_err(),
        "the relay's port is taken"
    );
    // A stream that ends takes its relay with it; the next client is served meanwhile.
    drop(line);
    relay(&mut tcp(&server));
    drop(server);
    UdpSocket::bind(relayed).unwrap();
}

#[test]
fn who_speaks_another_protocol_is_hung_up() {
    let server = start();
    let mut line = tcp(&server);
    line.write_all(&[0xff; 8]).unwrap();
    assert_eq!(line.read(&mut [0; 8]).unwrap(), 0);
}
