//! What a phone sends outside of calls: MESSAGE (RFC 3428) and PUBLISH (RFC 3903).

use std::time::Instant;

use sip::{Dialog, HeaderName, Message, Method};

use super::Phone;
use super::line::Owner;

/// A request that waits for its answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Errand {
    /// A message to a number.
    Write {
        /// The number.
        to: String,
    },
    /// The phone's presence; `ends`: not any more.
    Publish {
        /// It is taken back.
        ends: bool,
    },
}

impl Phone {
    /// Sends a message, or publishes. One errand at a time: a phone that has one under way forgets the
    /// next.
    pub(super) fn run_errand(&mut self, now: Instant, errand: Errand) {
        if self.errand.is_some() {
            return;
        }
        self.line.begin_authorization();
        self.errand = Some((errand, 0));
        self.send_errand(now);
    }

    fn send_errand(&mut self, now: Instant) {
        let Some((errand, tries)) = &mut self.errand else {
            return;
        };
        *tries += 1;
        let line = &mut self.line;
        let (domain, user) = (line.domain(), line.user.clone());
        let (method, to) = match errand {
            Errand::Write { to } => (Method::Message, to.clone()),
            Errand::Publish { .. } => (Method::Publish, user.clone()),
        };
        let ends = *errand == Errand::Publish { ends: true };
        let etag = self.etag.clone().filter(|_| method == Method::Publish);
        let target = format!("sip:{to}@{domain}");
        let (local, remote) = (format!("<sip:{user}@{domain}>"), format!("<{target}>"));
        let (call_id, tag) = (line.mint.token(), line.mint.token());
        let mut dialog =
            Dialog::begin(call_id.as_str(), tag, &local, &remote, &target, line.server);
        let authorization = line.authorization(method, &target);
        line.request(now, &mut dialog, method, Owner::Errand, |mut writer| {
            if let Some(authorization) = authorization {
                writer.header(HeaderName::Authorization, authorization);
            }
            if method == Method::Message {
                return writer.body("text/plain", b"hello");
            }
            writer.header(HeaderName::Event, "presence");
            writer.header(HeaderName::Expires, if ends { 0 } else { 600 });
            let known = etag.is_some();
            if let Some(etag) = etag {
                writer.other_header("SIP-If-Match", etag);
            }
            // What is known already is only refreshed.
            if known {
                writer.finish();
            } else {
                writer.body("application/pidf+xml", PIDF.as_bytes());
            }
        });
    }

    /// The answer, or none.
    pub(super) fn errand_answered(&mut self, now: Instant, response: Option<&Message<'_>>) {
        let status = response
            .and_then(Message::status)
            .map_or(408, |status| status.0);
        if status < 200 {
            return;
        }
        let again = match (&self.errand, response) {
            (Some((_, 1 | 2)), Some(response)) => status == 401 && self.line.challenged(response),
            _ => false,
        };
        if again {
            return self.send_errand(now);
        }
        let Some((Errand::Publish { ends }, _)) = self.errand.take() else {
            return;
        };
        let etag = response.and_then(|response| response.other_header("SIP-ETag"));
        self.etag = etag.filter(|_| status == 200 && !ends).map(str::to_owned);
    }
}

const PIDF: &str = "<?xml version=\"1.0\"?><presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
    entity=\"sip:x@sim\"><tuple id=\"a\"><status><basic>open</basic></status></tuple></presence>";
