//! Candidates of a party that come after its description.
//!
//! Ours are all known when a description of ours is written, so we trickle none: half of it is enough.
//!
//! # Source
//! RFC 8838 §16, RFC 8840 §4.4

use media::Side;
use sdp::Sdp;
use sip::{HeaderName, Message};

use super::leg::Leg;
use super::{Alive, Call};
use crate::context::{Context, Pending};

impl Call {
    /// Takes INFO with candidates of a party. Where its checks are not ours they are for the other party.
    pub(super) fn trickled(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        from: Side,
        pending: Pending,
        request: &Message<'_>,
    ) -> Alive {
        let changing = self.is_changing();
        let Some(leg) = &mut self.legs[from.index()] else {
            return Some(self);
        };
        if leg.passes_checks() {
            return self.relay(ctx, from, pending, request);
        }
        let status = leg.take_candidates(request);
        // What is being agreed on is told to the workers with all candidates once it is.
        let heard = leg.heard.clone();
        if let (200, false, Some(session)) = (status, changing, &self.session)
            && self.invite.is_none()
            && let Ok(heard) = Sdp::parse(&heard)
        {
            session.connect(ctx, from, leg, &heard);
        }
        ctx.refuse(pending.server, &pending.flow, request, status, "");
        Some(self)
    }
}

impl Leg {
    /// Whether the party has checks that are not ours to answer.
    fn passes_checks(&self) -> bool {
        let Ok(heard) = Sdp::parse(&self.heard) else {
            return false;
        };
        let mut checked = heard.media().enumerate();
        checked.any(|(index, media)| {
            let plan = self.end.plan(index, &heard);
            media.inherited("ice-ufrag").is_some() && plan.is_some_and(|plan| plan.ice.is_none())
        })
    }

    /// Takes the candidates in INFO, and says how it is answered.
    ///
    /// # Source
    /// RFC 8840 §4.3, §5.2
    pub(super) fn take_candidates(&mut self, request: &Message<'_>) -> u16 {
        let heard = self.heard.clone();
        let body = std::str::from_utf8(request.body());
        let taken = match (body, Sdp::parse(&heard)) {
            (Ok(body), Ok(heard)) => self.trickled.take(body, &heard).is_ok(),
            _ => false,
        };
        if taken { 200 } else { 400 }
    }
}

/// Whether INFO brings candidates.
///
/// # Source
/// RFC 8840 §10.1, §9.2
pub(super) fn brings_candidates(request: &Message<'_>) -> bool {
    let first = |value: Option<&str>| {
        let word = value.and_then(|value| value.split(';').next());
        word.unwrap_or_default().trim().to_ascii_lowercase()
    };
    first(request.other_header("Info-Package")) == PACKAGE
        && first(request.header(HeaderName::ContentType)) == FRAGMENT
}

/// The package, and the option that names it.
pub(super) const PACKAGE: &str = "trickle-ice";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
