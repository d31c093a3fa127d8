//! What an idle connection costs: `cargo run --release --example idle -- tls 5000`, or `tcp`.
//!
//! The server is this process; its clients, each of which has sent one request, are another.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::tls::{ClientCertificates, Identity};
use engine::{Config, Counter, Engine, Input, Limits, Listen, Machine, Out, Services, Tls};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sip::{Method, Protocol, StatusCode, Writer, response_flow};

struct Answer;

impl Machine for Answer {
    type Command = ();
    type Event = ();

    fn handle(&mut self, _: Instant, input: Input<'_, ()>, out: &mut Out<()>) {
        if let Input::Message { flow, message } = input
            && message.method() == Some(Method::Options)
        {
            out.send_with(response_flow(message, flow), |bytes| {
                Writer::response_to(bytes, message, &flow, StatusCode(200), "tag").finish();
            });
        }
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    engine::raise_descriptor_limit().unwrap();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [transport, count] => serve(transport.parse().unwrap(), count.parse().unwrap()),
        [transport, count, address, ref certificate @ ..] => {
            let certificate = certificate.first().copied().unwrap_or("");
            connect(
                transport,
                count.parse().unwrap(),
                address.parse().unwrap(),
                certificate,
            );
        }
        _ => panic!("idle tls|tcp COUNT"),
    }
}

fn serve(protocol: Protocol, count: usize) {
    let own = rcgen::generate_simple_self_signed(vec!["pbx.test".to_owned()]).unwrap();
    let (pem, key) = (own.cert.pem(), own.signing_key.serialize_pem());
    let identity = Identity::from_pem(pem.as_bytes(), key.as_bytes()).unwrap();
    let listen = Listen {
        protocol,
        address: ([127, 0, 0, 1], 0).into(),
    };
    let config = Config {
        tls: Some(Tls::new(&identity, &ClientCertificates::Off, Vec::new()).unwrap()),
        limits: Limits {
            connections: count + 1,
            connections_per_peer: count + 1,
            ..Limits::default()
        },
        ..Config::new(vec![listen])
    };
    let engine = Engine::start(config, |_| Answer, Services::none()).unwrap();
    let address = engine.listening()[0].address.to_string();
    let (empty, begun) = (memory(), processor());
    let mut clients = Command::new(std::env::current_exe().unwrap())
        .args([protocol.name(), &count.to_string(), &address, &pem])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut done = [0];
    clients
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut done)
        .unwrap();
    let stats = engine.handle().stats();
    println!(
        "{protocol}: {} connections, {:.1} KB and {:.0} µs each",
        stats.connections(),
        (memory() - empty) as f64 / count as f64,
        (processor() - begun).as_micros() as f64 / count as f64,
    );
    assert_eq!(stats.value(Counter::Received), count as u64);
    drop(clients.stdin.take());
    clients.wait().unwrap();
}

/// Makes connections, has one request answered on each, and keeps them until standard input ends.
fn connect(transport: &str, count: usize, address: SocketAddr, certificate: &str) {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap())
        .unwrap();
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Each makes a handshake of its own.
    config.resumption = rustls::client::Resumption::disabled();
    let config = Arc::new(config);
    let mut plain = Vec::new();
    let mut secure = Vec::new();
    for _ in 0..count {
        let socket = TcpStream::connect(address).unwrap();
        if transport == "tls" {
            let name = ServerName::try_from("pbx.test").unwrap();
            let client = ClientConnection::new(Arc::clone(&config), name).unwrap();
            secure.push(ask(StreamOwned::new(client, socket)));
        } else {
            plain.push(ask(socket));
        }
    }
    let mut output = std::io::stdout();
    output.write_all(b"!").unwrap();
    output.flush().unwrap();
    let _ = std::io::stdin().read(&mut [0]);
}

fn ask<S: Read + Write>(mut stream: S) -> S {
    stream.write_all(REQUEST).unwrap();
    let mut answer = [0; 2048];
    assert!(stream.read(&mut answer).unwrap() > 0);
    stream
}

/// Resident memory of this process in KB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Processor time of this process.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .map(|t| t.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}

const REQUEST: &[u8] =
    b"OPTIONS sip:echo@test SIP/2.0\r\nVia: SIP/2.0/TLS peer.test;branch=z9hG4bK1\r\n\
    Max-Forwards: 70\r\nFrom: <sip:peer@test>;tag=p\r\nTo: <sip:echo@test>\r\nCall-ID: 1\r\n\
    CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
