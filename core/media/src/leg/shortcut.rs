//! Whether the packets of a side may take the short way through the kernel, and what has become of those that do.

use std::net::SocketAddr;

use codec::Codec;
use rtp::Header;
use xdp::{Counters, Flow, Path, PayloadTypes};

use super::{Leg, SETTLED_MS};
use crate::transport::Transport;

/// What a leg knows of the short way.
#[derive(Debug)]
pub(crate) struct Shortcut {
    taken: Option<Box<Taken>>,
    /// It is not taken before that, in milliseconds.
    not_before: u64,
    /// How long it is left alone after it was of no use, in milliseconds.
    patience: u64,
}

#[derive(Debug)]
struct Taken {
    flow: Flow,
    /// Packets and octets that are counted already.
    counted: (u64, u64),
    /// Packets of the party that came to the worker instead, and that passed, since the last look.
    came: u64,
    passed: u64,
    /// When it is looked at next, and when it is asked whether the way is still the same, in milliseconds.
    look: u64,
    ask: u64,
}

impl Default for Shortcut {
    fn default() -> Self {
        Self {
            taken: None,
            not_before: 0,
            patience: LOOK_MS,
        }
    }
}

impl Shortcut {
    /// Whether packets take it.
    pub(crate) fn is_taken(&self) -> bool {
        self.taken.is_some()
    }

    /// Whether it is time to find out if they can.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        match &self.taken {
            Some(taken) => now >= taken.look,
            None => now >= self.not_before,
        }
    }

    /// Takes it, if the system can.
    pub(crate) fn take(&mut self, path: &Path, flow: Flow, now: u64) {
        if path.insert(&flow).is_err() {
            self.not_before = now + RETRY_MS;
            return;
        }
        self.taken = Some(Box::new(Taken {
            flow,
            counted: (0, 0),
            came: 0,
            passed: 0,
            look: now + LOOK_MS,
            ask: now + ASK_MS,
        }));
    }

    /// Whether it is still as it would be taken now, and is of use. To be asked after each second.
    pub(crate) fn is_good(&mut self, path: &Path, wanted: Option<&Flow>, now: u64) -> bool {
        let Some(taken) = &mut self.taken else {
            return false;
        };
        taken.look = now + LOOK_MS;
        let useful = taken.came <= taken.passed;
        if !useful {
            self.patience = (self.patience * 2).min(MAX_PATIENCE_MS);
        }
        (taken.came, taken.passed) = (0, 0);
        if now >= taken.ask {
            taken.ask = now + ASK_MS;
            if !path.is_current(&taken.flow) {
                return false;
            }
        }
        useful && wanted.is_some_and(|wanted| wanted.is_same_way(&taken.flow))
    }
}

impl Leg {
    /// The flow of the packets from this side to the `other` one, if nothing has to be done with them but to pass
    /// them on: whatever the packet path does with a packet besides has to be ruled out here.
    pub(crate) fn flow(&self, other: &Self, dscp: u8, now: u64) -> Option<Flow> {
        let heard = self.tap.is_some()
            || other.tap.is_some()
            || self.is_listened_to(Some(other))
            || !self.is_heard_out();
        if heard || other.dialing.is_some() || self.latch.is_silent(now) {
            return None;
        }
        if !(self.is_bare() && other.is_bare()) {
            return None;
        }
        let (payload_types, clock) = self.passed_types()?;
        let flow = Flow {
            from: self.latch.settled(now, SETTLED_MS)?,
            arrives: self.transport.address(),
            leaves: other.transport.address(),
            to: other.target()?,
            ssrc: self.received.ssrc?,
            payload_types,
            dscp,
            clock,
            highest: self.received.sequence?.highest(),
            jitter: self.quality.jitter(),
        };
        is_outside(&flow).then_some(flow)
    }

    /// Nothing of ours is between this side and the network, and nothing on it is our own.
    fn is_bare(&self) -> bool {
        self.is_open()
            && matches!(self.transport, Transport::Own(_))
            && self.protection.is_none()
            && self.checks.is_none()
            && self.screen.is_none()
            && self.own.is_none()
            && self.tos.is_none()
            && self.bundle.is_none()
            && self.carried.is_none()
    }

