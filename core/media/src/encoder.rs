//! The codecs that served streams are encoded with, behind one face.

use codec::{g711, g722, opus};

use crate::{Codec, Format};

#[derive(Debug)]
pub(crate) enum Encoder {
    Pcmu,
    Pcma,
    G722(Box<g722::Encoder>),
    Opus(opus::Encoder),
}

impl Encoder {
    pub(crate) fn new(codec: Codec) -> Result<Self, codec::Error> {
        Ok(match codec {
            Codec::Pcmu => Self::Pcmu,
            Codec::Pcma => Self::Pcma,
            Codec::G722 => Self::G722(Box::default()),
            Codec::Opus => Self::Opus(opus::Encoder::new(16_000, OPUS_BIT_RATE)?),
        })
    }

    /// Samples a second that it wants.
    pub(crate) fn rate(&self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8000,
            Self::G722(_) | Self::Opus(_) => 16_000,
        }
    }

    /// Encodes a packet's worth of `pcm` into the start of `out`, which is long enough for G.711,
    /// and returns how many bytes that is.
    pub(crate) fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Result<usize, codec::Error> {
        let each = |law: fn(i16) -> u8, out: &mut [u8]| {
            out.iter_mut()
                .zip(pcm)
                .for_each(|(byte, s)| *byte = law(*s));
            pcm.len().min(out.len())
        };
        match self {
            Self::Pcmu => Ok(each(g711::encode_mu, out)),
            Self::Pcma => Ok(each(g711::encode_a, out)),
            Self::G722(encoder) => Ok(encoder.encode(pcm, out)),
            Self::Opus(encoder) => encoder.encode(pcm, out),
        }
    }
}

/// Ticks of the RTP clock in a millisecond.
pub(crate) fn clock(codec: Codec) -> u32 {
    match codec {
        Codec::Pcmu | Codec::Pcma | Codec::G722 => 8,
        Codec::Opus => 48,
    }
}

/// The packet length, in milliseconds, that comes nearest to what `format` wants: what we can
/// send, which for Opus is what has a frame.
pub(crate) fn ptime(format: Format) -> u8 {
    match (format.ptime, format.codec) {
        (0..20, _) => 10,
        (20..30, _) | (30..40, Codec::Opus) => 20,
        (30..40, _) => 30,
        (40..60, _) => 40,
        (60.., _) => 60,
    }
}

const OPUS_BIT_RATE: u32 = 24_000;
