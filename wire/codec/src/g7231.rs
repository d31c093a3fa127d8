//! G.723.1 at 6.3 and 5.3 kbit/s: frames of 30 ms, 240 samples in 24, 20 or 4 bytes.
//!
//! # Source
//! ITU-T G.723.1, RFC 3551 §4.5.3

use oxideav_g7231::encoder::SpecEncoder;
use oxideav_g7231::linepack::PackedRate;
use oxideav_g7231::qdec::QSynthesis;

use crate::Error;
use crate::contain::Contained;

/// Encodes one stream.
#[derive(Debug)]
pub struct Encoder(Contained<SpecEncoder>);

impl Encoder {
    /// A new stream at the higher or the lower rate. With `silence`, silence may be described
    /// (Annex A) instead of coded.
    ///
    /// # Errors
    /// The library has failed.
    pub fn new(high: bool, silence: bool) -> Result<Self, Error> {
        let rate = if high {
            PackedRate::High
        } else {
            PackedRate::Low
        };
        let make = || {
            let mut encoder = SpecEncoder::new(rate);
            encoder.set_vad(silence);
            Ok(encoder)
        };
        Contained::new(make).map(Self)
    }

    /// Encodes whole frames into the start of `out` and returns how many bytes that is; 0: nothing
    /// is to be sent in this silence.
    ///
    /// # Errors
    /// `pcm` is not whole frames, `out` is too small, or the library has failed.
    pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Result<usize, Error> {
        let (frames, rest) = pcm.as_chunks::<SAMPLES>();
        if !rest.is_empty() || frames.is_empty() {
            return Err(Error::Parameters);
        }
        let mut len = 0;
        for frame in frames {
            let bytes = self.0.run(|e| e.encode_frame(frame))?;
            let space = out.get_mut(len..len + bytes.len());
            space.ok_or(Error::Parameters)?.copy_from_slice(&bytes);
            len += bytes.len();
        }
        let nothing = out[..len].iter().all(|b| *b == UNTRANSMITTED);
        Ok(if nothing { 0 } else { len })
    }
}

/// Decodes one stream, at either rate.
#[derive(Debug)]
pub struct Decoder(Contained<QSynthesis>);

impl Decoder {
    /// A new stream.
    ///
    /// # Errors
    /// The library has failed.
    pub fn new() -> Result<Self, Error> {
        Contained::new(|| Ok(QSynthesis::new())).map(Self)
    }

    /// Decodes frames of any rate into the start of `pcm` and returns how many samples that is.
    /// Silence that is described (Annex A) fades away.
    ///
    /// # Errors
    /// The bytes are no frames, `pcm` is too short, or the library has failed.
    pub fn decode(&mut self, mut bytes: &[u8], pcm: &mut [i16]) -> Result<usize, Error> {
        if frames(bytes)? * SAMPLES > pcm.len() {
            return Err(Error::Parameters);
        }
        let (space, _) = pcm.as_chunks_mut::<SAMPLES>();
        let mut samples = 0;
        for frame in space {
            let Some(first) = bytes.first() else {
                break;
            };
            let (head, rest) = bytes.split_at(frame_len(*first));
            *frame = self.0.run(|d| match first & 3 {
                0 => d.decode_mpmlq(head).unwrap_or_else(|_| d.decode_erased()),
                1 => d.decode_acelp(head).unwrap_or_else(|_| d.decode_erased()),
                _ => d.decode_erased(),
            })?;
            samples += SAMPLES;
            bytes = rest;
        }
        Ok(samples)
    }

    /// Makes up as many frames as `pcm` has space for and returns how many samples that is.
    ///
    /// # Errors
    /// The library has failed.
    ///
    /// # Source
    /// ITU-T G.723.1 §3.10
    pub fn conceal(&mut self, pcm: &mut [i16]) -> Result<usize, Error> {
        let (frames, _) = pcm.as_chunks_mut::<SAMPLES>();
        for frame in frames.iter_mut() {
            *frame = self.0.run(QSynthesis::decode_erased)?;
        }
        Ok(frames.len() * SAMPLES)
    }
}

/// How many frames `bytes` are.
fn frames(mut bytes: &[u8]) -> Result<usize, Error> {
    let mut count = 0;
    while let Some(first) = bytes.first() {
        bytes = bytes.get(frame_len(*first)..).ok_or(Error::Damaged)?;
        count += 1;
    }
    match count {
        0 => Err(Error::Damaged),
        count => Ok(count),
    }
}

/// Bytes of a frame by its first one.
const fn frame_len(first: u8) -> usize {
    match first & 3 {
        0 => 24,
        1 => 20,
        2 => 4,
        _ => 1,
    }
}

/// 30 ms.
const SAMPLES: usize = 240;
/// A frame that says that it is none.
const UNTRANSMITTED: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3551 §4.5.3.
    #[test]
    fn rfc3551_4_5_3_frames_of_each_rate() {
        let mut bytes = [0; 48];
        let mut encode = |high| {
            let mut encoder = Encoder::new(high, false).unwrap();
            let len = encoder.encode(&[0; 480], &mut bytes).unwrap();
            let mut pcm = [0; 480];
            let mut decoder = Decoder::new().unwrap();
            assert_eq!(decoder.decode(&bytes[..len], &mut pcm), Ok(480));
            (len, bytes[0] & 3)
        };
        assert_eq!(encode(true), (48, 0));
        assert_eq!(encode(false), (40, 1));
    }

    #[test]
    fn silence_is_described_and_then_left_out() {
        let mut encoder = Encoder::new(true, true).unwrap();
        let mut lens = Vec::new();
        for _ in 0..40 {
            lens.push(encoder.encode(&[0; 240], &mut [0; 24]).unwrap());
        }
        assert!(lens.contains(&4) && lens.ends_with(&[0, 0, 0]), "{lens:?}");
    }

    #[test]
    fn pieces_are_refused() {
        let mut decoder = Decoder::new().unwrap();
        let mut pcm = [0; 480];
        assert_eq!(decoder.decode(&[], &mut pcm), Err(Error::Damaged));
        assert_eq!(decoder.decode(&[0; 23], &mut pcm), Err(Error::Damaged));
        assert_eq!(decoder.decode(&[1; 21], &mut pcm), Err(Error::Damaged));
        assert_eq!(decoder.decode(&[3; 3], &mut pcm), Err(Error::Parameters));
        assert_eq!(decoder.decode(&[3; 2], &mut pcm), Ok(480));
        let mut encoder = Encoder::new(true, false).unwrap();
        assert_eq!(
            encoder.encode(&[0; 200], &mut [0; 24]),
            Err(Error::Parameters)
        );
        assert_eq!(
            encoder.encode(&[0; 240], &mut [0; 23]),
            Err(Error::Parameters)
        );
    }
}
