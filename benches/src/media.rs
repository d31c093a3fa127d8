//! Calls that are set up by rtpengine's control protocol: what a packet, a call or a played stream costs, what it
//! takes of memory, and how well the server keeps its time.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use codec::Codec;
use ue::load::{MediaReport, allow_many_sockets, stream};

use crate::peers::calls::{Kind, play, set_up};
use crate::peers::dialtone;
use crate::peers::rtpengine::{self, RTPENGINE};
use crate::server::Server;
use crate::table::{Figures, Row};

/// Relayed RTP: CPU a packet.
///
/// # Errors
/// If a server does not come up, or loses more than one packet in a thousand.
pub fn ng(binary: &Path, rounds: usize, calls: usize) -> Result<Row> {
    let work = format!("RTP relayed by ng, {calls} calls");
    beside(&work, "CPU-µs", rounds, &Ours::new(binary), |server| {
        relayed(server, Kind::Plain, calls)
    })
}

/// RTP to SRTP, and SRTP to SRTP of other keys: CPU a packet.
///
/// # Errors
/// If a server does not come up, or loses more than one packet in a thousand.
pub fn srtp(binary: &Path, rounds: usize, calls: usize) -> Result<Vec<Row>> {
    let kinds = [
        ("RTP to SRTP", Kind::HalfSecure),
        ("SRTP to SRTP", Kind::Secure),
    ];
    let row = |(name, kind)| {
        let work = format!("{name}, {calls} calls");
        beside(&work, "CPU-µs", rounds, &Ours::new(binary), |server| {
            relayed(server, kind, calls)
        })
    };
    kinds.into_iter().map(row).collect()
}

/// All calls on one port of ours: CPU a packet. rtpengine has no such mode and takes ports as ever.
///
/// # Errors
/// If a server does not come up, or loses more than one packet in a thousand.
pub fn one_port(binary: &Path, rounds: usize, calls: usize) -> Result<Row> {
    let work = format!("RTP relayed on one port, {calls} calls");
    let ours = Ours {
        start: dialtone::start_one_port,
        binary,
    };
    beside(&work, "CPU-µs", rounds, &ours, |server| {
        relayed(server, Kind::Plain, calls)
    })
}

/// How long packets of 1000 calls take through the server, in the middle.
///
/// # Errors
/// If a server does not come up, or loses more than one packet in a thousand.
pub fn delay(binary: &Path, rounds: usize) -> Result<Row> {
    let work = "delay p50, 1000 calls";
    beside(work, "µs", rounds, &Ours::new(binary), |server| {
        let media = stream(set_up(server, Kind::Plain, 0, 1000)?, DURATION)?;
        check(server, &media, SOME)?;
        let delay = media.delay;
        let text = format!(
            "p99 {} µs, {} of {} lost",
            delay.p99, media.lost, media.sent
        );
        Ok((delay.p50 as f64, text))
    })
}

/// PCMU to Opus and to G.722: CPU of a call.
///
/// # Errors
/// If a server does not come up, or loses more than it may.
pub fn transcode(binary: &Path, rounds: usize) -> Result<Vec<Row>> {
    let kinds = [("Opus", Codec::Opus, 50), ("G.722", Codec::G722, 100)];
    let row = |(name, codec, calls)| {
        let work = format!("PCMU to {name}, {calls} calls");
        beside(&work, "% a call", rounds, &Ours::new(binary), |server| {
            let legs = set_up(server, Kind::Transcoded(codec), 0, calls)?;
            let (media, share) = watched(server, || Ok(stream(legs, DURATION)?))?;
            check(server, &media, SOME)?;
            let text = format!("{} lost", media.lost);
            Ok((share * 100.0 / calls as f64, text))
        })
    };
    kinds.into_iter().map(row).collect()
}

