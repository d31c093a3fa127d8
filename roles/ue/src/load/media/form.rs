//! What a leg says, and what it is to hear.

use std::sync::Arc;

use codec::tone::Tone;
use codec::{Codec, Encoder, Parameters};
use srtp::{MasterKey, Profile, Receiver, Sender};

/// What a leg says and hears, and whether that is encrypted.
#[derive(Debug)]
pub struct Form {
    /// What it says.
    pub says: Says,
    /// What it is to hear.
    pub hears: Hears,
    /// What protects both.
    pub keys: Option<Box<Keys>>,
}

/// What a leg says.
#[derive(Clone, Debug)]
pub enum Says {
    /// A-law silence with a number and the time of sending, by which the partner measures delay.
    Stamps,
    /// Sound under this payload type.
    Sound(u8, Arc<Sound>),
    /// Nothing at all.
    Nothing,
}

/// What a leg is to hear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hears {
    /// Its partner's stamps.
    Stamps,
    /// A packet of this payload type every 20 ms, whatever it carries.
    Any(u8),
    /// Nothing is waited for.
    Nothing,
}

/// Half a second of sound, to be said again and again in packets of 20 ms.
#[derive(Clone, Debug)]
pub struct Sound {
    payloads: Vec<Vec<u8>>,
    /// Ticks of the RTP clock in a packet.
    ticks: u32,
}

/// SRTP both ways.
#[derive(Debug)]
pub struct Keys {
    sender: Sender,
    receiver: Receiver,
}

impl Default for Form {
    /// Stamps both ways, unencrypted.
    fn default() -> Self {
        Self {
            says: Says::Stamps,
            hears: Hears::Stamps,
            keys: None,
        }
    }
}

impl Sound {
    /// A tone that changes its pitch, of a codec; none if the codec can't be had.
    #[must_use]
    pub fn sweep(codec: Codec) -> Option<Self> {
        let mut encoder = Encoder::new(codec, &Parameters::default()).ok()?;
        let rate = encoder.sample_rate();
        let mut pcm = vec![0; rate as usize / 50];
        let payload = |number| {
            let mut tone = Tone::at(-15.0, 300.0 + number as f32 * 60.0, rate);
            tone.fill(&mut pcm);
            let mut payload = vec![0; LONGEST];
            let len = encoder.encode(&pcm, &mut payload).ok()?;
            payload.truncate(len);
            Some(payload)
        };
        Some(Self {
            payloads: (0..PACKETS).map(payload).collect::<Option<_>>()?,
            ticks: codec.clock() / 50,
        })
    }

    /// What packet `number` carries, and its timestamp.
    pub(super) fn packet(&self, number: u32) -> (&[u8], u32) {
        let at = number as usize % self.payloads.len();
        (&self.payloads[at], number.wrapping_mul(self.ticks))
    }
}

impl Keys {
    /// `ours` protects what we send, `theirs` what comes.
    ///
    /// # Errors
    /// If a key is not the profile's.
    pub fn new(
        profile: Profile,
        ours: &MasterKey,
        theirs: &MasterKey,
    ) -> Result<Self, srtp::Error> {
        Ok(Self {
            sender: Sender::new(profile, ours)?,
            receiver: Receiver::new(profile, theirs)?,
        })
    }

    /// Protects the packet of `len` octets in place; none if that fails.
    pub(super) fn protect(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        self.sender.protect_rtp(buffer, len).ok()
    }

    /// Opens the packet in place; none if it is not the peer's.
    pub(super) fn open(&mut self, packet: &mut [u8]) -> Option<usize> {
        self.receiver.unprotect_rtp(packet).ok()
    }
}

/// Packets of a sound: half a second.
const PACKETS: u32 = 25;

/// The most that 20 ms of a codec take.
const LONGEST: usize = 1300;
