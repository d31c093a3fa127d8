//! What the machine of a slot does for those who watch, publish and write.

use std::time::Instant;

use base::Token;
use engine::Out;
use sip::digest::ReplayGuard;
use sip::{Flow, Message, Method, ServerKey};

use super::Pbx;
use crate::Event;
use crate::auth::{self, Verdict};
use crate::context::{Context, Pending};
use crate::events::{Notifier, Publisher};
use crate::messages::Courier;

impl Pbx {
    /// A SUBSCRIBE, PUBLISH or MESSAGE outside any dialog.
    pub(super) fn event_request(
        &mut self,
        now: Instant,
        server: ServerKey,
        flow: Flow,
        request: &Message<'_>,
        out: &mut Out<Event>,
    ) {
        let mut guard = std::mem::replace(&mut self.guard, ReplayGuard::new(1));
        let mut ctx = self.context(now, out);
        let verdict = auth::authenticate(&mut ctx, &mut guard, request, &flow);
        self.guard = guard;
        let Verdict::Known(user) = verdict else {
            return auth::refuse(&mut self.context(now, out), flow, request, &verdict);
        };
        self.transactions.begin(now, server, flow, request);
        let pending = Pending::new(server, flow, request.bytes());
        match request.method() {
            Some(Method::Publish) => self.with_publisher(now, out, |publisher, ctx| {
                publisher.publish(ctx, &pending, request, &user);
            }),
            Some(Method::Message) => self.with_courier(now, out, |courier, ctx| {
                courier.send(ctx, pending, request, &user);
            }),
            _ => self.with_notifier(now, out, |notifier, ctx| {
                notifier.subscribe(ctx, &pending, request, &user);
            }),
        }
    }

    /// A request in the dialog of a subscription.
    pub(super) fn subscription_request(
        &mut self,
        now: Instant,
        tag: Token,
        pending: &Pending,
        request: &Message<'_>,
        out: &mut Out<Event>,
    ) {
        if request.method() == Some(Method::Subscribe) {
            self.with_notifier(now, out, |notifier, ctx| {
                notifier.refresh(ctx, tag, pending, request);
            });
        } else if request.method() != Some(Method::Ack) {
            // RFC 6665 §4.4.1: a subscription's dialog carries nothing else.
            let mut ctx = self.context(now, out);
            ctx.refuse(pending.server, &pending.flow, request, 405, "");
        }
    }

    /// What other threads have changed in what all share is looked at.
    pub(super) fn look(&mut self, now: Instant, out: &mut Out<Event>) {
        self.with_notifier(now, out, Notifier::wake);
        self.with_courier(now, out, Courier::wake);
        for call in self.services.rooms.take_changed(self.mint.slot()) {
            self.with_call(now, call, out, |call, ctx| call.reseated(ctx));
        }
    }

    pub(super) fn with_courier(
        &mut self,
        now: Instant,
        out: &mut Out<Event>,
        change: impl FnOnce(&mut Courier, &mut Context<'_>),
    ) {
        let mut courier = std::mem::take(&mut self.courier);
        change(&mut courier, &mut self.context(now, out));
        self.courier = courier;
    }

    pub(super) fn with_notifier(
        &mut self,
        now: Instant,
        out: &mut Out<Event>,
        change: impl FnOnce(&mut Notifier, &mut Context<'_>),
    ) {
        let mut notifier = std::mem::take(&mut self.notifier);
        change(&mut notifier, &mut self.context(now, out));
        self.notifier = notifier;
    }

    pub(super) fn with_publisher(
        &mut self,
        now: Instant,
        out: &mut Out<Event>,
        change: impl FnOnce(&mut Publisher, &mut Context<'_>),
    ) {
        let mut publisher = std::mem::take(&mut self.publisher);
        change(&mut publisher, &mut self.context(now, out));
        self.publisher = publisher;
    }
}
