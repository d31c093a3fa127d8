//! Many voices in one: who speaks, what all of them sound like together, and nothing that wraps.

/// Adds `pcm` to `sum`, sample by sample, as far as both go.
pub fn add(sum: &mut [i32], pcm: &[i16]) {
    for (sum, sample) in sum.iter_mut().zip(pcm) {
        *sum += i32::from(*sample);
    }
}

/// Scales `pcm` by a factor that goes evenly from `from` to `to`: switching without a click. What
/// does not fit is cut off.
pub fn fade(pcm: &mut [i16], from: f32, to: f32) {
    if from == 1.0 && to == 1.0 {
        return;
    }
    let step = (to - from) / pcm.len().max(1) as f32;
    let mut gain = from;
    for sample in pcm {
        gain += step;
        // A cast of a float saturates.
        *sample = (f32::from(*sample) * gain) as i16;
    }
}

/// The level of `pcm` in dBov: the root of its mean square in decibels of the largest there can be. A
/// full-scale sine is at −3; silence is at −127.
///
/// # Source
/// RFC 6464 §3, RFC 6465 §3 and its appendix
#[must_use]
pub fn level(pcm: &[i16]) -> f32 {
    let energy = energy(pcm);
    if energy == 0 {
        return SILENT;
    }
    let mean = energy as f32 / pcm.len() as f32;
    (10.0 * (mean / (32_768.0 * 32_768.0)).log10()).max(SILENT)
}

/// The sum of the squares.
fn energy(pcm: &[i16]) -> u64 {
    let square = |sample: i16| (i32::from(sample) * i32::from(sample)) as u32;
    // The squares of two fit into 32 bits, which halves the work.
    let (pairs, rest) = pcm.as_chunks::<2>();
    let pairs = pairs
        .iter()
        .map(|[a, b]| u64::from(square(*a) + square(*b)));
    let rest = rest.iter().map(|sample| u64::from(square(*sample)));
    pairs.sum::<u64>() + rest.sum::<u64>()
}

/// Keeps a sum of voices within 16 bits: what is too loud becomes softer for a while as a whole,
/// instead of being bent.
#[derive(Clone, Copy, Debug)]
pub struct Limiter {
    gain: f32,
}

impl Limiter {
    /// A limiter that changes nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { gain: 1.0 }
    }

    /// Writes 20 ms of `sum`, made to fit, into `pcm`; both have the same length.
    pub fn process(&mut self, sum: &[i32], pcm: &mut [i16]) {
        let peak = sum.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
        let wanted = match peak {
            0..=PEAK => 1.0,
            loud => PEAK as f32 / loud as f32,
        };
        if self.gain == 1.0 && wanted == 1.0 {
            let pairs = pcm.iter_mut().zip(sum);
            pairs.for_each(|(sample, sum)| *sample = *sum as i16);
            return;
        }
        // Down at once, within a millisecond; up slowly.
        let (target, ramp) = match wanted < self.gain {
            true => (wanted, pcm.len() / 20),
            false => (wanted.min(self.gain + RECOVERY), pcm.len()),
        };
        let step = (target - self.gain) / ramp.max(1) as f32;
        for (n, (sample, sum)) in pcm.iter_mut().zip(sum).enumerate() {
            if n < ramp {
                self.gain += step;
            }
            *sample = (*sum as f32 * self.gain) as i16;
        }
        self.gain = target;
    }
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new()
    }
}

/// Tells from the levels of 20 ms each whether somebody speaks: louder than the noise around, or
/// simply loud.
#[derive(Clone, Copy, Debug)]
pub struct Activity {
    /// The level of the noise, in dBov.
    floor: f32,
    /// Turns until a silent party counts as silent.
    hold: u8,
    /// Falls slowly after each peak, in dBov.
    loudness: f32,
}

impl Activity {
    /// Somebody who has not spoken yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            floor: -60.0,
            hold: 0,
            loudness: SILENT,
        }
    }

    /// Takes the level of the next 20 ms, in dBov; whether somebody speaks, or has until a moment ago.
    pub fn update(&mut self, level: f32) -> bool {
        self.loudness = level.max(self.loudness - FADING);
        let speaks = level > LOUD || level > QUIET && level > self.floor + ABOVE_NOISE;
        self.floor = level.clamp(LOWEST_FLOOR, self.floor + RISING);
        self.hold = match speaks {
            true => HOLD,
            false => self.hold.saturating_sub(1),
        };
        self.is_active()
    }

    /// Whether somebody speaks, or has until a moment ago.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.hold > 0
    }

    /// How loud somebody has been lately, in dBov: to be compared with others.
    #[must_use]
    pub const fn loudness(&self) -> f32 {
        self.loudness
    }
}

impl Default for Activity {
    fn default() -> Self {
        Self::new()
    }
}

