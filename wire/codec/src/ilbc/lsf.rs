//! Line spectral frequencies: a spectrum as ten angles between 0 and π, which can be rounded and
//! mixed without the filter becoming unstable as long as they rise.

use std::f32::consts::PI;
use std::sync::LazyLock;

use super::{FLAT, Lpc, MAX_SUB_BLOCKS, Mode, ORDER};

/// Ten rising angles.
pub(super) type Lsf = [f32; ORDER];

/// The frequencies of a prediction, or `fallback` if some can't be found.
///
/// Of the sum and the difference of the prediction and its mirror image all zeros are on the unit
/// circle, in turns: these are the frequencies.
///
/// # Source
/// RFC 3951 §3.2.3
pub(super) fn from_lpc(lpc: &Lpc, fallback: &Lsf) -> Lsf {
    let curves = halves(lpc);
    let mut found = *fallback;
    let mut count = 0;
    let mut cell = 0;
    let mut left = GRID[0];
    while count < ORDER && cell + 1 < GRID.len() {
        let curve = &curves[count % 2];
        let right = GRID[cell + 1];
        let ends = [chebyshev(curve, left), chebyshev(curve, right)];
        if ends[0] * ends[1] > 0.0 {
            cell += 1;
            left = right;
            continue;
        }
        // The next frequency may be in the same cell.
        left = root(curve, [left, right], ends);
        found[count] = left.clamp(-1.0, 1.0).acos();
        count += 1;
    }
    if count == ORDER { found } else { *fallback }
}

/// The sum and the difference without their zeros at 0 and π, as series of Chebyshev polynomials of
/// the cosine.
fn halves(lpc: &Lpc) -> [[f32; 6]; 2] {
    let (mut sum, mut difference) = ([1.0; 6], [1.0; 6]);
    for i in 1..=ORDER / 2 {
        let (low, high) = (lpc[i], lpc[ORDER + 1 - i]);
        sum[i] = low + high - sum[i - 1];
        difference[i] = low - high + difference[i - 1];
    }
    [sum, difference]
}

/// The series at `x`, by Clenshaw's recurrence.
fn chebyshev(series: &[f32; 6], x: f32) -> f32 {
    let (mut older, mut old) = (0.0, 0.0);
    for coefficient in &series[..5] {
        (older, old) = (old, coefficient + 2.0 * x * old - older);
    }
    series[5] / 2.0 + x * old - older
}

/// Where the series is 0 between two points where its signs differ.
fn root(series: &[f32; 6], mut at: [f32; 2], mut values: [f32; 2]) -> f32 {
    for _ in 0..8 {
        let middle = (at[0] + at[1]) / 2.0;
        let value = chebyshev(series, middle);
        let half = usize::from(values[0] * value <= 0.0);
        (at[half], values[half]) = (middle, value);
    }
    let rise = values[1] - values[0];
    match rise.abs() < f32::MIN_POSITIVE {
        true => at[1],
        false => at[0] - values[0] * (at[1] - at[0]) / rise,
    }
}

/// The prediction of ten frequencies.
///
/// # Source
/// RFC 3951 §3.2.6
pub(super) fn to_lpc(lsf: &Lsf) -> Lpc {
    // Each frequency is a pair of zeros: 1 - 2 cos(ω) z^-1 + z^-2.
    let (mut sum, mut difference) = (FLAT, FLAT);
    for pair in lsf.as_chunks::<2>().0 {
        for (half, angle) in [(&mut sum, pair[0]), (&mut difference, pair[1])] {
            let middle = -2.0 * angle.cos();
            for i in (1..=ORDER).rev() {
                let twice = if i > 1 { half[i - 2] } else { 0.0 };
                half[i] += middle * half[i - 1] + twice;
            }
        }
    }
    // Those at 0 and π: 1 + z^-1, and 1 - z^-1.
    std::array::from_fn(|i| match i {
        0 => 1.0,
        _ => (sum[i] + sum[i - 1] + difference[i] - difference[i - 1]) / 2.0,
    })
}

/// Moves frequencies apart that are too near to each other, or in the wrong order.
///
/// # Source
/// RFC 3951 §3.2.5, steps of appendix A.40
pub(super) fn stabilise(lsf: &mut Lsf) {
    for _ in 0..2 {
        for i in 0..ORDER - 1 {
            let gap = lsf[i + 1] - lsf[i];
            if gap < 0.0 {
                lsf[i + 1] = lsf[i] + HALF_GAP;
                lsf[i] = lsf[i + 1] - HALF_GAP;
            } else if gap < 2.0 * HALF_GAP {
                lsf[i] -= HALF_GAP;
                lsf[i + 1] += HALF_GAP;
            }
            lsf[i] = lsf[i].clamp(EDGE, PI - EDGE);
        }
    }
}

