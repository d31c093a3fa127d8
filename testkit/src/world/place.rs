//! Where phones and server are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sip::Protocol;

/// Where a phone stands, seen from the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// UDP over IPv4.
    Udp,
    /// UDP over IPv6.
    Udp6,
    /// TCP over IPv4.
    Tcp,
    /// TLS over IPv4; it takes connections, too.
    Tls,
    /// A browser: its Contact leads nowhere, so only the connection that it made reaches it.
    Wss,
    /// UDP behind an address translator: its Contact leads nowhere.
    Nat,
}

impl Place {
    /// Every kind of place.
    pub const ALL: [Self; 6] = [
        Self::Udp,
        Self::Udp6,
        Self::Tcp,
        Self::Tls,
        Self::Wss,
        Self::Nat,
    ];

    /// What is spoken there.
    pub(crate) const fn protocol(self) -> Protocol {
        match self {
            Self::Udp | Self::Udp6 | Self::Nat => Protocol::Udp,
            Self::Tcp => Protocol::Tcp,
            Self::Tls => Protocol::Tls,
            Self::Wss => Protocol::Wss,
        }
    }

    /// Whether the server can make a connection to it.
    pub(super) const fn accepts(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }
}

/// The server's end of a way.
pub(crate) fn server_address(protocol: Protocol, v6: bool) -> SocketAddr {
    let ip = if v6 {
        IpAddr::V6(SERVER6)
    } else {
        IpAddr::V4(SERVER)
    };
    SocketAddr::new(ip, protocol.default_port())
}

pub(super) fn is_server(ip: IpAddr) -> bool {
    ip == IpAddr::V4(SERVER) || ip == IpAddr::V6(SERVER6)
}

pub(super) fn contact(place: Place, number: u16) -> SocketAddr {
    let ip = match place {
        Place::Udp | Place::Tcp | Place::Tls | Place::Wss => {
            IpAddr::V4(Ipv4Addr::new(10, 0, 0, number as u8))
        }
        Place::Udp6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number)),
        Place::Nat => IpAddr::V4(Ipv4Addr::new(192, 168, 1, number as u8)),
    };
    let port = if place == Place::Tls { 5061 } else { 5060 };
    SocketAddr::new(ip, port)
}

/// The host and port of a phone's Contact and Via.
pub(super) fn sent_by(place: Place, number: u16) -> String {
    match place {
        // RFC 7118 §5: a browser does not know its address.
        Place::Wss => format!("browser{number}.invalid"),
        _ => contact(place, number).to_string(),
    }
}

/// The name under which name servers know a phone.
pub(super) fn name(number: u16) -> String {
    format!("phone{number}.sim")
}

pub(super) fn source(place: Place, number: u16, connection: u16) -> SocketAddr {
    match place {
        Place::Udp | Place::Udp6 => contact(place, number),
        Place::Tcp | Place::Tls | Place::Wss => {
            SocketAddr::new(contact(place, number).ip(), 40_000 + connection)
        }
        Place::Nat => {
            let ip = IpAddr::V4(Ipv4Addr::new(203, 0, 113, number as u8));
            SocketAddr::new(ip, 50_000 + number)
        }
    }
}

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SERVER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);
