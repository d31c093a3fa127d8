//! Changes of a session: re-INVITE and UPDATE of one party, passed on to the other.

use std::time::{Duration, Instant};

use base::Token;
use media::Side;
use sdp::Sdp;
use sip::transaction::GIVE_UP;
use sip::{ClientKey, Flow, HeaderName, Message, Method, SessionExpires, StatusCode};

use super::fork::put_timer;
use super::leg::{Refresh, put_capabilities};
use super::steps::{offer_of, streams_of};
use super::{Alive, Call, Session, Stage};
use crate::Cause;
use crate::context::{Context, Pending, SDP};

/// A change that one party asked for and the other has not answered yet.
#[derive(Debug)]
pub(super) struct Exchange {
    /// Who asked.
    from: Side,
    pending: Pending,
    /// What we sent to the other party, and how.
    client: ClientKey,
    method: Method<'static>,
    /// The request carried the offer; else the answer to it does.
    offered: bool,
    /// What the other party had agreed to before: what holds again if it refuses.
    agreed: String,
    /// When the change counts as unanswered, even if the other party has said that it is at it.
    pub(super) until: Instant,
}

/// A change that waits for ports of further streams, or for the other party's ACK.
#[derive(Debug)]
pub(super) struct Waiting {
    from: Side,
    pending: Pending,
}

/// An ACK that waits for the other party's, because that brings the answer it must carry.
#[derive(Clone, Copy, Debug)]
pub(super) struct LateAck {
    pub(super) side: Side,
    pub(super) cseq: u32,
}

impl Call {
    /// A re-INVITE or UPDATE of one party.
    pub(super) fn change(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        from: Side,
        pending: Pending,
        request: &Message<'_>,
    ) -> Alive {
        let is_invite = request.method() == Some(Method::Invite);
        if let Some(status) = self.objection(ctx, from, request, is_invite) {
            self.refuse_change(ctx, &pending, request, status);
            return Some(self);
        }
        let offer = match offer_of(request) {
            Ok(offer) => offer,
            Err(_) => {
                self.refuse_change(ctx, &pending, request, 488);
                return Some(self);
            }
        };
        if let Some(leg) = self.side(from) {
            leg.dialog.retarget(request);
        }
        match offer {
            None if !is_invite => {
                self.accept_change(ctx, from, &pending, None);
                Some(self)
            }
            offer if self.stage == Stage::Serving => {
                self.change_served(ctx, &pending, offer.as_ref());
                Some(self)
            }
            offer => self.pass_on(ctx, from, pending, offer.as_ref(), is_invite),
        }
    }

    /// Why a change can't be made now, as a status.
    fn objection(
        &mut self,
        ctx: &Context<'_>,
        from: Side,
        request: &Message<'_>,
        is_invite: bool,
    ) -> Option<u16> {
        let least = ctx.config.calls.min_session_expires.as_secs() as u32;
        let asked = request
            .header(HeaderName::SessionExpires)
            .and_then(|value| SessionExpires::parse(value).ok());
        if asked.is_some_and(|asked| asked.seconds < least) {
            return Some(422);
        }
        let refreshes_only = !is_invite && request.body().is_empty();
        if refreshes_only {
            return None;
        }
        if self.is_changing() {
            return Some(491);
        }
        // Glare with our own refresh counts only where that carries a description.
        if self.side(from).is_some_and(|leg| leg.is_asking()) {
            return Some(491);
        }
        match self.stage {
            Stage::Serving | Stage::Talking if self.invite.is_none() => None,
            _ => Some(491),
        }
    }

    fn refuse_change(
        &self,
        ctx: &mut Context<'_>,
        pending: &Pending,
        request: &Message<'_>,
        status: u16,
    ) {
        let min_se = ctx.config.calls.min_session_expires.as_secs();
        ctx.respond(
            pending.server,
            &pending.flow,
            request,
            status,
            "",
            |mut writer| {
                if status == 422 {
                    writer.header(HeaderName::MinSe, min_se);
                }
                writer.finish();
            },
        );
    }

    fn change_served(&mut self, ctx: &mut Context<'_>, pending: &Pending, offer: Option<&Sdp<'_>>) {
        let sdp = match offer {
            Some(offer) => self.serve_offer(ctx, offer),
            None => {
                self.format = None;
                Some(self.own_offer(ctx))
            }
        };
        match sdp {
            Some(sdp) => self.accept_change(ctx, Side::Caller, pending, Some(&sdp)),
            None => ctx.refuse_pending(pending, 488, ""),
        }
    }

