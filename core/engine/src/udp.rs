//! A thread's sockets for datagrams, and the flows of what comes and goes there.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use sip::{Flow, Protocol};
use socket2::Socket;
use udp::{Inbox, Outgoing};

/// One thread's socket for one address.
#[derive(Debug)]
pub(crate) struct UdpSocket {
    socket: Socket,
    address: SocketAddr,
}

impl UdpSocket {
    /// Takes a bound socket.
    pub(crate) fn new(socket: Socket) -> io::Result<Self> {
        let address = socket
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { socket, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How well this socket can send from `local`: 0 not at all, more is better.
    pub(crate) fn suits(&self, local: SocketAddr) -> u8 {
        if self.address.is_ipv4() != local.is_ipv4() {
            return 0;
        }
        let wildcard = self.address.ip().is_unspecified();
        match (self.address.port() == local.port(), wildcard) {
            (true, _) if self.address.ip() == local.ip() => 4,
            (true, true) => 3,
            (_, true) => 2,
            _ => 1,
        }
    }

    /// How a datagram came that was sent by `remote` to `local`, which is our address if the socket
    /// has none of its own.
    pub(crate) fn flow(&self, remote: SocketAddr, local: Option<IpAddr>) -> Flow {
        let mut address = self.address;
        if address.ip().is_unspecified()
            && let Some(ip) = local
        {
            address.set_ip(ip);
        }
        Flow {
            protocol: Protocol::Udp,
            local: address,
            remote,
            connection: None,
            tls: sip::TlsPeer::ANY,
        }
    }

    /// A datagram that goes along `flow`.
    pub(crate) fn outgoing<'a>(&self, bytes: &'a [u8], flow: &Flow) -> Outgoing<'a> {
        let several = self.address.ip().is_unspecified() && !flow.local.ip().is_unspecified();
        Outgoing {
            bytes,
            from: several.then(|| flow.local.ip()),
            to: flow.remote,
        }
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Memory for the datagrams that a thread takes with one system call.
pub(crate) fn inbox() -> Inbox {
    Inbox::new(udp::BATCH, LARGEST, 0)
}

/// No datagram is larger.
const LARGEST: usize = 65_535;
