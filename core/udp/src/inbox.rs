//! Taking datagrams.
#![allow(unsafe_code)]

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use crate::address::RawAddress;
use crate::control::{Control, local_address};
use crate::{EMPTY_VECTOR, empty_header, header};

/// Memory to receive a batch of datagrams in. Stays on the thread that made it.
pub struct Inbox {
    // The vectors are never resized: the kernel's headers point into them.
    bytes: Vec<u8>,
    addresses: Vec<RawAddress>,
    controls: Vec<Control>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    largest: usize,
    stride: usize,
    room: usize,
}

/// A datagram that has been received.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// The memory that it lies at the start of, with room behind it.
    pub buffer: &'a mut [u8],
    /// How many octets of the buffer are the datagram's. A longer one has been cut.
    pub len: usize,
    /// Who sent it.
    pub remote: SocketAddr,
    /// The address of ours that it was sent to, if the socket is not bound to one and the kernel
    /// has been asked to tell.
    pub local: Option<IpAddr>,
}

impl Incoming<'_> {
    /// The datagram's octets.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Inbox {
    /// Memory for `count` datagrams of at most `largest` octets, each with `room` octets behind it
    /// for its reader to use.
    #[must_use]
    pub fn new(count: usize, largest: usize, room: usize) -> Self {
        let stride = stride(largest + room);
        let mut inbox = Self {
            bytes: vec![0; count * stride],
            addresses: vec![RawAddress::empty(); count],
            controls: vec![Control::EMPTY; count],
            vectors: vec![EMPTY_VECTOR; count],
            headers: vec![empty_header(); count],
            largest,
            stride,
            room,
        };
        for index in 0..count {
            inbox.vectors[index] = libc::iovec {
                iov_base: inbox.bytes[index * stride..].as_mut_ptr().cast(),
                iov_len: largest,
            };
            inbox.headers[index].msg_hdr = header(
                &mut inbox.addresses[index],
                &mut inbox.vectors[index],
                &mut inbox.controls[index],
            );
            inbox.rearm(index);
        }
        inbox
    }

    /// Takes what waits at a socket, at most one batch; 0 if there is nothing or an error.
    pub fn receive(&mut self, socket: &impl AsFd) -> usize {
        // SAFETY: all headers point into this object's vectors, which live as long as it and are
        // never resized; their lengths are those of the memory behind them.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as u32,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        usize::try_from(count).unwrap_or(0)
    }

    /// The `index`th datagram that the last [`receive`](Self::receive) took; `None` if the kernel did
    /// not say from where. It can be asked for once.
    pub fn datagram(&mut self, index: usize) -> Option<Incoming<'_>> {
        let remote = self.addresses[index].read();
        // SAFETY: the header points into this object, and the kernel has filled it in.
        let local = unsafe { local_address(&self.headers[index].msg_hdr) };
        let len = (self.headers[index].msg_len as usize).min(self.largest);
        self.rearm(index);
        let buffer = &mut self.bytes[index * self.stride..][..self.largest + self.room];
        Some(Incoming {
            buffer,
            len,
            remote: remote?,
            local,
        })
    }

    /// Restores the lengths that the kernel overwrites.
    fn rearm(&mut self, index: usize) {
        let header = &mut self.headers[index].msg_hdr;
        header.msg_namelen = size_of::<RawAddress>() as libc::socklen_t;
        header.msg_controllen = size_of::<Control>() as _;
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("count", &self.headers.len())
            .field("largest", &self.largest)
            .finish_non_exhaustive()
    }
}

/// The distance between buffers of this size: not a power of two, or all of them would share a few
/// cache lines.
fn stride(size: usize) -> usize {
    const LINE: usize = 64;
    let lines = size.div_ceil(LINE);
    (lines | 1) * LINE
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn a_long_datagram_is_cut_and_leaves_the_next_buffer_alone() {
        let (here, there) = (
            UdpSocket::bind("[::1]:0").unwrap(),
            UdpSocket::bind("[::1]:0").unwrap(),
        );
        let to = there.local_addr().unwrap();
        let mut inbox = Inbox::new(4, 100, 20);
        for _ in 0..3 {
            here.send_to(&[7; 300], to).unwrap();
            here.send_to(&[8; 10], to).unwrap();
            assert_eq!(inbox.receive(&there), 2);
            let cut = inbox.datagram(0).unwrap();
            assert_eq!((cut.len, cut.buffer.len()), (100, 120));
            let short = inbox.datagram(1).unwrap();
            assert_eq!(short.bytes(), [8; 10]);
            assert_eq!(short.remote, here.local_addr().unwrap());
            assert_eq!(inbox.receive(&there), 0);
        }
    }
}
