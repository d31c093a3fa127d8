//! How often a busy worker looks at its sockets.

use std::time::{Duration, Instant};

/// Lets packets gather once they come so densely that waking up for each costs more than handling
/// it: about 16 of them, and for a millisecond at most. That halves the cost of a packet at 100
/// calls, and adds half a millisecond of delay on average where a packet is 20 long.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The last look at the sockets.
    looked: Instant,
    /// Since when packets are counted, and how many came.
    since: Instant,
    packets: u32,
    /// How far apart looks are, if packets are to gather.
    period: Option<Duration>,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            looked: now,
            since: now,
            packets: 0,
            period: None,
        }
    }

    /// Notes a look at the sockets at `now` that found so many packets.
    pub(crate) fn note(&mut self, packets: usize, now: Instant) {
        self.looked = now;
        self.packets = self.packets.saturating_add(packets as u32);
        let span = now.saturating_duration_since(self.since);
        if span >= WINDOW {
            let dense = u128::from(self.packets) >= DENSE_PER_MS * span.as_millis();
            self.period = dense.then(|| (span * GATHERED / self.packets).min(MAX_PERIOD));
            (self.since, self.packets) = (now, 0);
        }
    }

    /// How long to leave the sockets alone at `now`.
    pub(crate) fn pause(&self, now: Instant) -> Option<Duration> {
        let rest = (self.looked + self.period?).checked_duration_since(now)?;
        (!rest.is_zero()).then_some(rest)
    }
}

const MAX_PERIOD: Duration = Duration::from_millis(1);
const GATHERED: u32 = 16;
const WINDOW: Duration = Duration::from_millis(16);
const DENSE_PER_MS: u128 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every millisecond that find so many packets each.
    fn after(packets: usize) -> (Pace, Instant) {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        for _ in 0..50 {
            now += MAX_PERIOD;
            pace.note(packets, now);
        }
        (pace, now)
    }

    #[test]
    fn few_packets_are_handled_as_they_come() {
        let (pace, now) = after(2);
        assert_eq!(pace.pause(now), None);
    }

    #[test]
    fn many_packets_gather_for_the_rest_of_the_millisecond() {
        let (pace, now) = after(10);
        assert_eq!(pace.pause(now), Some(MAX_PERIOD));
        let later = now + Duration::from_micros(700);
        assert_eq!(pace.pause(later), Some(Duration::from_micros(300)));
        // Handling them took the whole millisecond: no time to lose.
        assert_eq!(pace.pause(now + MAX_PERIOD), None);
    }

    #[test]
    fn the_denser_they_come_the_shorter_the_wait() {
        let (pace, now) = after(32);
        assert_eq!(pace.pause(now), Some(MAX_PERIOD / 2));
    }

    #[test]
    fn a_burst_that_ends_is_forgotten() {
        let (mut pace, now) = after(10);
        pace.note(1, now + Duration::from_secs(1));
        assert_eq!(pace.pause(now + Duration::from_secs(1)), None);
    }
}
