//! The proxy: forwards requests and responses that others have made (RFC 3261 §16).
//!
//! It stands on the same [`Transactions`] as everything else of a slot, and decides nothing that is
//! policy: its user finds the targets, says whether the proxy stays on the route, and may drop or add
//! header fields. What it does not understand passes octet by octet, in the same order.
//!
//! ```text
//! request  → Message::check, check → refuse it, or              (§16.3)
//!          → Routing::of    → where it goes by its Route       (§16.4)
//!          → Context::begin → sent to the targets              (§16.5, §16.6)
//! response → Context::receive → passed on, or kept until all branches have ended  (§16.7)
//! deadline → Context::expire                                   (§16.8)
//! error    → Context::lost                                     (§16.9)
//! CANCEL   → Context::cancel                                   (§16.10)
//! ACK of a 2xx → forward_stateless                             (§16.11)
//! ```
//!
//! - [`Policy`]: what the user decides. - [`Env`]: what forwarding may touch.
//! - `check`: may it be forwarded? - `route`: where does its Route lead, and tokens for Record-Route.
//! - `copy`: a message with few changes. - `forward`: the copy that is sent on.
//! - `context`: all branches of one request. - `best`: which of their answers counts.

mod best;
mod check;
mod context;
mod copy;
mod forward;
mod route;
mod target;

use std::net::SocketAddr;
use std::time::Instant;

use base::{Mint, Token};

pub use check::{Refusal, check};
pub use context::{Context, Progress, TIMER_C};
pub use forward::{forward_stateless, relay_late};
pub use route::{Routing, is_route_token, record_token};
pub use target::{MOST_SPARES, MOST_TARGETS, Spare, Target};

use crate::{Field, Flow, StatusCode, Transactions, Transmit, Writer};

/// What the user of the proxy decides.
pub trait Policy {
    /// What the user keeps beside each client transaction.
    type Owner: Clone;
    /// What the user keeps beside server transactions.
    type Kept: Clone;
    /// Where messages go.
    type Out: Transmit;

    /// Our address as the peer of `flow` is told it, for Via and Record-Route.
    fn address(&self, flow: &Flow) -> SocketAddr;

    /// Beside each client transaction of the context that is under way.
    fn owner(&self) -> Self::Owner;

    /// How the proxy stays on the way of later requests, if it does.
    fn record(&self) -> Record {
        Record::No
    }

    /// Whether a header field of the request is passed on. Those that the proxy itself changes are not
    /// asked about.
    fn keeps(&self, _field: &Field<'_>) -> bool {
        true
    }

    /// Adds header fields to the request that goes to `target`.
    fn add(&self, _target: &Target, _writer: &mut Writer<'_>) {}

    /// Adds header fields to a response that the proxy itself makes.
    fn sign(&self, _writer: &mut Writer<'_>) {}

    /// The way to a Contact of a 3xx that the proxy shall try itself; none: the 3xx is passed on.
    ///
    /// # Source
    /// RFC 3261 §16.7 step 4.
    fn redirect(&self, _contact: &str) -> Option<Flow> {
        None
    }
}

/// How a proxy stays on the way of later requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record {
    /// Not at all.
    No,
    /// Record-Route with this token: of the dialog that the request makes (RFC 3261 §16.6 step 4).
    Route(Token),
    /// Path with this token: towards the contact that the request registers (RFC 3327 §5.2).
    Path(Token),
}

/// What forwarding may touch while it handles one input.
#[derive(Debug)]
pub struct Env<'a, P: Policy> {
    /// The time.
    pub now: Instant,
    /// Makes branches.
    pub mint: &'a mut Mint,
    /// The slot's transactions.
    pub transactions: &'a mut Transactions<P::Owner, P::Kept>,
    /// Where messages go.
    pub out: &'a mut P::Out,
    /// For a message on its way into a transaction.
    pub scratch: &'a mut Vec<u8>,
    /// What the user decides.
    pub policy: &'a P,
}

impl<P: Policy> Env<'_, P> {
    /// Answers a request in its transaction; `add` adds header fields.
    pub fn answer(
        &mut self,
        server: crate::ServerKey,
        request: &crate::Message<'_>,
        source: &Flow,
        status: StatusCode,
        add: impl FnOnce(&mut Writer<'_>),
    ) {
        let tag = self.transactions.stateless_tag(self.mint.slot(), request);
        // A provisional answer of ours makes no dialog (RFC 3261 §12.1).
        let tag = if status == StatusCode(100) {
            ""
        } else {
            tag.as_str()
        };
        self.scratch.clear();
        let mut writer = Writer::response_to(self.scratch, request, source, status, tag);
        self.policy.sign(&mut writer);
        add(&mut writer);
        writer.finish();
        self.transactions
            .respond(self.now, server, status, self.scratch, self.out);
    }
}

#[cfg(test)]
mod tests;
