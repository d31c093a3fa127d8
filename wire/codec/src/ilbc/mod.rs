//! iLBC at 15.2 and 13.33 kbit/s: frames of 20 ms, 160 samples in 38 bytes, or of 30 ms, 240 samples
//! in 50 bytes. No frame leans on the one before more than a filter does, so that a loss is soon
//! over.
//!
//! - [`Encoder`], [`Decoder`]: one stream.
//! - `bits`: which bit of a frame is what.
//! - `lpc`, `lsf`, `quantiser`: the shape of the spectrum; `filter` filters by it.
//! - `start_state`: the loudest part of the excitation, sample by sample.
//! - `excitation`: in which order the other parts are coded, each from its neighbours; `codebook`
//!   makes a part of them and `search` finds which.
//! - `enhancer`: makes voices more regular; `concealment`: makes up what was lost.
//!
//! # Source
//! RFC 3951, RFC 3952

mod bits;
mod codebook;
mod concealment;
mod decoder;
mod encoder;
mod enhancer;
mod excitation;
mod filter;
mod lpc;
mod lsf;
mod quantiser;
mod search;
mod start_state;
mod tables;
#[cfg(test)]
mod tests;

pub use decoder::Decoder;
pub use encoder::Encoder;

/// How long the frames are. Both directions of a stream use the same.
///
/// # Source
/// RFC 3952 §5
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// 20 ms, 160 samples in 38 bytes.
    Ms20,
    /// 30 ms, 240 samples in 50 bytes.
    Ms30,
}

impl Mode {
    /// Samples of a frame.
    #[must_use]
    pub const fn samples(self) -> usize {
        SUB_BLOCK * self.sub_blocks()
    }

    /// Bytes of an encoded frame.
    ///
    /// # Source
    /// RFC 3951 §3.8
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Ms20 => 38,
            Self::Ms30 => 50,
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Ms20 => Self::Ms30,
            Self::Ms30 => Self::Ms20,
        }
    }

    const fn sub_blocks(self) -> usize {
        match self {
            Self::Ms20 => 4,
            Self::Ms30 => 6,
        }
    }

    /// Sub-blocks that are coded from their neighbours: all but the two with the start state.
    const fn coded_blocks(self) -> usize {
        self.sub_blocks() - 2
    }

    /// Samples of the start state.
    const fn state(self) -> usize {
        match self {
            Self::Ms20 => 57,
            Self::Ms30 => 58,
        }
    }

    /// How often the spectrum is described in a frame.
    const fn spectra(self) -> usize {
        match self {
            Self::Ms20 => 1,
            Self::Ms30 => 2,
        }
    }
}

/// Samples of a sub-block, for each of which there is a filter: 5 ms.
const SUB_BLOCK: usize = 40;
/// Samples of the longer frame, and its sub-blocks.
const MAX_SAMPLES: usize = 240;
const MAX_SUB_BLOCKS: usize = 6;
/// Coefficients of a filter.
const ORDER: usize = 10;

/// A filter by linear prediction, A(z); the first coefficient is 1.
type Lpc = [f32; ORDER + 1];
/// What passes every sound as it is.
const FLAT: Lpc = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];

/// The sum of the products, in eight lanes.
#[inline]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        lanes = std::array::from_fn(|n| lanes[n] + a[n] * b[n]);
    }
    let mut rest = 0.0;
    for (a, b) in a_rest.iter().zip(b_rest) {
        rest += a * b;
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h)) + rest
}

fn energy(samples: &[f32]) -> f32 {
    dot(samples, samples)
}

/// The index of the value in `table` that is nearest to `value`; the first of several.
fn nearest(table: impl IntoIterator<Item = f32>, value: f32) -> usize {
    let mut best = (0, f32::INFINITY);
    for (index, entry) in table.into_iter().enumerate() {
        let distance = (entry - value).abs();
        if distance < best.1 {
            best = (index, distance);
        }
    }
    best.0
}
