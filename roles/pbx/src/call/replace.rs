//! Somebody new takes the place of a party: INVITE with Replaces (RFC 3891), pickup, retrieval of a
//! parked call.

use media::Side;
use sdp::Sdp;
use sip::{Dialog, Message};

use super::change::Asker;
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
    /// Lets somebody take the place of the party at `side`, if the other party agrees to the newcomer's
    /// description.
    fn replace(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        side: Side,
        entrant: Entrant,
        offer: Option<&Sdp<'_>>,
    ) -> Alive {
        let Some(stays) = self.side(side.other()) else {
            entrant.refuse(ctx, 481);
            return Some(self);
        };
        let (there, here) = (stays.dialog.flow.local.ip(), entrant.dialog.flow.local.ip());
        let number = stays.party.number.clone();
        let streams = offer.map_or(1, streams_of);
        let session = Session::allocate(ctx, self.id, side, there, here, streams);
        let Entrant {
            dialog,
            pending,
            party,
        } = entrant;
        let described = u64::from(ctx.mint.number());
        let mut leg = Leg::new(dialog, side, party, &number, described);
        ctx.index.legs.insert(leg.tag(), self.id);
        ctx.transactions.keep(pending.server, leg.tag());
        if let Some(request) = pending.message() {
            leg.learn(&request, pending.flow);
            leg.hear(&request);
        }
        let newcomer = Newcomer {
            leg,
            pending,
            session,
        };
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
            leg.accept(ctx, &pending, &request, Some(sdp));
        }
        self.use_session(ctx, session);
        self.stage = Stage::Talking;
        let side = leg.side;
        if let Some(parted) = self.legs[side.index()].replace(leg) {
            leave(ctx, parted, false, Some(REPLACED));
        }
    }
}

impl Entrant {
    fn refuse(self, ctx: &mut Context<'_>, status: u16) {
        let tag = self.dialog.local_tag;
        ctx.refuse_pending(&self.pending, status, tag.as_str());
    }
}

const REPLACED: &str = "SIP;cause=200;text=\"Replaced\"";
