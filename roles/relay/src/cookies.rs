//! Replies once more: a repeated request gets the reply of the first, octet for octet.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// What has been asked of late.
#[derive(Debug, Default)]
pub(crate) struct Cookies {
    known: HashMap<Key, Entry>,
    order: VecDeque<(Instant, Key)>,
    /// Octets of all replies that are kept.
    octets: usize,
}

/// Who has asked, and under which cookie: two proxies may count alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    client: IpAddr,
    cookie: Box<[u8]>,
}

#[derive(Debug)]
struct Entry {
    /// Of the request: a proxy that starts again may use its cookies for something else.
    body: u64,
    /// None: it is being worked on.
    reply: Option<Box<[u8]>>,
}

/// What is known about a cookie.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known<'a> {
    /// Nothing; now it is being worked on.
    New(Key),
    /// It is being worked on: its client hears of it.
    Pending,
    /// It was answered.
    Answered(&'a [u8]),
}

impl Key {
    /// The cookie alone.
    pub(crate) fn cookie(&self) -> &[u8] {
        &self.cookie
    }
}

impl Cookies {
    /// Takes a request.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        client: IpAddr,
        cookie: &[u8],
        body: &[u8],
    ) -> Known<'_> {
        self.forget(now);
        let key = Key {
            client,
            cookie: cookie.into(),
        };
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let body = hasher.finish();
        let same = self.known.get(&key).is_some_and(|entry| entry.body == body);
        if same {
            return match self.known.get(&key).and_then(|entry| entry.reply.as_ref()) {
                Some(reply) => Known::Answered(reply),
                None => Known::Pending,
            };
        }
        let entry = Entry { body, reply: None };
        match self.known.insert(key.clone(), entry) {
            Some(old) => self.octets -= old.reply.map_or(0, |reply| reply.len()),
            None => self.order.push_back((now, key.clone())),
        }
        Known::New(key)
    }

    /// Keeps a reply.
    pub(crate) fn answer(&mut self, key: &Key, reply: &[u8]) {
        if let Some(entry) = self.known.get_mut(key) {
            let old = entry.reply.replace(reply.into());
            self.octets += reply.len();
            self.octets -= old.map_or(0, |old| old.len());
        }
    }

    /// When there are too many, the oldest are forgotten: their clients have long heard us.
    fn forget(&mut self, now: Instant) {
        while let Some((since, _)) = self.order.front() {
            let old = now.saturating_duration_since(*since) >= LIFE;
            let full = self.order.len() >= MOST || self.octets >= MOST_OCTETS;
            if !old && !full {
                return;
            }
            if let Some((_, key)) = self.order.pop_front()
                && let Some(entry) = self.known.remove(&key)
            {
                self.octets -= entry.reply.map_or(0, |reply| reply.len());
            }
        }
    }
}

/// Proxies give up after a few seconds.
const LIFE: Duration = Duration::from_secs(30);

/// Requests of some seconds of a busy proxy; beyond, the oldest are forgotten.
const MOST: usize = 16_384;

/// As many octets of replies; beyond, the oldest are forgotten.
const MOST_OCTETS: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn new(known: Known<'_>) -> Key {
        match known {
            Known::New(key) => key,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_repeated_cookie_gets_the_same_reply_for_a_while() {
        let now = Instant::now();
        let mut cookies = Cookies::default();
        let key = new(cookies.take(now, PROXY, b"1_1", b"de"));
        assert_eq!(cookies.take(now, PROXY, b"1_1", b"de"), Known::Pending);
        cookies.answer(&key, b"1_1 d6:result2:oke");
        let answered = Known::Answered(b"1_1 d6:result2:oke");
        assert_eq!(cookies.take(now, PROXY, b"1_1", b"de"), answered);
        // Somebody else's, and another request of a proxy that has started again.
        let other = IpAddr::from([192, 0, 2, 1]);
        new(cookies.take(now, other, b"1_1", b"de"));
        let key = new(cookies.take(now, PROXY, b"1_1", b"d0:0:e"));
        cookies.answer(&key, b"x");
        assert_eq!(cookies.octets, 1);
        new(cookies.take(now + LIFE, PROXY, b"1_1", b"d0:0:e"));
    }

    #[test]
    fn there_are_never_too_many() {
        let now = Instant::now();
        let mut cookies = Cookies::default();
        for number in 0..MOST as u64 + 100 {
            let key = new(cookies.take(now, PROXY, &number.to_le_bytes(), b"de"));
            cookies.answer(&key, &[0; 2000]);
        }
        assert!(cookies.octets <= MOST_OCTETS + 2000);
        assert_eq!(cookies.known.len(), cookies.order.len());
        cookies.forget(now + LIFE);
        assert_eq!((cookies.octets, cookies.known.len()), (0, 0));
    }
}
