//! Ringing: one INVITE for each phone of the callee; the first to answer wins.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use base::Token;
use media::Side;
use sdp::Sdp;
use sip::transaction::GIVE_UP;
use sip::{ClientKey, Dialog, Flow, HeaderName, Message, Method, StatusCode, Writer};

use super::divert::{Diversion, Vain, put_history};
use super::hunt::{Outward, Progress};
use super::leg::{Leg, Party, put_capabilities};
use super::progress::News;
use super::{Alive, CALLER, Call, LateAck, Session, Stage};
use crate::context::{Abandoned, Context, HungUp, Owner, Pending, SDP};
use crate::outbound::{FLOW_FAILED, Spare};
use crate::trunk::Outgoing;
use crate::{Cause, Event, outbound};

/// One phone that rings.
#[derive(Debug)]
pub(super) struct Fork {
    pub(super) leg: Leg,
    /// The INVITE; none before it is sent.
    client: Option<ClientKey>,
    /// Our address towards the phone: chooses the media session.
    towards: IpAddr,
    /// Session-Expires to ask for, in seconds; 0: none.
    interval: u64,
    /// Value of a Replaces header field.
    replaces: Option<Box<str>>,
    /// For an INVITE to a trunk.
    pub(super) outward: Option<Box<(Outgoing, Progress)>>,
    /// Other flows of the phone, the best last.
    spares: Vec<Spare>,
    /// There is nothing that the phone can be offered.
    pub(super) unfit: bool,
}

/// Whom an INVITE goes to.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) party: Party,
    /// Request-URI.
    pub(super) uri: &'a str,
    pub(super) flow: Flow,
    /// Route values, in order.
    pub(super) path: &'a [String],
    /// Other flows of the phone, the best first.
    pub(super) spares: Vec<Spare>,
    /// Value of a Replaces header field (RFC 3891).
    pub(super) replaces: Option<Box<str>>,
    /// It is a trunk.
    pub(super) outward: Option<Box<Outward>>,
}

impl Fork {
    /// The next INVITE is as the first one was, but for its CSeq.
    pub(super) fn begin_again(&mut self) {
        let dialog = &mut self.leg.dialog;
        dialog.remote_tag = Box::default();
        if let Some(outward) = &self.outward {
            dialog.remote_target = outward.0.target.as_str().into();
            dialog.route_set = outward.0.routes.clone();
        }
    }

    /// When it is given up because nobody says anything.
    pub(super) fn give_up(&self) -> Option<Instant> {
        self.outward.as_ref()?.1.give_up
    }

    /// What it is offered of what the party that is `asking` offered; nothing: it can't be offered any of it.
    fn describe(
        &mut self,
        ctx: &mut Context<'_>,
        session: &Session,
        offer: &Sdp<'_>,
        asking: &Leg,
    ) -> Option<String> {
        let policy = asking.policy(ctx);
        let by = (&asking.end, &*policy);
        self.leg.invite_with(ctx, session, offer, by).ok()
    }

    pub(super) fn leg(&self) -> &Leg {
        &self.leg
    }

    pub(super) fn leg_mut(&mut self) -> &mut Leg {
        &mut self.leg
    }
}

impl Call {
    /// Asks for media ports from one of our addresses to the other, unless there are some.
    fn reserve(&mut self, ctx: &mut Context<'_>, (from, towards): (IpAddr, IpAddr), streams: u8) {
        let mut sessions = self.sessions.iter();
        if sessions.any(|session| session.is_towards(towards)) {
            return;
        }
        let side = self.sought();
        let session = Session::allocate(ctx, self.id, side, from, towards, streams);
        self.sessions.push(session);
    }

