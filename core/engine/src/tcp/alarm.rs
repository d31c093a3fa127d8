//! The entries that one connection has in the thread's queue of deadlines.

use std::time::Instant;

/// Remembers which entries wait, so that a deadline that moves to and fro, as it does with every
/// message, costs no entry each time.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Alarm([Option<Instant>; 2]);

impl Alarm {
    /// Whether an entry must be queued, so that the connection is looked at by `deadline`.
    pub(crate) fn needs(&mut self, deadline: Instant) -> bool {
        if self.0.iter().flatten().any(|&entry| entry <= deadline) {
            return false;
        }
        // If there are two, the later one is forgotten: it will be found to be for nothing.
        let place = match self.0 {
            [None, _] => 0,
            [_, None] => 1,
            [first, second] => usize::from(second > first),
        };
        self.0[place] = Some(deadline);
        true
    }

    /// The entries up to `now` have been taken out of the queue.
    pub(crate) fn rang(&mut self, now: Instant) {
        for entry in &mut self.0 {
            *entry = entry.filter(|&at| at > now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_deadline_that_moves_to_and_fro_costs_two_entries() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut alarm = Alarm::default();
        assert!(alarm.needs(at(3600)));
        assert!(alarm.needs(at(30)));
        assert!(!alarm.needs(at(3610)));
        assert!(!alarm.needs(at(31)));
        alarm.rang(at(30));
        assert!(!alarm.needs(at(3620)), "the entry at 3600 still waits");
        assert!(alarm.needs(at(60)));
        alarm.rang(at(3600));
        assert!(alarm.needs(at(7200)));
    }
}
