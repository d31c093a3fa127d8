//! How a message travels: transport protocol, our end, the peer's end, the connection.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::str::FromStr;

/// A transport protocol of SIP.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Protocol {
    /// Datagrams.
    Udp,
    /// A plain stream.
    Tcp,
    /// An encrypted stream (RFC 3261 §26.2.1).
    Tls,
    /// A plain WebSocket (RFC 7118).
    Ws,
    /// An encrypted WebSocket.
    Wss,
    /// From machine to machine inside this process. Nobody outside can send by it, so what comes this
    /// way is from ourselves.
    Local,
}

impl Protocol {
    /// All protocols that a URI, a Via or a setting may name.
    pub const NAMED: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    /// Whether the transport itself retransmits (RFC 3261 §17: timers A, E, G, H… depend on it).
    #[must_use]
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// Whether nobody on the way can read or change what is sent.
    #[must_use]
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Wss | Self::Local)
    }

    /// Whether whoever uses it can be reached only by the connection that it made (RFC 7118 §5).
    #[must_use]
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    /// The port where a URI names none (RFC 3261 §19.1.2, RFC 7118 §5.5).
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp | Self::Local => 5060,
            Self::Tls => 5061,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }

    /// The name in a Via header: `UDP`.
    #[must_use]
    pub const fn via_name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
            Self::Local => "LOCAL",
        }
    }

    /// The name in settings: `udp`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Ws => "ws",
            Self::Wss => "wss",
            Self::Local => "local",
        }
    }
}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::NAMED
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
#[error("unknown transport; known are udp, tcp, tls, ws and wss")]
pub struct UnknownProtocol;

/// Whose certificate the other end of an encrypted connection must show, or has shown: a number in the
/// engine's list of peers that are known by name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct TlsPeer(pub u16);

impl TlsPeer {
    /// Nobody in particular: a client without a certificate, or a way without encryption.
    pub const ANY: Self = Self(0);
}

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
    /// Whose certificate the peer must show, or has shown.
    pub tls: TlsPeer,
}

impl Flow {
    /// The way from one machine of this process to another. The address in it is only a name.
    #[must_use]
    pub const fn inside() -> Self {
        let ourselves = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5060));
        Self {
            protocol: Protocol::Local,
            local: ourselves,
            remote: ourselves,
            connection: None,
            tls: TlsPeer::ANY,
        }
    }

    /// The same way as the other end sees it.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            local: self.remote,
            remote: self.local,
            ..self
        }
    }

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
