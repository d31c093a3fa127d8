//! Credentials: what a client sends to prove that it knows the password.

use super::algorithm::{Hasher, Hex};
use super::params::{AuthParams, Quoted, set};
use super::{Algorithm, DigestError, Ha1};
use crate::Method;

/// Credentials: the value of Authorization or Proxy-Authorization.
///
/// Give [`parse`](Self::parse) a whole header field's value, not one cut at its commas.
///
/// # Source
/// RFC 7616 §3.4
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// The user's name.
    pub username: Quoted<'a>,
    /// The realm of the challenge.
    pub realm: Quoted<'a>,
    /// The nonce of the challenge.
    pub nonce: Quoted<'a>,
    /// The Request-URI as the client saw it.
    pub uri: Quoted<'a>,
    /// The proof.
    response: Quoted<'a>,
    /// What the challenge had as `opaque`.
    pub opaque: Option<Quoted<'a>>,
    /// The algorithm; a server must compare it with what it offered.
    pub algorithm: Algorithm,
    /// The quality of protection; none from clients older than RFC 2617.
    pub qop: Option<Qop>,
    /// How often the client has used the nonce; there whenever `qop` is.
    pub nonce_count: Option<u32>,
    count: Quoted<'a>,
    cnonce: Quoted<'a>,
}

/// Quality of protection: what the proof covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Qop {
    /// Method and URI.
    Auth,
    /// The body too.
    AuthInt,
}

impl Qop {
    /// The name in the `qop` parameter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }

    fn parse(name: &str) -> Result<Self, DigestError> {
        [Self::Auth, Self::AuthInt]
            .into_iter()
            .find(|qop| qop.as_str().eq_ignore_ascii_case(name.trim()))
            .ok_or(DigestError::Qop)
    }
}

impl<'a> Credentials<'a> {
    /// Parses one header field's value. Names compare without case, values may come quoted or not,
    /// unknown parameters are skipped.
    ///
    /// # Errors
    /// If it is not for digest authentication, a parameter is missing, malformed or there twice, or
    /// it uses what we do not know.
    pub fn parse(value: &'a str) -> Result<Self, DigestError> {
        let parts = Parts::parse(value)?;
        let qop = parts.qop.map(|qop| Qop::parse(qop.raw())).transpose()?;
        let count = required_with(qop, parts.nc, "nc")?;
        let cnonce = required_with(qop, parts.cnonce, "cnonce")?;
        Ok(Self {
            username: parts.username.ok_or(DigestError::Missing("username"))?,
            realm: parts.realm.ok_or(DigestError::Missing("realm"))?,
            nonce: parts.nonce.ok_or(DigestError::Missing("nonce"))?,
            uri: parts.uri.ok_or(DigestError::Missing("uri"))?,
            response: parts.response.ok_or(DigestError::Missing("response"))?,
            opaque: parts.opaque,
            algorithm: parts
                .algorithm
                .map_or(Ok(Algorithm::Md5), |name| Algorithm::parse(name.raw()))?,
            qop,
            nonce_count: qop.map(|_| parse_count(count.raw())).transpose()?,
            count,
            cnonce,
        })
    }

    /// Whether the client knows the password of `user` in `realm`. `body` matters for
    /// [`Qop::AuthInt`] only. Says nothing about the nonce's age or reuse.
    ///
    /// # Source
    /// RFC 7616 §3.4.1
    #[must_use]
    pub fn verify(
        &self,
        user: &str,
        realm: &str,
        password: &str,
        method: Method<'_>,
        body: &[u8],
    ) -> bool {
        let named = self.username.is(user) && self.realm.is(realm);
        named && self.verify_ha1(&self.algorithm.ha1(user, realm, password), method, body)
    }

    /// As [`verify`](Self::verify), with the kept hash of name, realm and password. The caller has
    /// found the hash by name and realm.
    #[must_use]
    pub fn verify_ha1(&self, ha1: &Ha1, method: Method<'_>, body: &[u8]) -> bool {
        let question = Question {
            nonce: Text::Escaped(self.nonce),
            uri: Text::Escaped(self.uri),
            cnonce: Text::Escaped(self.cnonce),
            count: self.count.raw().as_bytes(),
            qop: self.qop,
        };
        ha1.algorithm == self.algorithm
            && question
                .response(ha1, method, body)
                .matches(self.response.raw())
    }
}

