//! Copies of all messages for a capture server (HEP).
//!
//! The messages wait in a bounded queue for a thread of their own, so that a slow or absent capture
//! server costs nobody but itself.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use hep::{Agent, Packet, Transport};

use super::message::{Traced, WallClock};
use crate::settings::server::Hep;

/// Sends copies to one capture server. Dropping it sends what waits, for a moment.
#[derive(Debug)]
pub(super) struct Export {
    settings: Hep,
    agent: Agent,
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct State {
    packets: VecDeque<Vec<u8>>,
    octets: usize,
    /// Packets that did not get there, since this was last logged.
    lost: u64,
    closing: bool,
}

impl Export {
    pub(super) fn start(settings: &Hep) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let thread = {
            let (queue, to) = (Arc::clone(&queue), settings.clone());
            Builder::new()
                .name("hep".into())
                .spawn(move || queue.send(&to))?
        };
        Ok(Self {
            agent: Agent {
                id: settings.id,
                key: settings.key.clone(),
                node: settings.node.clone(),
            },
            settings: settings.clone(),
            queue,
            thread: Some(thread),
        })
    }

    /// What it was started with.
    pub(super) fn settings(&self) -> &Hep {
        &self.settings
    }

    /// Sends a copy. When too many wait, it is counted as lost.
    pub(super) fn put(&self, traced: &Traced, clock: &WallClock) {
        let mut octets = Vec::with_capacity(traced.bytes.len() + HEADERS);
        let encoded = packet(traced, clock, |packet| {
            packet.encode(&self.agent, &mut octets)
        });
        let mut state = self.queue.lock();
        if encoded.is_err() || state.octets + octets.len() > MOST_OCTETS {
            state.lost += 1;
            return;
        }
        state.octets += octets.len();
        state.packets.push_back(octets);
        self.queue.filled.notify_one();
    }

