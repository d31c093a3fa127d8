//! A spectrum in 20 bits: each third of its frequencies is the nearest vector of a codebook.

use super::lsf::{self, Lsf};
use super::tables::{LSF_HIGH, LSF_LOW, LSF_MIDDLE};

/// Which vectors are nearest to `spectrum`.
///
/// # Source
/// RFC 3951 §3.2.4
pub(super) fn quantise(spectrum: &Lsf) -> [u8; 3] {
    [
        nearest(&LSF_LOW, &spectrum[..3]),
        nearest(&LSF_MIDDLE, &spectrum[3..6]),
        nearest(&LSF_HIGH, &spectrum[6..]),
    ]
}

/// The spectrum of three vectors, with its frequencies in order.
///
/// # Source
/// RFC 3951 §4.1
pub(super) fn spectrum(vectors: [u8; 3]) -> Lsf {
    let [low, middle, high] = vectors.map(usize::from);
    let mut spectrum = lsf::MEAN;
    let (thirds, last) = spectrum.split_at_mut(6);
    thirds[..3].copy_from_slice(&LSF_LOW[low % LSF_LOW.len()]);
    thirds[3..].copy_from_slice(&LSF_MIDDLE[middle % LSF_MIDDLE.len()]);
    last.copy_from_slice(&LSF_HIGH[high % LSF_HIGH.len()]);
    lsf::stabilise(&mut spectrum);
    spectrum
}

fn nearest<const N: usize>(codebook: &[[f32; N]], target: &[f32]) -> u8 {
    let mut best = (0, f32::INFINITY);
    for (index, vector) in (0..=u8::MAX).zip(codebook) {
        let pairs = vector.iter().zip(target);
        let distance: f32 = pairs.map(|(a, b)| (a - b) * (a - b)).sum();
        if distance < best.1 {
            best = (index, distance);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3951 §4.1.
    #[test]
    fn rfc3951_4_1_every_spectrum_is_in_order() {
        let ordered = |low: u8, middle: u8, high: u8| {
            let spectrum = spectrum([low, middle, high]);
            assert!(spectrum.is_sorted(), "{low} {middle} {high}: {spectrum:?}");
        };
        for middle in 0..128 {
            (0..64).for_each(|low| ordered(low, middle, 64));
            (0..128).for_each(|high| ordered(32, middle, high));
        }
    }

    /// RFC 3951 §3.2.4.
    #[test]
    fn rfc3951_3_2_4_a_vector_is_nearest_to_itself() {
        for vectors in [[0, 0, 0], [63, 127, 127], [20, 60, 100]] {
            let [low, middle, high] = vectors.map(usize::from);
            let mut exact = lsf::MEAN;
            exact[..3].copy_from_slice(&LSF_LOW[low]);
            exact[3..6].copy_from_slice(&LSF_MIDDLE[middle]);
            exact[6..].copy_from_slice(&LSF_HIGH[high]);
            assert_eq!(quantise(&exact), vectors);
        }
    }
}
