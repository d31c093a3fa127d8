//! What a conference room costs: participants of one codec, of whom a few speak and the others breathe.
//!
//! ```sh
//! cargo run --release -p dialtone-media --example room_bench -- 100 20
//! ```
//!
//! Participants and seconds; a third argument, such as `PCMU`, chooses one codec. For each it prints the CPU
//! of the media worker for each participant in per cent of a core, and by how much packets leave later
//! than 20 ms after the one before would have it.

#![allow(
    clippy::unwrap_used,
    reason = "a measurement stops at what it does not expect"
)]
#![allow(clippy::print_stdout, reason = "it prints what it measures")]

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use base::Slot;
use codec::tone::Tone;
use codec::{Codec, Encoder, Parameters};
use media::{
    Command, Config, Event, Format, Participant, Payload, PayloadKind, Plane, Remote, RoomId,
    SessionId, Side,
};
use rtp::Header;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |usual: u32| arguments.next().map_or(usual, |n| n.parse().unwrap());
    let (participants, seconds) = (number(100), number(20));
    let chosen = arguments.next();
    for speakers in [3, 0] {
        let mut codecs = vec![Codec::Pcmu, Codec::G722, Codec::Opus];
        codecs.retain(|codec| chosen.as_ref().is_none_or(|name| name == codec.name()));
        for codec in codecs {
            run(codec, participants, speakers, seconds);
        }
    }
}

fn run(codec: Codec, participants: u32, speakers: u32, seconds: u32) {
    let (sender, events) = mpsc::channel();
    let sender = Mutex::new(sender);
    let config = Config {
        ports: 40_000..=42_999,
        ..Config::default()
    };
    let deliver = Arc::new(move |event| _ = sender.lock().unwrap().send(event));
    let plane = Plane::start(config, deliver).unwrap();
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
    let ports: Vec<SocketAddr> = (0..participants)
        .map(|n| seat(&plane, &events, &socket, codec, n))
        .collect();

    let over = Arc::new(AtomicBool::new(false));
    let listener = listen(Arc::clone(&socket), Arc::clone(&over));
    let mut talkers: Vec<Talker> = ports
        .iter()
        .enumerate()
        .map(|(n, to)| Talker::new(codec, *to, n as u32, speakers))
        .collect();
    // Two seconds to settle.
    speak(&socket, &mut talkers, 2 * 50);
    let before = worker_cpu();
    let start = Instant::now();
    speak(&socket, &mut talkers, seconds * 50);
    let (cpu, wall) = (worker_cpu() - before, start.elapsed());
    over.store(true, Ordering::Relaxed);
    let late = listener.join().unwrap();
    let share = cpu.as_secs_f64() / wall.as_secs_f64() * 100.0;
    println!(
        "{:6} {participants} participants, {speakers} speak: {:.4} % of a core each, {share:.1} % in all; \
         packets late by p50 {:.2} ms, p99.9 {:.2} ms ({} packets)",
        codec.name(),
        share / f64::from(participants),
        quantile(&late, 0.5),
        quantile(&late, 0.999),
        late.len(),
    );
}

