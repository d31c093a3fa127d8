//! Sockets towards peers.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use ice::turn::RelayId;

use crate::Relays;

/// The relays' sockets.
pub(crate) struct Sockets {
    settings: Relays,
    sockets: HashMap<RelayId, UdpSocket>,
}

impl Sockets {
    pub(crate) fn new(settings: Relays) -> Self {
        Self {
            settings,
            sockets: HashMap::new(),
        }
    }

    /// Makes a socket at a port that nobody can guess; which address its client is told.
    ///
    /// # Source
    /// RFC 8656 §7.2: ports are chosen at random.
    pub(crate) fn bind(&mut self, relay: RelayId, ipv6: bool, even: bool) -> Option<SocketAddr> {
        let of_family = |ip: &&IpAddr| ip.is_ipv6() == ipv6;
        let bind = *self.settings.bind.iter().find(of_family)?;
        let advertise = *self.settings.advertise.iter().find(of_family)?;
        let (low, high) = (*self.settings.ports.start(), *self.settings.ports.end());
        let count = u32::from(high.checked_sub(low)?) + 1;
        let first = random() % count;
        for step in 0..count.min(TRIES) {
            let port = low + ((first + step) % count) as u16;
            if even && port % 2 == 1 {
                continue;
            }
            if let Ok(socket) = open(SocketAddr::new(bind, port)) {
                self.sockets.insert(relay, socket);
                return Some(SocketAddr::new(advertise, port));
            }
        }
        None
    }

    pub(crate) fn of(&self, relay: RelayId) -> Option<&UdpSocket> {
        self.sockets.get(&relay)
    }

    /// Closes it; its entry in an epoll set goes with it.
    pub(crate) fn close(&mut self, relay: RelayId) {
        self.sockets.remove(&relay);
    }
}

fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// 32 bits from the operating system, which always has some.
fn random() -> u32 {
    let mut octets = [0; 4];
    let _ = rustix::rand::getrandom(&mut octets, rustix::rand::GetRandomFlags::empty());
    u32::from_ne_bytes(octets)
}

/// Ports that are tried before a client hears that there is none: others may use the range too.
const TRIES: u32 = 512;
