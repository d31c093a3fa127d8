//! A small machine that answers OPTIONS and tells the test all that it sees.
#![allow(
    dead_code,
    reason = "each test program uses its own part of this module"
)]

pub(crate) mod tls;

use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use base::{Mint, Slot};
use engine::{Config, Engine, Input, Limits, Listen, Machine, Out, Services};
use sip::{Flow, Method, Protocol, StatusCode, Transmit, Writer, response_flow};

/// What a machine was given.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Seen {
    Message { cseq: u32, flow: Flow },
    Timer,
    Command(&'static str),
    Media(media::Event),
    Unreachable(Flow),
    Woken,
}

/// A [`Seen`], where and by whom.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Report {
    pub(crate) slot: Slot,
    pub(crate) thread: String,
    pub(crate) seen: Seen,
}

/// What a test may ask.
#[derive(Debug)]
pub(crate) enum Command {
    Note(&'static str),
    Send(Flow, String),
    /// Sends and writes a record in the same call.
    SendRecorded(Flow, String),
    Wake(Duration),
    /// Has the machines of these slots woken.
    WakeSlots(Vec<Slot>),
    Panic,
}

/// Answers OPTIONS; believes who sends PROVE; panics at a method called PANIC.
pub(crate) struct Echo {
    mint: Mint,
    reports: Sender<Report>,
    deadline: Option<Instant>,
}

impl Echo {
    fn answer(&mut self, flow: Flow, request: &sip::Message<'_>, out: &mut Out<String>) {
        let tag = self.mint.token();
        out.send_with(response_flow(request, flow), |bytes| {
            Writer::response_to(bytes, request, &flow, StatusCode(200), tag.as_str()).finish();
        });
    }

    fn command(&mut self, now: Instant, command: Command, out: &mut Out<String>) -> &'static str {
        match command {
            Command::Note(note) => return note,
            Command::Send(flow, text) => out.transmit(flow, text.as_bytes()),
            Command::SendRecorded(flow, text) => {
                out.records.push(text.clone().into_bytes());
                out.transmit(flow, text.as_bytes());
            }
            Command::WakeSlots(slots) => out.wake.extend(slots),
            Command::Wake(after) => self.deadline = Some(now + after),
            Command::Panic => panic!("as the test asked"),
        }
        ""
    }
}

impl Machine for Echo {
    type Command = Command;
    type Event = String;

    fn handle(&mut self, now: Instant, input: Input<'_, Command>, out: &mut Out<String>) {
        let seen = match input {
            Input::Message { flow, message } => {
                match message.method() {
                    Some(Method::Options) => self.answer(flow, message, out),
                    Some(Method::Other("PROVE")) => out.vouch.push(flow),
                    Some(Method::Other("PANIC")) => panic!("as the peer asked"),
                    _ => {}
                }
                out.events.push(message.call_id().to_owned());
                let cseq = message.cseq().unwrap().number;
                Seen::Message { cseq, flow }
            }
            Input::Timer => {
                self.deadline = None;
                Seen::Timer
            }
            Input::Command(command) => Seen::Command(self.command(now, command, out)),
            Input::Media(event) => Seen::Media(event),
            Input::Unreachable { flow } => Seen::Unreachable(flow),
            Input::Wake => Seen::Woken,
            // It asks nothing.
            Input::Answer(_) => return,
        };
        // The test may be over.
        let _ = self.reports.send(Report {
            slot: self.mint.slot(),
            thread: std::thread::current().name().unwrap_or("").to_owned(),
            seen,
        });
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

/// An engine of echo machines.
pub(crate) struct Rig {
    pub(crate) engine: Engine<Echo>,
    pub(crate) reports: Receiver<Report>,
}

impl Rig {
    pub(crate) fn new(listen: &[&str], threads: usize) -> Self {
        Self::with(listen, threads, Limits::default(), Services::none())
    }

    pub(crate) fn with(
        listen: &[&str],
        threads: usize,
        limits: Limits,
        services: Services<String>,
    ) -> Self {
        let config = Config {
            limits,
            ..Config::new(listen.iter().map(|text| parse_listen(text)).collect())
        };
        Self::of(config, threads, services)
    }

    pub(crate) fn of(config: Config, threads: usize, services: Services<String>) -> Self {
        let (sender, reports) = channel();
        let config = Config {
            threads: NonZeroUsize::new(threads),
            ..config
        };
        let build = move |slot| Echo {
            mint: Mint::new(slot, [7; 32]),
            reports: sender.clone(),
            deadline: None,
        };
        let engine = Engine::start(config, build, services).unwrap();
        Self { engine, reports }
    }

    /// The `index`th listen address, with loopback for the wildcard.
    pub(crate) fn address(&self, index: usize) -> SocketAddr {
        let mut address = self.engine.listening()[index].address;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() {
                "127.0.0.1".parse().unwrap()
            } else {
                "::1".parse().unwrap()
            });
        }
        address
    }

    pub(crate) fn command(&self, slot: u8, command: Command) {
        let slot = Slot::new(slot);
        assert!(self.engine.handle().command(slot, command).is_ok());
    }

    /// The next report.
    pub(crate) fn report(&self) -> Report {
        self.reports.recv_timeout(PATIENCE).expect("a report")
    }

    /// The next report of `slot` that `wanted` accepts; all others are passed over.
    pub(crate) fn report_that(&self, wanted: impl Fn(&Report) -> bool) -> Report {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            match self.reports.recv_timeout(PATIENCE) {
                Ok(report) if wanted(&report) => return report,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        panic!("no such report");
    }

    pub(crate) fn count(&self, counter: engine::Counter) -> u64 {
        self.engine.handle().stats().value(counter)
    }

    /// Waits until a counter has reached a value.
    pub(crate) fn await_count(&self, counter: engine::Counter, value: u64) {
        until(
            || self.count(counter) >= value,
            || format!("{counter}: {}", self.count(counter)),
        );
    }
}

/// Waits until `condition` holds.
pub(crate) fn until(mut condition: impl FnMut() -> bool, explain: impl Fn() -> String) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{}", explain());
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub(crate) fn parse_listen(text: &str) -> Listen {
    let (protocol, address) = text.split_once(':').unwrap();
    Listen {
        protocol: protocol.parse().unwrap(),
        address: address.parse().unwrap(),
    }
}

/// A peer's socket that gives up waiting instead of hanging.
pub(crate) fn peer(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

pub(crate) fn receive(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut bytes = [0; 65_536];
    let (length, from) = socket.recv_from(&mut bytes).expect("a datagram");
    (String::from_utf8(bytes[..length].to_vec()).unwrap(), from)
}

/// A request with all that it needs.
pub(crate) fn request(method: &str, call_id: &str, cseq: u32) -> String {
    format!(
        "{method} sip:echo@test SIP/2.0\r\nVia: SIP/2.0/UDP peer.test;rport;branch=z9hG4bK{cseq}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:peer@test>;tag=p\r\nTo: <sip:echo@test>\r\n\
         Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n"
    )
}

/// A flow without a connection.
pub(crate) fn flow(protocol: Protocol, local: SocketAddr, remote: SocketAddr) -> Flow {
    Flow {
        protocol,
        local,
        remote,
        connection: None,
        tls: sip::TlsPeer::ANY,
    }
}

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
