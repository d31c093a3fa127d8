//! Making a tone, and finding one.

use std::f32::consts::TAU;

/// Level of a sine of 0 dBm0, in decibels of full scale: the overload point of A-law is 3.14 dBm0
/// (that of µ-law, 3.17, differs by less than its steps).
///
/// # Source
/// ITU-T G.711 §4
#[expect(clippy::approx_constant, reason = "decibels, not half a turn")]
pub const ZERO_DBM0: f32 = -3.14;

/// A steady sine.
#[derive(Clone, Copy, Debug)]
pub struct Tone {
    /// Of a cycle, 0 to 1.
    phase: f32,
    step: f32,
    peak: f32,
}

impl Tone {
    /// A tone of `frequency` hertz at 0 dBm0, sampled `rate` times a second. A frequency that this
    /// rate cannot carry is silence.
    #[must_use]
    pub fn new(frequency: f32, rate: u32) -> Self {
        Self::at(0.0, frequency, rate)
    }

    /// A tone at `level` dBm0, at most 3.
    #[must_use]
    pub fn at(level: f32, frequency: f32, rate: u32) -> Self {
        let step = frequency / rate as f32;
        Self {
            phase: 0.0,
            step: if (0.0..0.5).contains(&step) {
                step
            } else {
                0.0
            },
            peak: f32::from(i16::MAX) * 10f32.powf((level.min(3.0) + ZERO_DBM0) / 20.0),
        }
    }

    /// The next sample.
    pub(crate) fn sample(&mut self) -> f32 {
        let sample = self.peak * (TAU * self.phase).sin();
        self.phase = (self.phase + self.step).fract();
        sample
    }

    /// Fills `pcm` with the next samples.
    pub fn fill(&mut self, pcm: &mut [i16]) {
        pcm.fill_with(|| self.sample().round() as i16);
    }
}

/// The level of the component of `frequency` hertz in `pcm`, in decibels of a full-scale sine.
/// Silence is at −120. Exact for whole cycles, and within 0.1 dB from ten cycles on.
///
/// # Source
/// Goertzel's algorithm.
#[must_use]
pub fn level(pcm: &[i16], frequency: f32, rate: u32) -> f32 {
    let angle = f64::from(TAU) * f64::from(frequency) / f64::from(rate);
    let coefficient = 2.0 * angle.cos();
    let (mut last, mut before) = (0.0f64, 0.0f64);
    for &sample in pcm {
        let next = f64::from(sample) / 32_768.0 + coefficient * last - before;
        (before, last) = (last, next);
    }
    let power = last * last + before * before - coefficient * last * before;
    let amplitude = 2.0 * power.max(0.0).sqrt() / pcm.len().max(1) as f64;
    20.0 * (amplitude.max(1e-6).log10() as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_found_at_its_level_and_nowhere_else() {
        for rate in [8000, 16_000, 48_000] {
            let mut pcm = vec![0; rate as usize];
            Tone::new(1004.0, rate).fill(&mut pcm);
            assert!((level(&pcm, 1004.0, rate) - ZERO_DBM0).abs() < 0.01);
            assert!(level(&pcm, 1304.0, rate) < -60.0);
        }
    }

    #[test]
    fn a_long_tone_keeps_its_pitch() {
        let mut tone = Tone::new(440.0, 8000);
        let mut pcm = [0; 8000];
        (0..60).for_each(|_| tone.fill(&mut pcm));
        assert!((level(&pcm, 440.0, 8000) - ZERO_DBM0).abs() < 0.05);
    }

    #[test]
    fn nonsense_is_silence() {
        for frequency in [-1.0, 4000.0, f32::NAN, f32::INFINITY] {
            let mut pcm = [1; 160];
            Tone::new(frequency, 8000).fill(&mut pcm);
            assert_eq!(pcm, [0; 160]);
        }
        assert_eq!(level(&[], 440.0, 8000), -120.0);
    }
}
