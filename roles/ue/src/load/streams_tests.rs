//! Runs over connections, against a registrar of a few lines with sockets of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sip::digest::{Algorithm, Challenge, Credentials};
use sip::framing::{Frame, Framer, Limits};
use sip::{HeaderName, Message, StatusCode, Writer};

use super::{Accounts, Job, LoadError, LoadOptions, Report, Transport, Trust, run};

#[test]
fn users_register_over_a_few_connections() {
    let server = Registrar::start(3, None);
    let report = register(&server, Transport::Tcp, Trust::Nobody).unwrap();
    assert_eq!((report.ok, report.failed), (40, 0));
    assert_eq!(report.retransmissions, 0);
    let seen = server.end();
    assert_eq!(seen.iter().map(|one| one.successes).sum::<u64>(), 40);
    assert!(seen.iter().all(|one| one.successes > 0), "{seen:?}");
    assert!(
        seen.iter().all(|one| one.foreign == 0),
        "a contact is at another connection: {seen:?}"
    );
}

#[test]
fn users_register_over_tls() {
    let (config, certificate) = identity();
    let file = file("ca", &certificate);
    let server = Registrar::start(3, Some(config));
    let trust = Trust::Authorities(file.clone());
    let report = register(&server, Transport::Tls, trust).unwrap();
    assert_eq!((report.ok, report.failed), (40, 0));
    let seen = server.end();
    assert_eq!(seen.iter().map(|one| one.successes).sum::<u64>(), 40);
    let _ = std::fs::remove_file(file);
}

#[test]
fn any_certificate_is_taken_only_if_that_is_said() {
    let (config, _) = identity();
    let server = Registrar::start(3, Some(Arc::clone(&config)));
    let report = register(&server, Transport::Tls, Trust::Anybody).unwrap();
    assert_eq!(report.ok, 40);
    server.end();

    let (_, stranger) = identity();
    let file = file("stranger", &stranger);
    let server = Registrar::start(1, Some(config));
    let trust = Trust::Authorities(file.clone());
    let refused = register(&server, Transport::Tls, trust);
    assert!(matches!(refused, Err(LoadError::Io { .. })), "{refused:?}");
    server.end();
    let _ = std::fs::remove_file(file);
}

#[test]
fn tls_without_trust_is_refused_before_anything_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = LoadOptions {
        transport: Transport::Tls,
        ..LoadOptions::new(Job::Options, listener.local_addr().unwrap().to_string())
    };
    let refused = run(&options, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(LoadError::Trust)));
}

#[test]
fn that_nobody_listens_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    drop(listener);
    let options = LoadOptions {
        transport: Transport::Tcp,
        ..LoadOptions::new(Job::Options, target.to_string())
    };
    let refused = run(&options, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(LoadError::Refused(Transport::Tcp, at)) if at == target));
}

fn register(server: &Registrar, transport: Transport, trust: Trust) -> Result<Report, LoadError> {
    let options = LoadOptions {
        transport,
        trust,
        connections: 3,
        callers: Accounts::numbered(0, 10),
        count: Some(40),
        keep: true,
        domain: Some("example.com".to_owned()),
        ..LoadOptions::new(Job::Register, server.address.to_string())
    };
    run(&options, &mut |_| ControlFlow::Continue(()))
}

/// Takes a number of connections, and every registration with credentials.
struct Registrar {
    address: SocketAddr,
    thread: JoinHandle<Vec<Connection>>,
}

/// What came over one connection.
#[derive(Default, Debug)]
struct Connection {
    successes: u64,
    /// Contacts that are not where the connection comes from.
    foreign: u64,
}

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

impl Registrar {
    fn start(connections: usize, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let serve = |_| {
                let (stream, from) = listener.accept().unwrap();
                let tls = tls.clone();
                std::thread::spawn(move || serve(stream, from, tls))
            };
            let served: Vec<_> = (0..connections).map(serve).collect();
            served.into_iter().map(|one| one.join().unwrap()).collect()
        });
        Self { address, thread }
    }

    fn end(self) -> Vec<Connection> {
        self.thread.join().unwrap()
    }
}

fn serve(stream: TcpStream, from: SocketAddr, tls: Option<Arc<ServerConfig>>) -> Connection {
    let mut stream: Box<dyn Stream> = match tls {
        Some(config) => {
            let connection = ServerConnection::new(config).unwrap();
            Box::new(StreamOwned::new(connection, stream))
        }
        None => Box::new(stream),
    };
    let mut seen = Connection::default();
    let mut framer = Framer::new(Limits::default());
    // Odd, so that messages come in pieces.
    let mut buffer = [0; 317];
    // The generator's going shows as end or as error.
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        framer.push(&buffer[..read]);
        let mut answers = Vec::new();
        while let Some(Frame::Message(bytes)) = framer.next_frame() {
            answer(bytes, from, &mut seen, &mut answers);
        }
        if stream.write_all(&answers).is_err() {
            break;
        }
    }
    seen
}

fn answer(bytes: &[u8], from: SocketAddr, seen: &mut Connection, answers: &mut Vec<u8>) {
    let request = Message::parse(bytes).unwrap();
    request.check().unwrap();
    let given = request.header(HeaderName::Authorization);
    let is_known = given.is_some_and(|given| Credentials::parse(given).is_ok());
    let status = StatusCode(if is_known { 200 } else { 401 });
    seen.successes += u64::from(is_known);
    let contact = request.header(HeaderName::Contact).unwrap_or_default();
    seen.foreign += u64::from(!contact.contains(&format!("@{from};transport=")));
    let mut writer = Writer::response(answers, status);
    for name in [
        HeaderName::Via,
        HeaderName::From,
        HeaderName::To,
        HeaderName::CallId,
        HeaderName::CSeq,
    ] {
        writer.copy(&request, name);
    }
    if !is_known {
        let challenge = Challenge::new("example.com", "n1", Algorithm::Md5);
        writer.header(HeaderName::WwwAuthenticate, challenge);
    }
    writer.finish();
}

/// A server's settings, and its certificate in PEM.
fn identity() -> (Arc<ServerConfig>, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (Arc::new(config), made.cert.pem())
}

fn file(name: &str, content: &str) -> PathBuf {
    let name = format!("dialtone-load-{}-{name}.pem", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, content).unwrap();
    path
}
