//! Requests that are too long for a datagram.
//!
//! One of more than 1300 octets might be fragmented on its way, and fragments get lost in routers and
//! firewalls. So it is tried over TCP first, with the transport in its Via changed; the topmost Via alone
//! says how the request came, and the answer takes the same connection. If no connection can be made, or
//! nothing is heard for four round trips, the request leaves as a datagram after all. Its branch stays the
//! same, so a peer that gets both takes the second for a repetition. Who could not be reached by TCP is
//! remembered and gets datagrams at once.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::T1;
use crate::Protocol;

/// Whether a request is longer than a datagram should be where the way's MTU is not known.
///
/// # Source
/// RFC 3261 §18.1.1.
pub(super) const fn is_too_long(request: &[u8]) -> bool {
    request.len() > LONGEST
}

/// Names another transport in the topmost Via of a request that we wrote; both names have three letters.
pub(super) fn rename_transport(request: &mut [u8], transport: Protocol) {
    let place = request
        .windows(VERSION.len())
        .position(|octets| octets == VERSION);
    let name = transport.via_name().as_bytes();
    let old = place.map(|place| place + VERSION.len());
    if let Some(old) = old.and_then(|start| request.get_mut(start..start + name.len())) {
        old.copy_from_slice(name);
    }
}

/// Peers that take nothing but datagrams.
#[derive(Debug, Default)]
pub(super) struct DatagramsOnly(HashSet<SocketAddr>);

impl DatagramsOnly {
    /// Notes a peer. When there are too many all are forgotten, and learned again.
    pub(super) fn insert(&mut self, peer: SocketAddr) {
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.insert(peer);
    }

    pub(super) fn contains(&self, peer: SocketAddr) -> bool {
        self.0.contains(&peer)
    }
}

/// How long a stream may take to bring an answer before the request leaves as a datagram.
pub(super) const PATIENCE: Duration = T1.saturating_mul(4);

const LONGEST: usize = 1300;

const VERSION: &[u8] = b"SIP/2.0/";

const MOST: usize = 1024;
