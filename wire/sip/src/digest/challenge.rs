//! Challenges: written by a server, answered by a client.

use std::borrow::Cow;
use std::fmt;

use super::algorithm::Hex;
use super::credentials::{Qop, Question, Text};
use super::params::{AsQuoted, AuthParams, Quoted, set};
use super::{Algorithm, DigestError};
use crate::Method;

/// A challenge: the value of WWW-Authenticate or Proxy-Authenticate.
///
/// # Source
/// RFC 7616 §3.3, RFC 8760
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// Where the password holds; the text without escapes.
    pub realm: Cow<'a, str>,
    /// The nonce; the text without escapes.
    pub nonce: Cow<'a, str>,
    /// Handed back as it is, if there is one; the text with its escapes.
    pub opaque: Option<&'a str>,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The last answer was right, but its nonce too old: no need to ask the user again.
    pub stale: bool,
    /// The quality of protection that an answer uses; none as before RFC 2617.
    pub qop: Option<Qop>,
}

impl<'a> Challenge<'a> {
    /// A challenge of ours, with `qop="auth"`.
    #[must_use]
    pub fn new(realm: &'a str, nonce: &'a str, algorithm: Algorithm) -> Self {
        Self {
            realm: realm.into(),
            nonce: nonce.into(),
            opaque: None,
            algorithm,
            stale: false,
            qop: Some(Qop::Auth),
        }
    }

    /// The same challenge with `stale` set to this.
    #[must_use]
    pub fn stale(self, stale: bool) -> Self {
        Self { stale, ..self }
    }

    /// Parses one header field's value. Unknown parameters are skipped. If several qualities are
    /// offered, `auth` is taken.
    ///
    /// # Errors
    /// If it is no digest challenge, has no realm or nonce, or asks for what we do not know.
    pub fn parse(value: &'a str) -> Result<Self, DigestError> {
        let (mut realm, mut nonce, mut opaque) = (None, None, None);
        let (mut algorithm, mut stale, mut qop) = (None, None, None);
        for param in AuthParams::of(value)? {
            let (name, value) = param?;
            match () {
                () if name.eq_ignore_ascii_case("realm") => set(&mut realm, value)?,
                () if name.eq_ignore_ascii_case("nonce") => set(&mut nonce, value)?,
                () if name.eq_ignore_ascii_case("opaque") => set(&mut opaque, value)?,
                () if name.eq_ignore_ascii_case("algorithm") => set(&mut algorithm, value)?,
                () if name.eq_ignore_ascii_case("stale") => set(&mut stale, value)?,
                () if name.eq_ignore_ascii_case("qop") => set(&mut qop, value)?,
                () => {}
            }
        }
        Ok(Self {
            realm: realm.ok_or(DigestError::Missing("realm"))?.unquoted(),
            nonce: nonce.ok_or(DigestError::Missing("nonce"))?.unquoted(),
            opaque: opaque.map(|opaque| opaque.raw()),
            algorithm: algorithm.map_or(Ok(Algorithm::Md5), |name| Algorithm::parse(name.raw()))?,
            stale: stale.is_some_and(|stale| stale.raw().eq_ignore_ascii_case("true")),
            qop: qop.map(choose_qop).transpose()?,
        })
    }

    /// The first of several challenges that we can answer: a server lists its favourite first.
    ///
    /// # Source
    /// RFC 8760 §2.4
    pub fn choose(values: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        values.into_iter().find_map(|value| Self::parse(value).ok())
    }

    /// Answers the challenge. `nonce_count` says how often this nonce has been used, this time
    /// included; `cnonce` is a fresh random token. The result, displayed, is the header's value.
    #[expect(clippy::too_many_arguments, reason = "each is an input of the hash")]
    #[must_use]
    pub fn respond<'r>(
        &'r self,
        user: &'r str,
        password: &str,
        method: Method<'_>,
        uri: &'r str,
        body: &[u8],
        nonce_count: u32,
        cnonce: &'r str,
    ) -> Response<'r> {
        let count = format_count(nonce_count);
        let question = Question {
            nonce: Text::Plain(&self.nonce),
            uri: Text::Plain(uri),
            cnonce: Text::Plain(cnonce),
            count: &count,
            qop: self.qop,
        };
        let ha1 = self.algorithm.ha1(user, &self.realm, password);
        Response {
            challenge: self,
            user,
            uri,
            cnonce,
            count,
            hex: question.response(&ha1, method, body),
        }
    }
}

/// `auth` if it is offered, else `auth-int`.
fn choose_qop(offered: Quoted<'_>) -> Result<Qop, DigestError> {
    let offers = |qop: Qop| {
        offered
            .raw()
            .split(',')
            .any(|one| one.trim().eq_ignore_ascii_case(qop.as_str()))
    };
    [Qop::Auth, Qop::AuthInt]
        .into_iter()
        .find(|qop| offers(*qop))
        .ok_or(DigestError::Qop)
}

/// Eight hexadecimal digits.
fn format_count(count: u32) -> [u8; 8] {
    let mut digits = [0; 8];
    for (index, digit) in digits.iter_mut().enumerate() {
        let value = (count >> (28 - 4 * index)) & 15;
        *digit = b"0123456789abcdef"[value as usize];
    }
    digits
}

