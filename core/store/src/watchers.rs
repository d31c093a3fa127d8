//! Which slots want to know when something changes, and what has changed for each.
//!
//! Whoever changes what is shown of somebody calls [`Watchers::changed`] and wakes the slots that it
//! names. A woken slot takes all names at once and looks for itself what is new, so news add up to one
//! look, a wake-up too many does no harm, and nothing here grows with the number of changes.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::{SLOTS, Slot};

/// Who watches whom. Shared by all threads.
#[derive(Debug)]
pub struct Watchers {
    /// Watches by the name of who is watched.
    watched: Counts,
    /// Watches by the name of who watches.
    watching: Counts,
    /// By slot: the names whose news it has not looked at. Holds watched names only.
    news: Box<[Mutex<BTreeSet<Arc<str>>>]>,
    /// How many watches there are: mostly none, and then a change costs one read.
    total: AtomicUsize,
}

/// One watch: who watches whom, and the slot that tells.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    /// Who watches.
    pub watcher: &'a str,
    /// Who is watched.
    pub watched: &'a str,
    /// Where the subscription lives.
    pub slot: Slot,
}

impl Watchers {
    /// Nobody watches anybody.
    #[must_use]
    pub fn new() -> Self {
        Self {
            watched: Counts::new(),
            watching: Counts::new(),
            news: (0..SLOTS).map(|_| Mutex::default()).collect(),
            total: AtomicUsize::new(0),
        }
    }

    /// Notes one more watch. `false`: the watcher has too many, or too many watch the same; then
    /// nothing is noted.
    #[must_use]
    pub fn watch(&self, watch: Watch<'_>) -> bool {
        if !self
            .watching
            .add(watch.watcher, watch.slot, MOST_OF_ONE_WATCHER)
        {
            return false;
        }
        if !self
            .watched
            .add(watch.watched, watch.slot, MOST_OF_ONE_WATCHED)
        {
            self.watching.remove(watch.watcher, watch.slot);
            return false;
        }
        self.total.fetch_add(1, Ordering::Release);
        true
    }

    /// A watch has ended.
    pub fn unwatch(&self, watch: Watch<'_>) {
        self.watching.remove(watch.watcher, watch.slot);
        let left = self.watched.remove(watch.watched, watch.slot);
        if let Some(left) = left {
            self.total.fetch_sub(1, Ordering::Release);
            if left == 0 {
                lock(&self.news[watch.slot.index()]).remove(watch.watched);
            }
        }
    }

    /// What is shown of `name` has changed: notes it for the slots that watch, and calls `wake` for
    /// each of them that had no news before.
    pub fn changed(&self, name: &str, mut wake: impl FnMut(Slot)) {
        if self.is_empty() {
            return;
        }
        let stripe = self.watched.stripe(name);
        let Some((name, slots)) = stripe.get_key_value(name) else {
            return;
        };
        for (slot, _) in slots {
            let mut news = lock(&self.news[slot.index()]);
            let first = news.is_empty();
            news.insert(Arc::clone(name));
            if first {
                wake(*slot);
            }
        }
    }

    /// Takes the names of whom `slot` watches and of whom something has changed, in order.
    #[must_use]
    pub fn take(&self, slot: Slot) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut *lock(&self.news[slot.index()]))
    }

    /// How many watches there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.total.load(Ordering::Acquire)
    }

    /// Whether nobody watches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all watches in a slot whose machine has failed.
    pub fn forget(&self, slot: Slot) {
        if self.is_empty() {
            return;
        }
        self.watching.forget(slot);
        let gone = self.watched.forget(slot);
        self.total.fetch_sub(gone, Ordering::Release);
        lock(&self.news[slot.index()]).clear();
    }
}

impl Default for Watchers {
    fn default() -> Self {
        Self::new()
    }
}

/// How many watches each slot has under each name.
#[derive(Debug)]
struct Counts(Box<[Mutex<Stripe>]>);

type Stripe = HashMap<Arc<str>, Vec<(Slot, usize)>>;

impl Counts {
    fn new() -> Self {
        Self((0..SLOTS).map(|_| Mutex::default()).collect())
    }

    fn add(&self, name: &str, slot: Slot, most: usize) -> bool {
        let mut stripe = self.stripe(name);
        let known = stripe.get(name);
        let there: usize = known.map_or(0, |slots| slots.iter().map(|(_, count)| count).sum());
        if there >= most {
            return false;
        }
        let slots = match known {
            Some(_) => stripe.get_mut(name),
            None => Some(stripe.entry(name.into()).or_default()),
        };
        let Some(slots) = slots else { return false };
        match slots.iter_mut().find(|(known, _)| *known == slot) {
            Some((_, count)) => *count += 1,
            None => slots.push((slot, 1)),
        }
        true
    }

