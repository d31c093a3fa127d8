//! The start state: the loudest 57 or 58 samples of the excitation, which are coded by themselves.

use super::bits::Frame;
use super::filter::{Memory, disperse, synthesise};
use super::tables::{STATE_SAMPLE, STATE_SCALE};
use super::{Lpc, Mode, SUB_BLOCK, energy, nearest};

/// Twice the longest start state, for [`disperse`].
const BUFFER: usize = 2 * 58;

/// The first sample of the start state of a frame.
pub(super) fn position(mode: Mode, frame: &Frame) -> usize {
    let pair = first_block(frame) * SUB_BLOCK;
    match frame.state_first {
        0 => pair + 2 * SUB_BLOCK - mode.state(),
        _ => pair,
    }
}

/// The sub-block in which the pair with the start state begins, counted from 0.
pub(super) fn first_block(frame: &Frame) -> usize {
    usize::from(frame.start).saturating_sub(1)
}

/// Writes into `frame` where the start state is: in the two sub-blocks with most energy, the middle
/// of the frame being preferred, and there where most of it is.
///
/// # Source
/// RFC 3951 §3.5.1
pub(super) fn locate(mode: Mode, residual: &[f32], frame: &mut Frame) {
    let preference: &[f32] = match mode {
        Mode::Ms20 => &[0.9, 1.0, 0.9],
        Mode::Ms30 => &[0.8, 0.9, 1.0, 0.9, 0.8],
    };
    let mut best = -1.0;
    let pairs = residual.windows(2 * SUB_BLOCK).step_by(SUB_BLOCK);
    for ((pair, weight), start) in pairs.zip(preference).zip(1..) {
        let measure = weight * tapered_energy(pair);
        if measure > best {
            best = measure;
            frame.start = start;
        }
    }
    let pair = &residual[first_block(frame) * SUB_BLOCK..][..2 * SUB_BLOCK];
    let length = mode.state();
    let first = energy(&pair[..length]) > energy(&pair[2 * SUB_BLOCK - length..]);
    frame.state_first = u8::from(first);
}

/// The energy of two sub-blocks, of which five samples at either end count less.
fn tapered_energy(pair: &[f32]) -> f32 {
    let weight = |i: usize| (i.min(2 * SUB_BLOCK - 1 - i) as f32 + 1.0).min(6.0) / 6.0;
    let weighted = pair.iter().enumerate().map(|(i, s)| weight(i) * s * s);
    weighted.sum()
}

/// Encodes the start state, whose place is known, into `frame`.
///
/// `filter` is the quantised filter of the first of the two sub-blocks, `weighting` are the weighting
/// filters of both.
///
/// # Source
/// RFC 3951 §3.5.2, §3.5.3
pub(super) fn encode(
    mode: Mode,
    residual: &[f32],
    filter: &Lpc,
    weighting: [&Lpc; 2],
    frame: &mut Frame,
) {
    let length = mode.state();
    let mut buffer = [0.0; BUFFER];
    let samples = &mut buffer[..2 * length];
    samples[..length].copy_from_slice(&residual[position(mode, frame)..][..length]);
    disperse(filter, samples);
    let samples = &mut samples[..length];
    let peak = samples.iter().fold(10.0, |peak: f32, s| peak.max(s.abs()));
    let scale = nearest(STATE_SCALE, peak.log10());
    frame.scale = scale as u8;
    let factor = 1.0 / unit(scale);
    samples.iter_mut().for_each(|s| *s *= factor);
    // Where the second of the two sub-blocks begins.
    let border = match frame.state_first {
        0 => length - SUB_BLOCK,
        _ => SUB_BLOCK,
    };
    let (first, second) = samples.split_at_mut(border);
    let (codes, more) = frame.state[..length].split_at_mut(border);
    let mut shaping = Shaping::default();
    shaping.quantise(weighting[0], first, codes);
    shaping.quantise(weighting[1], second, more);
}

/// Quantises sample by sample what a filter makes of them, so that the error is shaped like speech.
#[derive(Default)]
struct Shaping {
    wished: Memory,
    coded: Memory,
}

impl Shaping {
    /// # Source
    /// RFC 3951 §3.5.3
    fn quantise(&mut self, weighting: &Lpc, samples: &mut [f32], codes: &mut [u8]) {
        synthesise(weighting, &mut self.wished, samples);
        for (sample, code) in samples.iter().zip(codes) {
            let mut predicted = [0.0];
            let mut memory = self.coded;
            synthesise(weighting, &mut memory, &mut predicted);
            let nearest = nearest(STATE_SAMPLE, sample - predicted[0]);
            *code = nearest as u8;
            synthesise(weighting, &mut self.coded, &mut [STATE_SAMPLE[nearest]]);
        }
    }
}

/// Decodes the start state of `frame` into `out`.
///
/// # Source
/// RFC 3951 §4.2
pub(super) fn decode(mode: Mode, frame: &Frame, filter: &Lpc, out: &mut [f32]) {
    let length = mode.state();
    let unit = unit(usize::from(frame.scale));
    let mut buffer = [0.0; BUFFER];
    let samples = &mut buffer[..2 * length];
    // Backwards, in order that the dispersion undoes itself.
    for (sample, code) in samples.iter_mut().zip(frame.state[..length].iter().rev()) {
        *sample = unit * STATE_SAMPLE[usize::from(code & 7)];
    }
    disperse(filter, samples);
    let reversed = samples[..length].iter().rev();
    out.iter_mut().zip(reversed).for_each(|(o, s)| *o = *s);
}

/// What a quantised sample of 1 is.
fn unit(scale: usize) -> f32 {
    let exponent = STATE_SCALE[scale % STATE_SCALE.len()];
    10_f32.powf(exponent) / 4.5
}

#[cfg(test)]
mod tests {
    use super::super::FLAT;
    use super::*;

    fn pulse(at: usize) -> [f32; 240] {
        std::array::from_fn(|n| if n.abs_diff(at) < 20 { 1000.0 } else { 10.0 })
    }

    /// RFC 3951 §3.5.1.
    #[test]
    fn rfc3951_3_5_1_the_start_state_is_where_the_energy_is() {
        let mut frame = Frame::EMPTY;
        let cases = [(30, 1, 1), (50, 1, 0), (110, 3, 1), (215, 5, 0)];
        for (at, start, first) in cases {
            locate(Mode::Ms30, &pulse(at), &mut frame);
            assert_eq!((frame.start, frame.state_first), (start, first), "{at}");
            let from = position(Mode::Ms30, &frame);
            assert!((from..from + 58).contains(&at));
        }
    }

    /// RFC 3951 §3.5.3, §4.2.
    #[test]
    fn rfc3951_4_2_the_start_state_comes_back() {
        for mode in [Mode::Ms20, Mode::Ms30] {
            let noise = |n: usize| ((n * n * 7919 % 1009) as f32 - 504.0) * 4.0;
            let residual: [f32; 240] = std::array::from_fn(noise);
            let mut frame = Frame::EMPTY;
            locate(mode, &residual[..mode.samples()], &mut frame);
            encode(mode, &residual, &FLAT, [&FLAT; 2], &mut frame);
            let mut decoded = [0.0; 58];
            let decoded = &mut decoded[..mode.state()];
            decode(mode, &frame, &FLAT, decoded);
            let sent = &residual[position(mode, &frame)..][..mode.state()];
            let error: f32 = sent
                .iter()
                .zip(decoded)
                .map(|(a, b)| (a - *b).powi(2))
                .sum();
            assert!(error < 0.05 * energy(sent), "{error} {}", energy(sent));
        }
    }
}