/// The parameters as they stand.
#[derive(Default)]
struct Parts<'a> {
    username: Option<Quoted<'a>>,
    realm: Option<Quoted<'a>>,
    nonce: Option<Quoted<'a>>,
    uri: Option<Quoted<'a>>,
    response: Option<Quoted<'a>>,
    opaque: Option<Quoted<'a>>,
    algorithm: Option<Quoted<'a>>,
    qop: Option<Quoted<'a>>,
    nc: Option<Quoted<'a>>,
    cnonce: Option<Quoted<'a>>,
}

impl<'a> Parts<'a> {
    fn parse(value: &'a str) -> Result<Self, DigestError> {
        let mut parts = Self::default();
        for param in AuthParams::of(value)? {
            let (name, value) = param?;
            if let Some(slot) = parts.slot(name) {
                set(slot, value)?;
            }
        }
        Ok(parts)
    }

    fn slot(&mut self, name: &str) -> Option<&mut Option<Quoted<'a>>> {
        let mut lower = [0; 9];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        Some(match &*lower {
            b"username" => &mut self.username,
            b"realm" => &mut self.realm,
            b"nonce" => &mut self.nonce,
            b"uri" => &mut self.uri,
            b"response" => &mut self.response,
            b"opaque" => &mut self.opaque,
            b"algorithm" => &mut self.algorithm,
            b"qop" => &mut self.qop,
            b"nc" => &mut self.nc,
            b"cnonce" => &mut self.cnonce,
            _ => return None,
        })
    }
}

/// A parameter that must be there if `qop` is.
fn required_with<'a>(
    qop: Option<Qop>,
    value: Option<Quoted<'a>>,
    name: &'static str,
) -> Result<Quoted<'a>, DigestError> {
    match (qop, value) {
        (Some(_), None) => Err(DigestError::Missing(name)),
        (_, value) => Ok(value.unwrap_or_default()),
    }
}

fn parse_count(digits: &str) -> Result<u32, DigestError> {
    let hex = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    hex.then(|| u32::from_str_radix(digits, 16).ok())
        .flatten()
        .ok_or(DigestError::Malformed)
}

/// What the proof is made over, besides name and password.
pub(super) struct Question<'a> {
    pub(super) nonce: Text<'a>,
    pub(super) uri: Text<'a>,
    pub(super) cnonce: Text<'a>,
    pub(super) count: &'a [u8],
    pub(super) qop: Option<Qop>,
}

/// Text to hash: ours as it is, a peer's without its escapes.
pub(super) enum Text<'a> {
    Plain(&'a str),
    Escaped(Quoted<'a>),
}

impl Text<'_> {
    fn hash(&self, hash: &mut Hasher) {
        match self {
            Self::Plain(text) => hash.update(text.as_bytes()),
            Self::Escaped(text) => text.hash(hash),
        }
    }
}

