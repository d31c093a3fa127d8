//! Connections that stay: a few of them carry the messages of all users.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::poll::PollFd;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};

use super::outbox::{Outbox, Way};
use super::socket;
use crate::connection::{Connection, Secure};

/// Connections to one server that never block once they are up.
pub(super) struct Streams {
    connections: Vec<Connection>,
    peer: SocketAddr,
    buffer: Box<[u8]>,
}

impl Streams {
    /// `count` connections from `local` to `peer`, with TLS if `secure` says how.
    pub(super) fn connect(
        local: IpAddr,
        peer: SocketAddr,
        count: usize,
        secure: Option<&Secure>,
    ) -> io::Result<Self> {
        let open = |_| Connection::over(dial(local, peer)?, secure);
        let connections = (0..count.max(1)).map(open);
        Ok(Self {
            connections: connections.collect::<io::Result<_>>()?,
            peer,
            buffer: vec![0; READ].into(),
        })
    }

    /// Our addresses, one for each connection.
    pub(super) fn locals(&self) -> io::Result<Vec<SocketAddr>> {
        let connections = self.connections.iter();
        connections.map(Connection::local).collect()
    }

    /// Sends everything, each message on its connection, and empties the outbox.
    pub(super) fn send(&mut self, out: &mut Outbox) -> io::Result<()> {
        let count = self.connections.len();
        for (message, way) in out.messages() {
            let connection = &mut self.connections[way.connection % count];
            connection.queue(message);
        }
        out.clear();
        self.connections.iter_mut().try_for_each(Connection::flush)
    }

    /// Hands every whole message that has come to `take`; returns how many there were.
    pub(super) fn receive(&mut self, mut take: impl FnMut(&[u8], Way)) -> io::Result<usize> {
        let mut fds: Vec<_> = self.connections.iter().map(Connection::poll_fd).collect();
        socket::wait(&mut fds, Duration::ZERO)?;
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        let mut count = 0;
        for (number, connection) in self.connections.iter_mut().enumerate() {
            if !ready[number] {
                continue;
            }
            let way = Way {
                address: Some(self.peer),
                connection: number,
            };
            connection.read(&mut self.buffer)?;
            count += connection.frames(|message| take(message, way))?;
        }
        Ok(count)
    }

    /// The sockets, to wait for.
    pub(super) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.connections.iter().map(Connection::poll_fd)
    }
}

/// A connection from a free port of `local`.
fn dial(local: IpAddr, peer: SocketAddr) -> io::Result<TcpStream> {
    let family = match peer {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let fd: OwnedFd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let free = SockaddrStorage::from(SocketAddr::new(local, 0));
    bind(fd.as_raw_fd(), &free)?;
    connect(fd.as_raw_fd(), &SockaddrStorage::from(peer))?;
    Ok(TcpStream::from(fd))
}

/// Octets that are read at a time.
const READ: usize = 64 * 1024;
