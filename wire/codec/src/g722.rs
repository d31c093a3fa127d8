//! G.722 at 64 kbit/s: 16,000 samples a second, two to a byte. Neither direction allocates.
//!
//! Two filters split the sound into a lower and a higher band of 8,000 samples a second each; each
//! band is coded as the difference from a prediction that both ends make alike, the lower in 6
//! bits and the higher in 2. Names in brackets are the blocks of the recommendation.
//!
//! # Source
//! ITU-T G.722 (11/88) §3, §4, §6; RFC 3551 §4.5.2 for its RTP clock of 8 kHz.

/// Encodes one stream.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    low: Band<Low>,
    high: Band<High>,
    filter: SplitFilter,
}

impl Encoder {
    /// A new stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Encodes `pcm`, two samples a byte, into the start of `out` and returns how many bytes that
    /// is. An odd sample at the end, and what `out` has no space for, is left out.
    pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> usize {
        let (pairs, _) = pcm.as_chunks::<2>();
        for (byte, [first, second]) in out.iter_mut().zip(pairs) {
            let (even, odd) = self.filter.pass((*first).into(), (*second).into());
            // Half the sum and half the difference of the filters, at 15 bits.
            let low = self.low.encode((even + odd) >> 14);
            let high = self.high.encode((even - odd) >> 14);
            *byte = high << 6 | low;
        }
        pairs.len().min(out.len())
    }
}

/// Decodes one stream.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    low: Band<Low>,
    high: Band<High>,
    filter: SplitFilter,
}

impl Decoder {
    /// A new stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes `bytes`, two samples each, into the start of `pcm` and returns how many samples that
    /// is. What `pcm` has no space for is left out.
    pub fn decode(&mut self, bytes: &[u8], pcm: &mut [i16]) -> usize {
        let (pairs, _) = pcm.as_chunks_mut::<2>();
        let count = pairs.len().min(bytes.len());
        for (pair, &byte) in pairs.iter_mut().zip(bytes) {
            let low = self.low.decode(byte & 0x3f);
            let high = self.high.decode(byte >> 6);
            let (first, second) = self.filter.pass(low + high, low - high);
            *pair = [saturate(first >> 11) as i16, saturate(second >> 11) as i16];
        }
        2 * count
    }
}

/// The quadrature mirror filter, in both directions [TRANSMIT QMF, RECEIVE QMF].
#[derive(Clone, Debug, Default)]
struct SplitFilter {
    /// The last twelve pairs of samples, twice, so that from wherever they begin they lie in a row.
    history: [[i32; 2]; 24],
    /// Where the oldest pair is, below 12.
    oldest: usize,
}

impl SplitFilter {
    /// Takes two samples in; the sums over the second and over the first samples of the pairs.
    fn pass(&mut self, first: i32, second: i32) -> (i32, i32) {
        self.history[self.oldest] = [first, second];
        self.history[self.oldest + 12] = [first, second];
        self.oldest = (self.oldest + 1) % 12;
        let (mut firsts, mut seconds) = (0, 0);
        let window = &self.history[self.oldest..][..12];
        for (n, pair) in window.iter().enumerate() {
            firsts += pair[0] * MIRROR[n];
            seconds += pair[1] * MIRROR[11 - n];
        }
        (seconds, firsts)
    }
}

/// What differs between the bands.
trait Kind: Default {
    /// The code of a difference, at this scale [QUANTL, QUANTH].
    fn quantise(difference: i32, scale: i32) -> u8;
    /// What the predictor learns from a code, to be multiplied by the scale [INVQAL, INVQAH].
    fn coarse(code: u8) -> i32;
    /// What the listener hears of a code, to be multiplied by the scale [INVQBL, INVQAH].
    fn fine(code: u8) -> i32;
    /// How a code changes the logarithm of the scale [LOGSCL, LOGSCH].
    fn growth(code: u8) -> i32;
    /// The largest logarithm of the scale.
    const MAX_LOG: i32;
    /// The exponent that a logarithm counts down from [SCALEL, SCALEH].
    const EXPONENT: i32;
}

#[derive(Clone, Debug, Default)]
struct Low;

impl Kind for Low {
    fn quantise(difference: i32, scale: i32) -> u8 {
        let magnitude = magnitude(difference);
        let beyond = |limit: &&i32| magnitude >= (**limit * scale) >> 12;
        let interval = 1 + LOW_LIMITS.iter().take_while(beyond).count() as u8;
        match (difference < 0, interval) {
            (false, _) => 62 - interval,
            (true, 1..=2) => 64 - interval,
            (true, _) => 34 - interval,
        }
    }

    fn coarse(code: u8) -> i32 {
        LOW_COARSE[usize::from(code >> 2)]
    }

    fn fine(code: u8) -> i32 {
        LOW_FINE[usize::from(code)]
    }

    fn growth(code: u8) -> i32 {
        LOW_GROWTH[usize::from(code >> 2)]
    }

