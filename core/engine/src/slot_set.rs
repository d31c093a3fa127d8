//! A set of slots in 32 octets.

use base::Slot;

/// Some of the 256 slots.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct SlotSet([u64; 4]);

impl SlotSet {
    pub(crate) fn insert(&mut self, slot: Slot) {
        self.0[slot.index() / 64] |= 1 << (slot.index() % 64);
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == [0; 4]
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Slot> {
        (0..=255)
            .map(Slot::new)
            .filter(move |slot| self.0[slot.index() / 64] >> (slot.index() % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in() {
        let mut set = SlotSet::default();
        for number in [0, 63, 64, 255, 63] {
            set.insert(Slot::new(number));
        }
        let numbers: Vec<u8> = set.iter().map(Slot::number).collect();
        assert_eq!(numbers, [0, 63, 64, 255]);
    }
}
