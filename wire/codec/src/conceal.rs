//! Makes up lost sound where the codec has nothing of its own for it: G.711, G.722, L16.
//!
//! What was said last is repeated, cycle by cycle of the voice, and fades: like G.711 Appendix I, but
//! without holding back 3.75 ms of good sound for a softer begin. A cycle that repeats begins where
//! it would have gone on anyway.
//!
//! # Source
//! ITU-T G.711 Appendix I

use std::ops::RangeInclusive;

use crate::likeness::product;
use crate::mix;

/// Conceals the losses of one stream.
#[derive(Clone, Debug)]
pub struct Concealer {
    /// Samples of a millisecond.
    ms: usize,
    /// The last good sound.
    history: Vec<i16>,
    /// The sound that repeats, and where it goes on.
    cycle: Vec<i16>,
    at: usize,
    /// Samples of one cycle of the voice; `cycle` holds one to three.
    pitch: usize,
    /// Samples lost in a row.
    lost: usize,
}

impl Concealer {
    /// For sound at `rate` samples a second: 8000 or a multiple.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        let ms = (rate as usize / 1000).max(8);
        Self {
            ms,
            history: vec![0; HISTORY * ms],
            cycle: Vec::with_capacity(3 * LONGEST * ms),
            at: 0,
            pitch: LONGEST * ms,
            lost: 0,
        }
    }

    /// Remembers good sound. After a loss its begin is changed, so that it follows softly.
    pub fn heard(&mut self, pcm: &mut [i16]) {
        if self.lost > 0 {
            self.blend(pcm);
            self.lost = 0;
        }
        self.remember(pcm);
    }

    /// Fills `pcm` with what may have been said.
    pub fn conceal(&mut self, pcm: &mut [i16]) {
        if self.lost == 0 {
            self.pitch = self.find_pitch();
            self.at = 0;
            self.take_cycles(1);
        }
        // Cycles of the same length again and again would sound like a beep: from 10 ms on two,
        // from 20 ms on three of them alternate.
        for piece in pcm.chunks_mut(10 * self.ms) {
            let cycles = 1 + (self.lost / (10 * self.ms)).min(2);
            if self.cycle.len() < cycles * self.pitch {
                self.take_cycles(cycles);
            }
            for sample in piece.iter_mut() {
                *sample = self.next();
            }
        }
        // From here on there is only silence to go on from.
        if self.lost > 60 * self.ms {
            self.history.fill(0);
        }
    }

    /// The next made-up sample.
    fn next(&mut self) -> i16 {
        let sample = f32::from(self.cycle[self.at]) * self.gain();
        self.at += 1;
        if self.at >= self.cycle.len() {
            self.at = 0;
        }
        self.lost += 1;
        sample as i16
    }

    /// Full for 10 ms, then falling by a fifth each 10 ms, nothing from 60 ms on.
    fn gain(&self) -> f32 {
        let tens = self.lost as f32 / (10 * self.ms) as f32;
        (1.0 - (tens - 1.0) / 5.0).clamp(0.0, 1.0)
    }

    /// Takes the last `cycles` of good sound as what repeats, its end softened towards its begin.
    fn take_cycles(&mut self, cycles: usize) {
        let good = self.history.len();
        let len = cycles * self.pitch;
        let start = good - len;
        self.cycle.clear();
        self.cycle.extend_from_slice(&self.history[start..good]);
        let overlap = self.pitch / 4;
        for n in 0..overlap {
            let new = (n + 1) as f32 / (overlap + 1) as f32;
            let at = len - overlap + n;
            let before = self.history[start - overlap + n];
            self.cycle[at] = mix(self.cycle[at], before, new);
        }
        self.at %= self.pitch;
    }

    /// Crossfades from the made-up sound to `pcm`.
    fn blend(&mut self, pcm: &mut [i16]) {
        let lost_ms = self.lost / self.ms;
        let overlap = (self.pitch / 4 + lost_ms / 10 * 4 * self.ms).min(10 * self.ms);
        let overlap = overlap.min(pcm.len());
        for (n, sample) in pcm[..overlap].iter_mut().enumerate() {
            let new = (n + 1) as f32 / (overlap + 1) as f32;
            *sample = mix(self.next(), *sample, new);
        }
    }

    /// The lag at which the last 20 ms resemble what was before: coarsely at 8 kHz, then finely.
    fn find_pitch(&self) -> usize {
        let stride = (self.ms / 8).max(1);
        let (shortest, longest) = (SHORTEST * self.ms, LONGEST * self.ms);
        if mix::level(&self.history[self.history.len() - 20 * self.ms..]) < mix::INAUDIBLE {
            return longest;
        }
        let mut coarse = [0.0; COARSE];
        let newest_first = self.history.iter().rev().step_by(stride);
        let pairs = coarse.iter_mut().zip(newest_first);
        pairs.for_each(|(to, sample)| *to = f32::from(*sample));
        let now = &coarse[..20 * self.ms / stride];
        let lags = shortest / stride..=longest / stride;
        let lag = stride * best(lags, |lag| likeness(now, &coarse[lag..]));
        if stride == 1 {
            return lag;
        }
        let near = lag.saturating_sub(stride).max(shortest)..=(lag + stride).min(longest);
        best(near, |lag| self.fine_likeness(lag))
    }

    fn fine_likeness(&self, lag: usize) -> f32 {
        let start = self.history.len() - 20 * self.ms;
        let pairs = self.history[start..]
            .iter()
            .zip(&self.history[start - lag..]);
        let (mut product, mut energy) = (0.0f32, 1.0f32);
        for (a, b) in pairs {
            let (a, b) = (f32::from(*a), f32::from(*b));
            product += a * b;
            energy += b * b;
        }
        product / energy.sqrt()
    }

    fn remember(&mut self, pcm: &[i16]) {
        let len = self.history.len();
        let new = &pcm[pcm.len().saturating_sub(len)..];
        self.history.copy_within(new.len().., 0);
        self.history[len - new.len()..].copy_from_slice(new);
    }
}