    const MAX_LOG: i32 = 18_432;
    const EXPONENT: i32 = 8;
}

#[derive(Clone, Debug, Default)]
struct High;

impl Kind for High {
    fn quantise(difference: i32, scale: i32) -> u8 {
        let far = magnitude(difference) >= (564 * scale) >> 12;
        match (difference < 0, far) {
            (true, true) => 0,
            (true, false) => 1,
            (false, true) => 2,
            (false, false) => 3,
        }
    }

    fn coarse(code: u8) -> i32 {
        HIGH_STEPS[usize::from(code)]
    }

    fn fine(code: u8) -> i32 {
        Self::coarse(code)
    }

    fn growth(code: u8) -> i32 {
        // The outer steps widen the scale.
        if matches!(code, 0 | 2) { 798 } else { -214 }
    }

    const MAX_LOG: i32 = 22_528;
    const EXPONENT: i32 = 10;
}

/// One band: its adaptive quantiser and its predictor.
#[derive(Clone, Debug)]
struct Band<K> {
    /// The logarithm of the scale.
    log: i32,
    scale: i32,
    predictor: Predictor,
    kind: std::marker::PhantomData<K>,
}

impl<K: Kind> Band<K> {
    fn encode(&mut self, sample: i32) -> u8 {
        let difference = saturate(sample - self.predictor.prediction);
        let code = K::quantise(difference, self.scale);
        self.adapt(code);
        code
    }

    fn decode(&mut self, code: u8) -> i32 {
        let difference = (self.scale * K::fine(code)) >> 15;
        let sample = self.predictor.prediction + difference;
        self.adapt(code);
        sample.clamp(-16_384, 16_383)
    }

    fn adapt(&mut self, code: u8) {
        let difference = (self.scale * K::coarse(code)) >> 15;
        self.log = (((self.log * 127) >> 7) + K::growth(code)).clamp(0, K::MAX_LOG);
        self.scale = scale(self.log, K::EXPONENT);
        self.predictor.learn(difference);
    }
}

impl<K: Kind> Default for Band<K> {
    fn default() -> Self {
        Self {
            log: 0,
            scale: scale(0, K::EXPONENT),
            predictor: Predictor::default(),
            kind: std::marker::PhantomData,
        }
    }
}

/// Two poles and six zeros that adapt by the signs of what they see. Newest values come first.
#[derive(Clone, Debug, Default)]
struct Predictor {
    /// The sum of both parts (PREDIC).
    prediction: i32,
    /// The zeros' part of it.
    from_zeros: i32,
    poles: [i32; 2],
    zeros: [i32; 6],
    /// Reconstructed samples.
    samples: [i32; 2],
    /// Differences, reconstructed with the zeros only.
    partial: [i32; 2],
    /// Quantised differences.
    differences: [i32; 6],
}

impl Predictor {
    fn learn(&mut self, difference: i32) {
        let sample = saturate(self.prediction + difference); // [RECONS]
        let partial = saturate(self.from_zeros + difference); // [PARREC]
        self.adapt_poles(partial);
        self.adapt_zeros(difference);
        self.samples = [sample, self.samples[0]]; // [DELAYA]
        self.partial = [partial, self.partial[0]];
        let [a, b, c, d, e, _] = self.differences;
        self.differences = [difference, a, b, c, d, e];
        self.predict();
    }

    /// UPPOL2 and UPPOL1.
    fn adapt_poles(&mut self, partial: i32) {
        let alike = |old: i32| (old < 0) == (partial < 0);
        let same = [alike(self.partial[0]), alike(self.partial[1])];
        let [first, second] = self.poles;
        let steep = saturate(first << 2);
        let pull = if same[0] { -steep } else { steep }.min(32_767);
        let push = if same[1] { 128 } else { -128 };
        let second = push + (pull >> 7) + ((second * 32_512) >> 15);
        let second = second.clamp(-12_288, 12_288);
        let push = if same[0] { 192 } else { -192 };
        let first = saturate(push + ((first * 32_640) >> 15));
        // The filter stays stable.
        let bound = saturate(15_360 - second);
        self.poles = [first.clamp(-bound, bound), second];
    }

    /// UPZERO.
    fn adapt_zeros(&mut self, difference: i32) {
        let push = if difference == 0 { 0 } else { 128 };
        for n in 0..6 {
            let same = (self.differences[n] < 0) == (difference < 0);
            let push = if same { push } else { -push };
            self.zeros[n] = saturate(push + ((self.zeros[n] * 32_640) >> 15));
        }
    }

    /// [FILTEP, FILTEZ, PREDIC]
    fn predict(&mut self) {
        let weigh = |weight: i32, value: i32| (weight * saturate(value * 2)) >> 15;
        let poles = weigh(self.poles[0], self.samples[0]) + weigh(self.poles[1], self.samples[1]);
        let mut zeros = 0;
        for n in 0..6 {
            zeros += weigh(self.zeros[n], self.differences[n]);
        }
        self.from_zeros = saturate(zeros);
        self.prediction = saturate(saturate(poles) + self.from_zeros);
    }
}