impl fmt::Display for Challenge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Digest realm={}, nonce={}",
            AsQuoted(&self.realm),
            AsQuoted(&self.nonce)
        )?;
        if let Some(opaque) = self.opaque {
            write!(f, ", opaque=\"{opaque}\"")?;
        }
        write!(f, ", algorithm={}", self.algorithm)?;
        if let Some(qop) = self.qop {
            write!(f, ", qop=\"{}\"", qop.as_str())?;
        }
        if self.stale {
            f.write_str(", stale=true")?;
        }
        Ok(())
    }
}

/// A client's answer: displayed, the value of Authorization or Proxy-Authorization.
#[derive(Clone)]
pub struct Response<'r> {
    challenge: &'r Challenge<'r>,
    user: &'r str,
    uri: &'r str,
    cnonce: &'r str,
    count: [u8; 8],
    hex: Hex,
}

impl Response<'_> {
    /// The hash that proves the password, in hexadecimal.
    #[must_use]
    pub fn hash(&self) -> &str {
        self.hex.as_str()
    }
}

impl fmt::Display for Response<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let challenge = self.challenge;
        write!(
            f,
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{}\", algorithm={}",
            AsQuoted(self.user),
            AsQuoted(&challenge.realm),
            AsQuoted(&challenge.nonce),
            AsQuoted(self.uri),
            self.hash(),
            challenge.algorithm,
        )?;
        if let Some(qop) = challenge.qop {
            let count = std::str::from_utf8(&self.count).unwrap_or("");
            let cnonce = AsQuoted(self.cnonce);
            write!(f, ", cnonce={cnonce}, qop={}, nc={count}", qop.as_str())?;
        }
        match challenge.opaque {
            Some(opaque) => write!(f, ", opaque=\"{opaque}\""),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Response<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Credentials;

    /// RFC 7616 §3.3, RFC 8760 §2.4.
    #[test]
    fn a_challenge_encodes_and_parses() {
        let ours = Challenge::new("a \"b\" \\c", "n0", Algorithm::Sha256).stale(true);
        let text = ours.to_string();
        assert_eq!(
            text,
            "Digest realm=\"a \\\"b\\\" \\\\c\", nonce=\"n0\", algorithm=SHA-256, qop=\"auth\", stale=true"
        );
        assert_eq!(Challenge::parse(&text).unwrap(), ours);
    }

    #[test]
    fn odd_challenges_are_understood() {
        let challenge = Challenge::parse(
            "DIGEST Realm=\"r\",domain=\"sip:x\", NONCE=\"n\" ,opaque=\"\",qop=\"auth-int , AUTH\",\
             stale=TRUE,algorithm=\"md5\",future=x",
        )
        .unwrap();
        assert_eq!(challenge.qop, Some(Qop::Auth));
        assert!(challenge.stale);
        assert_eq!(challenge.opaque, Some(""));
        let old = Challenge::parse("Digest realm=\"r\", nonce=\"n\"").unwrap();
        assert_eq!((old.qop, old.algorithm), (None, Algorithm::Md5));
    }

    #[test]
    fn the_first_challenge_that_we_know_is_chosen() {
        let values = [
            "Basic realm=\"r\"",
            "Digest realm=\"r\", nonce=\"n\", algorithm=AKAv2-SHA-256",
            "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256, qop=\"token\"",
            "Digest nonce=\"n\"",
            "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-512-256, qop=\"auth\"",
            "Digest realm=\"r\", nonce=\"n\", algorithm=MD5",
        ];
        let chosen = Challenge::choose(values).unwrap();
        assert_eq!(chosen.algorithm, Algorithm::Sha512_256);
        assert_eq!(Challenge::choose(["Basic x"]), None);
    }

    #[test]
    fn an_answer_of_ours_is_one_that_we_accept() {
        for algorithm in Algorithm::ALL {
            for qop in [None, Some(Qop::Auth), Some(Qop::AuthInt)] {
                let challenge = Challenge {
                    qop,
                    opaque: Some("o\\\"p"),
                    ..Challenge::new("re\"alm", "n\\once", algorithm)
                };
                let uri = "sip:a@b;x=\"y\"";
                let value = challenge
                    .respond("us\"er", "pass", Method::Bye, uri, b"body", 0xAB, "c\\n")
                    .to_string();
                let credentials = Credentials::parse(&value).unwrap();
                let verify = |user: &str, password: &str, method, body: &[u8]| {
                    credentials.verify(user, "re\"alm", password, method, body)
                };
                assert!(verify("us\"er", "pass", Method::Bye, b"body"), "{value}");
                assert!(!verify("us\"er", "pasS", Method::Bye, b"body"));
                assert!(!verify("us\"er", "pass", Method::Invite, b"body"));
                assert!(!verify("user", "pass", Method::Bye, b"body"));
                let body_counts = qop == Some(Qop::AuthInt);
                assert_eq!(verify("us\"er", "pass", Method::Bye, b"bodY"), !body_counts);
                assert_eq!(credentials.nonce_count, qop.map(|_| 0xAB));
                assert_eq!(credentials.opaque.unwrap().raw(), "o\\\"p");
            }
        }
    }
}
