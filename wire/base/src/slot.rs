//! Virtual slots: the unit of sharding.

use std::fmt;

/// One of the 256 virtual slots. A call, or the bindings of a user, live by value in one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u8);

impl Slot {
    /// The slot with this number.
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// Position in an array of [`SLOTS`] entries.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The slot's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The slot of a key that we did not mint: the Call-ID of a first request, the user of a registration.
    #[must_use]
    pub fn of_key(key: &[u8]) -> Self {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for &byte in key {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Self((hash ^ (hash >> 29) ^ (hash >> 47)) as u8)
    }

    /// The slot inside a token that [`Mint::token`](crate::Mint::token) made; `None` if the token
    /// cannot be one of ours.
    #[must_use]
    pub fn of_token(token: &[u8]) -> Option<Self> {
        let [high, low, b'-', rest @ ..] = token else {
            return None;
        };
        if rest.len() < 16 {
            return None;
        }
        Some(Self(nibble(*high)? << 4 | nibble(*low)?))
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

/// How many slots there are.
pub const SLOTS: usize = 256;

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_spread_over_all_slots() {
        let mut seen = [0u32; SLOTS];
        for i in 0..25_600 {
            seen[Slot::of_key(format!("call-{i}@host").as_bytes()).index()] += 1;
        }
        assert!(seen.iter().all(|&n| n > 40 && n < 200), "{seen:?}");
    }

    #[test]
    fn foreign_tokens_have_no_slot() {
        for token in [
            "",
            "a7",
            "a7-short",
            "A7-0123456789abcdef",
            "a70123456789abcdef0",
        ] {
            assert_eq!(Slot::of_token(token.as_bytes()), None, "{token}");
        }
    }
}
