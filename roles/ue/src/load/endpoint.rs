//! What a party speaks through: one socket for datagrams, or connections.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nix::poll::PollFd;
use rustls::pki_types::ServerName;

use super::outbox::{Outbox, Way};
use super::socket::{self, BatchSocket, Parked};
use super::streams::Streams;
use super::{LoadError, LoadOptions, Transport, tls};
use crate::connection::Secure;

/// One socket for datagrams, or connections.
pub(super) enum Endpoint {
    Datagrams(BatchSocket),
    Streams(Streams),
}

/// An endpoint on its way to another thread.
pub(super) enum ParkedEndpoint {
    Datagrams(Parked),
    Streams(Streams),
}

impl Endpoint {
    /// An endpoint at `local` for `transport`. It hears from whatever address the server uses, if there
    /// are no connections.
    pub(super) fn open(
        options: &LoadOptions,
        transport: Transport,
        local: IpAddr,
        target: SocketAddr,
    ) -> Result<Self, LoadError> {
        if transport == Transport::Udp {
            let any = SocketAddr::new(local, 0);
            let socket = BatchSocket::bind(any, target).map_err(LoadError::io("no SIP socket"))?;
            return Ok(Self::Datagrams(socket));
        }
        let secure = match transport {
            Transport::Tls => Some(Secure {
                config: tls::config(&options.trust)?,
                name: server_name(options)?,
            }),
            _ => None,
        };
        match Streams::connect(local, target, options.connections, secure.as_ref()) {
            Ok(streams) => Ok(Self::Streams(streams)),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Err(LoadError::Refused(transport, target))
            }
            Err(error) => Err(LoadError::io("no connection to the target")(error)),
        }
    }

    /// Talks to `peer` alone from now on, and learns when nothing listens there.
    pub(super) fn connect(&mut self, peer: SocketAddr) -> io::Result<()> {
        match self {
            Self::Datagrams(socket) => socket.connect(peer),
            Self::Streams(_) => Ok(()),
        }
    }

    /// Our addresses: that of the socket, or one for each connection.
    pub(super) fn locals(&self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Datagrams(socket) => Ok(vec![socket.local()?]),
            Self::Streams(streams) => streams.locals(),
        }
    }

    /// Sends everything and empties the outbox.
    pub(super) fn send(&mut self, out: &mut Outbox) -> io::Result<()> {
        match self {
            Self::Datagrams(socket) => socket.send(out),
            Self::Streams(streams) => streams.send(out),
        }
    }

    /// Hands what has come to `take`; returns how many messages there were. If fewer than
    /// [`BATCH`](socket::BATCH), nothing is left.
    pub(super) fn receive(&mut self, mut take: impl FnMut(&[u8], Way)) -> io::Result<usize> {
        match self {
            Self::Datagrams(socket) => {
                socket.receive(|bytes, from| take(bytes, Way::address(from)))
            }
            Self::Streams(streams) => streams.receive(take),
        }
    }

    /// Waits until something has come, at most `limit`.
    pub(super) fn wait(&self, limit: Duration) -> io::Result<()> {
        wait_any([self], limit)
    }

    pub(super) fn park(self) -> ParkedEndpoint {
        match self {
            Self::Datagrams(socket) => ParkedEndpoint::Datagrams(socket.park()),
            Self::Streams(streams) => ParkedEndpoint::Streams(streams),
        }
    }

    fn poll_fds<'e>(&'e self, fds: &mut Vec<PollFd<'e>>) {
        match self {
            Self::Datagrams(socket) => fds.push(socket.poll_fd()),
            Self::Streams(streams) => fds.extend(streams.poll_fds()),
        }
    }
}

impl ParkedEndpoint {
    pub(super) fn wake(self) -> Endpoint {
        match self {
            Self::Datagrams(socket) => Endpoint::Datagrams(socket.wake()),
            Self::Streams(streams) => Endpoint::Streams(streams),
        }
    }
}

/// Waits until something has come to one of the endpoints, at most `limit`.
pub(super) fn wait_any<const N: usize>(
    endpoints: [&Endpoint; N],
    limit: Duration,
) -> io::Result<()> {
    let mut fds = Vec::new();
    for endpoint in endpoints {
        endpoint.poll_fds(&mut fds);
    }
    socket::wait(&mut fds, limit)
}

/// The name that the server's certificate must have: the target's.
fn server_name(options: &LoadOptions) -> Result<ServerName<'static>, LoadError> {
    let name = ServerName::try_from(options.host().to_owned());
    name.map_err(io::Error::other)
        .map_err(LoadError::io("the target's name"))
}
