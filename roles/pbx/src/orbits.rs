//! Where calls are parked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base::Token;

/// The orbits that are taken, and our tag in the dialog with whoever waits there. Shared by all slots;
/// the lock is held for one look.
#[derive(Debug, Default)]
pub struct Orbits(Mutex<HashMap<Box<str>, Token>>);

/// A place in an orbit, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Parked {
    orbits: Arc<Orbits>,
    /// The number that fetches whoever waits there.
    pub(crate) orbit: Box<str>,
}

impl Orbits {
    /// Whether nobody waits anywhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taken().is_empty()
    }

    /// Who waits in an orbit.
    pub(crate) fn at(&self, orbit: &str) -> Option<Token> {
        self.taken().get(orbit).copied()
    }

    /// Takes an orbit for the party towards whom our tag is `tag`; none if somebody waits there.
    pub(crate) fn take(self: &Arc<Self>, orbit: &str, tag: Token) -> Option<Parked> {
        let mut taken = self.taken();
        if taken.contains_key(orbit) {
            return None;
        }
        taken.insert(orbit.into(), tag);
        Some(Parked {
            orbits: Arc::clone(self),
            orbit: orbit.into(),
        })
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, HashMap<Box<str>, Token>> {
        // The map is whole after each statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.orbits.taken().remove(&self.orbit);
    }
}

#[cfg(test)]
mod tests {
    use base::{Mint, Slot};

    use super::*;

    #[test]
    fn an_orbit_holds_one_party_until_it_leaves() {
        let orbits = Arc::new(Orbits::default());
        let mut mint = Mint::new(Slot::new(1), [0; 32]);
        let (first, second) = (mint.token(), mint.token());
        let place = orbits.take("701", first).unwrap();
        assert_eq!(orbits.at("701"), Some(first));
        assert!(orbits.take("701", second).is_none());
        drop(place);
        assert_eq!(orbits.at("701"), None);
        assert!(orbits.take("701", second).is_some());
    }
}