/// A power of two from its logarithm, whose lower 11 bits are the fraction.
fn scale(log: i32, exponent: i32) -> i32 {
    let mantissa = POWERS[(log >> 6 & 31) as usize];
    let shift = exponent - (log >> 11);
    let power = if shift < 0 {
        mantissa << -shift
    } else {
        mantissa >> shift
    };
    power << 2
}

/// The magnitude in one's complement, as the quantisers compare it.
fn magnitude(difference: i32) -> i32 {
    if difference < 0 {
        !difference
    } else {
        difference
    }
}

fn saturate(value: i32) -> i32 {
    value.clamp(i16::MIN.into(), i16::MAX.into())
}

/// Half of the symmetric mirror filter.
const MIRROR: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];
/// Decision levels of the lower band.
const LOW_LIMITS: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023,
    1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];
/// Output levels of the lower band by the upper four bits of its code.
const LOW_COARSE: [i32; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584,
    1200, 0,
];
/// Output levels of the lower band by all six bits of its code.
const LOW_FINE: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232,
    -9360, -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776,
    -2400, -2032, -1688, -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280,
    11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776,
    2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];
/// Scale changes of the lower band by the upper four bits of its code.
const LOW_GROWTH: [i32; 16] = [
    -60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60,
];
/// Output levels of the higher band.
const HIGH_STEPS: [i32; 4] = [-7408, -1616, 7408, 1616];
/// 2048 times the powers of two from 0 to 31/32.
const POWERS: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tone::{self, Tone};

    fn decoded(bytes: &[u8]) -> Vec<i16> {
        let mut pcm = vec![0; 2 * bytes.len()];
        assert_eq!(Decoder::new().decode(bytes, &mut pcm), pcm.len());
        pcm
    }

    fn encoded(pcm: &[i16]) -> Vec<u8> {
        let mut bytes = vec![0; pcm.len() / 2];
        assert_eq!(Encoder::new().encode(pcm, &mut bytes), pcm.len() / 2);
        bytes
    }

    #[test]
    fn a_tone_keeps_its_level() {
        for frequency in [300.0, 1004.0, 3500.0, 6000.0] {
            let mut pcm = [0; 3200];
            Tone::new(frequency, 16_000).fill(&mut pcm);
            let heard = decoded(&encoded(&pcm));
            let level = tone::level(&heard[800..], frequency, 16_000);
            assert!(
                (level - tone::ZERO_DBM0).abs() < 0.5,
                "{frequency}: {level}"
            );
        }
    }

    #[test]
    fn odd_samples_and_short_buffers_are_cut() {
        let mut encoder = Encoder::new();
        assert_eq!(encoder.encode(&[1, 2, 3], &mut [0; 9]), 1);
        assert_eq!(encoder.encode(&[1; 40], &mut [0; 9]), 9);
        assert_eq!(encoder.encode(&[], &mut [0; 9]), 0);
    }

    /// Noise in blocks of rising and falling level.
    fn noise() -> Vec<i16> {
        let mut state = 1u32;
        let sample = |n: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = ((state >> 16) as i32 - 32_768) as i16;
            let flipped = n / 16_000 % 2 == 1 && (n / 37).is_multiple_of(2);
            let value = if flipped { !value } else { value };
            value >> [0, 3, 9, 6][n / 4000 % 4]
        };
        (0..64_000).map(sample).collect()
    }

    /// FNV-1a, 64 bits.
    fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
        bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    /// RFC 3551 §4.5.2.
    #[test]
    fn every_bit_equals_another_implementations() {
        // The expected hashes were made with libg722 (PyPI G722 1.2.8) from the same input.
        let sound = |pcm: Vec<i16>| hash(pcm.into_iter().flat_map(i16::to_le_bytes));
        let bytes = encoded(&noise());
        assert_eq!(hash(bytes.clone()), 0xeaaf_e8d4_8eab_2d72);
        assert_eq!(sound(decoded(&bytes)), 0x89e2_398d_04a5_817b);
        let arbitrary: Vec<u8> = (0..16_000u32)
            .map(|i| ((i * i * 7 + i * 13) >> 3) as u8)
            .collect();
        assert_eq!(sound(decoded(&arbitrary)), 0xdc1e_c414_06a6_0776);
    }

    proptest! {
        #[test]
        fn any_sound_and_any_bytes_pass(
            pcm in prop::collection::vec(any::<i16>(), 0..2000),
            bytes in prop::collection::vec(any::<u8>(), 0..1000),
        ) {
            Encoder::new().encode(&pcm, &mut [0; 1000]);
            prop_assert_eq!(decoded(&bytes).len(), 2 * bytes.len());
        }
    }
}
