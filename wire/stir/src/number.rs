//! Numbers as they are signed and compared.

use sip::{Scheme, Uri};

/// A number without anything that only makes it readable, and without the plus sign. `None`: it is no
/// telephone number.
///
/// # Source
/// RFC 8224 §8.3: what is left are digits, and the stars and hashes of numbers inside a network.
#[must_use]
pub fn canonical(number: &str) -> Option<String> {
    let number = number.strip_prefix('+').unwrap_or(number);
    let mut digits = String::with_capacity(number.len());
    for character in number.chars() {
        match character {
            '0'..='9' | '*' | '#' => digits.push(character),
            '-' | '.' | '(' | ')' | ' ' => {}
            _ => return None,
        }
    }
    let plausible = (1..=LONGEST).contains(&digits.len());
    plausible.then_some(digits)
}

/// The number of a `tel:` URI, or of a `sip:` one whose user part is a number.
#[must_use]
pub fn of_uri(uri: &Uri<'_>) -> Option<String> {
    match uri.scheme {
        Scheme::Tel => canonical(uri.user),
        Scheme::Sip | Scheme::Sips => {
            let user = uri.user_name();
            // Parameters of a number may stand in the user part (RFC 3261 §19.1.6).
            canonical(user.split(';').next()?)
        }
    }
}

/// Digits of the longest number that we compare; E.164 has 15.
const LONGEST: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8224_8_3_numbers_are_canonical() {
        let of = |uri| of_uri(&Uri::parse(uri).unwrap());
        let number = Some("12155550112".to_owned());
        assert_eq!(of("sip:+12155550112@example.com;user=phone"), number);
        assert_eq!(of("tel:+1-215-555-0112"), number);
        assert_eq!(of("sip:+1(215)555.0112;npdi@example.com"), number);
        assert_eq!(of("sip:alice@example.com"), None);
        assert_eq!(of("sip:example.com"), None);
        assert_eq!(canonical("*67"), Some("*67".into()));
        assert_eq!(canonical(&"1".repeat(33)), None);
    }
}
