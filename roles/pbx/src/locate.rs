//! Finding servers by their names, without waiting: questions that are under way, what was found a
//! moment ago, and ways that did not work.
//!
//! Whoever needs a server calls [`Locator::find`] with a word on who waits. A numeric host and what was
//! just found, or not found, are answered at once; else the waiter comes back, with the ways, from
//! [`Locator::answered`] or [`Locator::expire`]. Each waiter comes back once, and may then repeat its
//! search to have the same ways at once.
//!
//! # Source
//! RFC 3263 §4.3: when a way fails (no answer, nobody there, 503), the next one is tried.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use base::{Mint, Token};
use engine::{Answer, Ask, Found, Question, Server};
use sip::locate::Way;

/// The searches of one slot. `W` says who waits for what.
#[derive(Debug)]
pub(crate) struct Locator<W> {
    /// What is under way.
    asked: BTreeMap<Token, Asked<W>>,
    /// What was found a moment ago.
    recent: HashMap<Server, Recent>,
    /// Ways that did not work, and until when they are tried last.
    failed: HashMap<Way, Instant>,
}

/// What [`Locator::find`] knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Search<W> {
    /// The ways are known. The waiter is given back.
    Now(W, Ways),
    /// The waiter comes back later.
    Later,
}

/// Ways to one server, in the order in which to try them; taken one after the other until one works.
/// Empty from the start: the server can't be found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ways {
    /// The next one last.
    rest: Vec<Way>,
}

impl Ways {
    /// Ways in this order.
    pub(crate) fn new(mut ways: Vec<Way>) -> Self {
        ways.reverse();
        Self { rest: ways }
    }
}

impl Iterator for Ways {
    type Item = Way;

    fn next(&mut self) -> Option<Way> {
        self.rest.pop()
    }
}

#[derive(Debug)]
struct Asked<W> {
    server: Server,
    waiting: Vec<W>,
    until: Instant,
}

#[derive(Debug)]
struct Recent {
    ways: Vec<Way>,
    until: Instant,
}

impl<W> Locator<W> {
    /// Finds the ways to `server`, or asks for them in `ask`.
    pub(crate) fn find(
        &mut self,
        now: Instant,
        mint: &mut Mint,
        ask: &mut Vec<Ask>,
        server: &Server,
        waiter: W,
    ) -> Search<W> {
        if let Some(ways) = self.known(now, server) {
            return Search::Now(waiter, ways);
        }
        let under_way = self
            .asked
            .values_mut()
            .find(|asked| asked.server == *server);
        if let Some(asked) = under_way {
            if asked.waiting.len() >= MOST_WAITING {
                return Search::Now(waiter, Ways::default());
            }
            asked.waiting.push(waiter);
            return Search::Later;
        }
        if self.asked.len() >= MOST_ASKED {
            return Search::Now(waiter, Ways::default());
        }
        let id = mint.token();
        let question = Question::Locate(server.clone());
        ask.push(Ask { id, question });
        let asked = Asked {
            server: server.clone(),
            waiting: vec![waiter],
            until: now + PATIENCE,
        };
        self.asked.insert(id, asked);
        Search::Later
    }

    /// Takes an answer: who has waited for it, and the ways.
    pub(crate) fn answered(&mut self, now: Instant, answer: Answer) -> Option<(Vec<W>, Ways)> {
        let Found::Ways(ways) = answer.found else {
            return None;
        };
        let asked = self.asked.remove(&answer.id)?;
        self.remember(now, asked.server, ways.clone());
        Some((asked.waiting, self.in_order(now, ways)))
    }

