//! Vectors made of known samples: stretches of them, stretches that repeat within themselves, and
//! both again after a filter.

use super::SUB_BLOCK;
use super::bits::Shape;
use super::excitation::Part;
use super::tables::{CODEBOOK_FILTER, GAIN_FIRST, GAIN_SECOND, GAIN_THIRD};

/// Known samples that a sub-block is made of.
pub(super) const MEMORY: usize = 147;

/// A vector of the codebook, with samples that it does not need behind it.
pub(super) type Vector = [f32; SUB_BLOCK];

/// How the vectors for a part are counted. Each of two sections has the plain vectors and then,
/// for whole sub-blocks, those that repeat; the second section is filtered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    memory: usize,
    len: usize,
}

/// Where a vector comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// Starts so many samples before the end of the memory, and is no longer than that.
    Plain(usize),
    /// Starts so many samples before the end, and goes on from there again: 20 to 39.
    Repeating(usize),
}

impl Layout {
    pub(super) fn of(part: Part) -> Self {
        Self {
            memory: part.memory(),
            len: part.len,
        }
    }

    /// Plain vectors of a section.
    pub(super) const fn plain(self) -> usize {
        self.memory - self.len + 1
    }

    /// All vectors of a section.
    pub(super) const fn section(self) -> usize {
        match self.len {
            SUB_BLOCK => self.plain() + REPEATING,
            _ => self.plain(),
        }
    }

    /// The vector at `index` of a section.
    ///
    /// # Source
    /// RFC 3951 §3.6.3
    pub(super) const fn origin(self, index: usize) -> Origin {
        match index.checked_sub(self.plain()) {
            None => Origin::Plain(index + self.len),
            Some(more) => Origin::Repeating(more + SUB_BLOCK / 2),
        }
    }
}

/// The vector of `origin` out of `memory`.
///
/// # Source
/// RFC 3951 §3.6.3.1, §3.6.3.3
pub(super) fn vector(memory: &[f32], origin: Origin) -> Vector {
    let (Origin::Plain(lag) | Origin::Repeating(lag)) = origin;
    let tail = &memory[memory.len() - lag..];
    let mut vector = [0.0; SUB_BLOCK];
    let count = lag.min(SUB_BLOCK);
    vector[..count].copy_from_slice(&tail[..count]);
    if matches!(origin, Origin::Repeating(_)) {
        let before = &memory[memory.len() - lag - BLEND.len()..];
        let border = &mut vector[lag - BLEND.len()..lag];
        for ((sample, fresh), share) in border.iter_mut().zip(before).zip(BLEND) {
            *sample = (1.0 - share) * *sample + share * fresh;
        }
        vector[lag..].copy_from_slice(&tail[..SUB_BLOCK - lag]);
    }
    vector
}

/// The memory of the second section.
///
/// # Source
/// RFC 3951 §3.6.3.2, with the coefficients in the order of appendix A.8
pub(super) fn filtered(memory: &[f32]) -> [f32; MEMORY] {
    let mut padded = [0.0; MEMORY + 7];
    padded[3..3 + memory.len()].copy_from_slice(memory);
    let mut out = [0.0; MEMORY];
    for (sample, seen) in out[..memory.len()].iter_mut().zip(padded.windows(8)) {
        let pairs = CODEBOOK_FILTER.iter().rev().zip(seen);
        *sample = pairs.map(|(coefficient, x)| coefficient * x).sum();
    }
    out
}

/// The index of a vector of the first whole sub-block as it is sent in seven bits, for the second
/// and third vector: only 44 of the plain ones can be chosen.
///
/// # Source
/// RFC 3951 §3.6.3, table 3.1
pub(super) const fn narrowed(index: usize) -> usize {
    match index {
        0..108 => index,
        108..172 => index - 64,
        _ => index - 128,
    }
}

/// What [`narrowed`] made it of.
pub(super) const fn widened(index: usize) -> usize {
    match index {
        0..44 => index,
        44..108 => index + 64,
        _ => index + 128,
    }
}

/// Whether vector `stage` of a part is sent [`narrowed`].
pub(super) fn is_narrow(part: Part, stage: usize) -> bool {
    part.block == Some(0) && stage > 0
}

/// The part that `shape` makes of the known samples next to it.
///
/// # Source
/// RFC 3951 §4.4.1
pub(super) fn construct(memory: &[f32], part: Part, shape: Shape) -> Vector {
    let layout = Layout::of(part);
    let second = filtered(memory);
    let mut sum = [0.0; SUB_BLOCK];
    for ((stage, index), gain) in shape.vectors.iter().enumerate().zip(gains(shape.gains)) {
        let index = usize::from(*index);
        let index = if is_narrow(part, stage) {
            widened(index)
        } else {
            index
        };
        // 23 samples have 126 vectors, which seven bits exceed.
        let index = index.min(2 * layout.section() - 1);
        let vector = match index.checked_sub(layout.section()) {
            None => vector(memory, layout.origin(index)),
            Some(index) => vector(&second[..memory.len()], layout.origin(index)),
        };
        sum.iter_mut().zip(vector).for_each(|(s, v)| *s += gain * v);
    }
    sum
}

