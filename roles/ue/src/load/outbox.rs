//! Datagrams that wait to be sent together.

use std::net::SocketAddr;
use std::ops::Range;

/// Datagrams in one buffer; `None` goes to the peer that the socket is connected to.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    datagrams: Vec<(Range<usize>, Option<SocketAddr>)>,
}

impl Outbox {
    /// Queues what `write` appends.
    pub(super) fn send_with(&mut self, to: Option<SocketAddr>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.datagrams.push((start..self.bytes.len(), to));
    }

    /// Queues a copy of `datagram`.
    pub(super) fn send(&mut self, to: Option<SocketAddr>, datagram: &[u8]) {
        self.send_with(to, |bytes| bytes.extend_from_slice(datagram));
    }

    /// Everything that waits, in order.
    pub(super) fn datagrams(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<SocketAddr>)> {
        self.datagrams
            .iter()
            .map(|(range, to)| (&self.bytes[range.clone()], *to))
    }

    /// Empties it and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.datagrams.clear();
    }
}
