//! How much one piece of sound resembles another.

/// The sum of the products of two pieces, sample by sample, as far as whole groups of [`LANES`] samples go in the
/// shorter of them; of a piece with itself, its energy.
pub(crate) fn product(one: &[f32], other: &[f32]) -> f32 {
    // One sum would wait for each addition before the next; one for each lane is what a processor adds up at once.
    let mut sums = [0.0f32; LANES];
    let (one, other) = (one.as_chunks::<LANES>().0, other.as_chunks::<LANES>().0);
    for (one, other) in one.iter().zip(other) {
        for lane in 0..LANES {
            sums[lane] += one[lane] * other[lane];
        }
    }
    sums.iter().sum()
}

const LANES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_groups_of_the_shorter_one_count() {
        let one: Vec<f32> = (0..19u8).map(f32::from).collect();
        let other = [2.0; 24];
        assert_eq!(product(&one, &other), 240.0);
        assert_eq!(product(&other, &one[..8]), 56.0);
        assert_eq!(product(&one[..7], &other), 0.0);
    }
}
