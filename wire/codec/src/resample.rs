//! Changing the sampling rate.

use std::f32::consts::PI;

/// Changes the sampling rate of one stream by a ratio of small whole numbers: a polyphase filter,
/// a sinc in a Kaiser window. Delays by less than 4 ms; what the lower rate
/// cannot carry stays 88 dB down, from a tenth above its limit on.
#[derive(Clone, Debug)]
pub struct Resampler {
    /// `up` filters of `taps` coefficients each, first the one for output on an input sample.
    filters: Vec<f32>,
    taps: usize,
    up: usize,
    down: usize,
    /// The last `taps - 1` samples of input, followed by new ones while they are processed.
    history: Vec<f32>,
    /// Where the next output lies after the first sample of `history`, in 1/`up` samples.
    position: usize,
}

impl Resampler {
    /// From `from` samples a second to `to`; both above 0.
    #[must_use]
    pub fn new(from: u32, to: u32) -> Self {
        let (from, to) = (from.max(1), to.max(1));
        let divisor = gcd(from, to);
        let (up, down) = ((to / divisor) as usize, (from / divisor) as usize);
        // A lower rate needs a filter that is as much longer as it is lower.
        let taps = TAPS * down.div_ceil(up).max(1);
        Self {
            filters: filters(up, down, taps),
            taps,
            up,
            down,
            history: vec![0.0; taps - 1],
            position: 0,
        }
    }

    /// Appends the resampled `pcm` to `out`.
    pub fn process(&mut self, pcm: &[i16], out: &mut Vec<i16>) {
        self.history.extend(pcm.iter().map(|s| f32::from(*s)));
        let last = self.history.len() + 1 - self.taps;
        while self.position / self.up < last {
            let first = self.position / self.up;
            let filter = &self.filters[self.position % self.up * self.taps..][..self.taps];
            let window = &self.history[first..first + self.taps];
            out.push(dot(filter, window).round() as i16);
            self.position += self.down;
        }
        self.position -= last * self.up;
        self.history.drain(..last);
    }
}

