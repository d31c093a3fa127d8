//! Opus: streams of one channel, and files of two.
//!
//! # Source
//! RFC 6716; RFC 7587 for its RTP clock, 48 kHz at every sampling rate.

use std::fmt;

use opusic_c::{
    Application, Bandwidth, Bitrate, Channels, ErrorCode, InbandFec, SampleRate, Signal,
};

use crate::Error;

/// Encodes one stream of speech.
pub struct Encoder {
    state: opusic_c::Encoder,
    rate: u32,
    dtx: bool,
}

impl Encoder {
    /// A stream of `rate` samples a second (8, 12, 16, 24 or 48 kHz) at about `bit_rate` bits a
    /// second.
    ///
    /// # Errors
    /// The rates are not ones that Opus has.
    pub fn new(rate: u32, bit_rate: u32) -> Result<Self, Error> {
        Self::with_channels(rate, bit_rate, Channels::Mono)
    }

    /// As [`new`](Self::new), for two channels whose samples take turns.
    ///
    /// # Errors
    /// The rates are not ones that Opus has.
    pub fn stereo(rate: u32, bit_rate: u32) -> Result<Self, Error> {
        Self::with_channels(rate, bit_rate, Channels::Stereo)
    }

    fn with_channels(rate: u32, bit_rate: u32, channels: Channels) -> Result<Self, Error> {
        let state = opusic_c::Encoder::new(channels, sampling(rate)?, Application::Voip);
        let mut state = state.map_err(told)?;
        let bit_rate = Bitrate::Value(bit_rate);
        state.set_bitrate(bit_rate).map_err(told)?;
        state.set_complexity(COMPLEXITY).map_err(told)?;
        state.set_signal(Signal::Voice).map_err(told)?;
        Ok(Self {
            state,
            rate,
            dtx: false,
        })
    }

    /// Adds to each packet something of the one before (`useinbandfec`), as soon as loss is
    /// [expected](Self::expect_loss).
    ///
    /// # Errors
    /// The library has failed.
    pub fn use_fec(&mut self, on: bool) -> Result<(), Error> {
        let fec = match on {
            true => InbandFec::Mode1,
            false => InbandFec::Off,
        };
        self.state.set_inband_fec(fec).map_err(told)
    }

    /// Sends next to nothing in silence (`usedtx`).
    ///
    /// # Errors
    /// The library has failed.
    pub fn use_dtx(&mut self, on: bool) -> Result<(), Error> {
        self.dtx = on;
        self.state.set_dtx(on).map_err(told)
    }

    /// Makes all packets alike in length (`cbr`).
    ///
    /// # Errors
    /// The library has failed.
    pub fn use_constant_rate(&mut self, on: bool) -> Result<(), Error> {
        self.state.set_vbr(!on).map_err(told)
    }

    /// Expects this share of packets to be lost, in percent.
    ///
    /// # Errors
    /// The library has failed.
    pub fn expect_loss(&mut self, percent: u8) -> Result<(), Error> {
        self.state.set_packet_loss(percent.min(100)).map_err(told)
    }

    /// Encodes nothing that a player of `rate` samples a second could not play
    /// (`maxplaybackrate`).
    ///
    /// # Errors
    /// The library has failed.
    pub fn limit_bandwidth(&mut self, rate: u32) -> Result<(), Error> {
        let bandwidth = match rate {
            0..12_000 => Bandwidth::Narrow,
            12_000..16_000 => Bandwidth::Medium,
            16_000..24_000 => Bandwidth::Wide,
            24_000..48_000 => Bandwidth::Superwide,
            _ => Bandwidth::Full,
        };
        self.state.set_max_bandwidth(bandwidth).map_err(told)
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
    /// The frame has another length, or `out` is too small.
    pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Result<usize, Error> {
        let channels = self.state.channels() as usize;
        let samples = pcm.len() / channels;
        if samples * channels != pcm.len() || !is_frame(samples, self.rate) || out.is_empty() {
            return Err(Error::Parameters);
        }
        let space = out.len().min(MAX_PACKET);
        let written = self
            .state
            .encode_to_slice(bytemuck::cast_slice(pcm), &mut out[..space]);
        match written.map_err(told)? {
            // RFC 6716 §3.2.1: a packet without frames, which the library leaves to us to drop.
            0..=2 if self.dtx => Ok(0),
            len => Ok(len),
        }
    }

    /// Samples by which the encoder delays, which a file tells its player to skip.
    ///
    /// # Errors
    /// The library has failed.
    pub fn delay(&mut self) -> Result<u32, Error> {
        self.state.get_look_ahead().map_err(told)
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("rate", &self.rate)
            .finish_non_exhaustive()
    }
}

/// Decodes one stream.
pub struct Decoder {
    state: opusic_c::Decoder,
    rate: u32,
}

impl Decoder {
    /// Decodes to `rate` samples a second (8, 12, 16, 24 or 48 kHz), whatever was encoded.
    ///
    /// # Errors
    /// Opus does not have this rate.
    pub fn new(rate: u32) -> Result<Self, Error> {
        let state = opusic_c::Decoder::new(Channels::Mono, sampling(rate)?).map_err(told)?;
        Ok(Self { state, rate })
    }

