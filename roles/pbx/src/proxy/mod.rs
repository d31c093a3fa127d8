//! Calls that are forwarded instead of joined: the dial plan's step `proxy`.
//!
//! The INVITE goes to the callee's phones with few changes, media flows between the parties without us,
//! and Record-Route keeps us on the way of later requests, so that a call has its record. The token in
//! our Route entry is made from the Call-ID and a secret: who does not know it has nothing forwarded.
//!
//! - `rules`: what is dropped and added. - `hop`: how requests leave. - `forwarded`: the call's record.

mod forwarded;
mod hop;
mod rules;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use base::{Deadlines, Token};
use engine::Server;
use media::Side;
use sip::proxy::{self, Env, Progress, Record, Routing, Target};
use sip::{ClientKey, Flow, HeaderName, Message, Method, ServerKey, StatusCode};

use crate::call::Caller;
use crate::context::{Context, Waiter};
use crate::locate::Ways;
use crate::trunk::retry_after;
use crate::{Cause, Config, outbound, registrar};
use forwarded::Forwarded;
use hop::{Callee, Hop};
use rules::Rules;

/// What a slot forwards.
#[derive(Debug, Default)]
pub(crate) struct Proxy {
    /// Requests on their way, until their final answer.
    relays: HashMap<ServerKey, Box<Relay>>,
    /// Requests whose server is looked for.
    locating: HashMap<ServerKey, Box<Locating>>,
    /// By the token in our Record-Route.
    calls: HashMap<Token, Box<Forwarded>>,
    deadlines: Deadlines<Key>,
}

/// What a caller has dialled, and the step's word for where that is.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) number: String,
    /// A number of ours, or a URI.
    pub(crate) target: String,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
struct Origin {
    server: ServerKey,
    source: Flow,
    method: Method<'static>,
    /// The call whose request it is, by its token; its record may be gone.
    call: Token,
    /// Who has sent it; none: it is the call's first INVITE.
    sender: Option<Side>,
    /// It is about the dialog that is recorded.
    is_recorded: bool,
}

#[derive(Debug)]
struct Relay {
    origin: Origin,
    context: proxy::Context,
    /// When an INVITE has been unanswered for too long.
    until: Option<Instant>,
}

#[derive(Debug)]
struct Locating {
    origin: Origin,
    request: Box<[u8]>,
    uri: Box<str>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Key {
    Relay(ServerKey),
    Call(Token),
}

impl Proxy {
    /// The next time that [`expire`](Self::expire) wants.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// How many calls are recorded, and how many requests are under way.
    pub(crate) fn load(&self) -> (usize, usize) {
        (self.calls.len(), self.relays.len() + self.locating.len())
    }

    /// Forwards the INVITE of a caller who has been let in, as a step of the dial plan says; there is no
    /// caller if its trunk carries all the calls that it may.
    pub(crate) fn start(
        &mut self,
        ctx: &mut Context<'_>,
        server: ServerKey,
        flow: Flow,
        request: &Message<'_>,
        caller: Option<Caller>,
        dialled: Dialled,
    ) {
        if !may_pass(ctx, flow, request) {
            return;
        }
        let full = ctx.services.calls.load(Ordering::Relaxed) >= ctx.config.calls.max_calls;
        let id = self.token(ctx, request.call_id()).filter(|_| !full);
        let id = id.filter(|_| (ctx.services.calls_open)());
        let Some((id, caller)) = id.zip(caller) else {
            return registrar::reply(ctx, flow, request, 503, |writer| {
                writer.text(HeaderName::RetryAfter, "5");
            });
        };
        ctx.transactions.begin(ctx.now, server, flow, request);
        let Dialled { number, target } = dialled;
        let mut call = Forwarded::begin(ctx, id, server, flow, request, caller, &number);
        let origin = Origin {
            server,
            source: flow,
            method: Method::Invite,
            call: id,
            sender: None,
            is_recorded: true,
        };
        let callee = Callee::find(ctx, &target);
        if let Callee::Phones(user, _) = &callee {
            call.callee_user = Some(Arc::clone(user));
        }
        self.calls.insert(id, Box::new(call));
        match callee {
            Callee::Phones(_, targets) => {
                let routing = Routing::of(request, |_| false);
                self.forward(ctx, origin, request, &routing, targets);
            }
            Callee::Server(uri, place) => self.locate(ctx, origin, request, &uri, &place),
            Callee::Nobody(status) => self.refuse(ctx, origin, request, status),
        }
    }

