//! Keys, and what is computed over a message.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};
use md5::{Digest, Md5};

use super::HEADER;
use super::message::SIGNATURE;

/// The key of MESSAGE-INTEGRITY. Its octets are wiped when it goes.
#[derive(Clone)]
pub struct Key(hmac::Key);

impl Key {
    /// Of a password that holds for one session only, as in ICE.
    ///
    /// # Source
    /// RFC 8489 §9.1.1, §14.5. The password is used as it is, without OpaqueString: those of ICE
    /// are ASCII (RFC 8839 §5.4).
    #[must_use]
    pub fn short_term(password: &str) -> Self {
        Self::new(password.as_bytes())
    }

    /// Of a user's password, as in TURN.
    ///
    /// # Source
    /// RFC 8489 §9.2.2.
    #[must_use]
    pub fn long_term(user: &str, realm: &str, password: &str) -> Self {
        let mut digest = Md5::new();
        for part in [user, ":", realm, ":", password] {
            digest.update(part);
        }
        Self::new(&digest.finalize())
    }

    fn new(octets: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, octets))
    }

    /// The signature of a message up to `end`, where MESSAGE-INTEGRITY begins. The length in the header
    /// counts as if the message ended with it.
    pub(super) fn signature(&self, message: &[u8], end: usize) -> [u8; 20] {
        let length = (end + SIGNATURE - HEADER) as u16;
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&message[..2]);
        context.update(&length.to_be_bytes());
        context.update(&message[4..end]);
        tag(context.sign())
    }

    pub(super) fn verify(&self, message: &[u8], end: usize, signature: &[u8]) -> bool {
        let expected = self.signature(message, end);
        constant_time::verify_slices_are_equal(&expected, signature).is_ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

fn tag(tag: hmac::Tag) -> [u8; 20] {
    let mut octets = [0; 20];
    octets.copy_from_slice(tag.as_ref());
    octets
}

/// CRC-32 of the parts in a row, as of ITU V.42.
pub(crate) fn crc32(parts: &[&[u8]]) -> u32 {
    let octets = parts.iter().flat_map(|part| part.iter());
    !octets.fold(u32::MAX, |crc, octet| {
        CRC[((crc ^ u32::from(*octet)) & 0xff) as usize] ^ crc >> 8
    })
}

const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut place = 0;
    while place < 256 {
        let mut crc = place as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
            bit += 1;
        }
        table[place] = crc;
        place += 1;
    }
    table
};
