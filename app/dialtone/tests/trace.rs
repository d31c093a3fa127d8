//! `dialtone trace` beside a running server.
#![expect(clippy::unwrap_used, reason = "a test")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStderr, ChildStdout, Stdio};

use std::time::Duration;

use common::{Server, command, load};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use ue::load::{Job, LoadOptions};

/// A running `dialtone trace`.
struct Trace {
    child: Child,
    lines: BufReader<ChildStdout>,
    said: BufReader<ChildStderr>,
}

impl Trace {
    /// Starts one and waits until it watches.
    fn start(server: &Server, args: &[&str]) -> Self {
        // What does not come fails the test then.
        let mut child = command(server.data.path(), &["trace", "--for", "60s"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut trace = Self {
            lines: BufReader::new(child.stdout.take().unwrap()),
            said: BufReader::new(child.stderr.take().unwrap()),
            child,
        };
        let (json, mut line) = (args.contains(&"--json"), String::new());
        if json {
            trace.lines.read_line(&mut line).unwrap();
            assert_eq!(line, "{\"kind\":\"began\"}\n");
        } else {
            trace.said.read_line(&mut line).unwrap();
            assert!(line.contains("waiting for messages"), "{line}");
        }
        trace
    }

    /// Reads until a line contains `text`, which must come.
    fn until(&mut self, text: &str) -> String {
        let mut read = String::new();
        while !read
            .lines()
            .next_back()
            .is_some_and(|line| line.contains(text))
        {
            let count = self.lines.read_line(&mut read).unwrap();
            assert!(count > 0, "it ended before {text}:\n{read}");
        }
        read
    }

    /// Ends it as Ctrl-C does; what else it has printed, and said.
    fn end(mut self) -> (String, String) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).unwrap();
        let (mut text, mut said) = (String::new(), String::new());
        self.lines.read_to_string(&mut text).unwrap();
        self.said.read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
        (text, said)
    }
}

fn run(server: &Server, job: Job, count: u32) {
    let options = load(job, &server.sip(), count);
    let report = ue::load::run(&options, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(report.failed, 0, "{:?}", report.failures);
}

#[test]
fn both_legs_of_a_call_are_shown_as_they_happen() {
    let server = Server::new();
    server.add_load_users(2);
    let (mut trace, mut json) = (
        Trace::start(&server, &[]),
        Trace::start(&server, &["--json"]),
    );
    run(&server, Job::Call, 1);
    let text = trace.until("─ BYE ─") + &trace.until("─ BYE ─");
    for arrow in [
        "── call a: u0 → u1",
        "── REGISTER",
        "INVITE u1 · PCMA+1",
        "180 Ringing",
        "200 OK · PCMA",
    ] {
        assert!(text.contains(arrow), "{text}");
    }
    let mut messages = Vec::new();
    while messages.iter().filter(|m: &&Value| is(m, "BYE ")).count() < 2 {
        let line = json.until("");
        let message: Value = serde_json::from_str(line.trim_end()).unwrap();
        assert_eq!(
            (&message["kind"], &message["transport"]),
            (&"message".into(), &"udp".into())
        );
        messages.push(message);
        assert!(messages.len() < 100, "{messages:?}");
    }
    let times: Vec<_> = messages
        .iter()
        .map(|message| message["at"].as_u64().unwrap())
        .collect();
    assert!(times.is_sorted());
    let invites: Vec<_> = messages.iter().filter(|m| is(m, "INVITE ")).collect();
    assert_eq!(
        invites.len(),
        3,
        "without credentials, with, and to the callee"
    );
    let call = invites[0]["call"].as_str().unwrap();
    assert!(invites.iter().all(|invite| invite["call"] == call));
    let directions: Vec<_> = invites.iter().map(|invite| &invite["direction"]).collect();
    assert_eq!(directions, ["received", "received", "sent"]);
    trace.end();
    json.end();
}

fn is(message: &Value, text: &str) -> bool {
    message["text"].as_str().unwrap().starts_with(text)
}

/// What the threads have received and sent since the start.
fn messages(server: &Server) -> u64 {
    let counters = &server.json("status")["counters"];
    counters["received"].as_u64().unwrap() + counters["sent"].as_u64().unwrap()
}

#[test]
fn a_viewer_who_does_not_read_is_told_what_it_missed_and_nobody_waits_for_it() {
    let server = Server::new();
    let mut viewer = UnixStream::connect(server.data.path().join("run/dialtone.sock")).unwrap();
    viewer
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let request = b"GET /trace HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    viewer.write_all(request).unwrap();
    let mut lines = BufReader::new(viewer).lines().map(Result::unwrap);
    assert!(lines.by_ref().any(|line| line.contains("began")));

    let before = messages(&server);
    let options = LoadOptions {
        count: Some(20_000),
        ..load(Job::Options, &server.sip(), 1)
    };
    let report = ue::load::run(&options, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(
        (report.ok, report.failed),
        (20_000, 0),
        "{:?}",
        report.failures
    );
    let all = messages(&server) - before;

    let (mut seen, mut missed) = (0, 0);
    while seen + missed < all {
        let line = lines.next().unwrap();
        // Between them stand the lengths of chunks.
        let Ok(line) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        seen += u64::from(line["kind"] == "message");
        missed += line["count"].as_u64().unwrap_or(0);
    }
    assert_eq!(seen + missed, all);
    assert!(missed > 0 && seen > 1000, "{seen} seen, {missed} missed");
}

#[test]
fn the_past_is_shown_as_far_as_it_is_kept() {
    let mut server = Server::new();
    server.add_load_users(2);
    let (status, _, error) = server.run(&["trace", "--last", "1m"]);
    assert!(
        !status.success() && error.contains("history_megabytes"),
        "{error}"
    );
    let file = server.data.path().join("etc/dialtone.toml");
    let settings = std::fs::read_to_string(&file).unwrap();
    let settings = settings.replace("history_megabytes = 0", "history_megabytes = 1");
    std::fs::write(&file, settings).unwrap();
    assert!(server.run(&["reload"]).0.success());
    run(&server, Job::Call, 1);

    // A repeated message is marked, and so is not counted here.
    let past = |server: &Server, args: &[&str]| {
        let (status, text, error) = server.run(&[&["trace", "--last", "1m"], args].concat());
        assert!(status.success(), "{error}");
        text
    };
    server.until(|server| past(server, &[]).matches("─ BYE ─").count() == 2);
    let all = past(&server, &["--json"]);
    let of_call = |line: &str| serde_json::from_str::<Value>(line).unwrap()["call"].clone();
    let id = all
        .lines()
        .map(of_call)
        .find_map(|id| Some(id.as_str()?.to_owned()))
        .unwrap();
    let call = past(&server, &["--call", &id]);
    assert_eq!(call.matches("─ BYE ─").count(), 2, "both legs: {call}");
    assert!(
        call.starts_with("               ── call a: u0 → u1, "),
        "{call}"
    );
    assert!(!call.contains("REGISTER"), "{call}");
    let callee = past(&server, &["--phone", "u1"]);
    // The INVITEs of both legs name it, and one REGISTER does, with and without credentials.
    assert_eq!(callee.matches("── REGISTER").count(), 2, "{callee}");
    assert_eq!(callee.matches("─ INVITE u1").count(), 3, "{callee}");
    assert_eq!(past(&server, &["--peer", "192.0.2.1"]), "");
    let (status, _, error) = server.run(&["trace", "--call", "07-0123456789abcdef"]);
    assert!(!status.success() && error.contains("no call"), "{error}");
}
