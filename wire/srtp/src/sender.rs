//! Protecting what is sent.

use std::fmt;

use crate::layout::{RTCP_HEADER, Rtp, rtcp_sender};
use crate::sources::{Sources, rtp_index};
use crate::transform::Session;
use crate::window::Window;
use crate::{Error, MasterKey, Profile};

/// Protects the packets of one direction, from any of its sources.
///
/// # Source
/// RFC 3711 §3.3, §3.4
pub struct Sender {
    session: Session,
    rtp: Sources<Window>,
    rtcp: Sources<u32>,
}

impl Sender {
    /// A sender with its keys derived.
    ///
    /// # Errors
    /// [`Error::KeyLength`] if the key is not one of `profile`.
    pub fn new(profile: Profile, key: &MasterKey) -> Result<Self, Error> {
        Ok(Self {
            session: Session::new(profile, key)?,
            rtp: Sources::default(),
            rtcp: Sources::default(),
        })
    }

    /// The profile in use.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.session.profile()
    }

    /// Changes the key. Rollover counters and SRTCP indices go on: they are the packets', not the
    /// key's.
    ///
    /// # Errors
    /// [`Error::KeyLength`]; the old key stays in use.
    ///
    /// # Source
    /// RFC 3711 §3.3.1, §8.1
    pub fn rekey(&mut self, profile: Profile, key: &MasterKey) -> Result<(), Error> {
        self.session = Session::new(profile, key)?;
        Ok(())
    }

    /// Reads what the next RTP packet needs, so that it is in the processor's cache by then. That is of use where many
    /// streams take turns: who does it for several at once waits for memory once.
    pub fn fetch(&self) {
        self.session.fetch();
        self.rtp.fetch();
    }

    /// Protects the RTP packet in the first `len` bytes of `buffer` and returns its new length.
    /// `buffer` needs [`Profile::rtp_overhead`] bytes of room behind it.
    ///
    /// Packets may come out of order, by about a thousand at most. The sequence number must go on
    /// where a source left off, in its own count: one that was there before would use the same
    /// key stream twice. So whoever lets more than [`MAX_SOURCES`](crate::MAX_SOURCES) sources
    /// speak must not let one come back that was idle longest.
    ///
    /// # Errors
    /// [`Error::Replayed`] for such a number, [`Error::Malformed`], [`Error::NoRoom`], and
    /// [`Error::Exhausted`] after 2^48 packets. The packet must not be sent then.
    pub fn protect_rtp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, Error> {
        let packet = buffer.get(..len).ok_or(Error::Malformed)?;
        let rtp = Rtp::parse(packet)?;
        if buffer.len() < len + self.profile().rtp_overhead() {
            return Err(Error::NoRoom);
        }
        let index = self.claim(rtp)?;
        self.session.seal_rtp(buffer, len, rtp, index)
    }

    /// Protects the (compound) RTCP packet in the first `len` bytes of `buffer` and returns its
    /// new length. `buffer` needs [`Profile::rtcp_overhead`] bytes of room behind it.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::NoRoom`], and [`Error::Exhausted`] after 2^31 packets.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, Error> {
        let packet = buffer.get(..len).ok_or(Error::Malformed)?;
        let ssrc = rtcp_sender(packet)?;
        debug_assert!(len >= RTCP_HEADER);
        if buffer.len() < len + self.profile().rtcp_overhead() {
            return Err(Error::NoRoom);
        }
        let index = self.next_rtcp_index(ssrc)?;
        self.session.seal_rtcp(buffer, len, ssrc, index)
    }

    /// The packet's index, which nobody else gets from now on.
    fn claim(&mut self, rtp: Rtp) -> Result<u64, Error> {
        let Some(window) = self.rtp.find(rtp.ssrc) else {
            let index = u64::from(rtp.sequence);
            self.rtp.add(rtp.ssrc, Window::starting_at(index));
            return Ok(index);
        };
        let index = rtp_index(window.estimate(rtp.sequence))?;
        window.check(index)?;
        window.accept(index);
        Ok(index)
    }

    /// The first SRTCP packet has index 1: the counter is raised before it is used.
    fn next_rtcp_index(&mut self, ssrc: u32) -> Result<u32, Error> {
        let Some(last) = self.rtcp.find(ssrc) else {
            self.rtcp.add(ssrc, 1);
            return Ok(1);
        };
        if *last == LAST_RTCP_INDEX {
            return Err(Error::Exhausted);
        }
        *last += 1;
        Ok(*last)
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender({:?})", self.profile())
    }
}

/// # Source
/// RFC 3711 §3.4, §9.2
const LAST_RTCP_INDEX: u32 = (1 << 31) - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MAX_OVERHEAD;

    fn sender() -> Sender {
        let key = MasterKey::new(&[1; 16], &[2; 14]).unwrap();
        Sender::new(Profile::Aes128CmSha1_80, &key).unwrap()
    }

    #[test]
    fn rfc3711_9_1_no_key_stream_is_used_twice() {
        let mut sender = sender();
        let mut packet = [0x80; 20 + MAX_OVERHEAD];
        assert_eq!(sender.protect_rtp(&mut packet, 20), Ok(30));
        let mut packet = [0x80; 20 + MAX_OVERHEAD];
        assert_eq!(sender.protect_rtp(&mut packet, 20), Err(Error::Replayed));
        assert_eq!(packet, [0x80; 20 + MAX_OVERHEAD]);
    }

    #[test]
    fn rfc3711_9_2_a_key_ends() {
        let mut sender = sender();
        sender.rtcp.add(0x8080_8080, LAST_RTCP_INDEX - 1);
        let packet = [0x80; 20 + MAX_OVERHEAD];
        assert_eq!(sender.protect_rtcp(&mut packet.clone(), 20), Ok(34));
        let exhausted = sender.protect_rtcp(&mut packet.clone(), 20);
        assert_eq!(exhausted, Err(Error::Exhausted));
        sender
            .rtp
            .add(0x8080_8080, Window::starting_at((1 << 48) - 1));
        let mut packet = [0x80; 20 + MAX_OVERHEAD];
        packet[2] = 0;
        assert_eq!(sender.protect_rtp(&mut packet, 20), Err(Error::Exhausted));
    }

    #[test]
    fn what_does_not_fit_is_refused_untouched() {
        let mut sender = sender();
        let mut packet = [0x80; 29];
        assert_eq!(sender.protect_rtp(&mut packet, 20), Err(Error::NoRoom));
        assert_eq!(sender.protect_rtp(&mut packet, 30), Err(Error::Malformed));
        assert_eq!(sender.protect_rtcp(&mut packet, 20), Err(Error::NoRoom));
        assert_eq!(sender.protect_rtcp(&mut packet, 7), Err(Error::Malformed));
        assert_eq!(packet, [0x80; 29]);
    }
}
