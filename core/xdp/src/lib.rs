//! Relays in the kernel: a stream that only has to be passed on, with other addresses, is passed on where it comes
//! in, and no thread of ours wakes up for its packets.
//!
//! A [`Path`] is a program (XDP) attached to interfaces, and a table of the flows that it takes. Whoever relays a flow
//! puts it there when everything about it is settled, and takes it out before anything changes; packets that the
//! program does not understand arrive as if it were not there. So whether it is there makes no difference but in
//! cost.
//!
//! ```no_run
//! use xdp::{Flow, Path, PayloadTypes};
//!
//! let path = Path::open(&[], &[])?;
//! let flow = Flow {
//!     from: "192.0.2.7:4000".parse()?,
//!     arrives: "192.0.2.1:20000".parse()?,
//!     leaves: "198.51.100.1:20002".parse()?,
//!     to: "198.51.100.9:5000".parse()?,
//!     ssrc: 0x1234_5678,
//!     payload_types: PayloadTypes::default().with(0, 0),
//!     dscp: 46,
//!     clock: 8,
//!     highest: 17,
//!     jitter: 0,
//! };
//! path.insert(&flow)?;
//! while path.read(&flow).is_some_and(|counters| counters.packets < 1000) {
//!     std::thread::yield_now();
//! }
//! path.remove(&flow);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`Path`]: the table and the interfaces.
//! - `program`: what is done with a packet; `asm`: how that is written down; `entry`: what it shares with us.
//! - `link`: interfaces, routes and neighbours; `sys`: the system call.
//!
//! The program is made of instructions written here, so building it needs no compiler for the kernel's machine; see
//! ADR 7. It does not decrypt, look into payloads, keep times or send anything of its own.

mod asm;
mod entry;
mod link;
mod path;
mod program;
mod sys;

use std::net::SocketAddr;

pub use path::{Counters, Mode, Path, Unavailable};
pub use sys::Outcome;

/// One direction of a stream: the packets of one source, and what becomes of them. All addresses are of one family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow {
    /// Where they come from.
    pub from: SocketAddr,
    /// Where they come to: ours.
    pub arrives: SocketAddr,
    /// Where they leave from: ours.
    pub leaves: SocketAddr,
    /// Where they go.
    pub to: SocketAddr,
    /// The only source that is passed on.
    pub ssrc: u32,
    /// The payload types that are passed on.
    pub payload_types: PayloadTypes,
    /// DSCP of what is sent, 0 to 63.
    pub dscp: u8,
    /// Ticks of the RTP clock in a millisecond; 0: not known, jitter is not measured.
    pub clock: u32,
    /// The highest extended sequence number so far. Only packets that follow it are passed on, in order.
    pub highest: u64,
    /// Sixteen times the interarrival jitter so far, in ticks.
    pub jitter: u32,
}

impl Flow {
    /// Whether the packets of the other flow are these, and the same becomes of them.
    #[must_use]
    pub fn is_same_way(&self, other: &Self) -> bool {
        let counted = Self {
            highest: other.highest,
            jitter: other.jitter,
            ..*self
        };
        counted == *other
    }
}

/// What each payload type becomes, of those that are passed on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PayloadTypes(pub(crate) [u8; 128]);

impl PayloadTypes {
    /// All, as they are, but those that RTCP would be mistaken for.
    ///
    /// # Source
    /// RFC 5761 §4
    #[must_use]
    pub fn all() -> Self {
        let types = (0..128).filter(|number| !RTCP.contains(number));
        types.fold(Self::default(), |types, number| types.with(number, number))
    }

    /// These, and `number`, which becomes `new`. One that RTCP would be mistaken for is left out.
    #[must_use]
    pub fn with(mut self, number: u8, new: u8) -> Self {
        if number < 128 && new < 128 && !RTCP.contains(&number) {
            self.0[usize::from(number)] = new;
        }
        self
    }
}

impl Default for PayloadTypes {
    /// None.
    fn default() -> Self {
        Self([entry::NOT_OURS; 128])
    }
}

impl std::fmt::Debug for PayloadTypes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pairs = (0..).zip(self.0).filter(|(_, new)| *new != entry::NOT_OURS);
        f.debug_map()
            .entries(pairs.map(|(old, new): (u8, u8)| (old, new)))
            .finish()
    }
}

/// What packet types of RTCP look like in the place of a payload type.
const RTCP: std::ops::RangeInclusive<u8> = 64..=95;
