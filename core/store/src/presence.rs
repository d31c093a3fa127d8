//! What phones have published about their users (RFC 3903).

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base::{SLOTS, Slot, Token};

/// What one phone has said of its user.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Said {
    /// Whether the user can be reached; `None`: it did not say.
    pub open: Option<bool>,
    /// A word in the user's own language; empty: none.
    pub note: Box<str>,
    /// Names of RPID activities, as in `meeting` (RFC 4480 §3.2).
    pub activities: Vec<Box<str>>,
}

/// All that has been published and has not run out, by user. Shared by all threads; each publication
/// is written by the slot that its entity tag names.
#[derive(Debug)]
pub struct Publications {
    stripes: Box<[Mutex<Stripe>]>,
    total: AtomicUsize,
}

type Stripe = HashMap<Box<str>, Vec<(Token, Said)>>;

impl Publications {
    /// Nobody has said anything.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stripes: (0..SLOTS).map(|_| Mutex::default()).collect(),
            total: AtomicUsize::new(0),
        }
    }

    /// What has been said of a user, oldest first.
    #[must_use]
    pub fn of(&self, user: &str) -> Vec<Said> {
        let stripe = self.stripe(user);
        let said = stripe.get(user).into_iter().flatten();
        said.map(|(_, said)| said.clone()).collect()
    }

    /// Adds a publication. `false`: the user has too many.
    #[must_use]
    pub fn add(&self, user: &str, etag: Token, said: Said) -> bool {
        let mut stripe = self.stripe(user);
        let all = stripe.entry(user.into()).or_default();
        let room = all.len() < MOST_OF_ONE_USER;
        if room {
            all.push((etag, said));
            self.total.fetch_add(1, Relaxed);
        }
        room
    }

    /// Gives a publication a new entity tag, and new content if there is some. `None`: it is gone; else
    /// whether anything but the tag has changed.
    pub fn renew(&self, user: &str, etag: Token, fresh: Token, said: Option<Said>) -> Option<bool> {
        let mut stripe = self.stripe(user);
        let all = stripe.get_mut(user)?;
        let (known, before) = all.iter_mut().find(|(known, _)| *known == etag)?;
        *known = fresh;
        let changed = said.as_ref().is_some_and(|said| said != before);
        if let Some(said) = said {
            *before = said;
        }
        Some(changed)
    }

    /// Removes a publication. `false`: it was gone.
    pub fn remove(&self, user: &str, etag: Token) -> bool {
        let mut stripe = self.stripe(user);
        let Some(all) = stripe.get_mut(user) else {
            return false;
        };
        let before = all.len();
        all.retain(|(known, _)| *known != etag);
        let removed = before - all.len();
        if all.is_empty() {
            stripe.remove(user);
        }
        self.total.fetch_sub(removed, Relaxed);
        removed > 0
    }

    /// Removes what a slot has written whose machine has failed, and returns the users.
    pub fn forget(&self, slot: Slot) -> Vec<Box<str>> {
        let mut users = Vec::new();
        if self.is_empty() {
            return users;
        }
        for stripe in &self.stripes {
            let mut stripe = stripe.lock().unwrap_or_else(PoisonError::into_inner);
            stripe.retain(|user, all| {
                let before = all.len();
                all.retain(|(etag, _)| etag.slot() != slot);
                if all.len() < before {
                    self.total.fetch_sub(before - all.len(), Relaxed);
                    users.push(user.clone());
                }
                !all.is_empty()
            });
        }
        users.sort_unstable();
        users
    }

    /// Whether nothing is published.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total.load(Relaxed) == 0
    }

    fn stripe(&self, user: &str) -> MutexGuard<'_, Stripe> {
        let slot = Slot::of_key(user.as_bytes());
        // A stripe is consistent after each statement, so a panicked writer left nothing half done.
        self.stripes[slot.index()]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Publications {
    fn default() -> Self {
        Self::new()
    }
}

/// Most publications of one user: one for each phone, and some that were lost. One more is refused.
const MOST_OF_ONE_USER: usize = 16;

#[cfg(test)]
mod tests {
    use base::Mint;

    use super::*;

    fn open(open: bool) -> Said {
        Said {
            open: Some(open),
            ..Said::default()
        }
    }

    #[test]
    fn rfc3903_4_1_each_change_has_an_entity_tag_of_its_own() {
        let (all, mut mint) = (Publications::new(), Mint::new(Slot::new(5), [0; 32]));
        let tags = [(); 4].map(|()| mint.token());
        assert!(all.add("1001", tags[0], open(true)));
        assert_eq!(all.renew("1001", tags[0], tags[1], None), Some(false));
        assert_eq!(all.renew("1001", tags[0], tags[2], None), None);
        let changed = all.renew("1001", tags[1], tags[2], Some(open(false)));
        assert_eq!(changed, Some(true));
        assert_eq!(all.of("1001"), [open(false)]);
        assert!(!all.remove("1001", tags[1]) && all.remove("1001", tags[2]));
        assert!(all.is_empty());
    }

    #[test]
    fn publications_are_bounded_and_end_with_their_slot() {
        let (all, mut mint) = (Publications::new(), Mint::new(Slot::new(5), [0; 32]));
        let added = (0..20).filter(|_| all.add("1001", mint.token(), open(true)));
        assert_eq!(added.count(), MOST_OF_ONE_USER);
        let mut other = Mint::new(Slot::new(6), [0; 32]);
        assert!(all.add("1002", other.token(), open(true)));
        assert_eq!(all.forget(Slot::new(5)), ["1001".into()]);
        assert!(all.of("1001").is_empty() && all.of("1002").len() == 1);
    }
}
