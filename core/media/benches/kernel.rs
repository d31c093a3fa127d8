//! What a relayed packet costs in the media workers and in the kernel: `cargo xtask bench kernel`.
//!
//! The program alone is run by the kernel, outside any network. Then packets go from one phone to another through
//! pairs of virtual interfaces; what is told is CPU time of the whole process, which plays all the parts and in whose
//! system calls the interfaces work. What the phones themselves take, sending straight to each other, is taken away.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "it prints figures, or stops"
)]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../../xdp/tests/net/mod.rs"]
mod net;

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use common::{PATIENCE, Phone, World};
use media::{Config, Side};
use net::Network;
use rustix::time::{ClockId, clock_gettime};
use xdp::{Flow, Mode, Path, PayloadTypes};

fn main() {
    let Some(network) = Network::new(2) else {
        return;
    };
    network.make_checksums();
    println!(
        "the program alone, a packet that passes      {:>6.0} ns",
        program(CHAIN, 1)
    );
    println!(
        "the program alone, a packet of nobody's      {:>6.0} ns",
        program(0, 10_000)
    );
    let alone = best(|| straight(&network));
    println!(
        "two phones without a relay                   {:>6.2} CPU-µs a packet",
        alone * 1e6
    );
    for (name, cost) in [
        ("the relay: media workers", best(|| workers(&network))),
        (
            "the relay: kernel, generic",
            best(|| kernel(&network, Mode::Generic)),
        ),
        (
            "the relay: kernel, native",
            best(|| kernel(&network, Mode::Native)),
        ),
    ] {
        println!(
            "{name:<44} {:>6.2} CPU-µs a packet more",
            (cost - alone) * 1e6
        );
    }
}

/// The least of some rounds: whatever else the machine does only adds.
fn best(measure: impl Fn() -> f64) -> f64 {
    (0..ROUNDS).map(|_| measure()).fold(f64::MAX, f64::min)
}

/// Nanoseconds that the program takes. With a chain of flows, what one makes of the packet is the next one's.
fn program(flows: u16, repeat: u32) -> f64 {
    let path = Path::detached().unwrap();
    let address = |n: u16| SocketAddr::from(([192, 0, 2, (n % 250) as u8 + 1], 10_000 + n));
    for n in 0..flows {
        let flow = Flow {
            payload_types: PayloadTypes::all(),
            ..flow(address(n), address(n + 1), address(n + 1), address(n + 2))
        };
        path.insert_by(&flow, 1, [2; 6], [4; 6]).unwrap();
    }
    let run = |sequence| {
        let frame = frame(address(0), address(1), sequence);
        path.run(&frame, repeat.max(flows.into()))
            .unwrap()
            .nanoseconds
    };
    f64::from((1..=RUNS).map(run).min().unwrap())
}

fn frame(from: SocketAddr, to: SocketAddr, sequence: u16) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend([0x08, 0x00, 0x45, 0, 0, 200, 0, 0, 0, 0, 255, 17, 0, 0]);
    for address in [from, to] {
        let SocketAddr::V4(address) = address else {
            continue;
        };
        frame.extend(address.ip().octets());
    }
    frame.extend(from.port().to_be_bytes());
    frame.extend(to.port().to_be_bytes());
    frame.extend([0, 180, 0, 1]);
    frame.extend(common::rtp_packet(1, sequence, 160, 0));
    frame
}

fn flow(from: SocketAddr, arrives: SocketAddr, leaves: SocketAddr, to: SocketAddr) -> Flow {
    Flow {
        from,
        arrives,
        leaves,
        to,
        ssrc: 1,
        payload_types: PayloadTypes::all(),
        dscp: 46,
        clock: 8,
        highest: 0,
        jitter: 0,
    }
}

/// Phones of one neighbour, and those of the other one that hear them.
fn phones(network: &Network) -> [Vec<Phone>; 2] {
    let phones = |link: usize, host: &str| {
        network.neighbour(link, || (0..STREAMS).map(|_| Phone::new(host, 1)).collect())
    };
    [phones(0, "10.77.0.2"), phones(1, "10.77.1.2")]
}

