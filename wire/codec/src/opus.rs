//! Opus, mono.
//!
//! # Source
//! RFC 6716; RFC 7587 for its RTP clock, 48 kHz at every sampling rate.

#![allow(unsafe_code, reason = "the library is C translated to Rust")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use unsafe_libopus as unsafe_opus;

use crate::Error;

/// Encodes one stream of speech.
#[derive(Debug)]
pub struct Encoder {
    state: NonNull<unsafe_opus::OpusEncoder>,
    rate: u32,
    failed: bool,
}

// SAFETY: the state is a plain block of memory that only this value points to.
unsafe impl Send for Encoder {}

impl Encoder {
    /// A stream of `rate` samples a second (8, 12, 16, 24 or 48 kHz) at about `bit_rate` bits a
    /// second.
    ///
    /// # Errors
    /// The rates are not ones that Opus has.
    pub fn new(rate: u32, bit_rate: u32) -> Result<Self, Error> {
        let state = contain(|| {
            // SAFETY: the library checks its arguments; a null pointer for the error is allowed.
            unsafe {
                unsafe_opus::opus_encoder_create(
                    rate as i32,
                    1,
                    unsafe_opus::OPUS_APPLICATION_VOIP,
                    std::ptr::null_mut(),
                )
            }
        })?;
        let mut encoder = Self {
            state: NonNull::new(state).ok_or(Error::Parameters)?,
            rate,
            failed: false,
        };
        encoder.set(unsafe_opus::OPUS_SET_BITRATE_REQUEST, bit_rate as i32)?;
        encoder.set(unsafe_opus::OPUS_SET_COMPLEXITY_REQUEST, COMPLEXITY)?;
        encoder.set(
            unsafe_opus::OPUS_SET_SIGNAL_REQUEST,
            unsafe_opus::OPUS_SIGNAL_VOICE,
        )?;
        Ok(encoder)
    }

    /// Samples a second.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Encodes a frame of 2.5, 5, 10, 20, 40 or 60 ms into the start of `out` and returns how many
    /// bytes that is; 1275 are enough for any frame of up to 20 ms.
    ///
    /// # Errors
    /// The frame has another length, `out` is too small, or the library has failed before.
    pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Result<usize, Error> {
        if self.failed {
            return Err(Error::Failed);
        }
        if !is_frame(pcm.len(), self.rate) || out.is_empty() {
            return Err(Error::Parameters);
        }
        let state = self.state.as_ptr();
        let written = contain(|| {
            // SAFETY: the state is alive, `pcm` is as long as its length says and mono, and no more
            // than `out` can hold is written.
            unsafe {
                unsafe_opus::opus_encode(
                    state,
                    pcm.as_ptr(),
                    pcm.len() as i32,
                    out.as_mut_ptr(),
                    out.len().min(MAX_PACKET) as i32,
                )
            }
        });
        self.failed = written.is_err();
        usize::try_from(written?).map_err(|_| Error::Parameters)
    }

    fn set(&mut self, request: i32, value: i32) -> Result<(), Error> {
        let state = self.state.as_ptr();
        let result = contain(|| {
            // SAFETY: the state is alive and these requests take one integer.
            unsafe { unsafe_opus::opus_encoder_ctl!(state, request, value) }
        })?;
        match result {
            unsafe_opus::OPUS_OK => Ok(()),
            _ => Err(Error::Parameters),
        }
    }

    /// Samples by which the encoder delays, which a file tells its player to skip.
    ///
    /// # Errors
    /// The library has failed.
    pub fn delay(&mut self) -> Result<u32, Error> {
        let state = self.state.as_ptr();
        let mut delay = 0;
        contain(|| {
            // SAFETY: the state is alive and this request takes one reference.
            unsafe {
                unsafe_opus::opus_encoder_ctl!(
                    state,
                    unsafe_opus::OPUS_GET_LOOKAHEAD_REQUEST,
                    &mut delay
                )
            }
        })?;
        u32::try_from(delay).map_err(|_| Error::Failed)
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: the state came from the library and is destroyed once.
        unsafe { unsafe_opus::opus_encoder_destroy(self.state.as_ptr()) }
    }
}

/// Decodes one stream.
#[derive(Debug)]
pub struct Decoder {
    state: NonNull<unsafe_opus::OpusDecoder>,
    rate: u32,
    failed: bool,
}

// SAFETY: the state is a plain block of memory that only this value points to.
unsafe impl Send for Decoder {}

