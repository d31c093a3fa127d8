//! The PBX machine of one slot: sends every input to the call, registration or transaction that it is
//! about.

mod admission;
mod events;
mod load;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use base::{Clock, Deadlines, Mint, Token};
use engine::{Answer, Found, Input, Machine, Out};
use media::Side;
use sip::digest::ReplayGuard;
use sip::{
    ClientKey, Dialog, Expired, Flow, HeaderName, Message, Method, Protocol, Received, Replaces,
    ServerKey, StatusCode, Transactions,
};
use store::Reach;

use crate::auth::{self, Verdict};
use crate::call::{self, Call, Entrant, Party, requests};
use crate::context::{ALLOW, Abandoned, Context, Index, Owner, Pending, Services, Waiter};
use crate::events::{Notifier, Publisher};
use crate::locate::{Locator, Ways};
use crate::messages::Courier;
use crate::outbound::FLOW_FAILED;
use crate::proxy::Proxy;
use crate::registrar::{self, Registrar};
use crate::stir::Notary;
use crate::trunk::{self, Keeper};
use crate::{Command, Config, Event};
use admission::{Guest, begin};

pub use load::Load;

/// The PBX of one slot: the registrations of its users and the calls that live in it.
#[derive(Debug)]
pub struct Pbx {
    mint: Mint,
    clock: Clock,
    config: Arc<Config>,
    services: Services,
    transactions: Transactions<Owner, Token>,
    registrar: Registrar,
    notifier: Notifier,
    publisher: Publisher,
    trunks: Keeper,
    courier: Courier,
    guard: ReplayGuard,
    calls: HashMap<Token, Box<Call>>,
    proxy: Proxy,
    deadlines: Deadlines<Token>,
    index: Index,
    locator: Locator<Waiter>,
    notary: Notary,
    scratch: Vec<u8>,
    /// Lines on which calls of a machine stood that failed in this slot; those who watch them are told.
    left_behind: Option<(Instant, Vec<Box<str>>)>,
}

impl Machine for Pbx {
    type Command = Command;
    type Event = Event;

