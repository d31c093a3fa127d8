//! Keys in the description: `a=crypto` lines (RFC 4568).

use std::fmt::{self, Write as _};

use zeroize::Zeroize as _;

/// Where random values come from: this crate has none of its own.
pub trait Random {
    /// Fills `bytes` so that nobody can guess them.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// A cipher and a tag length.
///
/// # Source
/// RFC 4568 §6.2, RFC 6188 §4, RFC 7714 §14.2
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// `AEAD_AES_256_GCM`
    AeadAes256Gcm,
    /// `AEAD_AES_128_GCM`
    AeadAes128Gcm,
    /// `AES_256_CM_HMAC_SHA1_80`
    Aes256CmSha1_80,
    /// `AES_192_CM_HMAC_SHA1_80`
    Aes192CmSha1_80,
    /// `AES_CM_128_HMAC_SHA1_80`
    Aes128CmSha1_80,
    /// `AES_256_CM_HMAC_SHA1_32`
    Aes256CmSha1_32,
    /// `AES_192_CM_HMAC_SHA1_32`
    Aes192CmSha1_32,
    /// `AES_CM_128_HMAC_SHA1_32`
    Aes128CmSha1_32,
}

impl Suite {
    /// All suites, the strongest first; short tags last.
    pub const ALL: [Self; 8] = [
        Self::AeadAes256Gcm,
        Self::AeadAes128Gcm,
        Self::Aes256CmSha1_80,
        Self::Aes192CmSha1_80,
        Self::Aes128CmSha1_80,
        Self::Aes256CmSha1_32,
        Self::Aes192CmSha1_32,
        Self::Aes128CmSha1_32,
    ];

    /// The suite's name in `a=crypto`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::Aes256CmSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Self::Aes192CmSha1_80 => "AES_192_CM_HMAC_SHA1_80",
            Self::Aes128CmSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::Aes256CmSha1_32 => "AES_256_CM_HMAC_SHA1_32",
            Self::Aes192CmSha1_32 => "AES_192_CM_HMAC_SHA1_32",
            Self::Aes128CmSha1_32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    /// The suite of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let same = |suite: &Self| suite.name().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(same)
    }

    /// Octets of master key and master salt together.
    #[must_use]
    pub const fn key_length(self) -> usize {
        match self {
            Self::AeadAes256Gcm => 32 + 12,
            Self::AeadAes128Gcm => 16 + 12,
            Self::Aes256CmSha1_80 | Self::Aes256CmSha1_32 => 32 + 14,
            Self::Aes192CmSha1_80 | Self::Aes192CmSha1_32 => 24 + 14,
            Self::Aes128CmSha1_80 | Self::Aes128CmSha1_32 => 16 + 14,
        }
    }
}

/// A master key and, behind it, its salt. Wiped when dropped; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    bytes: [u8; Self::LONGEST],
    length: u8,
}

impl Key {
    const LONGEST: usize = 46;

    /// A new key for a suite.
    #[must_use]
    pub fn generate(suite: Suite, random: &mut dyn Random) -> Self {
        let mut key = Self {
            bytes: [0; Self::LONGEST],
            length: suite.key_length() as u8,
        };
        random.fill(&mut key.bytes[..suite.key_length()]);
        key
    }

    /// Key and salt, as many octets as [`Suite::key_length`] says.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Reads base64; its padding may be missing. None: it is not as long as the suite's keys are.
    fn parse(suite: Suite, text: &str) -> Option<Self> {
        let length = suite.key_length();
        let digits = text.trim_end_matches('=').as_bytes();
        if digits.len() != (length * 8).div_ceil(6) {
            return None;
        }
        let mut key = Self {
            bytes: [0; Self::LONGEST],
            length: length as u8,
        };
        let (mut bits, mut held, mut at) = (0_u32, 0, 0);
        for &digit in digits {
            bits = bits << 6 | u32::from(value_of(digit)?);
            held += 6;
            if held >= 8 {
                held -= 8;
                *key.bytes.get_mut(at)? = (bits >> held) as u8;
                at += 1;
            }
        }
        Some(key)
    }

