//! One thread's ways to the network.

use std::io;
use std::time::Instant;

use base::Slot;
use sip::{ConnectionId, Flow, Protocol};

use crate::Send;
use crate::icmp::{Report, take_report};
use crate::poll::Poll;
use crate::post::Post;
use crate::stats::{Counter, Tally};
use crate::tcp::{Connections, Listeners, Place};
use crate::udp::UdpSocket;
use crate::wiretap::Direction;

/// Sockets of one thread, and what failed on them.
pub(crate) struct Transports {
    pub(crate) poll: Poll,
    pub(crate) connections: Connections,
    pub(crate) listeners: Listeners,
    udp: Vec<UdpSocket>,
    outbox: udp::Outbox,
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
    /// To a machine of this process.
    Inside,
    /// There is none.
    None,
}

/// What a descriptor belongs to, as the key by which the poll knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    /// The mailbox.
    Waker,
    /// The datagram socket with this position.
    Udp(usize),
    /// The listener with this position.
    Listener(usize),
    /// A connection.
    Connection(ConnectionId),
}

impl Key {
    pub(crate) const fn number(self) -> u64 {
        match self {
            Self::Waker => u64::MAX,
            Self::Udp(index) => UDP | index as u64,
            Self::Listener(index) => LISTENER | index as u64,
            Self::Connection(id) => id.0,
        }
    }

    pub(crate) const fn of_number(number: u64) -> Self {
        match number {
            u64::MAX => Self::Waker,
            _ if number & UDP != 0 => Self::Udp((number & !UDP) as usize),
            _ if number & LISTENER != 0 => Self::Listener((number & !LISTENER) as usize),
            _ => Self::Connection(ConnectionId(number)),
        }
    }
}

impl Transports {
    pub(crate) fn new(
        poll: Poll,
        udp: Vec<UdpSocket>,
        listeners: Listeners,
        connections: Connections,
    ) -> Self {
        Self {
            poll,
            connections,
            listeners,
            udp,
            outbox: udp::Outbox::new(),
            ways: Vec::new(),
            unreachable: Vec::new(),
        }
    }

    pub(crate) fn udp(&self, index: usize) -> &UdpSocket {
        &self.udp[index]
    }

    /// Sends messages, each a range of `bytes` and with the slot that wants it sent. Messages that go
    /// one way leave in the order given.
    pub(crate) fn transmit<'a, C>(
        &mut self,
        now: Instant,
        bytes: &'a [u8],
        messages: impl Iterator<Item = (Slot, &'a Send)> + Clone,
        post: &mut Post<C>,
        tally: &Tally,
    ) {
        let mut ways = std::mem::take(&mut self.ways);
        ways.extend(messages.clone().map(|(_, send)| self.way(&send.flow)));
        tally.many(Counter::Sent, ways.len() as u64);
        if let Some(tap) = post.tap() {
            let sent = messages.clone().zip(&ways);
            let sent = sent.filter(|(_, way)| **way != Way::None);
            let sent = sent.map(|((_, send), _)| (send.flow, &bytes[send.range.clone()]));
            tap.put(Direction::Sent, sent);
        }
        for (index, socket) in self.udp.iter().enumerate() {
            let way = Way::Udp(index);
            if !ways.contains(&way) {
                continue;
            }
            let mine = messages
                .clone()
                .zip(&ways)
                .filter(|(_, other)| **other == way);
            let mine = mine.map(|((slot, send), _)| {
                let datagram = socket.outgoing(&bytes[send.range.clone()], &send.flow);
                (datagram, (send.flow, slot))
            });
            let unreachable = &mut self.unreachable;
            self.outbox.send(socket, mine, |(flow, slot), error| {
                tally.one(Counter::NotSent);
                if !is_passing(error) {
                    unreachable.push((slot, flow));
                }
            });
        }
        for ((slot, send), way) in messages.zip(&ways) {
            match way {
                Way::Udp(_) => {}
                Way::Stream => {
                    self.transmit_stream(
                        now,
                        slot,
                        send.flow,
                        &bytes[send.range.clone()],
                        post,
                        tally,
                    );
                }
                Way::Inside => post.send_inside(slot, send.flow, &bytes[send.range.clone()]),
                Way::None => self.not_sent(slot, send.flow, tally),
            }
        }
        self.connections.flush(&self.poll, tally);
        ways.clear();
        self.ways = ways;
    }

    /// Sends one message over a connection of this thread with the next flush, or hands it to the
    /// thread that owns the connection.
    pub(crate) fn transmit_stream<C>(
        &mut self,
        now: Instant,
        slot: Slot,
        flow: Flow,
        bytes: &[u8],
        post: &mut Post<C>,
        tally: &Tally,
    ) {
        match self.connections.place(now, &flow, &self.poll, tally) {
            Place::Here(id) => self.connections.queue(id, slot, bytes, &self.poll, tally),
            Place::There(thread, id) => {
                let connection = Some(id);
                post.transmit(thread, slot, Flow { connection, ..flow }, bytes);
            }
            Place::Nowhere => self.not_sent(slot, flow, tally),
        }
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
        self.unreachable
            .pop()
            .or_else(|| self.connections.take_failed())
    }

    /// Whether slots must be told of failures.
    pub(crate) fn has_unreachable(&self) -> bool {
        !self.unreachable.is_empty() || self.connections.has_failed()
    }

    /// When connections or listeners must be looked at, or earlier.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let listeners = self.listeners.next_deadline();
        listeners
            .into_iter()
            .chain(self.connections.next_deadline())
            .min()
    }

    fn not_sent(&mut self, slot: Slot, flow: Flow, tally: &Tally) {
        tally.one(Counter::NotSent);
        self.unreachable.push((slot, flow));
    }

    fn way(&self, flow: &Flow) -> Way {
        match flow.protocol {
            Protocol::Udp => {}
            Protocol::Local => return Way::Inside,
            _ => return Way::Stream,
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

const UDP: u64 = 1 << 63;

const LISTENER: u64 = 1 << 62;
