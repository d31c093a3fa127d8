//! What a leg is told of the other party's media: each leg negotiates with its party on its own.

use std::sync::{Arc, LazyLock};

use media::Side;
use sdp::bridge::ice::Mode;
use sdp::bridge::{Endpoint, Ours, Policy, Refusal, Said, Terms};
use sdp::{Agreed, Anchor, Codec, Levels, Origin, Pictures, Sdp};
use sip::{Protocol, StatusCode};

use super::leg::Leg;
use super::session::Session;
use super::steps::offer_of;
use super::{Alive, CALLER, Call};
use crate::context::{Context, SDP, Services};
use crate::network;
use crate::sound::{self, Minted, STRANGERS};

impl Leg {
    /// What holds for the party: its trunk's policy, or its user's.
    pub(super) fn policy(&self, ctx: &Context<'_>) -> Arc<Policy> {
        if let Some(leg) = &self.trunk {
            return Arc::clone(&leg.trunk.media);
        }
        let user = ctx.config.users.get(&*self.party.name);
        let usual = user.map_or(&*STRANGERS, |user| &user.media);
        match self.is_browser(user.and_then(|user| user.webrtc)) {
            true => sound::of_browser(usual),
            false => Arc::clone(usual),
        }
    }

    /// Whether the party is a browser: what its user's settings say, else how it is connected. Another
    /// call of ours is none, whoever it speaks for.
    fn is_browser(&self, setting: Option<bool>) -> bool {
        let ourselves = self.dialog.flow.protocol == Protocol::Local;
        !ourselves && setting.unwrap_or_else(|| network::is_browser(&self.dialog))
    }

    /// Takes an offer of the party.
    ///
    /// # Errors
    /// It is none that the party may make: to be answered with 488.
    pub(super) fn hear_offer(
        &mut self,
        ctx: &mut Context<'_>,
        offer: &Sdp<'_>,
    ) -> Result<(), Refusal> {
        let policy = self.policy(ctx);
        let terms = terms(&policy, &self.end, ctx.services, ctx.config.network.ice);
        self.end.hear_offer(offer, &terms, &mut Minted(ctx.mint))
    }

    /// The offer to this party that says what the other one has said, who is at `by`.
    ///
    /// # Errors
    /// Nothing is left that the party may have.
    pub(super) fn invite_with(
        &mut self,
        ctx: &mut Context<'_>,
        session: &Session,
        said: &Sdp<'_>,
        by: (&Endpoint, &Policy),
    ) -> Result<String, Refusal> {
        if self.moves_to(session.id) {
            self.end.restart_checks();
        }
        let policy = sound::across(self.policy(ctx), by.1);
        let policy = sound::otherwise(policy, self.refusals);
        let anchors = self.anchors(ctx, session, said);
        let said = Said {
            sdp: said,
            by: by.0,
            policy: by.1,
        };
        let candidates = self.candidates(ctx, session);
        let ours = self.ours(ctx, &anchors, &candidates);
        let mut text = String::with_capacity(512);
        let terms = terms(&policy, &self.end, ctx.services, ctx.config.network.ice);
        let random = &mut Minted(ctx.mint);
        self.end
            .offer(&said, &self.heard, &ours, &terms, random, &mut text)?;
        Ok(self.versioned(text))
    }

    /// The answer to the party's offer, from the answer that the party at `by` gave.
    ///
    /// # Errors
    /// The two have nothing in common.
    pub(super) fn reply_with(
        &mut self,
        ctx: &Context<'_>,
        session: &Session,
        offer: &Sdp<'_>,
        answer: &Sdp<'_>,
        by: &mut Endpoint,
    ) -> Result<String, Refusal> {
        let text = self.reply(ctx, session, offer, answer, by)?;
        Ok(self.versioned(text))
    }

