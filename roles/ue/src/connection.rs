//! A connection over which messages go, encrypted or not, that never blocks once it is up.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use sip::framing::{Frame, Framer, Limits};

/// With whom TLS is spoken, and how.
#[derive(Clone, Debug)]
pub(crate) struct Secure {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
}

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    framer: Framer,
    /// What the system has not taken yet. The requests under way are its bound: each is written once.
    waiting: Vec<u8>,
    sent: usize,
}

impl Connection {
    /// Speaks over `socket`, with TLS if `secure` says how; waits for the handshake.
    ///
    /// # Errors
    /// Of the system or of TLS.
    pub(crate) fn over(mut socket: TcpStream, secure: Option<&Secure>) -> io::Result<Self> {
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

    /// Our address.
    pub(crate) fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Takes a message that [`flush`](Self::flush) writes.
    pub(crate) fn queue(&mut self, message: &[u8]) {
        self.waiting.extend_from_slice(message);
    }

    /// The socket, to wait for.
    pub(crate) fn poll_fd(&self) -> PollFd<'_> {
        let is_writing = self.sent < self.waiting.len()
            || self.tls.as_ref().is_some_and(|tls| tls.wants_write());
        let mut flags = PollFlags::POLLIN;
        flags.set(PollFlags::POLLOUT, is_writing);
        PollFd::new(self.socket.as_fd(), flags)
    }

    /// Writes what waits, as far as the system takes it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
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
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<()> {
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
    pub(crate) fn frames(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<usize> {
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

fn closed() -> io::Error {
    io::Error::new(ErrorKind::ConnectionReset, "the server closed a connection")
}

/// Reads of one connection before it is the next one's turn.
const ROUNDS: usize = 8;

/// How long a server may take for each step of a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
