//! How often a busy worker looks at its sockets.

use std::time::{Duration, Instant};

/// Lets packets gather once they come so densely that waking up for each costs more than handling
/// it: about 16 of them, and for a millisecond at most. That halves the cost of a packet at 100
/// calls, and adds half a millisecond of delay on average where a packet is 20 long.
///
/// What participants of rooms say waits for the next turn of the room in any case, so it gathers for longer
/// while nothing else comes.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The last look at the sockets.
    looked: Instant,
    /// Since when packets are counted, and how many came.
    since: Instant,
    packets: u32,
    /// So many of them are for somebody at once.
    urgent: u32,
    /// How far apart looks are, if packets are to gather.
    period: Option<Duration>,
    /// The last look did not find an end: what waits is to be handled without a rest.
    behind: bool,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            looked: now,
            since: now,
            packets: 0,
            urgent: 0,
            period: None,
            behind: false,
        }
    }

    /// Notes a look at the sockets at `now` that found so many packets, of which so many are `urgent`, and
    /// whether it was `full`, so that more may wait.
    pub(crate) fn note(&mut self, packets: usize, urgent: u32, full: bool, now: Instant) {
        (self.looked, self.behind) = (now, full);
        self.packets = self.packets.saturating_add(packets as u32);
        self.urgent = self.urgent.saturating_add(urgent);
        let span = now.saturating_duration_since(self.since);
        if span >= WINDOW {
            self.period = self.judge(span);
            (self.since, self.packets, self.urgent) = (now, 0, 0);
        }
    }

    fn judge(&self, span: Duration) -> Option<Duration> {
        let comes = |each_ms: u128| u128::from(self.packets) >= each_ms * span.as_millis();
        if self.urgent == 0 && comes(1) {
            return Some(ROOM_PERIOD);
        }
        comes(DENSE_PER_MS).then(|| (span * GATHERED / self.packets).min(MAX_PERIOD))
    }

    /// How long to leave the sockets alone at `now`. What is `due` by the clock is kept waiting for a millisecond
    /// at most.
    pub(crate) fn pause(
        &self,
        due: impl FnOnce() -> Option<Instant>,
        now: Instant,
    ) -> Option<Duration> {
        let period = self.period.filter(|_| !self.behind)?;
        let mut until = self.looked + period;
        if period > MAX_PERIOD {
            until = due().map_or(until, |due| until.min(due));
        }
        let rest = until.checked_duration_since(now)?;
        (!rest.is_zero()).then_some(rest)
    }
}

const MAX_PERIOD: Duration = Duration::from_millis(1);
/// Shorter than the steps in which a jitter buffer tells delays apart.
const ROOM_PERIOD: Duration = Duration::from_millis(4);
const GATHERED: u32 = 16;
const WINDOW: Duration = Duration::from_millis(16);
const DENSE_PER_MS: u128 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every millisecond that find so many packets each, so many of them urgent.
    fn after(packets: usize, urgent: u32) -> (Pace, Instant) {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        for _ in 0..50 {
            now += MAX_PERIOD;
            pace.note(packets, urgent, false, now);
        }
        (pace, now)
    }

    #[test]
    fn few_packets_are_handled_as_they_come() {
        let (pace, now) = after(2, 2);
        assert_eq!(pace.pause(|| None, now), None);
    }

    #[test]
    fn many_packets_gather_for_the_rest_of_the_millisecond() {
        let (pace, now) = after(10, 10);
        assert_eq!(pace.pause(|| None, now), Some(MAX_PERIOD));
        let later = now + Duration::from_micros(700);
        assert_eq!(pace.pause(|| None, later), Some(Duration::from_micros(300)));
        // Handling them took the whole millisecond: no time to lose.
        assert_eq!(pace.pause(|| None, now + MAX_PERIOD), None);
    }

    #[test]
    fn the_denser_they_come_the_shorter_the_wait() {
        let (pace, now) = after(32, 32);
        assert_eq!(pace.pause(|| None, now), Some(MAX_PERIOD / 2));
    }

    #[test]
    fn who_is_behind_does_not_rest() {
        let (mut pace, now) = after(32, 32);
        pace.note(256, 256, true, now);
        assert_eq!(pace.pause(|| None, now), None);
        pace.note(32, 32, false, now);
        assert_eq!(pace.pause(|| None, now), Some(MAX_PERIOD / 2));
    }

    #[test]
    fn a_burst_that_ends_is_forgotten() {
        let (mut pace, now) = after(10, 10);
        pace.note(1, 1, false, now + Duration::from_secs(1));
        assert_eq!(pace.pause(|| None, now + Duration::from_secs(1)), None);
    }

    #[test]
    fn what_waits_for_a_turn_of_a_room_gathers_until_then() {
        let (mut pace, now) = after(2, 0);
        assert_eq!(pace.pause(|| None, now), Some(ROOM_PERIOD));
        let turn = now + Duration::from_millis(3);
        let rest = Duration::from_millis(3);
        assert_eq!(pace.pause(|| Some(turn), now), Some(rest));
        assert_eq!(pace.pause(|| Some(turn), turn), None);
        // Somebody speaks to one other party: who waits for that waits no longer than ever.
        (1..=16).for_each(|ms| pace.note(2, 1, false, now + MAX_PERIOD * ms));
        assert_eq!(pace.pause(|| None, now + MAX_PERIOD * 16), None);
    }
}
