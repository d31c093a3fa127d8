//! Where phones and server are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where a phone stands, seen from the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// UDP over IPv4.
    Udp,
    /// UDP over IPv6.
    Udp6,
    /// TCP over IPv4.
    Tcp,
    /// UDP behind an address translator: its Contact leads nowhere.
    Nat,
}

pub(crate) fn server_address(v6: bool) -> SocketAddr {
    let ip = if v6 {
        IpAddr::V6(SERVER6)
    } else {
        IpAddr::V4(SERVER)
    };
    SocketAddr::new(ip, 5060)
}

pub(super) fn is_server(ip: IpAddr) -> bool {
    ip == IpAddr::V4(SERVER) || ip == IpAddr::V6(SERVER6)
}

pub(super) fn contact(place: Place, number: u16) -> SocketAddr {
    let ip = match place {
        Place::Udp | Place::Tcp => IpAddr::V4(Ipv4Addr::new(10, 0, 0, number as u8)),
        Place::Udp6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number)),
        Place::Nat => IpAddr::V4(Ipv4Addr::new(192, 168, 1, number as u8)),
    };
    SocketAddr::new(ip, 5060)
}

pub(super) fn source(place: Place, number: u16, connection: u16) -> SocketAddr {
    match place {
        Place::Udp | Place::Udp6 => contact(place, number),
        Place::Tcp => SocketAddr::new(contact(place, number).ip(), 40_000 + connection),
        Place::Nat => {
            let ip = IpAddr::V4(Ipv4Addr::new(203, 0, 113, number as u8));
            SocketAddr::new(ip, 50_000 + number)
        }
    }
}

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SERVER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);
