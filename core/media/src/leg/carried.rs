//! A leg as the carrier of other streams of its side, and as one that is carried.

use std::net::SocketAddr;

use rtp::{Arrival, Header};

use super::Leg;
use crate::relay::Buffer;

impl Leg {
    /// Whether a packet of another stream that came from `from` is the party's: what its keys have opened,
    /// or what comes from where it is known to be.
    pub(crate) fn vouches(&self, from: SocketAddr) -> bool {
        let checked = self.checks.as_ref().and_then(|checks| checks.target());
        self.protection.is_some() || checked == Some(from) || self.latch.knows(from)
    }

    /// Counts an RTP datagram of `len` bytes that its carrier has vouched for.
    pub(crate) fn admit_carried_rtp(&mut self, header: &Header, len: usize, now: u64) -> Arrival {
        self.received.count(header, len, now)
    }

    /// Notes an RTCP datagram that its carrier has vouched for, or has not.
    pub(crate) fn admit_carried_rtcp(&mut self, vouched: bool, len: usize, now: u64) -> bool {
        self.note_rtcp(vouched, len, now)
    }

    /// Sends a packet of another stream, which has `len` bytes at the start of `buffer`.
    pub(crate) fn carry(&mut self, buffer: &mut Buffer, len: usize, rtcp: bool) {
        let len = match (&mut self.protection, rtcp) {
            (None, _) => Some(len),
            (Some(protection), false) => protection.protect_carried_rtp(buffer, len),
            (Some(protection), true) => protection.protect_carried_rtcp(buffer, len),
        };
        if let Some(len) = len {
            self.send(&buffer[..len]);
        }
    }

    /// What is sent to this side counts its packets anew.
    pub(super) fn source_restarted(&mut self) {
        if let Some(carried) = &mut self.carried {
            carried.source_restarted();
        } else if let Some(protection) = &mut self.protection {
            protection.source_restarted();
        }
    }
}
