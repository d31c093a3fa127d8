//! What all slots know of a trunk.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base::{Token, UnixTime};
use sip::Flow;

use super::Trunk;

/// What is known of a trunk. Its [`View`] is replaced by the slot that looks after it and read once for
/// a call; the rest is counted by all slots without a lock.
#[derive(Debug, Default)]
pub struct State {
    view: RwLock<Arc<View>>,
    channels: AtomicUsize,
    /// When the next call would be due if calls came at the highest rate, in milliseconds since 1970:
    /// a leaky bucket.
    due: AtomicU64,
}

/// A trunk as its slot last saw it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// Ways to its proxies, best first.
    pub ways: Vec<Way>,
    /// How far the registration is.
    pub registration: Registered,
    /// Our line at the provider: stands in the Contact that we registered, and nobody can guess it.
    pub line: Option<Token>,
    /// Where requests to the provider go through (RFC 3608).
    pub service_route: Vec<Box<str>>,
    /// What went wrong last; none since all is well.
    pub error: Option<Box<str>>,
}

/// How far a registration is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registered {
    /// We don't register there.
    #[default]
    No,
    /// Not yet, or not any more.
    Trying,
    /// Until then, if it is not refreshed.
    Until(UnixTime),
}

/// One way to a trunk: to one address of one of its proxies.
#[derive(Clone, Debug)]
pub struct Way {
    /// How it is reached.
    pub flow: Flow,
    /// Lower ones are tried first.
    pub priority: u32,
    /// Share of the calls among those of one priority.
    pub weight: u16,
    /// Whether it answers.
    pub health: Arc<Health>,
}

impl PartialEq for Way {
    fn eq(&self, other: &Self) -> bool {
        (self.flow, self.priority, self.weight) == (other.flow, other.priority, other.weight)
    }
}

/// Whether a way answers. Written by the slot that asks with OPTIONS and by calls that fail on it.
#[derive(Debug, Default)]
pub struct Health {
    /// See [`Reach`]: 0 unknown, 1 down, else the round trip in microseconds plus 2.
    reach: AtomicU64,
    /// No call takes the way before this, in milliseconds since 1970.
    rests_until: AtomicU64,
}

/// What the last question or call taught of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Nothing yet.
    Unknown,
    /// It answered.
    Up {
        /// After this time.
        rtt: Duration,
    },
    /// It did not answer.
    Down,
}

impl Health {
    /// What is known.
    #[must_use]
    pub fn reach(&self) -> Reach {
        match self.reach.load(Ordering::Relaxed) {
            0 => Reach::Unknown,
            1 => Reach::Down,
            micros => Reach::Up {
                rtt: Duration::from_micros(micros - 2),
            },
        }
    }

    /// Whether calls may take the way at `now` (milliseconds since 1970).
    #[must_use]
    pub fn is_usable(&self, now: u64) -> bool {
        self.reach() != Reach::Down && self.rests_until.load(Ordering::Relaxed) <= now
    }

    /// Notes what a question taught.
    pub(crate) fn set(&self, reach: Reach) {
        let number = match reach {
            Reach::Unknown => 0,
            Reach::Down => 1,
            Reach::Up { rtt } => (rtt.as_micros() as u64).saturating_add(2),
        };
        self.reach.store(number, Ordering::Relaxed);
    }

    /// Keeps calls off the way until `until` (milliseconds since 1970).
    pub(crate) fn rest(&self, until: u64) {
        self.rests_until.fetch_max(until, Ordering::Relaxed);
    }
}

impl State {
    /// The trunk as its slot last saw it.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn publish(&self, view: View) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }

    /// Calls in progress through the trunk.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels.load(Ordering::Relaxed)
    }

    /// Whether a call may begin at `now` (milliseconds since 1970) if at most `rate` do in a second: a
    /// pause lets as many come at once as a second has.
    pub(crate) fn admits(&self, now: u64, rate: u32) -> bool {
        if rate == 0 {
            return true;
        }
        let interval = (1000 / u64::from(rate)).max(1);
        let burst = 1000 - interval.min(1000);
        let admitted = self
            .due
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| {
                let due = due.max(now);
                (due <= now + burst).then_some(due + interval)
            });
        admitted.is_ok()
    }
}

impl View {
    /// Whether calls can be expected to get through: we are registered if we want to be, and some way
    /// answers or has not been asked.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.registration != Registered::Trying
            && self
                .ways
                .iter()
                .any(|way| way.health.reach() != Reach::Down)
    }
}

/// A call's place among those that a trunk carries at once; given back however the call goes.
#[derive(Debug)]
pub(crate) struct Channel(Arc<State>);

impl Channel {
    /// A place, if there is one left.
    pub(crate) fn take(trunk: &Trunk) -> Option<Self> {
        let free = |used: usize| (used < trunk.max_channels).then_some(used + 1);
        let taken = trunk
            .state
            .channels
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, free);
        taken.ok().map(|_| Self(Arc::clone(&trunk.state)))
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.0.channels.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trunk::{TrunkSettings, Trunks};

    #[test]
    fn the_rate_holds_and_a_pause_allows_a_burst() {
        let state = State::default();
        let admitted = |now| (0..50).filter(|_| state.admits(now, 10)).count();
        assert_eq!(admitted(1_000_000), 10);
        assert_eq!(admitted(1_000_050), 0);
        assert_eq!(admitted(1_000_100), 1);
        assert_eq!(admitted(1_000_500), 4);
        assert_eq!(admitted(1_060_000), 10);
        assert!((0..50).all(|_| state.admits(0, 0)));
    }

    #[test]
    fn channels_are_counted_and_come_back() {
        let mut settings = TrunkSettings::new("a", "a.example", Vec::new());
        settings.max_channels = 2;
        let trunks = Trunks::new(vec![settings.clone()], &Trunks::default());
        let trunk = trunks.named("a").unwrap();
        let first = Channel::take(trunk).unwrap();
        let _second = Channel::take(trunk).unwrap();
        assert!(Channel::take(trunk).is_none());
        drop(first);
        // A reload goes on counting.
        let reloaded = Trunks::new(vec![settings], &trunks);
        let trunk = reloaded.named("a").unwrap();
        assert_eq!(trunk.state.channels(), 1);
        assert!(Channel::take(trunk).is_some());
    }

    #[test]
    fn a_way_that_rests_is_not_used_until_it_wakes() {
        let health = Health::default();
        assert!(health.is_usable(5));
        health.rest(10);
        health.rest(8);
        assert!(!health.is_usable(9) && health.is_usable(10));
        health.set(Reach::Down);
        assert!(!health.is_usable(10));
        let rtt = Duration::from_millis(3);
        health.set(Reach::Up { rtt });
        assert_eq!(health.reach(), Reach::Up { rtt });
    }
}
