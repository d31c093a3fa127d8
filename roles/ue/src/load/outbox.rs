//! Messages that wait to be sent together.

use std::net::SocketAddr;
use std::ops::Range;

/// Where a message goes, or where it came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Way {
    /// The address of a datagram; `None` is the peer that the socket is connected to.
    pub(super) address: Option<SocketAddr>,
    /// The number of the connection, if there are any.
    pub(super) connection: usize,
}

impl Way {
    /// To the server.
    pub(super) const fn server(connection: usize) -> Self {
        Self {
            address: None,
            connection,
        }
    }

    /// To and from whoever has this address.
    pub(super) const fn address(address: SocketAddr) -> Self {
        Self {
            address: Some(address),
            connection: 0,
        }
    }
}

/// Messages in one buffer, each with its way.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    messages: Vec<(Range<usize>, Way)>,
}

impl Outbox {
    /// Queues what `write` appends.
    pub(super) fn send_with(&mut self, way: Way, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.messages.push((start..self.bytes.len(), way));
    }

    /// Queues a copy of `message`.
    pub(super) fn send(&mut self, way: Way, message: &[u8]) {
        self.send_with(way, |bytes| bytes.extend_from_slice(message));
    }

    /// Everything that waits, in order.
    pub(super) fn messages(&self) -> impl ExactSizeIterator<Item = (&[u8], Way)> {
        self.messages
            .iter()
            .map(|(range, way)| (&self.bytes[range.clone()], *way))
    }

    /// Empties it and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.messages.clear();
    }
}