/// The filter for each sub-block of a frame, between the spectrum at the end of the frame before,
/// `old`, and those of this frame: one, or two alike.
///
/// # Source
/// RFC 3951 §3.2.6, §3.2.7
pub(super) fn filters(mode: Mode, old: &Lsf, spectra: &[Lsf; 2]) -> [Lpc; MAX_SUB_BLOCKS] {
    let [first, last] = spectra;
    let mut filters = [FLAT; MAX_SUB_BLOCKS];
    for (n, filter) in filters[..mode.sub_blocks()].iter_mut().enumerate() {
        let (from, to, share) = match (mode, n) {
            (Mode::Ms20, _) => (old, last, (3 - n) as f32 / 4.0),
            (Mode::Ms30, 0) => (old, first, 0.5),
            (Mode::Ms30, _) => (first, last, 4_usize.saturating_sub(n) as f32 / 3.0),
        };
        let mixed = std::array::from_fn(|i| share * from[i] + (1.0 - share) * to[i]);
        *filter = to_lpc(&mixed);
    }
    filters
}

/// 25 Hz.
const HALF_GAP: f32 = 0.0195;
/// What no frequency of a codebook comes near, at either end.
const EDGE: f32 = 0.01;

/// What is assumed before the first frame: a mean of speech.
///
/// # Source
/// RFC 3951 §3.2.6
pub(super) const MEAN: Lsf = [
    0.281_738, 0.445_801, 0.663_33, 0.962_524, 1.251_831, 1.533_081, 1.850_586, 2.137_817,
    2.481_445, 2.777_344,
];

/// Cosines of angles 20 Hz apart, between which there is at most one zero of each kind.
static GRID: LazyLock<[f32; 201]> =
    LazyLock::new(|| std::array::from_fn(|n| (n as f32 * PI / 200.0).cos()));

#[cfg(test)]
mod tests {
    use super::super::lpc::{WINDOW, Window, predict};
    use super::*;

    /// RFC 3951 §3.2.3.
    #[test]
    fn rfc3951_3_2_3_frequencies_give_their_prediction_back() {
        let noise =
            |n: usize| ((n * n * 7919 % 1009) as f32 - 504.0) + 900.0 * (n as f32 / 5.0).sin();
        let lpc = predict(Window::Middle, &std::array::from_fn::<_, WINDOW, _>(noise));
        let lsf = from_lpc(&lpc, &[0.0; ORDER]);
        assert!(lsf[0] > 0.0 && lsf.is_sorted() && lsf[9] < PI, "{lsf:?}");
        for (a, b) in lpc.iter().zip(to_lpc(&lsf)) {
            assert!((a - b).abs() < 1e-3, "{a} {b}");
        }
    }

    #[test]
    fn a_flat_spectrum_has_even_frequencies() {
        let lsf = from_lpc(&FLAT, &MEAN);
        for (n, angle) in lsf.iter().enumerate() {
            assert!((angle - (n as f32 + 1.0) * PI / 11.0).abs() < 1e-3);
        }
    }

    /// RFC 3951 §3.2.5.
    #[test]
    fn rfc3951_3_2_5_frequencies_are_moved_apart() {
        let mut lsf = MEAN;
        lsf.swap(2, 3);
        lsf[6] = lsf[5] + 0.001;
        stabilise(&mut lsf);
        assert!(
            lsf.windows(2).all(|pair| pair[1] - pair[0] > 0.01),
            "{lsf:?}"
        );
    }

    /// RFC 3951 §3.2.6.
    #[test]
    fn rfc3951_3_2_6_two_spectra_are_mixed_in_a_frame() {
        let spectra = [0.04, 0.1].map(|more| MEAN.map(|angle| angle + more));
        let filters = filters(Mode::Ms30, &MEAN, &spectra);
        for (filter, more) in filters.iter().zip([0.02, 0.04, 0.06, 0.08, 0.1, 0.1]) {
            let expected = to_lpc(&MEAN.map(|angle| angle + more));
            let pairs = filter.iter().zip(expected);
            assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-3));
        }
    }

    /// RFC 3951 §3.2.7.
    #[test]
    fn rfc3951_3_2_7_the_last_sub_block_has_the_new_spectrum() {
        let new = MEAN.map(|angle| angle + 0.05);
        for mode in [Mode::Ms20, Mode::Ms30] {
            let filters = filters(mode, &MEAN, &[new; 2]);
            assert_eq!(filters[mode.sub_blocks() - 1], to_lpc(&new));
            assert_ne!(filters[0], to_lpc(&new));
        }
    }
}
