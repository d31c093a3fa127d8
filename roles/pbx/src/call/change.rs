//! Changes of a session: re-INVITE and UPDATE of one party, passed on to the other.

use std::time::{Duration, Instant};

use media::Side;
use sdp::Sdp;
use sdp::bridge::Refusal;
use sip::transaction::GIVE_UP;
use sip::{ClientKey, Flow, HeaderName, Message, Method, SessionExpires, StatusCode};

use super::hold::Agreement;
use super::leg::Refresh;
use super::replace::Newcomer;
use super::steps::{offer_of, streams_of};
use super::{Alive, Call, Session, Stage};
use crate::Cause;
use crate::context::{Context, Pending, SDP};

/// A description of one party that the other has not answered yet.
#[derive(Debug)]
pub(super) struct Exchange {
    /// Whose description it is.
    from: Side,
    pub(super) asker: Asker,
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

/// A change that waits for ports, for the other party's ACK, or for its turn after glare.
#[derive(Debug)]
pub(super) struct Waiting {
    from: Side,
    pub(super) asker: Asker,
    /// Not before then.
    pub(super) until: Option<Instant>,
}

/// Who wants to know what the other party answers.
#[derive(Debug)]
pub(super) enum Asker {
    /// The party itself, whose re-INVITE or UPDATE it is.
    Party(Pending),
    /// Nobody: two parties who have both been answered are joined.
    Nobody,
    /// Nobody: a party who has been answered is served by us from now on.
    Served,
    /// Somebody new, who takes the party's place if the other one agrees.
    Newcomer(Box<Newcomer>),
}

impl Asker {
    /// The request that waits for an answer.
    fn pending(&self) -> Option<&Pending> {
        match self {
            Self::Party(pending) => Some(pending),
            Self::Newcomer(newcomer) => Some(&newcomer.pending),
            Self::Nobody | Self::Served => None,
        }
    }

