//! What served streams are encoded with.

use codec::Parameters;

use crate::{Codec, Format};

/// An encoder of sound at a rate that we have prompts for: 8 or 16 kHz.
pub(crate) fn encoder(codec: Codec) -> Result<codec::Encoder, codec::Error> {
    let mut parameters = Parameters::default();
    parameters.rate = Some(16_000);
    let encoder = codec::Encoder::new(codec, &parameters)?;
    match encoder.sample_rate() {
        8000 | 16_000 => Ok(encoder),
        _ => Err(codec::Error::Parameters),
    }
}

/// Ticks of the RTP clock in a millisecond.
pub(crate) fn clock(codec: Codec) -> u32 {
    codec.clock() / 1000
}

/// The packet length, in milliseconds, that comes nearest to what `format` wants.
pub(crate) fn ptime(format: Format) -> u8 {
    packet_time(format.codec, format.ptime)
}

/// The packet length, in milliseconds, that comes nearest to `wanted`: what we can send, which for
/// Opus is what has a frame; 20 if none is wanted.
pub(crate) fn packet_time(codec: Codec, wanted: u8) -> u8 {
    match (wanted, codec) {
        (0, _) => 20,
        (1..20, _) => 10,
        (20..30, _) | (30..40, Codec::Opus) => 20,
        (30..40, _) => 30,
        (40..60, _) => 40,
        (60.., _) => 60,
    }
}