    /// Takes those for whom no answer has come in time: they know no way.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<W> {
        let due = self.asked.iter().filter(|(_, asked)| asked.until <= now);
        let due: Vec<_> = due.map(|(id, _)| *id).collect();
        let mut late = Vec::new();
        for id in due {
            if let Some(asked) = self.asked.remove(&id) {
                self.remember(now, asked.server, Vec::new());
                late.extend(asked.waiting);
            }
        }
        late
    }

    /// When to call [`expire`](Self::expire).
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.asked.values().map(|asked| asked.until).min()
    }

    /// A way did not work: for a while it is tried after all others.
    ///
    /// # Source
    /// RFC 3263 §4.3; RFC 3261 §21.5.4: nothing is sent to who answered 503 for as long as its
    /// Retry-After says, if it has one.
    pub(crate) fn way_failed(&mut self, now: Instant, way: Way, retry_after: Option<Duration>) {
        self.forget(now);
        if self.failed.len() < MOST_FAILED {
            let pause = retry_after.map_or(PAUSE, |pause| pause.min(LONGEST_PAUSE));
            self.failed.insert(way, now + pause);
        }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.asked.values().map(|asked| asked.waiting.len()).sum()
    }

    fn known(&self, now: Instant, server: &Server) -> Option<Ways> {
        if server.address().is_some() {
            let suits = !server.secure || server.protocol.is_none_or(|named| named.is_secure());
            let way = server.numeric().filter(|_| suits);
            return Some(Ways::new(way.into_iter().collect()));
        }
        let recent = self.recent.get(server)?;
        let ways = || self.in_order(now, recent.ways.clone());
        (recent.until > now).then(ways)
    }

    /// Those that have failed lately come last: something may get through where nothing else does.
    fn in_order(&self, now: Instant, mut ways: Vec<Way>) -> Ways {
        let failed = |way: &Way| self.failed.get(way).is_some_and(|until| *until > now);
        ways.sort_by_key(failed);
        Ways::new(ways)
    }

    fn remember(&mut self, now: Instant, server: Server, ways: Vec<Way>) {
        self.forget(now);
        if self.recent.len() >= MOST_RECENT {
            self.recent.clear();
        }
        let until = now + RECENT;
        self.recent.insert(server, Recent { ways, until });
    }

    fn forget(&mut self, now: Instant) {
        self.recent.retain(|_, recent| recent.until > now);
        self.failed.retain(|_, until| *until > now);
    }
}

impl<W> Default for Locator<W> {
    fn default() -> Self {
        Self {
            asked: BTreeMap::new(),
            recent: HashMap::new(),
            failed: HashMap::new(),
        }
    }
}

/// Most names that a slot looks up at once; further ones are not found.
const MOST_ASKED: usize = 64;

/// Most who wait for one name; further ones don't find it.
const MOST_WAITING: usize = 1024;

/// Most names that a slot remembers; one more, and all are forgotten.
const MOST_RECENT: usize = 256;

/// Most ways that a slot remembers as failed; further ones are tried in turn.
const MOST_FAILED: usize = 256;

/// How long what was found is used again without asking. The resolver has a cache that goes by TTL;
/// this one saves the way there when many requests leave at once, and is short because the order
/// of ways is drawn anew with each question (RFC 2782).
const RECENT: Duration = Duration::from_secs(2);

/// How long an answer may take: longer than a resolver that does its work, shorter than Timer B.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a way that failed is tried last.
const PAUSE: Duration = Duration::from_secs(30);

