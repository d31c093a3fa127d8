//! The name of a certificate in SDP.

use std::fmt;

use aws_lc_rs::digest;

/// A hash of a certificate: the value of `a=fingerprint`.
///
/// # Source
/// RFC 8122 §5
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    hash: Hash,
    /// As many as the hash has; zeros follow.
    bytes: [u8; MAX_LEN],
}

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    #[must_use]
    pub fn of(hash: Hash, certificate: &[u8]) -> Self {
        let digest = digest::digest(hash.algorithm(), certificate);
        let mut bytes = [0; MAX_LEN];
        bytes[..digest.as_ref().len()].copy_from_slice(digest.as_ref());
        Self { hash, bytes }
    }

    /// Reads the value of `a=fingerprint`: `None` if it is malformed, or the hash is unknown or as
    /// weak as MD5.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let (hash, digits) = value.trim().split_once(' ')?;
        let hash = Hash::from_name(hash)?;
        let mut bytes = [0; MAX_LEN];
        let mut places = bytes[..hash.len()].iter_mut();
        for pair in digits.trim().split(':') {
            let digits = pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
            *places.next().filter(|_| digits)? = u8::from_str_radix(pair, 16).ok()?;
        }
        places.next().is_none().then_some(Self { hash, bytes })
    }

    /// The hash function.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Whether this is the fingerprint of a certificate in DER.
    #[must_use]
    pub fn matches(&self, certificate: &[u8]) -> bool {
        Self::of(self.hash, certificate) == *self
    }
}

impl fmt::Display for Fingerprint {
    /// Writes the value of `a=fingerprint`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hash.name())?;
        for (n, byte) in self.bytes[..self.hash.len()].iter().enumerate() {
            write!(f, "{}{byte:02X}", if n == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A hash function for certificates. We send SHA-256 and understand all of these.
///
/// # Source
/// RFC 8122 §5
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Hash {
    /// SHA-1: weak, but some old gateways have nothing else.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    const ALL: [Self; 5] = [
        Self::Sha1,
        Self::Sha224,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
    ];

    /// The name in SDP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha-1",
            Self::Sha224 => "sha-224",
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|hash| hash.name().eq_ignore_ascii_case(name))
    }

    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha224 => &digest::SHA224,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }

    fn len(self) -> usize {
        self.algorithm().output_len()
    }
}

const MAX_LEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8122_5_what_is_written_is_read_again() {
        for hash in Hash::ALL {
            let fingerprint = Fingerprint::of(hash, b"certificate");
            let text = fingerprint.to_string();
            assert_eq!(text.len(), hash.name().len() + 3 * hash.len());
            assert_eq!(Fingerprint::parse(&text), Some(fingerprint));
            assert_eq!(Fingerprint::parse(&text.to_lowercase()), Some(fingerprint));
            assert!(fingerprint.matches(b"certificate"));
            assert!(!fingerprint.matches(b"another"));
        }
    }

    #[test]
    fn rfc8122_5_what_is_not_a_fingerprint() {
        let text = Fingerprint::of(Hash::Sha1, b"certificate").to_string();
        assert_eq!(Fingerprint::parse(&text[..text.len() - 3]), None);
        assert_eq!(Fingerprint::parse(&format!("{text}:00")), None);
        assert_eq!(Fingerprint::parse(&text.replace(':', " ")), None);
        assert_eq!(Fingerprint::parse(&text.replacen(':', ":+", 1)), None);
        for text in ["", "sha-256", "sha-256 ", "md5 00:11", "sha-256 äö:ü"] {
            assert_eq!(Fingerprint::parse(text), None, "{text}");
        }
    }
}
