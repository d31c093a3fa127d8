//! Which packet indices of a source have been seen.

use crate::Error;

/// The highest index of a source, and which of those before it were there.
///
/// Blocks of 64 are kept in a ring, so that moving on clears whole blocks and shifts nothing. It
/// remembers at least [`REACH`] indices, which is more than a browser asks to have sent again.
///
/// # Source
/// RFC 3711 §3.3.2; the ring is that of RFC 6479
#[derive(Clone)]
pub(crate) struct Window {
    highest: u64,
    blocks: [u64; BLOCKS],
}

impl Window {
    pub(crate) fn starting_at(index: u64) -> Self {
        let mut window = Self {
            highest: index,
            blocks: [0; BLOCKS],
        };
        window.mark(index);
        window
    }

    /// The index that a packet with `sequence` most likely has: that which is nearest to the
    /// highest one.
    ///
    /// # Source
    /// RFC 3711 §3.3.1, appendix A
    pub(crate) fn estimate(&self, sequence: u16) -> u64 {
        let (rollovers, last) = (self.highest >> 16, i32::from(self.highest as u16));
        let ahead = i32::from(sequence) - last;
        let rollovers = if last < HALF && ahead > HALF {
            // Nothing was before the first turn.
            rollovers.saturating_sub(1)
        } else if last >= HALF && -ahead > HALF {
            rollovers + 1
        } else {
            rollovers
        };
        rollovers << 16 | u64::from(sequence)
    }

    /// Refuses an index that was there, or is so old that nobody knows.
    pub(crate) fn check(&self, index: u64) -> Result<(), Error> {
        if index > self.highest {
            return Ok(());
        }
        let (block, bit) = place(index);
        if self.highest - index >= REACH || self.blocks[block] & bit != 0 {
            return Err(Error::Replayed);
        }
        Ok(())
    }

    /// Takes note of an index that was checked.
    pub(crate) fn accept(&mut self, index: u64) {
        if index > self.highest {
            let (from, to) = (self.highest / 64, index / 64);
            for block in (from + 1..=to).take(BLOCKS) {
                self.blocks[(block % BLOCKS as u64) as usize] = 0;
            }
            self.highest = index;
        }
        self.mark(index);
    }

    fn mark(&mut self, index: u64) {
        let (block, bit) = place(index);
        self.blocks[block] |= bit;
    }
}

/// How far behind the highest index a packet may be.
pub(crate) const REACH: u64 = 64 * (BLOCKS as u64 - 1);

const BLOCKS: usize = 16;
const HALF: i32 = 1 << 15;

/// Block of the ring, and bit in it.
fn place(index: u64) -> (usize, u64) {
    ((index / 64) as usize % BLOCKS, 1 << (index % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn rfc3711_3_3_1_the_index_nearest_to_the_highest_is_taken() {
        let at = |highest, sequence| Window::starting_at(highest).estimate(sequence);
        assert_eq!(at(10, 11), 11);
        assert_eq!(at(0xfff0, 5), 0x1_0005);
        assert_eq!(at(0x1_0005, 0xfff0), 0xfff0);
        assert_eq!(at(0x5_8000, 0x0001), 0x5_0001);
        assert_eq!(at(0x5_8000, 0xffff), 0x5_ffff);
        assert_eq!(at(0x5_9000, 0x0fff), 0x6_0fff);
        // Before the first turn there is no turn to go back to.
        assert_eq!(at(5, 0xfff0), 0xfff0);
    }

    #[test]
    fn what_is_older_than_the_reach_is_refused() {
        let mut window = Window::starting_at(0);
        window.accept(REACH);
        assert_eq!(window.check(0), Err(Error::Replayed));
        assert_eq!(window.check(1), Ok(()));
    }

    proptest! {
        #[test]
        fn rfc3711_3_3_2_no_index_is_taken_twice_and_no_fresh_one_refused(
            steps in prop::collection::vec((0u64..2500, any::<bool>()), 1..400)
        ) {
            let start = 1 << 20;
            let mut window = Window::starting_at(start);
            let mut seen = BTreeSet::from([start]);
            for (step, forward) in steps {
                let highest = *seen.last().unwrap();
                let index = if forward { highest + step } else { highest - step };
                let known = seen.contains(&index) || highest.saturating_sub(index) >= REACH;
                prop_assert_eq!(window.check(index).is_err(), known, "{}", index);
                if !known {
                    window.accept(index);
                    seen.insert(index);
                }
            }
            prop_assert_eq!(window.highest, *seen.last().unwrap());
        }
    }
}
