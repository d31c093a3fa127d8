//! How the datagrams of a leg come and go: through ports of its own, or through one that it shares.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use udp::{BATCH, Outbox, Outgoing};

use crate::relay::SIZE;
use crate::socket::{Pair, Socket};

/// A leg's way to the network.
#[derive(Debug)]
pub(crate) enum Transport {
    /// A port for RTP and the next one for RTCP.
    Own(Pair),
    /// A port that serves many legs: what comes is sorted by the [`Hub`](crate::hub::Hub) with this
    /// number.
    Shared { hub: usize, outlet: Rc<Outlet> },
}

impl Transport {
    /// Where RTP comes to.
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Own(pair) => SocketAddr::new(pair.ip, pair.port),
            Self::Shared { outlet, .. } => outlet.address,
        }
    }

    /// Where RTCP comes to, if that is a port of its own.
    pub(crate) fn rtcp_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Own(pair) => Some(SocketAddr::new(pair.ip, pair.port + 1)),
            Self::Shared { .. } => None,
        }
    }

    /// Sends RTP, or what shares its port.
    pub(crate) fn send(&self, datagram: &[u8], to: SocketAddr) {
        match self {
            Self::Own(pair) => pair.rtp.send_to(datagram, to),
            Self::Shared { outlet, .. } => outlet.send(datagram, to),
        }
    }

    /// Sends RTCP that has an address of its own.
    pub(crate) fn send_rtcp(&self, datagram: &[u8], to: SocketAddr) {
        match self {
            Self::Own(pair) => pair.rtcp.send_to(datagram, to),
            Self::Shared { outlet, .. } => outlet.send(datagram, to),
        }
    }

    /// Marks what is sent; none: as everything is. A shared port marks all alike.
    pub(crate) fn mark(&self, tos: Option<u8>) {
        if let Self::Own(pair) = self {
            pair.mark(tos);
        }
    }

    /// Ties the RTP port to one peer; false if that is not possible.
    pub(crate) fn connect(&self, peer: SocketAddr) -> bool {
        match self {
            Self::Own(pair) => pair.rtp.connect(peer),
            Self::Shared { .. } => false,
        }
    }

    /// Sends RTP to the peer that the port is tied to.
    pub(crate) fn send_connected(&self, datagram: &[u8]) {
        if let Self::Own(pair) = self {
            pair.rtp.send(datagram);
        }
    }

    /// Unties it.
    pub(crate) fn disconnect(&self) {
        if let Self::Own(pair) = self {
            pair.rtp.disconnect();
        }
    }

    /// Throws away what has arrived for the leg that was here before.
    pub(crate) fn drain(&self) {
        if let Self::Own(pair) = self {
            pair.rtp.drain();
            pair.rtcp.drain();
        }
    }
}

/// The way out of a shared port: datagrams gather until the worker has handled all that came, or a
/// batch is full.
#[derive(Debug)]
pub(crate) struct Outlet {
    address: SocketAddr,
    /// What comes is dealt out among them; the first one sends.
    pub(crate) sockets: Vec<Socket>,
    queue: RefCell<Queue>,
}

impl Outlet {
    /// The way out of `sockets`, which are bound to `address`.
    pub(crate) fn new(address: SocketAddr, sockets: Vec<Socket>) -> Self {
        Self {
            address,
            sockets,
            queue: RefCell::new(Queue {
                outbox: Outbox::new(),
                bytes: Vec::with_capacity(BATCH * SIZE),
                letters: Vec::with_capacity(BATCH),
            }),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn send(&self, datagram: &[u8], to: SocketAddr) {
        let mut queue = self.queue.borrow_mut();
        queue.bytes.extend_from_slice(datagram);
        queue.letters.push((datagram.len(), to));
        if queue.letters.len() == BATCH {
            queue.flush(&self.sockets);
        }
    }

    /// Sends what has gathered.
    pub(crate) fn flush(&self) {
        self.queue.borrow_mut().flush(&self.sockets);
    }
}

/// Datagrams one after the other, with the length of each and whom it is for.
#[derive(Debug)]
struct Queue {
    outbox: Outbox,
    bytes: Vec<u8>,
    letters: Vec<(usize, SocketAddr)>,
}

impl Queue {
    fn flush(&mut self, sockets: &[Socket]) {
        let (Some(socket), false) = (sockets.first(), self.letters.is_empty()) else {
            return;
        };
        let mut rest = &self.bytes[..];
        let datagrams = self.letters.iter().map(|&(len, to)| {
            let (bytes, after) = rest.split_at(len);
            rest = after;
            let from = None;
            (Outgoing { bytes, from, to }, ())
        });
        // A datagram that can't be sent is lost, as any may be.
        self.outbox.send(socket, datagrams, |(), _| {});
        self.bytes.clear();
        self.letters.clear();
    }
}
