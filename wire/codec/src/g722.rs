//! G.722 at 64 kbit/s: 16,000 samples a second, two to a byte.
//!
//! # Source
//! ITU-T G.722; RFC 3551 §4.5.2 for its RTP clock of 8 kHz.

use ezk_g722::libg722::{Bitrate, decoder, encoder};

/// Encodes one stream.
pub struct Encoder(encoder::Encoder);

impl Encoder {
    /// A new stream.
    #[must_use]
    pub fn new() -> Self {
        Self(encoder::Encoder::new(Bitrate::Mode1_64000, false, false))
    }

    /// Encodes `pcm`, two samples a byte, into the start of `out` and returns how many bytes that
    /// is. An odd sample at the end, and what `out` has no space for, is left out.
    pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> usize {
        let bytes = (pcm.len() / 2).min(out.len());
        let encoded = self.0.encode(&pcm[..2 * bytes]);
        out[..bytes].copy_from_slice(&encoded[..bytes]);
        bytes
    }
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

/// Decodes one stream.
pub struct Decoder(decoder::Decoder);

impl Decoder {
    /// A new stream.
    #[must_use]
    pub fn new() -> Self {
        Self(decoder::Decoder::new(Bitrate::Mode1_64000, false, false))
    }

    /// The sound of `bytes`, two samples each.
    pub fn decode(&mut self, bytes: &[u8]) -> Vec<i16> {
        self.0.decode(bytes)
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tone::{self, Tone};

    #[test]
    fn a_tone_keeps_its_level() {
        let mut pcm = [0; 3200];
        Tone::new(1004.0, 16_000).fill(&mut pcm);
        let mut bytes = [0; 1600];
        assert_eq!(Encoder::new().encode(&pcm, &mut bytes), 1600);
        let heard = Decoder::new().decode(&bytes);
        assert_eq!(heard.len(), 3200);
        let level = tone::level(&heard[800..], 1004.0, 16_000);
        assert!((level - tone::ZERO_DBM0).abs() < 0.5, "{level}");
    }

    #[test]
    fn odd_samples_and_short_buffers_are_cut() {
        let mut encoder = Encoder::new();
        assert_eq!(encoder.encode(&[1, 2, 3], &mut [0; 9]), 1);
        assert_eq!(encoder.encode(&[1; 40], &mut [0; 9]), 9);
        assert_eq!(encoder.encode(&[], &mut [0; 9]), 0);
    }

    proptest! {
        #[test]
        fn any_sound_and_any_bytes_pass(pcm in prop::collection::vec(any::<i16>(), 0..2000), bytes in prop::collection::vec(any::<u8>(), 0..1000)) {
            Encoder::new().encode(&pcm, &mut [0; 1000]);
            prop_assert_eq!(Decoder::new().decode(&bytes).len(), 2 * bytes.len());
        }
    }
}