    /// Prepares the INVITE to one phone, and asks for media ports towards it.
    pub(super) fn add_fork(&mut self, ctx: &mut Context<'_>, target: Target<'_>, streams: u8) {
        let side = self.sought();
        let Some(asking) = self.side(self.subject) else {
            return;
        };
        let (party, from) = (asking.party.clone(), asking.dialog.flow.local.ip());
        let flow = target.flow;
        let host = host_of(ctx.config.network.signalling_address(&flow).ip());
        let tag = ctx.mint.token();
        let call_id = ctx.mint.token();
        let (outgoing, trunk) = target
            .outward
            .map(|outward| {
                let Outward {
                    outgoing,
                    leg,
                    progress,
                } = *outward;
                (Box::new((outgoing, progress)), Box::new(leg))
            })
            .unzip();
        let (local, remote) = match &outgoing {
            Some(outward) => (outward.0.local.clone(), outward.0.remote.clone()),
            None => (party.address(&host), target.party.uri(&host)),
        };
        let user = trunk
            .as_ref()
            .map_or_else(|| party.number.clone(), |leg| leg.trunk.user.clone());
        let mut dialog = Dialog::begin(call_id.as_str(), tag, &local, &remote, target.uri, flow);
        dialog.route_set = target
            .path
            .iter()
            .map(|route| route.as_str().into())
            .collect();
        dialog.max_forwards = self.hops_left().min(dialog.max_forwards);
        let mut spares = target.spares;
        spares.reverse();
        let described = u64::from(ctx.mint.number());
        ctx.index.legs.insert(tag, self.id);
        ctx.out.events.push(Event::CallLeg {
            call: self.id,
            call_id: call_id.as_str().into(),
        });
        let towards = flow.local.ip();
        self.reserve(ctx, (from, towards), streams);
        let mut leg = Leg::new(dialog, side, target.party, &user, described);
        leg.trunk = trunk;
        let mut fork = Fork {
            leg,
            client: None,
            towards,
            interval: ctx.config.calls.session_expires.as_secs(),
            replaces: target.replaces,
            outward: outgoing,
            spares,
            unfit: false,
        };
        if fork.outward.is_some() {
            fork.begin_again();
        }
        self.forks.push(fork);
    }

    /// Sends the INVITEs.
    pub(super) fn ring(mut self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        self.stage = Stage::Ringing {
            until: ctx.now + self.patience(ctx),
        };
        let offer = self.offer();
        if self.invite.is_some()
            && let Some(offer) = offer.as_deref().and_then(|text| Sdp::parse(text).ok())
            && let Some(caller) = &mut self.legs[CALLER]
        {
            if caller.hear_offer(ctx, &offer).is_err() {
                return self.refuse(ctx, StatusCode(488), Cause::Refused);
            }
            for session in &self.sessions {
                session.connect(ctx, Side::Caller, caller, &offer);
            }
        }
        for index in 0..self.forks.len() {
            self.invite_fork(ctx, index, offer.as_deref());
        }
        self.drop_unfit(ctx)
    }

    /// Hops that are left to the call, so that one that goes round between servers comes to an end (RFC
    /// 7332 §4).
    fn hops_left(&self) -> u8 {
        let hops = self.with_invite(|invite, _| invite.number(HeaderName::MaxForwards));
        let hops = hops.and_then(Result::ok).flatten().unwrap_or(u32::MAX);
        u8::try_from(hops.saturating_sub(1)).unwrap_or(u8::MAX)
    }

    /// How long phones ring.
    fn patience(&self, ctx: &Context<'_>) -> Duration {
        let longest = ctx.config.calls.ring_timeout;
        let forward = self.seeking.as_ref().map(|user| &user.forward);
        let wished = forward
            .filter(|f| f.no_answer.is_some())
            .and_then(|f| f.after);
        wished.map_or(longest, |wished| wished.min(longest))
    }

