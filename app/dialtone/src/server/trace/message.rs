//! A message on its way to viewers.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use api::trace::{Content, Direction};
use api::{TraceLine, TraceMessage};
use base::Token;
use engine::Tapped;
use sip::Flow;

/// A copy of a message that came or went.
#[derive(Debug)]
pub(super) struct Traced {
    pub(super) at: Instant,
    pub(super) direction: engine::Direction,
    pub(super) flow: Flow,
    pub(super) bytes: Box<[u8]>,
    /// The call that it belongs to.
    pub(super) call: Option<Token>,
}

impl Traced {
    pub(super) fn new(tapped: &Tapped<'_>) -> Self {
        Self {
            at: tapped.at,
            direction: tapped.direction,
            flow: tapped.flow,
            bytes: tapped.bytes.into(),
            call: None,
        }
    }

    /// What viewers get.
    pub(super) fn line(&self, clock: &WallClock) -> TraceLine {
        TraceLine::Message(TraceMessage {
            at: clock.since_1970(self.at).as_micros() as u64,
            direction: match self.direction {
                engine::Direction::Received => Direction::Received,
                engine::Direction::Sent => Direction::Sent,
            },
            transport: self.flow.protocol.name().to_owned(),
            local: self.flow.local,
            remote: self.flow.remote,
            call: self.call.map(|call| call.to_string()),
            content: Content::new(&self.bytes),
        })
    }
}

/// Turns monotonic time into the time of day.
#[derive(Clone, Copy, Debug)]
pub(super) struct WallClock {
    instant: Instant,
    unix: Duration,
}

impl WallClock {
    pub(super) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            instant: Instant::now(),
            unix: since.unwrap_or_default(),
        }
    }

    /// Follows the system's clock when it was set; otherwise times of messages keep their distances.
    pub(super) fn follow(&mut self) {
        let now = Self::new();
        let expected = self.since_1970(now.instant);
        if expected.abs_diff(now.unix) > STEP {
            *self = now;
        }
    }

    pub(super) fn since_1970(&self, at: Instant) -> Duration {
        let ahead = at.saturating_duration_since(self.instant);
        let behind = self.instant.saturating_duration_since(at);
        (self.unix + ahead).saturating_sub(behind)
    }
}

/// A clock that differs by more than this was set.
const STEP: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_distances_and_follow_a_step() {
        let mut clock = WallClock::new();
        let at = clock.instant;
        let later = at + Duration::from_millis(7);
        let distance = clock.since_1970(later) - clock.since_1970(at);
        assert_eq!(distance, Duration::from_millis(7));
        let before = clock.unix;
        clock.follow();
        assert_eq!(clock.unix, before);
        clock.unix -= Duration::from_secs(3600);
        clock.follow();
        assert!(clock.unix >= before);
    }
}
