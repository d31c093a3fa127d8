//! The binary as a user runs it: seeded, asked, reloaded, killed, stopped.
#![expect(clippy::unwrap_used, reason = "a test")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{Server, command, load, run};
use nix::sys::signal::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use tempfile::TempDir;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use ue::load::{Job, LoadOptions};

#[test]
fn the_first_start_seeds_and_tells_and_the_second_does_neither() {
    let server = Server::new();
    let told = server.read("stdout");
    let users = server.read("etc/users.toml");
    for user in ["1001", "1002"] {
        // A port may have these digits as well.
        let of_user = |line: &&str| line.split_whitespace().any(|word| word == user);
        let line = told.lines().find(of_user).unwrap();
        let password = line.split_whitespace().last().unwrap();
        assert!(users.contains(&format!("\"{password}\"")), "{line}");
    }
    assert!(told.contains("127.0.0.1:"), "{told}");
    assert!(
        !server.read("log").contains("password"),
        "passwords are not logged"
    );
    let (status, _, _) = server.run(&["stop"]);
    assert!(status.success());
    let (status, data) = server.wait();
    assert!(status.success());
    assert!(!data.path().join("run/dialtone.sock").exists());
    let server = Server::start(data);
    assert_eq!(server.read("stdout"), "");
    assert_eq!(server.read("etc/users.toml"), users);
}

#[test]
fn registrations_survive_a_kill() {
    const PHONES: u32 = 100;
    let server = Server::new();
    server.add_load_users(PHONES);
    let options = load(Job::Register, &server.sip(), PHONES);
    let report = ue::load::run(&options, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((report.ok, report.failed), (u64::from(PHONES), 0));
    let before = server.json("phones");
    assert_eq!(before.as_array().unwrap().len(), PHONES as usize);
    server.signal(Signal::SIGKILL);
    let (_, data) = server.wait();
    let server = Server::start(data);
    assert_eq!(server.json("phones"), before);
    let status = server.json("status");
    assert_eq!(status["registered_users"], PHONES);
    assert_eq!(status["health"]["healthy"], true);
}

#[test]
fn the_state_of_a_later_release_is_refused_and_left_alone() {
    let data = TempDir::new().unwrap();
    let state = data.path().join("state");
    fs::create_dir_all(&state).unwrap();
    fs::write(state.join("notes.txt"), "mine").unwrap();
    let (journal, _) = store::Journal::open(&state).unwrap();
    let mut later = store::record::encode("1001", &[]);
    later[0] += 1;
    journal.append(&[later]).unwrap();
    drop(journal);
    let file = state.join("bindings.0000000001.journal");
    let before = fs::read(&file).unwrap();
    let output = run(data.path()).output().unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("is not known to this release"), "{told}");
    assert!(told.contains("start the release that wrote it"), "{told}");
    assert_eq!(fs::read(&file).unwrap(), before);
    assert_eq!(fs::read_to_string(state.join("notes.txt")).unwrap(), "mine");
}

