//! Addresses: From, To, Contact, Route and their kin.

use memchr::memchr2;

use super::{Params, unquote};
use crate::scan::{is_closed, quoted_length, split_at_byte};
use crate::{ParseError, Uri};

/// A name-addr or addr-spec with its parameters (RFC 3261 §20.10).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NameAddr<'a> {
    /// Display name as written, quotes and escapes included; empty if there is none.
    pub display: &'a str,
    /// The URI's text. `*` in a Contact that removes all bindings.
    pub uri: &'a str,
    /// Parameters of the header field (not of the URI).
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Parses one value.
    ///
    /// # Errors
    /// If a quote or an angle bracket is not closed or there is no URI.
    pub fn parse(value: &'a str) -> Result<Self, ParseError> {
        let value = value.trim_ascii();
        let bytes = value.as_bytes();
        let behind_quotes = match bytes.first() {
            Some(b'"') => 1 + quoted_length(&bytes[1..]).ok_or(ParseError::Address)?,
            _ => 0,
        };
        // Without brackets everything after a semicolon belongs to the header (RFC 3261 §20).
        match memchr2(b'<', b';', &bytes[behind_quotes..]) {
            Some(at) if bytes[behind_quotes + at] == b'<' => {
                Self::parse_bracketed(value, behind_quotes, behind_quotes + at)
            }
            _ => Self::parse_bare(value),
        }
    }

    /// `name <uri> ;params`: the display name is quoted up to `quoted`, if that is not 0.
    fn parse_bracketed(value: &'a str, quoted: usize, open: usize) -> Result<Self, ParseError> {
        let (uri, after) = split_at_byte(&value[open + 1..], b'>').ok_or(ParseError::Address)?;
        let uri = uri.trim_ascii();
        let params = match after.trim_ascii_start().as_bytes() {
            [] => "",
            [b';', ..] => &after.trim_ascii_start()[1..],
            _ => return Err(ParseError::Address),
        };
        let sound = match quoted {
            0 => is_display_name(&value[..open]),
            _ => value[quoted..open].trim_ascii().is_empty(),
        };
        if uri.is_empty() || !sound || !is_closed(params) {
            return Err(ParseError::Address);
        }
        Ok(Self {
            display: value[..open].trim_ascii_end(),
            uri,
            params: Params(params),
        })
    }

    fn parse_bare(value: &'a str) -> Result<Self, ParseError> {
        let (uri, params) = split_at_byte(value, b';').unwrap_or((value, ""));
        let uri = uri.trim_ascii_end();
        let legal = |byte| {
            !matches!(
                byte,
                b'"' | b'<' | b'>' | b' ' | b'\t' | b'\r' | b'\n' | b'?' | b','
            )
        };
        if uri.is_empty() || !uri.bytes().all(legal) || !is_closed(params) {
            return Err(ParseError::Address);
        }
        Ok(Self {
            display: "",
            uri,
            params: Params(params),
        })
    }

    /// The `tag` parameter.
    #[must_use]
    pub fn tag(&self) -> Option<&'a str> {
        self.params.find("tag").filter(|tag| !tag.is_empty())
    }

    /// The display name without quotes and escapes.
    #[must_use]
    pub fn display_name(&self) -> String {
        unquote(self.display)
    }

    /// The URI, parsed.
    ///
    /// # Errors
    /// If it is not a URI that we understand.
    pub fn parse_uri(&self) -> Result<Uri<'a>, ParseError> {
        Uri::parse(self.uri)
    }
}

/// Tokens separated by white space (RFC 3261 §25.1); other octets that cannot mislead are forgiven.
fn is_display_name(display: &str) -> bool {
    !display
        .bytes()
        .any(|byte| matches!(byte, b'"' | b'>' | b',' | b';' | b'@' | b':' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3261 §20.10.
    #[test]
    fn both_forms() {
        let a = NameAddr::parse("\"J \\\"<R>\\\" D\" <sip:u;x=1@h;y>;tag=9").unwrap();
        assert_eq!(a.uri, "sip:u;x=1@h;y");
        assert_eq!(a.tag(), Some("9"));
        assert_eq!(a.display_name(), "J \"<R>\" D");
        let b = NameAddr::parse("sip:u@h;tag=7").unwrap();
        assert_eq!((b.uri, b.tag()), ("sip:u@h", Some("7")));
        assert_eq!(
            NameAddr::parse("Bob Smith <sip:b@h>").unwrap().display,
            "Bob Smith"
        );
    }

    /// RFC 3261 §20, §25.1.
    #[test]
    fn broken_addresses_are_refused() {
        for value in [
            "",
            "<sip:a@b",
            "\"x <sip:a@b>",
            "<>",
            "a b",
            "\"x\" y\" <sip:a@b> z",
            "Bell, A <sip:a@b>",
            "\"a\" b <sip:a@b>",
            "<sip:a@b> x",
            "<sip:a@b>;x=\"y",
            "sip:a@b;x=<y",
        ] {
            assert!(NameAddr::parse(value).is_err(), "{value}");
        }
    }
}