/// The same if the server itself has named a time.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use base::Slot;
    use sip::{Protocol, Uri};

    use super::*;

    struct Slots {
        locator: Locator<u32>,
        mint: Mint,
        ask: Vec<Ask>,
        now: Instant,
    }

    impl Slots {
        fn new() -> Self {
            Self {
                locator: Locator::default(),
                mint: Mint::new(Slot::new(3), [0; 32]),
                ask: Vec::new(),
                now: Instant::now(),
            }
        }

        fn find(&mut self, uri: &str, waiter: u32) -> Search<u32> {
            let server = Server::of_uri(&Uri::parse(uri).unwrap()).unwrap();
            let (mint, ask) = (&mut self.mint, &mut self.ask);
            self.locator.find(self.now, mint, ask, &server, waiter)
        }

        fn answer(&mut self, ways: &[Way]) -> Option<(Vec<u32>, Vec<Way>)> {
            let id = self.ask.remove(0).id;
            let found = Found::Ways(ways.to_vec());
            let (waiting, ways) = self.locator.answered(self.now, Answer { id, found })?;
            Some((waiting, ways.collect()))
        }
    }

    fn way(address: &str) -> Way {
        (Protocol::Udp, address.parse().unwrap())
    }

    fn now(search: Search<u32>) -> Vec<Way> {
        match search {
            Search::Now(_, ways) => ways.collect(),
            Search::Later => panic!("not known yet"),
        }
    }

    #[test]
    fn an_address_needs_no_question() {
        let mut slot = Slots::new();
        assert_eq!(now(slot.find("sip:192.0.2.1", 1)), [way("192.0.2.1:5060")]);
        assert_eq!(
            now(slot.find("sips:[2001:db8::1]:5071", 1)),
            [(Protocol::Tls, "[2001:db8::1]:5071".parse().unwrap())]
        );
        assert!(slot.ask.is_empty());
    }

    #[test]
    fn one_question_serves_all_who_wait_and_those_who_come_soon_after() {
        let mut slot = Slots::new();
        assert_eq!(slot.find("sip:a@example.com", 1), Search::Later);
        assert_eq!(slot.find("sip:b@EXAMPLE.com", 2), Search::Later);
        assert_eq!(slot.ask.len(), 1);
        let ways = [way("192.0.2.1:5060"), way("192.0.2.2:5060")];
        assert_eq!(slot.answer(&ways), Some((vec![1, 2], ways.to_vec())));
        assert_eq!(now(slot.find("sip:example.com", 3)), ways);
        slot.now += RECENT;
        assert_eq!(slot.find("sip:example.com", 4), Search::Later);
        assert_eq!(slot.locator.waiting(), 1);
    }

    #[test]
    fn rfc3263_4_3_a_way_that_failed_is_tried_last_for_a_while() {
        let mut slot = Slots::new();
        let (one, two) = (way("192.0.2.1:5060"), way("192.0.2.2:5060"));
        let retry_after = Some(Duration::from_secs(1));
        slot.locator.way_failed(slot.now, one, retry_after);
        slot.find("sip:example.com", 1);
        assert_eq!(slot.answer(&[one, two]).unwrap().1, [two, one]);
        slot.now += Duration::from_secs(1);
        assert_eq!(now(slot.find("sip:example.com", 1)), [one, two]);
        slot.locator.way_failed(slot.now, one, None);
        assert_eq!(now(slot.find("sip:example.com", 1)), [two, one]);
    }

    #[test]
    fn nobody_waits_for_ever() {
        let mut slot = Slots::new();
        slot.find("sip:example.com", 7);
        assert_eq!(slot.locator.deadline(), Some(slot.now + PATIENCE));
        assert!(slot.locator.expire(slot.now).is_empty());
        slot.now += PATIENCE;
        assert_eq!(slot.locator.expire(slot.now), [7]);
        assert_eq!(slot.answer(&[way("192.0.2.1:5060")]), None, "too late");
        assert!(now(slot.find("sip:example.com", 7)).is_empty());
        assert_eq!(slot.locator.deadline(), None);
    }

    #[test]
    fn too_many_names_are_not_looked_up() {
        let mut slot = Slots::new();
        for number in 0..MOST_ASKED {
            slot.find(&format!("sip:host{number}.example"), 0);
        }
        assert!(now(slot.find("sip:one.more.example", 0)).is_empty());
        assert_eq!(slot.ask.len(), MOST_ASKED);
    }

    #[test]
    fn encrypted_or_not_at_all() {
        let mut slot = Slots::new();
        let server = Server {
            protocol: Some(Protocol::Udp),
            secure: true,
            ..Server::named("192.0.2.1")
        };
        let (mint, ask) = (&mut slot.mint, &mut slot.ask);
        let found = slot.locator.find(slot.now, mint, ask, &server, 0);
        assert!(now(found).is_empty());
    }
}
