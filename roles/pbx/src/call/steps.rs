//! The dial plan's steps.

use std::sync::Arc;

use sdp::Sdp;
use sip::{Flow, StatusCode};
use store::{Contact, Reach};

use super::change::Waiting;
use super::divert::{Onward, Vain};
use super::fork::Target;
use super::handover::NO_PLACE;
use super::leg::Party;
use super::{Alive, Call, Session, Stage};
use crate::context::{Context, Waiter};
use crate::dialplan::is_uri;
use crate::locate::Search;
use crate::{Cause, Step};
use crate::{network, outbound};

impl Call {
    /// Goes on with the next step; after the last one the call is refused or, if it was answered, ended.
    pub(super) fn next_step(mut self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        for session in std::mem::take(&mut self.sessions) {
            session.close(ctx);
        }
        let Some(step) = self.steps.next() else {
            if self.invite.is_none() && self.transfer.is_none() {
                return self.end(ctx, Cause::Completed, None);
            }
            let cause = if self.refusal == Some(StatusCode(480)) {
                Cause::NoAnswer
            } else {
                Cause::Refused
            };
            let status = self.refusal.unwrap_or(StatusCode(404));
            return self.refuse(ctx, status, cause);
        };
        match step {
            step if self.seats_nobody(&step) => self.fail_step(ctx, NO_PLACE),
            Step::Dial(number) => self.dial(ctx, &number),
            Step::Intercom(number) => {
                self.intercom = true;
                self.dial(ctx, &number)
            }
            Step::Pickup(number) => self.dial_ringing(ctx, &number),
            // We are in the call already: too late to let it pass by.
            Step::Proxy(target) if is_uri(&target) => self.fail_step(ctx, StatusCode(500)),
            Step::Proxy(number) => self.dial(ctx, &number),
            Step::Conference(rules) => self.confer(ctx, rules),
            Step::Record(step) => self.record_from_here(ctx, step),
            Step::Park(orbit) => self.park(ctx, &orbit),
            Step::Hangup(_) if self.invite.is_none() && self.transfer.is_none() => {
                self.end(ctx, Cause::Completed, None)
            }
            Step::Trunk { trunks, number } => self.dial_out(ctx, &trunks, &number),
            Step::Hangup(status) => self.refuse(ctx, StatusCode(status), Cause::Refused),
            Step::Early(served) => {
                self.unanswered = self.invite.is_some();
                self.serve(ctx, &served)
            }
            served => self.serve(ctx, &served),
        }
    }

    /// Looks up whose phones ring for `number` and asks for media ports towards them.
    fn dial(mut self: Box<Self>, ctx: &mut Context<'_>, number: &str) -> Alive {
        let Some(user) = ctx.config.user_at(number).map(Arc::clone) else {
            return self.fail_step(ctx, StatusCode(404));
        };
        self.seek(&user);
        match self.divert_at_once(ctx, &user) {
            Some(Onward::To(target)) => return self.divert_always(ctx, &user, &target),
            Some(Onward::Vain(vain)) => return self.sought_in_vain(ctx, vain, StatusCode(486)),
            None => {}
        }
        let contacts = reachable(ctx, &user.name);
        if contacts.is_empty() {
            return self.sought_in_vain(ctx, Vain::Unreachable, StatusCode(480));
        }
        let (contacts, spares): (Vec<_>, Vec<_>) = outbound::phones(contacts).into_iter().unzip();
        let Some(flows) = self.flows_to(ctx, &contacts) else {
            self.locating = Some(number.into());
            return Some(self);
        };
        let streams = match self.offered_streams() {
            Ok(streams) => streams,
            Err(status) => return self.refuse(ctx, status, Cause::Refused),
        };
        for ((contact, flow), spares) in contacts.iter().zip(flows).zip(spares) {
            let target = Target {
                party: Party::of_user(&user),
                uri: &contact.uri,
                flow,
                path: &contact.path,
                spares,
                replaces: None,
                outward: None,
            };
            self.add_fork(ctx, target, streams);
        }
        self.stage = Stage::Allocating;
        Some(self)
    }

    /// How each phone is reached. `None`: that will be known when a server has been found.
    fn flows_to(&self, ctx: &mut Context<'_>, contacts: &[Contact]) -> Option<Vec<Flow>> {
        let mut flows = Vec::with_capacity(contacts.len());
        for contact in contacts {
            let usual = network::first_hop(contact);
            let Some(server) = network::named_hop(contact) else {
                flows.push(usual);
                continue;
            };
            match ctx.find(&server, Waiter::Call(self.id)) {
                Search::Now(_, mut ways) => {
                    // Where nothing is found the way of the registration may do.
                    let found = ways.find_map(|way| network::along(way, contact.flow));
                    let found = found.filter(|flow| ctx.may_lead(contact, flow));
                    flows.push(found.unwrap_or(usual));
                }
                Search::Later => return None,
            }
        }
        Some(flows)
    }