    pub(super) fn invite_fork(&mut self, ctx: &mut Context<'_>, index: usize, offer: Option<&str>) {
        let invite = self.invite.clone();
        let request = invite.as_ref().and_then(Pending::message);
        let verstat = self.told_verstat();
        let Some(fork) = self.forks.get_mut(index) else {
            return;
        };
        let mut sessions = self.sessions.iter();
        let Some(session) = sessions.find(|session| session.is_towards(fork.towards)) else {
            return;
        };
        let offer = offer.and_then(|text| Sdp::parse(text).ok());
        let asking = self.legs[self.subject.index()].as_ref();
        let sdp = offer.zip(asking).and_then(|(offer, asking)| {
            let sdp = fork.describe(ctx, session, &offer, asking);
            fork.unfit = sdp.is_none();
            sdp
        });
        if fork.unfit {
            return;
        }
        let contact = fork.leg.contact(ctx);
        let owner = Owner::Fork { call: self.id };
        let network = &ctx.config.network;
        let host = host_of(network.signalling_address(&fork.leg.dialog.flow).ip());
        let transfer = self.transfer.as_ref();
        let wishes = Wishes {
            interval: fork.interval,
            min_se: ctx.config.calls.min_session_expires.as_secs(),
            replaces: fork.replaces.as_deref(),
            referred_by: transfer.and_then(|transfer| transfer.referred_by.as_deref()),
            history: (&self.diversions, &fork.leg.party.number),
            intercom: self.intercom,
            caller: request,
        };
        let (cnonce, unix) = (ctx.mint.token(), ctx.clock.unix(ctx.now).0);
        let outward = fork.outward.as_deref();
        let trunk = fork.leg.trunk.as_deref_mut();
        let client = ctx.request(&mut fork.leg.dialog, Method::Invite, owner, |mut writer| {
            put_capabilities(&mut writer, &contact, sdp.as_deref());
            if let Some(((outgoing, _), trunk)) = outward.zip(trunk) {
                let body = sdp.as_deref().unwrap_or("").as_bytes();
                outgoing.put(&mut writer, unix);
                trunk.prove(&mut writer, Method::Invite, &outgoing.target, body, cnonce);
            } else if let Some(caller) = &verstat {
                let value = format_args!("<sip:{caller}@{host};user=phone>");
                writer.header(HeaderName::PAssertedIdentity, value);
            }
            wishes.put(&mut writer, &host);
            match sdp {
                Some(sdp) => writer.body(SDP, sdp.as_bytes()),
                None => writer.finish(),
            }
        });
        fork.client = Some(client);
        if let Some(outward) = &mut fork.outward {
            outward.1.sent(ctx.now);
        }
    }

    /// An answer to one of the INVITEs.
    pub(crate) fn fork_answered(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        key: ClientKey,
        response: &Message<'_>,
        flow: Flow,
    ) -> Alive {
        let status = response.status().unwrap_or(StatusCode(500));
        let Some(index) = self.forks.iter().position(|fork| fork.client == Some(key)) else {
            self.acknowledge_again(ctx, status, response);
            return Some(self);
        };
        if let Some(outward) = self.forks.get_mut(index).and_then(|f| f.outward.as_mut()) {
            outward.1.heard(status);
        }
        if status == StatusCode(100) {
            return Some(self);
        }
        if status.is_provisional() {
            return self.fork_rings(ctx, index, response, flow);
        }
        if status.is_success() {
            return self.fork_accepts(ctx, index, response, flow);
        }
        if status == StatusCode(422) && self.ask_longer(ctx, index, response) {
            return Some(self);
        }
        let ours = self.forks.get(index).is_some_and(|f| f.outward.is_none());
        if status.0 / 100 == 3
            && ours
            && let Some(target) = self.redirection(ctx, response)
        {
            let fork = self.forks.swap_remove(index);
            ctx.index.legs.remove(&fork.leg.tag());
            self.abandon_forks(ctx, None);
            return self.deflect(ctx, &target);
        }
        if matches!(status.0, 401 | 407) && self.prove(ctx, index, response) {
            return Some(self);
        }
        if status == StatusCode(488) && self.offer_otherwise(ctx, index) {
            return Some(self);
        }
        if status == FLOW_FAILED {
            self.flow_failed(ctx, index);
            if self.try_next_flow(ctx, index) {
                return Some(self);
            }
        }
        self.fork_fails(ctx, index, status, Some(response))
    }

