//! Checking and decrypting what is received.

use std::fmt;

use crate::layout::{Rtp, rtcp_sender};
use crate::sources::{Sources, rtp_index};
use crate::transform::Session;
use crate::window::Window;
use crate::{Error, MasterKey, Profile};

/// Checks and decrypts the packets of one direction, from any of its sources.
///
/// # Source
/// RFC 3711 §3.3, §3.4
pub struct Receiver {
    session: Session,
    /// The key before this one, for packets that were under way when it was changed.
    previous: Option<Previous>,
    rtp: Sources<Heard>,
    rtcp: Sources<Heard>,
    /// A rollover counter to try for a source that nobody has heard of; each that is wrong makes place for the next.
    late: u64,
}

struct Previous {
    session: Session,
    /// How many more packets of the new key come before this one is wiped.
    patience: u32,
}

impl Receiver {
    /// A receiver with its keys derived.
    ///
    /// # Errors
    /// [`Error::KeyLength`] if the key is not one of `profile`.
    pub fn new(profile: Profile, key: &MasterKey) -> Result<Self, Error> {
        Ok(Self {
            session: Session::new(profile, key)?,
            previous: None,
            rtp: Sources::default(),
            rtcp: Sources::default(),
            late: 1,
        })
    }

    /// The profile in use.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.session.profile()
    }

    /// Changes the key. Rollover counters go on, as they should; a peer that begins to count anew
    /// with the new key is understood too. Packets under the old key are taken until a few hundred
    /// have come under the new one; then it is wiped.
    ///
    /// # Errors
    /// [`Error::KeyLength`]; the old key stays in use.
    ///
    /// # Source
    /// RFC 3711 §3.3.1, §8.1
    pub fn rekey(&mut self, profile: Profile, key: &MasterKey) -> Result<(), Error> {
        let session = Session::new(profile, key)?;
        self.previous = Some(Previous {
            session: std::mem::replace(&mut self.session, session),
            patience: PATIENCE,
        });
        for source in self.rtp.iter_mut().chain(self.rtcp.iter_mut()) {
            source.rekeyed = true;
        }
        Ok(())
    }

    /// Reads what the next RTP packet needs, so that it is in the processor's cache by then. That is of use where many
    /// streams take turns: who does it for several at once waits for memory once.
    pub fn fetch(&self) {
        self.session.fetch();
        self.rtp.fetch();
    }

    /// Checks and decrypts an RTP packet in place and returns its length without the tag.
    ///
    /// A source that has sent to others before, as one does that is transferred with its keys, may be hours ahead:
    /// its rollover counter, of 66 at most, is found within as many packets as it is high.
    ///
    /// # Errors
    /// [`Error::Authentication`], [`Error::Replayed`], [`Error::Malformed`]. The packet may have
    /// been overwritten and is to be dropped.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<usize, Error> {
        let rtp = Rtp::parse(packet)?;
        let attempts = match self.rtp.find(rtp.ssrc) {
            Some(source) => source.rtp_attempts(rtp.sequence),
            None => first_rtp_attempts(rtp.sequence, self.late),
        };
        let open = |session: &Session, packet: &mut [u8], index| {
            session.open_rtp(packet, rtp, rtp_index(index)?)
        };
        let opened = match self.attempt(attempts, packet, open) {
            Err(Error::Authentication) if self.rtp.find(rtp.ssrc).is_none() => {
                self.late = self.late % MOST_LATE + 1;
                return Err(Error::Authentication);
            }
            result => result?,
        };
        let restarted = self.rtp.note(rtp.ssrc, &opened.attempt);
        self.retire(opened.attempt.current, restarted);
        Ok(opened.len)
    }

    /// Checks and decrypts an RTCP packet in place and returns its length without index and tag.
    ///
    /// # Errors
    /// [`Error::Authentication`], [`Error::Replayed`], [`Error::Malformed`]. The packet may have
    /// been overwritten and is to be dropped.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Error> {
        let ssrc = rtcp_sender(packet)?;
        let index = self.session.rtcp_index(packet)?;
        let previous = self.previous.as_ref();
        let previous = previous.and_then(|previous| previous.session.rtcp_index(packet).ok());
        let attempts = match self.rtcp.find(ssrc) {
            Some(source) => source.rtcp_attempts(index, previous),
            None => [
                Attempt::current(index),
                previous.and_then(Attempt::previous),
                None,
                None,
            ],
        };
        let open = |session: &Session, packet: &mut [u8], _| session.open_rtcp(packet, ssrc);
        let opened = self.attempt(attempts, packet, open)?;
        let restarted = self.rtcp.note(ssrc, &opened.attempt);
        self.retire(opened.attempt.current, restarted);
        Ok(opened.len)
    }

    /// Tries the keys and indices that a packet may have, likeliest first. With more than one, it
    /// works on a copy, because GCM overwrites what it refuses.
    fn attempt(
        &self,
        attempts: Attempts,
        packet: &mut [u8],
        open: impl Fn(&Session, &mut [u8], u64) -> Result<usize, Error>,
    ) -> Result<Opened, Error> {
        let attempts = attempts
            .into_iter()
            .flatten()
            .filter_map(|attempt| Some((attempt, self.session_for(&attempt)?)));
        let mut result = Err(Error::Replayed);
        let single = attempts.clone().count() == 1 || packet.len() > COPY;
        let mut copy = [0; COPY];
        for (attempt, session) in attempts {
            if single {
                let len = open(session, packet, attempt.index)?;
                return Ok(Opened { attempt, len });
            }
            let copy = &mut copy[..packet.len()];
            copy.copy_from_slice(packet);
            match open(session, copy, attempt.index) {
                Ok(len) => {
                    packet.copy_from_slice(copy);
                    return Ok(Opened { attempt, len });
                }
                Err(error) => result = Err(error),
            }
        }
        result
    }

    fn session_for(&self, attempt: &Attempt) -> Option<&Session> {
        match attempt.current {
            true => Some(&self.session),
            false => self.previous.as_ref().map(|previous| &previous.session),
        }
    }

    /// Wipes the previous key in time; at once when the peer counts anew, because its old packets
    /// would look fresh then.
    fn retire(&mut self, current: bool, restarted: bool) {
        if let (Some(previous), true) = (&mut self.previous, current) {
            previous.patience -= 1;
            if previous.patience == 0 || restarted {
                self.previous = None;
            }
        }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver({:?})", self.profile())
    }
}