    fn encode(&self, out: &mut String) {
        for chunk in self.as_bytes().chunks(3) {
            let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
            let bits = at(0) << 16 | at(1) << 8 | at(2);
            for place in 0..4 {
                let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
                out.push(if place > chunk.len() {
                    '='
                } else {
                    char::from(digit)
                });
            }
        }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const fn value_of(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// What one `a=crypto` line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crypto {
    /// Names the line; the answer repeats it.
    pub tag: u32,
    /// The suite.
    pub suite: Suite,
    /// The key with which whoever wrote the line protects what it sends.
    pub key: Key,
}

impl Crypto {
    /// Reads the value of `a=crypto`. None: we cannot use it. That is so for unknown suites, several
    /// keys, keys that packets name (MKI), and session parameters that we would have to obey.
    ///
    /// # Source
    /// RFC 4568 §4, §6.1, §6.3
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let mut fields = value.split_ascii_whitespace();
        let tag = fields.next().filter(|tag| tag.len() <= 9)?.parse().ok()?;
        let suite = Suite::parse(fields.next()?)?;
        let (method, parameters) = fields.next()?.split_once(':')?;
        let mut parameters = parameters.split('|');
        let key = Key::parse(suite, parameters.next()?)?;
        // What is left is a lifetime, which re-keying would be for, or a key's name.
        let named = parameters.any(|parameter| parameter.contains([':', ';']));
        let obeyed = fields.all(|field| field.starts_with('-') || field.starts_with("WSH="));
        let usable = method.eq_ignore_ascii_case("inline") && !named && obeyed;
        usable.then_some(Self { tag, suite, key })
    }

    /// Appends the whole line; `lifetime`: with the number of packets that the key lasts.
    pub(super) fn encode(&self, lifetime: bool, out: &mut String) {
        let _ = write!(out, "a=crypto:{} {} inline:", self.tag, self.suite.name());
        self.key.encode(out);
        out.push_str(if lifetime { "|2^31\r\n" } else { "\r\n" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Count(u8);

    impl Random for Count {
        fn fill(&mut self, bytes: &mut [u8]) {
            for byte in bytes {
                *byte = self.0;
                self.0 = self.0.wrapping_add(37);
            }
        }
    }

    #[test]
    fn rfc4568_6_1_a_line_reads_as_it_is_written() {
        for (tag, suite) in (1..).zip(Suite::ALL) {
            let key = Key::generate(suite, &mut Count(tag as u8));
            assert_eq!(key.as_bytes().len(), suite.key_length());
            let line = Crypto { tag, suite, key };
            let mut text = String::new();
            line.encode(false, &mut text);
            let value = text.trim_end().strip_prefix("a=crypto:").unwrap();
            assert_eq!(Crypto::parse(value), Some(line.clone()), "{value}");
            assert_eq!(
                Crypto::parse(value.trim_end_matches('=')),
                Some(line.clone())
            );
            let mut lasting = String::new();
            line.encode(true, &mut lasting);
            assert_eq!(lasting.trim_end(), format!("a=crypto:{value}|2^31"));
            assert_eq!(Crypto::parse(&lasting.trim_end()[9..]), Some(line));
            assert_eq!(Crypto::parse(&value[..value.len() - 4]), None);
        }
    }

    /// The example of RFC 4568 §10.1.
    #[test]
    fn rfc4568_6_3_what_we_cannot_obey_is_no_line() {
        let key = "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
        let with = |rest: &str| {
            let value = format!("1 AES_CM_128_HMAC_SHA1_80 {key}{rest}");
            Crypto::parse(&value).is_some()
        };
        assert!(with("") && with("|2^20") && with(" WSH=64") && with(" -x=1"));
        assert!(!with("|2^20|1:4") && !with("|1:4") && !with(" FEC_ORDER=FEC_SRTP"));
        assert!(!with(" UNENCRYPTED_SRTP") && !with(" KDR=1") && !with(";inline:abc"));
        assert_eq!(Crypto::parse("x AES_CM_128_HMAC_SHA1_80 inline:a"), None);
        assert_eq!(Crypto::parse("1 F8_128_HMAC_SHA1_80 inline:a"), None);
    }

    #[test]
    fn keys_are_not_shown() {
        let key = Key::generate(Suite::Aes128CmSha1_80, &mut Count(1));
        assert_eq!(format!("{key:?}"), "Key");
    }
}
