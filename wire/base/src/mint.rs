//! Identifiers that we mint and a peer echoes.

use std::fmt;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::Slot;

/// Makes unguessable identifiers that carry their slot, from a seed: the same seed gives the same
/// identifiers, which is what replay and simulation need.
#[derive(Debug)]
pub struct Mint {
    slot: Slot,
    random: ChaCha8Rng,
}

impl Mint {
    /// A mint for one slot. `seed` comes from the operating system in service, from the test in a test.
    #[must_use]
    pub fn new(slot: Slot, mut seed: [u8; 32]) -> Self {
        seed[0] ^= slot.number();
        Self {
            slot,
            random: ChaCha8Rng::from_seed(seed),
        }
    }

    /// The slot whose identifiers this mint makes.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// A fresh token: two hexadecimal digits of the slot, a dash, 64 random bits in 16 digits.
    pub fn token(&mut self) -> Token {
        Token::new(self.slot, self.random.next_u64())
    }

    /// 32 random bits: a first CSeq, an SSRC, jitter.
    pub fn number(&mut self) -> u32 {
        self.random.next_u32()
    }

    /// 64 random bits.
    pub fn number64(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// A random number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.random.next_u32()) * u64::from(bound)) >> 32) as u32
    }
}

/// A minted identifier: tag, branch suffix, Call-ID, call id. Legal wherever SIP wants a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token([u8; 19]);

impl Token {
    /// The token of a slot with these bits.
    #[must_use]
    pub fn new(slot: Slot, mut bits: u64) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 19];
        text[0] = HEX[usize::from(slot.number() >> 4)];
        text[1] = HEX[usize::from(slot.number() & 15)];
        for digit in &mut text[3..] {
            *digit = HEX[(bits & 15) as usize];
            bits >>= 4;
        }
        Self(text)
    }

    /// The token whose text is `text`, if it has a minted token's form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 19] = text.as_bytes().try_into().ok()?;
        let hex = bytes[3..]
            .iter()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (hex && Slot::of_token(&bytes).is_some()).then_some(Self(bytes))
    }

    /// The token's bytes, all ASCII.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The token as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // A token is made of ASCII only, by construction.
        std::str::from_utf8(&self.0).unwrap_or("")
    }

    /// The bits that the token was made of.
    #[must_use]
    pub fn bits(&self) -> u64 {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => byte - b'0',
            letter => letter.wrapping_sub(b'a' - 10),
        };
        let digits = self.0[3..].iter().rev();
        digits.fold(0, |bits, byte| bits << 4 | u64::from(digit(*byte) & 15))
    }

    /// The slot that minted the token.
    #[must_use]
    pub fn slot(&self) -> Slot {
        // Both constructors write the slot first.
        Slot::of_token(&self.0).unwrap_or(Slot::new(0))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_its_slot_and_parses_back() {
        for slot in [0, 1, 0x7f, 0xff] {
            let token = Mint::new(Slot::new(slot), [3; 32]).token();
            assert_eq!(token.slot(), Slot::new(slot));
            assert_eq!(Token::parse(token.as_str()), Some(token));
        }
    }

    #[test]
    fn a_token_gives_its_bits_back() {
        for bits in [0, 1, u64::MAX, 0xfedc_ba98_7654_3210] {
            assert_eq!(Token::new(Slot::new(7), bits).bits(), bits);
        }
    }

    #[test]
    fn slots_with_one_seed_mint_different_tokens() {
        let a = Mint::new(Slot::new(1), [9; 32]).token();
        let b = Mint::new(Slot::new(2), [9; 32]).token();
        assert_ne!(a.as_bytes()[3..], b.as_bytes()[3..]);
    }

    #[test]
    fn below_stays_below() {
        let mut mint = Mint::new(Slot::new(0), [0; 32]);
        assert!((0..1000).all(|_| mint.below(10) < 10));
        assert_eq!(mint.below(0), 0);
    }
}
