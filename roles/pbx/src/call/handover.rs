//! A participant of a conference room gives its place to somebody else: by REFER, or to whoever replaces it.
//!
//! To a phone the room is the other party of its call, so that is what its REFER sends to a number: whoever
//! answers there sits in the room in the phone's place. Until then the phone keeps it.

use std::sync::Arc;

use media::{Command, Source};
use sdp::Sdp;
use sip::{Message, StatusCode};

use super::fork::Fork;
use super::replace::{Entrant, Newcomer, REPLACED};
use super::steps::{offer_of, streams_of};
use super::transfer::Destination;
use super::{Alive, Call, Leg, Session, Stage};
use crate::context::Context;
use crate::room_event::RoomChange;
use crate::{Cause, Event, Step};

impl Call {
    /// Whether the party has a place in a room that it may give to somebody else.
    pub(super) fn is_seated(&self) -> bool {
        let place = self.meeting.as_ref().and_then(super::Meeting::place);
        place.is_some() && self.invite.is_none() && self.format.is_some()
    }

    /// Whether somebody is called who is to have the party's place in a room.
    pub(super) fn hands_over(&self) -> bool {
        let transfer = self.transfer.as_ref();
        transfer.is_some_and(|transfer| transfer.of_place && transfer.by == self.subject)
    }

    /// Whether a step leads to somebody who can have a place in a room: another room, music or an orbit
    /// can't.
    pub(super) fn seats_nobody(&self, step: &Step) -> bool {
        let calls = matches!(
            step,
            Step::Dial(_)
                | Step::Intercom(_)
                | Step::Pickup(_)
                | Step::Proxy(_)
                | Step::Trunk { .. }
                | Step::Record(_)
                | Step::Hangup(_)
        );
        self.hands_over() && !calls
    }

    /// Calls whoever is to have the party's place.
    ///
    /// # Source
    /// RFC 5589 §6, RFC 4579 §5.5
    pub(super) fn hand_over(
        self: Box<Self>,
        ctx: &mut Context<'_>,
        destination: &Destination,
    ) -> Alive {
        let who = self.subject;
        self.send_elsewhere(ctx, who, destination)
    }

    /// The party has hung up while somebody is called who is to have its place. What it has said is still
    /// needed: it is what others are called with.
    pub(super) fn leave_place_open(&mut self, ctx: &mut Context<'_>) -> bool {
        if !self.hands_over() {
            return false;
        }
        if let Some(session) = self.session.take() {
            session.close(ctx);
        }
        self.format = None;
        if let Some(leg) = self.legs[self.subject.index()].as_mut() {
            leg.is_gone(ctx);
        }
        true
    }

    /// Somebody has answered who is to have the party's place: it is served in its stead.
    pub(super) fn hand_to(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        fork: Fork,
        response: &Message<'_>,
    ) -> Alive {
        for session in std::mem::take(&mut self.sessions) {
            session.close(ctx);
        }
        self.stand_up(ctx);
        let mut leg = fork.leg;
        leg.acknowledge(ctx, response.cseq().map_or(0, |cseq| cseq.number), None);
        let heard = leg.heard.clone();
        if let Ok(heard) = Sdp::parse(&heard) {
            // Keys that are none are found when it is served.
            let _ = leg.end.hear_answer(&heard);
        }
        self.subject = leg.side;
        self.seat_is_of(ctx, &leg);
        self.legs[self.subject.index()] = Some(leg);
        (self.hunt, self.seeking, self.locating) = (None, None, None);
        self.steps = Vec::new().into_iter();
        self.serve_source(ctx, Source::Silence)
    }

    /// Nobody has taken the place: the party keeps it if it is still there, and in it.
    pub(super) fn keep_place(mut self: Box<Self>, ctx: &mut Context<'_>, sits: bool) -> Alive {
        self.stage = Stage::Serving;
        let party = self.legs[self.subject.index()].as_ref();
        if sits && party.is_some_and(|leg| !leg.gone) {
            return Some(self);
        }
        self.end(ctx, Cause::Refused, None)
    }

