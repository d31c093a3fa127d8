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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sip::{Flow, Protocol};

    use super::*;

    fn traced(at: Instant, octets: usize) -> Traced {
        Traced {
            at,
            direction: engine::Direction::Received,
            flow: Flow {
                protocol: Protocol::Udp,
                local: "192.0.2.1:5060".parse().unwrap(),
                remote: "192.0.2.7:5060".parse().unwrap(),
                connection: None,
                tls: sip::TlsPeer::ANY,
            },
            bytes: vec![b'x'; octets].into(),
            call: None,
        }
    }

    fn lengths(history: &History, since: Option<Instant>) -> Vec<usize> {
        let newest = history.newest_since(since);
        newest.map(|traced| traced.bytes.len()).collect()
    }

    #[test]
    fn the_oldest_give_way_and_the_newest_come_first() {
        let start = Instant::now();
        let mut history = History::default();
        assert!(!history.is_on());
        history.resize(3 * size(&traced(start, 100)));
        for number in 0..5 {
            let at = start + Duration::from_secs(number);
            history.put(traced(at, 90 + number as usize));
        }
        assert_eq!(lengths(&history, None), [94, 93, 92]);
        let since = Some(start + Duration::from_secs(3));
        assert_eq!(lengths(&history, since), [94, 93]);
        history.resize(0);
        assert_eq!((lengths(&history, None), history.octets), (Vec::new(), 0));
    }
}
