//! Looks after the trunks of one slot: finds their proxies, registers, asks whether they answer, keeps
//! the way to them open.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sip::locate::Way as Found;
use sip::{ClientKey, Flow, Message};

use super::config::Proxy;
use super::registration::Registration;
use super::state::{Health, Registered, View, Way};
use super::{Trunk, probe};
use crate::Event;
use crate::context::{Context, Waiter};
use crate::locate::{Search, Ways};

/// What a request of ours to a trunk is for.
#[derive(Clone, Debug)]
pub(crate) enum Errand {
    /// REGISTER.
    Register,
    /// OPTIONS.
    Probe {
        /// Of the way that is asked.
        health: Arc<Health>,
        sent: Instant,
    },
}

/// The trunks of a slot.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    kept: Vec<Kept>,
    /// Registrations of trunks that are gone or have changed, until they are removed.
    leaving: Vec<(Arc<Trunk>, Registration)>,
    stopping: bool,
}

/// A trunk that is looked after.
#[derive(Debug)]
struct Kept {
    trunk: Arc<Trunk>,
    /// Where each proxy was found, best first.
    found: Vec<Vec<Found>>,
    /// Proxies that are being looked for, by their place.
    asked: Vec<usize>,
    registration: Option<Registration>,
    locate_at: Option<Instant>,
    probe_at: Option<Instant>,
    ping_at: Option<Instant>,
    /// What observers believe.
    up: Option<bool>,
}

impl Keeper {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let kept = self.kept.iter().filter_map(Kept::deadline);
        let leaving = self.leaving.iter().filter_map(|(_, r)| r.deadline());
        kept.chain(leaving).min()
    }

    /// Takes the trunks of the configuration: new ones are begun, changed ones begin anew, those that
    /// are gone are left.
    pub(crate) fn adopt(&mut self, ctx: &mut Context<'_>) {
        if self.stopping {
            return;
        }
        let config = ctx.config;
        let slot = ctx.mint.slot();
        let mut old = std::mem::take(&mut self.kept);
        for trunk in config.trunks.iter().filter(|trunk| trunk.slot() == slot) {
            let before = old
                .iter()
                .position(|kept| kept.trunk.name == trunk.name)
                .map(|place| old.swap_remove(place));
            let kept = match before {
                Some(mut kept) if kept.trunk.registers_like(trunk) => {
                    kept.trunk = Arc::clone(trunk);
                    kept
                }
                Some(kept) => {
                    self.let_go(ctx, kept);
                    Kept::new(ctx, trunk)
                }
                None => Kept::new(ctx, trunk),
            };
            self.kept.push(kept);
        }
        for kept in old {
            self.let_go(ctx, kept);
        }
    }

    fn let_go(&mut self, ctx: &mut Context<'_>, kept: Kept) {
        let Some(mut registration) = kept.registration else {
            return;
        };
        registration.leave(ctx, &kept.trunk);
        if !registration.is_over() && self.leaving.len() < MOST_LEAVING {
            self.leaving.push((kept.trunk, registration));
        }
    }

    /// The server stops: the providers are told.
    pub(crate) fn stop(&mut self, ctx: &mut Context<'_>) {
        self.stopping = true;
        for kept in std::mem::take(&mut self.kept) {
            kept.trunk.state.publish(View {
                registration: Registered::No,
                ..View::clone(&kept.trunk.state.view())
            });
            self.let_go(ctx, kept);
        }
    }

    /// Does what is due.
    pub(crate) fn expire(&mut self, ctx: &mut Context<'_>) {
        for kept in &mut self.kept {
            if kept.deadline().is_some_and(|at| at <= ctx.now) {
                kept.expire(ctx);
            }
        }
        for (trunk, registration) in &mut self.leaving {
            registration.expire(ctx, trunk);
        }
        self.leaving
            .retain(|(_, registration)| !registration.is_over());
    }

    /// Takes the answer to a request of ours; none: it was lost.
    pub(crate) fn answered(
        &mut self,
        ctx: &mut Context<'_>,
        key: ClientKey,
        errand: &Errand,
        response: Option<&Message<'_>>,
    ) {
        match errand {
            Errand::Probe { health, sent } => {
                probe::answered(ctx, health, *sent, response);
                self.kept.iter_mut().for_each(|kept| kept.tell(ctx));
            }
            Errand::Register => self.register_answered(ctx, key, response),
        }
    }

    fn register_answered(
        &mut self,
        ctx: &mut Context<'_>,
        key: ClientKey,
        response: Option<&Message<'_>>,
    ) {
        for kept in &mut self.kept {
            if let Some(registration) = kept.registration.as_mut().filter(|r| r.waits_for(key)) {
                registration.answered(ctx, &kept.trunk, response);
                return kept.publish(ctx);
            }
        }
        for (trunk, registration) in &mut self.leaving {
            if registration.waits_for(key) {
                registration.answered(ctx, trunk, response);
            }
        }
        self.leaving
            .retain(|(_, registration)| !registration.is_over());
    }

    /// The search for a proxy has ended; without ways it was not found.
    pub(crate) fn located(&mut self, ctx: &mut Context<'_>, trunk: &str, proxy: usize, ways: Ways) {
        let mut kept = self.kept.iter_mut();
        if let Some(kept) = kept.find(|kept| *kept.trunk.name == *trunk) {
            kept.located(ctx, proxy, ways);
        }
    }

    /// Nobody is at the other end of this flow, or its connection has ended.
    pub(crate) fn unreachable(&mut self, ctx: &mut Context<'_>, flow: &Flow) {
        for kept in &mut self.kept {
            if let Some(registration) = &mut kept.registration {
                registration.connection_lost(ctx, flow);
            }
        }
    }
}

