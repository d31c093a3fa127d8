//! How much is let in of those who have not said who they are: rates by source, in tables whose size
//! never changes.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use sip::Flow;

use crate::config::Limits;
use crate::known::Known;
use crate::rates::{Rate, Rates};

/// What all threads share of who may have what.
pub(crate) struct Admission {
    since: Instant,
    /// Nobody outside can tell which sources share a cell.
    seed: RandomState,
    /// None: strangers are not counted.
    strangers: Option<Strangers>,
    handshakes: Option<Rates>,
}

struct Strangers {
    requests: Rates,
    /// Answers that say that it is too much: whoever floods, or claims to be the one who is flooded, gets
    /// few of them.
    refusals: Rates,
    known: Known,
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Judgement {
    /// It goes on to its machine.
    Admit,
    /// Its sender is told to come back later.
    Refuse,
    /// Nobody hears of it.
    Drop,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        let strangers = Rate::of(limits.strangers, BURST).map(|rate| Strangers {
            requests: Rates::new(rate),
            refusals: Rates::new(REFUSALS),
            known: Known::new(),
        });
        Self {
            since: Instant::now(),
            seed: RandomState::new(),
            strangers,
            handshakes: Rate::of(limits.handshakes_per_peer, BURST).map(Rates::new),
        }
    }

    /// Judges a request by where it came from; `trusts` is asked only when its source has used up what
    /// strangers are let have.
    ///
    /// # Source
    /// RFC 3261 §26.3.2.4.
    pub(crate) fn judge(
        &self,
        now: Instant,
        flow: &Flow,
        trusts: impl FnOnce() -> bool,
    ) -> Judgement {
        let Some(strangers) = &self.strangers else {
            return Judgement::Admit;
        };
        let time = self.nanos(now);
        if strangers.known.contains(self.peer(flow.remote), time) {
            return Judgement::Admit;
        }
        let source = self.source(flow.remote.ip());
        if strangers.requests.take(source, time) || trusts() {
            Judgement::Admit
        } else if strangers.refusals.take(source, time) {
            Judgement::Refuse
        } else {
            Judgement::Drop
        }
    }

    /// Whoever is at the other end of this flow has proved who it is.
    pub(crate) fn vouch(&self, now: Instant, flow: &Flow) {
        if let Some(strangers) = &self.strangers {
            let peer = self.peer(flow.remote);
            strangers.known.insert(peer, self.nanos(now));
        }
    }

    /// Whether a TLS handshake may begin with somebody at this address.
    pub(crate) fn admits_handshake(&self, now: Instant, source: IpAddr) -> bool {
        let rates = self.handshakes.as_ref();
        rates.is_none_or(|rates| rates.take(self.source(source), self.nanos(now)))
    }

    fn nanos(&self, now: Instant) -> u64 {
        // It fits for 584 years.
        now.saturating_duration_since(self.since).as_nanos() as u64
    }

    fn peer(&self, remote: SocketAddr) -> u64 {
        self.seed
            .hash_one((remote.ip().to_canonical(), remote.port()))
    }

    fn source(&self, address: IpAddr) -> u64 {
        self.seed.hash_one(household(address))
    }
}

/// Seconds' worth of requests or handshakes that may come at once after silence.
const BURST: u32 = 2;

/// Refusals for one source.
const REFUSALS: Rate = Rate::new(100, 1);

/// What one subscriber has: an IPv4 address, or the /64 around an IPv6 address.
fn household(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits() & !u128::from(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sip::{Protocol, TlsPeer};

    use super::*;

    fn from(remote: &str) -> Flow {
        Flow {
            protocol: Protocol::Udp,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: remote.parse().unwrap(),
            connection: None,
            tls: TlsPeer::ANY,
        }
    }

    fn admission(strangers: u32) -> Admission {
        Admission::new(&Limits {
            strangers,
            ..Limits::default()
        })
    }

    fn flood(admission: &Admission, now: Instant, remote: &str) -> [usize; 3] {
        let mut counts = [0; 3];
        for port in 1..=1000 {
            let flow = from(&format!("{remote}:{port}"));
            counts[admission.judge(now, &flow, || false) as usize] += 1;
        }
        counts
    }

    /// RFC 3261 §26.3.2.4.
    #[test]
    fn rfc3261_26_3_2_4_a_source_gets_its_rate_then_some_refusals_then_nothing() {
        let admission = admission(50);
        let now = Instant::now();
        assert_eq!(flood(&admission, now, "198.51.100.7"), [100, 100, 800]);
        let later = now + Duration::from_secs(1);
        assert_eq!(flood(&admission, later, "198.51.100.7"), [50, 100, 850]);
        let much_later = now + Duration::from_secs(60);
        let rested = flood(&admission, much_later, "198.51.100.7");
        assert_eq!(rested, [100, 100, 800]);
    }

    #[test]
    fn one_subscriber_of_ipv6_is_one_source() {
        let admission = admission(50);
        let now = Instant::now();
        let first = flood(&admission, now, "[2001:db8::1]");
        let neighbour = flood(&admission, now, "[2001:db8::ffff:2]");
        assert_eq!((first[0], neighbour[0]), (100, 0));
    }

    #[test]
    fn who_is_known_or_trusted_is_not_counted() {
        let admission = admission(50);
        let now = Instant::now();
        let (phone, stranger) = (from("198.51.100.7:5062"), from("198.51.100.7:40000"));
        admission.vouch(now, &phone);
        flood(&admission, now, "198.51.100.7");
        assert_eq!(admission.judge(now, &phone, || false), Judgement::Admit);
        assert_eq!(admission.judge(now, &stranger, || false), Judgement::Drop);
        assert_eq!(admission.judge(now, &stranger, || true), Judgement::Admit);
    }

    #[test]
    fn without_a_limit_nobody_is_counted() {
        let admission = admission(0);
        let all = flood(&admission, Instant::now(), "198.51.100.7");
        assert_eq!(all, [1000, 0, 0]);
    }

    #[test]
    fn handshakes_have_a_rate_of_their_own() {
        let admission = Admission::new(&Limits {
            handshakes_per_peer: 10,
            ..Limits::default()
        });
        let (now, source) = (Instant::now(), "198.51.100.7".parse().unwrap());
        let admitted = |now| {
            let all = 0..1000;
            all.filter(|_| admission.admits_handshake(now, source))
                .count()
        };
        assert_eq!(admitted(now), 20);
        assert_eq!(admitted(now + Duration::from_secs(1)), 10);
    }
}
