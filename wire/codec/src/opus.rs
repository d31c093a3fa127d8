//! Opus, mono.
//!
//! # Source
//! RFC 6716; RFC 7587 for its RTP clock, 48 kHz at every sampling rate.

#![allow(unsafe_code, reason = "the library is C translated to Rust")]

use std::ptr::NonNull;

use unsafe_libopus as unsafe_opus;

use crate::Error;
use crate::contain::contain;

/// Encodes one stream of speech.
#[derive(Debug)]
pub struct Encoder {
    state: NonNull<unsafe_opus::OpusEncoder>,
    rate: u32,
    dtx: bool,
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
            dtx: false,
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

    /// Adds to each packet something of the one before (`useinbandfec`), as soon as loss is
    /// [expected](Self::expect_loss).
    ///
    /// # Errors
    /// The library has failed.
    pub fn use_fec(&mut self, on: bool) -> Result<(), Error> {
        self.set(unsafe_opus::OPUS_SET_INBAND_FEC_REQUEST, on.into())
    }

    /// Sends next to nothing in silence (`usedtx`).
    ///
    /// # Errors
    /// The library has failed.
    pub fn use_dtx(&mut self, on: bool) -> Result<(), Error> {
        self.dtx = on;
        self.set(unsafe_opus::OPUS_SET_DTX_REQUEST, on.into())
    }

    /// Makes all packets alike in length (`cbr`).
    ///
    /// # Errors
    /// The library has failed.
    pub fn use_constant_rate(&mut self, on: bool) -> Result<(), Error> {
        self.set(unsafe_opus::OPUS_SET_VBR_REQUEST, (!on).into())
    }

    /// Expects this share of packets to be lost, in percent.
    ///
    /// # Errors
    /// The library has failed.
    pub fn expect_loss(&mut self, percent: u8) -> Result<(), Error> {
        let percent = percent.min(100).into();
        self.set(unsafe_opus::OPUS_SET_PACKET_LOSS_PERC_REQUEST, percent)
    }

    /// Encodes nothing that a player of `rate` samples a second could not play
    /// (`maxplaybackrate`).
    ///
    /// # Errors
    /// The library has failed.
    pub fn limit_bandwidth(&mut self, rate: u32) -> Result<(), Error> {
        let bandwidth = match rate {
            0..12_000 => unsafe_opus::OPUS_BANDWIDTH_NARROWBAND,
            12_000..16_000 => unsafe_opus::OPUS_BANDWIDTH_MEDIUMBAND,
            16_000..24_000 => unsafe_opus::OPUS_BANDWIDTH_WIDEBAND,
            24_000..48_000 => unsafe_opus::OPUS_BANDWIDTH_SUPERWIDEBAND,
            _ => unsafe_opus::OPUS_BANDWIDTH_FULLBAND,
        };
        self.set(unsafe_opus::OPUS_SET_MAX_BANDWIDTH_REQUEST, bandwidth)
    }

    /// Samples a second.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Encodes a frame of 2.5, 5, 10, 20, 40 or 60 ms into the start of `out` and returns how many
    /// bytes that is; 1275 are enough for any frame of up to 20 ms. 0 bytes: silence goes on, and
    /// with [`use_dtx`](Self::use_dtx) nothing is to be sent.
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
        match usize::try_from(written?).map_err(|_| Error::Parameters)? {
            // RFC 6716 §3.2.1: a packet without frames, which the library leaves to us to drop.
            0..=2 if self.dtx => Ok(0),
            len => Ok(len),
        }
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

    /// Decodes one packet into the start of `pcm` and returns how many samples that is; 120 ms are
    /// enough for any packet.
    ///
    /// # Errors
    /// The packet is damaged, `pcm` is too short, or the library has failed before.
    pub fn decode(&mut self, packet: &[u8], pcm: &mut [i16]) -> Result<usize, Error> {
        if packet.is_empty() || packet.len() > MAX_FILE_PACKET {
            return Err(Error::Damaged);
        }
        self.run(Some(packet), pcm, false)
    }

    /// Makes up the sound of a lost packet: fills `pcm`, in steps of 2.5 ms, and returns how many
    /// samples that is.
    ///
    /// # Errors
    /// `pcm` is shorter than a step, or the library has failed before.
    pub fn conceal(&mut self, pcm: &mut [i16]) -> Result<usize, Error> {
        let space = self.steps(pcm.len());
        self.run(None, &mut pcm[..space], false)
    }

    /// Decodes the redundancy in `next`, the packet after a lost one: fills `pcm`, as long as the
    /// lost packet, in steps of 2.5 ms, and returns how many samples that is. Without redundancy
    /// this conceals.
    ///
    /// # Errors
    /// `next` is damaged, `pcm` is shorter than a step, or the library has failed before.
    ///
    /// # Source
    /// RFC 6716 §2.1.7
    pub fn recover(&mut self, next: &[u8], pcm: &mut [i16]) -> Result<usize, Error> {
        if next.is_empty() || next.len() > MAX_FILE_PACKET {
            return Err(Error::Damaged);
        }
        let space = self.steps(pcm.len());
        self.run(Some(next), &mut pcm[..space], true)
    }

    /// The longest time of up to `samples` that the library can make up at once.
    fn steps(&self, samples: usize) -> usize {
        let step = self.rate as usize / 400;
        let most = (self.rate * MAX_FRAME_MS / 1000) as usize;
        samples.min(most) / step * step
    }