#[test]
fn the_phones_of_a_removed_user_are_forgotten() {
    let mut server = Server::new();
    server.add_load_users(2);
    let options = load(Job::Register, &server.sip(), 2);
    let report = ue::load::run(&options, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((report.ok, report.failed), (2, 0));
    let (status, _, error) = server.run(&["user", "remove", "u0"]);
    assert!(status.success(), "{error}");
    server.until(|server| server.json("phones").as_array().unwrap().len() == 1);
    assert_eq!(server.json("phones")[0]["user"], "u1");
}

#[test]
fn every_call_is_recorded_once_and_seen_while_it_lasts() {
    const CALLS: u32 = 20;
    let mut server = Server::new();
    server.add_load_users(2 * CALLS);
    let options = load(Job::Call, &server.sip(), CALLS);
    let report = ue::load::run(&options, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(
        (report.ok, report.failed),
        (u64::from(CALLS), 0),
        "{:?}",
        report.failures
    );
    // The observer counts calls a moment after they have begun.
    server.until(|server| {
        let status = server.json("status");
        status["calls"] == 0 && status["calls_total"] == CALLS
    });
    let (status, _, _) = server.run(&["stop"]);
    assert!(status.success());
    let (_, data) = server.wait();
    let mut lines = 0;
    for file in fs::read_dir(data.path().join("cdr")).unwrap() {
        for line in fs::read_to_string(file.unwrap().path()).unwrap().lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            assert_eq!(record["cause"], "caller-hung-up", "{line}");
            assert_eq!(record["status"], 200, "{line}");
            lines += 1;
        }
    }
    assert_eq!(lines, CALLS);
}

#[test]
fn an_operator_ends_a_call_and_a_stopping_server_ends_the_rest() {
    let mut server = Server::new();
    server.add_load_users(4);
    let options = LoadOptions {
        hold: Duration::from_secs(600),
        timeout: Duration::from_secs(2),
        ..load(Job::Call, &server.sip(), 2)
    };
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let phones = std::thread::spawn(move || {
        let on = |running: bool| {
            if running {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        let running = || matches!(ended.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty));
        ue::load::run(&options, &mut |_| on(running())).map(drop)
    });
    let answered = |server: &Server| {
        let calls = server.json("calls");
        let calls = calls.as_array().unwrap();
        calls
            .iter()
            .filter(|call| call["state"] == "answered")
            .count()
    };
    server.until(|server| answered(server) == 2);
    let id = server.json("calls")[0]["id"].as_str().unwrap().to_owned();
    let (status, _, error) = server.run(&["hangup", &id]);
    assert!(status.success(), "{error}");
    server.until(|server| server.json("status")["calls"] == 1);
    let (status, _, error) = server.run(&["hangup", &id]);
    assert!(!status.success() && error.contains("no call"), "{error}");
    server.signal(Signal::SIGTERM);
    let (status, data) = server.wait();
    assert!(status.success());
    drop(end);
    phones.join().unwrap().unwrap();
    let file = fs::read_dir(data.path().join("cdr"))
        .unwrap()
        .next()
        .unwrap();
    let records = fs::read_to_string(file.unwrap().path()).unwrap();
    assert_eq!(
        records.matches("\"cause\":\"operator\"").count(),
        2,
        "{records}"
    );
}

#[test]
fn a_wrong_configuration_is_refused_and_the_running_one_stays() {
    let mut server = Server::new();
    let (status, text, error) = server.run(&["user", "add", "1003", "--json"]);
    assert!(status.success(), "{error}");
    let user: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(user["number"], "1003");
    assert_eq!(server.json("status")["users"], 3);

    let file = server.data.path().join("etc/dialtone.toml");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replace("realm =", "relam =")).unwrap();
    let line = 1 + good
        .lines()
        .position(|line| line.starts_with("realm ="))
        .unwrap();
    for command in ["check", "reload"] {
        let (status, _, error) = server.run(&[command]);
        assert!(!status.success());
        assert!(
            error.contains(&format!("dialtone.toml:{line}:1: sip.relam")),
            "{error}"
        );
        assert!(error.contains("did you mean realm?"), "{error}");
    }
    let (status, _, error) = server.run(&["user", "remove", "1003"]);
    assert!(
        !status.success() && error.contains("did not follow"),
        "{error}"
    );
    assert_eq!(server.json("status")["users"], 3);
    fs::write(&file, good).unwrap();
    server.signal(Signal::SIGHUP);
    server.until(|server| server.json("status")["users"] == 2);
    assert!(server.run(&["check"]).0.success());
}

#[test]
fn a_start_that_fails_says_why_and_what_to_do() {
    let ends = |status, data: &Path, args: &[&str]| {
        let output = command(data, &["run"]).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(status));
        String::from_utf8(output.stderr).unwrap()
    };
    let refusal = |data: &Path, args: &[&str]| ends(1, data, args);
    let server = Server::new();
    let error = refusal(server.data.path(), &[]);
    assert!(
        error.contains("another server") && error.contains("dialtone stop"),
        "{error}"
    );

    let other = TempDir::new().unwrap();
    let error = refusal(
        other.path(),
        &["--set", &format!("sip.listen=udp:{}", server.sip())],
    );
    assert!(
        error.contains(&server.sip()) && error.contains("another program"),
        "{error}"
    );

    // EX_CONFIG of sysexits: only people mend it.
    let error = ends(78, other.path(), &["--set", "media.ports=1-2"]);
    assert!(
        error.contains("--set media.ports") && error.contains("remedy"),
        "{error}"
    );

    let file = other.path().join("file");
    fs::write(&file, "").unwrap();
    let error = refusal(&file, &[]);
    assert!(
        error.contains("can't be made") && error.contains("--data"),
        "{error}"
    );
}

