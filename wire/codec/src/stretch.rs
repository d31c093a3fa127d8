//! Sound made a little longer or shorter without a change of its pitch: one cycle of the voice is
//! left out, or said twice.

use crate::likeness::product;
use crate::mix::{self, INAUDIBLE};

/// Leaves out one cycle of the 20 ms or more of sound in `pcm` from `start` on. Returns how many
/// samples that was: 0 where it would be heard.
pub fn shorten(pcm: &mut Vec<i16>, start: usize, rate: u32) -> usize {
    let Some((lag, overlap)) = cycle(&pcm[start.min(pcm.len())..], rate) else {
        return 0;
    };
    for n in 0..overlap {
        let at = start + n;
        pcm[at] = blend(pcm[at], pcm[at + lag], n, overlap);
    }
    pcm.drain(start + overlap..start + overlap + lag);
    lag
}

/// Says one cycle of the 20 ms or more of sound in `pcm` from `start` on twice. Returns how many
/// samples that was: 0 where it would be heard.
pub fn lengthen(pcm: &mut Vec<i16>, start: usize, rate: u32) -> usize {
    let Some((lag, overlap)) = cycle(&pcm[start.min(pcm.len())..], rate) else {
        return 0;
    };
    let len = pcm.len();
    pcm.extend_from_within(len - lag..);
    // From behind, so that nothing is read that has been written.
    pcm.copy_within(start + overlap..len, start + overlap + lag);
    for n in (0..overlap).rev() {
        let at = start + lag + n;
        pcm[at] = blend(pcm[at], pcm[start + n], n, overlap);
    }
    lag
}

/// A length of time after which the sound resembles itself, and how long the crossing from one cycle to
/// the next may last.
fn cycle(pcm: &[i16], rate: u32) -> Option<(usize, usize)> {
    let ms = (rate as usize / 1000).max(8);
    let (shortest, longest) = (5 * ms / 2, 10 * ms);
    let overlap = longest;
    if pcm.len() < longest + overlap {
        return None;
    }
    if mix::level(&pcm[..longest + overlap]) < INAUDIBLE {
        return Some((longest, overlap));
    }
    // 8000 samples a second tell enough.
    let stride = ms / 8;
    let mut coarse = [0.0; COARSE];
    let pairs = coarse.iter_mut().zip(pcm.iter().step_by(stride));
    pairs.for_each(|(to, sample)| *to = f32::from(*sample));
    let first = &coarse[..overlap / stride];
    let energy = product(first, first);
    let likeness = |lag: usize| {
        let later = &coarse[lag..lag + first.len()];
        product(first, later) / (energy * product(later, later)).sqrt().max(1.0)
    };
    let best = (shortest / stride..=longest / stride)
        .map(|lag| (likeness(lag), lag * stride))
        .max_by(|one, other| one.0.total_cmp(&other.0))?;
    (best.0 > ALIKE).then_some((best.1, overlap))
}

/// `from` at the start of the overlap, `to` at its end.
fn blend(from: i16, to: i16, n: usize, overlap: usize) -> i16 {
    let share = (n + 1) as f32 / (overlap + 1) as f32;
    (f32::from(from) * (1.0 - share) + f32::from(to) * share) as i16
}

/// Samples of 20 ms, looked at coarsely, at 8 to 16 kHz.
const COARSE: usize = 20 * 16;
/// The least correlation of cycles that are taken for each other.
const ALIKE: f32 = 0.7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::{self, Tone};

    /// A second of a tone whose packets of 20 ms are each changed by `change`.
    fn changed(
        rate: u32,
        frequency: f32,
        change: fn(&mut Vec<i16>, usize, u32) -> usize,
    ) -> Vec<i16> {
        let mut tone = Tone::new(frequency, rate);
        let mut pcm = Vec::new();
        for _ in 0..50 {
            let start = pcm.len();
            pcm.resize(start + rate as usize / 50, 0);
            tone.fill(&mut pcm[start..]);
            assert!(change(&mut pcm, start, rate) > 0);
        }
        pcm
    }

    #[test]
    fn a_tone_keeps_its_pitch_and_level() {
        for rate in [8000, 16_000, 48_000] {
            for frequency in [200.0, 450.0, 1004.0] {
                let second = rate as usize;
                for (pcm, longer) in [
                    (changed(rate, frequency, shorten), false),
                    (changed(rate, frequency, lengthen), true),
                ] {
                    let by = pcm.len().abs_diff(second) * 100 / second;
                    assert!((10..=50).contains(&by), "{by} %");
                    assert_eq!(pcm.len() > second, longer);
                    for piece in pcm.chunks_exact(second / 50) {
                        let level = tone::level(piece, frequency, rate);
                        assert!(
                            (level - tone::ZERO_DBM0).abs() < 1.5,
                            "{rate} {frequency}: {level}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn noise_that_resembles_nothing_is_left_alone() {
        let mut state = 1u32;
        let mut noise: Vec<i16> = (0..160)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 16) as i16
            })
            .collect();
        assert_eq!(shorten(&mut noise, 0, 8000), 0);
        assert_eq!(lengthen(&mut noise, 0, 8000), 0);
        assert_eq!(noise.len(), 160);
    }

    #[test]
    fn silence_goes_fast_and_what_is_too_short_stays() {
        let mut silence = vec![0; 320];
        assert_eq!(shorten(&mut silence, 160, 8000), 80);
        assert_eq!(lengthen(&mut silence, 0, 8000), 80);
        assert_eq!(silence.len(), 320);
        assert_eq!(shorten(&mut silence, 200, 8000), 0);
        assert_eq!(lengthen(&mut silence, 999, 8000), 0);
    }
}
