//! Calls that leave by trunks: one way after the other, until one of them takes the call.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sdp::Sdp;
use sip::{Message, StatusCode};

use super::fork::Target;
use super::leg::Party;
use super::session::Session;
use super::steps::reachable;
use super::{Alive, Call, Stage};
use crate::Cause;
use crate::context::Context;
use crate::trunk::state::Health;
use crate::trunk::{Channel, Outgoing, Route, Trunk, TrunkLeg, retry_after, routes};

/// The ways that a call may still take.
#[derive(Debug)]
pub(super) struct Hunt {
    routes: VecDeque<Route>,
    number: Box<str>,
    /// The trunk whose rate admits the call; further ways of it are the same call.
    admitted: Option<Arc<str>>,
}

/// What an INVITE to a trunk has besides one to a phone.
#[derive(Debug)]
pub(super) struct Outward {
    pub(super) outgoing: Outgoing,
    pub(super) leg: TrunkLeg,
    pub(super) progress: Progress,
}

/// How far an INVITE to a trunk is.
#[derive(Debug)]
pub(super) struct Progress {
    health: Arc<Health>,
    /// How long the proxy may say nothing at all.
    timeout: Duration,
    pub(super) give_up: Option<Instant>,
    /// The callee's phone rings: whatever follows is about the callee, not about the way.
    pub(super) rang: bool,
}

impl Progress {
    pub(super) fn sent(&mut self, now: Instant) {
        self.give_up = Some(now + self.timeout);
    }

    /// The proxy is there.
    pub(super) fn heard(&mut self, status: StatusCode) {
        self.give_up = None;
        self.rang |= matches!(status.0, 180..=182);
    }

    /// Whether another way may do better after this refusal: the server failed, not the callee.
    ///
    /// # Source
    /// RFC 3263 §4.3, RFC 3261 §16.7, §21.5.4
    const fn is_fault_of_way(&self, status: StatusCode) -> bool {
        matches!(status.0, 500..=599) || status.0 == 408 && !self.rang
    }
}

impl Call {
    /// Calls `number` by the first of these trunks that takes it.
    pub(super) fn dial_out(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        trunks: &[String],
        number: &str,
    ) -> Alive {
        let now = ctx.clock.unix_millis(ctx.now);
        let names = trunks.iter().map(String::as_str);
        let peers: Vec<_> = trunks
            .iter()
            .filter_map(|name| ctx.config.trunks.named(name)?.peer.as_deref())
            .map(|peer| (peer, reachable(ctx, peer)))
            .collect();
        let registered = |trunk: &Arc<Trunk>| {
            let own = peers
                .iter()
                .find(|(peer, _)| trunk.peer.as_deref() == Some(peer));
            let contacts = own.map_or(&[][..], |(_, contacts)| contacts);
            let route = |contact| Route::to_contact(trunk, contact);
            contacts.iter().map(route).collect()
        };
        self.hunt = Some(Hunt {
            routes: routes(&ctx.config.trunks, names, now, ctx.mint, registered),
            number: number.into(),
            admitted: None,
        });
        self.hunt_on(ctx, StatusCode(503))
    }

    /// Takes the next way. After the last one the step has failed with `status`.
    pub(super) fn hunt_on(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        mut status: StatusCode,
    ) -> Alive {
        let streams = match self.offered_streams() {
            Ok(streams) => streams,
            Err(status) => return self.refuse(ctx, status, Cause::Refused),
        };
        while let Some((route, number)) = self.next_route() {
            if !self.suits(ctx, &route) {
                status = StatusCode(488);
                self.skip_trunk(&route);
                continue;
            }
            let Some(channel) = self.admit_to(ctx, &route) else {
                self.skip_trunk(&route);
                continue;
            };
            self.record.trunk_out = Some(Arc::clone(&route.trunk.name));
            self.invite_by(ctx, &route, channel, &number, streams);
            if self.sessions.iter().all(Session::is_ready) {
                return self.ring(ctx);
            }
            self.stage = Stage::Allocating;
            return Some(self);
        }
        self.hunt = None;
        self.fail_step(ctx, status)
    }

