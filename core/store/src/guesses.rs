//! Who sends wrong passwords.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Wrong passwords by source address. Shared by all threads, because somebody who guesses reaches
/// all slots.
///
/// An address may send so many wrong passwords in a row; each is forgiven after [`FORGIVEN`], the
/// first one first.
#[derive(Debug, Default)]
pub struct Guesses {
    /// When all wrong passwords of an address are forgiven.
    forgiven: Mutex<HashMap<IpAddr, Instant>>,
    /// Addresses in the map: on most days nobody guesses, and nobody need take the lock.
    addresses: AtomicUsize,
}

impl Guesses {
    /// Nobody has guessed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes down a wrong password from `source`.
    pub fn wrong(&self, now: Instant, source: IpAddr) {
        let mut forgiven = self.lock();
        if forgiven.len() >= MAX_ADDRESSES {
            forgiven.retain(|_, until| *until > now);
        }
        let source = household(source);
        // Somebody with more addresses than this has guesses enough without the limit.
        if forgiven.len() < MAX_ADDRESSES || forgiven.contains_key(&source) {
            let until = forgiven.entry(source).or_insert(now);
            *until = (*until).max(now) + FORGIVEN;
        }
        self.addresses.store(forgiven.len(), Ordering::Relaxed);
    }

    /// Whether `source` has sent `limit` wrong passwords that are not forgiven. With a limit of zero
    /// nobody ever has.
    #[must_use]
    pub fn exhausted(&self, now: Instant, source: IpAddr, limit: u32) -> bool {
        if limit == 0 || self.addresses.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let until = self.lock().get(&household(source)).copied();
        until.is_some_and(|until| until.saturating_duration_since(now) > FORGIVEN * (limit - 1))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Instant>> {
        // Nothing is half done at any point where a panic could strike.
        self.forgiven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One wrong password is forgiven after this.
pub const FORGIVEN: Duration = Duration::from_secs(10);

/// Addresses that are remembered; with that many at once, new ones are let guess.
const MAX_ADDRESSES: usize = 4096;

/// What one subscriber has: an IPv4 address, or the /64 around an IPv6 address.
fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let prefix = address.to_bits() & !u128::from(u64::MAX);
            Ipv6Addr::from_bits(prefix).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_allowed_and_forgiven_one_by_one() {
        let (guesses, now) = (Guesses::new(), Instant::now());
        let source = IpAddr::from([192, 0, 2, 7]);
        for _ in 0..3 {
            assert!(!guesses.exhausted(now, source, 3));
            guesses.wrong(now, source);
        }
        assert!(guesses.exhausted(now, source, 3));
        assert!(!guesses.exhausted(now, IpAddr::from([192, 0, 2, 8]), 3));
        assert!(!guesses.exhausted(now, source, 0), "no limit");
        let later = now + FORGIVEN;
        assert!(!guesses.exhausted(later, source, 3));
        guesses.wrong(later, source);
        assert!(guesses.exhausted(later, source, 3));
    }

    #[test]
    fn a_subscriber_has_many_ipv6_addresses() {
        let (guesses, now) = (Guesses::new(), Instant::now());
        let [one, other, neighbour] =
            ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|text| text.parse().unwrap());
        guesses.wrong(now, one);
        assert!(guesses.exhausted(now, other, 1));
        assert!(!guesses.exhausted(now, neighbour, 1));
    }

    #[test]
    fn the_memory_is_bounded_and_used_again() {
        let (guesses, now) = (Guesses::new(), Instant::now());
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        for n in 0..10_000 {
            guesses.wrong(now, address(n));
        }
        assert_eq!(guesses.lock().len(), MAX_ADDRESSES);
        assert!(!guesses.exhausted(now, address(9999), 1));
        let later = now + FORGIVEN;
        guesses.wrong(later, address(9999));
        assert!(guesses.exhausted(later, address(9999), 1));
        assert_eq!(guesses.lock().len(), 1);
    }
}
