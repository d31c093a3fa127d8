//! Fetching legs from memory before their packets are handled.
//!
//! Thousands of legs do not fit a processor's cache, and each packet is of another one. It would wait for memory at
//! every line of its leg, one wait after the other; who asks for the lines of several legs at once waits for all of
//! them together.

use std::hint::black_box;

use slab::Slab;

use super::Leg;

/// So many legs are fetched at once: few enough to be there still when it is their turn.
pub(crate) const AHEAD: usize = 8;

/// Fetches what packets that have come to these legs will need.
pub(crate) fn fetch(legs: &Slab<Leg>, keys: impl Iterator<Item = usize> + Clone) {
    let come = keys.filter_map(|key| legs.get(key));
    for leg in come.clone() {
        leg.fetch();
    }
    for other in come.filter_map(|leg| legs.get(leg.other?)) {
        black_box(other.own.is_some());
        black_box(other.connected);
        if let Some(protection) = &other.protection {
            protection.fetch_sender();
        }
    }
}

impl Leg {
    /// Reads one value of each line that a received packet needs.
    fn fetch(&self) {
        if let Some(protection) = &self.protection {
            protection.fetch_receiver();
        }
        black_box(self.session.is_some());
        black_box(self.bundle.is_some());
        black_box(self.received.at);
        black_box(self.received.sequence.is_some());
        black_box(self.received.stats.octets);
        black_box(self.watch.is_over());
        black_box(self.quality.jitter());
        black_box(self.latch.source().is_some());
    }
}