    fn run(&mut self, packet: Option<&[u8]>, pcm: &mut [i16], fec: bool) -> Result<usize, Error> {
        if self.failed {
            return Err(Error::Failed);
        }
        if pcm.is_empty() {
            return Err(Error::Parameters);
        }
        let state = self.state.as_ptr();
        let (bytes, len) = packet.map_or((std::ptr::null(), 0), |p| (p.as_ptr(), p.len()));
        let space = pcm.len().min(MAX_FRAME_MS as usize * 48);
        let decoded = contain(|| {
            // SAFETY: the state is alive and mono, the packet is as long as its length says or
            // null, which means loss, and there are `space` samples at the place written to.
            unsafe {
                unsafe_opus::opus_decode(
                    state,
                    bytes,
                    len as i32,
                    pcm.as_mut_ptr(),
                    space as i32,
                    fec.into(),
                )
            }
        });
        self.failed = decoded.is_err();
        match decoded? {
            unsafe_opus::OPUS_BUFFER_TOO_SMALL => Err(Error::Parameters),
            ..=0 => Err(Error::Damaged),
            samples => Ok(samples as usize),
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the state came from the library and is destroyed once.
        unsafe { unsafe_opus::opus_decoder_destroy(self.state.as_ptr()) }
    }
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
                    let mut pcm = [0; 5760];
                    let samples = decoder.decode(&packet[..len], &mut pcm).unwrap();
                    heard.extend(&pcm[..samples]);
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

    /// A sound that a predictor has to follow: a tone that wanders, 20 ms at 16 kHz each.
    fn sweep() -> impl Iterator<Item = Vec<i16>> {
        let mut phase = 0.0f32;
        (0..150).map(move |n| {
            let step = (400.0 + 300.0 * (n as f32 / 7.0).sin()) / 16_000.0;
            let mut sample = || {
                phase += step;
                (9000.0 * (std::f32::consts::TAU * phase).sin()) as i16
            };
            (0..320).map(|_| sample()).collect()
        })
    }

    fn error(heard: &[i16], said: &[i16]) -> f64 {
        let square = |(a, b): (&i16, &i16)| f64::from(i32::from(*a) - i32::from(*b)).powi(2);
        heard.iter().zip(said).map(square).sum()
    }

    /// Every tenth packet is lost: how far the sound is then from that without loss.
    fn heard_with_loss(fec: bool) -> f64 {
        let mut encoder = Encoder::new(16_000, 24_000).unwrap();
        encoder.use_fec(fec).unwrap();
        encoder.expect_loss(20).unwrap();
        let packets: Vec<Vec<u8>> = sweep()
            .map(|frame| {
                let mut packet = [0; 1275];
                let len = encoder.encode(&frame, &mut packet).unwrap();
                packet[..len].to_vec()
            })
            .collect();
        let mut whole = Decoder::new(16_000).unwrap();
        let mut broken = Decoder::new(16_000).unwrap();
        let mut sum = 0.0;
        for (n, packet) in packets.iter().enumerate() {
            let (mut said, mut heard) = ([0; 320], [0; 320]);
            assert_eq!(whole.decode(packet, &mut said), Ok(320));
            let samples = match packets.get(n + 1) {
                Some(next) if n % 10 == 9 => broken.recover(next, &mut heard),
                _ => broken.decode(packet, &mut heard),
            };
            assert_eq!(samples, Ok(320));
            sum += error(&heard, &said);
        }
        sum
    }

    /// RFC 6716 §2.1.7.
    #[test]
    fn rfc6716_2_1_7_redundancy_replaces_what_was_lost() {
        let (with, without) = (heard_with_loss(true), heard_with_loss(false));
        assert!(with < without / 3.0, "{with} {without}");
    }

    #[test]
    fn a_lost_packet_is_concealed_in_steps() {
        let mut encoder = Encoder::new(8000, 16_000).unwrap();
        let mut decoder = Decoder::new(8000).unwrap();
        let mut tone = Tone::new(440.0, 8000);
        let (mut pcm, mut packet) = ([0; 160], [0; 1275]);
        for _ in 0..50 {
            tone.fill(&mut pcm);
            let len = encoder.encode(&pcm, &mut packet).unwrap();
            decoder.decode(&packet[..len], &mut pcm).unwrap();
        }
        assert_eq!(decoder.conceal(&mut pcm), Ok(160));
        let level = tone::level(&pcm, 440.0, 8000);
        assert!(level > -30.0, "{level}");
        assert_eq!(decoder.conceal(&mut pcm[..19]), Err(Error::Parameters));
        assert_eq!(decoder.conceal(&mut pcm[..39]), Ok(20));
    }

    /// RFC 7587 §3.1.3.
    #[test]
    fn rfc7587_3_1_3_silence_is_not_sent() {
        let sent = |dtx: bool| {
            let mut encoder = Encoder::new(16_000, 24_000).unwrap();
            encoder.use_dtx(dtx).unwrap();
            let mut packet = [0; 1275];
            (0..200)
                .filter(|_| encoder.encode(&[0; 320], &mut packet).unwrap() > 0)
                .count()
        };
        assert_eq!(sent(false), 200);
        assert!(sent(true) < 40, "{}", sent(true));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_packet_decodes_or_fails(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20)) {
            let mut decoder = Decoder::new(16_000).unwrap();
            for packet in packets {
                let mut pcm = [0; 1920];
                let result = decoder.decode(&packet, &mut pcm);
                prop_assert!(!matches!(result, Ok(0) | Err(Error::Parameters)));
                let _ = decoder.recover(&packet, &mut pcm[..320]);
            }
        }
    }
}
