//! Counters of the signalling threads.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Counter {
    /// SIP messages received, well-formed or not.
    Received,
    /// SIP messages handed to the network.
    Sent,
    /// Messages that came to one thread and belong to a slot of another.
    Forwarded,
    /// Keep-alives received: empty datagrams, CRLF on connections.
    KeepAlives,
    /// Dropped: datagrams, or connections closed, because what came is not SIP.
    NotSip,
    /// Malformed messages: requests refused with the fault's status, or dropped.
    Malformed,
    /// Requests refused or dropped because a stranger sent too many.
    Limited,
    /// Dropped: responses to nothing that we sent.
    Stray,
    /// Dropped: inputs for a thread whose mailbox is full.
    MailboxFull,
    /// Messages that could not be sent: no such socket, unreachable network, full buffer.
    NotSent,
    /// Messages withheld because their records could not be written.
    Withheld,
    /// Failures of the network that were reported to a slot.
    Unreachable,
    /// Machines that panicked and were built again.
    Panics,
    /// Connections accepted.
    Accepted,
    /// Connections made.
    Connected,
    /// Connections whose TLS handshake succeeded.
    Secured,
    /// Connections whose TLS handshake failed.
    HandshakesFailed,
    /// Connections refused because a limit was reached or descriptors ran out.
    ConnectionsRefused,
    /// Connections closed because a peer was too slow: silent, unfinished message, full buffer.
    TimedOut,
    /// Connections closed, for whatever reason. Open are Accepted + Connected − Closed.
    Closed,
}

impl Counter {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Received,
        Self::Sent,
        Self::Forwarded,
        Self::KeepAlives,
        Self::NotSip,
        Self::Malformed,
        Self::Limited,
        Self::Stray,
        Self::MailboxFull,
        Self::NotSent,
        Self::Withheld,
        Self::Unreachable,
        Self::Panics,
        Self::Accepted,
        Self::Connected,
        Self::Secured,
        Self::HandshakesFailed,
        Self::ConnectionsRefused,
        Self::TimedOut,
        Self::Closed,
    ];

    /// The name in metrics and in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Sent => "sent",
            Self::Forwarded => "forwarded",
            Self::KeepAlives => "keep_alives",
            Self::NotSip => "not_sip",
            Self::Malformed => "malformed",
            Self::Limited => "limited",
            Self::Stray => "stray",
            Self::MailboxFull => "mailbox_full",
            Self::NotSent => "not_sent",
            Self::Withheld => "withheld",
            Self::Unreachable => "unreachable",
            Self::Panics => "panics",
            Self::Accepted => "accepted",
            Self::Connected => "connected",
            Self::Secured => "secured",
            Self::HandshakesFailed => "handshakes_failed",
            Self::ConnectionsRefused => "connections_refused",
            Self::TimedOut => "timed_out",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The sum over all threads at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats([u64; Counter::ALL.len()]);

impl Stats {
    /// The value of one counter.
    #[must_use]
    pub const fn value(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    /// How many connections are open.
    #[must_use]
    pub const fn connections(&self) -> u64 {
        let made = self.value(Counter::Accepted) + self.value(Counter::Connected);
        made.saturating_sub(self.value(Counter::Closed))
    }

    /// All counters with their values.
    pub fn iter(&self) -> impl Iterator<Item = (Counter, u64)> + '_ {
        Counter::ALL
            .iter()
            .map(|&counter| (counter, self.value(counter)))
    }

    pub(crate) fn add(&mut self, tally: &Tally) {
        for (sum, cell) in self.0.iter_mut().zip(&tally.0) {
            *sum += cell.load(Ordering::Relaxed);
        }
    }
}

/// The counters of one thread, alone on its cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Tally([AtomicU64; Counter::ALL.len()]);

impl Tally {
    pub(crate) fn one(&self, counter: Counter) {
        self.many(counter, 1);
    }

    pub(crate) fn many(&self, counter: Counter, count: u64) {
        self.0[counter as usize].fetch_add(count, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_place_and_its_name() {
        let tally = Tally::default();
        for (index, counter) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(counter as usize, index);
            tally.many(counter, index as u64);
        }
        let mut stats = Stats::default();
        stats.add(&tally);
        stats.add(&tally);
        for (index, (counter, value)) in stats.iter().enumerate() {
            assert_eq!(value, 2 * index as u64, "{counter}");
        }
    }
}
