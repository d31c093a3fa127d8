//! The Identity header field.

use crate::{Call, Claim, Fault, Passport};

/// The value of an Identity header field, borrowed from its text.
///
/// # Source
/// RFC 8224 §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity<'a> {
    /// Header, claims and signature of the token, with dots between them. In the compact form the first
    /// two are empty.
    pub token: &'a str,
    /// Where the certificate is.
    pub info: &'a str,
    /// The extension of the token: `shaken`.
    pub ppt: Option<&'a str>,
}

impl<'a> Identity<'a> {
    /// Parses a value.
    ///
    /// # Errors
    /// [`Fault::Malformed`] if it is malformed, or signed with something else than ES256.
    pub fn parse(value: &'a str) -> Result<Self, Fault> {
        let (token, mut rest) = value.split_once(';').ok_or(Fault::Malformed)?;
        let (mut info, mut ppt) = (None, None);
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=').ok_or(Fault::Malformed)?;
            let (value, after) = parameter(after.trim_start()).ok_or(Fault::Malformed)?;
            match name.trim() {
                "info" => info = Some(value),
                "ppt" => ppt = Some(value),
                "alg" if value != "ES256" => return Err(Fault::Malformed),
                _ => {}
            }
            rest = after;
        }
        let info = info.and_then(|info| info.strip_prefix('<')?.strip_suffix('>'));
        Ok(Self {
            token: token.trim(),
            info: info.ok_or(Fault::Malformed)?,
            ppt,
        })
    }

    /// Whether we know what the token says: it is SHAKEN's, or has no extension.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.ppt.is_none_or(|ppt| ppt == "shaken")
    }

    /// Compares the token with the call that it came with, at `now`; `date` is the Date header field's
    /// time. What is left is the signature.
    ///
    /// # Errors
    /// What is wrong with it: see [`Fault`].
    ///
    /// # Source
    /// RFC 8224 §6.2 steps 2 to 4, RFC 8588 §6.
    pub fn examine(&self, call: &Call, now: u64, date: Option<u64>) -> Result<Claim, Fault> {
        let mut parts = self.token.split('.');
        let mut part = || parts.next().ok_or(Fault::Malformed);
        let (header, claims, signature) = (part()?, part()?, part()?);
        if parts.next().is_some() || self.token.len() > LONGEST {
            return Err(Fault::Malformed);
        }
        let passport = if header.is_empty() && claims.is_empty() {
            // RFC 8224 §4.1.2: what is left out is what the request says itself.
            if self.ppt.is_some() {
                return Err(Fault::Malformed);
            }
            Passport::basic(self.info, call, date.ok_or(Fault::Stale)?)
        } else {
            Passport::parse(header, claims)?
        };
        if passport.x5u != self.info || passport.ppt.as_deref() != self.ppt {
            return Err(Fault::Malformed);
        }
        passport.check(call, now, date)?;
        let signed = if header.is_empty() {
            passport.signing_input()
        } else {
            self.token[..header.len() + 1 + claims.len()].to_owned()
        };
        Claim::new(passport, signed, signature)
    }
}

/// A parameter's value without its quotes, and what follows the semicolon behind it.
fn parameter(text: &str) -> Option<(&str, &str)> {
    let (value, rest) = if let Some(quoted) = text.strip_prefix('"') {
        quoted.split_once('"')?
    } else if text.starts_with('<') {
        let end = text.find('>')? + 1;
        text.split_at(end)
    } else {
        text.split_at(text.find(';').unwrap_or(text.len()))
    };
    let rest = rest.trim_start();
    let rest = if rest.is_empty() {
        ""
    } else {
        rest.strip_prefix(';')?
    };
    Some((value.trim_end(), rest))
}

/// Octets of the longest token; a usual one has about 400.
const LONGEST: usize = 8192;
