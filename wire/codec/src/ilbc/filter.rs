//! Filters over samples, with what they remember.

use super::{Lpc, ORDER};

/// The last samples that a filter has seen or made, newest first.
pub(super) type Memory = [f32; ORDER];

/// The excitation that `sound` has under `lpc`: A(z).
///
/// # Source
/// RFC 3951 §3.3
pub(super) fn analyse(lpc: &Lpc, memory: &mut Memory, sound: &[f32], residual: &mut [f32]) {
    for (out, sample) in residual.iter_mut().zip(sound) {
        *out = sample + weighted(lpc, memory);
        remember(memory, *sample);
    }
}

/// Turns an excitation into the sound that it has under `lpc`: 1/A(z).
///
/// # Source
/// RFC 3951 §4.7
pub(super) fn synthesise(lpc: &Lpc, memory: &mut Memory, samples: &mut [f32]) {
    for sample in samples {
        *sample -= weighted(lpc, memory);
        remember(memory, *sample);
    }
}

/// Spreads the energy of `samples` and leaves their spectrum: the filter whose numerator is the
/// reversed denominator, starting empty, in place and with its end laid over its start. `samples`
/// are twice the block: the second half must be zeros, and is of no use afterwards.
///
/// # Source
/// RFC 3951 §3.5.2
pub(super) fn disperse(lpc: &Lpc, samples: &mut [f32]) {
    let mut reversed = *lpc;
    reversed.reverse();
    let (mut seen, mut made) = ([0.0; ORDER], [0.0; ORDER]);
    for sample in samples.iter_mut() {
        let fresh = *sample;
        *sample = reversed[0] * fresh + weighted(&reversed, &seen) - weighted(lpc, &made);
        remember(&mut seen, fresh);
        remember(&mut made, *sample);
    }
    let (block, tail) = samples.split_at_mut(samples.len() / 2);
    block.iter_mut().zip(tail).for_each(|(b, t)| *b += *t);
}

/// All but the first coefficient, over what is remembered. The newest comes last, because the next
/// sample waits for it.
fn weighted(lpc: &Lpc, memory: &Memory) -> f32 {
    let pairs = lpc[1..].iter().zip(memory).rev();
    pairs.map(|(a, sample)| a * sample).sum()
}

/// Forgets what is too soft for anything but to make the processor slow.
pub(super) fn settle(memory: &mut [f32]) {
    for sample in memory {
        if sample.abs() < 1e-15 {
            *sample = 0.0;
        }
    }
}

fn remember(memory: &mut Memory, sample: f32) {
    memory.copy_within(..ORDER - 1, 1);
    memory[0] = sample;
}

/// A filter of second order that takes away what is below speech.
#[derive(Clone, Debug)]
pub(super) struct HighPass {
    zeros: [f32; 3],
    poles: [f32; 2],
    seen: [f32; 2],
    made: [f32; 2],
}

impl HighPass {
    /// Before the encoder: below 90 Hz.
    ///
    /// # Source
    /// RFC 3951 §3.1, coefficients of appendix A.8
    pub(super) const fn input() -> Self {
        let zeros = [0.927_274_4, -1.854_494_1, 0.927_274_4];
        Self::new(zeros, [-1.905_946_5, 0.911_402_4])
    }

    /// Behind the decoder: below 65 Hz.
    ///
    /// # Source
    /// RFC 3951 §4.8, coefficients of appendix A.8
    pub(super) const fn output() -> Self {
        let zeros = [0.939_805_8, -1.879_583_4, 0.939_805_8];
        Self::new(zeros, [-1.933_073_5, 0.935_892])
    }

    const fn new(zeros: [f32; 3], poles: [f32; 2]) -> Self {
        Self {
            zeros,
            poles,
            seen: [0.0; 2],
            made: [0.0; 2],
        }
    }

    pub(super) fn filter(&mut self, samples: &mut [f32]) {
        for sample in samples {
            let fresh = *sample;
            *sample = self.zeros[0] * fresh
                + (self.zeros[1] * self.seen[0] + self.zeros[2] * self.seen[1])
                - (self.poles[0] * self.made[0] + self.poles[1] * self.made[1]);
            self.seen = [fresh, self.seen[0]];
            self.made = [*sample, self.made[0]];
        }
    }

    /// Forgets what is too soft for anything but to make the processor slow.
    pub(super) fn settle(&mut self) {
        settle(&mut self.seen);
        settle(&mut self.made);
    }
}

#[cfg(test)]
mod tests {
    use super::super::FLAT;
    use super::*;

    /// RFC 3951 §3.3, §4.7.
    #[test]
    fn rfc3951_4_7_synthesis_undoes_analysis() {
        let mut lpc = FLAT;
        (lpc[1], lpc[2], lpc[10]) = (-1.2, 0.6, 0.05);
        let sound: Vec<f32> = (0..80_u16).map(|n| f32::from(n * 37 % 101)).collect();
        let (mut seen, mut made, mut samples) = ([0.0; 10], [0.0; 10], vec![0.0; 80]);
        analyse(&lpc, &mut seen, &sound, &mut samples);
        synthesise(&lpc, &mut made, &mut samples);
        for (a, b) in sound.iter().zip(samples) {
            assert!((a - b).abs() < 0.01);
        }
    }

    /// RFC 3951 §3.1, §4.8.
    #[test]
    fn rfc3951_3_1_a_constant_is_taken_away_and_speech_is_not() {
        for mut filter in [HighPass::input(), HighPass::output()] {
            let mut samples: Vec<f32> = (0..2000_u16)
                .map(|n| 5000.0 + 1000.0 * (f32::from(n) * 0.5).sin())
                .collect();
            filter.filter(&mut samples);
            let settled = &samples[1000..];
            let mean = settled.iter().sum::<f32>() / 1000.0;
            let power = settled.iter().map(|s| s * s).sum::<f32>() / 1000.0;
            assert!(mean.abs() < 100.0, "{mean}");
            assert!((400_000.0..600_000.0).contains(&power), "{power}");
        }
    }

    /// RFC 3951 §3.5.2.
    #[test]
    fn rfc3951_3_5_2_dispersion_undoes_itself_when_time_is_reversed() {
        let mut lpc = FLAT;
        (lpc[1], lpc[2]) = (-0.9, 0.4);
        let mut samples = vec![0.0; 116];
        samples[20] = 1000.0;
        disperse(&lpc, &mut samples);
        assert!(samples[20].abs() < 900.0);
        samples[..58].reverse();
        samples[58..].fill(0.0);
        disperse(&lpc, &mut samples);
        samples[..58].reverse();
        assert!((samples[20] - 1000.0).abs() < 1.0, "{}", samples[20]);
    }
}