/// The lag that is rated highest.
fn best(lags: RangeInclusive<usize>, rate: impl Fn(usize) -> f32) -> usize {
    let last = *lags.end();
    let rated = lags.map(|lag| (rate(lag), lag));
    let best = rated.max_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or(last, |(_, lag)| lag)
}

/// How much `then` resembles `now`.
fn likeness(now: &[f32], then: &[f32]) -> f32 {
    let then = &then[..now.len()];
    product(now, then) / (product(then, then) + 1.0).sqrt()
}

fn mix(old: i16, new: i16, share: f32) -> i16 {
    (f32::from(old) * (1.0 - share) + f32::from(new) * share) as i16
}

/// Milliseconds of sound that are remembered: three of the longest cycles and a quarter.
const HISTORY: usize = 49;
/// Milliseconds of the shortest and the longest cycle of a voice.
const SHORTEST: usize = 5;
const LONGEST: usize = 15;
/// Samples of the history when it is looked at coarsely, at 8 to 16 kHz.
const COARSE: usize = HISTORY * 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tone::{Tone, level};

    /// A voice: harmonics of a pitch that rises and falls a little.
    fn voice(rate: u32, len: usize) -> Vec<i16> {
        let mut phase = 0.0f32;
        let mut sample = |n: usize| {
            let time = n as f32 / rate as f32;
            phase += (140.0 + 15.0 * (4.0 * time).sin()) / rate as f32;
            let harmonic = |k: i32| (std::f32::consts::TAU * k as f32 * phase).sin() / k as f32;
            (4000.0 * (1..12).map(harmonic).sum::<f32>()) as i16
        };
        (0..len).map(&mut sample).collect()
    }

    /// Decibels of the sound over its difference from `heard`.
    fn ratio(said: &[i16], heard: &[i16]) -> f32 {
        let square = |x: f32| x * x;
        let signal: f32 = said.iter().map(|s| square(f32::from(*s))).sum();
        let pairs = said.iter().zip(heard);
        let error: f32 = pairs
            .map(|(a, b)| square(f32::from(*a) - f32::from(*b)))
            .sum();
        10.0 * (signal / error.max(1.0)).log10()
    }

    #[test]
    fn a_lost_packet_of_a_voice_is_hardly_missed() {
        for rate in [8000, 16_000, 48_000] {
            let said = voice(rate, rate as usize);
            let frame = rate as usize / 50;
            let mut concealer = Concealer::new(rate);
            let mut heard = said.clone();
            for (n, pcm) in heard.chunks_exact_mut(frame).enumerate() {
                if n % 10 == 9 {
                    concealer.conceal(pcm);
                } else {
                    concealer.heard(pcm);
                }
            }
            let mut silent = said.clone();
            let lost = |n: usize| n / frame % 10 == 9;
            (0..silent.len())
                .filter(|n| lost(*n))
                .for_each(|n| silent[n] = 0);
            let (concealed, silenced) = (ratio(&said, &heard), ratio(&said, &silent));
            assert!(concealed > silenced + 5.0, "{rate}: {concealed} {silenced}");
        }
    }

    #[test]
    fn a_cycle_is_looked_for_only_in_what_can_be_heard() {
        for (level, cycle) in [(-20.0, 70), (-70.0, 120)] {
            let mut tone = Tone::at(level, 8000.0 / 70.0, 8000);
            let mut concealer = Concealer::new(8000);
            let mut pcm = [0; 392];
            tone.fill(&mut pcm);
            concealer.heard(&mut pcm);
            concealer.conceal(&mut pcm[..160]);
            assert_eq!(concealer.pitch, cycle, "{level}");
        }
    }

    /// ITU-T G.711 Appendix I §I.2.7: nothing is left after 60 ms.
    #[test]
    fn a_long_loss_fades_to_silence_and_the_sound_comes_back() {
        let mut tone = Tone::new(400.0, 8000);
        let mut concealer = Concealer::new(8000);
        let mut pcm = [0; 160];
        for _ in 0..10 {
            tone.fill(&mut pcm);
            concealer.heard(&mut pcm);
        }
        let mut before = f32::MAX;
        for _ in 0..3 {
            concealer.conceal(&mut pcm);
            let now = level(&pcm, 400.0, 8000);
            assert!(now < before, "{now}");
            before = now;
        }
        for _ in 0..50 {
            concealer.conceal(&mut pcm);
            assert_eq!(pcm, [0; 160]);
        }
        tone.fill(&mut pcm);
        let said = pcm;
        concealer.heard(&mut pcm);
        assert_eq!(pcm[80..], said[80..]);
        assert!(pcm[..8].iter().all(|s| s.abs() < 3000));
        tone.fill(&mut pcm);
        let said = pcm;
        concealer.heard(&mut pcm);
        assert_eq!(pcm, said);
    }

    proptest! {
        #[test]
        fn any_sound_and_any_loss_pass(
            pieces in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<i16>(), 0..900)), 0..12),
            rate in prop::sample::select(vec![8000u32, 16_000, 48_000]),
        ) {
            let mut concealer = Concealer::new(rate);
            for (lost, mut pcm) in pieces {
                match lost {
                    true => concealer.conceal(&mut pcm),
                    false => concealer.heard(&mut pcm),
                }
            }
        }
    }
}