impl Decoder {
    /// Decodes to `rate` samples a second (8, 12, 16, 24 or 48 kHz), whatever was encoded.
    ///
    /// # Errors
    /// Opus does not have this rate.
    pub fn new(rate: u32) -> Result<Self, Error> {
        let state = contain(|| {
            // SAFETY: the library checks its arguments; a null pointer for the error is allowed.
            unsafe { unsafe_opus::opus_decoder_create(rate as i32, 1, std::ptr::null_mut()) }
        })?;
        Ok(Self {
            state: NonNull::new(state).ok_or(Error::Parameters)?,
            rate,
            failed: false,
        })
    }

    /// Decodes one packet and appends its sound to `pcm`.
    ///
    /// # Errors
    /// The packet is damaged, or the library has failed before.
    pub fn decode(&mut self, packet: &[u8], pcm: &mut Vec<i16>) -> Result<(), Error> {
        if self.failed {
            return Err(Error::Failed);
        }
        if packet.is_empty() || packet.len() > MAX_FILE_PACKET {
            return Err(Error::Damaged);
        }
        let start = pcm.len();
        let space = (self.rate * MAX_FRAME_MS / 1000) as usize;
        pcm.resize(start + space, 0);
        let state = self.state.as_ptr();
        let decoded = contain(|| {
            // SAFETY: the state is alive and mono, `packet` is as long as its length says, and
            // there are `space` samples at the place written to.
            unsafe {
                unsafe_opus::opus_decode(
                    state,
                    packet.as_ptr(),
                    packet.len() as i32,
                    pcm[start..].as_mut_ptr(),
                    space as i32,
                    0,
                )
            }
        });
        self.failed = decoded.is_err();
        let samples = decoded.map(|n| usize::try_from(n).unwrap_or(0));
        pcm.truncate(start + samples.unwrap_or(0));
        match samples? {
            0 => Err(Error::Damaged),
            _ => Ok(()),
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the state came from the library and is destroyed once.
        unsafe { unsafe_opus::opus_decoder_destroy(self.state.as_ptr()) }
    }
}

/// Runs the library; a panic in it must not end the calls of a whole thread.
fn contain<T>(call: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| Error::Failed)
}

fn is_frame(samples: usize, rate: u32) -> bool {
    let rate = rate as usize;
    [400, 200, 100, 50, 25].iter().any(|n| samples * n == rate) || samples * 50 == rate * 3
}

/// Half of the best: speech at these rates gains nothing above.
const COMPLEXITY: i32 = 5;
/// Three frames of 20 ms at the highest bit rate.
const MAX_PACKET: usize = 3 * 1275 + 7;
/// RFC 7845 §6: what a decoder should be able to take, for mono.
const MAX_FILE_PACKET: usize = 61_440;
const MAX_FRAME_MS: u32 = 120;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tone::{self, Tone};

    /// RFC 6716, RFC 7587.
    #[test]
    fn a_tone_survives_at_every_rate_and_frame_length() {
        for rate in [8000u32, 16_000, 48_000] {
            for ms in [10, 20, 40, 60] {
                let mut tone = Tone::new(1004.0, rate);
                let mut encoder = Encoder::new(rate, 24_000).unwrap();
                let mut decoder = Decoder::new(rate).unwrap();
                let mut frame = vec![0; (rate * ms / 1000) as usize];
                let mut heard = Vec::new();
                for _ in 0..1200 / ms {
                    tone.fill(&mut frame);
                    let mut packet = [0; 1275];
                    let len = encoder.encode(&frame, &mut packet).unwrap();
                    decoder.decode(&packet[..len], &mut heard).unwrap();
                }
                assert_eq!(heard.len() as u32, rate * 1200 / 1000);
                let level = tone::level(&heard[rate as usize / 5..], 1004.0, rate);
                assert!(
                    (level - tone::ZERO_DBM0).abs() < 1.5,
                    "{rate} {ms}: {level}"
                );
            }
        }
    }

    #[test]
    fn what_opus_has_not_is_refused() {
        assert_eq!(Encoder::new(44_100, 24_000).err(), Some(Error::Parameters));
        assert_eq!(Decoder::new(0).err(), Some(Error::Parameters));
        let mut encoder = Encoder::new(16_000, 24_000).unwrap();
        assert_eq!(
            encoder.encode(&[0; 160 * 3], &mut [0; 1275]),
            Err(Error::Parameters)
        );
        assert_eq!(encoder.encode(&[0; 320], &mut []), Err(Error::Parameters));
        assert!(encoder.encode(&[0; 320], &mut [0; 1275]).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_packet_decodes_or_fails(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20)) {
            let mut decoder = Decoder::new(16_000).unwrap();
            for packet in packets {
                let mut pcm = vec![7; 3];
                let result = decoder.decode(&packet, &mut pcm);
                prop_assert_eq!(pcm.len() > 3, result.is_ok());
                prop_assert!(!matches!(result, Err(Error::Parameters)));
            }
        }
    }
}
