//! Datagrams in batches, one system call for up to [`BATCH`] of them.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce, SndBuf, SndBufForce};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, setsockopt};

use super::outbox::Outbox;

/// A UDP socket that never blocks.
pub(super) struct BatchSocket {
    socket: UdpSocket,
    /// Where a datagram without an address goes.
    peer: SocketAddr,
    is_connected: bool,
    receiving: MultiHeaders<SockaddrStorage>,
    sending: MultiHeaders<SockaddrStorage>,
    buffers: Vec<[u8; DATAGRAM]>,
    /// Datagrams that the system refused to send.
    pub(super) unsent: u64,
}

impl BatchSocket {
    /// A socket on a free port of `local`'s address, or on its port if it has one, that sends to
    /// `peer` by default.
    pub(super) fn bind(local: SocketAddr, peer: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(local)?;
        socket.set_nonblocking(true)?;
        enlarge(&socket);
        Ok(Self::new(socket, peer))
    }

    fn new(socket: UdpSocket, peer: SocketAddr) -> Self {
        Self {
            socket,
            peer,
            is_connected: false,
            receiving: MultiHeaders::preallocate(BATCH, None),
            sending: MultiHeaders::preallocate(BATCH, None),
            buffers: vec![[0; DATAGRAM]; BATCH],
            unsent: 0,
        }
    }

    /// The socket without the tables of its system calls, which can't go to another thread.
    pub(super) fn park(self) -> Parked {
        Parked {
            socket: self.socket,
            peer: self.peer,
        }
    }

    /// Talks to `peer` alone from now on, and learns when nothing listens there.
    pub(super) fn connect(&mut self, peer: SocketAddr) -> io::Result<()> {
        self.socket.connect(peer)?;
        self.peer = peer;
        self.is_connected = true;
        Ok(())
    }

    pub(super) fn local(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sends everything and empties the outbox. What the system refuses is counted; retransmission
    /// covers it.
    pub(super) fn send(&mut self, out: &mut Outbox) -> io::Result<()> {
        let refused = self.send_all(out);
        out.clear();
        refused
    }

    fn send_all(&mut self, out: &Outbox) -> io::Result<()> {
        let mut slices = [[IoSlice::new(&[])]; BATCH];
        let mut to = [None; BATCH];
        let mut datagrams = out.messages();
        let mut refused = Ok(());
        loop {
            let mut count = 0;
            for (place, (bytes, way)) in slices.iter_mut().zip(datagrams.by_ref()) {
                *place = [IoSlice::new(bytes)];
                let address = way.address.unwrap_or(self.peer);
                to[count] = (!self.is_connected).then(|| SockaddrStorage::from(address));
                count += 1;
                if count == BATCH {
                    break;
                }
            }
            if count == 0 {
                return refused;
            }
            let sent = self.send_batch(&slices[..count], &to[..count]);
            refused = refused.and(sent);
        }
    }

    fn send_batch(
        &mut self,
        slices: &[[IoSlice<'_>; 1]],
        to: &[Option<SockaddrStorage>],
    ) -> io::Result<()> {
        let mut done = 0;
        let mut refused = Ok(());
        while done < slices.len() {
            let fd = self.socket.as_raw_fd();
            let sent = sendmmsg(
                fd,
                &mut self.sending,
                &slices[done..],
                &to[done..],
                [],
                MsgFlags::empty(),
            );
            match sent.map(Iterator::count) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(sent) => done += sent,
                Err(errno) => {
                    refused = Err(errno.into());
                    self.unsent += 1;
                    done += 1;
                }
            }
        }
        refused
    }

    /// Hands every datagram that has come, up to [`BATCH`], to `take`; returns how many there were.
    pub(super) fn receive(&mut self, mut take: impl FnMut(&[u8], SocketAddr)) -> io::Result<usize> {
        let mut buffers = self.buffers.iter_mut();
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] = std::array::from_fn(|_| {
            // There are BATCH buffers.
            [IoSliceMut::new(buffers.next().map_or(&mut [], |b| b))]
        });
        let fd = self.socket.as_raw_fd();
        let received = recvmmsg(
            fd,
            &mut self.receiving,
            slices.iter_mut(),
            MsgFlags::empty(),
            None,
        );
        let messages = match received {
            Ok(messages) => messages,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(0),
            Err(errno) => return Err(errno.into()),
        };
        let mut count = 0;
        for message in messages {
            count += 1;
            let from = if self.is_connected {
                Some(self.peer)
            } else {
                address(message.address.as_ref())
            };
            if let (Some(bytes), Some(from)) = (message.iovs().next(), from) {
                take(bytes, from);
            }
        }
        Ok(count)
    }

    /// The socket itself, to wait for.
    pub(super) fn poll_fd(&self) -> PollFd<'_> {
        PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)
    }
}

/// A socket on its way to another thread, where it is not connected any more.
#[derive(Debug)]
pub(super) struct Parked {
    socket: UdpSocket,
    peer: SocketAddr,
}

impl Parked {
    pub(super) fn wake(self) -> BatchSocket {
        BatchSocket::new(self.socket, self.peer)
    }
}

/// Waits until one of the sockets is ready, at most `limit`.
pub(super) fn wait(fds: &mut [PollFd<'_>], limit: Duration) -> io::Result<()> {
    // Rounded up: a wait of less than a millisecond would be none.
    let millis = u16::try_from(limit.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
    match poll(fds, PollTimeout::from(millis)) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Asks for large buffers, by privilege if we have it; without, the system gives what it allows.
fn enlarge(socket: &UdpSocket) {
    const SIZE: usize = 8 << 20;
    if setsockopt(socket, RcvBufForce, &SIZE).is_err() {
        let _ = setsockopt(socket, RcvBuf, &SIZE);
    }
    if setsockopt(socket, SndBufForce, &SIZE).is_err() {
        let _ = setsockopt(socket, SndBuf, &SIZE);
    }
}

fn address(storage: Option<&SockaddrStorage>) -> Option<SocketAddr> {
    let storage = storage?;
    match storage.as_sockaddr_in() {
        Some(v4) => Some(SocketAddr::V4((*v4).into())),
        None => storage
            .as_sockaddr_in6()
            .map(|v6| SocketAddr::V6((*v6).into())),
    }
}

/// Most datagrams in one system call.
pub(super) const BATCH: usize = 64;

/// Octets of the longest message that we take.
const DATAGRAM: usize = 8192;