    /// Forwards a request that carries our Route. `false`: it does not.
    pub(crate) fn request(
        &mut self,
        ctx: &mut Context<'_>,
        server: ServerKey,
        flow: Flow,
        request: &Message<'_>,
    ) -> bool {
        let (secret, slot) = (&ctx.config.route_secret, ctx.mint.slot());
        let call_id = request.call_id();
        let is_ours = |token| proxy::is_route_token(secret, slot, call_id, token);
        let routing = Routing::of(request, is_ours);
        let Some(id) = routing.token else {
            return false;
        };
        let mut sender = Side::Caller;
        let mut party = None;
        let mut is_recorded = false;
        if let Some(call) = self.calls.get_mut(&id) {
            sender = call.sender(request);
            call.learn(sender, request, flow);
            party = call.party(other(sender));
            is_recorded = call.is_about(request);
        }
        let origin = Origin {
            server,
            source: flow,
            method: request.method().unwrap_or(Method::Ack).detach(),
            call: id,
            sender: Some(sender),
            is_recorded,
        };
        let hop = hop::in_dialog(routing.next_uri(), party);
        if origin.method == Method::Ack {
            acknowledge(ctx, origin, request, &routing, hop);
        } else if may_pass(ctx, flow, request) {
            ctx.transactions.begin(ctx.now, server, flow, request);
            self.send_on(ctx, origin, request, &routing, hop);
        }
        true
    }

    fn send_on(
        &mut self,
        ctx: &mut Context<'_>,
        origin: Origin,
        request: &Message<'_>,
        routing: &Routing<'_>,
        hop: Hop,
    ) {
        match hop {
            Hop::To(next) => {
                let target = Target::new(routing.uri, next);
                self.forward(ctx, origin, request, routing, vec![target]);
            }
            Hop::Find(place) => self.locate(ctx, origin, request, routing.uri, &place),
            Hop::Nowhere => self.refuse(ctx, origin, request, StatusCode(404)),
        }
    }

    /// A party cancels the INVITE that we have under `server`.
    pub(crate) fn cancelled(
        &mut self,
        ctx: &mut Context<'_>,
        server: ServerKey,
        cancel: &Message<'_>,
    ) {
        let relay = self.relays.get_mut(&server).map(|relay| &mut **relay);
        let locating = self.locating.remove(&server);
        let origin = relay.as_ref().map(|relay| relay.origin);
        let Some(origin) = origin.or(locating.as_ref().map(|locating| locating.origin)) else {
            return;
        };
        let first = origin.sender.is_none();
        if let Some(call) = self.calls.get_mut(&origin.call).filter(|_| first) {
            call.given_up = Some(Cause::Cancelled);
        }
        if let Some(relay) = relay {
            let rules = Rules::in_dialog(ctx.config, server);
            let reason = cancel.header(HeaderName::Reason);
            relay.context.cancel(&mut env(ctx, &rules), reason);
        } else if let Some(locating) = locating
            && let Ok(request) = Message::parse(&locating.request)
        {
            self.refuse(ctx, origin, &request, StatusCode(487));
        }
    }

    /// An answer to what we have forwarded.
    pub(crate) fn answered(
        &mut self,
        ctx: &mut Context<'_>,
        server: ServerKey,
        key: ClientKey,
        response: &Message<'_>,
        flow: Flow,
    ) {
        let Some(relay) = self.relays.get_mut(&server) else {
            let rules = Rules::in_dialog(ctx.config, server);
            return proxy::relay_late(&mut env(ctx, &rules), server, response);
        };
        let origin = relay.origin;
        let status = response.status().unwrap_or(StatusCode(500));
        if matches!(status.0, 503 | 430) {
            let retry_after = (status.0 == 503).then(|| retry_after(response));
            way_failed(ctx, &self.calls, relay, key, retry_after);
        }
        let rules = rules(ctx.config, &self.calls, &origin);
        let progress = relay.context.receive(&mut env(ctx, &rules), key, response);
        self.forget_if_over(server);
        self.progressed(ctx, &origin, progress, Some((response, flow)));
    }