    /// Tells whoever waits that nothing comes of it.
    fn refuse(self, ctx: &mut Context<'_>, status: u16) {
        match self {
            Self::Party(pending) => ctx.refuse_pending(&pending, status, ""),
            Self::Newcomer(newcomer) => newcomer.refuse(ctx, status),
            Self::Nobody | Self::Served => {}
        }
    }
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
        // Whoever sends the other party elsewhere may leave before its change is answered.
        if self.is_changing() && !self.yields_to(from) || self.transfer.is_some() {
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

    /// Whether a party's own change does what we are about to ask it for after glare: two who are joined
    /// get each other's descriptions. Two calls of ours that both wait would refuse each other for ever.
    fn yields_to(&self, from: Side) -> bool {
        let idle = self.exchange.is_none() && self.late_ack.is_none();
        let same = |waiting: &Waiting| {
            let joins = matches!(waiting.asker, Asker::Nobody);
            joins && waiting.until.is_some() && waiting.from == from.other()
        };
        idle && self.waiting.as_ref().is_some_and(same)
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
            Some(sdp) => self.accept_change(ctx, self.subject, pending, Some(&sdp)),
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
        let Some(session) = self.session.as_mut() else {
            return Some(self);
        };
        let streams = offer.map_or(0, streams_of);
        if is_invite && let Some(request) = pending.message() {
            ctx.refuse(pending.server, &pending.flow, request, 100, "");
        }
        if streams > session.wanted {
            session.grow(ctx, streams);
        }
        // So that a CANCEL finds the call.
        if let Some(leg) = self.side(from) {
            ctx.transactions.keep(pending.server, leg.tag());
        }
        self.ask(ctx, from, Asker::Party(pending))
    }

    /// Has a description of `from` agreed with the other party, as soon as that can be.
    pub(super) fn ask(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        from: Side,
        asker: Asker,
    ) -> Alive {
        let until = None;
        let earlier = self.waiting.replace(Waiting { from, asker, until });
        if let Some(earlier) = earlier {
            earlier.refuse(ctx, 491);
        }
        self.resume_change(ctx)
    }

    /// Joins two parties who have both been answered: the subject gets the other's description.
    pub(super) fn join_answered(mut self: Box<Self>, ctx: &mut Context<'_>, cseq: u32) -> Alive {
        let sought = self.sought();
        if let Some(leg) = self.side(sought) {
            leg.acknowledge(ctx, cseq, None);
            let heard = leg.heard.clone();
            if let Ok(heard) = Sdp::parse(&heard) {
                // Keys that are none are found when the two are joined.
                let _ = leg.end.hear_answer(&heard);
            }
            let by = leg.party.name.clone();
            self.record.answered_by = Some((&*by).into());
        }
        self.ask(ctx, sought, Asker::Nobody)
    }

    /// Goes on with a change that waited, if nothing holds it up any more.
    pub(super) fn resume_change(mut self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        if self.is_picked_up() && self.is_ready_for_newcomer() && !self.answer_for_newcomer(ctx) {
            if let Some(waiting) = self.waiting.take() {
                waiting.refuse(ctx, 488);
            }
            return self.without_newcomer(ctx);
        }
        let Some(waiting) = &self.waiting else {
            return Some(self);
        };
        let session = match &waiting.asker {
            Asker::Newcomer(newcomer) => Some(&newcomer.session),
            _ => self.session.as_ref(),
        };
        let early = waiting.until.is_some_and(|until| until > ctx.now);
        // RFC 3261 §14.1: one INVITE at a time, from either end, until its ACK.
        let other = self.legs[waiting.from.other().index()].as_ref();
        let busy = other.is_some_and(|other| other.is_asking() || other.unacknowledged.is_some());
        let held_up = self.exchange.is_some() || self.late_ack.is_some() || self.invite.is_some();
        if early || busy || held_up || !session.is_some_and(Session::is_ready) {
            return Some(self);
        }
        if let Some(Waiting { from, asker, .. }) = self.waiting.take() {
            return self.send_change(ctx, from, asker);
        }
        Some(self)
    }

    /// Whether there are ports for a newcomer, and for the caller that has not been answered yet.
    fn is_ready_for_newcomer(&mut self) -> bool {
        let newcomer = self.waiting.as_mut().and_then(Waiting::session);
        let newcomer = newcomer.is_some_and(|session| session.is_ready());
        newcomer && self.session.as_ref().is_some_and(Session::is_ready)
    }

    fn send_change(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        from: Side,
        mut asker: Asker,
    ) -> Alive {
        if let Asker::Newcomer(newcomer) = asker {
            if self.stage == Stage::Serving && self.is_seated() {
                return self.seat_newcomer(ctx, *newcomer);
            }
            asker = Asker::Newcomer(newcomer);
        }
        let call = self.id;
        let request = asker.pending().and_then(Pending::message);
        let is_update = request.is_some_and(|request| request.method() == Some(Method::Update));
        let agreed = self.side(from.other()).map(|other| other.sent.clone());
        let sdp = match &asker {
            Asker::Served => Ok(Some(self.own_offer(ctx))),
            _ => self.offer_from(ctx, from, &mut asker),
        };
        let Ok(sdp) = sdp else {
            return self.change_failed(ctx, asker, 488);
        };
        let Some((other, agreed)) = self.side(from.other()).zip(agreed) else {
            asker.refuse(ctx, 491);
            return Some(self);
        };
        let method = if is_update && other.takes_update {
            Method::Update
        } else {
            Method::Invite
        };
        let client = other.offer(ctx, call, method, sdp.as_deref());
        self.exchange = Some(Exchange {
            from,
            asker,
            client,
            method,
            offered: sdp.is_some(),
            agreed,
            until: ctx.now + GIVE_UP,
        });
        Some(self)
    }

    /// What the other party is to be offered; none: it is to make the offer.
    ///
    /// # Errors
    /// The party may not offer that, or there is nothing that the other party may be offered.
    fn offer_from(
        &mut self,
        ctx: &mut Context<'_>,
        from: Side,
        asker: &mut Asker,
    ) -> Result<Option<String>, Refusal> {
        let text = self.description_of(from, asker);
        let Some(offer) = text.as_deref().and_then(|text| Sdp::parse(text).ok()) else {
            return Ok(None);
        };
        let asks = asker.pending().is_some();
        let [caller, callee] = &mut self.legs;
        let (leg, other) = match from {
            Side::Caller => (caller, callee),
            Side::Callee => (callee, caller),
        };
        let (leg, session) = match asker {
            Asker::Newcomer(newcomer) => (Some(&mut newcomer.leg), Some(&newcomer.session)),
            _ => (leg.as_mut(), self.session.as_ref()),
        };
        let (Some(leg), Some(other), Some(session)) = (leg, other, session) else {
            return Ok(None);
        };
        if asks {
            leg.hear_offer(ctx, &offer)?;
        }
        let policy = leg.policy(ctx);
        let by = (&leg.end, &*policy);
        let text = other.invite_with(ctx, session, &offer, by)?;
        Ok(Some(Self::with_music(ctx, &offer, text)))
    }

    /// The description that is to be agreed.
    fn description_of(&self, from: Side, asker: &Asker) -> Option<Box<str>> {
        match asker {
            Asker::Party(pending) => Some(pending.message()?.body_of_type(SDP)?.into()),
            Asker::Nobody => Some(self.legs[from.index()].as_ref()?.heard.clone()),
            Asker::Newcomer(newcomer) => {
                let heard = &newcomer.leg.heard;
                (!heard.is_empty()).then(|| heard.clone())
            }
            Asker::Served => None,
        }
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
        if let Some(leg) = self.asked(key).filter(|_| status.is_success()) {
            leg.is_let_in();
        } else if self.prove_change(ctx, key, response) {
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

    /// A trunk wants a proof of who we are for a request inside a dialog, which is sent again with one.
    /// `false`: it can't be given.
    ///
    /// # Source
    /// RFC 3261 §22.2
    fn prove_change(
        &mut self,
        ctx: &mut Context<'_>,
        key: ClientKey,
        response: &Message<'_>,
    ) -> bool {
        let call = self.id;
        if !self.asked(key).is_some_and(|leg| leg.learns(response)) {
            return false;
        }
        let until = ctx.now + GIVE_UP;
        if let Some(exchange) = self.exchange.as_mut().filter(|e| e.client == key) {
            let leg = self.legs[exchange.from.other().index()].as_mut();
            if let Some(leg) = leg {
                let sdp = exchange.offered.then(|| leg.sent.clone());
                exchange.client = leg.offer(ctx, call, exchange.method, sdp.as_deref());
                exchange.until = until;
            }
        } else if let Some(leg) = self.refreshing(key)
            && let Some(refresh) = leg.refresh
        {
            let sdp = (refresh.method == Method::Invite).then(|| leg.sent.clone());
            let client = leg.offer(ctx, call, refresh.method, sdp.as_deref());
            leg.refresh = Some(Refresh {
                client,
                until,
                ..refresh
            });
        }
        true
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
        if !status.is_success() {
            return self.exchange_refused(ctx, exchange, status);
        }
        let Some(other) = self.side(exchange.from.other()) else {
            return Some(self);
        };
        other.dialog.retarget(response);
        other.learn(response, flow);
        other.hear(response);
        other.accept_timer(ctx.now, response);
        let cseq = response.cseq().map_or(0, |cseq| cseq.number);
        let answer = response
            .body_of_type(SDP)
            .and_then(|text| Sdp::parse(text).ok());
        if exchange.method == Method::Invite && (exchange.offered || answer.is_none()) {
            other.acknowledge(ctx, cseq, None);
        }
        match answer {
            Some(answer) => self.relay_answer(ctx, exchange, &answer, cseq),
            None => self.change_failed(ctx, exchange.asker, 502),
        }
    }

    fn exchange_refused(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        exchange: Exchange,
        status: StatusCode,
    ) -> Alive {
        let other = exchange.from.other();
        // RFC 3261 §12.2.1.2: the other party does not know the dialog any more.
        if matches!(status.0, 408 | 481) {
            exchange.asker.refuse(ctx, status.0);
            return self.end(ctx, lost(status, other), Some(other));
        }
        let session = self.session.as_ref().map(|session| session.id);
        if let Some(other) = self.side(other) {
            other.take_back(&exchange.agreed);
            if let Some(session) = session {
                other.stays_in(session);
            }
        }
        let again = matches!(status.0, 491 | 500 | 503);
        if again && exchange.asker.pending().is_none() {
            // RFC 3261 §14.1: whoever waits longer gives way.
            let pause = Duration::from_millis(2100 + u64::from(ctx.mint.below(1900)));
            let Exchange { from, asker, .. } = exchange;
            let until = Some(ctx.now + pause);
            // Who came meanwhile may come again.
            if let Some(later) = self.waiting.replace(Waiting { from, asker, until }) {
                later.refuse(ctx, 491);
            }
            return Some(self);
        }
        self.change_failed(ctx, exchange.asker, passed_on(status))
    }

    /// Nothing came of it. Two parties who were to be joined have nobody else, so their call is over.
    fn change_failed(self: Box<Self>, ctx: &mut Context<'_>, asker: Asker, status: u16) -> Alive {
        let alone = asker.pending().is_none();
        asker.refuse(ctx, status);
        if alone {
            return self.end(ctx, Cause::Refused, None);
        }
        self.without_newcomer(ctx)
    }

    fn relay_answer(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        exchange: Exchange,
        answer: &Sdp<'_>,
        cseq: u32,
    ) -> Alive {
        let from = exchange.from;
        if !exchange.offered {
            let side = from.other();
            self.late_ack = Some(LateAck { side, cseq });
        }
        let offer = self.description_of(from, &exchange.asker);
        let offer = offer.as_deref().and_then(|text| Sdp::parse(text).ok());
        if matches!(exchange.asker, Asker::Served) {
            return self.serve_joined(ctx, answer);
        }
        let mut asker = exchange.asker;
        let [caller, callee] = &mut self.legs;
        let (leg, other) = match from {
            Side::Caller => (caller, callee),
            Side::Callee => (callee, caller),
        };
        let joins = matches!(asker, Asker::Nobody);
        let (leg, session) = match &mut asker {
            Asker::Newcomer(newcomer) => (Some(&mut newcomer.leg), Some(&newcomer.session)),
            _ => (leg.as_mut(), self.session.as_ref()),
        };
        let (Some(leg), Some(other), Some(session)) = (leg, other, session) else {
            return Some(self);
        };
        let sdp = match &offer {
            Some(offer) => other.end.hear_answer(answer).and_then(|()| {
                if joins {
                    leg.settle_with(ctx, session, offer, answer, &mut other.end);
                    return Ok(String::new());
                }
                leg.reply_with(ctx, session, offer, answer, &mut other.end)
            }),
            None => other.hear_offer(ctx, answer).and_then(|()| {
                let policy = other.policy(ctx);
                leg.invite_with(ctx, session, answer, (&other.end, &policy))
            }),
        };
        if let Some(offer) = &offer {
            session.connect(ctx, from, leg, offer);
        }
        session.connect(ctx, from.other(), other, answer);
        let agreed = offer.as_ref().and_then(|offer| {
            let (asker, other) = ((&leg.end, offer), (&other.end, answer));
            Agreement::of(from, asker, other)
        });
        if !matches!(asker, Asker::Newcomer(_)) {
            self.agreed_on(ctx, agreed.as_ref());
            self.tape(ctx);
        }
        match sdp {
            Ok(sdp) => self.tell_answer(ctx, from, asker, &sdp),
            Err(_) => self.change_failed(ctx, asker, 488),
        }
    }

    /// Tells who asked for a change, the party at `from` or somebody who takes its place, what came of it.
    fn tell_answer(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        from: Side,
        asker: Asker,
        sdp: &str,
    ) -> Alive {
        match asker {
            Asker::Nobody | Asker::Served => self.resume_change(ctx),
            Asker::Party(pending) => {
                if let (Some(request), Some(leg)) = (pending.message(), self.side(from)) {
                    leg.hear(request);
                }
                self.accept_change(ctx, from, &pending, Some(sdp));
                self.resume_change(ctx)
            }
            Asker::Newcomer(newcomer) => {
                self.take_in(ctx, *newcomer, sdp);
                Some(self)
            }
        }
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
        leg.accept(ctx, pending, request, sdp);
    }

    /// Whoever asked for a change gives it up.
    pub(super) fn cancel_change(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        server: sip::ServerKey,
    ) -> Alive {
        let asks = |asker: &Asker| asker.pending().is_some_and(|p| p.server == server);
        if let Some(exchange) = self.exchange.as_ref().filter(|e| asks(&e.asker)) {
            ctx.transactions
                .cancel(ctx.now, exchange.client, None, ctx.out);
        }
        if let Some(waiting) = self.waiting.take_if(|waiting| asks(&waiting.asker)) {
            waiting.refuse(ctx, 487);
        }
        self.without_newcomer(ctx)
    }

    /// A change or refresh got no answer at all.
    pub(crate) fn change_lost(mut self: Box<Self>, ctx: &mut Context<'_>, key: ClientKey) -> Alive {
        if let Some(exchange) = self.exchange.take_if(|exchange| exchange.client == key) {
            exchange.asker.refuse(ctx, 408);
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

    /// Answers whatever change is open when the call ends.
    pub(super) fn close_exchange(&mut self, ctx: &mut Context<'_>) {
        if let Some(exchange) = self.exchange.take() {
            exchange.asker.refuse(ctx, 487);
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
pub(super) fn lost(status: StatusCode, side: Side) -> Cause {
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
    /// Media ports that the change has asked for, and that are not in use yet.
    pub(super) fn session(&mut self) -> Option<&mut Session> {
        match &mut self.asker {
            Asker::Newcomer(newcomer) => Some(&mut newcomer.session),
            _ => None,
        }
    }

    pub(super) fn refuse(self, ctx: &mut Context<'_>, status: u16) {
        self.asker.refuse(ctx, status);
    }
}