    /// Sends the change on to the other party, once there are ports for all its streams.
    fn pass_on(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        from: Side,
        pending: Pending,
        offer: Option<&Sdp<'_>>,
        is_invite: bool,
    ) -> Alive {
        let Some(session) = self.sessions.first_mut() else {
            return Some(self);
        };
        let streams = offer.map_or(0, streams_of);
        if is_invite && let Some(request) = pending.message() {
            ctx.refuse(pending.server, &pending.flow, &request, 100, "");
        }
        if streams > session.wanted {
            session.grow(ctx, streams);
        }
        // So that a CANCEL finds the call.
        ctx.transactions.keep(pending.server, self.id);
        self.waiting = Some(Waiting { from, pending });
        self.resume_change(ctx)
    }

    /// Goes on with a change that waited, if nothing holds it up any more.
    pub(super) fn resume_change(mut self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        let ready = self.sessions.first().is_some_and(Session::is_ready);
        let Some(from) = self
            .waiting
            .as_ref()
            .filter(|_| ready)
            .map(|waiting| waiting.from)
        else {
            return Some(self);
        };
        // RFC 3261 §14.1: one INVITE at a time, from either end, until its ACK.
        let other = self.side(from.other());
        if other.is_some_and(|other| other.is_asking() || other.unacknowledged.is_some()) {
            return Some(self);
        }
        if let Some(Waiting { from, pending }) = self.waiting.take() {
            let waiting = pending.clone();
            if let Some(request) = waiting.message() {
                let offer = offer_of(&request).ok().flatten();
                let is_invite = request.method() == Some(Method::Invite);
                self.send_change(ctx, from, pending, offer.as_ref(), is_invite);
            }
        }
        Some(self)
    }

    fn send_change(
        &mut self,
        ctx: &mut Context<'_>,
        from: Side,
        pending: Pending,
        offer: Option<&Sdp<'_>>,
        is_invite: bool,
    ) {
        let call = self.id;
        let other = match from {
            Side::Caller => self.callee.as_mut(),
            Side::Callee => Some(&mut self.caller),
        };
        let (Some(other), Some(session)) = (other, self.sessions.first()) else {
            ctx.refuse_pending(&pending, 491, "");
            return;
        };
        let agreed = other.sent.clone();
        let sdp = offer.map(|offer| other.describe(ctx, session, offer));
        let method = if is_invite || !other.takes_update {
            Method::Invite
        } else {
            Method::Update
        };
        let client = other.offer(ctx, call, method, sdp.as_deref());
        self.exchange = Some(Exchange {
            from,
            pending,
            client,
            method,
            offered: offer.is_some(),
            agreed,
            until: ctx.now + GIVE_UP,
        });
    }

    /// The other party answers a change, or our own refresh is answered.
    pub(crate) fn change_answered(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        key: ClientKey,
        response: &Message<'_>,
        flow: Flow,
    ) -> Alive {
        let status = response.status().unwrap_or(StatusCode(500));
        if status.is_provisional() {
            if let Some(leg) = self.asked(key) {
                leg.acknowledge_provisional(ctx, response);
            }
            return Some(self);
        }
        if self
            .exchange
            .as_ref()
            .is_some_and(|exchange| exchange.client == key)
        {
            return self.exchange_answered(ctx, response, status, flow);
        }
        self.refresh_answered(ctx, key, response, flow)
    }

    fn exchange_answered(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        response: &Message<'_>,
        status: StatusCode,
        flow: Flow,
    ) -> Alive {
        let Some(exchange) = self.exchange.take() else {
            return Some(self);
        };
        let asked = exchange.from;
        if !status.is_success() {
            ctx.refuse_pending(&exchange.pending, passed_on(status), "");
            if let Some(other) = self.side(asked.other()) {
                other.take_back(&exchange.agreed);
            }
            let other = asked.other();
            return match status.0 {
                408 | 481 => self.end(ctx, lost(status, other), Some(other)),
                _ => Some(self),
            };
        }
        let Some(other) = self.side(asked.other()) else {
            return Some(self);
        };
        other.dialog.retarget(response);
        other.learn(response, flow);
        other.accept_timer(ctx.now, response);
        let cseq = response.cseq().map_or(0, |cseq| cseq.number);
        let answer = response
            .body_of_type(SDP)
            .and_then(|text| Sdp::parse(text).ok());
        if exchange.method == Method::Invite && (exchange.offered || answer.is_none()) {
            other.acknowledge(ctx, cseq, None);
        }
        match answer {
            Some(answer) => self.relay_answer(ctx, &exchange, &answer, cseq),
            None => ctx.refuse_pending(&exchange.pending, 502, ""),
        }
        Some(self)
    }

