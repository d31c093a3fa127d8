//! Giving datagrams.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use crate::address::RawAddress;
use crate::control::Control;
use crate::{EMPTY_VECTOR, empty_header, header};

/// Memory to send a batch of datagrams with. Stays on the thread that made it.
pub struct Outbox {
    addresses: Vec<RawAddress>,
    controls: Vec<Control>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    count: usize,
}

/// A datagram to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Its octets.
    pub bytes: &'a [u8],
    /// The address of ours that it leaves from, if the socket has several.
    pub from: Option<IpAddr>,
    /// Whom it is for.
    pub to: SocketAddr,
}

impl Outbox {
    /// Memory for [`BATCH`] datagrams.
    #[must_use]
    pub fn new() -> Self {
        let mut outbox = Self {
            addresses: vec![RawAddress::empty(); BATCH],
            controls: vec![Control::EMPTY; BATCH],
            vectors: vec![EMPTY_VECTOR; BATCH],
            headers: vec![empty_header(); BATCH],
            count: 0,
        };
        for index in 0..BATCH {
            outbox.headers[index].msg_hdr = header(
                &mut outbox.addresses[index],
                &mut outbox.vectors[index],
                &mut outbox.controls[index],
            );
        }
        outbox
    }

    /// Sends datagrams in their order, each with something by which its sender knows it. Calls
    /// `failed` for each that the network refused.
    pub fn send<'a, T: Copy>(
        &mut self,
        socket: &impl AsFd,
        datagrams: impl Iterator<Item = (Outgoing<'a>, T)>,
        mut failed: impl FnMut(T, &io::Error),
    ) {
        let socket = socket.as_fd();
        let mut origins = [None; BATCH];
        for (datagram, origin) in datagrams {
            origins[self.count] = Some(origin);
            self.put(&datagram);
            if self.count == BATCH {
                self.flush(socket, &origins, &mut failed);
            }
        }
        self.flush(socket, &origins, &mut failed);
    }

    fn put(&mut self, datagram: &Outgoing<'_>) {
        let index = self.count;
        self.vectors[index] = libc::iovec {
            iov_base: datagram.bytes.as_ptr().cast_mut().cast(),
            iov_len: datagram.bytes.len(),
        };
        let length = self.addresses[index].write(datagram.to);
        let control = &mut self.controls[index];
        let header = &mut self.headers[index].msg_hdr;
        header.msg_namelen = length;
        header.msg_controllen = datagram.from.map_or(0, |ip| control.write(ip)) as _;
        self.count += 1;
    }

    fn flush<T: Copy>(
        &mut self,
        socket: BorrowedFd<'_>,
        origins: &[Option<T>; BATCH],
        failed: &mut impl FnMut(T, &io::Error),
    ) {
        let mut done = 0;
        let mut retried = false;
        while done < self.count {
            // SAFETY: the headers up to `count` point into this object's vectors and to the octets
            // that `send` was given, which its caller keeps alive until it returns.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    self.headers.as_mut_ptr().add(done),
                    (self.count - done) as u32,
                    libc::MSG_DONTWAIT,
                )
            };
            if let Ok(sent) = usize::try_from(sent)
                && sent > 0
            {
                done += sent;
                retried = false;
                continue;
            }
            // The first failure may be the late news of an earlier datagram (ICMP); the second is
            // about this one.
            if retried {
                let error = io::Error::last_os_error();
                if let Some(origin) = origins[done] {
                    failed(origin, &error);
                }
                done += 1;
            }
            retried = !retried;
        }
        self.count = 0;
    }
}

impl Default for Outbox {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}

/// Datagrams given with one system call.
pub const BATCH: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn a_refused_datagram_is_told_and_the_others_arrive() {
        let (here, there) = (
            UdpSocket::bind("127.0.0.1:0").unwrap(),
            UdpSocket::bind("127.0.0.1:0").unwrap(),
        );
        let to = there.local_addr().unwrap();
        let huge = vec![0; 70_000];
        let letter = |number: usize| {
            let bytes: &[u8] = if number == 40 { &huge } else { b"letter" };
            let from = None;
            (Outgoing { bytes, from, to }, number)
        };
        let mut refused = Vec::new();
        Outbox::new().send(&here, (0..60).map(letter), |number, error| {
            refused.push((number, error.raw_os_error()));
        });
        assert_eq!(refused, [(40, Some(libc::EMSGSIZE))]);
        let mut inbox = crate::Inbox::new(64, 100, 0);
        assert_eq!(inbox.receive(&there), 59);
    }
}
