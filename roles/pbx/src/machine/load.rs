//! What a slot holds, and what it can do.

use std::time::Instant;

use engine::Out;
use sip::{Flow, HeaderName, Message};

use super::Pbx;
use crate::context::ALLOW;
use crate::events::ALLOW_EVENTS;
use crate::{Event, registrar};

/// What a slot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load {
    /// Calls.
    pub calls: usize,
    /// SIP transactions.
    pub transactions: usize,
    /// Media sessions, closing ones included.
    pub sessions: usize,
    /// Dialogs.
    pub legs: usize,
    /// Who waits until a server or a certificate is found.
    pub searches: usize,
    /// Subscriptions of watchers.
    pub subscriptions: usize,
    /// What phones have published.
    pub publications: usize,
    /// Messages on their way.
    pub messages: usize,
}

impl Pbx {
    /// How many calls, transactions and media sessions the slot holds; all zero when it is idle.
    #[must_use]
    pub fn load(&self) -> Load {
        let (forwarded, relays) = self.proxy.load();
        Load {
            calls: self.calls.len() + forwarded,
            transactions: self.transactions.len(),
            sessions: self.index.sessions.len() + self.index.closing.len(),
            legs: self.index.legs.len() + self.index.lingering.len() + relays,
            searches: self.locator.waiting() + self.notary.waiting(),
            subscriptions: self.notifier.len(),
            publications: self.publisher.len(),
            messages: self.courier.len(),
        }
    }

    pub(super) fn options(
        &mut self,
        now: Instant,
        flow: Flow,
        request: &Message<'_>,
        out: &mut Out<Event>,
    ) {
        registrar::reply(&mut self.context(now, out), flow, request, 200, |writer| {
            writer
                .header(HeaderName::Allow, ALLOW)
                .header(HeaderName::Accept, ACCEPT);
            writer.text(HeaderName::AllowEvents, ALLOW_EVENTS);
            writer.header(HeaderName::Supported, "100rel, timer, path");
        });
    }
}

/// Content types of requests that we understand or pass on (RFC 3261 §20.1).
const ACCEPT: &str = "application/sdp, application/pidf+xml, text/plain, message/cpim, \
    application/im-iscomposing+xml";