/// Seats a participant and returns where it sends to.
fn seat(
    plane: &Plane,
    events: &mpsc::Receiver<Event>,
    socket: &UdpSocket,
    codec: Codec,
    number: u32,
) -> SocketAddr {
    let session = SessionId::new(Slot::new(1), u64::from(number));
    let (stream, side) = (0, Side::Caller);
    let local = [Some("127.0.0.1".parse().unwrap()), None];
    let address = socket.local_addr().unwrap();
    let remote = Box::new(Remote {
        payloads: vec![Payload {
            number: 96,
            kind: PayloadKind::Codec(codec, Parameters::default()),
            ptime: 20,
        }],
        ..Remote::plain(address, address)
    });
    plane.handle().submit(&mut vec![
        Command::Allocate {
            session,
            local,
            streams: 1,
        },
        Command::Connect {
            session,
            stream,
            side,
            remote: Some(remote),
        },
        Command::Join {
            session,
            stream,
            side,
            room: RoomId(1),
            participant: Participant::default(),
            format: Format {
                codec,
                payload_type: 96,
                ptime: 20,
            },
        },
    ]);
    loop {
        match events.recv().unwrap() {
            Event::Allocated { streams, .. } => {
                return SocketAddr::new(address.ip(), streams[0].rtp[0]);
            }
            Event::Talking { .. } | Event::ActiveSpeaker { .. } | Event::Quality { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Somebody who says the same half second again and again.
struct Talker {
    to: SocketAddr,
    header: Header,
    ticks: u32,
    payloads: Vec<Vec<u8>>,
    next: usize,
}

impl Talker {
    fn new(codec: Codec, to: SocketAddr, number: u32, speakers: u32) -> Self {
        let mut encoder = Encoder::new(codec, &Parameters::default()).unwrap();
        let rate = encoder.sample_rate();
        let level = if number < speakers { -10.0 } else { -60.0 };
        let mut tone = Tone::at(level, 300.0 + number as f32 * 10.0, rate);
        let mut pcm = vec![0; rate as usize / 50];
        let payloads = (0..25)
            .map(|_| {
                tone.fill(&mut pcm);
                let mut payload = vec![0; 2000];
                let len = encoder.encode(&pcm, &mut payload).unwrap();
                payload.truncate(len);
                payload
            })
            .collect();
        Self {
            to,
            header: Header {
                payload_type: 96,
                ssrc: number + 1,
                ..Header::default()
            },
            ticks: codec.clock() / 50,
            payloads,
            next: number as usize % 25,
        }
    }

    fn speak(&mut self, socket: &UdpSocket) {
        let payload = &self.payloads[self.next];
        self.next = (self.next + 1) % self.payloads.len();
        let mut datagram = [0; 2048];
        self.header.encode(&mut datagram);
        datagram[12..12 + payload.len()].copy_from_slice(payload);
        let _ = socket.send_to(&datagram[..12 + payload.len()], self.to);
        self.header.sequence = self.header.sequence.wrapping_add(1);
        self.header.timestamp = self.header.timestamp.wrapping_add(self.ticks);
    }
}

/// All speak for so many packets, spread over each 20 ms.
fn speak(socket: &UdpSocket, talkers: &mut [Talker], packets: u32) {
    let start = Instant::now();
    let parts = talkers.len().div_ceil(20);
    for n in 0..packets {
        for (ms, some) in talkers.chunks_mut(parts).enumerate() {
            some.iter_mut().for_each(|talker| talker.speak(socket));
            let due = start + Duration::from_millis(u64::from(n) * 20 + ms as u64 + 1);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let due = start + Duration::from_millis(u64::from(n + 1) * 20);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

/// Notes by how many milliseconds each packet is late, compared with the one that kept its time best.
fn listen(socket: Arc<UdpSocket>, over: Arc<AtomicBool>) -> std::thread::JoinHandle<Vec<f64>> {
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    std::thread::spawn(move || {
        let start = Instant::now();
        let mut heard: HashMap<SocketAddr, Vec<(u16, f64)>> = HashMap::new();
        let mut buffer = [0; 2048];
        while !over.load(Ordering::Relaxed) {
            let Ok((_, from)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            // Reports come to the same port.
            if (200..=204).contains(&buffer[1]) {
                continue;
            }
            let sequence = u16::from_be_bytes([buffer[2], buffer[3]]);
            let at = start.elapsed().as_secs_f64() * 1000.0;
            heard.entry(from).or_default().push((sequence, at));
        }
        heard
            .values()
            .flat_map(|packets| lateness(packets))
            .collect()
    })
}

fn lateness(packets: &[(u16, f64)]) -> Vec<f64> {
    let first = packets[0].0;
    let off = |(sequence, at): &(u16, f64)| at - f64::from(sequence.wrapping_sub(first)) * 20.0;
    // What comes first has its room to settle.
    let offs: Vec<f64> = packets.iter().skip(100).map(off).collect();
    let least = offs.iter().copied().fold(f64::MAX, f64::min);
    offs.into_iter().map(|off| off - least).collect()
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at).or(sorted.last()).copied().unwrap_or(0.0)
}

/// CPU that the media worker has used.
fn worker_cpu() -> Duration {
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
        if name.trim() == "media-0" {
            let stat = std::fs::read_to_string(task.join("schedstat")).unwrap();
            return Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap());
        }
    }
    panic!("no media worker");
}
