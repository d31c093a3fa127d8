//! A phone that plays a provider's switch: it wants to know who sends it requests.

use std::time::Instant;

use sip::digest::{Algorithm, Challenge, Credentials};
use sip::{HeaderName, Message, Method};

use super::Phone;
use super::line::Pending;

/// The challenge that the provider has made last, and how many requests may answer it yet.
#[derive(Debug, Default)]
pub(super) struct Gate {
    nonce: String,
    left: u32,
}

impl Phone {
    /// Whether a provider that challenges lets a request in; else it is answered.
    pub(super) fn lets_in(
        &mut self,
        now: Instant,
        pending: &Pending,
        request: &Message<'_>,
    ) -> bool {
        let Some(uses) = self.line.manner.challenges else {
            return true;
        };
        let method = request.method().unwrap_or(Method::Other(""));
        if matches!(
            method,
            Method::Ack | Method::Cancel | Method::Options | Method::Notify
        ) {
            return true;
        }
        let fields = request.fields().iter();
        let given = fields
            .filter(|field| field.name == HeaderName::ProxyAuthorization)
            .find_map(|field| Credentials::parse(field.value).ok());
        if let Some(given) = given.filter(|given| *given.nonce.unquoted() == *self.gate.nonce) {
            let body = request.body();
            if !given.verify(PROVIDER_ACCOUNT, REALM, PROVIDER_ACCOUNT, method, body) {
                self.line.complain("a wrong proof of who the server is");
            } else if self.gate.left > 0 {
                self.gate.left -= 1;
                return true;
            }
        }
        self.gate = Gate {
            nonce: self.line.mint.token().to_string(),
            left: uses,
        };
        let challenge = Challenge::new(REALM, &self.gate.nonce, Algorithm::Md5).stale(true);
        let challenge = challenge.to_string();
        let to = request.to().ok().and_then(|to| to.tag());
        let tag = match to {
            Some(_) => String::new(),
            None => self.line.mint.token().to_string(),
        };
        self.line.respond(now, pending, 407, &tag, |mut writer| {
            writer.header(HeaderName::ProxyAuthenticate, challenge);
            writer.finish();
        });
        false
    }
}

/// Name and password of the server at the provider.
pub(crate) const PROVIDER_ACCOUNT: &str = "acct";

const REALM: &str = "provider";
