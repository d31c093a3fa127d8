//! Which pairs there are.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::pair::{CandidatePair, State};
use super::{Agent, Early, REMOTES, RemoteCandidate};
use crate::Pair;
use crate::candidate::Kind;
use crate::stun::integrity::crc32;

impl Agent {
    /// # Source
    /// RFC 8445 §6.1.2.2, §6.1.2.4.
    pub(super) fn pair_up_local(&mut self, now: Instant, local: usize) {
        for remote in 0..self.remotes.len() {
            self.pair_up(now, local, remote);
        }
    }

    pub(super) fn pair_up_remote(&mut self, now: Instant, remote: usize) {
        for local in 0..self.locals.len() {
            self.pair_up(now, local, remote);
        }
    }

    /// Takes what a check has told of its sender, and checks the way back.
    ///
    /// # Source
    /// RFC 8445 §7.3.1.3, §7.3.1.4.
    pub(super) fn learn_and_check(&mut self, now: Instant, early: Early) {
        let known = |remote: &RemoteCandidate| remote.address == early.path.remote;
        if !self.remotes.iter().any(known) {
            if self.remotes.len() >= REMOTES {
                return;
            }
            self.remotes.push(RemoteCandidate {
                address: early.path.remote,
                priority: early.priority,
                // Unlike those of all candidates that the peer has named.
                foundation: u32::MAX - self.remotes.len() as u32,
            });
            self.pair_up_remote(now, self.remotes.len() - 1);
        }
        if let Some(place) = self.find(early.path) {
            self.trigger(now, place, early.nominates);
        }
    }

    pub(super) fn find(&self, path: Pair) -> Option<usize> {
        self.pairs.iter().position(|pair| pair.path == path)
    }

    /// Makes a pair, unless there is one between the same sockets: a reflexive candidate is sent from its base.
    fn pair_up(&mut self, now: Instant, local: usize, remote: usize) {
        let (ours, theirs) = (&self.locals[local], self.remotes[remote]);
        let path = Pair {
            local: ours.base,
            remote: theirs.address,
        };
        if !can_reach(path.local, path.remote) || self.find(path).is_some() {
            return;
        }
        let candidate = &ours.candidate;
        // The base's own candidate is as good as it gets, whichever came first.
        let priority = match candidate.kind {
            Kind::Relayed => candidate.priority,
            _ => self.best_with_base(ours.base).unwrap_or(candidate.priority),
        };
        let foundation = crc32(&[candidate.foundation.as_bytes()]);
        let pair = CandidatePair {
            path,
            ours: priority,
            theirs: theirs.priority,
            foundation: u64::from(foundation) << 32 | u64::from(theirs.foundation),
            state: State::Frozen,
            flight: None,
            abandoned: None,
            nominated: false,
        };
        if let Some(place) = self.place(pair) {
            self.thaw_newcomer(place);
            self.pace.get_or_insert(now);
        }
    }

    fn best_with_base(&self, base: SocketAddr) -> Option<u32> {
        let same = self.locals.iter().filter(|local| local.base == base);
        same.map(|local| local.candidate.priority).max()
    }

    /// Puts a pair into the list, which has at most 100: when it is full, instead of a worse one that is not
    /// being checked.
    ///
    /// # Source
    /// RFC 8445 §6.1.2.5.
    fn place(&mut self, pair: CandidatePair) -> Option<usize> {
        if self.pairs.len() < PAIRS {
            self.pairs.push(pair);
            return Some(self.pairs.len() - 1);
        }
        let role = self.role;
        let idle =
            self.pairs.iter().enumerate().filter(|(_, old)| {
                matches!(old.state, State::Frozen | State::Waiting | State::Failed)
            });
        let (worst, old) = idle.min_by_key(|(_, old)| old.priority(role))?;
        if old.priority(role) >= pair.priority(role) {
            return None;
        }
        self.pairs[worst] = pair;
        self.triggered.retain(|place| *place != worst);
        Some(worst)
    }

    /// A pair waits at once if it is the first of its foundation, or another of it has come through.
    ///
    /// # Source
    /// RFC 8445 §6.1.2.6, RFC 8838 §12.
    fn thaw_newcomer(&mut self, place: usize) {
        let foundation = self.pairs[place].foundation;
        let mut others = self.pairs.iter().enumerate().filter(|(other, pair)| {
            *other != place && pair.foundation == foundation && pair.state != State::Failed
        });
        let none_before = others.clone().next().is_none();
        if none_before || others.any(|(_, pair)| pair.state == State::Succeeded) {
            self.pairs[place].state = State::Waiting;
        }
    }

    /// A pair has come through: those of its foundation need not wait any more.
    ///
    /// # Source
    /// RFC 8445 §7.2.5.3.3.
    pub(super) fn thaw(&mut self, foundation: u64) {
        for pair in &mut self.pairs {
            if pair.foundation == foundation && pair.state == State::Frozen {
                pair.state = State::Waiting;
            }
        }
    }
}

/// Whether one can send from here to there: the same family, and link-local addresses among themselves.
///
/// # Source
/// RFC 8445 §6.1.2.2.
fn can_reach(local: SocketAddr, remote: SocketAddr) -> bool {
    match (local.ip(), remote.ip()) {
        (IpAddr::V4(_), IpAddr::V4(_)) => true,
        (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
            ours.is_unicast_link_local() == theirs.is_unicast_link_local()
        }
        _ => false,
    }
}

/// Pairs of one agent.
const PAIRS: usize = 100;
