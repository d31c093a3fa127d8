//! What two agents know of each other before they exchange checks.

use std::fmt;

use zeroize::Zeroizing;

use crate::candidate::is_ice_char;
use crate::stun::attribute::USERNAME;
use crate::stun::{BINDING, Class, Message};

/// User fragment and password of one session: `a=ice-ufrag` and `a=ice-pwd`.
///
/// The password is wiped when it goes, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    ufrag: String,
    password: Zeroizing<String>,
}

/// They can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `a=ice-ufrag` is not 4 to 256 letters, digits, `+` and `/`.
    #[error("the user fragment is malformed")]
    Ufrag,
    /// `a=ice-pwd` is not 22 to 256 letters, digits, `+` and `/`.
    #[error("the password is malformed")]
    Password,
}

impl Credentials {
    /// Reads the values of `a=ice-ufrag` and `a=ice-pwd`.
    ///
    /// # Errors
    /// If one has not its form.
    ///
    /// # Source
    /// RFC 8839 §5.4.
    pub fn parse(ufrag: &str, password: &str) -> Result<Self, Error> {
        let fits = |text: &str, least| {
            // Hyphen, underscore and equals sign are no ice-char, yet some write them.
            let used = |byte| is_ice_char(byte) || matches!(byte, b'-' | b'_' | b'=');
            (least..=256).contains(&text.len()) && text.bytes().all(used)
        };
        if !fits(ufrag, 4) {
            return Err(Error::Ufrag);
        }
        if !fits(password, 22) {
            return Err(Error::Password);
        }
        Ok(Self {
            ufrag: ufrag.to_owned(),
            password: Zeroizing::new(password.to_owned()),
        })
    }

    /// Credentials of our own. `tag` says whose they are: many sessions share a port, and a check names
    /// the user fragment that it is for. `entropy` comes from a generator that nobody can guess.
    ///
    /// # Source
    /// RFC 8445 §5.3: at least 24 random bits in the user fragment, 128 in the password.
    #[must_use]
    pub fn mint(tag: u64, entropy: [u8; 24]) -> Self {
        let entropy = Zeroizing::new(entropy);
        let mut ufrag = String::with_capacity(TAG + 8);
        encode(&tag.to_be_bytes(), &mut ufrag);
        encode(&entropy[..6], &mut ufrag);
        let mut password = Zeroizing::new(String::with_capacity(24));
        encode(&entropy[6..], &mut password);
        Self { ufrag, password }
    }

    /// What they are called.
    #[must_use]
    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// What only the two agents know.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Credentials");
        shown.field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// The tag in a user fragment that [`Credentials::mint`] made.
#[must_use]
pub fn tag_of(ufrag: &str) -> Option<u64> {
    let (tag, rest) = ufrag.as_bytes().split_first_chunk::<TAG>()?;
    if rest.len() != 8 || !rest.iter().copied().all(is_ice_char) {
        return None;
    }
    decode(tag)
}

/// Whom a check is for: the receiver's user fragment in a Binding request, by which the session is found
/// before anything else is looked at.
///
/// # Source
/// RFC 8445 §7.2.2: USERNAME is the receiver's user fragment, a colon, and the sender's.
#[must_use]
pub fn receiver_of(datagram: &[u8]) -> Option<&str> {
    let message = Message::parse(datagram).ok()?;
    if message.class() != Class::Request || message.method() != BINDING {
        return None;
    }
    let (receiver, _) = message.text(USERNAME)?.split_once(':')?;
    Some(receiver)
}

/// Six bits a character, as in Base64, whose alphabet happens to be that of ICE; no padding.
fn encode(octets: &[u8], out: &mut String) {
    for chunk in octets.chunks(3) {
        let mut bits = [0; 4];
        bits[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(bits);
        for digit in 0..=chunk.len() {
            out.push(char::from(
                ALPHABET[(bits >> (18 - 6 * digit) & 63) as usize],
            ));
        }
    }
}

/// Eight octets out of eleven characters.
fn decode(characters: &[u8; TAG]) -> Option<u64> {
    let bits = characters.iter().try_fold(0_u128, |bits, character| {
        let digit = ALPHABET.iter().position(|letter| letter == character)?;
        Some(bits << 6 | digit as u128)
    })?;
    // 66 bits, of which the last two are padding.
    (bits & 3 == 0).then_some((bits >> 2) as u64)
}

/// Characters of a tag.
const TAG: usize = 11;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8445_5_3_minted_credentials_are_well_formed_and_say_whose_they_are() {
        for tag in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            let minted = Credentials::mint(tag, [0x5a; 24]);
            let read = Credentials::parse(minted.ufrag(), minted.password()).unwrap();
            assert_eq!(read, minted);
            assert_eq!(tag_of(minted.ufrag()), Some(tag));
        }
        for foreign in [
            "abcd",
            "",
            "AAAAAAAAAAAAAAAAAA-",
            "AAAAAAAAAABAAAAAAAA",
            "ééééééééééé",
        ] {
            assert_eq!(tag_of(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn rfc8839_5_4_short_ones_are_refused() {
        let password = "0123456789012345678901";
        assert_eq!(Credentials::parse("abc", password), Err(Error::Ufrag));
        assert_eq!(Credentials::parse("ab:d", password), Err(Error::Ufrag));
        assert_eq!(
            Credentials::parse("abcd", &password[1..]),
            Err(Error::Password)
        );
        for ufrag in ["abcd", "a-b_c="] {
            assert!(Credentials::parse(ufrag, password).is_ok());
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let minted = Credentials::mint(1, [1; 24]);
        assert!(!format!("{minted:?}").contains(minted.password()));
    }
}
