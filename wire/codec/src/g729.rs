//! G.729 Annex A, with the silence of Annex B: frames of 10 ms, 80 samples in 10 or 2 bytes.
//!
//! # Source
//! ITU-T G.729 Annexes A and B, RFC 3551 §4.5.6

use codec_core::codecs::g729::G729Codec;
use codec_core::types::{AudioCodecExt, CodecConfig};

use crate::Error;
use crate::contain::Contained;

/// Encodes one stream.
#[derive(Debug)]
pub struct Encoder(Contained<G729Codec>);

impl Encoder {
    /// A new stream. With `silence`, silence may be described (Annex B) instead of coded.
    ///
    /// # Errors
    /// The library has failed.
    pub fn new(silence: bool) -> Result<Self, Error> {
        codec(silence).map(Self)
    }

    /// Encodes whole frames into the start of `out` and returns how many bytes that is; 0: nothing
    /// is to be sent in this silence. A description of silence can only end a packet: it is left
    /// out if speech follows.
    ///
    /// # Errors
    /// `pcm` is not whole frames, `out` is too small, or the library has failed.
    pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Result<usize, Error> {
        let (frames, rest) = pcm.as_chunks::<SAMPLES>();
        if !rest.is_empty() || frames.is_empty() || out.len() < frames.len() * BYTES {
            return Err(Error::Parameters);
        }
        let (mut speech, mut len) = (0, 0);
        for frame in frames {
            let mut bytes = [0; BYTES];
            let written = self.0.run(|c| c.encode_to_buffer(frame, &mut bytes))?;
            let written = written.map_err(|_| Error::Failed)?;
            out[speech..speech + written].copy_from_slice(&bytes[..written]);
            len = len.max(speech + written);
            if written == BYTES {
                speech += BYTES;
                len = speech;
            }
        }
        Ok(len)
    }
}

/// Decodes one stream.
#[derive(Debug)]
pub struct Decoder(Contained<G729Codec>);

impl Decoder {
    /// A new stream.
    ///
    /// # Errors
    /// The library has failed.
    pub fn new() -> Result<Self, Error> {
        codec(true).map(Self)
    }

    /// Decodes frames into the start of `pcm` and returns how many samples that is.
    ///
    /// # Errors
    /// The bytes are no frames, `pcm` is too short, or the library has failed.
    pub fn decode(&mut self, bytes: &[u8], pcm: &mut [i16]) -> Result<usize, Error> {
        // Speech first; a last frame of two bytes describes silence.
        if bytes.is_empty() || !matches!(bytes.len() % BYTES, 0 | DESCRIPTION) {
            return Err(Error::Damaged);
        }
        let (frames, _) = pcm.as_chunks_mut::<SAMPLES>();
        let count = bytes.len().div_ceil(BYTES);
        if frames.len() < count {
            return Err(Error::Parameters);
        }
        for (frame, bytes) in frames.iter_mut().zip(bytes.chunks(BYTES)) {
            self.frame(bytes, frame)?;
        }
        Ok(count * SAMPLES)
    }

    /// Makes up as many frames as `pcm` has space for and returns how many samples that is: noise
    /// if silence was described last, else what may have been said, fading away.
    ///
    /// # Errors
    /// The library has failed.
    pub fn conceal(&mut self, pcm: &mut [i16]) -> Result<usize, Error> {
        let (frames, _) = pcm.as_chunks_mut::<SAMPLES>();
        for frame in frames.iter_mut() {
            self.frame(&[], frame)?;
        }
        Ok(frames.len() * SAMPLES)
    }

    fn frame(&mut self, bytes: &[u8], pcm: &mut [i16; SAMPLES]) -> Result<(), Error> {
        let decoded = self.0.run(|c| c.decode_to_buffer(bytes, pcm))?;
        decoded.map(drop).map_err(|_| Error::Damaged)
    }
}

fn codec(silence: bool) -> Result<Contained<G729Codec>, Error> {
    let config = if silence {
        CodecConfig::g729ba()
    } else {
        CodecConfig::g729a()
    };
    Contained::new(|| G729Codec::new(config).map_err(|_| Error::Failed))
}

/// 10 ms.
const SAMPLES: usize = 80;
const BYTES: usize = 10;
/// Bytes of a frame that describes silence.
const DESCRIPTION: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::Tone;

    /// RFC 3551 §4.5.6.
    #[test]
    fn rfc3551_4_5_6_a_description_of_silence_ends_a_packet() {
        let mut encoder = Encoder::new(true).unwrap();
        let mut tone = Tone::new(700.0, 8000);
        let (mut pcm, mut bytes) = ([0; 160], [0; 20]);
        let mut lens = Vec::new();
        let mut decoder = Decoder::new().unwrap();
        for n in 0..100 {
            tone.fill(&mut pcm);
            if n % 40 > 20 {
                pcm.fill(0);
            }
            let len = encoder.encode(&pcm, &mut bytes).unwrap();
            if len > 0 {
                let samples = decoder.decode(&bytes[..len], &mut pcm).unwrap();
                assert_eq!(samples, len.div_ceil(10) * 80);
            }
            lens.push(len);
        }
        assert!(
            lens.iter().all(|len| [0, 2, 10, 12, 20].contains(len)),
            "{lens:?}"
        );
        assert!([0, 20].iter().all(|len| lens.contains(len)), "{lens:?}");
        assert!(lens.iter().any(|len| len % 10 == 2), "{lens:?}");
    }

    #[test]
    fn pieces_are_refused() {
        let mut decoder = Decoder::new().unwrap();
        let mut pcm = [0; 160];
        assert_eq!(decoder.decode(&[], &mut pcm), Err(Error::Damaged));
        assert_eq!(decoder.decode(&[0; 11], &mut pcm), Err(Error::Damaged));
        assert_eq!(decoder.decode(&[0; 22], &mut pcm), Err(Error::Parameters));
        assert_eq!(decoder.decode(&[0; 12], &mut pcm), Ok(160));
        let mut encoder = Encoder::new(false).unwrap();
        assert_eq!(
            encoder.encode(&[0; 81], &mut [0; 20]),
            Err(Error::Parameters)
        );
        assert_eq!(
            encoder.encode(&[0; 160], &mut [0; 19]),
            Err(Error::Parameters)
        );
    }
}
