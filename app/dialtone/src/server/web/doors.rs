//! How many connections there may be at once: in all, and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections.
pub(super) struct Doors {
    most: usize,
    most_per_peer: usize,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    count: usize,
    by_peer: HashMap<IpAddr, usize>,
}

/// A place that is given back when it is dropped.
pub(super) struct Pass {
    doors: Arc<Doors>,
    peer: Option<IpAddr>,
}

impl Doors {
    pub(super) fn new(most: usize, most_per_peer: usize) -> Self {
        Self {
            most,
            most_per_peer,
            inside: Mutex::default(),
        }
    }

    /// Lets somebody in if there is room; else the connection is to be closed. Without an address only
    /// the bound of all holds.
    pub(super) fn enter(self: &Arc<Self>, peer: Option<IpAddr>) -> Option<Pass> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let has = peer.and_then(|peer| inside.by_peer.get(&peer).copied());
        if inside.count >= self.most || has.is_some_and(|has| has >= self.most_per_peer) {
            return None;
        }
        inside.count += 1;
        if let Some(peer) = peer {
            inside.by_peer.insert(peer, has.unwrap_or(0) + 1);
        }
        let doors = Arc::clone(self);
        Some(Pass { doors, peer })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let inside = self.doors.inside.lock();
        let mut inside = inside.unwrap_or_else(PoisonError::into_inner);
        inside.count -= 1;
        let Some(peer) = self.peer else {
            return;
        };
        if let Some(count) = inside.by_peer.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                inside.by_peer.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_hold_and_places_are_given_back() {
        let doors = Arc::new(Doors::new(3, 2));
        let [a, b, c] = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|ip| Some(ip.parse().unwrap()));
        let first = doors.enter(a).unwrap();
        let _second = doors.enter(a).unwrap();
        assert!(doors.enter(a).is_none(), "too many from one");
        let _third = doors.enter(b).unwrap();
        assert!(doors.enter(c).is_none(), "too many in all");
        drop(first);
        let fourth = doors.enter(a).unwrap();
        drop(fourth);
        // A proxy's connections are counted with all, not as those of one.
        let proxy = doors.enter(None).unwrap();
        assert!(doors.enter(None).is_none());
        drop(proxy);
        let _fifth = doors.enter(None).unwrap();
    }
}