    /// What we have forwarded did not arrive, or was not answered.
    pub(crate) fn lost(
        &mut self,
        ctx: &mut Context<'_>,
        server: ServerKey,
        key: ClientKey,
        status: StatusCode,
    ) {
        let Some(relay) = self.relays.get_mut(&server) else {
            return;
        };
        let origin = relay.origin;
        way_failed(ctx, &self.calls, relay, key, None);
        let rules = rules(ctx.config, &self.calls, &origin);
        let progress = relay.context.lost(&mut env(ctx, &rules), key, status);
        self.forget_if_over(server);
        self.progressed(ctx, &origin, progress, None);
    }

    /// The server for a request has been found, or not.
    pub(crate) fn located(&mut self, ctx: &mut Context<'_>, server: ServerKey, ways: Ways) {
        let Some(locating) = self.locating.remove(&server) else {
            return;
        };
        // It parsed when it came.
        if let Ok(request) = Message::parse(&locating.request) {
            let flows = ctx.flows(ways);
            self.send_to(ctx, locating.origin, &request, &locating.uri, &flows);
        }
    }

    /// Gives up what has waited for too long.
    pub(crate) fn expire(&mut self, ctx: &mut Context<'_>) {
        while let Some(key) = self.deadlines.pop_due(ctx.now) {
            match key {
                Key::Relay(server) => self.expire_relay(ctx, server),
                Key::Call(id) => self.expire_call(ctx, id),
            }
        }
    }

    /// An operator ends a call. One that is answered goes on: a proxy says no BYE (RFC 3261 §16.12).
    /// `false`: it is none of ours.
    pub(crate) fn hang_up(&mut self, ctx: &mut Context<'_>, id: Token) -> bool {
        let Some(call) = self.calls.get(&id) else {
            return false;
        };
        if let Some(server) = call.invite {
            self.break_off(ctx, server, id);
        }
        true
    }

    /// The server stops: calls that nobody has accepted end, in the same order each time, and so do the
    /// records of the others.
    pub(crate) fn hang_up_all(&mut self, ctx: &mut Context<'_>) {
        let mut calls: Vec<_> = self.calls.keys().copied().collect();
        calls.sort_unstable();
        for id in calls {
            self.hang_up(ctx, id);
            let answered = self
                .calls
                .get(&id)
                .is_some_and(|call| call.invite.is_none());
            if answered {
                self.end(ctx, id, Cause::Operator, StatusCode(200));
            }
        }
    }

    /// A token for a new call; none in the rare case that the Call-ID has got the same one before.
    fn token(&self, ctx: &mut Context<'_>, call_id: &str) -> Option<Token> {
        let salt = ctx.mint.number() as u16;
        let secret = &ctx.config.route_secret;
        let token = proxy::record_token(secret, ctx.mint.slot(), call_id, salt);
        (!self.calls.contains_key(&token)).then_some(token)
    }

    fn forward(
        &mut self,
        ctx: &mut Context<'_>,
        origin: Origin,
        request: &Message<'_>,
        routing: &Routing<'_>,
        targets: Vec<Target>,
    ) {
        let Origin { server, source, .. } = origin;
        let rules = rules(ctx.config, &self.calls, &origin);
        let mut env = env(ctx, &rules);
        let (context, progress) =
            proxy::Context::begin(&mut env, server, source, request, routing, targets);
        let first = origin.sender.is_none();
        let relay = Relay {
            origin,
            context,
            until: first.then(|| ctx.now + ctx.config.calls.ring_timeout),
        };
        if let Some(due) = relay.deadline() {
            self.deadlines.arm(due, Key::Relay(server));
        }
        self.relays.insert(server, Box::new(relay));
        self.forget_if_over(server);
        self.progressed(ctx, &origin, progress, None);
    }

    /// Forwards a request to `uri` as soon as it is known where that is.
    fn locate(
        &mut self,
        ctx: &mut Context<'_>,
        origin: Origin,
        request: &Message<'_>,
        uri: &str,
        place: &Server,
    ) {
        let Origin { server, source, .. } = origin;
        if let Some(flows) = ctx.flows_to(place, Waiter::Proxy(server)) {
            return self.send_to(ctx, origin, request, uri, &flows);
        }
        if origin.method == Method::Invite {
            let rules = Rules::in_dialog(ctx.config, server);
            env(ctx, &rules).answer(server, request, &source, StatusCode(100), |_| {});
        }
        let locating = Locating {
            origin,
            request: request.bytes().into(),
            uri: uri.into(),
        };
        self.locating.insert(server, Box::new(locating));
    }

