//! The API over a real socket, in front of a server made for the test.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api::{
    Call, CallState, Client, ClientError, Health, Lines, Phone, Problem, Refusal, Reloaded, Server,
    Severity, Status, TraceFilter,
};

#[derive(Default)]
struct Fake {
    sick: bool,
    stopped: AtomicBool,
}

impl Server for Fake {
    fn status(&self) -> Status {
        Status {
            version: "1.2.3".into(),
            pid: 7,
            data: "srv".into(),
            started: 1,
            listen: vec!["udp:127.0.0.1:5060".into()],
            users: 2,
            registered_users: 1,
            phones: 1,
            calls: 1,
            calls_total: 3,
            authentication_failures: 4,
            health: self.health(),
            counters: [("received".into(), 12)].into(),
        }
    }

    fn trunks(&self) -> Vec<api::Trunk> {
        Vec::new()
    }

    fn phones(&self) -> Vec<Phone> {
        Vec::new()
    }

    fn waiting(&self) -> Vec<api::Waiting> {
        vec![api::Waiting {
            user: "1001".into(),
            messages: 3,
            voice: api::VoiceMessages {
                new: 2,
                ..Default::default()
            },
        }]
    }

    fn set_voice_messages(&self, user: &str, voice: api::VoiceMessages) -> Result<(), Refusal> {
        let same = self
            .waiting()
            .iter()
            .any(|one| one.user == user && one.voice == voice);
        same.then_some(())
            .ok_or_else(|| Refusal::new("no such user"))
    }

    fn calls(&self) -> Vec<Call> {
        vec![Call {
            id: "07-0123456789abcdef".into(),
            caller: "1001".into(),
            callee: "1002".into(),
            state: CallState::Ringing,
            started: 5,
            answered: None,
            proxied: false,
            ..Call::default()
        }]
    }

    fn rooms(&self) -> Vec<api::Room> {
        vec![api::Room {
            name: "800".into(),
            locked: false,
            lecture: true,
            since: 5,
            recording: None,
            participants: Vec::new(),
        }]
    }

    fn room_events(&self, filter: api::RoomFilter) -> Result<Lines, Refusal> {
        if filter.room.as_deref() == Some("full") {
            return Err(Refusal::conflict("too many follow"));
        }
        let (feed, lines) = api::lines();
        feed.put(api::lines::line(&api::RoomLine::Began));
        Ok(lines)
    }

    fn moderate(
        &self,
        room: &str,
        moderation: api::Moderation,
        concerned: &api::Concerned,
    ) -> Result<(), Refusal> {
        let known = room == "800" && moderation == api::Moderation::Kick;
        (known && concerned.call.as_deref() == Some("07-0123456789abcdef"))
            .then_some(())
            .ok_or_else(|| Refusal::new("no such room"))
    }

    fn transfer(&self, id: &str, _: &api::Transfer) -> Result<(), Refusal> {
        self.hangup(id)
    }

    fn record(&self, id: &str, _: api::RecordAction) -> Result<(), Refusal> {
        self.hangup(id)
    }

    fn hangup(&self, id: &str) -> Result<(), Refusal> {
        let known = self.calls().iter().any(|call| call.id == id);
        known
            .then_some(())
            .ok_or_else(|| Refusal::new("no such call"))
    }

    fn reload(&self) -> Result<Reloaded, Refusal> {
        let problem = Problem {
            severity: Severity::Error,
            source: "etc/users.toml".into(),
            line: Some(3),
            column: Some(1),
            key: "user.1001".into(),
            message: "bad".into(),
            remedy: "mend it".into(),
            excerpt: None,
        };
        Err(Refusal {
            error: "the configuration is not valid".into(),
            problems: vec![problem],
            conflict: false,
        })
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn trace(&self, filter: TraceFilter) -> Result<Lines, Refusal> {
        let call = filter.call.ok_or_else(|| Refusal::new("no such call"))?;
        let (feed, lines) = api::lines();
        feed.put(format!("{call}\n").into());
        feed.put(format!("{:?}\n", filter.peer).into());
        Ok(lines)
    }

    fn health(&self) -> Health {
        Health {
            healthy: !self.sick,
            faults: Vec::new(),
        }
    }
}

/// Serves `fake` at `path` while `test` runs.
fn serving(path: &Path, fake: Fake, test: impl FnOnce(&Client, &Fake)) {
    let fake = Arc::new(fake);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime.block_on(async { api::socket::bind(path).unwrap() });
    let router = api::router(Arc::clone(&fake) as _);
    runtime.spawn(async { axum::serve(listener, router).await });
    test(&Client::new(path), &fake);
    runtime.shutdown_background();
}

fn socket() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.sock");
    (folder, path)
}

