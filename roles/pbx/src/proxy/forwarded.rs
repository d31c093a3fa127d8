//! The record of a call that is forwarded: the parties talk to each other, and we see their requests go
//! by.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base::Token;
use media::Side;
use sip::{Flow, HeaderName, Message, ServerKey, SessionExpires, StatusCode};

use super::hop::Party;
use crate::call::{self, Admission, Caller};
use crate::context::Context;
use crate::trunk::TrunkLeg;
use crate::{CallRecord, Cause, Event};

/// One forwarded call, from its INVITE to the BYE, or until nothing was heard of it for too long.
#[derive(Debug)]
pub(super) struct Forwarded {
    /// Also the token in our Record-Route.
    pub(super) id: Token,
    pub(super) record: Box<CallRecord>,
    /// The INVITE until it has its final answer.
    pub(super) invite: Option<ServerKey>,
    /// The user who was called, if it was one of ours.
    pub(super) callee_user: Option<Arc<str>>,
    /// Who calls, and by which trunk if by any.
    from: Caller,
    tags: [Box<str>; 2],
    caller: Party,
    callee: Option<Party>,
    answered_at: Option<Instant>,
    /// When the session has ended if nobody refreshes it.
    pub(super) expires: Option<Instant>,
    is_ringing: bool,
    /// Why the INVITE is refused, if that is not the callees' doing.
    pub(super) given_up: Option<Cause>,
    _admission: Admission,
}

impl Forwarded {
    /// Begins the record of an INVITE that came by `flow`.
    pub(super) fn begin(
        ctx: &mut Context<'_>,
        id: Token,
        server: ServerKey,
        flow: Flow,
        request: &Message<'_>,
        from: Caller,
        number: &str,
    ) -> Self {
        let started = ctx.clock.unix(ctx.now);
        let record = CallRecord::begin(id, request, &from, number, started);
        ctx.out.events.push(record.started(flow.remote, true));
        let tag = request.from().ok().and_then(|from| from.tag());
        Self {
            id,
            record: Box::new(record),
            invite: Some(server),
            callee_user: None,
            from,
            tags: [tag.unwrap_or("").into(), Box::default()],
            caller: Party::of_request(request, flow),
            callee: None,
            answered_at: None,
            expires: None,
            is_ringing: false,
            given_up: None,
            _admission: Admission::new(&ctx.services.calls),
        }
    }

    /// The caller as the callee is told: nobody who wants to stay unknown, or for whom nobody answers
    /// whom we trust.
    ///
    /// # Source
    /// RFC 3325 §5, §9.3
    pub(super) fn identity(&self) -> Option<&call::Party> {
        let Caller { party, trunk } = &self.from;
        let trusted = |leg: &TrunkLeg| leg.trunk.identity.trusted;
        let is_told = !party.private && trunk.as_ref().is_none_or(trusted);
        is_told.then_some(party)
    }

    /// From which side a request in the dialog comes.
    pub(super) fn sender(&self, request: &Message<'_>) -> Side {
        let tag = request.from().ok().and_then(|from| from.tag());
        if tag.is_some_and(|tag| *tag == *self.tags[0]) {
            Side::Caller
        } else {
            Side::Callee
        }
    }

    /// The party on a side, if we have heard of it.
    pub(super) fn party(&self, side: Side) -> Option<Party> {
        match side {
            Side::Caller => Some(self.caller),
            Side::Callee => self.callee,
        }
    }

    /// A party has sent a request: where it is now.
    pub(super) fn learn(&mut self, side: Side, request: &Message<'_>, flow: Flow) {
        match (side, &mut self.callee) {
            (Side::Caller, _) => self.caller = Party::of_request(request, flow),
            (Side::Callee, Some(callee)) => callee.flow = flow,
            (Side::Callee, None) => self.callee = Some(Party::of_request(request, flow)),
        }
    }

    /// Whether both tags of a request are those of the dialog that was recorded: a forked INVITE may
    /// have made others beside it.
    pub(super) fn is_about(&self, request: &Message<'_>) -> bool {
        let (from, to) = (request.from().ok(), request.to().ok());
        let from = from.and_then(|from| from.tag()).unwrap_or("");
        let to = to.and_then(|to| to.tag()).unwrap_or("");
        let [caller, callee] = &self.tags;
        [from, to] == [&**caller, &**callee] || [from, to] == [&**callee, &**caller]
    }

    pub(super) fn rings(&mut self, ctx: &mut Context<'_>) {
        if !std::mem::replace(&mut self.is_ringing, true) {
            ctx.out.events.push(Event::CallRinging { call: self.id });
        }
    }

    /// A callee has accepted. `false`: one had before.
    pub(super) fn accepted(
        &mut self,
        ctx: &mut Context<'_>,
        response: &Message<'_>,
        flow: Flow,
    ) -> bool {
        if self.answered_at.is_some() {
            return false;
        }
        let at = ctx.clock.unix(ctx.now);
        let tag = response.to().ok().and_then(|to| to.tag());
        self.tags[1] = tag.unwrap_or("").into();
        self.callee = Some(Party::of_response(flow, self.callee_user.is_some()));
        self.invite = None;
        self.answered_at = Some(ctx.now);
        self.record.answered = Some(at);
        self.record.answered_by = self.callee_user.clone();
        self.refreshed(ctx.now, response);
        ctx.out
            .events
            .push(Event::CallAnswered { call: self.id, at });
        true
    }

    /// A 2xx to INVITE or UPDATE: from now on the session lasts as long as it says (RFC 4028 §8.2).
    pub(super) fn refreshed(&mut self, now: Instant, response: &Message<'_>) {
        let value = response.header(HeaderName::SessionExpires);
        let interval = value.and_then(|value| SessionExpires::parse(value).ok());
        let life = interval.map_or(LONGEST_SILENCE, |interval| {
            Duration::from_secs(u64::from(interval.seconds)).clamp(SHORTEST, LONGEST_SILENCE)
        });
        self.expires = Some(now + life + GRACE);
    }

    /// Ends the call and leaves its record.
    pub(super) fn end(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        cause: Cause,
        status: StatusCode,
    ) {
        self.record.cause = cause;
        if self.answered_at.is_none() {
            self.record.status = status;
        }
        self.record.ended = ctx.clock.unix(ctx.now);
        self.record.duration_ms = self.answered_at.map_or(0, |at| {
            ctx.now.saturating_duration_since(at).as_millis() as u64
        });
        ctx.out.events.push(Event::CallEnded(self.record));
    }
}

/// How long the record of an answered call stays without a session timer: a party that vanished without
/// BYE leaves it for no longer.
const LONGEST_SILENCE: Duration = Duration::from_secs(12 * 3600);

/// The shortest interval that RFC 4028 §4 allows.
const SHORTEST: Duration = Duration::from_secs(90);

/// How much later than the parties we give the session up: they do so by BYE.
const GRACE: Duration = Duration::from_secs(32);
