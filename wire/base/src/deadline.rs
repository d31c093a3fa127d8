//! Deadlines of the machines in one slot.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// A queue of deadlines for keys of type `K`.
///
/// Nothing is ever removed early: a machine keeps its own deadline, and when an entry comes due its
/// owner compares. If the machine's deadline has moved later, the owner arms the key again; if the
/// machine is gone, the entry is dropped. So a transaction costs one entry however often its timer
/// moves.
#[derive(Debug)]
pub struct Deadlines<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord + Copy> Deadlines<K> {
    /// An empty queue; takes no memory until it is used.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
        }
    }

    /// Wakes `key` at `at`.
    pub fn arm(&mut self, at: Instant, key: K) {
        self.heap.push(Reverse((at, key)));
    }

    /// The earliest entry's time; never later than the earliest deadline that was armed.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the earliest entry that is due at `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, key))| key)
    }

    /// How many entries wait, moved and dropped ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

impl<K: Ord + Copy> Default for Deadlines<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn entries_come_due_in_order() {
        let start = Instant::now();
        let mut deadlines = Deadlines::new();
        for (ms, key) in [(30, 3), (10, 1), (20, 2)] {
            deadlines.arm(start + Duration::from_millis(ms), key);
        }
        assert_eq!(deadlines.pop_due(start), None);
        let late = start + Duration::from_millis(25);
        assert_eq!(deadlines.pop_due(late), Some(1));
        assert_eq!(deadlines.pop_due(late), Some(2));
        assert_eq!(deadlines.pop_due(late), None);
        assert_eq!(deadlines.len(), 1);
    }
}
