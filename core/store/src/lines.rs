//! Who is on the phone: the dialogs of each line, as lamps and pickup need them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base::{SLOTS, Slot, Token};

/// A call as one line sees it (RFC 4235 §4.1: a dialog of the watched entity).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineDialog {
    /// The call; its slot is the one that writes and removes the entry.
    pub call: Token,
    /// Who began it, seen from the line.
    pub direction: Direction,
    /// How far it is.
    pub state: LineState,
    /// Who is at the other end.
    pub remote: Party,
    /// Call-ID between us and the line's phone, for Replaces (RFC 3891).
    pub call_id: Box<str>,
    /// The phone's tag in that dialog; empty while unknown.
    pub phone_tag: Box<str>,
    /// Our tag in that dialog.
    pub our_tag: Token,
}

/// Who began a call, seen from the line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The line calls.
    Initiator,
    /// The line is called.
    Recipient,
}

/// How far a dialog is (RFC 4235 §3.7.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LineState {
    /// The INVITE is on its way.
    Trying,
    /// Somebody's phone rings.
    Early,
    /// The call is answered.
    Confirmed,
}

/// Somebody at the other end of a call.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Party {
    /// Number or user name.
    pub number: Box<str>,
    /// Display name; empty if unknown.
    pub display: Box<str>,
}

/// The dialogs of all lines, by the name of a user or of anything else that a lamp may stand for.
/// Shared by all threads: a call writes from whichever slot it lives in.
#[derive(Debug)]
pub struct Lines {
    stripes: Box<[Mutex<Stripe>]>,
    entries: AtomicUsize,
}

type Stripe = HashMap<Box<str>, Vec<LineDialog>>;

impl Lines {
    /// All lines are idle.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stripes: (0..SLOTS).map(|_| Mutex::default()).collect(),
            entries: AtomicUsize::new(0),
        }
    }

    /// The dialogs of a line, oldest first.
    #[must_use]
    pub fn of(&self, line: &str) -> Vec<LineDialog> {
        self.stripe(line).get(line).cloned().unwrap_or_default()
    }

    /// Whether the line has a dialog.
    #[must_use]
    pub fn is_busy(&self, line: &str) -> bool {
        self.stripe(line).contains_key(line)
    }

    /// The oldest call that rings at a line: what a pickup takes.
    #[must_use]
    pub fn ringing_at(&self, line: &str) -> Option<LineDialog> {
        let rings = |dialog: &&LineDialog| {
            dialog.direction == Direction::Recipient && dialog.state < LineState::Confirmed
        };
        self.stripe(line).get(line)?.iter().find(rings).cloned()
    }

    /// Enters a call at a line, or changes what is known of it; a line has one entry for each call.
    /// `false`: nothing has changed, or the line has too many calls to show one more.
    pub fn set(&self, line: &str, dialog: LineDialog) -> bool {
        let mut stripe = self.stripe(line);
        let Some(dialogs) = stripe.get_mut(line) else {
            stripe.insert(line.into(), vec![dialog]);
            self.entries.fetch_add(1, Relaxed);
            return true;
        };
        if let Some(known) = dialogs.iter_mut().find(|known| known.call == dialog.call) {
            let changed = *known != dialog;
            *known = dialog;
            return changed;
        }
        if dialogs.len() >= MOST_DIALOGS {
            return false;
        }
        dialogs.push(dialog);
        self.entries.fetch_add(1, Relaxed);
        true
    }

    /// Removes a call from a line. `false`: it was not there.
    pub fn remove(&self, line: &str, call: Token) -> bool {
        let mut stripe = self.stripe(line);
        let Some(dialogs) = stripe.get_mut(line) else {
            return false;
        };
        let before = dialogs.len();
        dialogs.retain(|dialog| dialog.call != call);
        let gone = before - dialogs.len();
        if dialogs.is_empty() {
            stripe.remove(line);
        }
        self.entries.fetch_sub(gone, Relaxed);
        gone > 0
    }

    /// Removes all calls of a slot whose machine has failed, and returns the lines that had them.
    pub fn forget(&self, slot: Slot) -> Vec<Box<str>> {
        let mut lines = Vec::new();
        if self.is_empty() {
            return lines;
        }
        for stripe in &self.stripes {
            let mut stripe = stripe.lock().unwrap_or_else(PoisonError::into_inner);
            stripe.retain(|line, dialogs| {
                let before = dialogs.len();
                dialogs.retain(|dialog| dialog.call.slot() != slot);
                let gone = before - dialogs.len();
                if gone > 0 {
                    self.entries.fetch_sub(gone, Relaxed);
                    lines.push(line.clone());
                }
                !dialogs.is_empty()
            });
        }
        lines.sort_unstable();
        lines
    }

    /// How many dialogs are entered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.load(Relaxed)
    }

    /// Whether all lines are idle.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn stripe(&self, line: &str) -> MutexGuard<'_, Stripe> {
        let slot = Slot::of_key(line.as_bytes());
        // A stripe is consistent after each statement, so a panicked writer left nothing half done.
        self.stripes[slot.index()]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self::new()
    }
}

