//! HMAC-SHA1 over a packet and the 32-bit counter that follows it.

use std::hint::black_box;

use sha1::block_api::compress;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::derive::AUTHENTICATION_LEN;

/// A key whose inner and outer block have been hashed already: that saves two of six blocks for a
/// packet of 20 ms.
///
/// # Source
/// RFC 2104 §2, RFC 3711 §4.2.1
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Hmac {
    inner: [u32; 5],
    outer: [u32; 5],
}

impl Hmac {
    pub(crate) fn new(key: &[u8; AUTHENTICATION_LEN]) -> Self {
        Self {
            inner: keyed(key, 0x36),
            outer: keyed(key, 0x5c),
        }
    }

    /// Reads what the next packet needs.
    pub(crate) fn fetch(&self) {
        // Not the words themselves, which would stay behind on the stack.
        black_box(self.inner[0] == self.outer[4]);
    }

    /// The digest of `message` and `counter` behind it.
    pub(crate) fn digest(&self, message: &[u8], counter: u32) -> [u8; DIGEST_LEN] {
        let mut state = self.inner;
        let (blocks, rest) = message.as_chunks::<BLOCK>();
        compress(&mut state, blocks);
        let mut last = [0; 2 * BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        last[rest.len()..rest.len() + 4].copy_from_slice(&counter.to_be_bytes());
        finish(&mut state, &mut last, rest.len() + 4, message.len() + 4);

        let mut last = [0; 2 * BLOCK];
        last[..DIGEST_LEN].copy_from_slice(&encode(&state));
        let mut state = self.outer;
        finish(&mut state, &mut last, DIGEST_LEN, DIGEST_LEN);
        encode(&state)
    }

    /// Whether `tag` is the beginning of the digest, in time that doesn't tell where they differ.
    pub(crate) fn verify(&self, message: &[u8], counter: u32, tag: &[u8]) -> bool {
        let digest = self.digest(message, counter);
        digest
            .get(..tag.len())
            .is_some_and(|start| start.ct_eq(tag).into())
    }
}

const DIGEST_LEN: usize = 20;
const BLOCK: usize = 64;
/// SHA-1's initial state (FIPS 180-4 §5.3.1).
const INITIAL: [u32; 5] = [
    0x6745_2301,
    0xefcd_ab89,
    0x98ba_dcfe,
    0x1032_5476,
    0xc3d2_e1f0,
];

/// The state after the block of the key, each byte of which is changed by `pad`.
fn keyed(key: &[u8; AUTHENTICATION_LEN], pad: u8) -> [u32; 5] {
    let mut block = [pad; BLOCK];
    for (byte, key) in block.iter_mut().zip(key) {
        *byte ^= key;
    }
    let mut state = INITIAL;
    compress(&mut state, &[block]);
    block.zeroize();
    state
}

/// Hashes the last `len` bytes of a message of `total` bytes that follows a block of key: they are
/// in `last`, which is zero behind them, and at most 68.
fn finish(state: &mut [u32; 5], last: &mut [u8; 2 * BLOCK], len: usize, total: usize) {
    last[len] = 0x80;
    let end = if len < BLOCK - 8 { BLOCK } else { 2 * BLOCK };
    let bits = 8 * (BLOCK + total) as u64;
    last[end - 8..end].copy_from_slice(&bits.to_be_bytes());
    compress(state, last[..end].as_chunks::<BLOCK>().0);
}

fn encode(state: &[u32; 5]) -> [u8; DIGEST_LEN] {
    let mut bytes = [0; DIGEST_LEN];
    for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::hmac;

    #[test]
    fn equals_another_implementation_for_all_lengths() {
        let key = std::array::from_fn(|n| n as u8 ^ 0xa5);
        let ours = Hmac::new(&key);
        let theirs = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
        let message: Vec<u8> = (0..400).map(|n| n as u8).collect();
        for len in 0..message.len() {
            let mut context = hmac::Context::with_key(&theirs);
            context.update(&message[..len]);
            context.update(&0x0102_0304u32.to_be_bytes());
            let digest = context.sign();
            assert_eq!(
                ours.digest(&message[..len], 0x0102_0304),
                digest.as_ref(),
                "{len}"
            );
            assert!(ours.verify(&message[..len], 0x0102_0304, &digest.as_ref()[..10]));
            assert!(!ours.verify(&message[..len], 0x0102_0305, &digest.as_ref()[..10]));
        }
    }

    #[test]
    fn a_tag_longer_than_the_digest_is_wrong() {
        assert!(!Hmac::new(&[0; 20]).verify(b"", 0, &[0; 21]));
    }
}
