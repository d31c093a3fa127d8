//! Nomination, and the consent of the peer to receive.

use std::time::{Duration, Instant};

use rand_core::RngCore;

use super::pair::State;
use super::send::{Words, user};
use super::{Agent, Role};
use crate::lite::CONSENT;
use crate::stun::{Class, Key, Message, TransactionId};
use crate::{Event, Pair};

/// The pair that media take.
pub(super) struct Consent {
    pub(super) path: Pair,
    /// When the peer was last asked to our knowledge and content.
    heard: Instant,
    /// When it is asked again.
    next: Instant,
    asked: Option<TransactionId>,
    /// Those of the session in which the pair was selected: they hold on through a restart.
    user: String,
    key: Key,
}

impl Consent {
    pub(super) fn deadline(&self) -> Instant {
        self.next.min(self.heard + CONSENT)
    }
}

impl Agent {
    /// When a pair is nominated though a better one might still come through.
    pub(super) fn nomination_due(&self) -> Option<Instant> {
        if self.role != Role::Controlling || self.concluded || self.is_nominating() {
            return None;
        }
        let best = self.best_valid()?;
        let first = self.first_valid?;
        Some(if self.is_settled(best) {
            first
        } else {
            first + NOMINATION
        })
    }

    /// Nominates the best valid pair once nothing better can come, or has for half a second.
    ///
    /// # Source
    /// RFC 8445 §8.1.1.
    pub(super) fn nominate(&mut self, now: Instant) {
        if self.nomination_due().is_none_or(|due| due > now) {
            return;
        }
        if let Some(place) = self.best_valid() {
            self.pairs[place].nominated = true;
            self.triggered.retain(|queued| *queued != place);
            self.triggered.push_front(place);
        }
    }

    fn is_nominating(&self) -> bool {
        self.pairs.iter().any(|pair| pair.nominated)
    }

    fn best_valid(&self) -> Option<usize> {
        let pairs = self.pairs.iter().enumerate();
        let valid = pairs.filter(|(_, pair)| pair.state == State::Succeeded);
        valid
            .max_by_key(|(_, pair)| pair.priority(self.role))
            .map(|(place, _)| place)
    }

    fn is_settled(&self, best: usize) -> bool {
        let priority = self.pairs[best].priority(self.role);
        let mut better = self
            .pairs
            .iter()
            .filter(|pair| pair.priority(self.role) > priority);
        !better.any(|pair| pair.is_open())
    }

    /// The peer nominates a valid pair. One that is worse than the selected is taken only when that falls
    /// silent: agents of RFC 5245 nominate all that they check.
    ///
    /// # Source
    /// RFC 8445 §7.3.1.5, §8.1.1; RFC 5245 §8.1.1.2.
    pub(super) fn accept_nomination(&mut self, now: Instant, place: usize) {
        let selected = self.selected().and_then(|path| self.find(path));
        let is_silent = |consent: &Consent| now >= consent.heard + SILENCE;
        let better = selected.is_none_or(|old| {
            self.pairs[place].priority(self.role) >= self.pairs[old].priority(self.role)
        });
        if better || self.consent.as_ref().is_none_or(is_silent) {
            self.select(now, place);
        }
    }

    /// # Source
    /// RFC 8445 §8.1.2.
    pub(super) fn select(&mut self, now: Instant, place: usize) {
        let Some(remote) = &self.remote else {
            return;
        };
        let path = self.pairs[place].path;
        let user = user(&remote.secret.credentials, &self.local.credentials);
        let before = self.selected();
        let is_same = self
            .consent
            .as_ref()
            .is_some_and(|old| old.path == path && old.user == user);
        if is_same {
            return;
        }
        let key = remote.secret.key.clone();
        let next = now + self.interval();
        self.consent = Some(Consent {
            path,
            heard: now,
            next,
            asked: None,
            user,
            key,
        });
        self.previous = None;
        self.conclude(place);
        if before != Some(path) {
            self.tell(Event::Selected(path));
        }
    }

    /// Stops all checks but those of nominated pairs.
    fn conclude(&mut self, selected: usize) {
        self.concluded = true;
        for (place, pair) in self.pairs.iter_mut().enumerate() {
            if place != selected && pair.is_open() && !pair.nominated {
                pair.flight = None;
                pair.state = State::Failed;
            }
        }
        let pairs = &self.pairs;
        self.triggered
            .retain(|place| *place != selected && pairs[*place].nominated);
    }

    /// Asks the peer whether it still wants what we send, and stops when it has not said so for 30 seconds.
    ///
    /// # Source
    /// RFC 7675 §5.1.
    pub(super) fn keep_consent(&mut self, now: Instant) {
        let Some(consent) = &self.consent else {
            return;
        };
        if now >= consent.heard + CONSENT {
            self.consent = None;
            return self.tell(Event::Disconnected);
        }
        if now < consent.next {
            return;
        }
        let transaction = self.transaction();
        let next = now + self.interval();
        let controlling = self.role == Role::Controlling;
        let tie_breaker = self.tie_breaker;
        let Some(mut consent) = self.consent.take() else {
            return;
        };
        consent.next = next;
        consent.asked = Some(transaction);
        let words = Words {
            transaction,
            user: &consent.user,
            controlling,
            nominates: false,
            tie_breaker,
        };
        self.post(consent.path, |out| words.write(&consent.key, out));
        self.consent = Some(consent);
    }

    /// Whether this is the answer to such a question.
    pub(super) fn hears_consent(
        &mut self,
        now: Instant,
        response: &Message<'_>,
        path: Pair,
    ) -> bool {
        let Some(consent) = &mut self.consent else {
            return false;
        };
        if consent.asked != Some(response.transaction()) {
            return false;
        }
        let is_peer = consent.path == path && response.is_signed_by(&consent.key);
        if is_peer && response.class() == Class::Success {
            consent.heard = now;
            consent.asked = None;
        }
        true
    }

    /// When the list counts as failed, if nothing more comes.
    pub(super) fn failure_due(&self) -> Option<Instant> {
        let is_open = self.concluded
            || self
                .pairs
                .iter()
                .any(|pair| pair.is_open() || pair.state == State::Succeeded);
        self.patience.filter(|_| !is_open)
    }

    pub(super) fn give_up(&mut self, now: Instant) {
        if self.failure_due().is_some_and(|due| due <= now) {
            self.patience = None;
            self.tell(Event::Failed);
        }
    }

    /// Four to six seconds.
    fn interval(&mut self) -> Duration {
        Duration::from_millis(4000 + u64::from(self.random.next_u32() % 2001))
    }
}

/// How long a better pair than the first valid one is waited for.
const NOMINATION: Duration = Duration::from_millis(500);

/// How long a pair does not answer before the peer may choose a worse one.
const SILENCE: Duration = Duration::from_secs(7);
