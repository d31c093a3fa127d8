//! Wall-clock time for machines that are handed monotonic time only.

use std::time::{Duration, Instant};

/// Seconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub u64);

/// One moment known on both clocks, from which a machine derives wall-clock time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    instant: Instant,
    unix: Duration,
}

impl Clock {
    /// A clock by which `instant` is `unix` after 1970-01-01 00:00 UTC.
    #[must_use]
    pub const fn new(instant: Instant, unix: Duration) -> Self {
        Self { instant, unix }
    }

    /// Wall-clock time at `now`, in seconds.
    #[must_use]
    pub fn unix(&self, now: Instant) -> UnixTime {
        UnixTime(self.unix_millis(now) / 1000)
    }

    /// Wall-clock time at `now`, in milliseconds.
    #[must_use]
    pub fn unix_millis(&self, now: Instant) -> u64 {
        let since = match now.checked_duration_since(self.instant) {
            Some(later) => self.unix.saturating_add(later),
            None => self.unix.saturating_sub(self.instant.duration_since(now)),
        };
        since.as_millis() as u64
    }

    /// The moment at which the wall clock shows `time`; `now` if that has passed.
    #[must_use]
    pub fn instant(&self, time: UnixTime, now: Instant) -> Instant {
        now + Duration::from_millis((time.0 * 1000).saturating_sub(self.unix_millis(now)))
    }
}
