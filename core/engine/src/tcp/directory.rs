//! What all threads know about connections: whose they are, how many there are.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use sip::{ConnectionId, Flow, Protocol, TlsPeer};

use crate::config::Limits;

/// All open connections of the process. Asked when one is made or ends, and for messages to an
/// address; not for messages to a connection, whose id names its thread.
#[derive(Debug)]
pub(crate) struct Directory {
    entries: Mutex<Entries>,
    most: usize,
    most_per_peer: usize,
}

#[derive(Debug, Default)]
struct Entries {
    by_target: HashMap<Target, ConnectionId>,
    per_peer: HashMap<IpAddr, usize>,
    count: usize,
    /// Number of the next connection.
    next: u64,
}

/// Whom a connection is with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Target {
    pub(crate) remote: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) tls: TlsPeer,
}

impl Target {
    pub(crate) const fn of(flow: &Flow) -> Self {
        Self {
            remote: flow.remote,
            protocol: flow.protocol,
            tls: flow.tls,
        }
    }
}

/// Why a connection is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Limit {
    /// There are as many as there may be.
    Total,
    /// The peer's address has as many as it may have.
    Peer,
}

impl Limit {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Total => "as many connections are open as may be",
            Self::Peer => "as many connections are open with this peer as may be",
        }
    }
}

impl Directory {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            entries: Mutex::new(Entries {
                next: first_number(),
                ..Entries::default()
            }),
            most: limits.connections,
            most_per_peer: limits.connections_per_peer,
        }
    }

    /// Lets in a connection that a peer has made to `thread`.
    pub(crate) fn admit(&self, target: Target, thread: usize) -> Result<ConnectionId, Limit> {
        let mut entries = self.lock();
        if entries.count >= self.most {
            return Err(Limit::Total);
        }
        if entries.per_peer.get(&target.remote.ip()) >= Some(&self.most_per_peer) {
            return Err(Limit::Peer);
        }
        Ok(entries.enter(target, thread, ACCEPTED))
    }

    /// The connection to use for `target`: one that is open, or a new one, which `thread` has to make
    /// (`true`).
    pub(crate) fn reach(
        &self,
        target: Target,
        thread: usize,
    ) -> Result<(ConnectionId, bool), Limit> {
        let mut entries = self.lock();
        if let Some(&id) = entries.by_target.get(&target) {
            return Ok((id, false));
        }
        if entries.count >= self.most {
            return Err(Limit::Total);
        }
        Ok((entries.enter(target, thread, 0), true))
    }

    /// An open connection with `target`.
    pub(crate) fn find(&self, target: Target) -> Option<ConnectionId> {
        self.lock().by_target.get(&target).copied()
    }

    /// A connection can be found as `new` too, and no longer as `old`.
    pub(crate) fn name(&self, id: ConnectionId, old: Option<Target>, new: Target) {
        let mut entries = self.lock();
        if let Some(old) = old {
            entries.forget(id, old);
        }
        entries.by_target.insert(new, id);
    }

    /// A connection has ended.
    pub(crate) fn remove(&self, id: ConnectionId, target: Target, alias: Option<Target>) {
        let mut entries = self.lock();
        entries.count -= 1;
        entries.forget(id, target);
        if let Some(alias) = alias {
            entries.forget(id, alias);
        }
        if let Some(count) = entries.per_peer.get_mut(&target.remote.ip()) {
            *count -= 1;
            if *count == 0 {
                entries.per_peer.remove(&target.remote.ip());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Nothing between lock and unlock can panic half-way.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn enter(&mut self, target: Target, thread: usize, direction: u64) -> ConnectionId {
        self.next += 1;
        let id = ConnectionId(self.next << 9 | direction | thread as u64);
        self.by_target.insert(target, id);
        *self.per_peer.entry(target.remote.ip()).or_default() += 1;
        self.count += 1;
        id
    }

    fn forget(&mut self, id: ConnectionId, target: Target) {
        if self.by_target.get(&target) == Some(&id) {
            self.by_target.remove(&target);
        }
    }
}

/// The thread that owns a connection.
pub(crate) fn thread_of(id: ConnectionId) -> usize {
    (id.0 & 0xff) as usize
}

/// Whether the peer made the connection. Its own port is then one that nobody listens on.
pub(crate) fn was_accepted(id: ConnectionId) -> bool {
    id.0 & ACCEPTED != 0
}

/// Where this process begins to count: no id of an earlier process, kept in some record, must name a
/// connection of this one.
fn first_number() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.map_or(0, |since| since.as_millis() as u64);
    // A thousand connections a millisecond would have to be made to catch up; 51 bits are used.
    (millis & ((1 << 41) - 1)) << 10
}

const ACCEPTED: u64 = 1 << 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        Target {
            remote: text.parse().unwrap(),
            protocol: Protocol::Tcp,
            tls: TlsPeer::ANY,
        }
    }

    #[test]
    fn limits_hold_and_places_are_given_back() {
        let directory = Directory::new(&Limits {
            connections: 3,
            connections_per_peer: 2,
            ..Limits::default()
        });
        let first = directory.admit(target("192.0.2.1:1"), 5).unwrap();
        assert!(was_accepted(first));
        assert_eq!(thread_of(first), 5);
        directory.admit(target("192.0.2.1:2"), 0).unwrap();
        let third = directory.admit(target("192.0.2.1:3"), 0);
        assert_eq!(third, Err(Limit::Peer));
        directory.admit(target("192.0.2.2:1"), 0).unwrap();
        let fourth = directory.admit(target("192.0.2.3:1"), 0);
        assert_eq!(fourth, Err(Limit::Total));
        directory.remove(first, target("192.0.2.1:1"), None);
        directory.admit(target("192.0.2.1:4"), 0).unwrap();
    }

    #[test]
    fn an_open_connection_is_used_again() {
        let directory = Directory::new(&Limits::default());
        let remote = target("192.0.2.1:5060");
        let (made, new) = directory.reach(remote, 1).unwrap();
        assert!(new && !was_accepted(made));
        assert_eq!(directory.reach(remote, 0), Ok((made, false)));
        let newer = directory.admit(remote, 0).unwrap();
        directory.remove(made, remote, None);
        assert_eq!(directory.find(remote), Some(newer));
        directory.remove(newer, remote, None);
        assert_eq!(directory.find(remote), None);
    }

    #[test]
    fn who_is_known_by_name_is_not_who_is_not() {
        let directory = Directory::new(&Limits::default());
        let anybody = target("192.0.2.1:40000");
        let named = Target {
            tls: TlsPeer(1),
            ..anybody
        };
        let alias = Target {
            remote: "192.0.2.1:5061".parse().unwrap(),
            ..named
        };
        let id = directory.admit(anybody, 0).unwrap();
        assert_eq!(directory.find(named), None);
        directory.name(id, Some(anybody), named);
        directory.name(id, None, alias);
        assert_eq!(directory.find(anybody), None);
        assert_eq!(directory.find(named), Some(id));
        assert_eq!(directory.reach(alias, 0), Ok((id, false)));
        directory.remove(id, named, Some(alias));
        assert_eq!((directory.find(named), directory.find(alias)), (None, None));
    }
}
