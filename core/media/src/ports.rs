//! Which ports are free, and which sockets are kept bound for the next call.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use rustix::io::Errno;

use crate::socket::Pair;
use crate::{Config, Refusal};

/// The port pairs of one worker. Its share of the range is the same on each local address.
#[derive(Debug)]
pub(crate) struct Ports {
    share: Vec<u16>,
    books: Vec<Book>,
    dscp: u8,
    max_idle: usize,
}

/// What [`Ports::acquire`] found.
#[derive(Debug)]
pub(crate) enum Acquired {
    /// The idle leg with this key.
    Idle(usize),
    /// A newly bound pair.
    Fresh(Pair),
}

impl Ports {
    /// The share of worker `number`.
    pub(crate) fn new(config: &Config, number: usize) -> Self {
        let pairs = pairs(&config.ports).skip(number);
        let share = pairs.step_by(config.workers.max(1)).collect();
        Self {
            share,
            books: Vec::new(),
            dscp: config.dscp.min(63),
            max_idle: config.idle_pairs,
        }
    }

    /// Finds a pair on `ip`. An idle one that has rested is preferred, as it costs nothing, or the
    /// oldest one where half of all that may be idle are; then a port that is not bound; then any idle one. `now` is
    /// in milliseconds.
    pub(crate) fn acquire(&mut self, ip: IpAddr, now: u64) -> Result<Acquired, Refusal> {
        let (dscp, max_idle) = (self.dscp, self.max_idle);
        let book = self.book(ip);
        if let Some(key) = book.rested(now, max_idle) {
            return Ok(Acquired::Idle(key));
        }
        match book.bind(dscp) {
            Ok(pair) => Ok(Acquired::Fresh(pair)),
            Err(Refusal::NoPorts) => match book.idle.pop_front() {
                Some((key, _)) => Ok(Acquired::Idle(key)),
                None => Err(Refusal::NoPorts),
            },
            Err(refusal) => Err(refusal),
        }
    }

    /// Takes the pair of leg `key` back; false if it is to be closed, its port being free again.
    pub(crate) fn release(&mut self, ip: IpAddr, port: u16, key: usize, now: u64) -> bool {
        let idle: usize = self.books.iter().map(|book| book.idle.len()).sum();
        let keep = idle < self.max_idle;
        let book = self.book(ip);
        if keep {
            book.idle.push_back((key, now));
        } else {
            book.unbound.push_back(port);
        }
        keep
    }

    /// Takes back the port of a pair that could not be used after all.
    pub(crate) fn give_up(&mut self, ip: IpAddr, port: u16) {
        self.book(ip).unbound.push_back(port);
    }

    /// There are as few books as the machine has addresses.
    fn book(&mut self, ip: IpAddr) -> &mut Book {
        let at = match self.books.iter().position(|book| book.ip == ip) {
            Some(at) => at,
            None => {
                self.books.push(Book {
                    ip,
                    idle: VecDeque::new(),
                    unbound: self.share.iter().copied().collect(),
                });
                self.books.len() - 1
            }
        };
        &mut self.books[at]
    }
}

/// The even ports of a range whose next port is in it too.
pub(crate) fn pairs(ports: &RangeInclusive<u16>) -> impl Iterator<Item = u16> + use<> {
    // Port 0 would mean any.
    let first = u32::from((*ports.start()).max(1)).next_multiple_of(2);
    let last = u32::from(*ports.end());
    (first..last).step_by(2).map(|port| port as u16)
}

/// The share of worker `number` of a range whose ports are shared by many legs.
pub(crate) fn shared(ports: &RangeInclusive<u16>, workers: usize, number: usize) -> Vec<u16> {
    // Port 0 would mean any.
    let ports = (*ports.start()).max(1)..=*ports.end();
    ports.skip(number).step_by(workers.max(1)).collect()
}

/// The pairs of one local address that no session uses.
#[derive(Debug)]
struct Book {
    ip: IpAddr,
    /// Bound: leg and when it was freed, oldest first.
    idle: VecDeque<(usize, u64)>,
    /// Not bound, or not by us.
    unbound: VecDeque<u16>,
}

impl Book {
    fn rested(&mut self, now: u64, max_idle: usize) -> Option<usize> {
        let &(key, freed) = self.idle.front()?;
        if now.saturating_sub(freed) < REST_MS && self.idle.len() < max_idle / 2 {
            return None;
        }
        self.idle.pop_front();
        Some(key)
    }

    fn bind(&mut self, dscp: u8) -> Result<Pair, Refusal> {
        for _ in 0..self.unbound.len().min(MAX_TRIES) {
            let Some(port) = self.unbound.pop_front() else {
                break;
            };
            let error = match Pair::bind(self.ip, port, dscp) {
                Ok(pair) => return Ok(pair),
                Err(error) => error,
            };
            self.unbound.push_back(port);
            // Another process may have it.
            if error != Errno::ADDRINUSE {
                return Err(refusal(error));
            }
        }
        Err(Refusal::NoPorts)
    }
}

/// Why a socket cannot be bound.
pub(crate) fn refusal(error: Errno) -> Refusal {
    match error {
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => Refusal::Overload,
        _ => Refusal::BadAddress,
    }
}

/// How long a freed pair rests, so that what was still under way to it is not taken for a new
/// call's. Short of ports, or with many calls a second, it is used earlier.
const REST_MS: u64 = 3000;
/// Ports tried for one pair: many taken by others must not hold up the calls that run.
const MAX_TRIES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(ports: RangeInclusive<u16>, workers: usize) -> Vec<Vec<u16>> {
        let config = Config {
            ports,
            workers,
            ..Config::default()
        };
        (0..workers)
            .map(|number| Ports::new(&config, number).share)
            .collect()
    }

    #[test]
    fn shares_are_even_disjoint_and_inside_the_range() {
        assert_eq!(
            shares(20001..=20010, 2),
            [vec![20002, 20006], vec![20004, 20008]]
        );
        assert_eq!(shares(20000..=20000, 1), [Vec::<u16>::new()]);
        assert_eq!(shares(20000..=20001, 2), [vec![20000], Vec::<u16>::new()]);
        assert_eq!(shares(65534..=65535, 1), [vec![65534]]);
        assert_eq!(shares(65535..=65535, 1), [Vec::<u16>::new()]);
        assert_eq!(shares(0..=3, 1), [vec![2]]);
    }
}
