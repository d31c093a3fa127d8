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
        Self::open(address, dscp, false)
    }

    /// Binds several sockets to `address`, among which the system deals out what comes, by its source:
    /// each has a queue, and one queue alone is too short for many calls.
    pub(crate) fn bind_all(address: SocketAddr, dscp: u8, count: usize) -> io::Result<Vec<Self>> {
        // Nobody else may have it, which sharing would not show.
        drop(Self::bind(address, dscp)?);
        let open = |_| {
            let socket = Self::open(address, dscp, true)?;
            // Cut to what the system allows.
            let _ = net::sockopt::set_socket_recv_buffer_size(&socket.0, QUEUE);
            Ok(socket)
        };
        (0..count).map(open).collect()
    }

    fn open(address: SocketAddr, dscp: u8, shared: bool) -> io::Result<Self> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = net::socket_with(family, SocketType::DGRAM, flags, None)?;
        if address.is_ipv6() {
            net::sockopt::set_ipv6_v6only(&fd, true)?;
        }
        if shared {
            net::sockopt::set_socket_reuseport(&fd, true)?;
        }
        net::bind(&fd, &address)?;
        let socket = Self(fd);
        socket.mark(address.ip(), dscp << 2);
        Ok(socket)
    }

    /// Marks what is sent from this address of ours.
    fn mark(&self, own: IpAddr, class: u8) {
        // A system that forbids marking still carries calls.
        let _ = match own {
            IpAddr::V4(_) => net::sockopt::set_ip_tos(&self.0, class),
            IpAddr::V6(_) => net::sockopt::set_ipv6_tclass(&self.0, class.into()),
        };
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
    dscp: u8,
}

impl Pair {
    pub(crate) fn bind(ip: IpAddr, port: u16, dscp: u8) -> io::Result<Self> {
        Ok(Self {
            ip,
            port,
            rtp: Socket::bind(SocketAddr::new(ip, port), dscp)?,
            rtcp: Socket::bind(SocketAddr::new(ip, port + 1), dscp)?,
            dscp,
        })
    }

    /// Marks what is sent; none: as it was at first.
    pub(crate) fn mark(&self, tos: Option<u8>) {
        let class = tos.unwrap_or(self.dscp << 2);
        [&self.rtp, &self.rtcp]
            .iter()
            .for_each(|socket| socket.mark(self.ip, class));
    }
}

const MAX_DRAIN: usize = 1024;
/// Octets that may wait at a socket of a shared port.
const QUEUE: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn rfc2474_3_a_pair_is_marked_and_forgets_it() {
        let class = |pair: &Pair| match pair.ip {
            IpAddr::V4(_) => net::sockopt::ip_tos(&pair.rtcp.0).unwrap().into(),
            IpAddr::V6(_) => net::sockopt::ipv6_tclass(&pair.rtp.0).unwrap(),
        };
        for ip in [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            Ipv6Addr::LOCALHOST.into(),
        ] {
            let mut ports = (24_000..24_990).step_by(2);
            let pair = ports
                .find_map(|port| Pair::bind(ip, port, 46).ok())
                .unwrap();
            assert_eq!(class(&pair), 184);
            pair.mark(Some(32));
            assert_eq!(class(&pair), 32);
            pair.mark(None);
            assert_eq!(class(&pair), 184);
        }
    }
}
