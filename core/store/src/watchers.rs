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
    /// By the name of who is watched.
    stripes: Box<[Mutex<Stripe>]>,
    /// By slot: the names whose news it has not looked at. Holds watched names only.
    news: Box<[Mutex<BTreeSet<Arc<str>>>]>,
    /// How many watches there are: mostly none, and then a change costs one read.
    total: AtomicUsize,
}

type Stripe = HashMap<Arc<str>, Vec<(Slot, usize)>>;

impl Watchers {
    /// Nobody watches anybody.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stripes: (0..SLOTS).map(|_| Mutex::default()).collect(),
            news: (0..SLOTS).map(|_| Mutex::default()).collect(),
            total: AtomicUsize::new(0),
        }
    }

    /// One more watcher of `name` lives in `slot`. `false`: there are `most` already, and nothing is
    /// noted.
    #[must_use]
    pub fn watch(&self, name: &str, slot: Slot, most: usize) -> bool {
        let mut stripe = lock(&self.stripes[Slot::of_key(name.as_bytes()).index()]);
        let watching = stripe.get(name);
        let there = watching.map_or(0, |slots| slots.iter().map(|(_, count)| count).sum());
        if there >= most {
            return false;
        }
        let slots = stripe.entry(name.into()).or_default();
        match slots.iter_mut().find(|(known, _)| *known == slot) {
            Some((_, count)) => *count += 1,
            None => slots.push((slot, 1)),
        }
        self.total.fetch_add(1, Ordering::Release);
        true
    }

    /// One watcher of `name` in `slot` has gone.
    pub fn unwatch(&self, name: &str, slot: Slot) {
        let mut stripe = lock(&self.stripes[Slot::of_key(name.as_bytes()).index()]);
        let Some(slots) = stripe.get_mut(name) else {
            return;
        };
        let Some(index) = slots.iter().position(|(known, _)| *known == slot) else {
            return;
        };
        self.total.fetch_sub(1, Ordering::Release);
        slots[index].1 -= 1;
        if slots[index].1 > 0 {
            return;
        }
        slots.swap_remove(index);
        if slots.is_empty() {
            stripe.remove(name);
        }
        lock(&self.news[slot.index()]).remove(name);
    }

    /// What is shown of `name` has changed: notes it for the slots that watch, and calls `wake` for
    /// each of them that had no news before.
    pub fn changed(&self, name: &str, mut wake: impl FnMut(Slot)) {
        if self.total.load(Ordering::Acquire) == 0 {
            return;
        }
        let stripe = lock(&self.stripes[Slot::of_key(name.as_bytes()).index()]);
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

    /// Forgets all watchers in a slot whose machine has failed.
    pub fn forget(&self, slot: Slot) {
        if self.is_empty() {
            return;
        }
        for stripe in &self.stripes {
            lock(stripe).retain(|_, slots| {
                slots.retain(|(known, count)| {
                    let gone = *known == slot;
                    if gone {
                        self.total.fetch_sub(*count, Ordering::Release);
                    }
                    !gone
                });
                !slots.is_empty()
            });
        }
        lock(&self.news[slot.index()]).clear();
    }
}

impl Default for Watchers {
    fn default() -> Self {
        Self::new()
    }
}

/// What is locked here is consistent after each statement, so a panicked writer left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn woken(watchers: &Watchers, name: &str) -> Vec<u8> {
        let mut slots = Vec::new();
        watchers.changed(name, |slot| slots.push(slot.number()));
        slots
    }

    #[test]
    fn only_slots_that_watch_are_woken_and_once_until_they_look() {
        let watchers = Watchers::new();
        assert!(woken(&watchers, "1001").is_empty());
        let (a, b) = (Slot::new(7), Slot::new(200));
        for (name, slot) in [("1001", a), ("1001", b), ("1001", a), ("1002", a)] {
            assert!(watchers.watch(name, slot, 8));
        }
        assert_eq!(woken(&watchers, "1001"), [7, 200]);
        assert!(woken(&watchers, "1001").is_empty(), "still to be looked at");
        assert!(woken(&watchers, "1002").is_empty(), "woken already");
        let names: Vec<_> = watchers.take(a).into_iter().collect();
        assert_eq!(names, ["1001".into(), "1002".into()]);
        assert_eq!(woken(&watchers, "1001"), [7]);
    }

    #[test]
    fn whoever_stops_watching_is_left_alone() {
        let watchers = Watchers::new();
        let slot = Slot::new(7);
        assert!(watchers.watch("1001", slot, 2) && watchers.watch("1001", slot, 2));
        assert!(!watchers.watch("1001", Slot::new(8), 2), "full");
        watchers.unwatch("1001", slot);
        assert_eq!(woken(&watchers, "1001"), [7]);
        watchers.unwatch("1001", slot);
        assert!(watchers.take(slot).is_empty(), "its news are gone too");
        assert!(woken(&watchers, "1001").is_empty() && watchers.is_empty());
        watchers.unwatch("1001", slot);
        assert!(watchers.watch("1001", slot, 2) && watchers.watch("1001", Slot::new(9), 2));
        watchers.forget(slot);
        assert_eq!((woken(&watchers, "1001"), watchers.len()), (vec![9], 1));
    }
}