/// A file played to 200: CPU of a stream.
///
/// # Errors
/// If a server does not come up, or loses more than it may.
pub fn playback(binary: &Path, rounds: usize) -> Result<Row> {
    let work = format!("file played to {LISTENERS}");
    beside(&work, "% a stream", rounds, &Ours::new(binary), |server| {
        let legs = set_up(server, Kind::Played, 0, LISTENERS)?;
        play(server, 0, LISTENERS, &sound(server)?)?;
        let (media, share) = watched(server, || Ok(stream(legs, DURATION)?))?;
        check(server, &media, SOME)?;
        let pace = media.pace;
        let text = format!("late p50 {} µs, p99.9 {} µs", pace.p50, pace.p999);
        Ok((share * 100.0 / LISTENERS as f64, text))
    })
}

/// How late the packets of 50 played streams are that 999 of 1000 are not later than, while as many calls are
/// transcoded as take 80 % of the server's CPU.
///
/// # Errors
/// If a server does not come up, or loses more than it may.
pub fn tick(binary: &Path, rounds: usize) -> Result<Row> {
    let work = "tick of 20 ms late, p99.9, 80 % load";
    beside(work, "ms", rounds, &Ours::new(binary), |server| {
        let few = stream_under(server, 0, FEW, 0)?;
        let calls = (FEW as f64 * LOAD / few.1.max(0.01)) as usize;
        let (media, share) = stream_under(server, FEW, calls.clamp(1, MOST_CALLS), STREAMS)?;
        check(server, &media, SOME)?;
        let text = format!("{calls} calls, {:.0} %", share * 100.0);
        Ok((media.pace.p999 as f64 / 1000.0, text))
    })
}

/// What a relayed and a transcoded call take of memory while they carry sound: more than without calls.
///
/// # Errors
/// If a server does not come up, or loses more than it may.
pub fn memory(binary: &Path) -> Result<Vec<Row>> {
    let kinds = [
        ("relayed", Kind::Plain, 300),
        ("SRTP to SRTP", Kind::Secure, 200),
        ("PCMU to G.722", Kind::Transcoded(Codec::G722), 50),
        ("PCMU to Opus", Kind::Transcoded(Codec::Opus), 50),
    ];
    let row = |(name, kind, calls)| {
        let work = format!("call in memory, {name}");
        beside(&work, "KB", 1, &Ours::new(binary), |server| {
            // What is made for the first call is not a call's.
            stream(set_up(server, kind, 0, 1)?, SHORT)?;
            let before = server.memory()?;
            let media = stream(set_up(server, kind, 1, calls)?, SHORT)?;
            // Late packets take as much memory as others.
            check(server, &media, 1)?;
            let grown = server.memory()?.saturating_sub(before);
            let text = format!("{calls} calls");
            Ok((grown as f64 * 1.024 / calls as f64, text))
        })
    };
    kinds.into_iter().map(row).collect()
}

/// How our server is started.
struct Ours<'a> {
    start: fn(&Path) -> Result<Server>,
    binary: &'a Path,
}

impl<'a> Ours<'a> {
    fn new(binary: &'a Path) -> Self {
        Self {
            start: dialtone::start_relay,
            binary,
        }
    }
}

/// Measures ours and rtpengine in turn. One server at a time: both want the same ports.
fn beside(
    work: &str,
    unit: &'static str,
    rounds: usize,
    ours: &Ours<'_>,
    measure: impl Fn(&Server) -> Result<(f64, String)>,
) -> Result<Row> {
    allow_many_sockets();
    let has_peer = RTPENGINE.is_there();
    let mut row = Row {
        work: work.to_owned(),
        unit,
        ours: Figures::default(),
        peer: has_peer.then(|| ("rtpengine", Figures::default())),
        remark: String::new(),
    };
    let mut texts = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let (figure, text) = measure(&(ours.start)(ours.binary)?)?;
        row.ours.push(figure);
        texts[0].push(text);
        if let Some((_, figures)) = &mut row.peer {
            // What the peer cannot do is no reason to leave us out.
            match rtpengine::start().and_then(|server| measure(&server)) {
                Ok((figure, text)) => {
                    figures.push(figure);
                    texts[1].push(text);
                }
                Err(error) => {
                    eprintln!("{work}: left out: {error:#}");
                    texts[1].push("failed".to_owned());
                }
            }
        }
    }
    let [ours, peers] = texts.map(|texts| texts.join("; "));
    row.remark = match row.peer {
        Some(_) => format!("{ours} | {peers}"),
        None => ours,
    };
    Ok(row)
}