    /// Forwards a request whose ways are known; without any it is refused.
    fn send_to(
        &mut self,
        ctx: &mut Context<'_>,
        origin: Origin,
        request: &Message<'_>,
        uri: &str,
        flows: &[Flow],
    ) {
        let Some(target) = hop::along(uri, flows) else {
            return self.refuse(ctx, origin, request, StatusCode(480));
        };
        let token = origin.sender.map(|_| origin.call);
        let routing = Routing::of(request, |found| Some(found) == token);
        self.forward(ctx, origin, request, &routing, vec![target]);
    }

    /// Answers a request that is not forwarded.
    fn refuse(
        &mut self,
        ctx: &mut Context<'_>,
        origin: Origin,
        request: &Message<'_>,
        status: StatusCode,
    ) {
        let Origin { server, source, .. } = origin;
        let rules = Rules::in_dialog(ctx.config, server);
        env(ctx, &rules).answer(server, request, &source, status, |_| {});
        self.progressed(ctx, &origin, Progress::Refused(status), None);
    }

    /// What an answer means for the call.
    fn progressed(
        &mut self,
        ctx: &mut Context<'_>,
        origin: &Origin,
        progress: Progress,
        heard: Option<(&Message<'_>, Flow)>,
    ) {
        let Some(call) = self
            .calls
            .get_mut(&origin.call)
            .filter(|_| origin.is_recorded)
        else {
            return;
        };
        match (origin.sender, progress, heard) {
            (None, Progress::Provisional(status), _) if status.0 >= 180 => call.rings(ctx),
            (None, Progress::Accepted(_), Some((response, flow))) => {
                let is_first = call.accepted(ctx, response, flow);
                if is_first {
                    let next = ctx.now + INSPECTION;
                    self.deadlines.arm(next, Key::Call(origin.call));
                }
            }
            (None, Progress::Refused(status), _) => {
                let cause = call.given_up.unwrap_or(Cause::Refused);
                self.end(ctx, origin.call, cause, status);
            }
            (Some(_), Progress::Accepted(_), Some((response, _)))
                if matches!(origin.method, Method::Invite | Method::Update) =>
            {
                call.refreshed(ctx.now, response);
            }
            (Some(_), Progress::Refused(StatusCode(401 | 407)), _) => {}
            (Some(sender), Progress::Accepted(status) | Progress::Refused(status), _)
                if origin.method == Method::Bye =>
            {
                let cause = match sender {
                    Side::Caller => Cause::CallerHungUp,
                    Side::Callee => Cause::CalleeHungUp,
                };
                self.end(ctx, origin.call, cause, status);
            }
            _ => {}
        }
    }

    fn end(&mut self, ctx: &mut Context<'_>, id: Token, cause: Cause, status: StatusCode) {
        if let Some(call) = self.calls.remove(&id) {
            call.end(ctx, cause, status);
        }
    }

    fn forget_if_over(&mut self, server: ServerKey) {
        let relay = self.relays.get(&server);
        if relay.is_some_and(|relay| relay.context.is_over()) {
            self.relays.remove(&server);
        }
    }

    fn expire_relay(&mut self, ctx: &mut Context<'_>, server: ServerKey) {
        let Some(relay) = self.relays.get_mut(&server) else {
            return;
        };
        let rules = Rules::in_dialog(ctx.config, server);
        if relay.until.is_some_and(|until| until <= ctx.now) {
            relay.until = None;
            let reason = Cause::NoAnswer.reason();
            let context = &mut relay.context;
            context.give_up(&mut env(ctx, &rules), StatusCode(480), reason);
            if let Some(call) = self.calls.get_mut(&relay.origin.call) {
                call.given_up.get_or_insert(Cause::NoAnswer);
            }
        }
        relay.context.expire(&mut env(ctx, &rules));
        if let Some(due) = relay.deadline() {
            self.deadlines.arm(due, Key::Relay(server));
        }
    }

    fn expire_call(&mut self, ctx: &mut Context<'_>, id: Token) {
        match self.calls.get(&id).and_then(|call| call.expires) {
            Some(due) if due > ctx.now => {
                self.deadlines
                    .arm(due.min(ctx.now + INSPECTION), Key::Call(id));
            }
            Some(_) => self.end(ctx, id, Cause::SessionTimeout, StatusCode(200)),
            None => {}
        }
    }

    /// An operator ends a call that nobody has accepted yet.
    fn break_off(&mut self, ctx: &mut Context<'_>, server: ServerKey, id: Token) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.given_up = Some(Cause::Operator);
        }
        if let Some(locating) = self.locating.remove(&server) {
            if let Ok(request) = Message::parse(&locating.request) {
                self.refuse(ctx, locating.origin, &request, StatusCode(480));
            }
        } else if let Some(relay) = self.relays.get_mut(&server) {
            let origin = relay.origin;
            let rules = Rules::in_dialog(ctx.config, server);
            let mut env = env(ctx, &rules);
            let progress = relay.context.break_off(&mut env, StatusCode(480), None);
            self.forget_if_over(server);
            self.progressed(ctx, &origin, progress, None);
        }
    }
}

impl Relay {
    fn deadline(&self) -> Option<Instant> {
        let until = self.until.filter(|_| !self.context.is_accepted());
        [self.context.deadline(), until].into_iter().flatten().min()
    }
}

fn env<'e, 'r>(ctx: &'e mut Context<'_>, rules: &'e Rules<'r>) -> Env<'e, Rules<'r>> {
    Env {
        now: ctx.now,
        mint: ctx.mint,
        transactions: ctx.transactions,
        out: ctx.out,
        scratch: ctx.scratch,
        policy: rules,
    }
}

/// Rules for a request: the first INVITE of a call makes its route, and says who calls.
fn rules<'a>(
    config: &'a Config,
    calls: &'a HashMap<Token, Box<Forwarded>>,
    origin: &Origin,
) -> Rules<'a> {
    let mut rules = Rules::in_dialog(config, origin.server);
    if origin.sender.is_none() {
        rules.record = Record::Route(origin.call);
        rules.identity = calls.get(&origin.call).and_then(|call| call.identity());
    }
    rules
}

