//! Chance from a seed: the same seed makes the same world.

use std::ops::Range;
use std::time::Duration;

use base::{Mint, Slot};

/// A source of chance.
#[derive(Debug)]
pub struct Dice(Mint);

impl Dice {
    /// The dice of `seed`; `purpose` keeps several of one seed apart.
    #[must_use]
    pub fn new(seed: u64, purpose: u8) -> Self {
        Self(Mint::new(Slot::new(purpose), seed_bytes(seed)))
    }

    /// `true` in `percent` of all throws.
    pub fn chance(&mut self, percent: u32) -> bool {
        percent > 0 && self.0.below(100) < percent
    }

    /// A number in `range`; its start if it is empty.
    pub fn number(&mut self, range: Range<u32>) -> u32 {
        range.start + self.0.below(range.end.saturating_sub(range.start))
    }

    /// A duration of so many milliseconds.
    pub fn millis(&mut self, range: Range<u32>) -> Duration {
        Duration::from_millis(u64::from(self.number(range)))
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.0.below(choices.len() as u32) as usize]
    }
}

/// The seed of a [`Mint`] from that of a world.
pub(crate) fn seed_bytes(seed: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[8..16].copy_from_slice(&seed.to_le_bytes());
    bytes
}
