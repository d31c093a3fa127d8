//! The lite agent: for who has a public address. It only answers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::check::{Check, Secret, conflict, succeed};
use crate::credentials::Credentials;
use crate::stun::attribute::USERNAME;
use crate::stun::{BINDING, Class, Message};
use crate::{Event, Pair};

/// A lite agent for one component: a few hundred octets, nothing to send on its own, one timer.
///
/// It is always controlled. The peer's nominations are followed as they come, because a browser that speaks
/// to a lite agent nominates the pair that it uses, and no other: so it can go from one network to another.
///
/// ```
/// use std::time::Instant;
/// use ice::{Credentials, Lite};
/// let mut agent = Lite::new(Credentials::mint(7, [1; 24]));
/// let mut answer = Vec::new();
/// # let (datagram, now) = ([0_u8; 20], Instant::now());
/// let (from, local) = ("192.0.2.1:5000".parse()?, "198.51.100.1:3478".parse()?);
/// if let Some(event) = agent.handle(now, &datagram, from, local, &mut answer) {
///     // Media go to `agent.selected()` from now on.
/// }
/// // Send `answer` to `from`, unless it is empty.
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Source
/// RFC 8445 §2.5, §7.3.
#[derive(Debug)]
pub struct Lite {
    local: Secret,
    /// Before a restart: our credentials, and the peer's user fragment.
    previous: Option<(Secret, Box<str>)>,
    /// The peer's user fragment, as its last nomination has it.
    peer: Box<str>,
    selected: Option<Selected>,
}

#[derive(Clone, Copy, Debug)]
struct Selected {
    pair: Pair,
    heard: Instant,
}

impl Lite {
    /// An agent that nobody has spoken to yet.
    #[must_use]
    pub fn new(local: Credentials) -> Self {
        Self {
            local: Secret::new(local),
            previous: None,
            peer: Box::default(),
            selected: None,
        }
    }

    /// Our credentials.
    #[must_use]
    pub fn local(&self) -> &Credentials {
        &self.local.credentials
    }

    /// The pair that the peer has nominated, while it consents to receive.
    #[must_use]
    pub fn selected(&self) -> Option<Pair> {
        self.selected.map(|selected| selected.pair)
    }

    /// Begins anew with other credentials. Media go the way they went until the peer nominates another, and
    /// what keeps that way open is answered.
    ///
    /// # Source
    /// RFC 8445 §9, RFC 8839 §4.4.1.1.1.
    pub fn restart(&mut self, local: Credentials) {
        let old = std::mem::replace(&mut self.local, Secret::new(local));
        self.previous = Some((old, std::mem::take(&mut self.peer)));
    }

    /// Takes a STUN message that came from `from` to `local`. What is to be sent back is appended to
    /// `answer`.
    ///
    /// # Source
    /// RFC 8445 §7.3.1, §7.3.1.5, §7.3.2.
    pub fn handle(
        &mut self,
        now: Instant,
        datagram: &[u8],
        from: SocketAddr,
        local: SocketAddr,
        answer: &mut Vec<u8>,
    ) -> Option<Event> {
        let request = Message::parse(datagram).ok()?;
        let is_request = request.class() == Class::Request && request.method() == BINDING;
        if !is_request || request.fingerprint() == Some(false) {
            return None;
        }
        let to = request.transaction();
        let pair = Pair {
            local,
            remote: from,
        };
        let peer = peer_of(&request);
        if let Some((old, old_peer)) = &self.previous
            && let Ok(check) = Check::read(&request, old)
        {
            succeed(to, from, old, answer);
            // Chromium goes on with our former credentials where our address is the same as before: by its
            // own fragment it has begun anew.
            let anew = check.nominates && peer != &**old_peer;
            self.refresh(now, pair);
            return anew.then(|| self.select(now, pair)).flatten();
        }
        let check = match Check::read(&request, &self.local) {
            Ok(check) => check,
            Err(refusal) => {
                refusal.answer(to, &self.local, answer);
                return None;
            }
        };
        if matches!(check.role, Some((false, _))) {
            // A lite agent can't control.
            conflict(to, &self.local, answer);
            return None;
        }
        succeed(to, from, &self.local, answer);
        self.refresh(now, pair);
        if !check.nominates {
            return None;
        }
        // A session of the peer that only checks may be its next one, ahead of our restart.
        if *self.peer != *peer {
            self.peer = peer.into();
        }
        self.previous = None;
        self.select(now, pair)
    }

