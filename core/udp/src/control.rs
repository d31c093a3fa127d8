//! What goes with a datagram beside its octets: the address of ours that it came to or leaves from.
#![allow(unsafe_code)]

use std::net::IpAddr;

use crate::address::{in_addr, in6_addr, ipv4, ipv6};

/// Room for the control messages of one datagram.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Control(pub(crate) [u8; 128]);

impl Control {
    pub(crate) const EMPTY: Self = Self([0; 128]);

    /// Writes the address to send from and tells how many octets that took.
    pub(crate) fn write(&mut self, from: IpAddr) -> usize {
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

/// The address that a datagram was sent to, if the socket asks for it (`IP_PKTINFO`).
///
/// # Safety
/// The kernel has filled in `header` for memory that is still there.
pub(crate) unsafe fn local_address(header: &libc::msghdr) -> Option<IpAddr> {
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
