//! Sets up SESSIONS calls and waits, so that a load generator can measure the workers:
//!
//! ```text
//! relay_bench SESSIONS LEGS [MODE [WORKERS [PORTS]]]
//! ```
//!
//! With PORTS, so many ports are shared by all calls.
//!
//! MODE: `relay`, `srtp` (encrypted towards the caller), `srtp2` (towards both), `pcmu`, `g722` or
//! `opus` (the callee's codec; the caller's is PCMA), `srtp-opus`.
//!
//! The legs file gets two lines a session, `PARTY RELAY PAYLOAD-TYPE CODEC TXKEY RXKEY`: where the
//! party sends from and where it sends to, and its keys in hexadecimal, or `-`. Ends when its
//! standard input does.

use std::fmt::Write;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, mpsc};

use base::Slot;
use codec::Codec;
use media::{
    Command, Config, Event, MasterKey, Parameters, Payload, PayloadKind, Plane, Profile, Remote,
    Security, SessionId, Side,
};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [sessions, file, rest @ ..] = &args[..] else {
        eprintln!("relay_bench SESSIONS LEGS [MODE [WORKERS [PORTS]]]");
        std::process::exit(2);
    };
    let sessions: u64 = sessions.parse().expect("a number of sessions");
    let shared = rest
        .get(2)
        .map(|p| p.parse::<u16>().expect("a number of ports"));
    let config = Config {
        ports: 20_000..=shared.map_or(31_999, |ports| 19_999 + ports),
        shared: shared.is_some(),
        workers: rest
            .get(1)
            .map_or(1, |w| w.parse().expect("a number of workers")),
        ..Config::default()
    };
    let (sender, events) = mpsc::channel();
    let sender = Mutex::new(sender);
    let deliver = Arc::new(move |event| {
        // The receiver lives as long as main.
        if let Ok(sender) = sender.lock() {
            let _ = sender.send(event);
        }
    });
    let plane = Plane::start(config, deliver).expect("a media plane");
    let mode = rest.first().map_or("relay", |mode| mode);
    let legs = set_up(&plane, &events, sessions, mode);
    std::fs::write(file, legs).expect("the legs file");
    eprintln!("{sessions} sessions");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn set_up(plane: &Plane, events: &mpsc::Receiver<Event>, sessions: u64, mode: &str) -> String {
    let handle = plane.handle();
    let relay = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 5));
    let mut legs = String::new();
    for number in 0..sessions {
        let session = SessionId::new(Slot::new(number as u8), number);
        let mut commands = vec![Command::Allocate {
            session,
            local: [Some(relay); 2],
            streams: 1,
        }];
        handle.submit(&mut commands);
        let Ok(Event::Allocated { streams, .. }) = events.recv() else {
            panic!("no ports for session {number}: raise the limit of open files?");
        };
        for (side, host) in [(Side::Caller, 3), (Side::Callee, 4)] {
            let port = 10_000 + 2 * number as u16;
            let party = SocketAddr::new(Ipv4Addr::new(127, 0, 0, host).into(), port);
            let local = streams[0].rtp[side.index()];
            let (codec, payload_type, name) = codec(mode, side);
            let (security, keys) = security(mode, side);
            let line = format!("{party} {relay}:{local} {payload_type} {name} {keys}");
            writeln!(legs, "{line}").expect("strings take writes");
            let payloads = vec![Payload {
                number: payload_type,
                kind: PayloadKind::Codec(codec, Parameters::default()),
                ptime: 20,
            }];
            let remote = Remote {
                security,
                payloads,
                ..Remote::plain(party, SocketAddr::new(party.ip(), port + 1))
            };
            commands.push(Command::Connect {
                session,
                stream: 0,
                side,
                remote: Some(Box::new(remote)),
            });
        }
        handle.submit(&mut commands);
    }
    legs
}

/// What a side speaks: codec, payload type, and the generator's name for it.
fn codec(mode: &str, side: Side) -> (Codec, u8, &'static str) {
    match (mode, side) {
        ("pcmu", Side::Callee) => (Codec::Pcmu, 0, "pcmu"),
        ("g722", Side::Callee) => (Codec::G722, 9, "g722"),
        ("opus" | "srtp-opus", Side::Callee) => (Codec::Opus, 96, "opus"),
        _ => (Codec::Pcma, 8, "pcma"),
    }
}

/// What protects a side, and the party's keys.
fn security(mode: &str, side: Side) -> (Security, String) {
    let encrypted = match mode {
        "srtp" | "srtp-opus" => side == Side::Caller,
        mode => mode == "srtp2",
    };
    if !encrypted {
        return (Security::Plain, "- -".to_owned());
    }
    let profile = Profile::Aes128CmSha1_80;
    let bytes = [1, 2].map(|n| vec![n + 10 * side.index() as u8; MasterKey::len_for(profile)]);
    let [remote, local] = bytes
        .each_ref()
        .map(|bytes| MasterKey::parse(profile, bytes).expect("the profile's length"));
    let hex = bytes.map(|bytes| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>());
    let security = Security::Sdes {
        profile,
        local,
        remote,
    };
    (security, hex.join(" "))
}