    /// Somebody asks for the party's place in its room (RFC 3891 §3), as one does to whom an attended
    /// transfer gives it. There is nobody who would have to agree.
    pub(super) fn yield_place(
        self: Box<Self>,
        ctx: &mut Context<'_>,
        entrant: Entrant,
        offer: Option<&Sdp<'_>>,
    ) -> Alive {
        let side = self.sought();
        let from = entrant.dialog.flow.local.ip();
        let streams = offer.map_or(1, streams_of);
        let session = Session::serve(ctx, self.id, from, streams);
        let number = self.record.number.to_string();
        let newcomer = self.welcome(ctx, entrant, (side, &number), session);
        self.ask(
            ctx,
            side,
            super::change::Asker::Newcomer(Box::new(newcomer)),
        )
    }

    /// There are ports for somebody who has asked for the party's place.
    pub(super) fn seat_newcomer(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        newcomer: Newcomer,
    ) -> Alive {
        let pending = newcomer.pending.clone();
        let request = pending.message();
        let offer = request.as_ref().and_then(|request| offer_of(request).ok());
        let (Some(request), Some(offer)) = (request, offer) else {
            newcomer.refuse(ctx, 488);
            return Some(self);
        };
        let mut leg = newcomer.leg;
        if let Some(offer) = &offer
            && (leg.hear_offer(ctx, offer).is_err() || !leg.can_be_served(offer))
        {
            ctx.index.legs.remove(&leg.tag());
            ctx.refuse_pending(&pending, 488, leg.tag().as_str());
            newcomer.session.close(ctx);
            return Some(self);
        }
        self.stand_up(ctx);
        let parted = self.legs[self.subject.index()].take();
        self.subject = leg.side;
        self.seat_is_of(ctx, &leg);
        self.legs[self.subject.index()] = Some(leg);
        self.use_session(ctx, newcomer.session);
        self.source = Some(Source::Silence);
        let sdp = match &offer {
            Some(offer) => self.serve_offer(ctx, offer),
            None => Some(self.own_offer(ctx)),
        };
        if let Some(parted) = parted {
            super::leave(ctx, parted, false, Some(REPLACED));
        }
        let Some(leg) = self.side(self.subject) else {
            return Some(self);
        };
        leg.accept(ctx, &pending, request, sdp.as_deref());
        match sdp {
            Some(_) => Some(self),
            None => self.end(ctx, Cause::Refused, None),
        }
    }

    /// The media workers take the party out of the room, while its place in it is kept.
    fn stand_up(&mut self, ctx: &mut Context<'_>) {
        self.forget_naming();
        let pictures = self.meeting.as_mut().and_then(|m| m.pictures.take());
        if let Some(pictures) = pictures {
            self.look_away(ctx, pictures);
        }
        if let (Some(session), Some((stream, _))) = (&self.session, self.format.take()) {
            ctx.out.media.push(Command::Leave {
                session: session.id,
                stream,
                side: session.end(self.subject),
            });
        }
    }

    /// The place is somebody else's from now on. What a moderator may do is not given away with it, nor
    /// does it undo what a moderator has done.
    fn seat_is_of(&self, ctx: &mut Context<'_>, leg: &Leg) {
        let name: Arc<str> = (&*leg.party.name).into();
        self.tell_of_participant(ctx, RoomChange::Left);
        if let Some(place) = self.meeting.as_ref().and_then(super::Meeting::place) {
            place.note(|seat| {
                seat.name = name;
                (seat.moderator, seat.mutes_itself) = (false, false);
                (seat.held, seat.talking) = (false, false);
            });
        }
        self.tell_of_participant(ctx, RoomChange::Joined);
    }

    /// Makes a leg of somebody who asks to be let in.
    pub(super) fn welcome(
        &self,
        ctx: &mut Context<'_>,
        entrant: Entrant,
        (side, number): (media::Side, &str),
        session: Session,
    ) -> Newcomer {
        let Entrant {
            dialog,
            pending,
            party,
        } = entrant;
        let described = u64::from(ctx.mint.number());
        let mut leg = Leg::new(dialog, side, party, number, described);
        ctx.index.legs.insert(leg.tag(), self.id);
        ctx.out.events.push(Event::CallLeg {
            call: self.id,
            call_id: leg.dialog.call_id.as_ref().into(),
        });
        ctx.transactions.keep(pending.server, leg.tag());
        if let Some(request) = pending.message() {
            // Whoever stays may think for a while, and ports have to be found.
            ctx.refuse(pending.server, &pending.flow, request, 100, "");
            leg.learn(request, pending.flow);
            leg.hear(request);
        }
        Newcomer {
            leg,
            pending,
            session,
        }
    }
}

/// What a step that can give nobody a place in a room comes to.
pub(super) const NO_PLACE: StatusCode = StatusCode(403);
