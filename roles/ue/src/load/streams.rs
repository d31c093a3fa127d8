//! Connections that stay: a few of them carry the messages of all users.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use sip::framing::{Frame, Framer, Limits};

use super::outbox::{Outbox, Way};
use super::socket;

/// Connections to one server that never block once they are up.
pub(super) struct Streams {
    connections: Vec<Connection>,
    peer: SocketAddr,
    buffer: Box<[u8]>,
}

/// With whom TLS is spoken, and how.
pub(super) struct Secure {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

struct Connection {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    framer: Framer,
    /// What the system has not taken yet. The requests under way are its bound: each is written once.
    waiting: Vec<u8>,
    sent: usize,
}

impl Streams {
    /// `count` connections from `local` to `peer`, with TLS if `secure` says how.
    pub(super) fn connect(
        local: IpAddr,
        peer: SocketAddr,
        count: usize,
        secure: Option<&Secure>,
    ) -> io::Result<Self> {
        let connections = (0..count.max(1)).map(|_| Connection::open(local, peer, secure));
        Ok(Self {
            connections: connections.collect::<io::Result<_>>()?,
            peer,
            buffer: vec![0; READ].into(),
        })
    }

    /// Our addresses, one for each connection.
    pub(super) fn locals(&self) -> io::Result<Vec<SocketAddr>> {
        let connections = self.connections.iter();
        connections.map(|one| one.socket.local_addr()).collect()
    }

    /// Sends everything, each message on its connection, and empties the outbox.
    pub(super) fn send(&mut self, out: &mut Outbox) -> io::Result<()> {
        let count = self.connections.len();
        for (message, way) in out.messages() {
            let connection = &mut self.connections[way.connection % count];
            connection.waiting.extend_from_slice(message);
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

impl Connection {
    fn open(local: IpAddr, peer: SocketAddr, secure: Option<&Secure>) -> io::Result<Self> {
        let mut socket = dial(local, peer)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(HANDSHAKE))?;
        let tls = match secure {
            None => None,
            Some(Secure { config, name }) => {
                let tls = ClientConnection::new(Arc::clone(config), name.clone());
                let mut tls = Box::new(tls.map_err(io::Error::other)?);
                while tls.is_handshaking() {
                    tls.complete_io(&mut socket)?;
                }
                Some(tls)
            }
        };
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            tls,
            framer: Framer::new(Limits::default()),
            waiting: Vec::new(),
            sent: 0,
        })
    }

    fn poll_fd(&self) -> PollFd<'_> {
        let is_writing = self.sent < self.waiting.len()
            || self.tls.as_ref().is_some_and(|tls| tls.wants_write());
        let mut flags = PollFlags::POLLIN;
        flags.set(PollFlags::POLLOUT, is_writing);
        PollFd::new(self.socket.as_fd(), flags)
    }

    /// Writes what waits, as far as the system takes it.
    fn flush(&mut self) -> io::Result<()> {
        loop {
            let rest = &self.waiting[self.sent..];
            let written = match &mut self.tls {
                Some(tls) if tls.wants_write() => tls.write_tls(&mut self.socket).map(|_| 0),
                _ if rest.is_empty() => break,
                Some(tls) => tls.writer().write(rest),
                None => self.socket.write(rest),
            };
            match written {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.waiting.clear();
        self.sent = 0;
        Ok(())
    }

    /// Takes what has come, at most [`ROUNDS`] times a buffer.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..ROUNDS {
            let read = match &mut self.tls {
                Some(tls) => tls.read_tls(&mut self.socket),
                None => self.socket.read(buffer),
            };
            match read {
                Ok(0) => return Err(closed()),
                Ok(read) if self.tls.is_none() => self.framer.push(&buffer[..read]),
                Ok(_) => self.decrypt(buffer)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn decrypt(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            return Ok(());
        };
        tls.process_new_packets().map_err(io::Error::other)?;
        loop {
            match tls.reader().read(buffer) {
                Ok(0) => return Err(closed()),
                Ok(read) => self.framer.push(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Hands over each whole message; returns how many there were.
    fn frames(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<usize> {
        let mut count = 0;
        while let Some(frame) = self.framer.next_frame() {
            match frame {
                Frame::Message(message) => {
                    count += 1;
                    take(message);
                }
                Frame::Ping => self.waiting.extend_from_slice(b"\r\n"),
                Frame::Broken { fault, .. } => {
                    return Err(io::Error::new(ErrorKind::InvalidData, fault));
                }
            }
        }
        Ok(count)
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

fn closed() -> io::Error {
    io::Error::new(ErrorKind::ConnectionReset, "the server closed a connection")
}

/// Octets that are read at a time.
const READ: usize = 64 * 1024;

/// Reads of one connection before it is the next one's turn.
const ROUNDS: usize = 8;

/// How long a server may take for each step of a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
