//! The 1 ms clock of the streams that we make sound for.

/// Streams by the millisecond in which their next packet is due: a wheel with a slot for each
/// millisecond of the longest packet. New streams are spread over 20 phases, so that those of the
/// usual packet length do not all fall due together.
#[derive(Debug)]
pub(crate) struct Clock {
    slots: [Vec<Due>; SLOTS as usize],
    waiting: usize,
    /// The next millisecond to look at, in the clock's own time.
    next: u64,
    /// By how much the clock's own time is behind, after the thread has been held up for long.
    behind: u64,
    phase: u64,
}

/// A stream whose packet is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Due {
    pub(crate) leg: usize,
    /// Tells a stream from one that the leg carried before.
    pub(crate) ticket: u64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            slots: std::array::from_fn(|_| Vec::new()),
            waiting: 0,
            next: 0,
            behind: 0,
            phase: 0,
        }
    }

    /// Adds a stream, due in one of the next 20 milliseconds.
    pub(crate) fn start(&mut self, due: Due, now: u64) {
        if self.waiting == 0 {
            self.next = self.next.max(now.saturating_sub(self.behind));
        }
        self.phase = (self.phase + 7) % PHASES;
        self.insert(due, self.next + 1 + self.phase);
    }

    /// When the next stream is due, in milliseconds.
    pub(crate) fn deadline(&self) -> Option<u64> {
        if self.waiting == 0 {
            return None;
        }
        let due = (self.next..self.next + SLOTS).find(|at| !self.slot(*at).is_empty())?;
        Some(due + self.behind)
    }

    /// Takes the streams of the next millisecond that is due at `now` into the empty `due`, and
    /// returns that millisecond; `None` when no more are due. Give them back by
    /// [`again`](Self::again).
    pub(crate) fn take(&mut self, now: u64, due: &mut Vec<Due>) -> Option<u64> {
        let late = now.saturating_sub(self.next + self.behind);
        if late > MAX_LATE_MS {
            // Better a gap than a burst.
            self.behind += late;
        }
        while self.waiting > 0 && self.next + self.behind <= now {
            let at = self.next;
            self.next += 1;
            let slot = &mut self.slots[(at % SLOTS) as usize];
            if !slot.is_empty() {
                self.waiting -= slot.len();
                due.append(slot);
                return Some(at);
            }
        }
        None
    }

    /// Puts a stream that was due at `at` back for `interval` milliseconds later, at most 60.
    pub(crate) fn again(&mut self, due: Due, at: u64, interval: u8) {
        self.insert(due, at + u64::from(interval));
    }

    fn insert(&mut self, due: Due, at: u64) {
        self.slots[(at % SLOTS) as usize].push(due);
        self.waiting += 1;
    }

    fn slot(&self, at: u64) -> &[Due] {
        &self.slots[(at % SLOTS) as usize]
    }
}

/// More than the longest interval.
const SLOTS: u64 = 64;
const PHASES: u64 = 20;
/// How late the thread may be and still catch up.
const MAX_LATE_MS: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn due(leg: usize) -> Due {
        Due { leg, ticket: 0 }
    }

    /// What is due up to `now`, each put back for `interval`.
    fn run(clock: &mut Clock, now: u64, interval: u8) -> Vec<(u64, usize)> {
        let mut seen = Vec::new();
        let mut batch = Vec::new();
        while let Some(at) = clock.take(now, &mut batch) {
            for due in batch.drain(..) {
                seen.push((at, due.leg));
                clock.again(due, at, interval);
            }
        }
        seen
    }

    #[test]
    fn a_stream_comes_round_at_its_interval() {
        for interval in [10u8, 20, 30, 40, 60] {
            let mut clock = Clock::new();
            clock.start(due(3), 1000);
            let first = clock.deadline().unwrap();
            assert!((1001..=1020).contains(&first));
            let mut seen = Vec::new();
            (1000..2000).for_each(|now| seen.extend(run(&mut clock, now, interval)));
            let expected: Vec<_> = (first..2000)
                .step_by(interval.into())
                .map(|at| (at, 3))
                .collect();
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn streams_spread_over_the_phases() {
        let mut clock = Clock::new();
        (0..40).for_each(|leg| clock.start(due(leg), 0));
        let mut batch = Vec::new();
        let mut sizes = Vec::new();
        while clock.take(30, &mut batch).is_some() {
            sizes.push(batch.len());
            batch.clear();
        }
        assert_eq!(sizes, vec![2; 20]);
        assert_eq!(clock.deadline(), None);
    }

    #[test]
    fn a_short_delay_is_caught_up_and_a_long_one_is_not() {
        let mut clock = Clock::new();
        clock.start(due(0), 0);
        assert_eq!(run(&mut clock, 100, 20).len(), 5);
        assert!(run(&mut clock, 5000, 20).len() <= 1);
        assert!((5000..=5020).contains(&clock.deadline().unwrap()));
        assert_eq!(run(&mut clock, 5100, 20).len(), 5);
    }
}
