//! The token: what it claims, and its canonical text.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::{Map, Value, json};

use crate::{Call, Fault, number};

/// A PASSporT: somebody's word on who calls whom.
///
/// # Source
/// RFC 8225 §4, §5; RFC 8588 §4, §5 (`attest`, `origid`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passport {
    /// Where the certificate is.
    pub x5u: String,
    /// The extension, `shaken` or none.
    pub ppt: Option<String>,
    /// How well the signer knows the caller; none outside SHAKEN.
    pub attest: Option<Attest>,
    /// Whom the signer means, for those who trace a call back; empty outside SHAKEN.
    pub origid: String,
    /// Who calls, in canonical form.
    pub orig: String,
    /// Who is called.
    pub dest: Vec<String>,
    /// When it was signed, in seconds since 1970.
    pub iat: u64,
}

/// How well the signer knows the caller.
///
/// # Source
/// RFC 8588 §4.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Attest {
    /// `A`: its own customer, who may use this number.
    Full,
    /// `B`: its own customer; whether the number is the customer's it does not know.
    Partial,
    /// `C`: it passes the call on from somewhere.
    Gateway,
}

impl Attest {
    /// The letter in the token.
    #[must_use]
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Full => "A",
            Self::Partial => "B",
            Self::Gateway => "C",
        }
    }

    /// The attestation with this letter.
    #[must_use]
    pub fn of_letter(letter: &str) -> Option<Self> {
        [Self::Full, Self::Partial, Self::Gateway]
            .into_iter()
            .find(|attest| attest.letter() == letter)
    }
}

impl Passport {
    /// A token without extension.
    pub(crate) fn basic(x5u: &str, call: &Call, iat: u64) -> Self {
        Self {
            x5u: x5u.into(),
            ppt: None,
            attest: None,
            origid: String::new(),
            orig: call.orig.clone(),
            dest: vec![call.dest.clone()],
            iat,
        }
    }

    /// Reads header and claims, each in base64url.
    pub(crate) fn parse(header: &str, claims: &str) -> Result<Self, Fault> {
        let (header, claims) = (object(header)?, object(claims)?);
        let text = |map: &Map<String, Value>, key: &str| map.get(key)?.as_str().map(str::to_owned);
        let is = |key, value| text(&header, key).is_some_and(|text| text == value);
        if !is("alg", "ES256") || text(&header, "typ").is_some_and(|typ| typ != "passport") {
            return Err(Fault::Malformed);
        }
        let ppt = text(&header, "ppt");
        let attest = text(&claims, "attest").and_then(|letter| Attest::of_letter(&letter));
        let origid = text(&claims, "origid");
        if ppt.is_some() && (attest.is_none() || origid.is_none()) {
            return Err(Fault::Malformed);
        }
        Ok(Self {
            x5u: text(&header, "x5u").ok_or(Fault::Malformed)?,
            ppt,
            attest,
            origid: origid.unwrap_or_default(),
            orig: orig(&claims).ok_or(Fault::Malformed)?,
            dest: dest(&claims).ok_or(Fault::Malformed)?,
            iat: claims
                .get("iat")
                .and_then(Value::as_u64)
                .ok_or(Fault::Malformed)?,
        })
    }

    /// Compares it with the call that it came with.
    pub(crate) fn check(&self, call: &Call, now: u64, date: Option<u64>) -> Result<(), Fault> {
        let fresh = |time: u64| time.abs_diff(self.iat) <= FRESHNESS;
        if !fresh(now) || !date.is_none_or(fresh) {
            return Err(Fault::Stale);
        }
        if self.orig != call.orig || !self.dest.contains(&call.dest) {
            return Err(Fault::OtherCall);
        }
        Ok(())
    }

    /// What is signed.
    ///
    /// # Source
    /// RFC 8225 §9: keys in lexicographic order, no white space.
    pub(crate) fn signing_input(&self) -> String {
        let mut header = Map::new();
        header.insert("alg".into(), "ES256".into());
        if let Some(ppt) = &self.ppt {
            header.insert("ppt".into(), ppt.as_str().into());
        }
        header.insert("typ".into(), "passport".into());
        header.insert("x5u".into(), self.x5u.as_str().into());
        let mut claims = Map::new();
        if let Some(attest) = self.attest {
            claims.insert("attest".into(), attest.letter().into());
        }
        claims.insert("dest".into(), json!({ "tn": self.dest }));
        claims.insert("iat".into(), self.iat.into());
        claims.insert("orig".into(), json!({ "tn": self.orig }));
        if self.attest.is_some() {
            claims.insert("origid".into(), self.origid.as_str().into());
        }
        format!("{}.{}", encode(header), encode(claims))
    }
}

fn encode(map: Map<String, Value>) -> String {
    Base64UrlUnpadded::encode_string(Value::Object(map).to_string().as_bytes())
}

fn object(text: &str) -> Result<Map<String, Value>, Fault> {
    let json = Base64UrlUnpadded::decode_vec(text).map_err(|_| Fault::Malformed)?;
    match serde_json::from_slice(&json) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(Fault::Malformed),
    }
}

fn orig(claims: &Map<String, Value>) -> Option<String> {
    number::canonical(claims.get("orig")?.get("tn")?.as_str()?)
}

fn dest(claims: &Map<String, Value>) -> Option<Vec<String>> {
    let numbers = claims.get("dest")?.get("tn")?.as_array()?;
    let numbers = numbers.iter().take(MOST_DESTINATIONS);
    numbers.map(|tn| number::canonical(tn.as_str()?)).collect()
}

/// Seconds between signing and verifying, either way (RFC 8224 §6.2.4).
const FRESHNESS: u64 = 60;

/// Most destinations that are looked at.
const MOST_DESTINATIONS: usize = 16;
