//! Keys in SDP: the value of `a=crypto`.
//!
//! ```
//! use srtp::sdes::Crypto;
//!
//! let line = "1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20";
//! let crypto = Crypto::parse(line)?;
//! assert_eq!(crypto.tag, 1);
//! # Ok::<(), srtp::sdes::Error>(())
//! ```

use base64ct::{Base64Unpadded, Encoding};
use zeroize::Zeroize;

use crate::{MasterKey, Profile};

/// One crypto line: a key that the one who wrote it will protect its packets with.
///
/// # Source
/// RFC 4568 §9.1, §9.2
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Crypto {
    /// By which the answer says which line of the offer it takes; at most nine digits.
    pub tag: u32,
    /// The crypto-suite.
    pub profile: Profile,
    /// Key and salt.
    pub key: MasterKey,
}

impl Crypto {
    /// Reads the value of an `a=crypto` line. The lifetime of the key is checked and not kept: our
    /// calls end before it.
    ///
    /// # Errors
    /// Whatever we can't or won't do. Another line of the same description may do; if none does,
    /// the stream can't be secured this way.
    pub fn parse(value: &str) -> Result<Self, Error> {
        let mut words = value.split_ascii_whitespace();
        let mut next = || words.next().ok_or(Error::Malformed);
        let tag = parse_tag(next()?)?;
        let profile = Profile::from_name(next()?).ok_or(Error::UnknownSuite)?;
        let key = parse_keys(profile, next()?)?;
        words.try_for_each(check_parameter)?;
        Ok(Self { tag, profile, key })
    }

    /// The value of the line, with the key in it.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut key = [0; MAX_BASE64];
        let text = Base64Unpadded::encode(self.key.as_bytes(), &mut key).unwrap_or_default();
        let padding = &"=="[..(4 - text.len() % 4) % 4];
        let line = format!(
            "{} {} inline:{text}{padding}",
            self.tag,
            self.profile.name()
        );
        key.zeroize();
        line
    }
}

/// Why a crypto line is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not of the form of a crypto line.
    #[error("malformed crypto line")]
    Malformed,
    /// A crypto-suite that we don't have.
    #[error("unknown crypto-suite")]
    UnknownSuite,
    /// The key is no Base64, or not as long as the suite's.
    #[error("the key does not fit the crypto-suite")]
    Key,
    /// More than one key, or a key with a master key identifier.
    #[error("several keys or a master key identifier (MKI) are not supported")]
    Mki,
    /// A lifetime of nothing, or of more packets than can be counted.
    #[error("lifetime of the key is out of range")]
    Lifetime,
    /// The packets would not be encrypted or not be authenticated.
    #[error("streams without encryption or authentication are refused")]
    Unprotected,
    /// A session parameter that must be understood and is not: key derivation rate, forward error
    /// correction, or a new one.
    #[error("session parameter is not supported")]
    Parameter,
}

/// Base64 of the longest key and salt, 46 bytes.
const MAX_BASE64: usize = 64;

fn parse_tag(word: &str) -> Result<u32, Error> {
    let digits = !word.is_empty() && word.len() <= 9 && word.bytes().all(|b| b.is_ascii_digit());
    let tag = word.parse().ok().filter(|_| digits);
    tag.ok_or(Error::Malformed)
}

/// `inline:` key and salt, `|` lifetime, `|` identifier.
///
/// # Source
/// RFC 4568 §6.1
fn parse_keys(profile: Profile, word: &str) -> Result<MasterKey, Error> {
    let (method, keys) = word.split_once(':').ok_or(Error::Malformed)?;
    if !method.eq_ignore_ascii_case("inline") {
        return Err(Error::Malformed);
    }
    if keys.contains(';') {
        return Err(Error::Mki);
    }
    let mut parts = keys.split('|');
    let key = parse_key(profile, parts.next().unwrap_or_default())?;
    for part in parts {
        if part.contains(':') {
            return Err(Error::Mki);
        }
        check_lifetime(part)?;
    }
    Ok(key)
}

fn parse_key(profile: Profile, text: &str) -> Result<MasterKey, Error> {
    let mut bytes = [0; MAX_BASE64 / 4 * 3];
    let key = Base64Unpadded::decode(text.trim_end_matches('='), &mut bytes)
        .map_err(|_| Error::Key)
        .and_then(|bytes| MasterKey::parse(profile, bytes).map_err(|_| Error::Key));
    bytes.zeroize();
    key
}

/// A number of packets, or a power of two.
///
/// # Source
/// RFC 4568 §6.1, §9.2
fn check_lifetime(text: &str) -> Result<(), Error> {
    let packets = match text.strip_prefix("2^") {
        Some(power) => power.parse().ok().and_then(|power| 1u64.checked_shl(power)),
        None => text.parse().ok(),
    };
    match packets {
        Some(1..=MAX_LIFETIME) => Ok(()),
        Some(_) => Err(Error::Lifetime),
        None => Err(Error::Malformed),
    }
}

