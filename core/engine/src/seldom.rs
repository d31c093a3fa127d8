//! Log lines that a peer can provoke, at most one a second of each kind.

use std::time::{Duration, Instant};

/// Lets one through each second and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    next: Option<Instant>,
    suppressed: u64,
}

impl Seldom {
    /// Whether to log at `now`; with how many were not logged since the last time.
    pub(crate) fn allows(&mut self, now: Instant) -> Option<u64> {
        if self.next.is_some_and(|next| now < next) {
            self.suppressed += 1;
            return None;
        }
        self.next = Some(now + Duration::from_secs(1));
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_and_the_rest_is_counted() {
        let mut seldom = Seldom::default();
        let start = Instant::now();
        assert_eq!(seldom.allows(start), Some(0));
        assert_eq!(seldom.allows(start), None);
        assert_eq!(seldom.allows(start + Duration::from_millis(999)), None);
        assert_eq!(seldom.allows(start + Duration::from_secs(1)), Some(2));
    }
}