    /// As [`reply_with`](Self::reply_with), for a party that has not asked and is not told.
    pub(super) fn settle_with(
        &mut self,
        ctx: &Context<'_>,
        session: &Session,
        offer: &Sdp<'_>,
        answer: &Sdp<'_>,
        by: &mut Endpoint,
    ) {
        // Without a common codec there is none to be heard.
        let _ = self.reply(ctx, session, offer, answer, by);
    }

    fn reply(
        &mut self,
        ctx: &Context<'_>,
        session: &Session,
        offer: &Sdp<'_>,
        answer: &Sdp<'_>,
        by: &mut Endpoint,
    ) -> Result<String, Refusal> {
        self.moves_to(session.id);
        let policy = self.policy(ctx);
        let anchors = self.anchors(ctx, session, offer);
        let candidates = self.candidates(ctx, session);
        let ours = self.ours(ctx, &anchors, &candidates);
        let mut text = String::with_capacity(512);
        let terms = terms(&policy, &self.end, ctx.services, ctx.config.network.ice);
        self.end
            .answer(offer, answer, by, &ours, &terms, &mut text)?;
        Ok(text)
    }

    /// Our answer to the party's offer, where we are the other party.
    ///
    /// # Errors
    /// We have nothing in common.
    pub(super) fn serve_with(
        &mut self,
        ctx: &Context<'_>,
        session: &Session,
        offer: &Sdp<'_>,
        agreed: (&Agreed, Option<&Pictures>),
    ) -> Result<String, Refusal> {
        self.moves_to(session.id);
        let policy = self.policy(ctx);
        let anchors = self.anchors(ctx, session, offer);
        let candidates = self.candidates(ctx, session);
        let ours = self.ours(ctx, &anchors, &candidates);
        let mut text = String::with_capacity(512);
        let terms = terms(&policy, &self.end, ctx.services, ctx.config.network.ice);
        self.end.serve(offer, agreed, &ours, &terms, &mut text)?;
        Ok(self.versioned(text))
    }

    /// Our own offer to the party, for sound with these codecs.
    ///
    /// # Errors
    /// The party must have keys, and we cannot make them.
    pub(super) fn invite_alone(
        &mut self,
        ctx: &mut Context<'_>,
        session: &Session,
        codecs: &[Codec],
        room: bool,
    ) -> Result<String, Refusal> {
        if self.moves_to(session.id) {
            self.end.restart_checks();
        }
        let policy = self.policy(ctx);
        let anchors = self.anchor(ctx, session, 0);
        let candidates = self.candidates(ctx, session);
        let ours = self.ours(ctx, std::slice::from_ref(&anchors), &candidates);
        let mut text = String::with_capacity(512);
        let terms = terms(&policy, &self.end, ctx.services, ctx.config.network.ice);
        let random = &mut Minted(ctx.mint);
        let heard = Sdp::parse(&self.heard).ok();
        let heard = heard.as_ref().and_then(|heard| heard.media_at(0));
        let levels = room.then(|| Levels::offered(heard.as_ref()));
        let offered = (codecs, levels.unwrap_or_default());
        self.end.invite(offered, &ours, &terms, random, &mut text)?;
        Ok(self.versioned(text))
    }

    fn ours<'a>(
        &self,
        ctx: &Context<'_>,
        media: &'a [Anchor],
        candidates: &'a [(usize, Box<str>)],
    ) -> Ours<'a> {
        let (session_id, version) = self.origin;
        Ours {
            origin: Origin {
                session_id,
                version,
                address: ctx.config.network.media_address(&self.dialog.flow),
            },
            media,
            candidates,
        }
    }

    /// Ways to us that a party may try. Where we are lite there is but the one that its streams name.
    fn candidates(&self, ctx: &Context<'_>, session: &Session) -> Vec<(usize, Box<str>)> {
        let network = &ctx.config.network;
        match network.ice {
            Mode::Lite => Vec::new(),
            Mode::Full => session.candidates(network.media_address(&self.dialog.flow), self.side),
        }
    }

    /// Where the party sends each stream.
    fn anchors(&self, ctx: &Context<'_>, session: &Session, sdp: &Sdp<'_>) -> Vec<Anchor> {
        let media = sdp.media().enumerate();
        media
            .map(|(index, media)| match media.is_rtp() {
                true => self.anchor(ctx, session, index),
                false => Anchor::Refuse,
            })
            .collect()
    }

    fn anchor(&self, ctx: &Context<'_>, session: &Session, index: usize) -> Anchor {
        let address = ctx.config.network.media_address(&self.dialog.flow);
        session.anchor(address, index, self.side)
    }
}

