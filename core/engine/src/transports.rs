//! One thread's ways to the network.

use std::io;

use base::Slot;
use sip::{Flow, Protocol};

use crate::Send;
use crate::icmp::{Report, take_report};
use crate::stats::{Counter, Tally};
use crate::udp::{Outbox, UdpSocket};

/// Sockets of one thread, and what failed on them.
pub(crate) struct Transports {
    udp: Vec<UdpSocket>,
    outbox: Outbox,
    /// The way of each message of the batch that is being sent.
    ways: Vec<Way>,
    /// Failures that their slots have not been told of.
    unreachable: Vec<(Slot, Flow)>,
}

/// How one message leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Through the datagram socket with this position.
    Udp(usize),
    /// Over a connection.
    Stream,
    /// There is none.
    None,
}

impl Transports {
    pub(crate) fn new(udp: Vec<UdpSocket>) -> Self {
        Self {
            udp,
            outbox: Outbox::new(),
            ways: Vec::new(),
            unreachable: Vec::new(),
        }
    }

    pub(crate) fn udp(&self, index: usize) -> &UdpSocket {
        &self.udp[index]
    }

    /// Sends messages, each a range of `bytes` and with the slot that wants it sent. Messages that go
    /// one way leave in the order given.
    pub(crate) fn transmit<'a>(
        &mut self,
        bytes: &'a [u8],
        messages: impl Iterator<Item = (Slot, &'a Send)> + Clone,
        tally: &Tally,
    ) {
        let mut ways = std::mem::take(&mut self.ways);
        ways.extend(messages.clone().map(|(_, send)| self.way(&send.flow)));
        tally.many(Counter::Sent, ways.len() as u64);
        for (index, socket) in self.udp.iter().enumerate() {
            let way = Way::Udp(index);
            if !ways.contains(&way) {
                continue;
            }
            let mine = messages
                .clone()
                .zip(&ways)
                .filter(|(_, other)| **other == way);
            let mine = mine.map(|((slot, send), _)| (&bytes[send.range.clone()], send.flow, slot));
            let unreachable = &mut self.unreachable;
            self.outbox.send(socket, mine, |flow, slot, error| {
                tally.one(Counter::NotSent);
                if !is_passing(error) {
                    unreachable.push((slot, flow));
                }
            });
        }
        for ((slot, send), way) in messages.zip(&ways) {
            if matches!(way, Way::None | Way::Stream) {
                tally.one(Counter::NotSent);
                self.unreachable.push((slot, send.flow));
            }
        }
        ways.clear();
        self.ways = ways;
    }

    /// Takes what the network has reported about the datagrams of a socket.
    pub(crate) fn read_reports(&mut self, index: usize) {
        for _ in 0..REPORTS {
            match take_report(&self.udp[index]) {
                Some(Report::Unreachable(slot, flow)) => self.unreachable.push((slot, flow)),
                Some(Report::Other) => {}
                None => return,
            }
        }
    }

    /// Takes a failure that its slot must be told of.
    pub(crate) fn take_unreachable(&mut self) -> Option<(Slot, Flow)> {
        self.unreachable.pop()
    }

    /// Whether slots must be told of failures.
    pub(crate) fn has_unreachable(&self) -> bool {
        !self.unreachable.is_empty()
    }

    fn way(&self, flow: &Flow) -> Way {
        if flow.protocol != Protocol::Udp {
            return Way::Stream;
        }
        if flow.local.is_ipv4() != flow.remote.is_ipv4() {
            return Way::None;
        }
        (0..self.udp.len())
            .map(|index| (self.udp[index].suits(flow.local), index))
            .filter(|(suits, _)| *suits > 0)
            // The first of the best, so that one flow always takes one way.
            .max_by_key(|(suits, index)| (*suits, std::cmp::Reverse(*index)))
            .map_or(Way::None, |(_, index)| Way::Udp(index))
    }
}

/// Whether the same datagram may get through a moment later.
fn is_passing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM))
}

/// Reports that are taken before the sockets get their turn.
const REPORTS: usize = 64;
