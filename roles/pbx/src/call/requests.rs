//! What a party sends inside a call.

use base::Token;
use media::Side;
use sdp::Sdp;
use sip::{HeaderName, Message, Method, RAck, ServerKey, StatusCode};

use super::fork::Fork;
use super::{Alive, Call, LateAck, Stage, trickle};
use crate::Cause;
use crate::context::{ALLOW, Context, Owner, Pending, SDP};

impl Call {
    /// A request in the dialog in which our tag is `tag`.
    pub(crate) fn request(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        tag: Token,
        pending: Pending,
        request: &Message<'_>,
    ) -> Alive {
        let method = request.method().unwrap_or(Method::Other(""));
        let cseq = request.cseq().map_or(0, |cseq| cseq.number);
        if self.rings_at(tag) && method != Method::Ack {
            self.early_request(ctx, tag, &pending, request);
            return Some(self);
        }
        let Some(leg) = self
            .leg(tag)
            .filter(|leg| leg.dialog.matches_request(request))
        else {
            if method != Method::Ack {
                ctx.refuse(pending.server, &pending.flow, request, 481, "");
            }
            return Some(self);
        };
        let side = leg.side;
        if method == Method::Ack {
            return self.acknowledged(ctx, side, request);
        }
        if !leg.dialog.advance(cseq) {
            ctx.refuse(pending.server, &pending.flow, request, 500, "");
            return Some(self);
        }
        leg.learn(request, pending.flow);
        if let Some(unknown) = super::unsupported(request) {
            answer(
                ctx,
                &pending,
                request,
                420,
                (HeaderName::Unsupported, &unknown),
            );
            return Some(self);
        }
        match method {
            Method::Bye => self.bye(ctx, side, &pending, request),
            Method::Invite | Method::Update => self.change(ctx, side, pending, request),
            Method::Prack => self.prack(ctx, side, &pending, request),
            Method::Refer => self.refer(ctx, side, &pending, request),
            Method::Info => self.info(ctx, side, pending, request),
            Method::Message => self.relay(ctx, side, pending, request),
            _ => {
                let status = match method {
                    Method::Options => 200,
                    _ => refusal_of_method(Some(method)),
                };
                answer(ctx, &pending, request, status, (HeaderName::Allow, ALLOW));
                Some(self)
            }
        }
    }

    /// A request of a phone that has not answered yet.
    pub(super) fn early_request(
        &mut self,
        ctx: &mut Context<'_>,
        tag: Token,
        pending: &Pending,
        request: &Message<'_>,
    ) {
        let status = match request.method() {
            Some(Method::Options) => 200,
            Some(Method::Update | Method::Invite) => 491,
            Some(Method::Info) if trickle::brings_candidates(request) => {
                let mut ringing = self.forks.iter_mut().map(Fork::leg_mut);
                let leg = ringing.find(|leg| leg.tag() == tag);
                leg.map_or(481, |leg| leg.take_candidates(request))
            }
            _ => 480,
        };
        ctx.refuse(pending.server, &pending.flow, request, status, "");
    }

    /// The caller's CANCEL of a request that we have under `server` (RFC 3261 §9.2).
    pub(crate) fn cancelled(self: Box<Self>, ctx: &mut Context<'_>, server: ServerKey) -> Alive {
        if self
            .invite
            .as_ref()
            .is_some_and(|invite| invite.server == server)
        {
            return self.end(ctx, Cause::Cancelled, None);
        }
        self.cancel_change(ctx, server)
    }

    /// The party of the leg with this tag did not acknowledge our answer.
    pub(crate) fn never_acknowledged(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        tag: Token,
    ) -> Alive {
        if let Some(leg) = self.leg(tag) {
            leg.unacknowledged = None;
        }
        self.end(ctx, Cause::NoAck, None)
    }

    /// The caller did not acknowledge a reliable provisional response (RFC 3262 §3).
    pub(crate) fn never_pracked(self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        self.refuse(ctx, StatusCode(504), Cause::NoAck)
    }

