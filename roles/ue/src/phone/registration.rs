//! What a phone knows of its registration.

use std::time::{Duration, Instant};

use base::Token;
use sip::{HeaderName, Message, NameAddr};

/// A registration, wanted or not (RFC 3261 §10.2).
#[derive(Debug)]
pub(super) struct Registration {
    /// All registrations of a phone share their Call-ID.
    pub(super) call_id: Token,
    pub(super) tag: Token,
    pub(super) cseq: u32,
    /// Seconds that are wanted; 0 removes the registration.
    pub(super) expires: u32,
    /// Seconds that the last REGISTER asked for.
    pub(super) asked: u32,
    /// A REGISTER is under way.
    pub(super) is_pending: bool,
    /// Something else was wanted meanwhile.
    pub(super) again: bool,
    /// When to register again.
    pub(super) refresh: Option<Instant>,
}

impl Registration {
    pub(super) fn new(call_id: Token, tag: Token) -> Self {
        Self {
            call_id,
            tag,
            cseq: 0,
            expires: 0,
            asked: 0,
            again: false,
            is_pending: false,
            refresh: None,
        }
    }

    /// The registration holds for `seconds`: half of it is left when it is refreshed.
    pub(super) fn granted(&mut self, now: Instant, seconds: u32) {
        self.is_pending = false;
        self.refresh = Some(now + Duration::from_secs(u64::from(seconds)) / 2);
    }

    /// It failed; a passing failure is no reason to give up.
    pub(super) fn failed(&mut self, now: Instant, is_passing: bool) {
        self.is_pending = false;
        self.refresh = (is_passing && self.expires > 0).then(|| now + RETRY);
    }
}

/// How long a registration holds, for the contact with this URI; `asked` if the answer doesn't say.
pub(super) fn granted_seconds(answer: &Message<'_>, contact: &str, asked: u32) -> u32 {
    let ours = |address: &NameAddr<'_>| {
        let (Ok(ours), Ok(theirs)) = (sip::Uri::parse(contact), address.parse_uri()) else {
            return false;
        };
        ours.equivalent(&theirs)
    };
    let bound = answer.contacts().filter_map(Result::ok).find(ours);
    let of_contact = bound.and_then(|address| address.params.find("expires")?.parse().ok());
    let of_header = || answer.number(HeaderName::Expires).ok().flatten();
    of_contact.or_else(of_header).unwrap_or(asked)
}

/// How long a phone waits after a failure of the server or the network.
const RETRY: Duration = Duration::from_secs(30);
