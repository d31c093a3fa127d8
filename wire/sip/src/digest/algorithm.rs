//! The hashes.

use std::fmt;

use md5::Md5;
use sha2::digest::Update;
use sha2::{Digest, Sha256, Sha512_256};

use super::DigestError;

/// A hash algorithm for digest authentication.
///
/// # Source
/// RFC 7616 §6.1, RFC 8760 §2
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// MD5: weak, but the only one that every phone knows.
    #[default]
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-512/256: SHA-512 with its own start, cut to 256 bits.
    Sha512_256,
}

impl Algorithm {
    /// All algorithms.
    pub const ALL: [Self; 3] = [Self::Md5, Self::Sha256, Self::Sha512_256];

    /// The name in the `algorithm` parameter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
            Self::Sha512_256 => "SHA-512-256",
        }
    }

    /// The algorithm of this name, compared without case.
    ///
    /// # Errors
    /// If it is none of ours.
    pub fn parse(name: &str) -> Result<Self, DigestError> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(name))
            .ok_or(DigestError::Algorithm)
    }

    /// Hashes `user:realm:password`: what a server may keep instead of the password. Who has it can
    /// answer challenges of this realm, so it is a secret too.
    #[must_use]
    pub fn ha1(self, user: &str, realm: &str, password: &str) -> Ha1 {
        let mut hash = Hasher::new(self);
        hash.join(&[user.as_bytes(), realm.as_bytes(), password.as_bytes()]);
        Ha1 {
            algorithm: self,
            hex: hash.finish().hex(),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The hash of a user's name, realm and password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ha1 {
    pub(super) algorithm: Algorithm,
    pub(super) hex: Hex,
}

impl Ha1 {
    /// The algorithm that it was made with; it can only verify credentials of the same one.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl fmt::Debug for Ha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ha1({})", self.algorithm)
    }
}

/// One of the hash functions at work.
pub(super) enum Hasher {
    Md5(Md5),
    Sha256(Sha256),
    Sha512_256(Sha512_256),
}

impl Hasher {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Md5 => Self::Md5(Md5::new()),
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512_256 => Self::Sha512_256(Sha512_256::new()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(hash) => Update::update(hash, bytes),
            Self::Sha256(hash) => Update::update(hash, bytes),
            Self::Sha512_256(hash) => Update::update(hash, bytes),
        }
    }

    /// Hashes the parts with colons between them.
    pub(super) fn join(&mut self, parts: &[&[u8]]) {
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                self.update(b":");
            }
            self.update(part);
        }
    }

    pub(super) fn finish(self) -> Hash {
        let mut bytes = [0; 32];
        let length = match self {
            Self::Md5(hash) => {
                bytes[..16].copy_from_slice(&hash.finalize());
                16
            }
            Self::Sha256(hash) => {
                bytes.copy_from_slice(&hash.finalize());
                32
            }
            Self::Sha512_256(hash) => {
                bytes.copy_from_slice(&hash.finalize());
                32
            }
        };
        Hash { bytes, length }
    }
}

/// A finished hash.
pub(super) struct Hash {
    bytes: [u8; 32],
    length: usize,
}

impl Hash {
    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Lower-case hexadecimal, the form in which hashes are hashed again.
    pub(super) fn hex(&self) -> Hex {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 64];
        for (byte, pair) in self.as_bytes().iter().zip(digits.chunks_exact_mut(2)) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        Hex {
            digits,
            length: self.length * 2,
        }
    }
}

/// A hash in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Hex {
    digits: [u8; 64],
    length: usize,
}

impl Hex {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.digits[..self.length]
    }

    pub(super) fn as_str(&self) -> &str {
        // Hexadecimal digits are ASCII.
        std::str::from_utf8(self.as_bytes()).unwrap_or("")
    }

    /// Compares with what a peer sent, in time that does not depend on where they differ. Either
    /// case of digits will do.
    pub(super) fn matches(&self, sent: &str) -> bool {
        let (ours, sent) = (self.as_bytes(), sent.as_bytes());
        let differing = ours
            .iter()
            .zip(sent)
            .fold(0, |acc, (a, b)| acc | (a ^ b.to_ascii_lowercase()));
        ours.len() == sent.len() && std::hint::black_box(differing) == 0
    }
}
