//! The spectrum of a stretch of sound by linear prediction.

use std::f32::consts::PI;
use std::sync::LazyLock;

use super::{FLAT, Lpc, ORDER, dot};

/// Samples that are analysed at once.
pub(super) const WINDOW: usize = 240;

/// What is cut out of the sound for an analysis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Window {
    /// Alike on both sides: the middle counts most.
    Middle,
    /// The newest samples count most.
    End,
}

/// The prediction for `sound`, 240 samples, with its peaks widened.
///
/// # Source
/// RFC 3951 §3.2.1, §3.2.2
pub(super) fn predict(window: Window, sound: &[f32; WINDOW]) -> Lpc {
    let table = match window {
        Window::Middle => &WINDOWS.0,
        Window::End => &WINDOWS.1,
    };
    let mut cut = *sound;
    cut.iter_mut().zip(table).for_each(|(s, w)| *s *= w);
    let mut correlation = [0.0; ORDER + 1];
    for (lag, (sum, weight)) in correlation.iter_mut().zip(LAG_WINDOW).enumerate() {
        *sum = weight * dot(&cut[lag..], &cut[..WINDOW - lag]);
    }
    widened(&durbin(&correlation), CHIRP)
}

/// A(z/γ): each coefficient times a power of `chirp`.
///
/// # Source
/// RFC 3951 §3.2.2, §3.4
pub(super) fn widened(lpc: &Lpc, chirp: f32) -> Lpc {
    let mut factor = 1.0;
    lpc.map(|a| {
        let wide = a * factor;
        factor *= chirp;
        wide
    })
}

/// The recursion of Levinson and Durbin.
///
/// # Source
/// RFC 3951 §3.2.2
fn durbin(correlation: &[f32; ORDER + 1]) -> Lpc {
    let mut lpc = FLAT;
    let mut error = correlation[0];
    for order in 1..=ORDER {
        if error < LEAST_ENERGY {
            break;
        }
        let known = lpc;
        let pairs = known[1..order]
            .iter()
            .zip(correlation[1..order].iter().rev());
        let sum: f32 = pairs.map(|(a, r)| a * r).sum();
        let reflection = -(correlation[order] + sum) / error;
        for (a, mirrored) in lpc[1..order].iter_mut().zip(known[1..order].iter().rev()) {
            *a += reflection * mirrored;
        }
        lpc[order] = reflection;
        error *= 1.0 - reflection * reflection;
    }
    lpc
}

/// A sum of squares that is silence.
const LEAST_ENERGY: f32 = 1e-3;
/// As the reference implementation has it; the text says 0.9.
const CHIRP: f32 = 0.9025;

/// Of [`Window::Middle`] and [`Window::End`], in steps of 1/32,768.
///
/// # Source
/// RFC 3951 §3.2.1
static WINDOWS: LazyLock<([f32; WINDOW], [f32; WINDOW])> = LazyLock::new(|| {
    let step = |value: f32| (value * 32_768.0).round().min(32_767.0) / 32_768.0;
    let squared_sine = |angle: f32| angle.sin().powi(2);
    let middle = std::array::from_fn(|i| {
        let from_edge = i.min(WINDOW - 1 - i) as f32;
        step(squared_sine(PI * (from_edge + 1.0) / 241.0))
    });
    let end = std::array::from_fn(|i| match i {
        0..220 => step(squared_sine(PI * (i as f32 + 1.0) / 441.0)),
        _ => step(((i as f32 - 220.0) * PI / 40.0).cos()),
    });
    (middle, end)
});

/// Smooths the spectrum and adds a little noise.
///
/// # Source
/// RFC 3951 §3.2.1
const LAG_WINDOW: [f32; ORDER + 1] = [
    1.0001, 0.998_89, 0.995_569, 0.990_057, 0.982_392, 0.972_623, 0.960_816, 0.947_047, 0.931_405,
    0.913_989, 0.894_909,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_has_a_flat_spectrum() {
        assert_eq!(predict(Window::Middle, &[0.0; WINDOW]), FLAT);
    }

    /// RFC 3951 §3.2.1.
    #[test]
    fn rfc3951_3_2_1_windows() {
        let (middle, end) = &*WINDOWS;
        let steps = |values: &[f32]| values.iter().map(|v| v * 32_768.0).collect::<Vec<_>>();
        assert_eq!(steps(&middle[..3]), [6.0, 22.0, 50.0]);
        assert_eq!(middle[10], middle[229]);
        assert_eq!(
            end.iter().position(|w| *w > 0.999).map(|n| n / 10),
            Some(21)
        );
        assert!(end[239] < 0.08 && end[0] < 0.0001);
    }

    /// RFC 3951 §3.4.
    #[test]
    fn rfc3951_3_4_the_weighting_filter_is_a_wider_one() {
        let mut lpc = FLAT;
        (lpc[1], lpc[2]) = (-1.0, 0.5);
        let wide = widened(&lpc, 0.5);
        assert_eq!(wide[..3], [1.0, -0.5, 0.125]);
    }

    /// RFC 3951 §3.2.2.
    #[test]
    fn rfc3951_3_2_2_a_tone_is_predicted() {
        let tone: [f32; WINDOW] = std::array::from_fn(|n| 1000.0 * (n as f32 * 0.4).sin());
        let lpc = predict(Window::End, &tone);
        let error = |n: usize| -> f32 { (0..=ORDER).map(|k| lpc[k] * tone[n - k]).sum() };
        assert!((100..200).all(|n| error(n).abs() < 200.0), "{lpc:?}");
    }
}