/// CPU seconds a packet that the first phones send to these addresses and the others hear.
fn cost(from: &mut [Phone], to: &[&UdpSocket], at: &[SocketAddr]) -> f64 {
    let cpu = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let mut buffer = [0; 2048];
    let mut round = |from: &mut [Phone]| {
        for (phone, at) in from.iter_mut().zip(at) {
            phone.send(*at, 7);
        }
        let heard = to.iter().filter(|socket| socket.recv(&mut buffer).is_ok());
        heard.count() as u32
    };
    round(from);
    to.iter()
        .for_each(|socket| socket.set_read_timeout(Some(LOST)).unwrap());
    let (begin, since, mut sent, mut heard) = (cpu(), Instant::now(), 0, 0);
    while since.elapsed() < DURATION {
        heard += round(from);
        sent += STREAMS;
    }
    // Without a worker behind the kernel, one in 65536 is lost: its checksum seems unfinished.
    assert!(sent - heard <= sent / 1000, "{heard} of {sent} were heard");
    (cpu() - begin).as_secs_f64() / f64::from(heard)
}

fn straight(network: &Network) -> f64 {
    let [mut from, _] = phones(network);
    let sinks: Vec<_> = network.relay(|| {
        let bind = |_| {
            let socket = UdpSocket::bind(("10.77.0.1", 0)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        };
        (0..STREAMS).map(bind).collect()
    });
    let sinks: Vec<_> = sinks.iter().collect();
    let at: Vec<_> = sinks
        .iter()
        .map(|socket| socket.local_addr().unwrap())
        .collect();
    cost(&mut from, &sinks, &at)
}

fn workers(network: &Network) -> f64 {
    let [mut from, to] = phones(network);
    let mut world = network.relay(|| {
        World::new(Config {
            ports: 30_000..=31_999,
            ..Config::default()
        })
    });
    let mut at = Vec::new();
    for (caller, callee) in from.iter().zip(&to) {
        let hosts = [Some("10.77.0.1"), Some("10.77.1.1")];
        let call = world.allocate(hosts, 1).unwrap();
        world.connect(&call, Side::Caller, 0, Some(caller.remote()));
        world.connect(&call, Side::Callee, 0, Some(callee.remote()));
        at.push(call.rtp(Side::Caller, 0));
    }
    world.settle();
    let sockets: Vec<_> = to.iter().map(|phone| &phone.rtp).collect();
    cost(&mut from, &sockets, &at)
}

fn kernel(network: &Network, mode: Mode) -> f64 {
    let open = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        Path::open_in(mode, &names).unwrap()
    };
    let path = network.relay(|| open(&["r0", "r1"]));
    // The other end of a pair wants a program too, if the driver is to take part.
    let native = mode == Mode::Native;
    let _ends = native.then(|| [0, 1].map(|link| network.neighbour(link, || open(&["n0"]))));
    let [mut from, to] = phones(network);
    let mut at = Vec::new();
    for (port, (caller, callee)) in (20_000..).zip(from.iter().zip(&to)) {
        let [arrives, leaves] =
            [[10, 77, 0, 1], [10, 77, 1, 1]].map(|ip| SocketAddr::from((ip, port)));
        let [caller, callee] = [caller, callee].map(|phone| phone.rtp.local_addr().unwrap());
        let flow = Flow {
            highest: 65_530,
            ..flow(caller, arrives, leaves, callee)
        };
        network.relay(|| insert(&path, &flow));
        at.push(arrives);
    }
    let sockets: Vec<_> = to.iter().map(|phone| &phone.rtp).collect();
    cost(&mut from, &sockets, &at)
}

/// As soon as the neighbour is known, which it is once something was sent there.
fn insert(path: &Path, flow: &Flow) {
    let socket = UdpSocket::bind((flow.leaves.ip(), 0)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = path.insert(flow) {
        assert!(Instant::now() < deadline, "{error}");
        // To where nobody listens.
        socket.send_to(&[0], (flow.to.ip(), 9)).unwrap();
        std::thread::yield_now();
    }
}

/// Flows that a packet passes one after the other, before its time to live is over.
const CHAIN: u16 = 250;
/// Runs of the program; the shortest counts.
const RUNS: u16 = 100;
const STREAMS: u32 = 50;
const ROUNDS: usize = 3;
/// What has not come by then, does not.
const LOST: Duration = Duration::from_millis(50);
const DURATION: Duration = Duration::from_secs(2);
