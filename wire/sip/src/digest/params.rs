//! The `name=value` list of challenges and credentials.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use super::DigestError;
use super::algorithm::Hasher;
use crate::scan::{is_space, is_token_byte, quoted_length, split_at_byte, split_at_space};

/// A parameter's value: the text between the quotes, escapes as they came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quoted<'a>(&'a str);

impl<'a> Quoted<'a> {
    /// The text with its escapes.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        self.0
    }

    /// The text without escapes; copied only if there are any.
    #[must_use]
    pub fn unquoted(&self) -> Cow<'a, str> {
        if self.0.contains('\\') {
            Cow::Owned(self.pieces().collect())
        } else {
            Cow::Borrowed(self.0)
        }
    }

    /// Whether the text without escapes is `plain`.
    #[must_use]
    pub fn is(&self, plain: &str) -> bool {
        let mut rest = plain;
        let all = self.pieces().all(|piece| {
            rest.strip_prefix(piece).is_some_and(|after| {
                rest = after;
                true
            })
        });
        all && rest.is_empty()
    }

    pub(super) fn hash(&self, hash: &mut Hasher) {
        for piece in self.pieces() {
            hash.update(piece.as_bytes());
        }
    }

    /// The stretches of text between the backslashes that escape.
    fn pieces(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut rest = Some(self.0);
        // The first octet after a backslash is text, even if it is a backslash.
        let mut from = 0;
        std::iter::from_fn(move || {
            let text = rest?;
            let (piece, after) = match memchr::memchr(b'\\', &text.as_bytes()[from..]) {
                Some(at) => (&text[..from + at], Some(&text[from + at + 1..])),
                None => (text, None),
            };
            // An escaped character is at least one octet; a backslash at the end escapes none.
            from = usize::from(after.is_some_and(|after| after.starts_with('\\')));
            rest = after;
            Some(piece)
        })
    }
}

/// The parameters behind the scheme `Digest`.
pub(super) struct AuthParams<'a> {
    rest: &'a str,
}

impl<'a> AuthParams<'a> {
    /// Begins with a whole header value.
    pub(super) fn of(value: &'a str) -> Result<Self, DigestError> {
        match split_at_space(value.trim_ascii_start()) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("Digest") => Ok(Self { rest }),
            _ => Err(DigestError::Scheme),
        }
    }

    fn parse_one(&mut self) -> Option<(&'a str, Quoted<'a>)> {
        let (name, rest) = split_at_byte(self.rest, b'=')?;
        let name = name.trim_ascii_end();
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return None;
        }
        let rest = rest.trim_ascii_start();
        let (value, rest) = match rest.strip_prefix('"') {
            Some(rest) => split_quoted(rest)?,
            None => rest.split_at(bare_length(rest)?),
        };
        let rest = rest.trim_ascii_start();
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
        self.rest = rest;
        Some((name, Quoted(value)))
    }
}

impl<'a> Iterator for AuthParams<'a> {
    type Item = Result<(&'a str, Quoted<'a>), DigestError>;

    fn next(&mut self) -> Option<Self::Item> {
        let skip = |byte: &u8| is_space(*byte) || *byte == b',';
        let skipped = self.rest.bytes().take_while(skip).count();
        self.rest = &self.rest[skipped..];
        if self.rest.is_empty() {
            return None;
        }
        let one = self.parse_one();
        if one.is_none() {
            self.rest = "";
        }
        Some(one.ok_or(DigestError::Malformed))
    }
}

/// The text up to the closing quote, and what follows the quote.
fn split_quoted(text: &str) -> Option<(&str, &str)> {
    let length = quoted_length(text.as_bytes())?;
    Some((&text[..length - 1], &text[length..]))
}

/// How long a value without quotes is. It may hold more than a token, such as base64, but nothing
/// that would mean something else within quotes.
fn bare_length(text: &str) -> Option<usize> {
    let ends = |byte| is_space(byte) || byte == b',';
    let length = text.bytes().position(ends).unwrap_or(text.len());
    let plain = |byte: &u8| !matches!(byte, b'"' | b'\\') && !byte.is_ascii_control();
    text.as_bytes()[..length]
        .iter()
        .all(plain)
        .then_some(length)
}

/// Sets a parameter that may stand once.
pub(super) fn set<'a>(slot: &mut Option<Quoted<'a>>, value: Quoted<'a>) -> Result<(), DigestError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(DigestError::Malformed),
    }
}

/// Text as a quoted string, with quotes and escapes. Line ends, which no quoted string may have, are
/// left out.
pub(super) struct AsQuoted<'a>(pub(super) &'a str);

impl fmt::Display for AsQuoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.contains(['"', '\\', '\r', '\n', '\0']) {
            f.write_char('"')?;
            f.write_str(self.0)?;
            return f.write_char('"');
        }
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                '\r' | '\n' | '\0' => {}
                _ => f.write_char(character)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_quoted_or_not_and_spaced_in_any_way() {
        let all: Vec<_> = AuthParams::of("dIgEsT\r\n a = b,\tc=\"d, \\\"e\" ,, f=\"\"")
            .unwrap()
            .map(|one| one.map(|(name, value)| (name, value.unquoted().into_owned())))
            .collect::<Result<_, _>>()
            .unwrap();
        let plain: Vec<_> = all.iter().map(|(n, v)| (*n, v.as_str())).collect();
        assert_eq!(plain, [("a", "b"), ("c", "d, \"e"), ("f", "")]);
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_the_end() {
        for bad in [
            "x",
            "a=b\"\"",
            "a=\"b",
            "=b",
            "a b=c",
            "a=\"b\" c=d",
            "a=\"\\",
            "a=b\\",
            "a=b\\c",
            "a=b\0",
            "ä=1",
        ] {
            let text = format!("Digest {bad}");
            let mut params = AuthParams::of(&text).unwrap();
            assert_eq!(params.next(), Some(Err(DigestError::Malformed)), "{bad}");
            assert_eq!(params.next(), None);
        }
        assert!(AuthParams::of("Basic abc").is_err());
        assert!(AuthParams::of("Digest").is_err());
    }

    #[test]
    fn escapes_are_taken_away_in_order() {
        for (raw, plain) in [
            (r"abc", "abc"),
            (r"a\bc", "abc"),
            (r#"\"a\""#, "\"a\""),
            (r"\\", r"\"),
            (r"\\\\a", r"\\a"),
            (r"a\é\\b", r"aé\b"),
            ("", ""),
        ] {
            assert_eq!(Quoted(raw).unquoted(), plain);
            assert!(Quoted(raw).is(plain), "{raw}");
            assert!(!Quoted(raw).is(&format!("{plain}x")));
            assert!(!Quoted("x").is(plain));
            assert_eq!(
                AsQuoted(plain).to_string().matches('"').count(),
                2 + plain.matches('"').count()
            );
        }
    }
}
