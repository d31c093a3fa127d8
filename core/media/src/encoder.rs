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

/// The packet length, in milliseconds, that comes nearest to `wanted` and that the codec can make;
/// 20 or so if none is wanted.
pub(crate) fn packet_time(codec: Codec, wanted: u8) -> u8 {
    codec.ptime(if wanted == 0 { 20 } else { wanted })
}
