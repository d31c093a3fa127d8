//! Addresses: From, To, Contact, Route and their kin.

use super::{LWS, Params, split_outside, unquote};
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
        let value = value.trim_matches(LWS);
        let (head, params) = split_outside(value, b';').unwrap_or((value, ""));
        let params = Params(params);
        let head = head.trim_matches(LWS);
        let Some(open) = open_bracket(head) else {
            // Without brackets everything after a semicolon belongs to the header (RFC 3261 §20).
            let bare = !head.is_empty()
                && !head.contains(['"', '<', '>', ' ', '\t', '\r', '\n', '?', ',']);
            return if bare {
                Ok(Self {
                    display: "",
                    uri: head,
                    params,
                })
            } else {
                Err(ParseError::Address)
            };
        };
        let (uri, after) = head[open + 1..]
            .split_once('>')
            .ok_or(ParseError::Address)?;
        let uri = uri.trim_matches(LWS);
        let display = head[..open].trim_matches(LWS);
        if uri.is_empty() || !after.trim_matches(LWS).is_empty() || !is_display_name(display) {
            return Err(ParseError::Address);
        }
        Ok(Self {
            display,
            uri,
            params,
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

/// The first `<` outside a quoted string.
fn open_bracket(head: &str) -> Option<usize> {
    if !head.starts_with('"') {
        return head.find('<');
    }
    let mut escaped = false;
    let close = head.bytes().skip(1).position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })? + 1;
    head[close..].find('<').map(|open| close + open)
}

/// A quoted string, or tokens separated by white space (RFC 3261 §25.1).
fn is_display_name(display: &str) -> bool {
    if display.len() >= 2 && display.starts_with('"') {
        return display.ends_with('"');
    }
    !display.contains(['"', '<', '>', ',', ';', '@', ':', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            assert!(NameAddr::parse(value).is_err(), "{value}");
        }
    }
}
