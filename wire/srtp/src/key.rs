//! The master key.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{Error, Profile};

/// Master key and master salt of one direction. Wiped when dropped; shows nothing when printed;
/// compared in constant time.
///
/// # Source
/// RFC 3711 §3.2.1
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey {
    bytes: [u8; MAX_LEN],
    key_len: u8,
    salt_len: u8,
}

impl MasterKey {
    /// Takes a key of 16, 24 or 32 bytes and a salt of 12 or 14.
    ///
    /// # Errors
    /// [`Error::KeyLength`] for other lengths.
    pub fn new(key: &[u8], salt: &[u8]) -> Result<Self, Error> {
        if !matches!((key.len(), salt.len()), (16 | 24 | 32, 12 | 14)) {
            return Err(Error::KeyLength);
        }
        let mut bytes = [0; MAX_LEN];
        bytes[..key.len()].copy_from_slice(key);
        bytes[key.len()..key.len() + salt.len()].copy_from_slice(salt);
        Ok(Self {
            bytes,
            key_len: key.len() as u8,
            salt_len: salt.len() as u8,
        })
    }

    /// Takes key and salt of `profile`, one after the other: as SDES writes them, and as good as
    /// any random bytes for a key of our own.
    ///
    /// # Errors
    /// [`Error::KeyLength`] if there are not [`MasterKey::len_for`] bytes.
    pub fn parse(profile: Profile, bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() != Self::len_for(profile) {
            return Err(Error::KeyLength);
        }
        let (key, salt) = bytes.split_at(profile.key_len());
        Self::new(key, salt)
    }

    /// How many bytes of key and salt `profile` needs; at most 46.
    #[must_use]
    pub const fn len_for(profile: Profile) -> usize {
        profile.key_len() + profile.salt_len()
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.bytes[..usize::from(self.key_len)]
    }

    /// The salt.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.as_bytes()[usize::from(self.key_len)..]
    }

    /// Key and salt, one after the other.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.key_len) + usize::from(self.salt_len)]
    }

    /// Whether the lengths are those of `profile`.
    #[must_use]
    pub fn fits(&self, profile: Profile) -> bool {
        self.key().len() == profile.key_len() && self.salt().len() == profile.salt_len()
    }
}

impl PartialEq for MasterKey {
    fn eq(&self, other: &Self) -> bool {
        self.key_len == other.key_len && self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Eq for MasterKey {}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

const MAX_LEN: usize = 32 + 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_checked_and_nothing_is_printed() {
        let key = MasterKey::parse(Profile::Aes192CmSha1_80, &[5; 38]).unwrap();
        assert_eq!((key.key(), key.salt()), (&[5; 24][..], &[5; 14][..]));
        assert!(key.fits(Profile::Aes192CmSha1_32));
        assert!(!key.fits(Profile::Aes256CmSha1_80));
        assert_eq!(format!("{key:?}"), "MasterKey(..)");
        let short = MasterKey::parse(Profile::Aes192CmSha1_80, &[5; 37]);
        assert_eq!(short, Err(Error::KeyLength));
        assert_eq!(MasterKey::new(&[0; 15], &[0; 14]), Err(Error::KeyLength));
    }

    #[test]
    fn equal_is_what_has_the_same_bytes_in_the_same_places() {
        let key = MasterKey::new(&[1; 16], &[1; 14]).unwrap();
        assert_eq!(key, key.clone());
        assert_ne!(key, MasterKey::new(&[1; 16], &[2; 14]).unwrap());
        assert_ne!(key, MasterKey::new(&[1; 16], &[1; 12]).unwrap());
    }
}