    fn relay_answer(
        &mut self,
        ctx: &mut Context<'_>,
        exchange: &Exchange,
        answer: &Sdp<'_>,
        cseq: u32,
    ) {
        let from = exchange.from;
        let leg = match from {
            Side::Caller => Some(&mut self.caller),
            Side::Callee => self.callee.as_mut(),
        };
        let (Some(leg), Some(session)) = (leg, self.sessions.first()) else {
            return;
        };
        let sdp = leg.describe(ctx, session, answer);
        if exchange.offered {
            let request = exchange.pending.message();
            if let Some(Ok(Some(offer))) = request.as_ref().map(offer_of) {
                session.agree(ctx, from, &offer, answer);
            }
        } else {
            session.connect(ctx, from.other(), answer, |_| false);
            self.late_ack = Some(LateAck {
                side: from.other(),
                cseq,
            });
        }
        self.accept_change(ctx, from, &exchange.pending, Some(&sdp));
    }

    /// Sends the 200 to a re-INVITE or UPDATE.
    fn accept_change(
        &mut self,
        ctx: &mut Context<'_>,
        from: Side,
        pending: &Pending,
        sdp: Option<&str>,
    ) {
        let Some(request) = pending.message() else {
            return;
        };
        let Some(leg) = self.side(from) else { return };
        let timer = leg.grant_timer(ctx, &request);
        let contact = leg.contact(ctx);
        if request.method() == Some(Method::Invite) {
            leg.settle(ctx);
            let cseq = request.cseq().map_or(0, |cseq| cseq.number);
            leg.unacknowledged = Some((pending.server, cseq));
            ctx.transactions.keep(pending.server, leg.tag());
        }
        ctx.respond(
            pending.server,
            &pending.flow,
            &request,
            200,
            "",
            |mut writer| {
                put_capabilities(&mut writer, &contact);
                put_timer(&mut writer, timer.as_deref());
                match sdp {
                    Some(sdp) => writer.body(SDP, sdp.as_bytes()),
                    None => writer.finish(),
                }
            },
        );
    }

    /// The party that asked for a change gives it up.
    pub(super) fn cancel_change(&mut self, ctx: &mut Context<'_>, server: sip::ServerKey) {
        if let Some(exchange) = self
            .exchange
            .as_ref()
            .filter(|exchange| exchange.pending.server == server)
        {
            ctx.transactions
                .cancel(ctx.now, exchange.client, None, ctx.out);
        }
        if let Some(waiting) = self
            .waiting
            .take_if(|waiting| waiting.pending.server == server)
        {
            waiting.refuse(ctx, 487);
        }
    }

    fn refresh_answered(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        key: ClientKey,
        response: &Message<'_>,
        flow: Flow,
    ) -> Alive {
        let status = response.status().unwrap_or(StatusCode(500));
        let Some(leg) = self.refreshing(key) else {
            self.acknowledge_again(ctx, status, response);
            return Some(self);
        };
        let Some(refresh) = leg.refresh.take() else {
            return Some(self);
        };
        if !status.is_success() {
            return self.refresh_refused(ctx, refresh, response);
        }
        leg.dialog.retarget(response);
        leg.learn(response, flow);
        leg.accept_timer(ctx.now, response);
        let side = leg.side;
        if refresh.method == Method::Invite {
            let cseq = response.cseq().map_or(0, |cseq| cseq.number);
            leg.acknowledge(ctx, cseq, None);
        }
        let answer = response
            .body_of_type(SDP)
            .and_then(|text| Sdp::parse(text).ok());
        if let (Some(answer), Some(session)) = (answer, self.sessions.first()) {
            session.connect(ctx, side, &answer, |_| true);
        }
        self.resume_change(ctx)
    }