    /// How many the slot has left under the name; `None`: it had none.
    fn remove(&self, name: &str, slot: Slot) -> Option<usize> {
        let mut stripe = self.stripe(name);
        let slots = stripe.get_mut(name)?;
        let index = slots.iter().position(|(known, _)| *known == slot)?;
        slots[index].1 -= 1;
        let left = slots[index].1;
        if left == 0 {
            slots.swap_remove(index);
        }
        if slots.is_empty() {
            stripe.remove(name);
        }
        Some(left)
    }

    /// Removes what the slot has, and tells how much that was.
    fn forget(&self, slot: Slot) -> usize {
        let mut gone = 0;
        for stripe in &self.0 {
            lock(stripe).retain(|_, slots| {
                let had = slots.iter().find(|(known, _)| *known == slot);
                gone += had.map_or(0, |(_, count)| *count);
                slots.retain(|(known, _)| *known != slot);
                !slots.is_empty()
            });
        }
        gone
    }

    fn stripe(&self, name: &str) -> MutexGuard<'_, Stripe> {
        lock(&self.0[Slot::of_key(name.as_bytes()).index()])
    }
}

/// What is locked here is consistent after each statement, so a panicked writer left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Most watches of one watcher: a console with a lamp for each of its users. One more is refused.
const MOST_OF_ONE_WATCHER: usize = 1024;

/// Most watches of one name, each of which costs a message when it changes. One more is refused.
const MOST_OF_ONE_WATCHED: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(watched: &str, slot: u8) -> Watch<'_> {
        Watch {
            watcher: "boss",
            watched,
            slot: Slot::new(slot),
        }
    }

    fn woken(watchers: &Watchers, name: &str) -> Vec<u8> {
        let mut slots = Vec::new();
        watchers.changed(name, |slot| slots.push(slot.number()));
        slots
    }

    #[test]
    fn only_slots_that_watch_are_woken_and_once_until_they_look() {
        let watchers = Watchers::new();
        assert!(woken(&watchers, "1001").is_empty());
        for (name, slot) in [("1001", 7), ("1001", 200), ("1001", 7), ("1002", 7)] {
            assert!(watchers.watch(watch(name, slot)));
        }
        assert_eq!(woken(&watchers, "1001"), [7, 200]);
        assert!(woken(&watchers, "1001").is_empty(), "still to be looked at");
        assert!(woken(&watchers, "1002").is_empty(), "woken already");
        let names: Vec<_> = watchers.take(Slot::new(7)).into_iter().collect();
        assert_eq!(names, ["1001".into(), "1002".into()]);
        assert_eq!(woken(&watchers, "1001"), [7]);
    }

    #[test]
    fn whoever_stops_watching_is_left_alone() {
        let watchers = Watchers::new();
        assert!(watchers.watch(watch("1001", 7)) && watchers.watch(watch("1001", 7)));
        watchers.unwatch(watch("1001", 7));
        assert_eq!(woken(&watchers, "1001"), [7]);
        watchers.unwatch(watch("1001", 7));
        assert!(watchers.take(Slot::new(7)).is_empty(), "no news either");
        assert!(woken(&watchers, "1001").is_empty() && watchers.is_empty());
        watchers.unwatch(watch("1001", 7));
        assert!(watchers.watch(watch("1001", 7)) && watchers.watch(watch("1001", 9)));
        watchers.forget(Slot::new(7));
        assert_eq!((woken(&watchers, "1001"), watchers.len()), (vec![9], 1));
    }

    #[test]
    fn neither_a_watcher_nor_a_watched_one_has_more_than_the_limit() {
        let watchers = Watchers::new();
        let same = (0..2000).filter(|_| watchers.watch(watch("1001", 7)));
        assert_eq!(same.count(), MOST_OF_ONE_WATCHED);
        let names: Vec<String> = (0..2000).map(|name| name.to_string()).collect();
        let others = names.iter().filter(|name| watchers.watch(watch(name, 8)));
        let left = MOST_OF_ONE_WATCHER - MOST_OF_ONE_WATCHED;
        assert_eq!(others.count(), left);
        assert_eq!(watchers.len(), MOST_OF_ONE_WATCHER);
    }
}