/// A way did not lead to whom an INVITE calls: the next call takes another one at once. With
/// `retry_after` it is a server that is overloaded; a phone that says so is still there.
fn way_failed(
    ctx: &mut Context<'_>,
    calls: &HashMap<Token, Box<Forwarded>>,
    relay: &Relay,
    key: ClientKey,
    retry_after: Option<Duration>,
) {
    let call = calls.get(&relay.origin.call);
    let call = call.filter(|_| relay.origin.sender.is_none());
    let Some((call, (uri, flow))) = call.zip(relay.context.target(key)) else {
        return;
    };
    match &call.callee_user {
        Some(_) if retry_after.is_some() => {}
        Some(user) => outbound::flow_failed(ctx, user, uri, &flow),
        None => {
            let way = (flow.protocol, flow.remote);
            ctx.locator.way_failed(ctx.now, way, retry_after);
        }
    }
}

const fn other(side: Side) -> Side {
    match side {
        Side::Caller => Side::Callee,
        Side::Callee => Side::Caller,
    }
}

/// Whether a request may be forwarded; else it is answered.
fn may_pass(ctx: &mut Context<'_>, flow: Flow, request: &Message<'_>) -> bool {
    let refusal = match proxy::check(request, SUPPORTED, ctx.transactions) {
        Ok(()) => return true,
        Err(refusal) => refusal,
    };
    registrar::reply(ctx, flow, request, refusal.status().0, |writer| {
        refusal.explain(request, SUPPORTED, writer);
    });
    false
}

/// Passes on the ACK of a 2xx. One whose way is not known at once is lost: the callee repeats its 2xx.
fn acknowledge(
    ctx: &mut Context<'_>,
    origin: Origin,
    request: &Message<'_>,
    routing: &Routing<'_>,
    hop: Hop,
) {
    if proxy::check(request, SUPPORTED, ctx.transactions).is_err() {
        return;
    }
    let next = match hop {
        Hop::To(next) => Some(next),
        // Whoever waits under this key will not be found.
        Hop::Find(place) => ctx
            .flows_to(&place, Waiter::Proxy(origin.server))
            .and_then(|flows| flows.first().copied()),
        Hop::Nowhere => None,
    };
    if let Some(next) = next {
        let rules = Rules::in_dialog(ctx.config, origin.server);
        let target = Target::new(routing.uri, next);
        let mut env = env(ctx, &rules);
        proxy::forward_stateless(&mut env, &origin.source, request, routing, &target);
    }
}

/// How often an answered call is looked at: its entry in the queue outlives it by no more than this.
const INSPECTION: Duration = Duration::from_secs(300);

/// Option tags that a Proxy-Require may name: none asks anything of us.
const SUPPORTED: &[&str] = &[];
