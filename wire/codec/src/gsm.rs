//! GSM full rate: frames of 20 ms, 160 samples in 33 bytes.
//!
//! # Source
//! RFC 3551 §4.5.8 for the bytes; GSM 06.10, 06.11 for loss, 06.12 and 06.31 for comfort noise.

use oxideav_gsm::{EncoderState, RxDtxHandler, UnpackedFrame};

use crate::Error;
use crate::contain::Contained;

/// Encodes one stream.
#[derive(Debug)]
pub struct Encoder(Contained<EncoderState>);

impl Encoder {
    /// A new stream.
    ///
    /// # Errors
    /// The library has failed.
    pub fn new() -> Result<Self, Error> {
        Contained::new(|| Ok(EncoderState::new())).map(Self)
    }

    /// Encodes whole frames into the start of `out` and returns how many bytes that is.
    ///
    /// # Errors
    /// `pcm` is not whole frames, `out` is too small, or the library has failed.
    pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Result<usize, Error> {
        let (frames, rest) = pcm.as_chunks::<SAMPLES>();
        let (packed, _) = out.as_chunks_mut::<BYTES>();
        if !rest.is_empty() || frames.is_empty() || packed.len() < frames.len() {
            return Err(Error::Parameters);
        }
        for (bytes, frame) in packed.iter_mut().zip(frames) {
            *bytes = self.0.run(|e| e.encode_frame(frame).to_gsm_byte_frame())?;
        }
        Ok(frames.len() * BYTES)
    }
}

/// Decodes one stream.
#[derive(Debug)]
pub struct Decoder(Contained<RxDtxHandler>);

impl Decoder {
    /// A new stream.
    ///
    /// # Errors
    /// The library has failed.
    pub fn new() -> Result<Self, Error> {
        Contained::new(|| Ok(RxDtxHandler::new(SEED))).map(Self)
    }

    /// Decodes whole frames into the start of `pcm` and returns how many samples that is.
    ///
    /// # Errors
    /// The bytes are no frames, `pcm` is too short, or the library has failed.
    pub fn decode(&mut self, bytes: &[u8], pcm: &mut [i16]) -> Result<usize, Error> {
        let (packed, rest) = bytes.as_chunks::<BYTES>();
        let (frames, _) = pcm.as_chunks_mut::<SAMPLES>();
        if !rest.is_empty() || packed.is_empty() {
            return Err(Error::Damaged);
        }
        if frames.len() < packed.len() {
            return Err(Error::Parameters);
        }
        for (frame, bytes) in frames.iter_mut().zip(packed) {
            let unpacked = UnpackedFrame::from_gsm_byte_frame(bytes);
            let unpacked = unpacked.map_err(|_| Error::Damaged)?;
            *frame = self.receive(&unpacked, false)?;
        }
        Ok(packed.len() * SAMPLES)
    }

    /// Makes up as many frames as `pcm` has space for and returns how many samples that is. The
    /// sound fades away within 320 ms.
    ///
    /// # Errors
    /// The library has failed.
    ///
    /// # Source
    /// GSM 06.11
    pub fn conceal(&mut self, pcm: &mut [i16]) -> Result<usize, Error> {
        let (frames, _) = pcm.as_chunks_mut::<SAMPLES>();
        for frame in frames.iter_mut() {
            *frame = self.receive(&lost(), true)?;
        }
        Ok(frames.len() * SAMPLES)
    }

    fn receive(&mut self, frame: &UnpackedFrame, bad: bool) -> Result<[i16; SAMPLES], Error> {
        let receive = |d: &mut RxDtxHandler| d.receive_traffic_frame(frame, bad, false).1;
        self.0.run(receive)
    }
}

/// What stands in for a lost frame. Nothing of it is heard, but it must not look like a silence
/// descriptor, whose pulses are all 0.
fn lost() -> UnpackedFrame {
    let mut frame = UnpackedFrame::default();
    frame.sub.iter_mut().for_each(|sub| sub.x_mc.fill(7));
    frame
}

/// 20 ms.
const SAMPLES: usize = 160;
const BYTES: usize = 33;
/// Starts the noise; any will do.
const SEED: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_whole() {
        let mut encoder = Encoder::new().unwrap();
        let mut bytes = [0; 66];
        assert_eq!(encoder.encode(&[0; 320], &mut bytes), Ok(66));
        assert!(bytes[0] >> 4 == 0xd && bytes[33] >> 4 == 0xd);
        assert_eq!(
            encoder.encode(&[0; 159], &mut bytes),
            Err(Error::Parameters)
        );
        let mut decoder = Decoder::new().unwrap();
        let mut pcm = [0; 320];
        assert_eq!(decoder.decode(&bytes, &mut pcm), Ok(320));
        assert_eq!(decoder.decode(&bytes[..34], &mut pcm), Err(Error::Damaged));
        assert_eq!(decoder.decode(&[0; 33], &mut pcm), Err(Error::Damaged));
        assert_eq!(
            decoder.decode(&bytes, &mut pcm[..319]),
            Err(Error::Parameters)
        );
    }

    #[test]
    fn loss_repeats_then_fades() {
        let mut encoder = Encoder::new().unwrap();
        let mut decoder = Decoder::new().unwrap();
        let mut tone = crate::tone::Tone::new(700.0, 8000);
        let (mut pcm, mut bytes) = ([0; 160], [0; 33]);
        for _ in 0..20 {
            tone.fill(&mut pcm);
            encoder.encode(&pcm, &mut bytes).unwrap();
            decoder.decode(&bytes, &mut pcm).unwrap();
        }
        let peak = |pcm: &[i16]| pcm.iter().map(|s| s.unsigned_abs()).max().unwrap();
        assert_eq!(decoder.conceal(&mut pcm), Ok(160));
        assert!(peak(&pcm) > 5000);
        (0..16).for_each(|_| assert_eq!(decoder.conceal(&mut pcm), Ok(160)));
        assert!(peak(&pcm) < 100);
    }
}
