//! The Via header field.

use std::net::IpAddr;

use super::Params;
use crate::ParseError;
use crate::scan::{is_closed, split_at_byte, split_at_space, split_outside, token_length};
use crate::uri::{parse_address, parse_host_port};

/// One Via value (RFC 3261 §20.42).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Via<'a> {
    /// Transport as written: `UDP`.
    pub transport: &'a str,
    /// Host of sent-by; an IPv6 address keeps its brackets.
    pub host: &'a str,
    /// Port of sent-by.
    pub port: Option<u16>,
    /// Parameters.
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Parses one value.
    ///
    /// # Errors
    /// If protocol, version, transport or sent-by are malformed.
    pub fn parse(value: &'a str) -> Result<Self, ParseError> {
        let (head, params) = split_outside(value, b';').unwrap_or((value, ""));
        let rest = strip_protocol(head.trim_ascii()).ok_or(ParseError::Via)?;
        let (transport, sent_by) = split_at_space(rest).ok_or(ParseError::Via)?;
        let (host, port) = parse_host_port(sent_by.trim_ascii()).ok_or(ParseError::Via)?;
        // A quotation mark in it would hide the parameters that are added to it.
        let is_token = token_length(transport.as_bytes()) == transport.len();
        if transport.is_empty() || !is_token || !is_closed(params) {
            return Err(ParseError::Via);
        }
        Ok(Self {
            transport,
            host,
            port,
            params: Params(params),
        })
    }

    /// The branch parameter.
    #[must_use]
    pub fn branch(&self) -> Option<&'a str> {
        self.params
            .find("branch")
            .filter(|branch| !branch.is_empty())
    }

    /// The part of the branch behind the magic cookie, if it has the cookie and more (RFC 3261
    /// §8.1.1.7).
    #[must_use]
    pub fn branch_token(&self) -> Option<&'a str> {
        let branch = self.branch()?;
        let (cookie, token) = branch.split_at_checked(MAGIC_COOKIE.len())?;
        (cookie.eq_ignore_ascii_case(MAGIC_COOKIE) && !token.is_empty()).then_some(token)
    }

    /// The `received` parameter: where the request really came from. Brackets around an IPv6
    /// address may be there or not (RFC 5118 §4.5).
    #[must_use]
    pub fn received(&self) -> Option<IpAddr> {
        parse_address(self.params.find("received")?)
    }

    /// The host of sent-by as an address, if it is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        parse_address(self.host)
    }
}

/// What follows `SIP/2.0/`; there may be white space around the slashes.
fn strip_protocol(head: &str) -> Option<&str> {
    if let Some(rest) = head.strip_prefix("SIP/2.0/") {
        return Some(rest.trim_ascii_start());
    }
    let (name, rest) = split_at_byte(head, b'/')?;
    let (version, rest) = split_at_byte(rest, b'/')?;
    let known = name.trim_ascii().eq_ignore_ascii_case("SIP") && version.trim_ascii() == "2.0";
    known.then(|| rest.trim_ascii_start())
}

/// What every branch made by RFC 3261 begins with.
pub(crate) const MAGIC_COOKIE: &str = "z9hG4bK";

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3261 §20.42, RFC 5118 §4.5.
    #[test]
    fn odd_but_legal() {
        let via =
            Via::parse("SIP  / 2.0\r\n /UDP   [2001:db8::9]:5070 ; branch = z9hG4bKab ;rport")
                .unwrap();
        assert_eq!((via.transport, via.port), ("UDP", Some(5070)));
        assert_eq!(via.address(), "2001:db8::9".parse().ok());
        assert_eq!(via.branch_token(), Some("ab"));
        assert!(via.params.has("rport"));
    }

    /// RFC 3261 §8.1.1.7.
    #[test]
    fn broken_ones_are_refused() {
        for value in [
            "",
            "SIP/2.0/UDP",
            "SIP/3.0/UDP h",
            "SIP/2.0 h",
            "SIP/2.0/UDP h:99999",
            "SIP/2.0/UDP ;branch=x",
            "SIP/2.0/UDP h;branch=\"x",
            "SIP/2.0/UDP\"192.0.2.2:5060;branch=z9hG4bK1 70",
        ] {
            assert!(Via::parse(value).is_err(), "{value}");
        }
    }
}