    /// A phone did not answer, or could not be reached.
    pub(crate) fn fork_lost(mut self: Box<Self>, ctx: &mut Context<'_>, key: ClientKey) -> Alive {
        match self.forks.iter().position(|fork| fork.client == Some(key)) {
            Some(index) => {
                self.flow_failed(ctx, index);
                if self.try_next_flow(ctx, index) {
                    return Some(self);
                }
                self.fork_fails(ctx, index, StatusCode(408), None)
            }
            None => Some(self),
        }
    }

    /// A trunk has not said a word for too long. Should it answer later, it is hung up.
    pub(super) fn fork_silent(mut self: Box<Self>, ctx: &mut Context<'_>, index: usize) -> Alive {
        if let Some(fork) = self.forks.get_mut(index)
            && let Some(client) = fork.client.take()
        {
            give_up(ctx, &fork.leg, client, None);
        }
        self.fork_fails(ctx, index, StatusCode(408), None)
    }

    fn fork_rings(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        index: usize,
        response: &Message<'_>,
        flow: Flow,
    ) -> Alive {
        let alone = self.forks.len() == 1;
        let Some(fork) = self.forks.get_mut(index) else {
            return Some(self);
        };
        fork.leg.follow(response);
        fork.leg.learn(response, flow);
        if !fork.leg.acknowledge_provisional(ctx, response) {
            return Some(self);
        }
        fork.leg.hear(response);
        let described = response.body_of_type(SDP);
        let status = response.status().map_or(180, |status| status.0);
        if !matches!(self.provisional.last, Some((180..=182, _))) && status != 183 {
            ctx.out.events.push(Event::CallRinging { call: self.id });
        }
        self.tell_transferor(ctx, StatusCode(status));
        // With several phones ringing the caller hears its own ringback, not one phone's early media.
        let offered = self.with_invite(|invite, _| !invite.body().is_empty()) == Some(true);
        let news = News {
            status: if alone { status } else { 180 },
            answer: described.filter(|_| alone && offered).map(Into::into),
        };
        self.tell_progress(ctx, news);
        Some(self)
    }

    /// A phone answers: the others are told, and the two parties are joined.
    fn fork_accepts(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        index: usize,
        response: &Message<'_>,
        flow: Flow,
    ) -> Alive {
        let mut fork = self.forks.swap_remove(index);
        fork.leg.follow(response);
        fork.leg.learn(response, flow);
        fork.leg.accept_timer(ctx.now, response);
        fork.leg.is_let_in();
        // An answer in a reliable provisional response need not come again.
        fork.leg.hear(response);
        fork.leg.invite = fork.client;
        self.abandon_forks(ctx, Some(COMPLETED_ELSEWHERE));
        self.outrun_newcomer(ctx);
        if self.hands_over() {
            return self.hand_to(ctx, fork, response);
        }
        for session in std::mem::take(&mut self.sessions) {
            if session.is_towards(fork.towards) {
                self.use_session(ctx, session);
            } else {
                session.close(ctx);
            }
        }
        self.stage = Stage::Talking;
        (self.parked, self.meeting) = (None, None);
        self.transferred(ctx);
        let cseq = response.cseq().map_or(0, |cseq| cseq.number);
        let parted = self.legs[fork.leg.side.index()].replace(fork.leg);
        if let Some(parted) = parted {
            super::leave(ctx, parted, false, None);
        }
        if self.invite.is_some() {
            self.join(ctx, cseq)
        } else {
            self.join_answered(ctx, cseq)
        }
    }