    /// A server has been found, or not: the search that is repeated knows it now.
    pub(crate) fn located(mut self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        match self.locating.take() {
            Some(number) => self.dial(ctx, &number),
            None => Some(self),
        }
    }

    /// A step could not be done: its status counts if no later step settles the call.
    pub(super) fn fail_step(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        status: StatusCode,
    ) -> Alive {
        self.refusal = Some(status);
        self.seeking = None;
        self.next_step(ctx)
    }

    /// How many media lines the caller offers; one if the INVITE has no offer.
    pub(super) fn offered_streams(&mut self) -> Result<u8, StatusCode> {
        let streams = |offer: Option<Sdp<'_>>| match offer {
            None => Ok(1),
            Some(offer) if offer.media().any(|media| media.is_rtp()) => Ok(streams_of(&offer)),
            Some(_) => Err(StatusCode(488)),
        };
        if self.invite.is_none() {
            let offer = self.offer();
            return streams(offer.as_deref().and_then(|text| Sdp::parse(text).ok()));
        }
        self.with_invite(|invite, _| offer_of(invite).map_or(Err(StatusCode(488)), streams))
            .unwrap_or(Err(StatusCode(500)))
    }

    /// The ports that a step waited for are there.
    pub(crate) fn allocated(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        id: media::SessionId,
        ports: Vec<media::StreamPorts>,
    ) -> Alive {
        let mut by_step = self.sessions.iter_mut();
        if let Some(session) = by_step.find(|session| session.id == id) {
            session.allocated(ports);
        } else {
            let newcomer = self.waiting.as_mut().and_then(Waiting::session);
            let mut others = self.session.iter_mut().chain(newcomer);
            if let Some(session) = others.find(|session| session.id == id) {
                session.allocated(ports);
            }
            return self.resume_change(ctx);
        }
        if self.stage != Stage::Allocating {
            return self.resume_change(ctx);
        }
        if !self.sessions.iter().all(Session::is_ready) {
            return Some(self);
        }
        if self.forks.is_empty() {
            self.start_serving(ctx)
        } else {
            self.ring(ctx)
        }
    }

    /// There are no ports.
    pub(crate) fn ports_refused(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        id: media::SessionId,
    ) -> Alive {
        let asked = |session: &Session| session.id == id;
        if !self.sessions.iter().any(asked) {
            return self.change_has_no_ports(ctx, id);
        }
        if self.stage != Stage::Allocating {
            return Some(self);
        }
        self.abandon_forks(ctx, None);
        self.refuse(ctx, StatusCode(503), Cause::Refused)
    }

    /// There are no ports for a change, or for a newcomer.
    fn change_has_no_ports(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        id: media::SessionId,
    ) -> Alive {
        if self.invite.is_some() {
            // It was made for the newcomer's sake.
            if let Some(session) = self.session.take_if(|session| session.id == id) {
                session.close(ctx);
            }
        } else if let Some(session) = &mut self.session {
            session.stay();
        }
        if let Some(waiting) = self.waiting.take() {
            waiting.refuse(ctx, 503);
        }
        self.without_newcomer(ctx)
    }
}

/// The offer in a request, if there is one.
///
/// # Errors
/// If there is a body that is no session description.
pub(super) fn offer_of<'a>(request: &sip::Message<'a>) -> Result<Option<Sdp<'a>>, sdp::Error> {
    if request.body().is_empty() {
        return Ok(None);
    }
    request.body_of_type(crate::context::SDP).map_or_else(
        || Sdp::parse_bytes(b"").map(Some),
        |text| Sdp::parse(text).map(Some),
    )
}

/// How many media lines get ports.
pub(super) fn streams_of(offer: &Sdp<'_>) -> u8 {
    offer.media_count().min(MAX_STREAMS) as u8
}

/// The phones of a user that ring: those that answer our OPTIONS, or all if none does.
pub(crate) fn reachable(ctx: &Context<'_>, user: &str) -> Vec<Contact> {
    let now = ctx.clock.unix(ctx.now);
    let Some(contacts) = ctx.services.bindings.lookup(user) else {
        return Vec::new();
    };
    let valid = || contacts.iter().filter(|contact| contact.expires > now);
    let answering: Vec<Contact> = valid()
        .filter(|contact| contact.reach != Reach::Unreachable)
        .cloned()
        .collect();
    if answering.is_empty() {
        valid().cloned().collect()
    } else {
        answering
    }
}

/// Most media lines of one call that we carry.
const MAX_STREAMS: usize = 8;
