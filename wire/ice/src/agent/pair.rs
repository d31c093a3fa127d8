//! Pairs of candidates, and what has become of them.

use std::time::{Duration, Instant};

use super::Role;
use crate::Pair;
use crate::stun::TransactionId;

/// A candidate of ours with one of the peer's.
#[derive(Clone, Debug)]
pub(super) struct CandidatePair {
    /// Our base, and the peer's address.
    pub(super) path: Pair,
    pub(super) ours: u32,
    pub(super) theirs: u32,
    /// Of both candidates together.
    pub(super) foundation: u64,
    pub(super) state: State,
    /// The check that waits for its answer.
    pub(super) flight: Option<Flight>,
    /// A check that another took the place of; its answer counts all the same.
    pub(super) abandoned: Option<Flight>,
    /// Controlling: we nominate it. Controlled: the peer has nominated it.
    pub(super) nominated: bool,
}

/// Where a pair is in its life.
///
/// # Source
/// RFC 8445 §6.1.2.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its turn comes after a pair with the same foundation.
    Frozen,
    /// Its turn comes.
    Waiting,
    /// A check is on its way.
    InProgress,
    /// A check has come through: the pair is valid.
    Succeeded,
    /// No check has.
    Failed,
}

/// A check on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) transaction: TransactionId,
    pub(super) controlling: bool,
    pub(super) nominates: bool,
    /// How often it was sent.
    pub(super) sent: u32,
    /// When it is sent again, or given up.
    pub(super) due: Instant,
    pub(super) timeout: Duration,
}

impl CandidatePair {
    /// What decides whose turn it is.
    ///
    /// # Source
    /// RFC 8445 §6.1.2.3.
    pub(super) fn priority(&self, role: Role) -> u64 {
        let (controlling, controlled) = match role {
            Role::Controlling => (self.ours, self.theirs),
            Role::Controlled => (self.theirs, self.ours),
        };
        let smaller = u64::from(controlling.min(controlled));
        let larger = u64::from(controlling.max(controlled));
        (smaller << 32) + 2 * larger + u64::from(controlling > controlled)
    }

    /// Whether a check of it may still come through.
    pub(super) fn is_open(&self) -> bool {
        matches!(
            self.state,
            State::Frozen | State::Waiting | State::InProgress
        )
    }

    /// The check that an answer belongs to.
    pub(super) fn land(&mut self, transaction: TransactionId) -> Option<Flight> {
        let is_it = |flight: &mut Flight| flight.transaction == transaction;
        let landed = self.flight.take_if(is_it);
        landed.or_else(|| self.abandoned.take_if(is_it))
    }

    /// Makes room for another check.
    pub(super) fn abandon(&mut self) {
        if let Some(flight) = self.flight.take() {
            self.abandoned = Some(flight);
        }
    }
}

impl Flight {
    /// Counts a sending.
    ///
    /// # Source
    /// RFC 8489 §6.2.1: Rc is 7, Rm is 16.
    pub(super) fn depart(&mut self, now: Instant) {
        self.sent += 1;
        let wait = if self.sent < SENDINGS {
            self.timeout * (1 << (self.sent - 1))
        } else {
            self.timeout * LAST_WAIT
        };
        self.due = now + wait;
    }
}

/// How often a check is sent.
pub(super) const SENDINGS: u32 = 7;

/// How many time-outs are waited after the last.
const LAST_WAIT: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8445_6_1_2_3_both_sides_see_the_same_priority() {
        let address = "192.0.2.1:1".parse().unwrap();
        let mut pair = CandidatePair {
            path: Pair {
                local: address,
                remote: address,
            },
            ours: 5,
            theirs: 9,
            foundation: 0,
            state: State::Frozen,
            flight: None,
            abandoned: None,
            nominated: false,
        };
        assert_eq!(pair.priority(Role::Controlling), (5 << 32) + 18);
        assert_eq!(pair.priority(Role::Controlled), (5 << 32) + 18 + 1);
        let ours = pair.priority(Role::Controlling);
        std::mem::swap(&mut pair.ours, &mut pair.theirs);
        assert_eq!(pair.priority(Role::Controlled), ours);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn rfc8489_6_2_1_seven_sendings_in_39_5_seconds() {
        let start = Instant::now();
        let mut flight = Flight {
            transaction: TransactionId::default(),
            controlling: true,
            nominates: false,
            sent: 0,
            due: start,
            timeout: Duration::from_millis(500),
        };
        let mut at = Vec::new();
        for _ in 0..SENDINGS {
            let now = flight.due;
            at.push((now - start).as_millis());
            flight.depart(now);
        }
        assert_eq!(at, [0, 500, 1500, 3500, 7500, 15500, 31500]);
        assert_eq!((flight.due - start).as_millis(), 39500);
    }
}
