//! How the messages of a softphone travel.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, ServerName};
use sip::Protocol;

use crate::connection::{Connection, Secure};
use crate::tls::{self, Vouched};

/// How messages travel to the server and back.
#[derive(Clone, Debug, Default)]
pub enum Link {
    /// As datagrams.
    #[default]
    Udp,
    /// Over one connection.
    Tcp,
    /// The same, encrypted.
    Tls(Tls),
}

/// Who a server must be.
#[derive(Clone, Debug)]
pub struct Tls(Secure);

impl Tls {
    /// Who shows a certificate for `name`, a domain or an address, by one of `roots`.
    ///
    /// # Errors
    /// If the name is none.
    pub fn vouched(name: &str, roots: Arc<RootCertStore>) -> io::Result<Self> {
        Self::new(name, Vouched::By(roots))
    }

    /// Who shows this certificate, whatever name is in it.
    ///
    /// # Errors
    /// If the name, by which it is asked for, is none.
    pub fn known(name: &str, certificate: CertificateDer<'static>) -> io::Result<Self> {
        Self::new(name, Vouched::Is(certificate))
    }

    fn new(name: &str, vouched: Vouched) -> io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let config = tls::config(vouched)?;
        Ok(Self(Secure { config, name }))
    }
}

/// What a softphone speaks through.
#[derive(Debug)]
pub(crate) enum Line {
    Datagrams(UdpSocket),
    Stream(Box<Connection>),
}

impl Line {
    /// From a free port of `local`'s address to `server`. Waits until a connection is up.
    pub(crate) fn open(link: &Link, local: SocketAddr, server: SocketAddr) -> io::Result<Self> {
        let secure = match link {
            Link::Udp => {
                let socket = UdpSocket::bind(local)?;
                socket.set_nonblocking(true)?;
                return Ok(Self::Datagrams(socket));
            }
            Link::Tcp => None,
            Link::Tls(Tls(secure)) => Some(secure),
        };
        let socket = TcpStream::connect_timeout(&server, PATIENCE)?;
        let connection = Connection::over(socket, secure)?;
        Ok(Self::Stream(Box::new(connection)))
    }

    pub(crate) fn local(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Datagrams(socket) => socket.local_addr(),
            Self::Stream(connection) => connection.local(),
        }
    }

    pub(crate) fn send(&mut self, message: &[u8], to: SocketAddr) -> io::Result<()> {
        match self {
            Self::Datagrams(socket) => match socket.send_to(message, to) {
                Err(error) if error.kind() != ErrorKind::ConnectionRefused => Err(error),
                _ => Ok(()),
            },
            Self::Stream(connection) => {
                connection.queue(message);
                connection.flush()
            }
        }
    }

    /// Takes what has come; of datagrams at most [`BATCH`].
    pub(crate) fn receive(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut messages = Vec::new();
        let mut buffer = vec![0; READ];
        match self {
            Self::Datagrams(socket) => {
                while messages.len() < BATCH {
                    match socket.recv_from(&mut buffer) {
                        Ok((len, _)) => messages.push(buffer[..len].to_vec()),
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            Self::Stream(connection) => {
                let read = connection.read(&mut buffer);
                connection.frames(|message| messages.push(message.to_vec()))?;
                // What came before the end counts; the end is found again.
                if messages.is_empty() {
                    read?;
                }
                connection.flush()?;
            }
        }
        Ok(messages)
    }

    /// The socket, to wait for.
    pub(crate) fn poll_fd(&self) -> PollFd<'_> {
        match self {
            Self::Datagrams(socket) => PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            Self::Stream(connection) => connection.poll_fd(),
        }
    }
}

impl Link {
    pub(crate) const fn protocol(&self) -> Protocol {
        match self {
            Self::Udp => Protocol::Udp,
            Self::Tcp => Protocol::Tcp,
            Self::Tls(_) => Protocol::Tls,
        }
    }
}

/// Octets of the longest message that we take, or that are read at a time.
const READ: usize = 65_536;
/// Datagrams that are taken at a time.
const BATCH: usize = 64;
/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);
