//! A non-blocking UDP socket.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{self, Errno};
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// Binds to `address`; datagrams sent carry `dscp`.
    pub(crate) fn bind(address: SocketAddr, dscp: u8) -> io::Result<Self> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = net::socket_with(family, SocketType::DGRAM, flags, None)?;
        let class = dscp << 2;
        // A system that forbids marking still carries calls.
        let _ = match address {
            SocketAddr::V4(_) => net::sockopt::set_ip_tos(&fd, class),
            SocketAddr::V6(_) => {
                net::sockopt::set_ipv6_v6only(&fd, true)?;
                net::sockopt::set_ipv6_tclass(&fd, class.into())
            }
        };
        net::bind(&fd, &address)?;
        Ok(Self(fd))
    }

    /// Takes one datagram; its length is cut at the buffer's.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (len, _, from) = net::recvfrom(&self.0, buffer, RecvFlags::empty())?;
        Ok((len, from.ok_or(Errno::AFNOSUPPORT)?.try_into()?))
    }

    /// Sends to `to`. Whatever keeps the datagram from leaving is treated like loss on the way.
    pub(crate) fn send_to(&self, datagram: &[u8], to: SocketAddr) {
        if let Err(Errno::CONNREFUSED) = net::sendto(&self.0, datagram, SendFlags::empty(), &to) {
            // The error told of an earlier datagram and this one has not been tried.
            let _ = net::sendto(&self.0, datagram, SendFlags::empty(), &to);
        }
    }

    /// Sends to the connected peer, like [`send_to`](Self::send_to).
    pub(crate) fn send(&self, datagram: &[u8]) {
        if let Err(Errno::CONNREFUSED) = net::send(&self.0, datagram, SendFlags::empty()) {
            let _ = net::send(&self.0, datagram, SendFlags::empty());
        }
    }

    /// From now on receives from `peer` only; true if it worked.
    pub(crate) fn connect(&self, peer: SocketAddr) -> bool {
        net::connect(&self.0, &peer).is_ok()
    }

    /// Receives from anyone again.
    pub(crate) fn disconnect(&self) {
        // Cannot fail for a bound datagram socket.
        let _ = net::connect_unspec(&self.0);
    }

    /// Throws away what has arrived.
    pub(crate) fn drain(&self) {
        // Bounded, so that a flood cannot hold the worker; one byte is enough to take a datagram.
        for _ in 0..MAX_DRAIN {
            match self.receive(&mut [0]) {
                Err(Errno::AGAIN) => break,
                _ => continue,
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Two sockets on an even port and the next one.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    pub(crate) rtp: Socket,
    pub(crate) rtcp: Socket,
}

impl Pair {
    pub(crate) fn bind(ip: IpAddr, port: u16, dscp: u8) -> io::Result<Self> {
        Ok(Self {
            ip,
            port,
            rtp: Socket::bind(SocketAddr::new(ip, port), dscp)?,
            rtcp: Socket::bind(SocketAddr::new(ip, port + 1), dscp)?,
        })
    }
}

const MAX_DRAIN: usize = 1024;