    /// Whether the offer has a codec that the trunk takes.
    fn suits(&mut self, ctx: &Context<'_>, route: &Route) -> bool {
        let allowed = &route.trunk.media;
        if allowed.codecs.is_empty() {
            return true;
        }
        let offer = self.offer();
        let offer = offer.as_deref().and_then(|text| Sdp::parse(text).ok());
        let from = self.side(self.subject).map(|leg| leg.policy(ctx));
        let from = from.as_deref().unwrap_or(allowed);
        offer.is_none_or(|offer| sdp::bridge::suits(&offer, from, allowed))
    }

    fn next_route(&mut self) -> Option<(Route, Box<str>)> {
        let hunt = self.hunt.as_mut()?;
        Some((hunt.routes.pop_front()?, hunt.number.clone()))
    }

    /// A channel of the trunk, if it has one left and calls don't come too fast.
    fn admit_to(&mut self, ctx: &Context<'_>, route: &Route) -> Option<Channel> {
        let channel = Channel::take(&route.trunk)?;
        let hunt = self.hunt.as_mut()?;
        let name = &route.trunk.name;
        if hunt.admitted.as_ref() != Some(name) {
            let now = ctx.clock.unix_millis(ctx.now);
            if !route.trunk.state.admits(now, route.trunk.max_rate) {
                return None;
            }
            hunt.admitted = Some(Arc::clone(name));
        }
        Some(channel)
    }

    fn skip_trunk(&mut self, route: &Route) {
        if let Some(hunt) = &mut self.hunt {
            hunt.routes
                .retain(|other| other.trunk.name != route.trunk.name);
        }
    }

    fn invite_by(
        &mut self,
        ctx: &mut Context<'_>,
        route: &Route,
        channel: Channel,
        number: &str,
        streams: u8,
    ) {
        let Some(asking) = self.side(self.subject) else {
            return;
        };
        let caller = asking.party.caller_id();
        let trunk = Arc::clone(&route.trunk);
        let address = ctx.config.network.signalling_address(&route.flow);
        let host = super::fork::host_of(address.ip());
        let outgoing = Outgoing::new(&trunk, &trunk.state.view(), &caller, number, &host);
        let outgoing = match &route.contact {
            Some((contact, path)) => outgoing.at_contact(contact, path),
            None => outgoing,
        };
        let target = Target {
            party: Party::of_number(number),
            uri: &outgoing.target.clone(),
            flow: route.flow,
            path: &[],
            spares: Vec::new(),
            replaces: None,
            outward: Some(Box::new(Outward {
                outgoing,
                progress: Progress {
                    health: Arc::clone(&route.health),
                    timeout: trunk.timeout,
                    give_up: None,
                    rang: false,
                },
                leg: TrunkLeg::new(trunk, channel),
            })),
        };
        self.add_fork(ctx, target, streams);
    }

    /// The provider wants a proof of who we are. `false`: it can't be given.
    pub(super) fn prove(
        &mut self,
        ctx: &mut Context<'_>,
        index: usize,
        response: &Message<'_>,
    ) -> bool {
        let Some(fork) = self.forks.get_mut(index) else {
            return false;
        };
        let Some(trunk) = fork.leg.trunk.as_mut() else {
            return false;
        };
        if !trunk.learn(response) {
            return false;
        }
        fork.begin_again();
        let offer = self.offer();
        self.invite_fork(ctx, index, offer.as_deref());
        true
    }

    /// An INVITE to a trunk has failed: whether the call goes on by another way. A way that says nothing
    /// (no `response`) is left alone for a while, one that is overloaded for as long as it asks.
    pub(super) fn takes_next_way(
        &self,
        ctx: &Context<'_>,
        progress: &Progress,
        status: StatusCode,
        response: Option<&Message<'_>>,
    ) -> bool {
        let rest = match (status, response) {
            (_, None) => REST,
            (StatusCode(503), Some(response)) => retry_after(response),
            _ => Duration::ZERO,
        };
        if !rest.is_zero() {
            let now = ctx.clock.unix_millis(ctx.now);
            progress.health.rest(now + rest.as_millis() as u64);
        }
        let refused = matches!(status.0, 401 | 407);
        self.hunt.is_some() && (refused || progress.is_fault_of_way(status))
    }
}

/// How long calls keep off a way that said nothing.
const REST: Duration = Duration::from_secs(30);
