//! Somebody new takes the place of a party: INVITE with Replaces (RFC 3891), pickup, retrieval of a
//! parked call.

use base::Token;
use media::{Side, Source};
use sdp::Sdp;
use sip::{Dialog, HeaderName, Message, Protocol, Replaces, StatusCode};

use super::change::{Asker, Waiting};
use super::fork::Fork;
use super::leg::{Leg, Party};
use super::steps::{offer_of, streams_of};
use super::{Alive, Call, Session, Stage, leave};
use crate::context::{Context, Pending};

/// Somebody whose INVITE asks to be let into a call.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) leg: Leg,
    pub(super) pending: Pending,
    /// The media between the newcomer and the one who stays.
    pub(super) session: Session,
}

impl Newcomer {
    /// The newcomer is not let in.
    pub(super) fn refuse(self, ctx: &mut Context<'_>, status: u16) {
        let tag = self.leg.tag();
        ctx.index.legs.remove(&tag);
        ctx.refuse_pending(&self.pending, status, tag.as_str());
        self.session.close(ctx);
    }
}

/// An INVITE that asks to be let into a call, and whom it is from.
#[derive(Debug)]
pub(crate) struct Entrant {
    pub(crate) dialog: Dialog,
    pub(crate) pending: Pending,
    pub(crate) party: Party,
}

impl Call {
    /// Somebody asks for the place of the party towards whom our tag is `tag`: one that talks, a phone
    /// that rings, or, if the party is parked, the place opposite to it.
    pub(crate) fn enter(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        tag: Token,
        replaces: &Replaces<'_>,
        entrant: Entrant,
    ) -> Alive {
        if let Some(status) = self.objection_to(tag, replaces, &entrant) {
            entrant.refuse(ctx, status);
            return Some(self);
        }
        let pending = entrant.pending.clone();
        let Some(request) = pending.message() else {
            return Some(self);
        };
        if let Some(unknown) = super::unsupported(request) {
            entrant.demand_less(ctx, request, &unknown);
            return Some(self);
        }
        let offer = match offer_of(request) {
            Ok(offer) if offer.as_ref().is_none_or(|o| o.media().any(|m| m.is_rtp())) => offer,
            _ => {
                entrant.refuse(ctx, 488);
                return Some(self);
            }
        };
        let sought = self.sought();
        if self.rings_at(tag) || self.parked.is_some() {
            return self.pick_up(ctx, entrant, offer.as_ref());
        }
        let side = self.leg(tag).map(|leg| leg.side);
        match side {
            Some(_) if self.stage == Stage::Serving && self.is_seated() => {
                self.yield_place(ctx, entrant, offer.as_ref())
            }
            Some(side) if self.stage == Stage::Talking => {
                self.replace(ctx, side, entrant, offer.as_ref())
            }
            // The caller's place is taken as soon as somebody has answered it.
            Some(side) if side != sought && !self.forks.is_empty() => {
                self.replace(ctx, side, entrant, offer.as_ref())
            }
            _ => {
                entrant.refuse(ctx, 481);
                Some(self)
            }
        }
    }

    /// Seeks the call that rings at a number, to answer it.
    pub(super) fn dial_ringing(self: Box<Self>, ctx: &mut Context<'_>, number: &str) -> Alive {
        let line = match ctx.config.user_at(number) {
            Some(user) => user.name.as_str(),
            None => number,
        };
        match ctx.services.lines.ringing_at(line) {
            Some(dialog) => {
                let (call_id, tag) = (dialog.call_id, dialog.our_tag);
                let replaces = format!("{call_id};to-tag={tag};from-tag=0");
                self.dial_dialog(ctx, number, &replaces)
            }
            None => self.fail_step(ctx, StatusCode(404)),
        }
    }

    /// Why somebody is not let in, as a status (RFC 3891 §3).
    fn objection_to(&self, tag: Token, replaces: &Replaces<'_>, entrant: &Entrant) -> Option<u16> {
        let mut legs = self
            .legs
            .iter()
            .flatten()
            .chain(self.forks.iter().map(Fork::leg));
        let dialog = &legs.find(|leg| leg.tag() == tag)?.dialog;
        // One of our own calls knows our tag alone; nobody outside can guess it.
        let inside = entrant.pending.flow.protocol == Protocol::Local;
        let same = *dialog.call_id == *replaces.call_id && *dialog.remote_tag == *replaces.from_tag;
        if !inside && !same {
            return Some(481);
        }
        if replaces.early_only && !self.rings_at(tag) {
            return Some(486);
        }
        // RFC 3262 §3: the caller has not confirmed what we have told it, and cannot be answered before.
        let unanswered = self.provisional.held.is_some();
        (self.waiting.is_some() || self.transfer.is_some() || unanswered).then_some(491)
    }

    /// Lets somebody answer in place of the phones that ring. They go on ringing until the newcomer has
    /// its answer, so that nothing is lost if nothing comes of it.
    fn pick_up(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        entrant: Entrant,
        offer: Option<&Sdp<'_>>,
    ) -> Alive {
        let caller = self.legs[super::CALLER].as_ref();
        if let Some(caller) = caller.filter(|_| self.invite.is_some() && self.session.is_none()) {
            // See `answer_for_newcomer`.
            let from = caller.dialog.flow.local.ip();
            let streams = self.offered_streams().unwrap_or(1);
            self.session = Some(Session::serve(ctx, self.id, from, streams));
        }
        let sought = self.sought();
        self.replace(ctx, sought, entrant, offer)
    }