const MAX_LIFETIME: u64 = 1 << 48;

/// A session parameter that changes nothing is allowed, as is one that says it may be ignored.
///
/// # Source
/// RFC 4568 §6.3
fn check_parameter(word: &str) -> Result<(), Error> {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    match name {
        "UNENCRYPTED_SRTP" | "UNENCRYPTED_SRTCP" | "UNAUTHENTICATED_SRTP" => {
            Err(Error::Unprotected)
        }
        "KDR" if value == "0" => Ok(()),
        // A hint for the replay window, which is large enough.
        "WSH" => Ok(()),
        _ if name.starts_with('-') => Ok(()),
        _ => Err(Error::Parameter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

    fn with(keys: &str) -> Result<Crypto, Error> {
        Crypto::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 {keys}"))
    }

    #[test]
    fn rfc4568_9_1_lines_of_phones() {
        let crypto = with(&format!("{KEY}|2^31")).unwrap();
        assert_eq!(crypto.profile, Profile::Aes128CmSha1_80);
        assert_eq!(crypto.key.key(), b"wDfvg&T+)xG7@fb5");
        assert_eq!(crypto.encode(), format!("1 AES_CM_128_HMAC_SHA1_80 {KEY}"));
        assert_eq!(
            with(&format!("{KEY}|1048576 WSH=128 KDR=0 -x=1")).unwrap(),
            crypto
        );
        assert_eq!(
            with(&format!("{KEY} UNAUTHENTICATED_SRTP")),
            Err(Error::Unprotected)
        );
    }

    #[test]
    fn rfc4568_6_1_padding_may_be_left_out() {
        let key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY3ODkwMTIzNA";
        for padding in ["", "=="] {
            let crypto = Crypto::parse(&format!("7 AES_192_CM_HMAC_SHA1_80 inline:{key}{padding}"));
            assert_eq!(crypto, Err(Error::Key));
        }
        let key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMg";
        for padding in ["", "=="] {
            let line = format!("7 AEAD_AES_128_GCM inline:{key}{padding}");
            let crypto = Crypto::parse(&line).unwrap();
            assert_eq!(
                crypto.encode(),
                format!("7 AEAD_AES_128_GCM inline:{key}==")
            );
        }
    }

    #[test]
    fn rfc4568_6_1_what_we_refuse_has_a_reason() {
        assert_eq!(with(&format!("{KEY}|2^20|1:4")), Err(Error::Mki));
        assert_eq!(with(&format!("{KEY}|1:4")), Err(Error::Mki));
        assert_eq!(
            with(&format!("{KEY}|2^20|1:4;{KEY}|2^20|2:4")),
            Err(Error::Mki)
        );
        assert_eq!(with(&format!("{KEY}|2^49")), Err(Error::Lifetime));
        assert_eq!(with(&format!("{KEY}|0")), Err(Error::Lifetime));
        assert_eq!(with(&format!("{KEY}|soon")), Err(Error::Malformed));
        assert_eq!(with("inline:AAAA"), Err(Error::Key));
        assert_eq!(with("inline:"), Err(Error::Key));
        assert_eq!(with("clear:AAAA"), Err(Error::Malformed));
        let suite = format!("1 F8_128_HMAC_SHA1_80 {KEY}");
        assert_eq!(Crypto::parse(&suite), Err(Error::UnknownSuite));
        let tag = format!("1234567890 AES_CM_128_HMAC_SHA1_80 {KEY}");
        assert_eq!(Crypto::parse(&tag), Err(Error::Malformed));
    }

    #[test]
    fn rfc4568_6_3_session_parameters() {
        for (parameter, error) in [
            ("UNENCRYPTED_SRTCP", Error::Unprotected),
            ("UNENCRYPTED_SRTP", Error::Unprotected),
            ("KDR=1", Error::Parameter),
            ("FEC_ORDER=FEC_SRTP", Error::Parameter),
            ("NEWS", Error::Parameter),
        ] {
            assert_eq!(
                with(&format!("{KEY} {parameter}")),
                Err(error),
                "{parameter}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_again(
            tag in 0u32..1_000_000_000,
            profile in prop::sample::select(&Profile::ALL[..]),
            bytes: [u8; 32],
            more: [u8; 14],
        ) {
            let bytes = [&bytes[..], &more].concat();
            let key = MasterKey::parse(profile, &bytes[..MasterKey::len_for(profile)]).unwrap();
            let crypto = Crypto { tag, profile, key };
            prop_assert_eq!(Crypto::parse(&crypto.encode()), Ok(crypto));
        }

        #[test]
        fn no_text_panics(text in "[ -~]{0,80}", tail in "\\PC{0,40}") {
            let _ = Crypto::parse(&text);
            let _ = with(&tail);
        }
    }
}