    /// Answers the caller with the callee's description and acknowledges the callee's answer.
    fn join(mut self: Box<Self>, ctx: &mut Context<'_>, cseq: u32) -> Alive {
        let offer = self.offer();
        let [Some(caller), Some(callee)] = &mut self.legs else {
            return Some(self);
        };
        if offer.is_some() {
            callee.acknowledge(ctx, cseq, None);
        } else {
            let side = Side::Callee;
            self.late_ack = Some(LateAck { side, cseq });
        }
        let heard = callee.heard.clone();
        let described = Sdp::parse(&heard).ok();
        let (Some(described), Some(session)) = (described, self.session.as_ref()) else {
            return self.refuse(ctx, StatusCode(502), Cause::Refused);
        };
        let offer = offer.as_deref().and_then(|text| Sdp::parse(text).ok());
        let sdp = match &offer {
            Some(offer) => callee
                .end
                .hear_answer(&described)
                .and_then(|()| caller.reply_with(ctx, session, offer, &described, &mut callee.end)),
            None => callee.hear_offer(ctx, &described).and_then(|()| {
                let policy = callee.policy(ctx);
                let by = (&callee.end, &*policy);
                caller.invite_with(ctx, session, &described, by)
            }),
        };
        let Ok(sdp) = sdp else {
            return self.refuse(ctx, StatusCode(488), Cause::Refused);
        };
        if let Some(offer) = &offer {
            session.connect(ctx, Side::Caller, caller, offer);
        }
        session.connect(ctx, Side::Callee, callee, &described);
        let by = callee.party.name.clone();
        self.answered(ctx, Some(&by));
        self.tape(ctx);
        let described_before = matches!(self.provisional.last, Some((_, true)));
        if self.provisional.unacknowledged && described_before {
            self.provisional.held = Some(sdp);
        } else {
            self.provisional.unacknowledged = false;
            self.accept_caller(ctx, &sdp);
        }
        Some(self)
    }

    /// Sends the 200 to the caller's INVITE.
    pub(super) fn accept_caller(&mut self, ctx: &mut Context<'_>, sdp: &str) {
        let Some(invite) = self.invite.take() else {
            return;
        };
        if let Some((request, caller)) = invite.message().zip(self.legs[CALLER].as_mut()) {
            caller.accept(ctx, &invite, request, Some(sdp));
        }
    }

    /// A party repeats its 2xx, or a second phone behind one contact answers: the one hears our ACK
    /// again, the other is hung up (RFC 3261 §13.2.2.4).
    pub(super) fn acknowledge_again(
        &mut self,
        ctx: &mut Context<'_>,
        status: StatusCode,
        response: &Message<'_>,
    ) {
        let Ok(cseq) = response.cseq() else { return };
        if !status.is_success() || cseq.method != Method::Invite {
            return;
        }
        let tag = response.from().ok().and_then(|from| from.tag());
        let Some(leg) = tag.and_then(Token::parse).and_then(|tag| self.leg(tag)) else {
            return;
        };
        let other = response.to().ok().and_then(|to| to.tag()).unwrap_or("");
        if *leg.dialog.remote_tag == *other {
            leg.acknowledge_again(ctx, cseq.number);
            return;
        }
        let mut dialog = leg.dialog.clone();
        dialog.adopt(response);
        ctx.acknowledge(&dialog, cseq.number, None);
        if leg.turned_away.add(other) {
            ctx.hang_up(&mut dialog, None);
        }
    }

    /// Whether our tag towards one of the phones that ring is `tag`.
    pub(super) fn rings_at(&self, tag: Token) -> bool {
        self.forks.iter().any(|fork| fork.leg.tag() == tag)
    }

    /// RFC 4028 §7.3: the phone wants a longer session interval.
    fn ask_longer(&mut self, ctx: &mut Context<'_>, index: usize, response: &Message<'_>) -> bool {
        let least = response
            .number(HeaderName::MinSe)
            .ok()
            .flatten()
            .map_or(0, u64::from);
        match self.forks.get_mut(index) {
            Some(fork) if fork.interval > 0 && least > fork.interval => {
                fork.interval = least;
                fork.leg.dialog.remote_tag = Box::default();
            }
            _ => return false,
        }
        let offer = self.offer();
        self.invite_fork(ctx, index, offer.as_deref());
        true
    }