    fn refresh_refused(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        refresh: Refresh,
        response: &Message<'_>,
    ) -> Alive {
        let status = response.status().unwrap_or(StatusCode(500));
        let pause = Duration::from_millis(2100 + u64::from(ctx.mint.below(1900)));
        let tag = response.from().ok().and_then(|from| from.tag());
        let tag = tag.and_then(Token::parse);
        let Some(leg) = tag.and_then(|tag| self.leg(tag)) else {
            return Some(self);
        };
        let side = leg.side;
        if matches!(status.0, 408 | 481) {
            let cause = if refresh.probe {
                Cause::MediaTimeout
            } else {
                lost(status, side)
            };
            return self.end(ctx, cause, Some(side));
        }
        let Some(timer) = leg.timer.as_mut().filter(|timer| timer.ours) else {
            return self.resume_change(ctx);
        };
        let least = response.number(HeaderName::MinSe).ok().flatten();
        if let Some(least) = least.filter(|_| status == StatusCode(422)) {
            timer.interval = timer.interval.max(least);
        }
        // Glare, or a party that can't just now: again in a moment (RFC 3261 §14.1), until the session
        // is over (RFC 4028 §10).
        timer.due = timer.expires.min(ctx.now + pause);
        self.resume_change(ctx)
    }

    /// A change or refresh got no answer at all.
    pub(crate) fn change_lost(mut self: Box<Self>, ctx: &mut Context<'_>, key: ClientKey) -> Alive {
        if let Some(exchange) = self.exchange.take_if(|exchange| exchange.client == key) {
            ctx.refuse_pending(&exchange.pending, 408, "");
            return self.end(ctx, Cause::SessionTimeout, None);
        }
        let Some(refresh) = self.refreshing(key).and_then(|leg| leg.refresh.take()) else {
            return Some(self);
        };
        let cause = if refresh.probe {
            Cause::MediaTimeout
        } else {
            Cause::SessionTimeout
        };
        self.end(ctx, cause, None)
    }

    /// The leg that we asked for a change or refresh under `key`.
    fn asked(&mut self, key: ClientKey) -> Option<&mut super::Leg> {
        match &self.exchange {
            Some(exchange) if exchange.client == key => {
                let other = exchange.from.other();
                self.side(other)
            }
            _ => self.refreshing(key),
        }
    }

    fn refreshing(&mut self, key: ClientKey) -> Option<&mut super::Leg> {
        let is_it =
            |leg: &&mut super::Leg| leg.refresh.is_some_and(|refresh| refresh.client == key);
        [Some(&mut self.caller), self.callee.as_mut()]
            .into_iter()
            .flatten()
            .find(is_it)
    }

    /// Answers whatever change is open when the call ends.
    pub(super) fn close_exchange(&mut self, ctx: &mut Context<'_>) {
        if let Some(exchange) = self.exchange.take() {
            ctx.refuse_pending(&exchange.pending, 487, "");
            if let Some(leg) = self.side(exchange.from.other()) {
                leg.abandon(ctx, exchange.client);
            }
        }
        if let Some(waiting) = self.waiting.take() {
            waiting.refuse(ctx, 487);
        }
        if let Some(late) = self.late_ack.take()
            && let Some(leg) = self.side(late.side)
        {
            leg.acknowledge(ctx, late.cseq, None);
        }
    }
}

/// Why a call ends whose party at `side` refused a change with 408 or 481 (RFC 3261 §12.2.1.2). A party
/// that does not know the call any more has hung up: its BYE is on its way, or got lost.
fn lost(status: StatusCode, side: Side) -> Cause {
    match (status.0, side) {
        (481, Side::Caller) => Cause::CallerHungUp,
        (481, Side::Callee) => Cause::CalleeHungUp,
        _ => Cause::SessionTimeout,
    }
}

/// What a party is told of the other's refusal: what only concerns us and the other is not passed on.
fn passed_on(status: StatusCode) -> u16 {
    match status.0 {
        408 | 481 | 486 | 487 | 491 | 500.. => status.0,
        _ => 488,
    }
}

impl Waiting {
    pub(super) fn refuse(self, ctx: &mut Context<'_>, status: u16) {
        ctx.refuse_pending(&self.pending, status, "");
    }
}
