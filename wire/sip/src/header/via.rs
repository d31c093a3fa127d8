//! The Via header field.

use std::net::IpAddr;

use super::{LWS, Params, split_outside};
use crate::ParseError;
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
        let head = head.trim_matches(LWS);
        let (name, rest) = head.split_once('/').ok_or(ParseError::Via)?;
        let (version, rest) = rest.split_once('/').ok_or(ParseError::Via)?;
        if !name.trim_matches(LWS).eq_ignore_ascii_case("SIP") || version.trim_matches(LWS) != "2.0"
        {
            return Err(ParseError::Via);
        }
        let rest = rest.trim_start_matches(LWS);
        let (transport, sent_by) = rest.split_once(LWS).ok_or(ParseError::Via)?;
        let (host, port) = parse_host_port(sent_by.trim_matches(LWS)).ok_or(ParseError::Via)?;
        if transport.is_empty() {
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

/// What every branch made by RFC 3261 begins with.
pub(crate) const MAGIC_COOKIE: &str = "z9hG4bK";

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn broken_ones_are_refused() {
        for value in [
            "",
            "SIP/2.0/UDP",
            "SIP/3.0/UDP h",
            "SIP/2.0 h",
            "SIP/2.0/UDP h:99999",
            "SIP/2.0/UDP ;branch=x",
        ] {
            assert!(Via::parse(value).is_err(), "{value}");
        }
    }
}
