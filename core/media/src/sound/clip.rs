//! A sound that is held as a whole.

use codec::resample::Resampler;

/// Decoded sound at both sampling rates that encoders want.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Clip {
    wide: Vec<i16>,
    narrow: Vec<i16>,
}

impl Clip {
    /// Of samples at 16 kHz.
    pub(crate) fn new(wide: Vec<i16>) -> Self {
        let mut narrow = Vec::with_capacity(wide.len() / 2 + 1);
        Resampler::new(WIDE, NARROW).process(&wide, &mut narrow);
        Self { wide, narrow }
    }

    /// Samples at `rate`, 8 or 16 kHz.
    pub(crate) fn at(&self, rate: u32) -> &[i16] {
        if rate == NARROW {
            &self.narrow
        } else {
            &self.wide
        }
    }

    /// Octets that it takes.
    pub(crate) fn size(&self) -> usize {
        2 * (self.wide.len() + self.narrow.len())
    }
}

/// Samples a second.
pub(crate) const WIDE: u32 = 16_000;
pub(crate) const NARROW: u32 = 8000;
