//! Whose turn it is to be checked.

use std::time::{Duration, Instant};

use super::pair::{Flight, SENDINGS, State};
use super::{Agent, Role};
use crate::candidate::{Kind, priority};
use crate::credentials::Credentials;
use crate::stun::attribute::{ICE_CONTROLLED, ICE_CONTROLLING, PRIORITY, USE_CANDIDATE, USERNAME};
use crate::stun::{BINDING, Class, Key, TransactionId, Writer};

/// What a check of ours says.
pub(super) struct Words<'a> {
    pub(super) transaction: TransactionId,
    /// The receiver's user fragment, a colon, ours.
    pub(super) user: &'a str,
    pub(super) controlling: bool,
    pub(super) nominates: bool,
    pub(super) tie_breaker: u64,
}

impl Agent {
    /// Whether a check could start, if time allowed.
    pub(super) fn has_work(&self) -> bool {
        self.remote.is_some() && (!self.triggered.is_empty() || self.ordinary().is_some())
    }

    /// Starts the next check: one every 50 ms.
    ///
    /// # Source
    /// RFC 8445 §6.1.4.2, §14.2.
    pub(super) fn start_check(&mut self, now: Instant) {
        if self.pace.is_some_and(|pace| pace > now) || self.remote.is_none() {
            return;
        }
        let Some(place) = self.triggered.pop_front().or_else(|| self.ordinary()) else {
            return;
        };
        self.pace = Some(now + TA);
        self.check(now, place);
    }

    /// Sends again what has not been answered, and gives up what was sent often enough.
    ///
    /// # Source
    /// RFC 8445 §7.2.5.2.3, RFC 8489 §6.2.1.
    pub(super) fn repeat_checks(&mut self, now: Instant) {
        for place in 0..self.pairs.len() {
            let Some(flight) = self.pairs[place].flight.filter(|flight| flight.due <= now) else {
                continue;
            };
            if flight.sent < SENDINGS {
                self.send(now, place);
            } else {
                let pair = &mut self.pairs[place];
                pair.flight = None;
                pair.state = State::Failed;
                // The peer's nomination stands: its next check brings another of ours.
                pair.nominated &= self.role == Role::Controlled;
            }
        }
    }

    /// Queues a check of a pair that the peer has shown to work in one direction.
    ///
    /// # Source
    /// RFC 8445 §7.3.1.4, §7.3.1.5.
    pub(super) fn trigger(&mut self, now: Instant, place: usize, nominates: bool) {
        let role = self.role;
        let pair = &mut self.pairs[place];
        pair.nominated |= nominates && role == Role::Controlled;
        if pair.state == State::Succeeded {
            if nominates && role == Role::Controlled {
                self.accept_nomination(now, place);
            }
            return;
        }
        if self.concluded && !nominates {
            return;
        }
        pair.abandon();
        pair.state = State::Waiting;
        self.enqueue(place);
        self.pace.get_or_insert(now);
    }

    pub(super) fn enqueue(&mut self, place: usize) {
        if !self.triggered.contains(&place) {
            self.triggered.push_back(place);
        }
    }

    /// The best pair that waits, or the best frozen one of whose foundation nothing is on its way.
    fn ordinary(&self) -> Option<usize> {
        if self.concluded {
            return None;
        }
        let best = |state| {
            let pairs = self.pairs.iter().enumerate();
            let fit = pairs.filter(|(_, pair)| {
                pair.state == state && (state == State::Waiting || !self.is_busy(pair.foundation))
            });
            fit.max_by_key(|(_, pair)| pair.priority(self.role))
                .map(|(place, _)| place)
        };
        best(State::Waiting).or_else(|| best(State::Frozen))
    }

    fn is_busy(&self, foundation: u64) -> bool {
        self.pairs.iter().any(|pair| {
            pair.foundation == foundation
                && matches!(pair.state, State::Waiting | State::InProgress)
        })
    }

    fn check(&mut self, now: Instant, place: usize) {
        let transaction = self.transaction();
        let timeout = self.timeout();
        let controlling = self.role == Role::Controlling;
        let pair = &mut self.pairs[place];
        pair.abandon();
        if pair.state != State::Succeeded {
            pair.state = State::InProgress;
        }
        pair.flight = Some(Flight {
            transaction,
            controlling,
            nominates: controlling && pair.nominated,
            sent: 0,
            due: now,
            timeout,
        });
        self.send(now, place);
    }

    /// How long to wait for an answer before the check is sent again: longer, the more checks there are.
    ///
    /// # Source
    /// RFC 8445 §14.3.
    fn timeout(&self) -> Duration {
        let open = self
            .pairs
            .iter()
            .filter(|pair| matches!(pair.state, State::Waiting | State::InProgress));
        LEAST_TIMEOUT.max(TA * open.count() as u32)
    }

    fn send(&mut self, now: Instant, place: usize) {
        let Some(remote) = &self.remote else {
            return;
        };
        let key = remote.secret.key.clone();
        let user = user(&remote.secret.credentials, &self.local.credentials);
        let pair = &mut self.pairs[place];
        let path = pair.path;
        let Some(flight) = &mut pair.flight else {
            return;
        };
        flight.depart(now);
        let words = Words {
            transaction: flight.transaction,
            user: &user,
            controlling: flight.controlling,
            nominates: flight.nominates,
            tie_breaker: self.tie_breaker,
        };
        self.post(path, |out| words.write(&key, out));
    }
}

impl Words<'_> {
    /// Appends the request.
    ///
    /// # Source
    /// RFC 8445 §7.1.1, §7.1.2, §7.2.2.
    pub(super) fn write(&self, key: &Key, out: &mut Vec<u8>) {
        let mut request = Writer::new(out, Class::Request, BINDING, self.transaction);
        let role = if self.controlling {
            ICE_CONTROLLING
        } else {
            ICE_CONTROLLED
        };
        request
            .put(USERNAME, self.user.as_bytes())
            .number(PRIORITY, priority(Kind::PeerReflexive, u16::MAX))
            .put(role, &self.tie_breaker.to_be_bytes());
        if self.nominates {
            request.put(USE_CANDIDATE, &[]);
        }
        request.sign(key).fingerprint();
    }
}

/// The value of USERNAME in a check.
pub(super) fn user(receiver: &Credentials, sender: &Credentials) -> String {
    [receiver.ufrag(), ":", sender.ufrag()].concat()
}

/// Between two checks.
///
/// # Source
/// RFC 8445 §14.2: Ta.
const TA: Duration = Duration::from_millis(50);

/// # Source
/// RFC 8445 §14.3.
const LEAST_TIMEOUT: Duration = Duration::from_millis(500);