    /// When [`Lite::wake`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        Some(self.selected?.heard + CONSENT)
    }

    /// Looks whether the peer still consents to receive.
    ///
    /// # Source
    /// RFC 7675 §5.1: a full agent asks for consent with requests; their absence tells a lite agent that
    /// the peer is gone.
    pub fn wake(&mut self, now: Instant) -> Option<Event> {
        self.deadline().filter(|deadline| *deadline <= now)?;
        self.selected = None;
        Some(Event::Disconnected)
    }

    fn refresh(&mut self, now: Instant, pair: Pair) {
        if let Some(selected) = &mut self.selected
            && selected.pair == pair
        {
            selected.heard = now;
        }
    }

    fn select(&mut self, now: Instant, pair: Pair) -> Option<Event> {
        let before = self.selected.replace(Selected { pair, heard: now });
        let is_new = before.is_none_or(|before| before.pair != pair);
        is_new.then_some(Event::Selected(pair))
    }
}

/// The sender's user fragment.
fn peer_of<'a>(check: &Message<'a>) -> &'a str {
    let user = check.text(USERNAME).unwrap_or_default();
    user.split_once(':').map_or("", |(_, peer)| peer)
}

/// How long silence is taken for consent.
///
/// # Source
/// RFC 7675 §5.1.
pub(crate) const CONSENT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stun::attribute::{ICE_CONTROLLING, PRIORITY, USE_CANDIDATE};
    use crate::stun::{Key, TransactionId, Writer};

    fn nomination(to: &Credentials, by: &str) -> Vec<u8> {
        let mut datagram = Vec::new();
        let user = format!("{}:{by}", to.ufrag());
        Writer::new(
            &mut datagram,
            Class::Request,
            BINDING,
            TransactionId([7; 12]),
        )
        .put(USERNAME, user.as_bytes())
        .put(PRIORITY, &1_u32.to_be_bytes())
        .put(ICE_CONTROLLING, &9_u64.to_be_bytes())
        .put(USE_CANDIDATE, &[])
        .sign(&Key::short_term(to.password()))
        .fingerprint();
        datagram
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn rfc8445_9_after_a_restart_a_new_session_of_the_peer_counts_even_with_our_old_credentials() {
        let (old, new) = (Credentials::mint(1, [1; 24]), Credentials::mint(1, [2; 24]));
        let mut agent = Lite::new(old.clone());
        let local = "198.51.100.1:3478".parse().unwrap();
        let now = Instant::now();
        let check = |agent: &mut Lite, to: &Credentials, by: &str, from: &str| {
            let from = from.parse().unwrap();
            agent.handle(now, &nomination(to, by), from, local, &mut Vec::new());
            agent.selected().map(|pair| pair.remote.port())
        };
        assert_eq!(check(&mut agent, &old, "aaaa", "192.0.2.1:1"), Some(1));
        agent.restart(new.clone());
        // What keeps the old way open moves nothing.
        assert_eq!(check(&mut agent, &old, "aaaa", "192.0.2.1:2"), Some(1));
        assert_eq!(check(&mut agent, &old, "bbbb", "192.0.2.1:3"), Some(3));
        assert_eq!(check(&mut agent, &old, "aaaa", "192.0.2.1:1"), Some(3));
        assert_eq!(check(&mut agent, &new, "bbbb", "192.0.2.1:4"), Some(4));
    }
}