/// The sum of products, added up in lanes so that it takes vector instructions. Both are as long as a
/// filter, which is a multiple of the lanes.
fn dot(filter: &[f32], window: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let pairs = filter
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(window.as_chunks::<LANES>().0);
    for (a, b) in pairs {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum()
}

/// The coefficients of all phases. The prototype runs at `up` times the input rate and passes what
/// lies below 0.9 of the lower Nyquist frequency.
fn filters(up: usize, down: usize, taps: usize) -> Vec<f32> {
    let len = taps * up;
    let centre = (len - 1) as f32 / 2.0;
    let cutoff = 0.9 / up.max(down) as f32;
    let prototype = |n: usize| {
        let x = n as f32 - centre;
        let window = kaiser(x / (centre + 1.0));
        up as f32 * cutoff * sinc(cutoff * x) * window
    };
    let mut filters = Vec::with_capacity(len);
    for phase in 0..up {
        // The newest sample of a window meets the earliest coefficient of its phase.
        filters.extend((0..taps).map(|tap| prototype((taps - 1 - tap) * up + phase)));
    }
    filters
}

fn sinc(x: f32) -> f32 {
    if x == 0.0 {
        1.0
    } else {
        (PI * x).sin() / (PI * x)
    }
}

/// The Kaiser window at `x` between −1 and 1.
fn kaiser(x: f32) -> f32 {
    bessel(BETA * (1.0 - x * x).max(0.0).sqrt()) / bessel(BETA)
}

/// The modified Bessel function of order 0, by its series.
fn bessel(x: f32) -> f32 {
    let (mut term, mut sum) = (1.0, 1.0);
    for k in 1..32 {
        term *= (x / 2.0 / k as f32).powi(2);
        sum += term;
    }
    sum
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Sums that are kept apart.
const LANES: usize = 8;
/// Coefficients a phase at the lower of both rates.
const TAPS: usize = 48;
/// 90 dB of attenuation beyond the transition.
const BETA: f32 = 9.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::{self, Tone};

    /// A second of a tone, resampled in uneven pieces; the start of the filter cut off.
    fn resampled(frequency: f32, from: u32, to: u32) -> Vec<i16> {
        let mut pcm = vec![0; from as usize];
        Tone::new(frequency, from).fill(&mut pcm);
        let mut out = Vec::new();
        let mut resampler = Resampler::new(from, to);
        pcm.chunks(77)
            .for_each(|piece| resampler.process(piece, &mut out));
        assert!(out.len().abs_diff(to as usize) <= 1, "{}", out.len());
        out.split_off(to as usize / 10)
    }

    #[test]
    fn tones_pass_at_their_level() {
        for (from, to) in [
            (16_000, 8000),
            (48_000, 8000),
            (48_000, 16_000),
            (8000, 16_000),
            (16_000, 48_000),
            (44_100, 16_000),
        ] {
            for frequency in [300.0, 1004.0, 3000.0] {
                let level = tone::level(&resampled(frequency, from, to), frequency, to);
                assert!(
                    (level - tone::ZERO_DBM0).abs() < 0.1,
                    "{from} {to} {frequency}: {level}"
                );
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_carry_is_gone() {
        for (from, to) in [(16_000, 8000), (48_000, 8000), (48_000, 16_000)] {
            let limit = to as f32 / 2.0;
            for part in [1.1, 1.25, 1.5, 1.8] {
                let frequency = (limit * part / 100.0).round() * 100.0;
                let heard = resampled(frequency, from, to);
                // It would be heard as far below the limit as it is above.
                let alias = tone::level(&heard, 2.0 * limit - frequency, to);
                let down = alias - tone::ZERO_DBM0;
                assert!(down < -88.0, "{from} {to} {frequency}: {down}");
            }
        }
    }

    #[test]
    fn what_the_lower_rate_did_not_carry_stays_out() {
        for (from, to) in [(8000, 16_000), (8000, 48_000), (16_000, 48_000)] {
            let frequency = 0.3 * from as f32;
            let heard = resampled(frequency, from, to);
            let image = tone::level(&heard, from as f32 - frequency, to);
            let down = image - tone::ZERO_DBM0;
            assert!(down < -88.0, "{from} {to}: {down}");
        }
    }

    #[test]
    fn a_tone_keeps_clear_of_noise() {
        for (from, to) in [
            (16_000, 8000),
            (48_000, 8000),
            (48_000, 16_000),
            (8000, 16_000),
            (8000, 48_000),
            (16_000, 48_000),
        ] {
            let said = |n: u32| 20_000.0 * cycle(n, from).0;
            let said: Vec<i16> = (0..from).map(|n| said(n).round() as i16).collect();
            let mut heard = Vec::new();
            Resampler::new(from, to).process(&said, &mut heard);
            let ratio = clearness(&heard[to as usize / 10..][..to as usize * 4 / 5], to);
            assert!(ratio > 80.0, "{from} {to}: {ratio}");
        }
    }

    /// The sine and the cosine of 1 kHz.
    fn cycle(n: u32, rate: u32) -> (f64, f64) {
        (std::f64::consts::TAU * f64::from(n) * 1000.0 / f64::from(rate)).sin_cos()
    }

    /// Decibels of 1 kHz over everything else in whole cycles of it.
    fn clearness(pcm: &[i16], rate: u32) -> f64 {
        let (mut sin, mut cos, mut power) = (0.0, 0.0, 0.0);
        for (n, sample) in pcm.iter().enumerate() {
            let (s, c) = cycle(n as u32, rate);
            let sample = f64::from(*sample);
            sin += s * sample;
            cos += c * sample;
            power += sample * sample;
        }
        let count = pcm.len() as f64;
        let tone = 2.0 * (sin * sin + cos * cos) / (count * count);
        10.0 * (tone / (power / count - tone)).log10()
    }

    #[test]
    fn the_same_rate_changes_nothing_to_speak_of() {
        let level = tone::level(&resampled(1004.0, 8000, 8000), 1004.0, 8000);
        assert!((level - tone::ZERO_DBM0).abs() < 0.1);
    }
}
