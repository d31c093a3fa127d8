//! The path in real interfaces: attached, passing packets, and gone.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]

mod net;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use net::Network;
use xdp::{Flow, Mode, Path, PayloadTypes, Unavailable};

const PATIENCE: Duration = Duration::from_secs(20);

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn bind(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn packet(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 160, 1, 2, 3, 4]);
    packet.extend([7; 160]);
    packet
}

/// Puts the flow in the table as soon as the system knows where its next hop is, which it finds out by sending there.
fn insert(path: &Path, flow: &Flow, network: &Network) {
    let deadline = Instant::now() + PATIENCE;
    network.relay(|| {
        let socket = UdpSocket::bind((flow.leaves.ip(), 0)).unwrap();
        while let Err(error) = path.insert(flow) {
            assert!(Instant::now() < deadline, "{error}");
            socket.send_to(b"are you there?", flow.to).unwrap();
            std::thread::yield_now();
        }
        assert!(path.is_current(flow));
    });
}

/// Packets from one neighbour to the other pass.
fn passes(network: &Network, path: &Path, [from, arrives, leaves, to]: [&str; 4], link: usize) {
    let [one, other] = [
        network.neighbour(0, || bind(from)),
        network.neighbour(link, || bind(to)),
    ];
    let flow = Flow {
        from: one.local_addr().unwrap(),
        arrives: arrives.parse().unwrap(),
        leaves: leaves.parse().unwrap(),
        to: other.local_addr().unwrap(),
        ssrc: 0x0102_0304,
        payload_types: PayloadTypes::all(),
        dscp: 46,
        clock: 8,
        highest: 0,
        jitter: 0,
    };
    insert(path, &flow, network);
    let mut buffer = [0; 2048];
    for sequence in 1..=100 {
        one.send_to(&packet(sequence), flow.arrives).unwrap();
        loop {
            let (len, source) = other.recv_from(&mut buffer).unwrap();
            if &buffer[..len] != b"are you there?" {
                assert_eq!(
                    (&buffer[..len], source),
                    (&packet(sequence)[..], flow.leaves)
                );
                break;
            }
        }
    }
    assert_eq!(path.remove(&flow).unwrap().packets, 100);
}

/// In the driver, which wants a program at the other end of the pair too.
#[test]
fn packets_pass_natively_where_both_ends_have_a_program() {
    let Some(network) = Network::new(2) else {
        return;
    };
    network.make_checksums();
    let open = |interfaces: &[&str]| Path::open_in(Mode::Native, &names(interfaces)).unwrap();
    let path = network.relay(|| open(&["r0", "r1"]));
    let _ends = [0, 1].map(|link| network.neighbour(link, || open(&["n0"])));
    assert!(network.links().contains("prog/xdp"));
    let ipv4 = [
        "10.77.0.2:4000",
        "10.77.0.1:20000",
        "10.77.1.1:20002",
        "10.77.1.2:5000",
    ];
    passes(&network, &path, ipv4, 1);
    let ipv6 = [
        "[fd77:0::2]:4000",
        "[fd77:0::1]:20000",
        "[fd77:1::1]:20002",
        "[fd77:1::2]:5000",
    ];
    passes(&network, &path, ipv6, 1);
    // Out by the interface where they come in.
    let same = [
        "10.77.0.2:4000",
        "10.77.0.1:20000",
        "10.77.0.1:20002",
        "10.77.0.3:5000",
    ];
    passes(&network, &path, same, 0);
}

#[test]
fn interfaces_are_found_by_name_by_address_and_by_having_one() {
    let Some(network) = Network::new(2) else {
        return;
    };
    network.relay(|| {
        let found = |interfaces: &[&str], addresses: &[&str]| {
            let addresses: Vec<_> = addresses.iter().map(|a| a.parse().unwrap()).collect();
            let path = Path::open(&names(interfaces), &addresses)?;
            assert_eq!(path.mode(), Mode::Generic);
            Ok::<_, Unavailable>(path.interfaces().map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(found(&[], &[]).unwrap(), ["r0", "r1"]);
        assert_eq!(found(&["r1"], &[]).unwrap(), ["r1"]);
        assert_eq!(found(&[], &["fd77:1::1"]).unwrap(), ["r1"]);
        let none = found(&[], &["127.0.0.1"]).unwrap_err();
        assert!(matches!(none, Unavailable::NoInterface(_)), "{none}");
        let none = found(&["lo"], &[]).unwrap_err();
        assert!(none.to_string().ends_with("media: lo"), "{none}");
    });
}

#[test]
fn an_interface_that_has_another_program_is_left_alone() {
    let Some(network) = Network::new(1) else {
        return;
    };
    network.relay(|| {
        let first = Path::open(&[], &[]).unwrap();
        let second = Path::open(&[], &[]).unwrap_err();
        assert!(matches!(second, Unavailable::Attach { .. }), "{second}");
        drop(first);
        Path::open(&[], &[]).unwrap();
    });
}

#[test]
fn a_flow_without_a_way_is_not_taken() {
    let Some(network) = Network::new(1) else {
        return;
    };
    network.relay(|| {
        let path = Path::open(&[], &[]).unwrap();
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let flow = |leaves, to| Flow {
            from: address("10.77.0.2:4000"),
            arrives: address("10.77.0.1:20000"),
            leaves: address(leaves),
            to: address(to),
            ssrc: 1,
            payload_types: PayloadTypes::all(),
            dscp: 0,
            clock: 0,
            highest: 0,
            jitter: 0,
        };
        // A neighbour that nobody has asked for, no route, and this machine.
        for to in ["10.77.0.4:5000", "192.0.2.1:5000", "10.77.0.1:5000"] {
            let flow = flow("10.77.0.1:20002", to);
            assert!(path.insert(&flow).is_err(), "{to}");
            assert!(!path.is_current(&flow) && path.read(&flow).is_none());
        }
    });
}

const HELD: &str = "DIALTONE_XDP_HELD";

/// Part of the test below: attaches, says so, and waits to be killed.
#[test]
#[ignore = "run by another test"]
fn holds_a_path() {
    if std::env::var_os(HELD).is_some() {
        let path = Path::open(&[], &[]).unwrap();
        println!("attached to {}", path.interfaces().count());
        loop {
            std::thread::park();
        }
    }
}

#[test]
fn a_process_that_is_killed_leaves_nothing_behind() {
    let Some(network) = Network::new(1) else {
        return;
    };
    let mut child = network.relay(|| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "holds_a_path", "--ignored", "--nocapture"])
            .env(HELD, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    });
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let attached = lines
        .map(Result::unwrap)
        .any(|line| line.ends_with("attached to 1"));
    let there = network.links().contains("prog/xdp");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(attached && there);
    let deadline = Instant::now() + PATIENCE;
    while network.links().contains("xdp") {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
}
