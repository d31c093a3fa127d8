//! The read model of calls, fed by the events of the signalling threads.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::types::{Call, CallState, Sound};

/// Calls in progress. Written by the observer of events, read by the API.
#[derive(Debug, Default)]
pub struct Calls {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    calls: HashMap<String, Call>,
    total: u64,
}

impl Calls {
    /// No calls.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A call began.
    pub fn started(&self, call: Call) {
        let mut table = self.lock();
        table.total += 1;
        table.calls.insert(call.id.clone(), call);
    }

    /// A phone rings.
    pub fn ringing(&self, id: &str) {
        if let Some(call) = self.lock().calls.get_mut(id)
            && call.state == CallState::Calling
        {
            call.state = CallState::Ringing;
        }
    }

    /// A call was answered, at this Unix time.
    pub fn answered(&self, id: &str, at: u64) {
        if let Some(call) = self.lock().calls.get_mut(id) {
            call.state = CallState::Answered;
            call.answered = Some(at);
        }
    }

    /// How a call sounds: what its caller sends, and its callee.
    pub fn sounds(&self, id: &str, caller: Sound, callee: Sound) {
        if let Some(call) = self.lock().calls.get_mut(id) {
            (call.from_caller, call.from_callee) = (Some(caller), Some(callee));
        }
    }

    /// Something is wrong with the sound of a call.
    pub fn alarmed(&self, id: &str, reason: &str) {
        if let Some(call) = self.lock().calls.get_mut(id) {
            call.alarms.push(reason.to_owned());
        }
    }

    /// A call ended.
    pub fn ended(&self, id: &str) {
        self.lock().calls.remove(id);
    }

    /// Takes out the calls whose id is one of these, as when the thread that had them failed.
    #[must_use]
    pub fn take(&self, lost: impl Fn(&str) -> bool) -> Vec<Call> {
        let mut table = self.lock();
        let taken = table.calls.extract_if(|id, _| lost(id));
        taken.map(|(_, call)| call).collect()
    }

    /// Whether this call is in progress, answered, and out of our hands.
    #[must_use]
    pub fn is_out_of_hand(&self, id: &str) -> bool {
        let table = self.lock();
        let call = table.calls.get(id);
        call.is_some_and(|call| call.proxied && call.state == CallState::Answered)
    }

    /// How many calls are in progress.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().calls.len()
    }

    /// Whether nobody calls.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many calls there were since the start.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.lock().total
    }

    /// Whether this call is in progress.
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        self.lock().calls.contains_key(id)
    }

    /// All calls, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Call> {
        let mut calls: Vec<_> = self.lock().calls.values().cloned().collect();
        calls.sort_by(|a, b| (a.started, &a.id).cmp(&(b.started, &b.id)));
        calls
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // No method leaves the table half changed.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str, started: u64) -> Call {
        Call {
            id: id.into(),
            caller: "1001".into(),
            callee: "1002".into(),
            state: CallState::Calling,
            started,
            answered: None,
            proxied: id == "a",
            ..Call::default()
        }
    }

    #[test]
    fn a_call_lives_from_start_to_end() {
        let calls = Calls::new();
        calls.started(call("b", 20));
        calls.started(call("a", 10));
        assert_eq!(calls.list()[0].id, "a");
        calls.ringing("a");
        assert_eq!(calls.list()[0].state, CallState::Ringing);
        assert!(!calls.is_out_of_hand("a"));
        calls.answered("a", 15);
        assert!(calls.is_out_of_hand("a"));
        calls.ringing("a");
        assert_eq!(calls.list()[0].state, CallState::Answered);
        assert_eq!(calls.list()[0].answered, Some(15));
        calls.answered("b", 25);
        assert!(!calls.is_out_of_hand("b") && !calls.is_out_of_hand("gone"));
        calls.ended("a");
        assert!(!calls.contains("a") && calls.contains("b"));
        assert_eq!((calls.len(), calls.total()), (1, 2));
        calls.answered("gone", 1);
        calls.ended("gone");
        assert_eq!(calls.len(), 1);
        assert!(calls.take(|id| id == "a").is_empty());
        assert_eq!(calls.take(|id| id == "b")[0].started, 20);
        assert!(calls.is_empty());
    }
}
