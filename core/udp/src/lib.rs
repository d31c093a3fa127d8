//! Datagrams in batches.
//!
//! Most of what a datagram costs is the kernel's share, so many are taken and given with one call
//! each, and all memory is set up once.
//!
//! ```
//! use std::net::UdpSocket;
//! use udp::{Inbox, Outbox, Outgoing};
//!
//! let (here, there) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
//! let to = there.local_addr()?;
//! let letters = [&b"one"[..], b"two"].map(|bytes| (Outgoing { bytes, from: None, to }, ()));
//! Outbox::new().send(&here, letters.into_iter(), |(), error| panic!("{error}"));
//!
//! let mut inbox = Inbox::new(8, 1500, 0);
//! assert_eq!(inbox.receive(&there), 2);
//! let first = inbox.datagram(0).expect("an address");
//! assert_eq!((first.bytes(), first.remote), (&b"one"[..], here.local_addr()?));
//! # Ok::<(), std::io::Error>(())
//! ```

pub mod address;
mod control;
mod inbox;
mod outbox;

pub use inbox::{Inbox, Incoming};
pub use outbox::{BATCH, Outbox, Outgoing};

use std::ptr;

use address::RawAddress;
use control::Control;

/// A message's header that names all the memory of one datagram.
fn header(
    address: &mut RawAddress,
    vector: &mut libc::iovec,
    control: &mut Control,
) -> libc::msghdr {
    let mut header = empty_header().msg_hdr;
    header.msg_name = ptr::from_mut(address).cast();
    header.msg_iov = vector;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header
}

const EMPTY_VECTOR: libc::iovec = libc::iovec {
    iov_base: ptr::null_mut(),
    iov_len: 0,
};

#[expect(unsafe_code, reason = "the structure has private padding")]
const fn empty_header() -> libc::mmsghdr {
    // SAFETY: null pointers and zero lengths are what an empty header consists of.
    unsafe { std::mem::zeroed() }
}
