//! Small typed values: CSeq, RAck, Session-Expires, quoted strings.

use super::Params;
use crate::scan::{is_space, split_at_space, split_outside};
use crate::{Method, ParseError};

/// A CSeq value (RFC 3261 §20.16).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CSeq<'a> {
    /// Sequence number, below 2^31.
    pub number: u32,
    /// Method of the request.
    pub method: Method<'a>,
}

impl<'a> CSeq<'a> {
    /// Parses the value.
    ///
    /// # Errors
    /// If the number is missing, 2^31 or more, or the method is missing.
    pub fn parse(value: &'a str) -> Result<Self, ParseError> {
        let (number, method) = split_at_space(value.trim_ascii()).ok_or(ParseError::CSeq)?;
        let number = sequence_number(number).ok_or(ParseError::CSeq)?;
        let method = method.trim_ascii_start();
        if method.is_empty() || method.bytes().any(is_space) {
            return Err(ParseError::CSeq);
        }
        Ok(Self {
            number,
            method: Method::parse(method),
        })
    }
}

/// A RAck value (RFC 3262 §7.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RAck<'a> {
    /// RSeq of the provisional answer.
    pub rseq: u32,
    /// CSeq of that answer.
    pub cseq: CSeq<'a>,
}

impl<'a> RAck<'a> {
    /// Parses the value.
    ///
    /// # Errors
    /// If one of the three parts is missing or malformed.
    pub fn parse(value: &'a str) -> Result<Self, ParseError> {
        let (rseq, cseq) = split_at_space(value.trim_ascii()).ok_or(ParseError::RAck)?;
        let rseq = sequence_number(rseq).ok_or(ParseError::RAck)?;
        Ok(Self {
            rseq,
            cseq: CSeq::parse(cseq).map_err(|_| ParseError::RAck)?,
        })
    }
}

/// A Session-Expires value (RFC 4028 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionExpires {
    /// The interval in seconds.
    pub seconds: u32,
    /// `Some(true)`: the user agent client of the transaction refreshes; `Some(false)`: the server.
    pub refresher_is_uac: Option<bool>,
}

impl SessionExpires {
    /// Parses the value.
    ///
    /// # Errors
    /// If the interval is not a number.
    pub fn parse(value: &str) -> Result<Self, ParseError> {
        let (seconds, params) = split_outside(value, b';').unwrap_or((value, ""));
        let seconds = seconds
            .trim_ascii()
            .parse()
            .map_err(|_| ParseError::Number)?;
        let refresher_is_uac = match Params(params).find("refresher") {
            Some(who) if who.eq_ignore_ascii_case("uac") => Some(true),
            Some(who) if who.eq_ignore_ascii_case("uas") => Some(false),
            _ => None,
        };
        Ok(Self {
            seconds,
            refresher_is_uac,
        })
    }
}

/// The text of a quoted string without quotes and escapes; other text is returned as it is.
#[must_use]
pub fn unquote(text: &str) -> String {
    let Some(inner) = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return text.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut escaped = false;
    for character in inner.chars() {
        if character == '\\' && !escaped {
            escaped = true;
        } else {
            plain.push(character);
            escaped = false;
        }
    }
    plain
}

/// A number below 2^31 (RFC 3261 §8.1.1.5).
fn sequence_number(digits: &str) -> Option<u32> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|number| *number < 1 << 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3261 §8.1.1.5, §20.16.
    #[test]
    fn cseq_limits() {
        assert_eq!(
            CSeq::parse(" 0009\t INVITE ").unwrap(),
            CSeq {
                number: 9,
                method: Method::Invite
            }
        );
        for value in [
            "",
            "INVITE",
            "1",
            "-1 INVITE",
            "2147483648 INVITE",
            "1 IN VITE",
            "36893488147419103232 REGISTER",
        ] {
            assert!(CSeq::parse(value).is_err(), "{value}");
        }
    }

    /// RFC 4028 §4.
    #[test]
    fn session_expires_with_refresher() {
        let value = SessionExpires::parse("1800 ; refresher = UAS").unwrap();
        assert_eq!(
            value,
            SessionExpires {
                seconds: 1800,
                refresher_is_uac: Some(false)
            }
        );
    }

    #[test]
    fn unquoting() {
        assert_eq!(unquote(r#""a \"b\" \\c""#), r#"a "b" \c"#);
        assert_eq!(unquote("plain"), "plain");
    }
}
