//! Peers that have proved who they are.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A table of peers that never grows: a set of eight places for each peer, by its hash. If they are
/// taken, the peer that was heard of longest ago is forgotten, and is a stranger until it proves again
/// who it is.
pub(crate) struct Known(Box<[Set]>);

/// Each place is empty, zero, or holds a part of the hash and the minute in which the peer was heard of.
#[repr(align(64))]
struct Set([AtomicU64; 8]);

impl Known {
    pub(crate) fn new() -> Self {
        // The pages of a table that nobody has written to cost nothing.
        let sets = Box::<[Set]>::new_zeroed_slice(SETS);
        // SAFETY: all zeros is a set of eight empty places.
        Self(unsafe { sets.assume_init() })
    }

    /// Enters a peer by its hash, at a time in nanoseconds.
    pub(crate) fn insert(&self, peer: u64, now: u64) {
        let set = self.set(peer);
        let minute = minute(now);
        let own = set.iter().find(|place| is_of(place, peer));
        let oldest = set.iter().min_by_key(|place| place.load(Relaxed) & MINUTE);
        if let Some(place) = own.or(oldest) {
            place.store((peer & !MINUTE) | minute, Relaxed);
        }
    }

    pub(crate) fn contains(&self, peer: u64, now: u64) -> bool {
        let mut set = self.set(peer).iter();
        set.find(|place| is_of(place, peer)).is_some_and(|place| {
            let since = place.load(Relaxed) & MINUTE;
            since > 0 && minute(now).saturating_sub(since) <= REMEMBERED
        })
    }

    fn set(&self, peer: u64) -> &[AtomicU64; 8] {
        // The highest bits are in the places; these are others.
        &self.0[(peer & MINUTE) as usize % SETS].0
    }
}

fn is_of(place: &AtomicU64, peer: u64) -> bool {
    place.load(Relaxed) & !MINUTE == peer & !MINUTE
}

/// Never zero, which is for empty places.
fn minute(nanos: u64) -> u64 {
    (nanos / 60_000_000_000 + 1).min(MINUTE)
}

/// The bits of a minute: 31 years.
const MINUTE: u64 = (1 << 24) - 1;

/// Minutes for which a peer is remembered: a day. Phones register again sooner.
const REMEMBERED: u64 = 24 * 60;

/// 1 MiB, for some 100,000 peers.
const SETS: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000_000_000;

    fn peer(number: u64) -> u64 {
        number << 24 | 5
    }

    #[test]
    fn a_peer_is_known_for_a_day_after_the_last_proof() {
        let known = Known::new();
        assert!(!known.contains(peer(1), 0));
        assert!(!known.contains(5, 0));
        known.insert(peer(1), 0);
        assert!(known.contains(peer(1), DAY));
        assert!(!known.contains(peer(2), DAY));
        known.insert(peer(1), DAY);
        assert!(known.contains(peer(1), 2 * DAY));
        assert!(!known.contains(peer(1), 2 * DAY + DAY / 24));
    }

    #[test]
    fn the_ninth_in_a_set_takes_the_place_of_the_oldest() {
        let known = Known::new();
        let hour = DAY / 24;
        for number in 1..=8 {
            known.insert(peer(number), number * hour);
        }
        known.insert(peer(1), 9 * hour);
        known.insert(peer(9), 10 * hour);
        let left: Vec<_> = (1..=9)
            .filter(|number| known.contains(peer(*number), 10 * hour))
            .collect();
        assert_eq!(left, [1, 3, 4, 5, 6, 7, 8, 9]);
    }
}