#[test]
fn a_program_gets_refusals_as_json() {
    let server = Server::new();
    let refusal = |args: &[&str]| {
        let (status, text, error) = server.run(args);
        assert!(!status.success() && error.is_empty(), "{error}");
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let no_call = refusal(&["hangup", "x", "--json"]);
    assert!(
        no_call["error"].as_str().unwrap().contains("no call x"),
        "{no_call}"
    );
    fs::write(server.data.path().join("etc/users.toml"), "[user.a]\n").unwrap();
    let invalid = refusal(&["reload", "--json"]);
    assert_eq!(invalid["problems"][0]["line"], 1, "{invalid}");
    assert_eq!(
        invalid["problems"][0]["key"], "user.a.password",
        "{invalid}"
    );
    let problems = refusal(&["check", "--json"]);
    assert_eq!(problems[0]["key"], "user.a.password", "{problems}");
}

#[test]
fn an_empty_folder_is_named_as_such_and_may_get_its_first_user() {
    let data = TempDir::new().unwrap();
    let run = |args: &[&str]| command(data.path(), args).output().unwrap();
    let output = run(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("no configuration") && error.contains("dialtone run"),
        "{error}"
    );
    assert!(
        run(&["user", "add", "zoe", "--number", "2000"])
            .status
            .success()
    );
    assert!(run(&["check"]).status.success());
    let server = Server::start(data);
    assert_eq!(server.json("status")["users"], 1);
    assert_eq!(server.read("stdout"), "");
}

#[test]
fn health_is_a_failure_without_a_server() {
    let data = TempDir::new().unwrap();
    let output = command(data.path(), &["health"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("dialtone.sock") && error.contains("dialtone run"),
        "{error}"
    );
}

/// The certificate in use is the one that the file holds, after the next reload.
#[test]
fn a_certificate_is_made_and_one_of_ones_own_is_taken() {
    let data = TempDir::new().unwrap();
    let own = rcgen::generate_simple_self_signed(vec!["pbx.test".to_owned()]).unwrap();
    let server = Server::start(data);
    let made = server.read("state/tls/certificate.pem");
    assert!(made.starts_with("-----BEGIN CERTIFICATE-----"));
    let etc = server.data.path().join("etc");
    let settings = server.read("etc/dialtone.toml");
    let configured = settings
        .replacen("certificate = \"\"", "certificate = \"etc/cert.pem\"", 1)
        .replacen("key = \"\"", "key = \"etc/key.pem\"", 1);
    fs::write(etc.join("dialtone.toml"), configured).unwrap();
    let (status, _, error) = server.run(&["reload"]);
    assert!(!status.success());
    assert!(error.contains("cert.pem can't be read"), "{error}");
    fs::write(etc.join("cert.pem"), own.cert.pem()).unwrap();
    fs::write(etc.join("key.pem"), own.signing_key.serialize_pem()).unwrap();
    let (status, _, error) = server.run(&["reload"]);
    assert!(status.success(), "{error}");
    shake_hands(&server.address("tls"), own.cert.der());
}

/// Makes a TLS connection to a server that must show this certificate.
fn shake_hands(address: &str, expected: &CertificateDer<'static>) {
    let mut client = tls_client("pbx.test", expected);
    let mut socket = TcpStream::connect(address).unwrap();
    client.complete_io(&mut socket).unwrap();
    assert!(!client.is_handshaking());
}

fn tls_client(name: &str, expected: &CertificateDer<'static>) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(expected.clone()).unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    ClientConnection::new(Arc::new(config), name).unwrap()
}

#[test]
fn phones_in_browsers_speak_sip_over_web_sockets() {
    let server = Server::new();
    let health = get(&server.address("http"), "/health");
    assert!(health.starts_with("HTTP/1.1 200 OK\r\n"), "{health}");
    for path in ["/", "/elsewhere"] {
        let page = get(&server.address("http"), path);
        assert!(page.starts_with("HTTP/1.1 404 "), "{page}");
    }
    let plain = TcpStream::connect(server.address("http")).unwrap();
    challenge(plain, "ws", "localhost");
    let made = CertificateDer::from_pem_slice(server.read("state/tls/certificate.pem").as_bytes());
    let secure = StreamOwned::new(
        tls_client("localhost", &made.unwrap()),
        TcpStream::connect(server.address("https")).unwrap(),
    );
    challenge(secure, "wss", "localhost");
}

/// What a web server answers.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Opens a WebSocket and registers without a password, which is challenged.
fn challenge<S: Read + Write>(stream: S, scheme: &str, host: &str) {
    let mut request = format!("{scheme}://{host}/ws")
        .into_client_request()
        .unwrap();
    let sip = HeaderValue::from_static("sip");
    request.headers_mut().insert("Sec-WebSocket-Protocol", sip);
    let (mut socket, response) = tungstenite::client(request, stream).unwrap();
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "sip");
    let register = format!(
        "REGISTER sip:test SIP/2.0\r\nVia: SIP/2.0/{} x.invalid;branch=z9hG4bK1\r\n\
         Max-Forwards: 70\r\nFrom: <sip:1001@test>;tag=a\r\nTo: <sip:1001@test>\r\n\
         Call-ID: {scheme}\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:1001@x.invalid;transport=ws>\r\n\r\n",
        scheme.to_uppercase()
    );
    socket.send(tungstenite::Message::text(register)).unwrap();
    let answer = socket.read().unwrap().into_text().unwrap();
    assert!(answer.starts_with("SIP/2.0 401 "), "{answer}");
}
