//! News from the network that a datagram did not arrive.
#![allow(unsafe_code)]

use std::os::fd::AsRawFd;
use std::ptr;

use base::Slot;
use memchr::memmem;
use sip::{Flow, Protocol};
use udp::address::RawAddress;

use crate::udp::UdpSocket;

/// Takes one report from a socket's error queue; `None` when the queue is empty.
///
/// The report quotes the datagram, so the Via of the request tells the slot that sent it. The quote
/// comes from the network and may be forged; it can only make a slot believe that one peer is not
/// reachable right now.
pub(crate) fn take_report(socket: &UdpSocket) -> Option<Report> {
    let mut quote = [0u8; QUOTE];
    let mut address = RawAddress::empty();
    let mut control = Control([0; 512]);
    let mut vector = libc::iovec {
        iov_base: quote.as_mut_ptr().cast(),
        iov_len: QUOTE,
    };
    // SAFETY: null pointers and zero lengths are what an empty header consists of.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = (&raw mut address).cast();
    header.msg_namelen = size_of::<RawAddress>() as libc::socklen_t;
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    // SAFETY: the header points to live memory of the lengths that it gives.
    let length = unsafe {
        libc::recvmsg(
            socket.as_raw_fd(),
            &raw mut header,
            libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT,
        )
    };
    let length = usize::try_from(length).ok()?;
    let unreachable = error_number(&header).is_some_and(is_unreachable);
    let Some((slot, remote)) = sender(&quote[..length.min(QUOTE)]).zip(address.read()) else {
        return Some(Report::Other);
    };
    if !unreachable {
        return Some(Report::Other);
    }
    let flow = Flow {
        protocol: Protocol::Udp,
        local: socket.address(),
        remote,
        connection: None,
        tls: sip::TlsPeer::ANY,
    };
    Some(Report::Unreachable(slot, flow))
}

/// What the network has to say.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Report {
    /// A request of this slot did not arrive.
    Unreachable(Slot, Flow),
    /// Something that concerns no slot.
    Other,
}

/// The slot whose request this is; `None` for a response or anything else.
fn sender(quote: &[u8]) -> Option<Slot> {
    if quote.starts_with(b"SIP/2.0") {
        return None;
    }
    let branch = memmem::find(quote, b";branch=z9hG4bK")? + b";branch=z9hG4bK".len();
    let token = &quote[branch..];
    let end = token.iter().position(|byte| b";,\r\n ".contains(byte))?;
    Slot::of_token(&token[..end])
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 512]);

fn error_number(header: &libc::msghdr) -> Option<i32> {
    // SAFETY: the kernel has filled in the control messages and their length, and the walk stays
    // inside that length; the data behind a header of this level and type has this form.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            let data = libc::CMSG_DATA(control);
            match ((*control).cmsg_level, (*control).cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
                    let error = ptr::read_unaligned(data.cast::<libc::sock_extended_err>());
                    return i32::try_from(error.ee_errno).ok();
                }
                _ => control = libc::CMSG_NXTHDR(header, control),
            }
        }
    }
    None
}

fn is_unreachable(error: i32) -> bool {
    matches!(
        error,
        libc::ECONNREFUSED | libc::EHOSTUNREACH | libc::ENETUNREACH
    )
}

/// As much of a datagram as reports quote.
const QUOTE: usize = 1280;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_requests_have_a_sender() {
        let ours = b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;rport;branch=z9hG4bK1f-0123456789abcdef\r\n";
        assert_eq!(sender(ours), Some(Slot::new(0x1f)));
        for other in [
            &b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1f-0123456789abcdef\r\n"[..],
            b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1f-0123",
            b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK776asdhds\r\n",
            b"",
        ] {
            assert_eq!(sender(other), None);
        }
    }
}