/// Cost in µs of a packet that arrives.
fn relayed(server: &Server, kind: Kind, calls: usize) -> Result<(f64, String)> {
    let legs = set_up(server, kind, 0, calls)?;
    let begin = server.cpu_time()?;
    let media = stream(legs, DURATION)?;
    let spent = server.cpu_time()? - begin;
    check(server, &media, RARE)?;
    let text = format!(
        "p50 {} µs, generator late {} ms",
        media.delay.p50,
        media.lateness.as_millis()
    );
    Ok((spent.as_secs_f64() * 1e6 / media.received as f64, text))
}

/// What the streams saw, and the server's share of a CPU meanwhile.
fn watched(
    server: &Server,
    run: impl FnOnce() -> Result<MediaReport>,
) -> Result<(MediaReport, f64)> {
    let (begin, since) = (server.cpu_time()?, Instant::now());
    let media = run()?;
    let spent = server.cpu_time()? - begin;
    Ok((media, spent.as_secs_f64() / since.elapsed().as_secs_f64()))
}

/// `calls` calls from number `first` on are transcoded while a file is played to `listeners`.
fn stream_under(
    server: &Server,
    first: usize,
    calls: usize,
    listeners: usize,
) -> Result<(MediaReport, f64)> {
    let mut load = set_up(server, Kind::Transcoded(Codec::Opus), first, calls)?;
    // What is transcoded is only load: the time of its packets is the generator's.
    let silence = |hears: &mut _| *hears = ue::load::Hears::Nothing;
    if listeners > 0 {
        load.iter_mut().for_each(|leg| silence(&mut leg.form.hears));
        load.extend(set_up(server, Kind::Played, first + calls, listeners)?);
        play(server, first + calls, listeners, &sound(server)?)?;
    }
    watched(server, || Ok(stream(load, DURATION)?))
}

/// Puts a sound where the server finds it, and returns how it is named there.
fn sound(server: &Server) -> Result<String> {
    let folder = server.path("srv/sounds");
    fs::create_dir_all(&folder)?;
    let path = folder.join("bench.wav");
    fs::write(&path, wav())?;
    Ok(match server.name {
        "dialtone" => "bench.wav".to_owned(),
        _ => path.display().to_string(),
    })
}

/// Half a minute of a tone: 16 bits, 8 kHz, mono.
fn wav() -> Vec<u8> {
    let samples = 30 * RATE;
    let sample = |n: u32| {
        let turns = f64::from(n) * 440.0 / f64::from(RATE);
        ((turns * std::f64::consts::TAU).sin() * 8000.0) as i16
    };
    let mut file = b"RIFF".to_vec();
    file.extend((36 + 2 * samples).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(RATE.to_le_bytes());
    file.extend((2 * RATE).to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend((2 * samples).to_le_bytes());
    file.extend((0..samples).flat_map(|n| sample(n).to_le_bytes()));
    file
}

/// At most one of `most` packets may be lost.
fn check(server: &Server, media: &MediaReport, most: u64) -> Result<()> {
    let name = server.name;
    ensure!(media.received > 0, "{name}: no packet came");
    ensure!(media.silent == 0, "{name}:\n{media}");
    ensure!(media.lost * most <= media.received, "{name}:\n{media}");
    Ok(())
}

const DURATION: Duration = Duration::from_secs(6);

/// Long enough for every buffer to be needed.
const SHORT: Duration = Duration::from_secs(3);

/// One packet in so many may be lost where packets are passed on.
const RARE: u64 = 1000;

/// One packet in so many may be lost where the server makes packets of its own, whose streams it may begin late.
const SOME: u64 = 50;

const LISTENERS: usize = 200;

/// Streams whose time is watched under load.
const STREAMS: usize = 50;

/// Calls by which is found what one costs.
const FEW: usize = 10;

/// The share of its CPU that the server is to use.
const LOAD: f64 = 0.8;

const MOST_CALLS: usize = 1000;

/// Samples a second of the sound.
const RATE: u32 = 8000;
