//! Plays a sound to many at once and prints what one of them costs:
//!
//! ```text
//! play_bench STREAMS SECONDS CODEC SOURCE
//! ```
//!
//! CODEC: `pcmu`, `pcma`, `g722` or `opus`. SOURCE: `tone`, `music`, for which every `.wav` of the
//! folder `./music` is taken, or a file, which is to last at least as long. Nobody listens: what is
//! sent ends at a socket that is never read.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use base::Slot;
use media::{Codec, Command, Config, Event, Format, Music, Plane, Remote, SessionId, Side, Source};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [streams, seconds, codec, source] = &args[..] else {
        eprintln!("play_bench STREAMS SECONDS CODEC SOURCE");
        std::process::exit(2);
    };
    let streams: u64 = streams.parse().expect("a number of streams");
    let seconds: u64 = seconds.parse().expect("a number of seconds");
    let (sender, events) = mpsc::channel();
    let sender = Mutex::new(sender);
    let deliver = Arc::new(move |event| {
        // The receiver lives as long as main.
        if let Ok(sender) = sender.lock() {
            let _ = sender.send(event);
        }
    });
    let config = Config {
        ports: 20_000..=31_999,
        sounds: Some(".".into()),
        ..Config::default()
    };
    let plane = Plane::start(config, deliver).expect("a media plane");
    plane.handle().tune(Some(Music {
        source: "music".into(),
        shuffled: false,
    }));
    let sink = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let to = sink.local_addr().expect("an address");
    for number in 0..streams {
        let session = SessionId::new(Slot::new(0), number);
        let commands = commands(session, Remote::plain(to, to), codec, source);
        plane.handle().submit(&mut commands.into());
        let event = events.recv().expect("an answer");
        assert!(matches!(event, Event::Allocated { .. }), "{event:?}");
    }
    // Until it has been decoded.
    std::thread::sleep(Duration::from_secs(2));
    let before = cpu_ticks();
    std::thread::sleep(Duration::from_secs(seconds));
    // A tick is a hundredth of a second.
    let percent = (cpu_ticks() - before) as f64 / seconds as f64;
    let each = percent / streams as f64;
    eprintln!(
        "{streams} streams, {codec}, {source}: {each:.3} % of a core each, {percent:.1} % together"
    );
}

fn commands(session: SessionId, remote: Remote, codec: &str, source: &str) -> [Command; 3] {
    let (codec, payload_type) = match codec {
        "pcma" => (Codec::Pcma, 8),
        "g722" => (Codec::G722, 9),
        "opus" => (Codec::Opus, 111),
        _ => (Codec::Pcmu, 0),
    };
    let source = match source {
        "tone" => Source::Tone(440.0),
        "music" => Source::Music,
        file => Source::Sound(file.into()),
    };
    let format = Format {
        codec,
        payload_type,
        ptime: 20,
    };
    [
        Command::Allocate {
            session,
            local: [Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), None],
            streams: 1,
        },
        Command::Connect {
            session,
            stream: 0,
            side: Side::Caller,
            remote: Some(Box::new(remote)),
        },
        Command::Serve {
            session,
            stream: 0,
            side: Side::Caller,
            source,
            number: 0,
            format,
        },
    ]
}

/// What this process has used so far, in hundredths of a second.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc");
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    // Fields 14 and 15, counted from the third, which comes first here.
    fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum()
}
