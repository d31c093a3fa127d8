//! Answers to digest challenges.

use std::fmt::Display;

use sip::digest::{self, Qop};
use sip::{HeaderName, Message, Method};

/// A challenge that can be answered, as often as the server likes its nonce.
#[derive(Clone, Debug)]
pub(crate) struct Challenge {
    /// The header field that answers it.
    header: HeaderName,
    /// Its text.
    value: String,
    /// How often it was answered.
    count: u32,
}

impl Challenge {
    /// The first challenge of a 401 or 407 that can be answered.
    pub(crate) fn of_response(response: &Message<'_>) -> Option<Self> {
        let kinds = [
            (HeaderName::WwwAuthenticate, HeaderName::Authorization),
            (
                HeaderName::ProxyAuthenticate,
                HeaderName::ProxyAuthorization,
            ),
        ];
        kinds.into_iter().find_map(|(asks, header)| {
            let mut fields = response.fields().iter().filter(|field| field.name == asks);
            let field = fields.find(|field| parse(field.value).is_some())?;
            Some(Self {
                header,
                value: field.value.to_owned(),
                count: 0,
            })
        })
    }

    /// The header field for one request; each call counts the nonce up. `salt` differs between
    /// requests.
    pub(crate) fn answer(
        &mut self,
        method: Method<'_>,
        uri: &str,
        user: impl Display,
        password: impl Display,
        salt: u32,
    ) -> Option<(HeaderName, String)> {
        self.count += 1;
        let challenge = parse(&self.value)?;
        let (user, password) = (user.to_string(), password.to_string());
        let cnonce = format!("{salt:08x}");
        let response = challenge.respond(&user, &password, method, uri, b"", self.count, &cnonce);
        Some((self.header, response.to_string()))
    }
}

/// Without `auth-int`: phones don't sign bodies.
fn parse(value: &str) -> Option<digest::Challenge<'_>> {
    let challenge = digest::Challenge::parse(value).ok()?;
    (challenge.qop != Some(Qop::AuthInt)).then_some(challenge)
}
