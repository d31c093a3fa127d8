//! Which call a Call-ID belongs to: both legs of a call are one to people.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::{Slot, Token};

/// The Call-IDs of all calls in progress, and of those that ended last.
#[derive(Debug, Default)]
pub(in crate::server) struct Legs(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    calls: HashMap<Arc<str>, Token>,
    legs: HashMap<Token, Vec<Arc<str>>>,
    ended: VecDeque<Token>,
}

impl Legs {
    /// A dialog with this Call-ID belongs to the call.
    pub(in crate::server) fn joined(&self, call: Token, call_id: &Arc<str>) {
        let mut table = self.lock();
        let legs = table.legs.entry(call).or_default();
        if legs.len() < MOST_LEGS && !legs.contains(call_id) {
            legs.push(Arc::clone(call_id));
            table.calls.insert(Arc::clone(call_id), call);
        }
    }

    /// A call is over; its last messages may still be on their way.
    pub(in crate::server) fn ended(&self, call: Token) {
        let mut table = self.lock();
        table.ended.push_back(call);
        if table.ended.len() > MOST_ENDED
            && let Some(oldest) = table.ended.pop_front()
        {
            table.forget(oldest);
        }
    }

    /// All calls of a slot are gone.
    pub(in crate::server) fn lost(&self, slot: Slot) {
        let mut table = self.lock();
        let of_slot = |call: &Token| call.slot() == slot;
        table.legs.retain(|call, _| !of_slot(call));
        table.calls.retain(|_, call| !of_slot(call));
        table.ended.retain(|call| !of_slot(call));
    }

    /// The call of a Call-ID.
    pub(super) fn call_of(&self, call_id: &str) -> Option<Token> {
        self.lock().calls.get(call_id).copied()
    }

    /// Whether the call is known, in progress or ended not long ago.
    pub(super) fn contains(&self, call: Token) -> bool {
        self.lock().legs.contains_key(&call)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // The maps may differ after a panic; then a leg is not found.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn forget(&mut self, call: Token) {
        for call_id in self.legs.remove(&call).into_iter().flatten() {
            // A caller may use a Call-ID again: then it belongs to a younger call.
            if self.calls.get(&call_id) == Some(&call) {
                self.calls.remove(&call_id);
            }
        }
    }
}

/// Ended calls whose Call-IDs are kept; the oldest are forgotten.
const MOST_ENDED: usize = 2048;

/// Legs of one call that are known; a call that is forked to more has strangers among them.
const MOST_LEGS: usize = 64;

#[cfg(test)]
mod tests {
    use base::Mint;

    use super::*;

    #[test]
    fn legs_lead_to_their_call_until_it_is_long_over() {
        let legs = Legs::default();
        let mut mint = Mint::new(Slot::new(3), [1; 32]);
        let call = mint.token();
        for call_id in ["a", "b", "a"] {
            legs.joined(call, &call_id.into());
        }
        assert_eq!(
            (legs.call_of("a"), legs.call_of("b")),
            (Some(call), Some(call))
        );
        legs.ended(call);
        let younger = mint.token();
        legs.joined(younger, &"a".into());
        for _ in 0..MOST_ENDED {
            assert!(legs.contains(call));
            legs.ended(mint.token());
        }
        assert_eq!(
            (legs.call_of("a"), legs.call_of("b")),
            (Some(younger), None)
        );
        legs.lost(Slot::new(3));
        assert_eq!(legs.call_of("a"), None);
        let table = legs.lock();
        assert!(table.calls.is_empty() && table.legs.is_empty() && table.ended.is_empty());
    }
}