    /// A flow of a phone is dead: the next call takes another one at once.
    fn flow_failed(&self, ctx: &Context<'_>, index: usize) {
        if let Some(leg) = self.forks.get(index).map(Fork::leg) {
            let (target, flow) = (&leg.dialog.remote_target, &leg.dialog.flow);
            outbound::flow_failed(ctx, &leg.party.name, target, flow);
        }
    }

    /// Calls a phone along another of its flows, after one that is dead (RFC 5626 §5.3). Nobody has
    /// answered yet, so that the dialog can begin again.
    fn try_next_flow(&mut self, ctx: &mut Context<'_>, index: usize) -> bool {
        let Some(fork) = self.forks.get_mut(index) else {
            return false;
        };
        let towards = fork.towards;
        fork.spares.retain(|spare| spare.leaves_from(towards));
        let Some(spare) = fork.spares.pop() else {
            return false;
        };
        let dialog = &mut fork.leg.dialog;
        dialog.remote_tag = Box::default();
        dialog.remote_target = spare.uri;
        dialog.flow = spare.flow;
        dialog.route_set = spare
            .path
            .iter()
            .map(|route| route.as_str().into())
            .collect();
        let offer = self.offer();
        self.invite_fork(ctx, index, offer.as_deref());
        true
    }

    pub(super) fn fork_fails(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        index: usize,
        status: StatusCode,
        response: Option<&Message<'_>>,
    ) -> Alive {
        let fork = self.forks.swap_remove(index);
        ctx.index.legs.remove(&fork.leg.tag());
        let outward = fork.outward.as_deref();
        let takes_next =
            outward.is_some_and(|(_, way)| self.takes_next_way(ctx, way, status, response));
        if takes_next && self.forks.is_empty() {
            // Its channel is free before the next one is taken.
            drop(fork);
            return self.hunt_on(ctx, passed_on(status));
        }
        self.refusal = Some(better(self.refusal, passed_on(status)));
        if status.0 >= 600 {
            // RFC 3261 §16.7: a refusal for the whole of the callee ends the search.
            self.abandon_forks(ctx, None);
        }
        if !self.forks.is_empty() || self.is_picked_up() {
            return Some(self);
        }
        let best = self.refusal.unwrap_or(status);
        let vain = match (best.0, status.0) {
            (486 | 600, _) => Vain::Busy,
            (480, 408 | 430 | 480 | 503) => Vain::Unreachable,
            _ => Vain::Refused,
        };
        self.sought_in_vain(ctx, vain, best)
    }

    /// Nobody has answered in time.
    pub(super) fn ring_timeout(mut self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        if self.is_picked_up() {
            // What becomes of that is known after so long.
            let until = ctx.now + GIVE_UP;
            self.stage = Stage::Ringing { until };
            return Some(self);
        }
        self.abandon_forks(ctx, Cause::NoAnswer.reason());
        self.sought_in_vain(ctx, Vain::NoAnswer, StatusCode(480))
    }

    /// All phones have refused while somebody tried to pick the call up, which has failed too.
    pub(super) fn rung_in_vain(self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        let status = self.refusal.unwrap_or(StatusCode(480));
        self.sought_in_vain(ctx, Vain::NoAnswer, status)
    }

    /// Cancels what still rings; a phone that answers all the same is hung up.
    pub(super) fn abandon_forks(&mut self, ctx: &mut Context<'_>, reason: Option<&str>) {
        // The memory too is given back: a call is long, and rings briefly.
        for fork in std::mem::take(&mut self.forks) {
            ctx.index.legs.remove(&fork.leg.tag());
            if let Some(client) = fork.client {
                give_up(ctx, &fork.leg, client, reason);
            }
        }
    }
}