    fn acknowledged(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        side: Side,
        ack: &Message<'_>,
    ) -> Alive {
        let cseq = ack.cseq().map_or(0, |cseq| cseq.number);
        let Some(leg) = self.side(side) else {
            return Some(self);
        };
        if !leg.take_acknowledgement(ctx, cseq) {
            return Some(self);
        }
        leg.hear(ack);
        if self.stage == Stage::Serving {
            // Without a format the offer was ours, and this is the answer.
            return if self.format.is_none() && !self.is_changing() {
                self.serve_answer(ctx, ack)
            } else {
                self.resume_change(ctx)
            };
        }
        match self.late_ack.take_if(|late| late.side == side.other()) {
            Some(late) => self.deliver_late_answer(ctx, late, ack),
            None => self.resume_change(ctx),
        }
    }

    /// The answer that came with an ACK goes on with the ACK that waited for it.
    fn deliver_late_answer(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        late: LateAck,
        ack: &Message<'_>,
    ) -> Alive {
        let answer = ack.body_of_type(SDP).and_then(|text| Sdp::parse(text).ok());
        let Some(session) = self.session.take() else {
            return Some(self);
        };
        let Some((leg, other)) = self.both(late.side) else {
            self.session = Some(session);
            return Some(self);
        };
        let sdp = answer.and_then(|answer| {
            let heard = leg.heard.clone();
            let offer = Sdp::parse(&heard).ok()?;
            other.end.hear_answer(&answer).ok()?;
            let sdp = leg.reply_with(ctx, &session, &offer, &answer, &mut other.end);
            let sdp = sdp.ok()?;
            session.connect(ctx, late.side, leg, &offer);
            session.connect(ctx, late.side.other(), other, &answer);
            Some(sdp)
        });
        leg.acknowledge(ctx, late.cseq, sdp.as_deref());
        self.session = Some(session);
        match sdp {
            Some(_) => self.resume_change(ctx),
            None => self.end(ctx, Cause::Refused, None),
        }
    }

    fn bye(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        side: Side,
        pending: &Pending,
        request: &Message<'_>,
    ) -> Alive {
        ctx.refuse(pending.server, &pending.flow, request, 200, "");
        if let Some(leg) = self.side(side) {
            leg.settle(ctx);
        }
        if self.transferor_leaves(ctx, side) {
            return Some(self);
        }
        let cause = match side {
            Side::Caller => Cause::CallerHungUp,
            Side::Callee => Cause::CalleeHungUp,
        };
        self.end(ctx, cause, Some(side))
    }

    fn prack(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        side: Side,
        pending: &Pending,
        request: &Message<'_>,
    ) -> Alive {
        let rack = request
            .header(HeaderName::RAck)
            .and_then(|value| RAck::parse(value).ok());
        let expected = rack.is_some_and(|rack| {
            side == Side::Caller
                && rack.rseq == self.provisional.rseq
                && rack.cseq.method == Method::Invite
        });
        if !expected || !self.provisional.unacknowledged {
            ctx.refuse(pending.server, &pending.flow, request, 481, "");
            return Some(self);
        }
        self.provisional.unacknowledged = false;
        if let Some(invite) = &self.invite {
            ctx.transactions.acknowledge_provisional(invite.server);
        }
        // A new offer before the answer has nobody to answer it yet.
        let status = if request.body().is_empty() { 200 } else { 488 };
        ctx.refuse(pending.server, &pending.flow, request, status, "");
        if let Some(sdp) = self.provisional.held.take() {
            self.accept_caller(ctx, &sdp);
        } else if let Some(news) = self.provisional.next.take() {
            self.tell_progress(ctx, news);
        }
        Some(self)
    }