/// The gains of three indices. The later ones scale with those before.
///
/// # Source
/// RFC 3951 §3.6.4.2
pub(super) fn gains(indices: [u8; 3]) -> [f32; 3] {
    let [first, second, third] = indices.map(usize::from);
    let first = GAIN_FIRST[first % GAIN_FIRST.len()];
    let second = scale(first) * GAIN_SECOND[second % GAIN_SECOND.len()];
    let third = scale(second) * GAIN_THIRD[third % GAIN_THIRD.len()];
    [first, second, third]
}

/// What the gain after `gain` is measured in.
pub(super) fn scale(gain: f32) -> f32 {
    gain.abs().max(0.1)
}

/// Repeating vectors in a section.
pub(super) const REPEATING: usize = 20;
/// How a repeating vector goes over into its repetition.
const BLEND: [f32; 5] = [0.0, 0.2, 0.4, 0.6, 0.8];

#[cfg(test)]
mod tests {
    use super::super::Mode;
    use super::super::bits::Frame;
    use super::*;

    fn parts() -> Vec<Part> {
        Part::all(Mode::Ms30, &Frame::EMPTY).collect()
    }

    fn ramp() -> [f32; MEMORY] {
        std::array::from_fn(|n| n as f32)
    }

    /// RFC 3951 §3.6.3, table 3.1.
    #[test]
    fn rfc3951_3_6_3_sizes_of_codebooks() {
        let [rest, block, ..] = parts()[..] else {
            panic!()
        };
        let (rest, block) = (Layout::of(rest), Layout::of(block));
        assert_eq!((rest.plain(), rest.section()), (64, 64));
        assert_eq!((block.plain(), block.section()), (108, 128));
    }

    /// RFC 3951 §3.6.3.1, §4.4.1.
    #[test]
    fn rfc3951_4_4_1_vectors_are_added_with_their_gains() {
        let part = parts()[1];
        let shape = Shape {
            vectors: [0, 10, 0],
            gains: [26, 10, 3],
        };
        let [first, second, third] = gains(shape.gains);
        assert_eq!(third, 0.0);
        let made = construct(&ramp(), part, shape);
        for (n, sample) in made.iter().enumerate() {
            let n = n as f32;
            let expected = first * (107.0 + n) + second * (97.0 + n);
            assert!((sample - expected).abs() < 1e-3);
        }
    }

    /// RFC 3951 §3.6.3.3.
    #[test]
    fn rfc3951_3_6_3_3_a_repeating_vector() {
        let short = vector(&ramp(), Origin::Repeating(20));
        let start: Vec<f32> = (127..142).map(|n| n as f32).collect();
        assert_eq!(short[..15], start);
        assert_eq!(short[15], 142.0);
        assert!((short[17] - (0.6 * 144.0 + 0.4 * 124.0)).abs() < 1e-3);
        assert_eq!((short[20], short[39]), (127.0, 146.0));
        assert_eq!(vector(&ramp(), Origin::Plain(147))[39], 39.0);
    }

    /// RFC 3951 §3.6.3.2.
    #[test]
    fn rfc3951_3_6_3_2_the_second_section_is_smooth_and_in_time() {
        let filtered = filtered(&ramp());
        let gain: f32 = CODEBOOK_FILTER.iter().sum();
        // Half a sample between two of the first section.
        assert!(
            (filtered[100] / gain - 100.5).abs() < 0.2,
            "{}",
            filtered[100] / gain
        );
    }

    #[test]
    fn narrow_indices_come_back() {
        let chosen = (0..44).chain(108..172).chain(236..256);
        for (index, sent) in chosen.zip(0..128) {
            assert_eq!((narrowed(index), widened(sent)), (sent, index));
        }
    }

    /// RFC 3951 §3.6.4.2.
    #[test]
    fn rfc3951_3_6_4_2_later_gains_scale_with_those_before() {
        assert_eq!(
            gains([31, 15, 7]),
            [1.200_012, 1.200_012 * 1.200_012, 1.200_012 * 1.200_012]
        );
        let [_, second, third] = gains([0, 7, 0]);
        assert_eq!((second, third), (0.0, -0.1));
    }

    #[test]
    fn no_index_is_out_of_reach() {
        for part in parts()
            .into_iter()
            .chain(Part::all(Mode::Ms20, &Frame::EMPTY))
        {
            for index in 0..=u8::MAX {
                let shape = Shape {
                    vectors: [index; 3],
                    gains: [index; 3],
                };
                construct(&ramp()[..part.memory()], part, shape);
            }
        }
    }
}
