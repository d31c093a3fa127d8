//! Sets up SESSIONS relayed calls and waits, so that a load generator can measure the relay:
//!
//! ```text
//! relay_bench SESSIONS LEGS [WORKERS]
//! ```
//!
//! The legs file gets two lines a session, `PARTY RELAY PAYLOAD-TYPE CODEC - -`: where the party
//! sends from and where it sends to. Ends when its standard input does.

use std::fmt::Write;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, mpsc};

use base::Slot;
use media::{Command, Config, Event, Plane, Remote, SessionId, Side};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [sessions, file, rest @ ..] = &args[..] else {
        eprintln!("relay_bench SESSIONS LEGS [WORKERS]");
        std::process::exit(2);
    };
    let sessions: u64 = sessions.parse().expect("a number of sessions");
    let config = Config {
        ports: 20_000..=31_999,
        workers: rest
            .first()
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
    let legs = set_up(&plane, &events, sessions);
    std::fs::write(file, legs).expect("the legs file");
    eprintln!("{sessions} sessions");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn set_up(plane: &Plane, events: &mpsc::Receiver<Event>, sessions: u64) -> String {
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
            writeln!(legs, "{party} {relay}:{local} 8 pcma - -").expect("strings take writes");
            commands.push(Command::Connect {
                session,
                stream: 0,
                side,
                remote: Some(Box::new(Remote::plain(
                    party,
                    SocketAddr::new(party.ip(), port + 1),
                ))),
            });
        }
        handle.submit(&mut commands);
    }
    legs
}