    fn handle(&mut self, now: Instant, input: Input<'_, Command>, out: &mut Out<Event>) {
        match input {
            Input::Message { flow, message } if message.status().is_some() => {
                self.response(now, flow, message, out);
            }
            Input::Message { flow, message } => self.request(now, flow, message, out),
            Input::Timer => self.expire(now, out),
            Input::Command(command) => self.command(now, command, out),
            Input::Media(event) => self.media(now, event, out),
            Input::Answer(answer) => self.answer(now, answer, out),
            Input::Wake => self.look(now, out),
            Input::Unreachable { flow } => self.unreachable(now, &flow, out),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        [
            self.transactions.deadline(),
            self.registrar.deadline(),
            self.proxy.deadline(),
            self.trunks.deadline(),
            self.deadlines.next(),
            self.locator.deadline(),
            self.notary.deadline(),
            self.notifier.deadline(),
            self.publisher.deadline(),
            self.courier.deadline(),
            self.left_behind.as_ref().map(|(since, _)| *since),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

impl Pbx {
    /// The machine of `mint`'s slot. Takes over the bindings of the slot's users.
    #[must_use]
    pub fn new(
        mut mint: Mint,
        clock: Clock,
        now: Instant,
        config: Arc<Config>,
        services: Services,
    ) -> Self {
        let transactions = Transactions::new(&mut mint);
        let mut pbx = Self {
            mint,
            clock,
            config,
            services,
            transactions,
            registrar: Registrar::default(),
            notifier: Notifier::default(),
            publisher: Publisher::default(),
            trunks: Keeper::default(),
            courier: Courier::default(),
            guard: ReplayGuard::new(MOST_NONCES),
            calls: HashMap::new(),
            proxy: Proxy::default(),
            deadlines: Deadlines::new(),
            index: Index::default(),
            locator: Locator::default(),
            notary: Notary::default(),
            scratch: Vec::new(),
            left_behind: None,
        };
        pbx.clean_up(now);
        let mut registrar = std::mem::take(&mut pbx.registrar);
        registrar.restore(&mut pbx.context(now, &mut Out::new()));
        pbx.registrar = registrar;
        pbx.with_trunks(now, &mut Out::new(), |trunks, ctx| trunks.adopt(ctx));
        pbx.with_courier(now, &mut Out::new(), |courier, ctx| courier.restore(ctx));
        pbx
    }

    /// Removes what a machine that failed in this slot has left in what all slots share.
    fn clean_up(&mut self, now: Instant) {
        let slot = self.mint.slot();
        self.services.watchers.forget(slot);
        let mut lines = self.services.lines.forget(slot);
        lines.extend(self.services.publications.forget(slot));
        self.left_behind = (!lines.is_empty()).then_some((now, lines));
    }

    fn context<'a>(&'a mut self, now: Instant, out: &'a mut Out<Event>) -> Context<'a> {
        Context {
            now,
            clock: self.clock,
            config: &self.config,
            services: &self.services,
            mint: &mut self.mint,
            transactions: &mut self.transactions,
            index: &mut self.index,
            locator: &mut self.locator,
            notary: &mut self.notary,
            out,
            scratch: &mut self.scratch,
        }
    }

    fn request(&mut self, now: Instant, flow: Flow, request: &Message<'_>, out: &mut Out<Event>) {
        match request.method() {
            Some(Method::Register) => return self.register(now, flow, request, out),
            Some(Method::Options) if to_tag(request).is_none() => {
                return self.options(now, flow, request, out);
            }
            Some(Method::Cancel) => return self.cancel(now, flow, request, out),
            _ => {}
        }
        let Received::New(server) = self.transactions.absorb(now, request, out) else {
            return;
        };
        // What is refused without a word about it being kept costs an attacker's victim one answer
        // and us no memory (RFC 3261 §26.3.2.4).
        let Some(to_tag) = to_tag(request) else {
            return self.first_request(now, server, flow, request, out);
        };
        if request.header(HeaderName::Route).is_some()
            && self.with_proxy(now, out, |proxy, ctx| {
                proxy.request(ctx, server, flow, request)
            })
        {
            return;
        }
        let tag = Token::parse(to_tag);
        if let Some(tag) = tag.filter(|tag| self.notifier.knows(tag)) {
            self.transactions.begin(now, server, flow, request);
            let pending = Pending::new(server, flow, request.bytes());
            self.subscription_request(now, tag, &pending, request, out);
        } else if let Some(tag) = tag.filter(|tag| self.index.knows(tag)) {
            self.transactions.begin(now, server, flow, request);
            let pending = Pending::new(server, flow, request.bytes());
            self.request_in_dialog(now, tag, pending, request, out);
        } else if request.method() != Some(Method::Ack) {
            registrar::reply(&mut self.context(now, out), flow, request, 481, |_| {});
        }
    }

    fn register(&mut self, now: Instant, flow: Flow, request: &Message<'_>, out: &mut Out<Event>) {
        let mut registrar = std::mem::take(&mut self.registrar);
        let mut guard = std::mem::replace(&mut self.guard, ReplayGuard::new(1));
        registrar.register(&mut self.context(now, out), &mut guard, flow, request);
        (self.registrar, self.guard) = (registrar, guard);
    }

    fn cancel(&mut self, now: Instant, flow: Flow, request: &Message<'_>, out: &mut Out<Event>) {
        let server = self.transactions.cancelled(request);
        let call = server
            .and_then(|server| self.transactions.server(server))
            .and_then(|tag| self.index.legs.get(tag))
            .copied();
        let status = if server.is_some() { 200 } else { 481 };
        registrar::reply(&mut self.context(now, out), flow, request, status, |_| {});
        if let Some((call, server)) = call.zip(server) {
            self.with_call(now, call, out, |call, ctx| call.cancelled(ctx, server));
        } else if let Some(server) = server {
            self.with_proxy(now, out, |proxy, ctx| proxy.cancelled(ctx, server, request));
        }
    }

    fn request_in_dialog(
        &mut self,
        now: Instant,
        tag: Token,
        pending: Pending,
        request: &Message<'_>,
        out: &mut Out<Event>,
    ) {
        if let Some(call) = self.index.legs.get(&tag).copied() {
            self.with_call(now, call, out, |call, ctx| {
                call.request(ctx, tag, pending, request)
            });
            return;
        }
        let mut ctx = self.context(now, out);
        let Some(leg) = ctx.index.lingering.remove(&tag) else {
            return;
        };
        let known = leg.dialog.matches_request(request);
        match request.method() {
            Some(Method::Ack) if known => leg.hang_up(&mut ctx),
            Some(Method::Bye) if known => {
                ctx.transactions.acknowledge(ctx.now, leg.server);
                ctx.refuse(pending.server, &pending.flow, request, 200, "");
            }
            method => {
                ctx.index.lingering.insert(tag, leg);
                if method != Some(Method::Ack) {
                    ctx.refuse(pending.server, &pending.flow, request, 481, "");
                }
            }
        }
    }

    fn first_request(
        &mut self,
        now: Instant,
        server: ServerKey,
        flow: Flow,
        request: &Message<'_>,
        out: &mut Out<Event>,
    ) {
        match request.method() {
            Some(Method::Invite) => self.invite(now, server, flow, request, out),
            Some(Method::Subscribe | Method::Publish | Method::Message) => {
                self.event_request(now, server, flow, request, out);
            }
            Some(Method::Ack) => {}
            Some(Method::Bye | Method::Prack | Method::Update | Method::Info) => {
                registrar::reply(&mut self.context(now, out), flow, request, 481, |_| {});
            }
            method => {
                let status = requests::refusal_of_method(method);
                registrar::reply(
                    &mut self.context(now, out),
                    flow,
                    request,
                    status,
                    |writer| {
                        writer.text(HeaderName::Allow, ALLOW);
                    },
                );
            }
        }
    }

    /// A new call, if the caller may make one.
    fn invite(
        &mut self,
        now: Instant,
        server: ServerKey,
        flow: Flow,
        request: &Message<'_>,
        out: &mut Out<Event>,
    ) {
        if flow.protocol == Protocol::Local {
            let party = Party::of_sender(&self.config, request);
            return self.enter(now, server, flow, request, party, out);
        }
        let mut guard = std::mem::replace(&mut self.guard, ReplayGuard::new(1));
        let mut ctx = self.context(now, out);
        let guest = match trunk::arrival(ctx.config, &flow, request) {
            Some(arrival) => Ok(Guest::Trunk(arrival)),
            None => match auth::authenticate(&mut ctx, &mut guard, request, &flow) {
                Verdict::Known(user) => Ok(Guest::known(&ctx, user, request)),
                refused => Err(refused),
            },
        };
        let forwarded = guest.as_ref().ok();
        let forwarded = forwarded.and_then(|guest| guest.forwarded(&ctx, request));
        let alive = match guest {
            Ok(guest) if let Some(dialled) = forwarded => {
                self.guard = guard;
                return self.with_proxy(now, out, |proxy, ctx| {
                    let caller = guest.caller(request);
                    proxy.start(ctx, server, flow, request, caller, dialled);
                });
            }
            Ok(Guest::User(user)) if request.header(HeaderName::Replaces).is_some() => {
                self.guard = guard;
                let party = Party::of_user(&user);
                return self.enter(now, server, flow, request, party, out);
            }
            Ok(guest) => begin(&mut ctx, server, flow, request, guest),
            Err(refused) => {
                auth::refuse(&mut ctx, flow, request, &refused);
                None
            }
        };
        self.guard = guard;
        self.put_back(alive);
    }

    /// An INVITE that asks for somebody's place in a call (RFC 3891 §3).
    fn enter(
        &mut self,
        now: Instant,
        server: ServerKey,
        flow: Flow,
        request: &Message<'_>,
        party: Party,
        out: &mut Out<Event>,
    ) {
        let mut values = request.values(HeaderName::Replaces);
        let replaces = match (values.next().map(Replaces::parse), values.next()) {
            (Some(Ok(replaces)), None) => replaces,
            _ => return registrar::reply(&mut self.context(now, out), flow, request, 400, |_| {}),
        };
        let tag = Token::parse(replaces.to_tag);
        let found = tag.and_then(|tag| Some((tag, *self.index.legs.get(&tag)?)));
        let own = self.mint.token();
        let dialog = Dialog::of_request(request, flow, own).ok();
        let Some(((tag, call), dialog)) = found.zip(dialog) else {
            return registrar::reply(&mut self.context(now, out), flow, request, 481, |_| {});
        };
        self.transactions.begin(now, server, flow, request);
        let pending = Pending::new(server, flow, request.bytes());
        let entrant = Entrant {
            dialog,
            pending,
            party,
        };
        self.with_call(now, call, out, |call, ctx| {
            call.enter(ctx, tag, &replaces, entrant)
        });
    }

    fn response(&mut self, now: Instant, flow: Flow, response: &Message<'_>, out: &mut Out<Event>) {
        let Some(key) = self.transactions.receive_response(now, response, out) else {
            return;
        };
        let status = response.status().unwrap_or(StatusCode(500));
        let owner = self.transactions.client(key);
        let hears = |owner: &&mut Owner| !status.is_provisional() || owner.hears_provisional();
        let Some(owner) = owner.filter(hears) else {
            return;
        };
        match owner.clone() {
            Owner::Fork { call } => self.with_call(now, call, out, |call, ctx| {
                call.fork_answered(ctx, key, response, flow)
            }),
            Owner::Leg { call } => self.with_call(now, call, out, |call, ctx| {
                call.change_answered(ctx, key, response, flow)
            }),
            Owner::Relay { call, to, pending } => {
                self.relay_answered(now, (call, to), *pending, Some(response), out);
            }
            Owner::Key { call, to, press } => self.with_call(now, call, out, |call, ctx| {
                call.key_answered(ctx, to, press, Some(response))
            }),
            Owner::Picture { call, to } => self.with_call(now, call, out, |call, ctx| {
                call.picture_answered(ctx, to, Some(response))
            }),
            Owner::Proxy { server } => self.with_proxy(now, out, |proxy, ctx| {
                proxy.answered(ctx, server, key, response, flow);
            }),
            Owner::Qualify {
                user,
                contact,
                reg_id,
                sent,
            } => {
                let rtt = now.saturating_duration_since(sent);
                let reach = match status {
                    FLOW_FAILED => Reach::Unreachable,
                    _ => Reach::Reachable { rtt },
                };
                registrar::qualified(&self.context(now, out), &user, &contact, reg_id, reach);
            }
            Owner::Message { parcel } => self.with_courier(now, out, |courier, ctx| {
                courier.answered(ctx, parcel, status);
            }),
            Owner::Notify { subscription } => self.with_notifier(now, out, |notifier, ctx| {
                notifier.answered(ctx, subscription, key, status);
            }),
            Owner::Trunk(errand) => self.with_trunks(now, out, |trunks, ctx| {
                trunks.answered(ctx, key, &errand, Some(response));
            }),
            Owner::Abandoned(leg) => {
                answered_too_late(&mut self.context(now, out), key, leg, response);
            }
            Owner::Parting(parting) => parting.refused(&mut self.context(now, out), response),
            Owner::Nobody => {}
        }
    }

    /// What was relayed has been answered, or not: then `response` is none. The party that waits for
    /// the answer gets it even if the call is over by now.
    fn relay_answered(
        &mut self,
        now: Instant,
        (call, to): (Token, Side),
        pending: Pending,
        response: Option<&Message<'_>>,
        out: &mut Out<Event>,
    ) {
        if self.calls.contains_key(&call) {
            self.with_call(now, call, out, |call, ctx| {
                call.relay_answered(ctx, to, pending, response)
            });
        } else {
            requests::answer_relayed(&mut self.context(now, out), &pending, response);
        }
    }

    fn lost(&mut self, now: Instant, key: ClientKey, owner: Owner, out: &mut Out<Event>) {
        match owner {
            Owner::Fork { call } => {
                self.with_call(now, call, out, |call, ctx| call.fork_lost(ctx, key));
            }
            Owner::Leg { call } => {
                self.with_call(now, call, out, |call, ctx| call.change_lost(ctx, key));
            }
            Owner::Relay { call, to, pending } => {
                self.relay_answered(now, (call, to), *pending, None, out);
            }
            Owner::Proxy { server } => self.with_proxy(now, out, |proxy, ctx| {
                proxy.lost(ctx, server, key, StatusCode(408));
            }),
            Owner::Qualify {
                user,
                contact,
                reg_id,
                ..
            } => {
                let ctx = self.context(now, out);
                registrar::qualified(&ctx, &user, &contact, reg_id, Reach::Unreachable);
            }
            Owner::Message { parcel } => {
                self.with_courier(now, out, |courier, ctx| {
                    courier.answered(ctx, parcel, StatusCode(408));
                });
            }
            Owner::Notify { subscription } => {
                self.with_notifier(now, out, |notifier, ctx| notifier.lost(ctx, subscription));
            }
            Owner::Trunk(errand) => self.with_trunks(now, out, |trunks, ctx| {
                trunks.answered(ctx, key, &errand, None);
            }),
            Owner::Key { call, to, press } => self.with_call(now, call, out, |call, ctx| {
                call.key_answered(ctx, to, press, None)
            }),
            Owner::Picture { call, to } => self.with_call(now, call, out, |call, ctx| {
                call.picture_answered(ctx, to, None)
            }),
            Owner::Abandoned(_) | Owner::Parting(_) | Owner::Nobody => {}
        }
    }

    fn expire(&mut self, now: Instant, out: &mut Out<Event>) {
        for line in self
            .left_behind
            .take()
            .into_iter()
            .flat_map(|(_, lines)| lines)
        {
            self.context(now, out).changed(&line);
        }
        self.expire_transactions(now, out);
        let life = self.config.nonce_lifetime.as_millis() as u64;
        let oldest = self.clock.unix_millis(now).saturating_sub(life);
        self.guard.forget_before(oldest);
        let mut registrar = std::mem::take(&mut self.registrar);
        registrar.expire(&mut self.context(now, out));
        self.registrar = registrar;
        self.with_proxy(now, out, Proxy::expire);
        self.with_trunks(now, out, |trunks, ctx| trunks.expire(ctx));
        while let Some(id) = self.deadlines.pop_due(now) {
            if let Some(call) = self.calls.get_mut(&id) {
                call.armed = None;
                self.with_call(now, id, out, |call, ctx| call.expire(ctx));
            }
        }
        self.with_notifier(now, out, Notifier::expire);
        self.with_publisher(now, out, Publisher::expire);
        for call in self.notary.expire(now) {
            let nothing = Err(stir::Fault::Unreachable);
            self.with_call(now, call, out, |call, ctx| call.vouched(ctx, nothing));
        }
        self.with_courier(now, out, Courier::expire);
        for waiter in self.locator.expire(now) {
            self.located(now, &waiter, &Ways::default(), out);
        }
        // What has just been answered over a connection is over at once.
        self.expire_transactions(now, out);
    }

    fn expire_transactions(&mut self, now: Instant, out: &mut Out<Event>) {
        while let Some(expired) = self.transactions.expire(now, out) {
            match expired {
                Expired::Client(key, owner) => self.lost(now, key, owner, out),
                Expired::Accepted(tag) => self.never_acknowledged(now, tag, out),
                Expired::Provisional(tag) => {
                    if let Some(call) = self.index.legs.get(&tag).copied() {
                        self.with_call(now, call, out, |call, ctx| call.never_pracked(ctx));
                    }
                }
            }
        }
    }

    fn never_acknowledged(&mut self, now: Instant, tag: Token, out: &mut Out<Event>) {
        if let Some(call) = self.index.legs.get(&tag).copied() {
            self.with_call(now, call, out, |call, ctx| {
                call.never_acknowledged(ctx, tag)
            });
        } else if let Some(leg) = self.index.lingering.remove(&tag) {
            leg.hang_up(&mut self.context(now, out));
        }
    }

    fn command(&mut self, now: Instant, command: Command, out: &mut Out<Event>) {
        match command {
            Command::Hangup { call } => {
                if self.with_proxy(now, out, |proxy, ctx| proxy.hang_up(ctx, call)) {
                    return;
                }
                self.with_call(now, call, out, |call, ctx| call.hang_up(ctx));
            }
            Command::Transfer { call, who, number } => {
                self.with_call(now, call, out, |call, ctx| call.transfer(ctx, who, &number));
            }
            Command::Record { call, action } => {
                self.with_call(now, call, out, |call, ctx| {
                    call.control_recording(ctx, action)
                });
            }
            Command::HangupAll => {
                // In a fixed order, so that a replay sends the same messages.
                let mut calls: Vec<_> = self.calls.keys().copied().collect();
                calls.sort_unstable();
                for call in calls {
                    self.with_call(now, call, out, |call, ctx| call.hang_up(ctx));
                }
                self.with_proxy(now, out, Proxy::hang_up_all);
                self.with_notifier(now, out, Notifier::end_all);
                self.with_trunks(now, out, |trunks, ctx| trunks.stop(ctx));
            }
            Command::Look => self.look(now, out),
            Command::Reload(config) => {
                self.config = config;
                let mut registrar = std::mem::take(&mut self.registrar);
                registrar.forget_strangers(&mut self.context(now, out));
                self.registrar = registrar;
                self.with_notifier(now, out, Notifier::forget_strangers);
                self.with_trunks(now, out, |trunks, ctx| trunks.adopt(ctx));
            }
        }
    }

    fn media(&mut self, now: Instant, event: media::Event, out: &mut Out<Event>) {
        let session = event.session();
        if let media::Event::Closed { stats, .. } = event {
            if let Some(mut record) = self.index.closing.remove(&session) {
                record.media = *stats;
                out.events.push(Event::CallEnded(record));
            }
            return;
        }
        let Some(call) = self.index.sessions.get(&session).copied() else {
            // A session that a fault of this slot left behind.
            if matches!(event, media::Event::Silent { .. }) {
                out.media.push(media::Command::Close { session });
            }
            return;
        };
        self.with_call(now, call, out, |call, ctx| match event {
            media::Event::Allocated { session, streams } => call.allocated(ctx, session, streams),
            media::Event::Refused { session, .. } => call.ports_refused(ctx, session),
            media::Event::Silent { .. } => call.silent(ctx),
            media::Event::Finished { number, .. } => call.finished(ctx, number),
            media::Event::Talking { talking, ssrc, .. } => call.talking(ctx, talking, ssrc),
            media::Event::ActiveSpeaker { .. } => call.leads(ctx),
            media::Event::Digit {
                session,
                side,
                digit,
                duration_ms,
                ..
            } => call.digit_heard(ctx, (session, side), digit, duration_ms),
            media::Event::PictureWanted { session, side, .. } => {
                call.picture_wanted(ctx, (session, side))
            }
            media::Event::SecurityFailed { session, .. } => call.insecure(ctx, session),
            media::Event::Alarm {
                session,
                stream,
                side,
                alarm,
            } => call.alarmed(ctx, (session, side), stream, alarm),
            media::Event::Recorded { name, error, .. } => {
                call.room_recorded(ctx, &name, error.is_some())
            }
            media::Event::Quality { session, stats } => call.judged(ctx, session, stats),
            media::Event::Secured { .. }
            | media::Event::Counted { .. }
            | media::Event::Closed { .. } => Some(call),
        });
    }

    fn answer(&mut self, now: Instant, answer: Answer, out: &mut Out<Event>) {
        if let Found::Certificate(found) = answer.found {
            if let Some(call) = self.notary.answered(&answer.id) {
                self.with_call(now, call, out, |call, ctx| call.vouched(ctx, found));
            }
        } else if let Some((waiting, ways)) = self.locator.answered(now, answer) {
            for waiter in waiting {
                self.located(now, &waiter, &ways, out);
            }
        }
    }

    /// A search has ended; without ways the server can't be found.
    fn located(&mut self, now: Instant, waiter: &Waiter, ways: &Ways, out: &mut Out<Event>) {
        match waiter {
            // It asks again, for all its servers, and hears of them at once.
            Waiter::Call(call) => self.with_call(now, *call, out, Call::located),
            Waiter::Proxy(server) => self.with_proxy(now, out, |proxy, ctx| {
                proxy.located(ctx, *server, ways.clone());
            }),
            Waiter::Trunk(trunk, proxy) => self.with_trunks(now, out, |trunks, ctx| {
                trunks.located(ctx, trunk, *proxy, ways.clone());
            }),
        }
    }

    fn unreachable(&mut self, now: Instant, flow: &Flow, out: &mut Out<Event>) {
        let way = (flow.protocol, flow.remote);
        self.locator.way_failed(now, way, None);
        for (key, owner) in self.transactions.unreachable(flow) {
            match owner {
                // RFC 3261 §16.9.
                Owner::Proxy { server } => self.with_proxy(now, out, |proxy, ctx| {
                    proxy.lost(ctx, server, key, StatusCode(503));
                }),
                other => self.lost(now, key, other, out),
            }
        }
        self.with_trunks(now, out, |trunks, ctx| trunks.unreachable(ctx, flow));
    }

    fn with_trunks(
        &mut self,
        now: Instant,
        out: &mut Out<Event>,
        work: impl FnOnce(&mut Keeper, &mut Context<'_>),
    ) {
        let mut trunks = std::mem::take(&mut self.trunks);
        work(&mut trunks, &mut self.context(now, out));
        self.trunks = trunks;
    }

    fn with_proxy<T>(
        &mut self,
        now: Instant,
        out: &mut Out<Event>,
        change: impl FnOnce(&mut Proxy, &mut Context<'_>) -> T,
    ) -> T {
        let mut proxy = std::mem::take(&mut self.proxy);
        let done = change(&mut proxy, &mut self.context(now, out));
        self.proxy = proxy;
        done
    }

    /// Moves a call out of the table, lets it change, and puts it back if it is still there.
    fn with_call(
        &mut self,
        now: Instant,
        id: Token,
        out: &mut Out<Event>,
        change: impl FnOnce(Box<Call>, &mut Context<'_>) -> call::Alive,
    ) {
        let Some(call) = self.calls.remove(&id) else {
            return;
        };
        let mut ctx = self.context(now, out);
        let alive = change(call, &mut ctx).map(|call| call.show(&mut ctx));
        self.put_back(alive);
    }

    fn put_back(&mut self, alive: call::Alive) {
        let Some(mut call) = alive else { return };
        if let Some(due) = call.deadline()
            && call.armed.is_none_or(|armed| due < armed)
        {
            call.armed = Some(due);
            self.deadlines.arm(due, call.id());
        }
        self.calls.insert(call.id(), call);
    }
}

/// A phone answered although its INVITE was given up: it is hung up (RFC 3261 §15, §9.1).
fn answered_too_late(
    ctx: &mut Context<'_>,
    key: ClientKey,
    mut leg: Box<Abandoned>,
    response: &Message<'_>,
) {
    if !response.status().is_some_and(StatusCode::is_success) {
        return;
    }
    leg.dialog.adopt(response);
    let cseq = response.cseq().map_or(0, |cseq| cseq.number);
    ctx.acknowledge(&leg.dialog, cseq, None);
    if leg.hung_up.add(&leg.dialog.remote_tag) {
        ctx.part(leg.dialog.clone(), None, leg.proof.clone());
    }
    if let Some(owner) = ctx.transactions.client(key) {
        *owner = Owner::Abandoned(leg);
    }
}

fn to_tag<'a>(request: &Message<'a>) -> Option<&'a str> {
    request.to().ok()?.tag()
}

/// Most nonces whose use a slot remembers.
const MOST_NONCES: usize = 4096;
