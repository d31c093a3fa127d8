//! Token buckets that are one number each.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How fast a bucket fills, and what it holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Nanoseconds for each token.
    interval: u64,
    /// Nanoseconds until an empty bucket is full.
    full_after: u64,
}

impl Rate {
    /// So many a second, and at once those of so many seconds.
    pub(crate) const fn new(per_second: u32, burst: u32) -> Self {
        Self {
            interval: SECOND / per_second as u64,
            full_after: SECOND * burst as u64,
        }
    }

    /// The same; none if it is no limit: zero.
    pub(crate) const fn of(per_second: u32, burst: u32) -> Option<Self> {
        match per_second {
            0 => None,
            _ => Some(Self::new(per_second, burst)),
        }
    }

    /// When a bucket will be full from which one was taken at `now`; none if it is empty.
    pub(crate) fn take(self, full_at: u64, now: u64) -> Option<u64> {
        let next = full_at.max(now) + self.interval;
        (next - now <= self.full_after).then_some(next)
    }
}

const SECOND: u64 = 1_000_000_000;

/// A bucket for each source. There are so many and never more: sources that fall on one cell share
/// what it has, so that a full table means that some are counted together.
pub(crate) struct Rates {
    rate: Rate,
    /// When each bucket will be full, in nanoseconds.
    full_at: Box<[AtomicU64]>,
}

impl Rates {
    pub(crate) fn new(rate: Rate) -> Self {
        let full_at = (0..CELLS).map(|_| AtomicU64::new(0)).collect();
        Self { rate, full_at }
    }

    /// Takes one token of a source, by its hash.
    pub(crate) fn take(&self, source: u64, now: u64) -> bool {
        let cell = &self.full_at[source as usize % CELLS];
        let take = |full_at| self.rate.take(full_at, now);
        cell.fetch_update(Relaxed, Relaxed, take).is_ok()
    }
}

/// 32 KiB.
const CELLS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_what_it_holds_and_fills_again() {
        let rates = Rates::new(Rate::new(10, 2));
        let taken = |now| (0..100).filter(|_| rates.take(7, now)).count();
        assert_eq!(taken(0), 20);
        assert_eq!(taken(99_999_999), 0);
        assert_eq!(taken(100_000_000), 1);
        assert_eq!(taken(10 * SECOND), 20);
        // Clocks of several threads are read one after the other.
        assert_eq!(taken(9 * SECOND), 0);
    }

    #[test]
    fn sources_have_cells_of_their_own_until_they_share_one() {
        let rates = Rates::new(Rate::new(1, 1));
        assert!(rates.take(1, 0) && rates.take(2, 0));
        assert!(!rates.take(1 + CELLS as u64, 0));
    }
}
