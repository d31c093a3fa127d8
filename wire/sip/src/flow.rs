//! How a message travels: transport protocol, our end, the peer's end, the connection.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// A transport protocol of SIP.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Protocol {
    /// Datagrams.
    Udp,
    /// A plain stream.
    Tcp,
}

impl Protocol {
    /// Whether the transport itself retransmits (RFC 3261 §17: timers A, E, G, H… depend on it).
    #[must_use]
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// The name in a Via header: `UDP`.
    #[must_use]
    pub const fn via_name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }

    /// The name in a URI's transport parameter and in settings: `udp`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Udp, Self::Tcp]
            .into_iter()
            .find(|protocol| name.eq_ignore_ascii_case(protocol.name()))
            .ok_or(UnknownProtocol)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name is not that of a transport that we speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown transport; known are udp and tcp")]
pub struct UnknownProtocol;

/// One connection of a stream transport, unique for the life of the process; never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ConnectionId(pub u64);

/// The way between us and a peer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    /// The transport protocol.
    pub protocol: Protocol,
    /// Our address on this way, never unspecified: what the peer sees when nothing translates it.
    pub local: SocketAddr,
    /// The peer's address as we see it.
    pub remote: SocketAddr,
    /// The connection, on stream transports, if there is one.
    pub connection: Option<ConnectionId>,
}

impl Flow {
    /// Whether a message that we sent along `self` may be answered along `other`.
    #[must_use]
    pub fn same_peer(&self, other: &Self) -> bool {
        self.protocol == other.protocol && self.remote == other.remote
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.protocol, self.remote)
    }
}