impl Question<'_> {
    /// The proof.
    ///
    /// # Source
    /// RFC 7616 §3.4.1–§3.4.3
    pub(super) fn response(&self, ha1: &Ha1, method: Method<'_>, body: &[u8]) -> Hex {
        let ha2 = self.ha2(ha1.algorithm, method, body);
        let mut hash = Hasher::new(ha1.algorithm);
        hash.update(ha1.hex.as_bytes());
        hash.update(b":");
        self.nonce.hash(&mut hash);
        if let Some(qop) = self.qop {
            hash.update(b":");
            hash.update(self.count);
            hash.update(b":");
            self.cnonce.hash(&mut hash);
            hash.update(b":");
            hash.update(qop.as_str().as_bytes());
        }
        hash.update(b":");
        hash.update(ha2.as_bytes());
        hash.finish().hex()
    }

    fn ha2(&self, algorithm: Algorithm, method: Method<'_>, body: &[u8]) -> Hex {
        let mut hash = Hasher::new(algorithm);
        hash.update(method.as_str().as_bytes());
        hash.update(b":");
        self.uri.hash(&mut hash);
        if self.qop == Some(Qop::AuthInt) {
            let mut inner = Hasher::new(algorithm);
            inner.update(body);
            hash.update(b":");
            hash.update(inner.finish().hex().as_bytes());
        }
        hash.finish().hex()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Challenge;

    const GET: Method<'static> = Method::Other("GET");

    #[test]
    fn rfc_2617_section_3_5() {
        let value = r#"Digest username="Mufasa", realm="testrealm@host.com",
            nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", uri="/dir/index.html", qop=auth,
            nc=00000001, cnonce="0a4f113b", response="6629fae49393a05397450978507c4ef1",
            opaque="5ccc069c403ebaf9f0171e9517f40e41""#;
        let credentials = Credentials::parse(value).unwrap();
        let realm = "testrealm@host.com";
        assert!(credentials.verify("Mufasa", realm, "Circle Of Life", GET, b""));
        assert!(!credentials.verify("Mufasa", realm, "Circle of Life", GET, b""));
        assert_eq!(credentials.nonce_count, Some(1));
    }

    #[test]
    fn rfc_2069_without_quality_of_protection() {
        let value = r#"Digest username="Mufasa", realm="testrealm@host.com",
            nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", uri="/dir/index.html",
            response="1949323746FE6A43EF61F9606E7FEBEA""#;
        let credentials = Credentials::parse(value).unwrap();
        assert!(credentials.verify("Mufasa", "testrealm@host.com", "CircleOfLife", GET, b""));
        assert_eq!(credentials.nonce_count, None);
    }

    #[test]
    fn rfc_7616_section_3_9_1() {
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            (
                "SHA-256",
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ] {
            let value = format!(
                r#"Digest username="Mufasa", realm="http-auth@example.org",
                uri="/dir/index.html", algorithm={algorithm},
                nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001,
                cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth,
                response="{response}", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#
            );
            let credentials = Credentials::parse(&value).unwrap();
            let realm = "http-auth@example.org";
            assert!(credentials.verify("Mufasa", realm, "Circle of Life", GET, b""));
        }
    }

    /// RFC 7616 §3.9.2 with the proof that SHA-512/256 really gives: the one printed there is wrong
    /// (it is of no standard hash), so this one was made with OpenSSL.
    #[test]
    fn rfc_7616_section_3_9_2() {
        let challenge = Challenge::new(
            "api@example.org",
            "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
            Algorithm::Sha512_256,
        );
        let (user, password) = ("J\u{e4}s\u{f8}n Doe", "Secret, or not?");
        let cnonce = "NTg6RKcb9boFIAS3KrFK9BGeh+niz/sm";
        let response = challenge.respond(user, password, GET, "/doe.json", b"", 1, cnonce);
        assert_eq!(
            response.hash(),
            "7a4e1192babbba02e91182d2895bfdbf7adafc6e48d4e517ca301974843d840c"
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        let full = [
            "username=\"u\"",
            "realm=\"r\"",
            "nonce=\"n\"",
            "uri=\"sip:h\"",
            "response=\"00\"",
            "qop=auth",
            "nc=1",
            "cnonce=\"c\"",
        ];
        let without = |index: usize| {
            let mut params = full.to_vec();
            params.remove(index);
            format!("Digest {}", params.join(","))
        };
        for (index, name) in [
            (0, "username"),
            (1, "realm"),
            (2, "nonce"),
            (3, "uri"),
            (4, "response"),
            (6, "nc"),
            (7, "cnonce"),
        ] {
            assert_eq!(
                Credentials::parse(&without(index)),
                Err(DigestError::Missing(name))
            );
        }
        assert!(Credentials::parse(&without(5)).is_ok());
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let with = |extra: &str| {
            let text = format!(
                "Digest username=\"u\",realm=\"r\",nonce=\"n\",uri=\"x\",response=\"0\",{extra}"
            );
            Credentials::parse(&text).map(|_| ())
        };
        assert_eq!(with("realm=\"r\""), Err(DigestError::Malformed));
        assert_eq!(with("algorithm=AKAv1-MD5"), Err(DigestError::Algorithm));
        assert_eq!(with("qop=x,nc=1,cnonce=\"\""), Err(DigestError::Qop));
        assert_eq!(
            with("qop=auth,nc=+1,cnonce=\"\""),
            Err(DigestError::Malformed)
        );
        let long = with("qop=auth,nc=123456789,cnonce=\"\"");
        assert_eq!(long, Err(DigestError::Malformed));
        assert_eq!(with("x-new=\"y\",X-New=z"), Ok(()));
        assert_eq!(
            Credentials::parse("Bearer abc").map(|_| ()),
            Err(DigestError::Scheme)
        );
    }

    /// RFC 7616 §6.1, RFC 8760 §2.
    #[test]
    fn a_hash_of_another_algorithm_never_fits() {
        let challenge = Challenge::new("r", "n", Algorithm::Md5);
        let value = challenge
            .respond("u", "p", Method::Register, "sip:r", b"", 1, "c")
            .to_string();
        let credentials = Credentials::parse(&value).unwrap();
        let fits = |algorithm: Algorithm| {
            credentials.verify_ha1(&algorithm.ha1("u", "r", "p"), Method::Register, b"")
        };
        assert!(fits(Algorithm::Md5));
        assert!(!fits(Algorithm::Sha256));
    }
}