    /// A caller that has not been answered yet is answered by us as soon as there are ports for it and
    /// for who picks it up, because its offer and the newcomer's can't answer each other. `false`: that
    /// is not possible.
    pub(super) fn answer_for_newcomer(&mut self, ctx: &mut Context<'_>) -> bool {
        let Some(invite) = self.invite.clone() else {
            return true;
        };
        let Some(request) = invite.message() else {
            return false;
        };
        let source = self.source.replace(Source::Silence);
        let sdp = match offer_of(request) {
            Ok(Some(offer)) => self.serve_offer(ctx, &offer),
            _ => Some(self.own_offer(ctx)),
        };
        let Some(sdp) = sdp else {
            self.source = source;
            return false;
        };
        self.answered(ctx, None);
        self.accept_caller(ctx, &sdp);
        true
    }

    /// Whether somebody is about to answer in place of the phones that ring.
    pub(super) fn is_picked_up(&self) -> bool {
        let sought = self.sought();
        let asker = self.exchange.as_ref().map(|exchange| &exchange.asker);
        let asker = asker.or(self.waiting.as_ref().map(|waiting| &waiting.asker));
        matches!(asker, Some(Asker::Newcomer(newcomer)) if newcomer.leg.side == sought)
    }

    /// A phone that rang has answered before whoever wanted to pick the call up had an answer.
    pub(super) fn outrun_newcomer(&mut self, ctx: &mut Context<'_>) {
        let late = |waiting: &mut Waiting| matches!(waiting.asker, Asker::Newcomer(_));
        if self.is_picked_up()
            && let Some(waiting) = self.waiting.take_if(late)
        {
            waiting.refuse(ctx, 486);
        }
    }

    /// A newcomer has not been let in: the call is as it was, unless nobody rings any more.
    pub(super) fn without_newcomer(self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        if self.is_changing() {
            return Some(self);
        }
        if matches!(self.stage, Stage::Ringing { .. }) && self.forks.is_empty() {
            return self.rung_in_vain(ctx);
        }
        self.resume_change(ctx)
    }

    /// Lets somebody take the place of the party at `side`, if the other party agrees to the newcomer's
    /// description.
    fn replace(
        self: Box<Self>,
        ctx: &mut Context<'_>,
        side: Side,
        entrant: Entrant,
        offer: Option<&Sdp<'_>>,
    ) -> Alive {
        let ringing = self.forks.first().map(Fork::leg);
        let Some(stays) = self.legs[side.other().index()].as_ref().or(ringing) else {
            entrant.refuse(ctx, 481);
            return Some(self);
        };
        let (there, here) = (stays.dialog.flow.local.ip(), entrant.dialog.flow.local.ip());
        let number = stays.party.number.clone();
        let streams = offer.map_or(1, streams_of);
        let session = Session::allocate(ctx, self.id, side, there, here, streams);
        let newcomer = self.welcome(ctx, entrant, (side, &number), session);
        self.ask(ctx, side, Asker::Newcomer(Box::new(newcomer)))
    }

    /// The one who stays has agreed: the newcomer takes its place, and the party whose place it was is
    /// hung up.
    pub(super) fn take_in(&mut self, ctx: &mut Context<'_>, newcomer: Newcomer, sdp: &str) {
        let Newcomer {
            mut leg,
            pending,
            session,
        } = newcomer;
        if let Some(request) = pending.message() {
            leg.accept(ctx, &pending, request, Some(sdp));
        }
        self.abandon_forks(ctx, Some(PICKED_UP));
        for session in std::mem::take(&mut self.sessions) {
            session.close(ctx);
        }
        self.steps = Vec::new().into_iter();
        (self.hunt, self.seeking, self.locating) = (None, None, None);
        self.use_session(ctx, session);
        self.tape(ctx);
        self.stage = Stage::Talking;
        (self.parked, self.meeting) = (None, None);
        let by = &leg.party.name;
        self.record.answered_by.get_or_insert((&**by).into());
        let side = leg.side;
        if let Some(parted) = self.legs[side.index()].replace(leg) {
            leave(ctx, parted, false, Some(REPLACED));
        }
    }
}

impl Entrant {
    /// The entrant is not let in.
    pub(crate) fn refuse(self, ctx: &mut Context<'_>, status: u16) {
        let tag = self.dialog.local_tag;
        ctx.refuse_pending(&self.pending, status, tag.as_str());
    }

    /// The entrant demands an extension that we don't have.
    fn demand_less(self, ctx: &mut Context<'_>, request: &Message<'_>, unknown: &str) {
        let (tag, pending) = (self.dialog.local_tag, &self.pending);
        let (server, flow) = (pending.server, &pending.flow);
        ctx.respond(server, flow, request, 420, tag.as_str(), |mut writer| {
            writer.header(HeaderName::Unsupported, unknown);
            writer.finish();
        });
    }
}

pub(super) const REPLACED: &str = "SIP;cause=200;text=\"Replaced\"";

const PICKED_UP: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";