/// A key and an index to try.
#[derive(Clone, Copy)]
struct Attempt {
    /// Under the current key, not the previous one.
    current: bool,
    index: u64,
}

impl Attempt {
    #[allow(
        clippy::unnecessary_wraps,
        reason = "all that is made of it is optional"
    )]
    fn current(index: u64) -> Option<Self> {
        let current = true;
        Some(Self { current, index })
    }

    #[allow(
        clippy::unnecessary_wraps,
        reason = "all that is made of it is optional"
    )]
    fn previous(index: u64) -> Option<Self> {
        let current = false;
        Some(Self { current, index })
    }
}

type Attempts = [Option<Attempt>; 4];

struct Opened {
    attempt: Attempt,
    len: usize,
}

/// A source as its receiver knows it.
struct Heard {
    window: Window,
    /// No packet has come since the key was changed: the peer may count anew.
    rekeyed: bool,
}

impl Heard {
    fn rtp_attempts(&self, sequence: u16) -> Attempts {
        let index = self.window.estimate(sequence);
        let anew = (self.rekeyed && index > 0xffff).then_some(sequence.into());
        [
            self.current(index),
            anew.and_then(Attempt::current),
            self.previous(index),
            None,
        ]
    }

    fn rtcp_attempts(&self, index: u64, previous: Option<u64>) -> Attempts {
        let previous = previous.and_then(|index| self.previous(index));
        [self.current(index), previous, None, None]
    }

    /// Under a key that was not heard yet, nothing is a repetition.
    fn current(&self, index: u64) -> Option<Attempt> {
        Attempt::current(index).filter(|_| self.rekeyed || self.window.check(index).is_ok())
    }

    fn previous(&self, index: u64) -> Option<Attempt> {
        Attempt::previous(index).filter(|_| self.window.check(index).is_ok())
    }

    /// Takes note of an authenticated packet. Returns whether the peer has begun to count anew.
    fn accept(&mut self, attempt: &Attempt) -> bool {
        let first = self.rekeyed && attempt.current;
        self.rekeyed &= !attempt.current;
        if first && self.window.check(attempt.index).is_err() {
            self.window = Window::starting_at(attempt.index);
            return true;
        }
        self.window.accept(attempt.index);
        false
    }
}

impl Sources<Heard> {
    fn note(&mut self, ssrc: u32, attempt: &Attempt) -> bool {
        if let Some(source) = self.find(ssrc) {
            return source.accept(attempt);
        }
        let source = Heard {
            window: Window::starting_at(attempt.index),
            rekeyed: !attempt.current,
        };
        self.add(ssrc, source);
        false
    }
}

/// A source begins with rollover counter 0; with 1, if its very first packets were just before the
/// turn and are still under way; or has begun long ago, and has the counter `late`.
fn first_rtp_attempts(sequence: u16, late: u64) -> Attempts {
    let index = u64::from(sequence);
    let turned = (sequence < 1 << 15).then_some(1 << 16 | index);
    [
        Attempt::current(index),
        turned.and_then(Attempt::current),
        Attempt::previous(index),
        Attempt::current(late << 16 | index),
    ]
}

/// The highest rollover counter of a source that is heard late: a day of packets of 20 ms.
const MOST_LATE: u64 = 66;

/// How many packets of a new key come before the old one is wiped: ten seconds of sound.
const PATIENCE: u32 = 500;

/// Longer packets are tried with the likeliest key and index only; there are none on the Internet.
const COPY: usize = 2048;