/// Cancels an INVITE; whoever answers all the same is hung up.
fn give_up(ctx: &mut Context<'_>, leg: &Leg, client: ClientKey, reason: Option<&str>) {
    if let Some(owner) = ctx.transactions.client(client) {
        let hung_up = HungUp::default();
        let (dialog, proof) = (leg.dialog.clone(), leg.proof());
        *owner = Owner::Abandoned(Box::new(Abandoned {
            dialog,
            hung_up,
            proof,
        }));
    }
    ctx.transactions.cancel(ctx.now, client, reason, ctx.out);
}

/// What the caller is told for a phone's refusal: what only concerns us and the phone is not passed on
/// (RFC 3261 §16.7 steps 5 and 6).
fn passed_on(status: StatusCode) -> StatusCode {
    match status.0 {
        300..=399 | 401 | 407 | 408 | 420..=423 | 430 | 481 => StatusCode(480),
        503 => StatusCode(500),
        _ => status,
    }
}

/// RFC 3261 §16.7 step 6: the better of two refusals: 6xx first, then the lowest class; inside 4xx what
/// tells the caller most.
fn better(last: Option<StatusCode>, new: StatusCode) -> StatusCode {
    let rank = |status: StatusCode| match status.0 {
        600.. => 0,
        486 => 1,
        480 | 404 => 3,
        400..=499 => 2,
        _ => 4,
    };
    last.filter(|last| rank(*last) <= rank(new)).unwrap_or(new)
}

const COMPLETED_ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";

/// What a caller says about its call that the phones may want to know. What makes a phone answer by
/// itself is not for callers to ask: they could listen to a room.
fn pass_on(writer: &mut Writer<'_>, request: &Message<'_>) {
    let alert = request.header(HeaderName::AlertInfo);
    if let Some(alert) = alert.filter(|alert| !alert.to_ascii_lowercase().contains("answer")) {
        writer.header(HeaderName::AlertInfo, alert);
    }
    for name in ["Subject", "Priority", "User-to-User"] {
        if let Some(value) = request.other_header(name) {
            writer.other_header(name, value);
        }
    }
}

/// What an INVITE wishes for the call that it begins, and how that came about.
struct Wishes<'a> {
    /// Seconds between two refreshes of the session (RFC 4028); 0: none.
    interval: u64,
    min_se: u64,
    replaces: Option<&'a str>,
    referred_by: Option<&'a str>,
    /// By whom the call was diverted, and to which number.
    history: (&'a [Diversion], &'a str),
    /// The phone is to answer by itself.
    intercom: bool,
    /// The caller's INVITE.
    caller: Option<&'a Message<'a>>,
}

impl Wishes<'_> {
    /// Writes it; our address is `host`.
    fn put(&self, writer: &mut Writer<'_>, host: &str) {
        if self.interval > 0 {
            writer
                .header(HeaderName::SessionExpires, self.interval)
                .header(HeaderName::MinSe, self.min_se);
        }
        if let Some(replaces) = self.replaces {
            writer.header(HeaderName::Replaces, replaces);
        }
        if let Some(referred_by) = self.referred_by {
            writer.header(HeaderName::ReferredBy, referred_by);
        }
        let (diversions, number) = self.history;
        put_history(writer, diversions, number, host);
        if self.intercom {
            put_intercom(writer, host);
        } else if let Some(caller) = self.caller {
            pass_on(writer, caller);
        }
    }
}

/// Asks a phone to answer by itself: the standard's way, and those that phones had before it.
fn put_intercom(writer: &mut Writer<'_>, host: &str) {
    writer
        .other_header("Answer-Mode", "Auto")
        .header(
            HeaderName::AlertInfo,
            format_args!("<http://{host}>;info=alert-autoanswer;delay=0"),
        )
        .other_header("Call-Info", format_args!("<sip:{host}>;answer-after=0"));
}

/// An address as the host of a URI.
pub(super) fn host_of(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}