impl Call {
    /// The party at `side`, and the other one.
    pub(super) fn both(&mut self, side: Side) -> Option<(&mut Leg, &mut Leg)> {
        let [Some(caller), Some(callee)] = &mut self.legs else {
            return None;
        };
        Some(match side {
            Side::Caller => (caller, callee),
            Side::Callee => (callee, caller),
        })
    }

    /// The offer with which somebody is sought for the subject: the caller's own, or for a party that has
    /// been answered what it said last, as if it held nobody. None: the other end is to make it.
    pub(super) fn offer(&mut self) -> Option<String> {
        if self.invite.is_some() {
            let text = self.with_invite(|invite, _| invite.body_of_type(SDP).map(str::to_owned));
            return text.flatten();
        }
        let heard = &*self.side(self.subject)?.heard;
        Sdp::parse(heard).ok().map(|heard| sdp::unheld(&heard))
    }

    /// Asks a phone again that refuses what it was offered: with other codecs, and with SRTP or without.
    ///
    /// # Source
    /// RFC 3261 §21.4.26
    pub(super) fn offer_otherwise(&mut self, ctx: &mut Context<'_>, index: usize) -> bool {
        let Some(fork) = self.forks.get_mut(index).filter(|f| f.outward.is_none()) else {
            return false;
        };
        let leg = &mut fork.leg;
        // Another call of ours has asked its own party again.
        let ourselves = leg.dialog.flow.protocol == Protocol::Local;
        if ourselves || leg.refusals >= sound::most_refusals(&leg.policy(ctx)) {
            return false;
        }
        leg.refusals += 1;
        leg.end = Endpoint::default();
        leg.dialog.remote_tag = Box::default();
        let Some(offer) = self.offer() else {
            return false;
        };
        self.invite_fork(ctx, index, Some(&offer));
        true
    }

    /// Gives up phones that nothing can be offered to.
    pub(super) fn drop_unfit(mut self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        while let Some(index) = self.forks.iter().position(|fork| fork.unfit) {
            let ringing = self.forks.len() > 1;
            self = self.fork_fails(ctx, index, StatusCode(488), None)?;
            if !ringing {
                break;
            }
        }
        Some(self)
    }

    /// What a caller is told of the media of the one phone that rings. None: they have nothing in
    /// common, which the answer will tell.
    pub(super) fn early_answer(
        &mut self,
        ctx: &mut Context<'_>,
        answer: &Sdp<'_>,
    ) -> Option<String> {
        let invite = self.invite.clone()?;
        let request = invite.message()?;
        let offer = offer_of(request).ok().flatten()?;
        let fork = &mut self.forks.first_mut()?.leg;
        let (session, caller) = (self.sessions.first()?, self.legs[CALLER].as_mut()?);
        fork.end.hear_answer(answer).ok()?;
        let sdp = caller
            .reply_with(ctx, session, &offer, answer, &mut fork.end)
            .ok()?;
        session.connect(ctx, Side::Caller, caller, &offer);
        session.connect(ctx, Side::Callee, fork, answer);
        Some(sdp)
    }
}

fn terms<'a>(policy: &'a Policy, end: &Endpoint, services: &'a Services, ice: Mode) -> Terms<'a> {
    Terms {
        policy,
        fingerprint: LazyLock::force(&services.fingerprints)
            .as_ref()
            .map(|both| &both[usize::from(end.shows_second())]),
        ice: Some(ice),
    }
}
