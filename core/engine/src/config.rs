//! What the engine needs to know before it starts.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use sip::Protocol;

use crate::tls::Tls;

/// Settings of the engine.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses to listen on.
    pub listen: Vec<Listen>,
    /// Signalling threads; none: one for each CPU that the process may use, at most 8.
    pub threads: Option<NonZeroUsize>,
    /// Certificates; needed if an encrypted transport is listened on or connected to.
    pub tls: Option<Tls>,
    /// What peers may use up.
    pub limits: Limits,
}

impl Config {
    /// The default settings with these addresses.
    #[must_use]
    pub fn new(listen: Vec<Listen>) -> Self {
        Self {
            listen,
            threads: None,
            tls: None,
            limits: Limits::default(),
        }
    }

    pub(crate) fn thread_count(&self) -> usize {
        let cpus = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.threads
            .map_or_else(|| cpus().min(8), NonZeroUsize::get)
            .min(base::SLOTS)
    }
}

/// One address to listen on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Listen {
    /// The transport protocol.
    pub protocol: Protocol,
    /// Address and port. The unspecified address stands for all addresses of its family; port 0 for
    /// any free port.
    pub address: SocketAddr,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.protocol, self.address)
    }
}

/// Bounds on what peers may use up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest header section and largest body of a message on a connection, in octets each.
    pub message: usize,
    /// Most connections at once.
    pub connections: usize,
    /// Most connections at once with one peer address.
    pub connections_per_peer: usize,
    /// How long a connection may take to be made.
    pub connect: Duration,
    /// How long a connection may take to agree on keys, whatever comes meanwhile.
    pub handshake: Duration,
    /// How long a begun message may stay unfinished.
    pub unfinished: Duration,
    /// How long a connection may stay silent that never carried a valid message.
    pub unproven: Duration,
    /// How long any other connection may stay silent.
    pub idle: Duration,
    /// Octets that wait for a slow reader before its connection is closed.
    pub unsent: usize,
    /// Inputs that wait for one thread.
    pub mailbox: usize,
    /// Octets of messages that wait for one thread.
    pub mailbox_bytes: usize,
    /// Requests a second from one source that has not proved who it is: an IPv4 address, or the /64 of
    /// an IPv6 address. Twice as many may come at once. Beyond that 100 a second are answered with 503,
    /// and the rest is dropped. Zero: no limit.
    pub strangers: u32,
    /// TLS handshakes a second with one source; twice as many may begin at once, and beyond that
    /// connections are closed before they cost anything. Zero: no limit.
    pub handshakes_per_peer: u32,
    /// TLS handshakes a second on one thread; beyond that connections wait to be accepted, as many as
    /// the system keeps. Zero: no limit.
    pub handshakes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 64 * 1024,
            connections: 8192,
            connections_per_peer: 1024,
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            unfinished: Duration::from_secs(30),
            unproven: Duration::from_secs(60),
            idle: Duration::from_secs(3600),
            unsent: 256 * 1024,
            mailbox: 4096,
            mailbox_bytes: 16 << 20,
            strangers: 0,
            handshakes_per_peer: 50,
            handshakes: 300,
        }
    }
}