    /// Counts messages that were lost before they came here.
    pub(super) fn missed(&self, count: u64) {
        self.queue.lock().lost += count;
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        self.queue.lock().closing = true;
        self.queue.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

fn packet<T>(traced: &Traced, clock: &WallClock, with: impl FnOnce(Packet<'_>) -> T) -> T {
    let (ours, theirs) = (traced.flow.local, traced.flow.remote);
    let (from, to) = match traced.direction {
        engine::Direction::Received => (theirs, ours),
        engine::Direction::Sent => (ours, theirs),
    };
    with(Packet {
        from,
        to,
        transport: match traced.flow.protocol {
            sip::Protocol::Udp => Transport::Udp,
            _ => Transport::Tcp,
        },
        since_1970: clock.since_1970(traced.at),
        correlation: traced.call.as_ref().map(|call| call.as_str()),
        payload: &traced.bytes,
    })
}

impl Queue {
    /// Sends what comes until the end.
    fn send(&self, to: &Hep) {
        let mut server = Collector::new(to);
        let mut warned: Option<Instant> = None;
        while let Some(batch) = self.next() {
            let lost = batch.iter().filter(|packet| !server.send(packet)).count();
            let mut state = self.lock();
            state.lost += lost as u64;
            if state.lost > 0 && warned.is_none_or(|at| at.elapsed() > WARN_EVERY) {
                let messages = std::mem::take(&mut state.lost);
                drop(state);
                tracing::warn!(messages, "the capture server did not get all messages");
                warned = Some(Instant::now());
            }
        }
    }

    /// Waits for packets and takes all; none at the end.
    fn next(&self) -> Option<VecDeque<Vec<u8>>> {
        let mut state = self.lock();
        while state.packets.is_empty() && !state.closing {
            let woken = self.filled.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        state.octets = 0;
        let packets = std::mem::take(&mut state.packets);
        (!packets.is_empty()).then_some(packets)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The queue is whole after each statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to the capture server.
struct Collector {
    address: SocketAddr,
    tcp: bool,
    way: Option<Way>,
    /// After a failure nothing is tried before this time.
    retry: Option<Instant>,
}

enum Way {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Collector {
    fn new(to: &Hep) -> Self {
        Self {
            address: to.address,
            tcp: to.protocol == sip::Protocol::Tcp,
            way: None,
            retry: None,
        }
    }

    /// Whether the packet was sent; on UDP nobody says whether it came.
    fn send(&mut self, packet: &[u8]) -> bool {
        if self.way.is_none() && self.retry.is_none_or(|at| at <= Instant::now()) {
            self.way = self.connect().ok();
            self.retry = Some(Instant::now() + RETRY);
        }
        let sent = match &mut self.way {
            None => return false,
            Some(Way::Udp(socket)) => socket.send(packet).map(drop),
            Some(Way::Tcp(stream)) => stream.write_all(packet),
        };
        if sent.is_err() && self.tcp {
            // Half a packet may be on its way: only a new connection begins with a whole one.
            self.way = None;
        }
        sent.is_ok()
    }

    fn connect(&self) -> io::Result<Way> {
        if self.tcp {
            let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
            stream.set_write_timeout(Some(PATIENCE))?;
            return Ok(Way::Tcp(stream));
        }
        let any: SocketAddr = if self.address.is_ipv4() {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(self.address)?;
        Ok(Way::Udp(socket))
    }
}

/// Octets that wait for the capture server; what comes then is lost to it, and counted.
const MOST_OCTETS: usize = 8 << 20;

/// What a packet has besides the message.
const HEADERS: usize = 256;

/// How long the capture server may take to accept a connection or to read.
const PATIENCE: Duration = Duration::from_secs(3);

/// After a connection failed, messages are lost for so long before another is tried.
const RETRY: Duration = Duration::from_secs(5);

const WARN_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use base::{Mint, Slot};
    use sip::{Flow, Protocol};

    use super::*;

    fn settings(protocol: Protocol, address: SocketAddr) -> Hep {
        Hep {
            protocol,
            address,
            id: 7,
            key: "k".into(),
            node: "n".into(),
        }
    }

    fn traced(bytes: &[u8]) -> Traced {
        Traced {
            at: Instant::now(),
            direction: engine::Direction::Sent,
            flow: Flow {
                protocol: Protocol::Udp,
                local: "192.0.2.1:5060".parse().unwrap(),
                remote: "192.0.2.7:5070".parse().unwrap(),
                connection: None,
                tls: sip::TlsPeer::ANY,
            },
            bytes: bytes.into(),
            call: Some(Mint::new(Slot::new(7), [0; 32]).token()),
        }
    }

    fn ends_with(packet: &[u8], text: &[u8]) {
        assert_eq!(packet[..4], *b"HEP3");
        let length = u16::from_be_bytes([packet[4], packet[5]]);
        assert_eq!(usize::from(length), packet.len());
        assert!(packet.ends_with(text));
    }

    #[test]
    fn a_datagram_for_each_message() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let export = Export::start(&settings(Protocol::Udp, server.local_addr().unwrap()));
        let export = export.unwrap();
        let clock = WallClock::new();
        for text in ["one", "two"] {
            export.put(&traced(text.as_bytes()), &clock);
            let mut buffer = [0; 1000];
            let length = server.recv(&mut buffer).unwrap();
            ends_with(&buffer[..length], text.as_bytes());
        }
    }

    #[test]
    fn a_stream_has_them_one_after_the_other_and_the_end_waits_for_all() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let export = Export::start(&settings(Protocol::Tcp, server.local_addr().unwrap()));
        let export = export.unwrap();
        let clock = WallClock::new();
        export.put(&traced(b"one"), &clock);
        export.put(&traced(b"two"), &clock);
        drop(export);
        let mut octets = Vec::new();
        server.accept().unwrap().0.read_to_end(&mut octets).unwrap();
        let first = usize::from(u16::from_be_bytes([octets[4], octets[5]]));
        ends_with(&octets[..first], b"one");
        ends_with(&octets[first..], b"two");
    }

    #[test]
    fn without_a_reader_the_queue_is_bounded() {
        let queue = Arc::new(Queue::default());
        let address = "127.0.0.1:9".parse().unwrap();
        let export = Export {
            settings: settings(Protocol::Tcp, address),
            agent: Agent {
                id: 1,
                key: String::new(),
                node: String::new(),
            },
            queue: Arc::clone(&queue),
            thread: None,
        };
        let (message, clock) = (traced(&[b'x'; 60_000]), WallClock::new());
        for _ in 0..200 {
            export.put(&message, &clock);
        }
        export.put(&traced(&[b'x'; 70_000]), &clock);
        let state = queue.lock();
        assert!(
            state.octets <= MOST_OCTETS && state.lost > 60,
            "{}",
            state.lost
        );
        assert_eq!(state.packets.len() as u64 + state.lost, 201);
    }
}
