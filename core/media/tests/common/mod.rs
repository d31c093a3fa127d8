//! A plane under test, and phones with plain sockets.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops at what it does not expect"
)]
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod handshake;
pub(crate) mod talker;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use base::Slot;
use media::{
    Command, Config, Event, Handle, Plane, Refusal, Remote, SessionId, Side, SideStats, StreamPorts,
};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const V4: &str = "127.0.0.1";
pub(crate) const V6: &str = "::1";

pub(crate) struct World {
    pub(crate) plane: Plane,
    pub(crate) handle: Handle,
    events: mpsc::Receiver<Event>,
    aside: Vec<Event>,
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        let (sender, events) = mpsc::channel();
        let sender = Mutex::new(sender);
        let deliver = Arc::new(move |event| _ = sender.lock().unwrap().send(event));
        let plane = Plane::start(config, deliver).unwrap();
        Self {
            handle: plane.handle(),
            plane,
            events,
            aside: Vec::new(),
        }
    }

    pub(crate) fn submit(&self, command: Command) {
        self.handle.submit(&mut vec![command]);
    }

    /// The next event that `wanted` makes something of; others are kept.
    pub(crate) fn event<T>(&mut self, wanted: impl Fn(&Event) -> Option<T>) -> T {
        if let Some(at) = self.aside.iter().position(|e| wanted(e).is_some()) {
            return wanted(&self.aside.remove(at)).unwrap();
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = self
                .events
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("no such event, but {:?}", self.aside));
            match wanted(&event) {
                Some(found) => return found,
                None => self.aside.push(event),
            }
        }
    }

    /// Whether such an event has been seen or is waiting.
    pub(crate) fn has_event(&mut self, wanted: impl Fn(&Event) -> bool) -> bool {
        self.aside.extend(self.events.try_iter());
        self.aside.iter().any(wanted)
    }

    pub(crate) fn allocate(
        &mut self,
        local: [Option<&str>; 2],
        streams: u8,
    ) -> Result<Call, Refusal> {
        let call = Call {
            session: SessionId::new(Slot::new(5), next()),
            local: local.map(|ip| ip.map(|ip| ip.parse().unwrap())),
            streams: Vec::new(),
        };
        self.again(&call, streams)
    }

    /// Allocates once more for the same session and addresses.
    pub(crate) fn again(&mut self, call: &Call, streams: u8) -> Result<Call, Refusal> {
        let session = call.session;
        self.submit(Command::Allocate {
            session,
            local: call.local,
            streams,
        });
        self.event(|event| match event {
            Event::Allocated {
                session: s,
                streams,
            } if *s == session => Some(Ok(Call {
                streams: streams.clone(),
                ..call.clone()
            })),
            Event::Refused {
                session: s,
                refusal,
            } if *s == session => Some(Err(*refusal)),
            _ => None,
        })
    }

    pub(crate) fn connect(&self, call: &Call, side: Side, stream: u8, remote: Option<Remote>) {
        self.submit(Command::Connect {
            session: call.session,
            stream,
            side,
            remote: remote.map(Box::new),
        });
    }

    pub(crate) fn close(&mut self, call: &Call) -> [SideStats; 2] {
        let session = call.session;
        self.submit(Command::Close { session });
        self.event(|event| match event {
            Event::Closed { session: s, stats } if *s == session => Some(**stats),
            _ => None,
        })
    }

    /// Waits until all commands submitted so far have been obeyed.
    pub(crate) fn settle(&mut self) {
        let session = SessionId::new(Slot::new(250), next());
        self.submit(Command::Close { session });
        self.event(|e| (e.session() == session).then_some(()));
    }

    /// A relayed call between two phones with one stream, both sides connected.
    pub(crate) fn call(&mut self, caller: &Phone, callee: &Phone) -> Call {
        let call = self
            .allocate([Some(caller.host()), Some(callee.host())], 1)
            .unwrap();
        self.connect(&call, Side::Caller, 0, Some(caller.remote()));
        self.connect(&call, Side::Callee, 0, Some(callee.remote()));
        self.settle();
        call
    }
}

