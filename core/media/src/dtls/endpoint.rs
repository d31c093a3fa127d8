//! One side of one stream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::handshake::{Handshake, Step};
use super::hello::Hello;
use super::{Error, Fingerprint, Identity, Keys, Setup};

/// Agrees on keys with a peer that has a certain certificate, and again when the peer wants new
/// ones.
///
/// The keys of the association stay good while another is being made; when that fails, nothing has
/// happened.
pub struct Endpoint {
    identity: Arc<Identity>,
    setup: Setup,
    expected: Fingerprint,
    /// The association in use. It still answers: our last flight may have been lost.
    established: Option<Handshake>,
    /// The one that is being made.
    pending: Option<Handshake>,
    /// At most one failure and one closure wait to be told.
    news: VecDeque<Output>,
    /// How often we have begun without being heard.
    attempts: u8,
}

/// What an endpoint wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Send this datagram to the peer.
    Packet(Vec<u8>),
    /// Use these keys from now on.
    Keys(Keys),
    /// The peer has closed the association. A new handshake may follow.
    Closed,
    /// There are no keys, and there won't be unless a peer starts anew.
    Failed(Error),
}

impl Endpoint {
    /// An endpoint that starts the handshake, or waits for it as long as it takes, as `setup` says. The peer must show
    /// the certificate of `expected`.
    #[must_use]
    pub fn new(identity: Arc<Identity>, setup: Setup, expected: Fingerprint, now: Instant) -> Self {
        let mut endpoint = Self {
            identity,
            setup,
            expected,
            established: None,
            pending: None,
            news: VecDeque::new(),
            attempts: 0,
        };
        endpoint.renew(now);
        endpoint
    }

    /// Our side of the handshake.
    #[must_use]
    pub fn setup(&self) -> Setup {
        self.setup
    }

    /// The fingerprint that the peer must have.
    #[must_use]
    pub fn expected(&self) -> &Fingerprint {
        &self.expected
    }

    /// Starts another handshake for new keys. As the passive side we wait for the peer to do so;
    /// then there is nothing to do.
    pub fn renew(&mut self, now: Instant) {
        if self.setup == Setup::Active {
            let handshake = Handshake::connect(&self.identity, now);
            self.begin(handshake);
        }
    }

    /// Takes a datagram of DTLS (its first byte is 20 to 63). Nothing is taken before the
    /// beginning of a ClientHello, so that a later part which somebody made up spoils none.
    ///
    /// # Source
    /// RFC 7983 §7; RFC 5763 §6.6 on a ClientHello within an association
    pub fn handle(&mut self, datagram: &[u8], now: Instant) {
        let hello = Hello::read(datagram).filter(|_| self.setup == Setup::Passive);
        // One with a random value of its own begins a handshake.
        if let Some(hello) = hello
            && !self.knows(&hello.random)
        {
            let handshake = Handshake::accept(&self.identity, hello, now);
            self.begin(handshake);
        }
        if let Some(pending) = &mut self.pending
            && let Err(error) = pending.handle(datagram, now)
        {
            self.give_up(error);
        }
        // What concerns the new association makes no sense to the old one, which ignores it.
        if let Some(established) = &mut self.established {
            let _ = established.handle(datagram, now);
        }
    }

    /// Lets time pass: what was lost is sent again.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(pending) = &mut self.pending
            && let Err(error) = pending.handle_timeout(now)
        {
            self.begin_again(error, now);
        }
        if let Some(established) = &mut self.established {
            let _ = established.handle_timeout(now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let both = [&self.pending, &self.established];
        let deadlines = both.into_iter().flatten();
        deadlines.filter_map(Handshake::deadline).min()
    }

    /// The next thing to do. To be called until it returns `None`, after all the others.
    pub fn poll(&mut self) -> Option<Output> {
        if let Some(output) = self.poll_pending() {
            return Some(output);
        }
        if let Some(established) = &mut self.established {
            match established.poll(&self.expected) {
                Ok(Some(Step::Packet(packet))) => return Some(Output::Packet(packet)),
                Ok(Some(Step::Closed)) => self.news.push_back(Output::Closed),
                Ok(Some(Step::Keys(_)) | None) => {}
                // It can no longer answer, but its keys are as good as before.
                Err(_) => self.established = None,
            }
        }
        self.news.pop_front()
    }

    fn poll_pending(&mut self) -> Option<Output> {
        let pending = self.pending.as_mut()?;
        match pending.poll(&self.expected) {
            Ok(Some(Step::Packet(packet))) => Some(Output::Packet(packet)),
            Ok(Some(Step::Keys(keys))) => {
                self.established = self.pending.take();
                Some(Output::Keys(keys))
            }
            Ok(Some(Step::Closed)) => {
                self.give_up(Error::Handshake("the peer closed it".to_owned()));
                None
            }
            Ok(None) => None,
            Err(error) => {
                self.give_up(error);
                None
            }
        }
    }

    fn begin(&mut self, handshake: Result<Handshake, Error>) {
        match handshake {
            Ok(handshake) => self.pending = Some(handshake),
            Err(error) => self.give_up(error),
        }
    }

    /// A phone may tell where it is long before it answers, and listen only then: it is asked anew for as
    /// long as phones ring.
    fn begin_again(&mut self, error: Error, now: Instant) {
        let unheard = self.pending.as_ref().is_some_and(Handshake::is_unheard);
        if error == Error::Timeout
            && unheard
            && self.setup == Setup::Active
            && self.attempts < MOST_ATTEMPTS
        {
            self.attempts += 1;
            self.renew(now);
        } else {
            self.give_up(error);
        }
    }

    fn knows(&self, random: &[u8; 32]) -> bool {
        let both = [&self.pending, &self.established];
        let mut known = both.into_iter().flatten().filter_map(|h| h.random);
        known.any(|known| known == *random)
    }

    /// Tells of a failure, unless there is an association that remains.
    fn give_up(&mut self, error: Error) {
        self.pending = None;
        if self.established.is_none() {
            self.news.push_back(Output::Failed(error));
        }
    }
}

/// Each takes some 12 s: together more than the three minutes that a call rings at most.
const MOST_ATTEMPTS: u8 = 16;
