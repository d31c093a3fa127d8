//! Replaces: which dialog an INVITE takes the place of.

use std::fmt;

use super::Params;
use crate::ParseError;

/// A Replaces value. The tags are named as the receiver of the INVITE sees them.
///
/// # Source
/// RFC 3891 §6.1
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replaces<'a> {
    /// Call-ID of the dialog.
    pub call_id: &'a str,
    /// The receiver's own tag.
    pub to_tag: &'a str,
    /// The tag of the party whose place is taken; `0` if it had none.
    pub from_tag: &'a str,
    /// Only a dialog that has not been answered may be taken over.
    pub early_only: bool,
}

impl<'a> Replaces<'a> {
    /// Parses the value.
    ///
    /// # Errors
    /// If the Call-ID or one of the two tags is missing.
    pub fn parse(value: &'a str) -> Result<Self, ParseError> {
        let (call_id, params) = value.split_once(';').ok_or(ParseError::Missing)?;
        let params = Params(params);
        let tag = |name| {
            let tag = params.find(name).filter(|tag| !tag.is_empty());
            tag.ok_or(ParseError::Missing)
        };
        let call_id = call_id.trim_ascii();
        if call_id.is_empty() {
            return Err(ParseError::Missing);
        }
        Ok(Self {
            call_id,
            to_tag: tag("to-tag")?,
            from_tag: tag("from-tag")?,
            early_only: params.has("early-only"),
        })
    }
}

impl fmt::Display for Replaces<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            call_id,
            to_tag,
            from_tag,
            early_only,
        } = self;
        write!(f, "{call_id};to-tag={to_tag};from-tag={from_tag}")?;
        if *early_only {
            f.write_str(";early-only")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3891_6_1_examples() {
        let plain = "98732@sip.example.com;from-tag=r33th4x0r;to-tag=ff87ff";
        let parsed = Replaces::parse(plain).unwrap();
        assert_eq!(parsed.call_id, "98732@sip.example.com");
        assert_eq!((parsed.to_tag, parsed.from_tag), ("ff87ff", "r33th4x0r"));
        assert!(!parsed.early_only);
        let early = "87134@171.161.34.23;to-tag=24796;from-tag=0;early-only";
        let parsed = Replaces::parse(early).unwrap();
        assert!(parsed.early_only);
        assert_eq!(parsed.to_string(), early);
        for wrong in [
            "",
            "a",
            "a;to-tag=1",
            ";to-tag=1;from-tag=2",
            "a;to-tag=;from-tag=2",
        ] {
            assert!(Replaces::parse(wrong).is_err(), "{wrong}");
        }
    }
}