/// Ports that no one has, for tests that need to know the whole range: `pairs` in a row. Each
/// call looks elsewhere, as the ports of the one before need not be bound yet.
pub(crate) fn free_ports(pairs: u16) -> RangeInclusive<u16> {
    static TRIES: AtomicU64 = AtomicU64::new(0);
    let free = |port: u16| {
        let bind = |host: &&str| UdpSocket::bind((*host, port)).is_ok();
        [V4, V6].iter().all(bind)
    };
    // Below the ports that the system deals out; processes start far apart.
    let origin = u64::from(std::process::id()) * 61;
    let place = || (origin + TRIES.fetch_add(1, Ordering::Relaxed)) % 170;
    let start = (0..1000)
        .map(|_| 24_000 + place() as u16 * 50)
        .find(|start| (*start..start + 2 * pairs).all(free))
        .unwrap();
    start..=start + 2 * pairs - 1
}

fn next() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) session: SessionId,
    pub(crate) local: [Option<IpAddr>; 2],
    pub(crate) streams: Vec<StreamPorts>,
}

impl Call {
    pub(crate) fn rtp(&self, side: Side, stream: usize) -> SocketAddr {
        let ip = self.local[side.index()].unwrap();
        SocketAddr::new(ip, self.streams[stream].rtp[side.index()])
    }

    pub(crate) fn rtcp(&self, side: Side, stream: usize) -> SocketAddr {
        let rtp = self.rtp(side, stream);
        SocketAddr::new(rtp.ip(), rtp.port() + 1)
    }
}

/// A phone with an RTP and an RTCP socket and one outgoing stream.
pub(crate) struct Phone {
    pub(crate) rtp: UdpSocket,
    pub(crate) rtcp: UdpSocket,
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) mux: bool,
}

impl Phone {
    pub(crate) fn new(host: &str, ssrc: u32) -> Self {
        let socket = || {
            let socket = UdpSocket::bind((host, 0)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        };
        Self {
            rtp: socket(),
            rtcp: socket(),
            ssrc,
            sequence: 65_530,
            timestamp: 0,
            mux: false,
        }
    }

    pub(crate) fn host(&self) -> &'static str {
        if self.rtp.local_addr().unwrap().is_ipv4() {
            V4
        } else {
            V6
        }
    }

    pub(crate) fn remote(&self) -> Remote {
        let rtp = self.rtp.local_addr().unwrap();
        match self.mux {
            true => Remote::plain(rtp, rtp),
            false => Remote::plain(rtp, self.rtcp.local_addr().unwrap()),
        }
    }

    /// The next packet of the stream, 20 ms of `fill`.
    pub(crate) fn packet(&mut self, fill: u8) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(160);
        rtp_packet(self.ssrc, self.sequence, self.timestamp, fill)
    }

    pub(crate) fn send(&mut self, to: SocketAddr, fill: u8) -> Vec<u8> {
        let packet = self.packet(fill);
        self.rtp.send_to(&packet, to).unwrap();
        packet
    }

    pub(crate) fn report(&self) -> Vec<u8> {
        let mut buffer = [0; 256];
        let mut writer = rtp::rtcp::Writer::new(&mut buffer);
        writer.receiver_report(self.ssrc, &[]);
        writer.cname(self.ssrc, "phone");
        writer.finish().to_vec()
    }
}

pub(crate) fn rtp_packet(ssrc: u32, sequence: u16, timestamp: u32, fill: u8) -> Vec<u8> {
    let mut packet = vec![fill; 172];
    rtp::Header {
        payload_type: 0,
        marker: false,
        sequence,
        timestamp,
        ssrc,
    }
    .encode(&mut packet);
    packet
}

/// What arrives next.
pub(crate) fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 65_536];
    let (len, from) = socket.recv_from(&mut buffer).expect("a packet in time");
    (buffer[..len].to_vec(), from)
}

/// Whether a packet is waiting, which stays there.
pub(crate) fn is_waiting(socket: &UdpSocket) -> bool {
    socket.set_nonblocking(true).unwrap();
    let waiting = socket.peek_from(&mut [0; 2048]).is_ok();
    socket.set_nonblocking(false).unwrap();
    waiting
}

/// Whether nothing is waiting.
pub(crate) fn is_quiet(socket: &UdpSocket) -> bool {
    socket.set_nonblocking(true).unwrap();
    let quiet = socket.recv_from(&mut [0; 2048]).is_err();
    socket.set_nonblocking(false).unwrap();
    quiet
}