impl Kept {
    fn new(ctx: &mut Context<'_>, trunk: &Arc<Trunk>) -> Self {
        let registration = trunk
            .register
            .as_ref()
            .map(|register| Registration::new(ctx, trunk, register));
        Self {
            found: vec![Vec::new(); trunk.proxies.len()],
            asked: Vec::new(),
            registration,
            // What has to be sent is sent when the timer comes, which is at once.
            locate_at: Some(ctx.now),
            probe_at: None,
            ping_at: None,
            up: None,
            trunk: Arc::clone(trunk),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let registration = self.registration.as_ref().and_then(Registration::deadline);
        // Before the proxies are found there is nobody to register with.
        let registration = registration.filter(|_| self.is_located());
        [self.locate_at, self.probe_at, self.ping_at, registration]
            .into_iter()
            .flatten()
            .min()
    }

    fn is_located(&self) -> bool {
        self.found.iter().any(|ways| !ways.is_empty()) || self.asked.is_empty()
    }

    fn expire(&mut self, ctx: &mut Context<'_>) {
        let due = |at: &mut Option<Instant>| at.take_if(|at| *at <= ctx.now).is_some();
        let (locate, probe, ping) = (
            due(&mut self.locate_at),
            due(&mut self.probe_at),
            due(&mut self.ping_at),
        );
        if locate {
            self.locate(ctx);
        }
        if probe {
            self.probe(ctx);
        }
        if ping {
            self.ping(ctx);
        }
        if self.is_located()
            && let Some(registration) = &mut self.registration
        {
            registration.expire(ctx, &self.trunk);
        }
        self.publish(ctx);
    }

    /// Finds the proxies: addresses are known, names are asked for, again and again, because the name
    /// server knows how long an answer holds and we don't.
    fn locate(&mut self, ctx: &mut Context<'_>) {
        let trunk = Arc::clone(&self.trunk);
        self.asked.clear();
        for (place, proxy) in trunk.proxies.iter().enumerate() {
            let waiter = Waiter::Trunk(Arc::clone(&trunk.name), place);
            match ctx.find(&proxy.server, waiter) {
                Search::Now(_, ways) => self.take(place, ways),
                Search::Later => self.asked.push(place),
            }
        }
        let named = |proxy: &Proxy| proxy.server.address().is_none();
        let again = trunk.proxies.iter().any(named);
        self.locate_at = again.then(|| ctx.now + LOCATE_AGAIN);
        self.refresh_ways(ctx);
    }

    /// Takes the ways to a proxy. A name server that fails for a while takes nothing away.
    fn take(&mut self, proxy: usize, ways: Ways) {
        let ways: Vec<_> = ways.take(MOST_WAYS).collect();
        if let Some(found) = self.found.get_mut(proxy).filter(|_| !ways.is_empty()) {
            *found = ways;
        }
    }

    fn located(&mut self, ctx: &mut Context<'_>, proxy: usize, ways: Ways) {
        self.asked.retain(|asked| *asked != proxy);
        self.take(proxy, ways);
        self.refresh_ways(ctx);
        if self.is_located()
            && let Some(registration) = &mut self.registration
        {
            registration.expire(ctx, &self.trunk);
        }
        self.publish(ctx);
    }

    /// Works out the ways from where the proxies were found. A way that was known keeps its health.
    fn refresh_ways(&mut self, ctx: &mut Context<'_>) {
        let before = self.trunk.state.view();
        let mut ways = Vec::new();
        for (proxy, found) in self.trunk.proxies.iter().zip(&self.found) {
            for (place, (protocol, remote)) in found.iter().enumerate() {
                let Some(flow) = ctx.services.flow_to(*protocol, *remote, self.trunk.tls) else {
                    continue;
                };
                let known = before.ways.iter().find(|way| way.flow == flow);
                ways.push(Way {
                    flow,
                    priority: u32::from(proxy.priority) << 8 | place as u32,
                    weight: proxy.weight,
                    health: known.map_or_else(Arc::default, |way| Arc::clone(&way.health)),
                });
            }
        }
        if ways == before.ways {
            return;
        }
        self.trunk.state.publish(View {
            ways,
            ..View::clone(&before)
        });
        self.probe_at = (!self.trunk.qualify.is_zero()).then_some(ctx.now);
        if let Some(registration) = &mut self.registration {
            registration.renew(ctx);
        }
    }

    fn probe(&mut self, ctx: &mut Context<'_>) {
        for way in &self.trunk.state.view().ways {
            probe::ask(ctx, &self.trunk, way);
        }
        let interval = self.trunk.qualify;
        self.probe_at = (!interval.is_zero()).then(|| ctx.now + interval);
    }

    /// RFC 5626 §3.5.1, §4.4.1: an empty line keeps translators and firewalls open.
    fn ping(&mut self, ctx: &mut Context<'_>) {
        if let Some(flow) = self.registration.as_ref().and_then(Registration::flow) {
            ctx.out.send_with(flow, |bytes| bytes.extend(b"\r\n\r\n"));
        }
    }

    /// Tells the other slots, and observers if it matters to them.
    fn publish(&mut self, ctx: &mut Context<'_>) {
        let before = self.trunk.state.view();
        let registration = self.registration.as_ref();
        let view = View {
            ways: before.ways.clone(),
            registration: registration.map_or(Registered::No, Registration::state),
            line: registration.map(Registration::line),
            service_route: registration.map_or(Vec::new(), |r| r.service_route().to_vec()),
            error: registration
                .and_then(Registration::error)
                .or_else(|| before.ways.is_empty().then_some(NO_WAYS))
                .map(Into::into),
        };
        if view != *before {
            self.trunk.state.publish(view);
        }
        let pings = registration.is_some_and(|r| r.flow().is_some());
        let interval = self.trunk.keep_alive;
        if pings && self.ping_at.is_none() && !interval.is_zero() {
            self.ping_at = Some(ctx.now + interval);
        }
        self.tell(ctx);
    }

    /// Tells observers whether the trunk has come up or gone down.
    fn tell(&mut self, ctx: &mut Context<'_>) {
        let view = self.trunk.state.view();
        let up = view.is_up();
        if self.up == Some(up) || self.up.is_none() && !up && view.error.is_none() {
            return;
        }
        self.up = Some(up);
        let trunk = Arc::clone(&self.trunk.name);
        ctx.out.events.push(if up {
            Event::TrunkUp { trunk }
        } else {
            let reason = view.error.as_deref().unwrap_or("no proxy answers").into();
            Event::TrunkDown { trunk, reason }
        });
    }
}

const NO_WAYS: &str = "no way to a proxy is known";

/// How often names are asked for.
const LOCATE_AGAIN: Duration = Duration::from_secs(60);

/// Most addresses of one proxy that are tried; the others are left out.
const MOST_WAYS: usize = 16;

/// Most registrations that are being removed at once; others run out by themselves.
const MOST_LEAVING: usize = 64;
