//! The memory that keeps credentials from being used twice.

use std::collections::BTreeMap;

use super::NonceId;

/// Remembers which uses of which nonces it has seen, in bounded space.
///
/// When it is full it forgets its oldest nonce and from then on takes every nonce as old as that one
/// for stale: what is forgotten can never be used again. Ask it only about credentials whose proof
/// fits, so that nobody without a password can fill it.
#[derive(Debug)]
pub struct ReplayGuard {
    seen: BTreeMap<NonceId, Seen>,
    capacity: usize,
    /// Nonces minted before this moment are stale.
    floor_millis: u64,
}

/// The uses of one nonce.
#[derive(Clone, Copy, Debug)]
struct Seen {
    highest: u32,
    /// Bit `n` stands for the use `highest - n`.
    window: u64,
}

/// What to make of one use of a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Not seen before.
    First,
    /// Seen before, or too far behind the latest one to tell.
    Replayed,
    /// The nonce is too old to tell: challenge again with `stale=true`.
    Stale,
}

impl ReplayGuard {
    /// A guard that remembers `capacity` nonces, at least one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            seen: BTreeMap::new(),
            capacity: capacity.max(1),
            floor_millis: 0,
        }
    }

    /// Notes one use. A nonce that comes without a count (no `qop`) is good for one use.
    ///
    /// Counts may arrive out of order, up to 63 behind the highest: UDP swaps packets.
    ///
    /// # Source
    /// RFC 7616 §3.4 (`nc`), §5.12
    pub fn check(&mut self, nonce: NonceId, count: Option<u32>) -> Use {
        if nonce.millis < self.floor_millis {
            return Use::Stale;
        }
        // Without a count nothing may follow.
        let count = count.unwrap_or(u32::MAX);
        if count == 0 {
            return Use::Replayed;
        }
        if let Some(seen) = self.seen.get_mut(&nonce) {
            return seen.note(count);
        }
        if !self.make_room(nonce) {
            return Use::Stale;
        }
        let first = Seen {
            highest: count,
            window: 1,
        };
        self.seen.insert(nonce, first);
        Use::First
    }

    /// Forgets nonces minted before this moment, which are stale from now on. Call it now and then
    /// with the time a nonce's life ago.
    pub fn forget_before(&mut self, millis: u64) {
        self.floor_millis = self.floor_millis.max(millis);
        while self
            .seen
            .first_key_value()
            .is_some_and(|(oldest, _)| oldest.millis < self.floor_millis)
        {
            self.seen.pop_first();
        }
    }

    /// How many nonces are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether no nonce is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Forgets the oldest nonces if there is no room; false if `nonce` itself is as old as they.
    fn make_room(&mut self, nonce: NonceId) -> bool {
        if self.seen.len() < self.capacity {
            return true;
        }
        let Some((&oldest, _)) = self.seen.first_key_value() else {
            return true;
        };
        if nonce.millis <= oldest.millis {
            return false;
        }
        self.forget_before(oldest.millis + 1);
        true
    }
}

impl Seen {
    fn note(&mut self, count: u32) -> Use {
        if count > self.highest {
            let ahead = count - self.highest;
            self.window = self.window.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = count;
            return Use::First;
        }
        let Some(bit) = 1u64.checked_shl(self.highest - count) else {
            return Use::Replayed;
        };
        if self.window & bit != 0 {
            return Use::Replayed;
        }
        self.window |= bit;
        Use::First
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use base::Slot;
    use proptest::prelude::*;

    use super::*;
    use crate::digest::{Freshness, NonceKey};

    fn id(millis: u64, unique: u32) -> NonceId {
        let key = NonceKey::new([0; 32], Duration::from_secs(1));
        let slot = Slot::new(0);
        match key.verify(key.mint(millis, slot, unique).as_str(), millis, slot) {
            Freshness::Fresh(id) => id,
            other => panic!("{other:?}"),
        }
    }

    /// RFC 7616 §3.4.
    #[test]
    fn each_count_is_good_once_in_any_order() {
        let mut guard = ReplayGuard::new(10);
        let nonce = id(1000, 1);
        for count in [1, 2, 5, 4, 3, 67, 6] {
            assert_eq!(guard.check(nonce, Some(count)), Use::First, "{count}");
            assert_eq!(guard.check(nonce, Some(count)), Use::Replayed, "{count}");
        }
        assert_eq!(guard.check(nonce, Some(0)), Use::Replayed);
        assert_eq!(guard.check(id(1000, 2), Some(1)), Use::First);
    }

    #[test]
    fn without_a_count_a_nonce_is_good_once() {
        let mut guard = ReplayGuard::new(10);
        assert_eq!(guard.check(id(1000, 1), None), Use::First);
        assert_eq!(guard.check(id(1000, 1), None), Use::Replayed);
        assert_eq!(guard.check(id(1000, 1), Some(1)), Use::Replayed);
    }

    #[test]
    fn what_is_forgotten_is_stale() {
        let mut guard = ReplayGuard::new(2);
        assert_eq!(guard.check(id(1000, 1), Some(1)), Use::First);
        assert_eq!(guard.check(id(1001, 2), Some(1)), Use::First);
        assert_eq!(guard.check(id(999, 3), Some(1)), Use::Stale);
        assert_eq!(guard.check(id(1002, 4), Some(1)), Use::First);
        assert_eq!(guard.check(id(1000, 1), Some(2)), Use::Stale);
        assert_eq!(guard.check(id(1001, 2), Some(2)), Use::First);
        assert_eq!(guard.len(), 2);
        guard.forget_before(2000);
        assert!(guard.is_empty());
        assert_eq!(guard.check(id(1999, 9), Some(1)), Use::Stale);
    }

    proptest! {
        #[test]
        fn no_use_is_accepted_twice(
            uses in proptest::collection::vec((0u64..12, 0u32..3, 0u32..80), 0..300),
            capacity in 1usize..6,
        ) {
            let mut guard = ReplayGuard::new(capacity);
            let mut accepted = HashSet::new();
            for (millis, unique, count) in uses {
                if guard.check(id(millis, unique), Some(count)) == Use::First {
                    prop_assert!(accepted.insert((millis, unique, count)));
                }
                prop_assert!(guard.len() <= capacity);
            }
        }
    }
}
