//! Who is seen.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::SessionId;

/// The two participants with pictures who spoke last. Shared by the workers of a room.
#[derive(Debug, Default)]
pub(in crate::room) struct Stage {
    /// All who send pictures, who spoke last first. Locked when somebody comes, goes or begins to
    /// dominate the conversation, never for a packet.
    order: Mutex<Vec<u64>>,
    /// The first of them, by their sessions; 0: there is none. The third may still be looked at by those
    /// who wait for a keyframe.
    seen: [AtomicU64; 3],
    /// How often a keyframe of each of the first two was wanted.
    wishes: [AtomicU32; 2],
}

impl Stage {
    /// Somebody sends pictures from now on.
    pub(super) fn enter(&self, session: SessionId) {
        self.arrange(|order| {
            if !order.contains(&session.raw()) {
                order.push(session.raw());
            }
        });
    }

    /// Somebody sends no pictures any more.
    pub(super) fn leave(&self, session: SessionId) {
        self.arrange(|order| order.retain(|one| *one != session.raw()));
    }

    /// Somebody dominates the conversation: if there are pictures of him, they are seen.
    pub(in crate::room) fn speaks(&self, session: SessionId) {
        self.arrange(|order| {
            if let Some(at) = order.iter().position(|one| *one == session.raw()) {
                order[..=at].rotate_right(1);
            }
        });
    }

    fn arrange(&self, change: impl FnOnce(&mut Vec<u64>)) {
        // Each change leaves the list whole.
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut order);
        for (place, seen) in self.seen.iter().enumerate() {
            seen.store(order.get(place).copied().unwrap_or(0), Ordering::Release);
        }
    }

    /// Whom a participant sees: who spoke last, or the one before if that was itself. 0: nobody.
    pub(super) fn seen_by(&self, session: SessionId) -> u64 {
        match self.place(0) {
            first if first == session.raw() => self.place(1),
            first => first,
        }
    }

    /// Whether somebody sees this participant, or may in a moment.
    pub(super) fn shows(&self, session: SessionId) -> bool {
        (0..self.seen.len()).any(|place| self.place(place) == session.raw())
    }

    /// A receiver needs a keyframe of a session.
    pub(super) fn wish(&self, session: u64) {
        let of = |place: &usize| self.place(*place) == session;
        if let Some(place) = [0, 1].into_iter().find(of) {
            self.wishes[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often a keyframe has been wanted of a participant who is seen. The number tells only that
    /// another wish has come; it is off when the participants change places.
    pub(super) fn wishes(&self, session: SessionId) -> Option<u32> {
        let of = |place: &usize| self.place(*place) == session.raw();
        let place = [0, 1].into_iter().find(of)?;
        Some(self.wishes[place].load(Ordering::Relaxed))
    }

    fn place(&self, place: usize) -> u64 {
        self.seen[place].load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use base::Slot;

    use super::*;

    #[test]
    fn who_speaks_is_seen_and_sees_who_spoke_before() {
        let [one, two, three, deaf] =
            [1, 2, 3, 4].map(|number| SessionId::new(Slot::new(1), number));
        let stage = Stage::default();
        assert_eq!(stage.seen_by(one), 0);
        [one, two, three].iter().for_each(|s| stage.enter(*s));
        assert_eq!(
            [one, two, deaf].map(|s| stage.seen_by(s)),
            [two.raw(), one.raw(), one.raw()]
        );
        stage.speaks(three);
        assert_eq!(
            [one, two, three].map(|s| stage.seen_by(s)),
            [three.raw(), three.raw(), one.raw()]
        );
        // There are no pictures of this one.
        stage.speaks(deaf);
        assert_eq!(stage.seen_by(one), three.raw());
        assert!([one, two, three].iter().all(|s| stage.shows(*s)) && !stage.shows(deaf));
        stage.leave(three);
        assert_eq!([one, two].map(|s| stage.seen_by(s)), [two.raw(), one.raw()]);
    }

    #[test]
    fn wishes_are_for_who_is_seen() {
        let session = |number| SessionId::new(Slot::new(1), number);
        let stage = Stage::default();
        [1, 2, 3].iter().for_each(|n| stage.enter(session(*n)));
        stage.wish(session(2).raw());
        stage.wish(session(3).raw());
        let wishes = [1, 2, 3].map(|number| stage.wishes(session(number)));
        assert_eq!(wishes, [Some(0), Some(1), None]);
    }
}
