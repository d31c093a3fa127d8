//! The client's side: learns from challenges, and proves itself with the next request.

use super::{Algorithm, Challenge, Qop};
use crate::header::HeaderName;
use crate::{Message, Method, Writer};

/// Name and password by which a client is known.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The user name for digest authentication.
    pub user: String,
    /// The password in clear.
    pub password: String,
}

/// What a client knows of the servers and proxies on its way: their last challenges.
///
/// ```
/// use sip::digest::{Account, Answers, Learned};
/// use sip::{Message, Method, Writer};
///
/// let account = Account { user: "1001".into(), password: "secret".into() };
/// let mut answers = Answers::default();
/// let refusal = Message::parse(b"SIP/2.0 401 Unauthorized\r\n\
///     WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n\r\n")?;
/// assert_eq!(answers.learn(&refusal), Learned::TryAgain);
/// let mut bytes = Vec::new();
/// let mut writer = Writer::request(&mut bytes, Method::Register, "sip:example.com");
/// answers.put(&mut writer, &account, Method::Register, "sip:example.com", b"", "f00d");
/// writer.finish();
/// assert!(bytes.windows(8).any(|part| part == b"nc=00000"));
/// // The same again would be refused again.
/// assert_eq!(answers.learn(&refusal), Learned::Refused);
/// # Ok::<(), sip::ParseError>(())
/// ```
///
/// # Source
/// RFC 3261 §22, RFC 7616 §3.3, §3.4
#[derive(Clone, Debug, Default)]
pub struct Answers {
    known: Vec<Known>,
}

/// What a challenge is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Learned {
    /// The request may be sent again, with credentials.
    TryAgain,
    /// Name or password are wrong, or there is no challenge that can be answered.
    Refused,
}

/// One challenge that has been learnt.
#[derive(Clone, Debug)]
struct Known {
    /// Of a proxy (407), not of the server itself (401).
    proxy: bool,
    realm: Box<str>,
    nonce: Box<str>,
    opaque: Option<Box<str>>,
    algorithm: Algorithm,
    qop: Option<Qop>,
    /// How often the nonce has been used.
    count: u32,
    /// How often it has been answered since a request was last let in.
    tries: u8,
}

impl Answers {
    /// Takes the challenges of a 401 or 407.
    ///
    /// A server that challenges what has just been answered thinks the password wrong, unless it says
    /// that only the nonce was too old; that too counts twice at most.
    pub fn learn(&mut self, response: &Message<'_>) -> Learned {
        let mut learned = Learned::Refused;
        for (name, proxy) in [
            (HeaderName::WwwAuthenticate, false),
            (HeaderName::ProxyAuthenticate, true),
        ] {
            // A challenge has commas of its own: each field is one value.
            let fields = response.fields().iter();
            let values = fields
                .filter(|field| field.name == name)
                .map(|field| field.value);
            for challenge in first_of_each_realm(values) {
                if self.take(proxy, &challenge) {
                    learned = Learned::TryAgain;
                } else {
                    return Learned::Refused;
                }
            }
        }
        learned
    }

    /// Whether the challenge may be answered.
    fn take(&mut self, proxy: bool, challenge: &Challenge<'_>) -> bool {
        let old = self
            .known
            .iter()
            .position(|known| known.proxy == proxy && *known.realm == *challenge.realm);
        let tries = match old {
            Some(index) => self.known.remove(index).tries,
            None => 0,
        };
        let most = if challenge.stale { MOST_STALE } else { 1 };
        if tries >= most || self.known.len() >= MOST_KNOWN {
            return false;
        }
        self.known.push(Known {
            proxy,
            realm: (&*challenge.realm).into(),
            nonce: (&*challenge.nonce).into(),
            opaque: challenge.opaque.map(Into::into),
            algorithm: challenge.algorithm,
            qop: challenge.qop,
            count: 0,
            tries: tries + 1,
        });
        true
    }

    /// The request was let in: a later challenge means that the nonce is used up.
    pub fn accepted(&mut self) {
        for known in &mut self.known {
            known.tries = 0;
        }
    }

    /// Whether there is nothing to answer yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Adds Authorization and Proxy-Authorization for all that is known. `uri` is the Request-URI as it
    /// is sent, `cnonce` a fresh random token.
    pub fn put(
        &mut self,
        writer: &mut Writer<'_>,
        account: &Account,
        method: Method<'_>,
        uri: &str,
        body: &[u8],
        cnonce: &str,
    ) {
        for known in &mut self.known {
            known.count = known.count.saturating_add(1);
            let challenge = Challenge {
                realm: (&*known.realm).into(),
                nonce: (&*known.nonce).into(),
                opaque: known.opaque.as_deref(),
                algorithm: known.algorithm,
                stale: false,
                qop: known.qop,
            };
            let response = challenge.respond(
                &account.user,
                &account.password,
                method,
                uri,
                body,
                known.count,
                cnonce,
            );
            let name = if known.proxy {
                HeaderName::ProxyAuthorization
            } else {
                HeaderName::Authorization
            };
            writer.header(name, response);
        }
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Of several challenges for one realm the first that we know (RFC 8760 §2.4).
fn first_of_each_realm<'a>(values: impl Iterator<Item = &'a str>) -> Vec<Challenge<'a>> {
    let mut chosen: Vec<Challenge<'a>> = Vec::new();
    for challenge in values.filter_map(|value| Challenge::parse(value).ok()) {
        let known = chosen.iter().any(|other| other.realm == challenge.realm);
        if !known && chosen.len() < MOST_KNOWN {
            chosen.push(challenge);
        }
    }
    chosen
}