/// The level of silence, in dBov.
pub const SILENT: f32 = -127.0;
/// Below this, in dBov, it does not matter what exactly is heard.
pub(crate) const INAUDIBLE: f32 = -55.0;
/// The highest sample that a limiter leaves as it is: 0.3 dB below the limit.
const PEAK: u32 = 31_650;
/// How much of the full volume comes back in 20 ms.
const RECOVERY: f32 = 0.05;
/// Louder than this is no noise, in dBov.
const LOUD: f32 = -35.0;
/// Softer than this is nothing, in dBov.
const QUIET: f32 = -55.0;
/// By how much speech stands out of the noise, in decibels.
const ABOVE_NOISE: f32 = 9.0;
/// By how much noise rises in 20 ms at most, in decibels.
const RISING: f32 = 0.04;
const LOWEST_FLOOR: f32 = -80.0;
/// Turns of 20 ms between two words of one speaker.
const HOLD: u8 = 20;
/// How fast a peak is forgotten, in decibels in 20 ms.
const FADING: f32 = 0.5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tone::{self, Tone};

    fn tone(level: f32, frequency: f32) -> Vec<i16> {
        let mut pcm = vec![0; 1600];
        Tone::at(level, frequency, 8000).fill(&mut pcm);
        pcm
    }

    /// RFC 6465 §3: 0 is the overload point, 127 silence.
    #[test]
    fn rfc6465_3_levels_are_below_overload() {
        assert_eq!(level(&[0; 160]), SILENT);
        assert_eq!(level(&[]), SILENT);
        assert!(level(&[i16::MIN; 160]).abs() < 0.01);
        let sine = level(&tone(0.0, 1000.0));
        assert!((sine - (tone::ZERO_DBM0 - 3.01)).abs() < 0.05, "{sine}");
    }

    #[test]
    fn a_sum_that_fits_is_not_touched() {
        let mut sum = vec![0; 1600];
        add(&mut sum, &tone(-10.0, 400.0));
        add(&mut sum, &tone(-10.0, 1000.0));
        let mut pcm = vec![0; 1600];
        Limiter::new().process(&sum, &mut pcm);
        assert!(pcm.iter().zip(&sum).all(|(a, b)| i32::from(*a) == *b));
    }

    #[test]
    fn a_sum_that_does_not_fit_is_softer_and_not_bent() {
        let mut sum = vec![0; 1600];
        for frequency in [300.0, 500.0, 700.0, 1100.0, 1300.0] {
            add(&mut sum, &tone(0.0, frequency));
        }
        let mut limiter = Limiter::new();
        let mut pcm = vec![0; 1600];
        let mut heard = Vec::new();
        for piece in sum.chunks(160) {
            limiter.process(piece, &mut pcm[..160]);
            heard.extend_from_slice(&pcm[..160]);
        }
        let settled = &heard[160..];
        let level = tone::level(settled, 700.0, 8000);
        assert!(level < -8.0 && level > -22.0, "{level}");
        // What was bent would be heard where nobody speaks.
        let bent = tone::level(settled, 900.0, 8000);
        assert!(bent < level - 25.0, "{bent} beside {level}");
        // It comes back.
        (0..25).for_each(|_| limiter.process(&sum[..1], &mut pcm[..1]));
        assert_eq!(limiter.gain, 1.0);
    }

    #[test]
    fn a_fade_goes_evenly_from_one_to_the_other() {
        let mut pcm = [10_000; 100];
        fade(&mut pcm, 0.0, 1.0);
        for (n, expected) in [(0, 100i16), (49, 5000), (99, 10_000)] {
            assert!(pcm[n].abs_diff(expected) <= 1, "{n}: {}", pcm[n]);
        }
        fade(&mut pcm, 0.0, 100.0);
        assert_eq!(pcm[99], i16::MAX);
    }

    #[test]
    fn speech_is_told_from_steady_noise() {
        let mut activity = Activity::new();
        assert!(!activity.update(SILENT));
        // A fan: taken for speech until it has been heard for a while.
        let heard = (0..1000).filter(|_| activity.update(-42.0)).count();
        assert!((100..800).contains(&heard), "{heard}");
        assert!(!activity.is_active());
        assert!(activity.update(-30.0));
        let pause = (0..100).take_while(|_| activity.update(-42.0)).count();
        assert_eq!(pause, usize::from(HOLD) - 1);
        // What is loud and steady is music, or a test.
        (0..5000).for_each(|_| assert!(activity.update(-20.0)));
        assert!(activity.loudness() >= -20.0);
    }

    proptest! {
        #[test]
        fn nothing_wraps(sum in prop::collection::vec(-500_000i32..500_000, 160), loud in 0u32..2000) {
            let mut limiter = Limiter::new();
            let mut pcm = [0; 160];
            for turn in 0..3 {
                let sum: Vec<i32> = sum.iter().map(|s| s * (1 + (loud as i32 * turn) % 1000)).collect();
                limiter.process(&sum, &mut pcm);
                for (sample, sum) in pcm.iter().zip(&sum) {
                    prop_assert!(i32::from(*sample).signum() * sum.signum() >= 0);
                }
            }
        }
    }
}