    /// Nobody waits for this side to say something that is no silence.
    fn is_heard_out(&self) -> bool {
        let looked_at = matches!(self.quality.codec(), Some(Codec::Pcmu | Codec::Pcma));
        !looked_at || self.watch.is_over()
    }

    /// The payload types that pass, and the clock of theirs that is known. Of what is understood, that is the codec
    /// in use: keys and changes are for the worker.
    fn passed_types(&self) -> Option<(PayloadTypes, u32)> {
        if self.meaning().is_empty() {
            return self.converter.is_none().then(|| (PayloadTypes::all(), 0));
        }
        let (number, clock) = self.quality.stream()?;
        let new = match &self.converter {
            None => number,
            Some(converter) => converter.passes(number)?,
        };
        Some((PayloadTypes::default().with(number, new), clock))
    }

    /// Counts what has taken the short way since it was asked last.
    pub(crate) fn catch_up(&mut self, path: &Path, now: u64) {
        let counters = self
            .shortcut
            .taken
            .as_ref()
            .and_then(|t| path.read(&t.flow));
        if let Some(counters) = counters {
            self.absorb(&counters, now);
        }
    }

    /// All packets come to the worker again.
    pub(crate) fn leave_shortcut(&mut self, path: &Path, now: u64) {
        let counters = self
            .shortcut
            .taken
            .as_ref()
            .and_then(|t| path.remove(&t.flow));
        if let Some(counters) = counters {
            self.absorb(&counters, now);
        }
        self.shortcut.taken = None;
        self.shortcut.not_before = now + self.shortcut.patience;
    }

    /// A packet has come to the worker that might have taken the short way.
    pub(crate) fn rejoin(&mut self, path: &Path, from: SocketAddr, header: &Header, now: u64) {
        let Some(taken) = self.shortcut.taken.as_mut().filter(|t| t.flow.from == from) else {
            return;
        };
        taken.came += 1;
        let another = taken.flow.ssrc != header.ssrc;
        self.catch_up(path, now);
        let far = self
            .received
            .sequence
            .is_some_and(|s| s.is_far(header.sequence));
        if another || far {
            self.shortcut.patience = (self.shortcut.patience * 2).min(MAX_PATIENCE_MS);
            self.leave_shortcut(path, now);
        }
    }

    fn absorb(&mut self, counters: &Counters, now: u64) {
        let Some(taken) = &mut self.shortcut.taken else {
            return;
        };
        let packets = counters.packets.saturating_sub(taken.counted.0);
        let octets = counters.octets.saturating_sub(taken.counted.1);
        let (Some(idle), 1..) = (counters.idle, packets) else {
            return;
        };
        taken.counted = (counters.packets, counters.octets);
        taken.passed += packets;
        let at = now.saturating_sub(idle.as_millis() as u64);
        let received = &mut self.received;
        received.stats.packets += packets;
        received.stats.octets += octets;
        received.at = received.at.max(at);
        if let Some(sequence) = &mut received.sequence {
            sequence.advance(counters.highest, packets);
        }
        let (sequence, timestamp) = (counters.highest as u16, counters.timestamp);
        self.latch.passed(sequence, timestamp, at);
        self.watch.go_on(at);
        if taken.flow.clock != 0 {
            self.quality.measured(counters.jitter);
        }
    }
}

/// Whether all of it is on the network, and of one family.
fn is_outside(flow: &Flow) -> bool {
    let all = [flow.from, flow.arrives, flow.leaves, flow.to];
    let fit = |address: &SocketAddr| {
        let ip = address.ip();
        !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast())
            && address.port() != 0
            && address.is_ipv4() == flow.from.is_ipv4()
    };
    all.iter().all(fit)
}

/// How often a way that is taken is looked at, and the time before one is taken the first time, in milliseconds.
const LOOK_MS: u64 = 1000;
/// How often the system is asked where the next hop is.
const ASK_MS: u64 = 5000;
/// Where the system could not take a flow it is asked again after this time.
const RETRY_MS: u64 = 5000;
const MAX_PATIENCE_MS: u64 = 64_000;
