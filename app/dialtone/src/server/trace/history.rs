//! Messages of the past, as far as memory was set aside for them.

use std::collections::VecDeque;
use std::time::Instant;

use super::message::Traced;

/// The last messages, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    messages: VecDeque<Traced>,
    octets: usize,
    most: usize,
}

impl History {
    /// Keeps at most so many octets from now on; none keeps nothing.
    pub(super) fn resize(&mut self, most: usize) {
        self.most = most;
        self.trim();
    }

    /// Whether anything is kept.
    pub(super) fn is_on(&self) -> bool {
        self.most > 0
    }

    /// Keeps a message; the oldest give way.
    pub(super) fn put(&mut self, traced: Traced) {
        self.octets += size(&traced);
        self.messages.push_back(traced);
        self.trim();
    }

    /// The messages since a moment, newest first.
    pub(super) fn newest_since(&self, since: Option<Instant>) -> impl Iterator<Item = &Traced> {
        let messages = self.messages.iter().rev();
        messages.take_while(move |traced| Some(traced.at) >= since)
    }

    fn trim(&mut self) {
        while self.octets > self.most
            && let Some(oldest) = self.messages.pop_front()
        {
            self.octets -= size(&oldest);
        }
    }
}

/// What a message takes in memory, about.
fn size(traced: &Traced) -> usize {
    size_of::<Traced>() + traced.bytes.len()
}