#[test]
fn documents_come_back_as_they_were() {
    let (_folder, path) = socket();
    serving(&path, Fake::default(), |client, fake| {
        assert_eq!(client.fetch::<Status>("/status").unwrap(), fake.status());
        assert_eq!(client.fetch::<Vec<Call>>("/calls").unwrap(), fake.calls());
        assert_eq!(client.fetch::<Vec<Phone>>("/phones").unwrap(), []);
        assert!(client.fetch::<Health>("/health").unwrap().healthy);
    });
}

#[test]
fn commands_are_carried_out_or_refused_with_a_reason() {
    let (_folder, path) = socket();
    serving(&path, Fake::default(), |client, fake| {
        client.delete("/calls/07-0123456789abcdef").unwrap();
        let error = client.delete("/calls/nobody").unwrap_err();
        assert_eq!(error.to_string(), "no such call");
        let Err(ClientError::Refused(refusal)) = client.post::<Reloaded>("/reload") else {
            panic!("a bad configuration was taken");
        };
        assert_eq!(refusal.problems[0].line, Some(3));
        assert!(!fake.stopped.load(Ordering::Relaxed));
        client.command("/stop").unwrap();
        assert!(fake.stopped.load(Ordering::Relaxed));
        for bad in [client.command("/status"), client.delete("/nothing")] {
            assert!(matches!(bad, Err(ClientError::Refused(_))), "{bad:?}");
        }
    });
}

#[test]
fn lines_are_followed_until_either_end_has_enough() {
    let (_folder, path) = socket();
    serving(&path, Fake::default(), |client, _| {
        let mut seen = Vec::new();
        let mut follow = |resource, most| {
            seen.clear();
            let whole = client.follow(resource, std::future::pending(), |line| {
                seen.push(String::from_utf8(line.to_vec()).unwrap());
                if seen.len() == most {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            });
            (whole, seen.clone())
        };
        let (ours, seen) = follow("/trace?call=a%20b&peer=%3A%3A1", 9);
        assert!(!ours.unwrap(), "the server ends it");
        assert_eq!(seen, ["a b", "Some(::1)"]);
        let (ours, seen) = follow("/trace?call=c", 1);
        assert!(ours.unwrap(), "we have enough");
        assert_eq!(seen, ["c"]);
        let (refused, _) = follow("/trace", 1);
        assert_eq!(refused.unwrap_err().to_string(), "no such call");
        let (ours, seen) = follow("/rooms/events?room=8000", 9);
        assert!(!ours.unwrap() && seen == [r#"{"kind":"began"}"#]);
        let (refused, _) = follow("/rooms/events?room=full", 1);
        assert_eq!(refused.unwrap_err().to_string(), "too many follow");
    });
}

#[test]
fn a_sick_server_says_so_in_full() {
    let (_folder, path) = socket();
    let sick = Fake {
        sick: true,
        ..Fake::default()
    };
    serving(&path, sick, |client, _| {
        assert!(client.fetch::<Health>("/health").is_err());
        assert!(!client.fetch_any::<Health>("/health").unwrap().healthy);
    });
}

#[test]
fn without_a_server_the_error_says_where_it_was_looked_for() {
    let (_folder, path) = socket();
    let error = Client::new(&path).fetch::<Status>("/status").unwrap_err();
    assert!(matches!(error, ClientError::NotRunning { .. }), "{error:?}");
    assert!(error.to_string().contains("s.sock"), "{error}");
    // A socket that a killed server left behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let error = Client::new(&path).fetch::<Status>("/status").unwrap_err();
    assert!(matches!(error, ClientError::NotRunning { .. }), "{error:?}");
    serving(&path, Fake::default(), |client, _| {
        client.fetch::<Status>("/status").unwrap();
    });
}

#[test]
fn a_path_longer_than_a_socket_address_works() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    serving(&deep.join("dialtone.sock"), Fake::default(), |client, _| {
        client.fetch::<Status>("/status").unwrap();
    });
}

#[test]
fn what_waits_is_told_and_set() {
    let (_folder, path) = socket();
    serving(&path, Fake::default(), |client, fake| {
        let waiting: Vec<api::Waiting> = client.fetch("/waiting").unwrap();
        assert_eq!(waiting, fake.waiting());
        client.command("/users/1001/voice-messages?new=2").unwrap();
        let strange = client.command("/users/9/voice-messages?new=2");
        assert!(matches!(strange, Err(ClientError::Refused(_))));
    });
}
