//! One run of the protocol.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use srtp::dtls::Keys;

use super::classic::Classic;
use super::hello::Hello;
use super::modern::Modern;
use super::{Error, Fingerprint, Identity};

/// A handshake, and the association that it leads to.
///
/// The crates behind it are contained: if one panics, the handshake has failed.
pub(super) struct Handshake {
    run: Run,
    /// The ClientHello's random value: tells a peer that repeats itself from one that starts anew.
    pub(super) random: Option<[u8; 32]>,
}

/// Two crates share the work: one does DTLS 1.3 but knows no RSA, the other knows RSA but no 1.3.
enum Run {
    Modern(Modern),
    Classic(Box<Classic>),
}

/// What a handshake wants.
pub(super) enum Step {
    Packet(Vec<u8>),
    Keys(Keys),
    Closed,
}

impl Handshake {
    /// Sends a ClientHello. The server's certificate may be of any kind, so this is DTLS 1.2.
    pub(super) fn connect(identity: &Identity, now: Instant) -> Result<Self, Error> {
        let run = Run::Classic(Box::new(Classic::connect(identity, now)?));
        Ok(Self { run, random: None })
    }

    /// Answers a ClientHello, which is still to be handled.
    pub(super) fn accept(identity: &Identity, hello: Hello, now: Instant) -> Result<Self, Error> {
        let run = match hello.modern {
            true => Run::Modern(Modern::new(identity, now)?),
            false => Run::Classic(Box::new(Classic::accept(identity, now))),
        };
        let random = Some(hello.random);
        Ok(Self { run, random })
    }

    /// Takes a datagram. What is merely out of place is ignored.
    pub(super) fn handle(&mut self, datagram: &[u8], now: Instant) -> Result<(), Error> {
        match &mut self.run {
            Run::Modern(run) => run.handle(datagram, now),
            Run::Classic(run) => run.handle(datagram, now),
        }
    }

    /// Lets time pass.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        match &mut self.run {
            Run::Modern(run) => run.handle_timeout(now),
            Run::Classic(run) => run.handle_timeout(now),
        }
    }

    /// Whether the server that we ask has said nothing at all.
    pub(super) fn is_unheard(&self) -> bool {
        match &self.run {
            Run::Modern(_) => false,
            Run::Classic(run) => run.is_unheard(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.run {
            Run::Modern(run) => run.deadline(),
            Run::Classic(run) => run.deadline(),
        }
    }

    /// The next thing that is to be done; `None` until more comes in.
    pub(super) fn poll(&mut self, expected: &Fingerprint) -> Result<Option<Step>, Error> {
        match &mut self.run {
            Run::Modern(run) => run.poll(expected),
            Run::Classic(run) => run.poll(expected),
        }
    }
}

/// A second, as RFC 6347 §4.2.4.1 has it, is long for somebody who says hello; RFC 9147 §5.8.2
/// allows for less where delay matters. It doubles each time.
pub(super) const FIRST_RETRANSMISSION: Duration = Duration::from_millis(250);

/// How long a handshake may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn contain<T>(call: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(call))
        .map_err(|_| Error::Handshake("the protocol's code panicked".to_owned()))
}
