//! Counting what happened.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use sip::StatusCode;

use super::Histogram;

/// Why an operation failed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Failure {
    /// The server refused.
    Status(StatusCode),
    /// No final answer came in time.
    Timeout,
    /// The server asked for a password in a way that we can't answer, or twice.
    Challenge,
    /// A success without what must be in it: the Contact of a call's answer.
    Malformed,
    /// The other party ended the call.
    Ended,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status} {}", status.reason()),
            Self::Timeout => f.write_str("no final answer"),
            Self::Challenge => f.write_str("challenge that can't be answered"),
            Self::Malformed => f.write_str("success without a usable Contact"),
            Self::Ended => f.write_str("ended by the other party"),
        }
    }
}

/// What happened so far.
#[derive(Clone, Default, Debug)]
pub struct Tally {
    /// Operations started.
    pub started: u64,
    /// Operations that came to their good end.
    pub ok: u64,
    /// Operations that failed, by reason.
    pub failures: BTreeMap<Failure, u64>,
    /// Requests sent again because no answer came in time.
    pub retransmissions: u64,
    /// Messages that belong to nothing of ours.
    pub strays: u64,
    /// From an operation's first request to its end, the time that a call was held left out.
    pub latency: Histogram,
    /// From INVITE to 200, calls only.
    pub answer: Histogram,
}

impl Tally {
    /// Operations that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Operations that ended, either way.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.ok + self.failed()
    }

    pub(super) fn count(&mut self, end: Result<Duration, Failure>) {
        match end {
            Ok(latency) => {
                self.ok += 1;
                self.latency.record(latency);
            }
            Err(failure) => *self.failures.entry(failure).or_default() += 1,
        }
    }
}
