//! The network between phones and server: what gets through, when, how often.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use sip::{ConnectionId, Flow, Protocol};

use crate::dice::Dice;

/// How badly datagrams fare, each direction alike.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Percent that are lost.
    pub loss: u32,
    /// Percent that arrive twice.
    pub duplicates: u32,
    /// Milliseconds on the way.
    pub delay: Range<u32>,
    /// Percent that take up to `straggle` longer, so that later ones overtake them.
    pub stragglers: u32,
    /// Milliseconds.
    pub straggle: u32,
}

impl Weather {
    /// Nothing is lost and nothing overtakes: 10 ms for everything.
    #[must_use]
    pub const fn calm() -> Self {
        Self {
            loss: 0,
            duplicates: 0,
            delay: 10..10,
            stragglers: 0,
            straggle: 0,
        }
    }

    /// Any weather up to 30 % loss.
    #[must_use]
    pub fn random(dice: &mut Dice) -> Self {
        if dice.chance(20) {
            return Self::calm();
        }
        let worst = dice.pick(&[0, 2, 10, 30]);
        let slow = dice.pick(&[15, 60, 400]);
        Self {
            loss: dice.number(0..worst + 1),
            duplicates: dice.pick(&[0, 5, 30]),
            delay: 1..slow,
            stragglers: dice.pick(&[0, 5, 20]),
            straggle: dice.pick(&[200, 1500]),
        }
    }
}

/// A message on its way.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) protocol: Protocol,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) bytes: std::rc::Rc<[u8]>,
}

impl Packet {
    /// The way of the packet as its receiver sees it.
    pub(crate) fn flow(&self) -> Flow {
        Flow {
            protocol: self.protocol,
            local: self.to,
            remote: self.from,
            connection: self.connection,
            tls: sip::TlsPeer::ANY,
        }
    }
}

/// What happened to a packet when it was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fortune {
    Once,
    Twice,
    Lost,
}

/// Packets in transit.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) weather: Weather,
    transit: BinaryHeap<Reverse<Arrival>>,
    sent: u64,
    /// When the last octets of a stream arrive, by connection and receiver.
    streams: HashMap<(ConnectionId, SocketAddr), Instant>,
}

#[derive(Debug)]
struct Arrival {
    at: Instant,
    number: u64,
    packet: Packet,
}

impl Network {
    pub(crate) fn new(weather: Weather) -> Self {
        Self {
            weather,
            transit: BinaryHeap::new(),
            sent: 0,
            streams: HashMap::new(),
        }
    }

    /// Puts a packet on its way.
    pub(crate) fn send(&mut self, now: Instant, dice: &mut Dice, packet: Packet) -> Fortune {
        if let Some(connection) = packet.connection {
            let soonest = now + self.delay(dice);
            let last = self
                .streams
                .entry((connection, packet.to))
                .or_insert(soonest);
            *last = soonest.max(*last);
            let at = *last;
            self.push(at, packet);
            return Fortune::Once;
        }
        if dice.chance(self.weather.loss) {
            return Fortune::Lost;
        }
        let twice = dice.chance(self.weather.duplicates);
        if twice {
            let at = now + self.delay(dice);
            self.push(at, packet.clone());
        }
        let at = now + self.delay(dice);
        self.push(at, packet);
        if twice { Fortune::Twice } else { Fortune::Once }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.transit.peek().map(|Reverse(arrival)| arrival.at)
    }

    /// The next packet that has arrived by `now`.
    pub(crate) fn receive(&mut self, now: Instant) -> Option<Packet> {
        if self.next()? > now {
            return None;
        }
        self.transit.pop().map(|Reverse(arrival)| arrival.packet)
    }

    /// Loses what is on its way along a connection.
    pub(crate) fn break_connection(&mut self, connection: ConnectionId) {
        self.transit
            .retain(|Reverse(arrival)| arrival.packet.connection != Some(connection));
        self.streams.retain(|(known, _), _| *known != connection);
    }

    /// Loses what is on its way from an address.
    pub(crate) fn silence(&mut self, from: SocketAddr) {
        self.transit
            .retain(|Reverse(arrival)| arrival.packet.from != from);
    }

    fn delay(&self, dice: &mut Dice) -> Duration {
        let mut delay = dice.millis(self.weather.delay.clone());
        if dice.chance(self.weather.stragglers) {
            delay += dice.millis(0..self.weather.straggle);
        }
        delay
    }

    fn push(&mut self, at: Instant, packet: Packet) {
        self.sent += 1;
        let number = self.sent;
        self.transit.push(Reverse(Arrival { at, number, packet }));
    }
}

impl PartialEq for Arrival {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Arrival {}

impl PartialOrd for Arrival {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Arrival {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