/// Most dialogs of one line that are shown; the lamp is lit by the first one.
const MOST_DIALOGS: usize = 32;

#[cfg(test)]
mod tests {
    use base::Mint;

    use super::*;

    fn dialog(mint: &mut Mint, direction: Direction, state: LineState) -> LineDialog {
        LineDialog {
            call: mint.token(),
            direction,
            state,
            remote: Party::default(),
            call_id: "1@h".into(),
            phone_tag: "t".into(),
            our_tag: mint.token(),
        }
    }

    #[test]
    fn a_line_is_busy_from_its_first_call_to_the_end_of_its_last() {
        let (lines, mut mint) = (Lines::new(), Mint::new(Slot::new(3), [0; 32]));
        let first = dialog(&mut mint, Direction::Initiator, LineState::Trying);
        let second = dialog(&mut mint, Direction::Recipient, LineState::Early);
        assert!(lines.set("1001", first.clone()));
        assert!(!lines.set("1001", first.clone()), "nothing new");
        assert!(lines.set("1001", second.clone()));
        assert_eq!(lines.ringing_at("1001"), Some(second.clone()));
        let answered = LineDialog {
            state: LineState::Confirmed,
            ..second.clone()
        };
        assert!(lines.set("1001", answered.clone()));
        assert_eq!(lines.ringing_at("1001"), None);
        assert_eq!(lines.of("1001"), [first.clone(), answered]);
        assert!(lines.remove("1001", first.call) && !lines.remove("1001", first.call));
        assert!(lines.is_busy("1001") && lines.len() == 1);
        assert!(lines.remove("1001", second.call));
        assert!(!lines.is_busy("1001") && lines.is_empty());
    }

    #[test]
    fn a_failed_slot_takes_its_calls_along() {
        let lines = Lines::new();
        let mut mints = [3, 4].map(|number| Mint::new(Slot::new(number), [0; 32]));
        for mint in &mut mints {
            let entry = dialog(mint, Direction::Initiator, LineState::Confirmed);
            lines.set("1001", entry);
        }
        let entry = dialog(&mut mints[0], Direction::Recipient, LineState::Confirmed);
        lines.set("1002", entry);
        let gone = lines.forget(Slot::new(3));
        assert_eq!(gone, ["1001".into(), "1002".into()]);
        assert_eq!((lines.of("1001").len(), lines.len()), (1, 1));
    }

    #[test]
    fn more_calls_than_a_line_shows_are_left_out() {
        let (lines, mut mint) = (Lines::new(), Mint::new(Slot::new(3), [0; 32]));
        let mut enter = || {
            lines.set(
                "1",
                dialog(&mut mint, Direction::Initiator, LineState::Trying),
            )
        };
        let shown = (0..MOST_DIALOGS + 1).filter(|_| enter()).count();
        assert_eq!(shown, MOST_DIALOGS);
    }
}
