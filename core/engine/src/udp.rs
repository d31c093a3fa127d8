//! Datagrams in batches.
//!
//! Most of what a datagram costs is the kernel's share, so many are taken and given with one call
//! each, and all memory is set up once.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use base::Slot;
use sip::{Flow, Protocol};
use socket2::Socket;

use crate::address::{RawAddress, in_addr, in6_addr, ipv4, ipv6};

/// One thread's socket for one address.
#[derive(Debug)]
pub(crate) struct UdpSocket {
    socket: Socket,
    address: SocketAddr,
}

impl UdpSocket {
    /// Takes a bound socket.
    pub(crate) fn new(socket: Socket) -> io::Result<Self> {
        let address = socket
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { socket, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How well this socket can send from `local`: 0 not at all, more is better.
    pub(crate) fn suits(&self, local: SocketAddr) -> u8 {
        if self.address.is_ipv4() != local.is_ipv4() {
            return 0;
        }
        let wildcard = self.address.ip().is_unspecified();
        match (self.address.port() == local.port(), wildcard) {
            (true, _) if self.address.ip() == local.ip() => 4,
            (true, true) => 3,
            (_, true) => 2,
            _ => 1,
        }
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Memory to receive a batch of datagrams in. Stays on the thread that made it.
pub(crate) struct Inbox {
    // The vectors are never resized: the kernel's headers point into them.
    bytes: Vec<u8>,
    addresses: Vec<RawAddress>,
    controls: Vec<Control>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        let mut inbox = Self {
            bytes: vec![0; BATCH * STRIDE],
            addresses: vec![RawAddress::empty(); BATCH],
            controls: vec![Control::EMPTY; BATCH],
            vectors: vec![EMPTY_VECTOR; BATCH],
            headers: vec![EMPTY_HEADER; BATCH],
        };
        for index in 0..BATCH {
            inbox.vectors[index] = libc::iovec {
                iov_base: inbox.bytes[index * STRIDE..].as_mut_ptr().cast(),
                iov_len: LARGEST,
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
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> usize {
        // SAFETY: all headers point into this object's vectors, which live as long as it and are
        // never resized; their lengths are those of the memory behind them.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        usize::try_from(count).unwrap_or(0)
    }

    /// The `index`th datagram that the last [`receive`](Self::receive) took from `socket`, and how it
    /// came; `None` if the kernel did not say from where. It can be asked for once.
    pub(crate) fn datagram(&mut self, index: usize, socket: &UdpSocket) -> Option<(Flow, &[u8])> {
        let remote = self.addresses[index].read();
        let mut local = socket.address;
        if local.ip().is_unspecified()
            && let Some(ip) = local_address(&self.headers[index].msg_hdr)
        {
            local.set_ip(ip);
        }
        let length = (self.headers[index].msg_len as usize).min(LARGEST);
        self.rearm(index);
        let flow = Flow {
            protocol: Protocol::Udp,
            local,
            remote: remote?,
            connection: None,
            tls: sip::TlsPeer::ANY,
        };
        Some((flow, &self.bytes[index * STRIDE..][..length]))
    }

    /// Restores the lengths that the kernel overwrites.
    fn rearm(&mut self, index: usize) {
        let header = &mut self.headers[index].msg_hdr;
        header.msg_namelen = size_of::<RawAddress>() as libc::socklen_t;
        header.msg_controllen = size_of::<Control>() as _;
    }
}

/// Datagrams on their way out, sent in batches in the order in which they were put in.
pub(crate) struct Outbox {
    addresses: Vec<RawAddress>,
    controls: Vec<Control>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    count: usize,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        let mut outbox = Self {
            addresses: vec![RawAddress::empty(); BATCH],
            controls: vec![Control::EMPTY; BATCH],
            vectors: vec![EMPTY_VECTOR; BATCH],
            headers: vec![EMPTY_HEADER; BATCH],
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

    /// Sends `datagrams`: text, destination with our address, and who sends it. Calls `failed` for
    /// each that the network refused.
    pub(crate) fn send<'a>(
        &mut self,
        socket: &UdpSocket,
        datagrams: impl Iterator<Item = (&'a [u8], Flow, Slot)>,
        mut failed: impl FnMut(Flow, Slot, &io::Error),
    ) {
        let mut origins = [None; BATCH];
        for (bytes, flow, slot) in datagrams {
            origins[self.count] = Some((flow, slot));
            self.put(socket, bytes, &flow);
            if self.count == BATCH {
                self.flush(socket, &origins, &mut failed);
            }
        }
        self.flush(socket, &origins, &mut failed);
    }

    fn put(&mut self, socket: &UdpSocket, bytes: &[u8], flow: &Flow) {
        let index = self.count;
        self.vectors[index] = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let length = self.addresses[index].write(flow.remote);
        let from = (socket.address.ip().is_unspecified() && !flow.local.ip().is_unspecified())
            .then(|| flow.local.ip());
        let header = &mut self.headers[index].msg_hdr;
        header.msg_namelen = length;
        header.msg_controllen = from.map_or(0, |ip| self.controls[index].write(ip)) as _;
        self.count += 1;
    }

    fn flush(
        &mut self,
        socket: &UdpSocket,
        origins: &[Option<(Flow, Slot)>; BATCH],
        failed: &mut impl FnMut(Flow, Slot, &io::Error),
    ) {
        let mut done = 0;
        let mut retried = false;
        while done < self.count {
            // SAFETY: the headers up to `count` point into this object's vectors and to the texts that
            // `send` was given, which its caller keeps alive until it returns.
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
                if let Some((flow, slot)) = origins[done] {
                    failed(flow, slot, &error);
                }
                done += 1;
            }
            retried = !retried;
        }
        self.count = 0;
    }
}

/// Room for the control messages of one datagram.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 128]);

impl Control {
    const EMPTY: Self = Self([0; 128]);

    /// Writes the address to send from and tells how many octets that took.
    fn write(&mut self, from: IpAddr) -> usize {
        match from {
            IpAddr::V4(ip) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: in_addr(ip),
                    ipi_addr: in_addr(ip),
                };
                self.put(libc::IPPROTO_IP, libc::IP_PKTINFO, info)
            }
            IpAddr::V6(ip) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: in6_addr(ip),
                    ipi6_ifindex: 0,
                };
                self.put(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
            }
        }
    }

    fn put<T: Copy>(&mut self, level: i32, kind: i32, data: T) -> usize {
        const { assert!(size_of::<libc::cmsghdr>() + size_of::<T>() <= 128) };
        let size = size_of::<T>() as u32;
        // SAFETY: the room is aligned for a header, and the assertion above shows that header and
        // data fit; CMSG_DATA is right behind the header.
        unsafe {
            let header: *mut libc::cmsghdr = self.0.as_mut_ptr().cast();
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            (*header).cmsg_len = libc::CMSG_LEN(size) as _;
            libc::CMSG_DATA(header).cast::<T>().write_unaligned(data);
            libc::CMSG_SPACE(size) as usize
        }
    }
}

/// The address that a datagram was sent to.
fn local_address(header: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: the kernel has filled in the control messages and their length, and the walk stays
    // inside that length; the data behind a header of this level and type has this form.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            let data = libc::CMSG_DATA(control);
            match ((*control).cmsg_level, (*control).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    return Some(IpAddr::V4(ipv4(info.ipi_spec_dst)));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    return Some(IpAddr::V6(ipv6(info.ipi6_addr)));
                }
                _ => control = libc::CMSG_NXTHDR(header, control),
            }
        }
    }
    None
}

fn header(
    address: &mut RawAddress,
    vector: &mut libc::iovec,
    control: &mut Control,
) -> libc::msghdr {
    let mut header = EMPTY_HEADER.msg_hdr;
    header.msg_name = ptr::from_mut(address).cast();
    header.msg_iov = vector;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header
}

/// Datagrams taken or given with one system call.
pub(crate) const BATCH: usize = 32;

/// No datagram is larger.
const LARGEST: usize = 65_535;

/// Distance between buffers: not a power of two, or all of them would share a few cache lines.
const STRIDE: usize = 65_536 + 17 * 64;

const EMPTY_VECTOR: libc::iovec = libc::iovec {
    iov_base: ptr::null_mut(),
    iov_len: 0,
};

// SAFETY: null pointers and zero lengths are what an empty header consists of.
const EMPTY_HEADER: libc::mmsghdr = unsafe { std::mem::zeroed() };