/// Realms that one request may have to answer to: a server and a few proxies before it. Beyond that
/// the challenge counts as refused.
const MOST_KNOWN: usize = 4;

/// How often in a row a nonce may be called stale.
const MOST_STALE: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Credentials;

    fn account() -> Account {
        Account {
            user: "line".into(),
            password: "secret".into(),
        }
    }

    fn refusal(lines: &[&str]) -> Vec<u8> {
        format!("SIP/2.0 401 No\r\n{}\r\n\r\n", lines.join("\r\n")).into_bytes()
    }

    fn learn(answers: &mut Answers, lines: &[&str]) -> Learned {
        let bytes = refusal(lines);
        answers.learn(&Message::parse(&bytes).unwrap())
    }

    fn sent(answers: &mut Answers) -> String {
        let mut bytes = Vec::new();
        let mut writer = Writer::request(&mut bytes, Method::Invite, "sip:a@b");
        answers.put(
            &mut writer,
            &account(),
            Method::Invite,
            "sip:a@b",
            b"v=0",
            "c",
        );
        writer.finish();
        String::from_utf8(bytes).unwrap()
    }

    const MD5: &str = "WWW-Authenticate: Digest realm=\"r, s\", nonce=\"n1\", qop=\"auth\"";

    #[test]
    fn rfc3261_22_2_a_second_challenge_after_credentials_means_that_they_are_wrong() {
        let mut answers = Answers::default();
        assert_eq!(learn(&mut answers, &[MD5]), Learned::TryAgain);
        assert_eq!(learn(&mut answers, &[MD5]), Learned::Refused);
    }

    #[test]
    fn rfc7616_3_3_a_stale_nonce_is_replaced_but_not_for_ever() {
        let stale = "WWW-Authenticate: Digest realm=\"r, s\", nonce=\"n2\", stale=true";
        let mut answers = Answers::default();
        assert_eq!(learn(&mut answers, &[MD5]), Learned::TryAgain);
        assert_eq!(learn(&mut answers, &[stale]), Learned::TryAgain);
        assert_eq!(learn(&mut answers, &[stale]), Learned::Refused);
    }

    #[test]
    fn rfc7616_3_4_a_nonce_that_is_used_again_is_counted() {
        let mut answers = Answers::default();
        learn(&mut answers, &[MD5]);
        assert!(sent(&mut answers).contains("nc=00000001"));
        answers.accepted();
        assert!(sent(&mut answers).contains("nc=00000002"));
        // The nonce is used up: that is no refusal.
        assert_eq!(learn(&mut answers, &[MD5]), Learned::TryAgain);
        assert!(sent(&mut answers).contains("nc=00000001"));
    }

    #[test]
    fn rfc3261_22_3_proxy_and_server_are_answered_together() {
        let proxy = "Proxy-Authenticate: Digest realm=\"p\", nonce=\"n\", algorithm=SHA-256";
        let mut answers = Answers::default();
        assert_eq!(learn(&mut answers, &[MD5]), Learned::TryAgain);
        assert_eq!(learn(&mut answers, &[proxy]), Learned::TryAgain);
        let text = sent(&mut answers);
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_once(": ").unwrap().1.to_owned()
        };
        for (name, realm) in [("Authorization", "r, s"), ("Proxy-Authorization", "p")] {
            let value = value(name);
            let credentials = Credentials::parse(&value).unwrap();
            assert!(credentials.verify("line", realm, "secret", Method::Invite, b"v=0"));
        }
    }

    #[test]
    fn rfc8760_2_4_the_first_algorithm_that_is_known_is_taken() {
        let sha = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=SHA-512-256";
        let odd = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=AKAv1-MD5";
        let md5 = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=MD5";
        let mut answers = Answers::default();
        assert_eq!(learn(&mut answers, &[odd, sha, md5]), Learned::TryAgain);
        let text = sent(&mut answers);
        assert!(
            text.contains("SHA-512-256") && !text.contains("MD5"),
            "{text}"
        );
        assert_eq!(learn(&mut Answers::default(), &[odd]), Learned::Refused);
        assert_eq!(learn(&mut Answers::default(), &[]), Learned::Refused);
    }
}