    /// Sends a request such as INFO on to the other party.
    pub(super) fn relay(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        from: Side,
        pending: Pending,
        request: &Message<'_>,
    ) -> Alive {
        let busy = self.relayed >= MOST_RELAYED;
        let served = self.stage == Stage::Serving;
        let to = from.other();
        if busy || self.side(to).is_none() {
            // A served call has nobody to tell.
            let status = if served && request.method() == Some(Method::Info) {
                200
            } else {
                480
            };
            ctx.refuse(pending.server, &pending.flow, request, status, "");
            return Some(self);
        }
        self.relay_to(ctx, to, pending, request);
        self.relayed += 1;
        Some(self)
    }

    fn relay_to(
        &mut self,
        ctx: &mut Context<'_>,
        to: Side,
        pending: Pending,
        request: &Message<'_>,
    ) {
        let call = self.id;
        let Some(leg) = self.side(to) else { return };
        let method = request
            .method()
            .map_or(Method::Info, |method| method.detach());
        let pending = Box::new(pending);
        let owner = Owner::Relay { call, to, pending };
        let (cnonce, target) = (ctx.mint.token(), leg.dialog.remote_target.clone());
        let trunk = leg.trunk.as_deref_mut();
        ctx.request(&mut leg.dialog, method, owner, |mut writer| {
            if let Some(trunk) = trunk {
                trunk.prove(&mut writer, method, &target, request.body(), cnonce);
            }
            writer.copy(request, HeaderName::ContentDisposition);
            if let Some(package) = request.other_header("Info-Package") {
                writer.other_header("Info-Package", package);
            }
            match request.header(HeaderName::ContentType) {
                Some(content_type) => writer.body(content_type, request.body()),
                None => writer.finish(),
            }
        });
    }

    /// The party has answered what was relayed to it. A trunk that wants a proof of who we are gets it
    /// (RFC 3261 §22.2); all else is for who has asked.
    pub(crate) fn relay_answered(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        to: Side,
        pending: Pending,
        response: Option<&Message<'_>>,
    ) -> Alive {
        let leg = self.side(to);
        let asks = leg.zip(response).is_some_and(|(leg, response)| {
            let learned = leg.learns(response);
            if response.status().is_some_and(StatusCode::is_success) {
                leg.is_let_in();
            }
            learned
        });
        let again = pending.clone();
        if asks && let Some(request) = again.message() {
            self.relay_to(ctx, to, pending, request);
            return Some(self);
        }
        answer_relayed(ctx, &pending, response);
        self.relayed = self.relayed.saturating_sub(1);
        Some(self)
    }
}

/// Passes the answer to a relayed request back; none has come if there is no response.
pub(crate) fn answer_relayed(
    ctx: &mut Context<'_>,
    pending: &Pending,
    response: Option<&Message<'_>>,
) {
    let Some(request) = pending.message() else {
        return;
    };
    let status = response.and_then(Message::status);
    let status = status.unwrap_or(StatusCode(408));
    let body = response
        .and_then(|response| Some((response.header(HeaderName::ContentType)?, response.body())));
    let (server, flow) = (pending.server, &pending.flow);
    ctx.respond(server, flow, request, status.0, "", |writer| match body {
        Some((content_type, body)) => writer.body(content_type, body),
        None => writer.finish(),
    });
}

/// Answers with one header field that says more than the status.
fn answer(
    ctx: &mut Context<'_>,
    pending: &Pending,
    request: &Message<'_>,
    status: u16,
    (name, value): (HeaderName, &str),
) {
    let Pending { server, flow, .. } = pending;
    ctx.respond(*server, flow, request, status, "", |mut writer| {
        writer.header(name, value);
        writer.finish();
    });
}

/// RFC 3261 §8.2.1: 405 for methods that we know and don't allow, 501 for others.
pub(crate) fn refusal_of_method(method: Option<Method<'_>>) -> u16 {
    if matches!(method, Some(Method::Other(_)) | None) {
        501
    } else {
        405
    }
}

/// Most requests of a call that wait for the other party at once.
const MOST_RELAYED: u8 = 16;