    /// Decodes one packet into the start of `pcm` and returns how many samples that is; 120 ms are
    /// enough for any packet.
    ///
    /// # Errors
    /// The packet is damaged, or `pcm` is too short.
    pub fn decode(&mut self, packet: &[u8], pcm: &mut [i16]) -> Result<usize, Error> {
        if packet.is_empty() || packet.len() > MAX_FILE_PACKET {
            return Err(Error::Damaged);
        }
        self.run(packet, pcm, false)
    }

    /// Makes up the sound of a lost packet: fills `pcm`, in steps of 2.5 ms, and returns how many
    /// samples that is.
    ///
    /// # Errors
    /// `pcm` is shorter than a step.
    pub fn conceal(&mut self, pcm: &mut [i16]) -> Result<usize, Error> {
        let space = self.steps(pcm.len());
        self.run(&[], &mut pcm[..space], false)
    }

    /// Decodes the redundancy in `next`, the packet after a lost one: fills `pcm`, as long as the
    /// lost packet, in steps of 2.5 ms, and returns how many samples that is. Without redundancy
    /// this conceals.
    ///
    /// # Errors
    /// `next` is damaged, or `pcm` is shorter than a step.
    ///
    /// # Source
    /// RFC 6716 §2.1.7
    pub fn recover(&mut self, next: &[u8], pcm: &mut [i16]) -> Result<usize, Error> {
        if next.is_empty() || next.len() > MAX_FILE_PACKET {
            return Err(Error::Damaged);
        }
        let space = self.steps(pcm.len());
        self.run(next, &mut pcm[..space], true)
    }

    /// The longest time of up to `samples` that the library can make up at once.
    fn steps(&self, samples: usize) -> usize {
        let step = self.rate as usize / 400;
        let most = (self.rate * MAX_FRAME_MS / 1000) as usize;
        samples.min(most) / step * step
    }

    /// No packet: it was lost.
    fn run(&mut self, packet: &[u8], pcm: &mut [i16], fec: bool) -> Result<usize, Error> {
        if pcm.is_empty() {
            return Err(Error::Parameters);
        }
        let space = pcm.len().min(MAX_FRAME_MS as usize * 48);
        let pcm = bytemuck::cast_slice_mut(&mut pcm[..space]);
        match self.state.decode_to_slice(packet, pcm, fec) {
            Err(ErrorCode::BufferTooSmall) => Err(Error::Parameters),
            Ok(0) | Err(_) => Err(Error::Damaged),
            Ok(samples) => Ok(samples),
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("rate", &self.rate)
            .finish_non_exhaustive()
    }
}

fn sampling(rate: u32) -> Result<SampleRate, Error> {
    Ok(match rate {
        8000 => SampleRate::Hz8000,
        12_000 => SampleRate::Hz12000,
        16_000 => SampleRate::Hz16000,
        24_000 => SampleRate::Hz24000,
        48_000 => SampleRate::Hz48000,
        _ => return Err(Error::Parameters),
    })
}

fn told(code: ErrorCode) -> Error {
    match code {
        ErrorCode::BadArg | ErrorCode::BufferTooSmall => Error::Parameters,
        _ => Error::Failed,
    }
}

fn is_frame(samples: usize, rate: u32) -> bool {
    let rate = rate as usize;
    [400, 200, 100, 50, 25].iter().any(|n| samples * n == rate) || samples * 50 == rate * 3
}

/// Half of the best: speech at these rates gains nothing above.
const COMPLEXITY: u8 = 5;
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
        let whole = crate::mix::level(&pcm);
        assert!(whole < 3.0 + tone::ZERO_DBM0, "{whole}");
        assert_eq!(decoder.conceal(&mut pcm[..19]), Err(Error::Parameters));
        assert_eq!(decoder.conceal(&mut pcm[..39]), Ok(20));
    }

    /// What a browser sends while nothing is said, at first and after that.
    const QUIET: [&str; 4] = [
        "780be4c136ecc58d8c49469904c5aaed92e7634a3a1898ee62cb60ff6c1b2900",
        "7807c97227e144ea55f1f0c0d5de1e6060fc2ce0504912f0b8b07e31f783cdcd8300",
        "7807c979c8c957c0a21223faef67f32ee3d3d5e9ecdb400fa0b6552ab78c83cd83cd00",
        "7807c979c8c957c0a21223faef67f32ee3d3d5e9ecdb3ebc80b66e2ab78c83cd83cd00",
    ];

    #[test]
    fn a_packet_lost_in_silence_is_silent() {
        for before in 1..8 {
            let mut decoder = Decoder::new(48_000).unwrap();
            let mut pcm = [0; 960];
            for n in 0..before {
                let packet = QUIET[n.min(3)].as_bytes().chunks(2);
                let octet = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
                let packet: Vec<u8> = packet.map(|pair| octet(pair).unwrap()).collect();
                assert_eq!(decoder.decode(&packet, &mut pcm), Ok(960));
            }
            for lost in 0..4 {
                assert_eq!(decoder.conceal(&mut pcm), Ok(960));
                let level = crate::mix::level(&pcm);
                assert!(level < -80.0, "{before} {lost}: {level}");
            }
        }
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
