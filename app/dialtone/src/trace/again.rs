//! Which messages are retransmissions.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use api::TraceMessage;

/// The messages that came last.
#[derive(Debug, Default)]
pub(super) struct Again {
    keys: RandomState,
    counts: HashMap<u64, u32>,
    order: VecDeque<u64>,
}

impl Again {
    /// How many times the same octets went the same way before.
    pub(super) fn seen(&mut self, traced: &TraceMessage, octets: &[u8]) -> u32 {
        let key = self
            .keys
            .hash_one((traced.direction, traced.remote, octets));
        if let Some(count) = self.counts.get_mut(&key) {
            *count += 1;
            return *count;
        }
        self.counts.insert(key, 0);
        self.order.push_back(key);
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.counts.remove(&oldest);
        }
        0
    }
}

/// Messages that are remembered; the oldest is forgotten.
const MOST: usize = 4096;
