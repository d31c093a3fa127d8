//! Who wants to know what, and is told (RFC 6665): lamps, voice mail, presence, registrations.
//!
//! A subscription lives in the slot of its Call-ID. What is shown lives in structures that all slots
//! share (`store::Lines`, `store::Bindings`, …); whoever changes them calls `Context::changed`,
//! which wakes the slots whose subscriptions are concerned (`store::Watchers`).
//!
//! - `package`: what may be watched. - `subscription`: one watcher.
//! - `dialog_info`, `summary`, `pidf`, `reginfo`: the documents. - `xml`: text in them.
//! - `publish`: what phones say of their users.
//!
//! Subscriptions end with the process: watchers whose refresh is answered 481 subscribe again, and those
//! of a server that is told to stop are asked to come back.

mod dialog_info;
mod package;
pub mod pidf;
mod publish;
mod reginfo;
mod subscription;
mod summary;
mod xml;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{Deadlines, Token};
use sip::{ClientKey, Dialog, Flow, HeaderName, Message, StatusCode, Uri};

use crate::context::{Context, Pending};
use crate::{Step, User, network};
pub(crate) use package::ALLOW_EVENTS;
use package::Package;
pub(crate) use publish::Publisher;
use subscription::{Beginning, End, Subscription};

/// The subscriptions of a slot.
#[derive(Debug, Default)]
pub(crate) struct Notifier {
    subscriptions: HashMap<Token, Box<Subscription>>,
    by_watched: HashMap<Arc<str>, Vec<Token>>,
    deadlines: Deadlines<Token>,
}

/// Why a request is refused, and the header field that explains it.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: u16,
    field: Option<(HeaderName, String)>,
}

impl Notifier {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// How many subscriptions there are.
    pub(crate) fn len(&self) -> usize {
        self.subscriptions.len()
    }

    /// Whether a subscription in whose dialog our tag is `tag` is alive here.
    pub(crate) fn knows(&self, tag: &Token) -> bool {
        self.subscriptions.contains_key(tag)
    }

    /// A SUBSCRIBE of a known user outside any dialog (RFC 6665 §4.2.1).
    pub(crate) fn subscribe(
        &mut self,
        ctx: &mut Context<'_>,
        pending: &Pending,
        request: &Message<'_>,
        user: &User,
    ) {
        let begun = begin(ctx, pending.flow, request, user).and_then(|(subscription, seconds)| {
            let fits = seconds == 0
                || self.len() < MOST && ctx.services.watchers.watch(subscription.watch());
            if fits {
                Ok((subscription, seconds))
            } else {
                Err(Refusal::with(503, HeaderName::RetryAfter, "300"))
            }
        });
        match begun {
            Ok((subscription, seconds)) => {
                accept(ctx, pending, request, &subscription, seconds);
                self.start(ctx, subscription, seconds);
            }
            Err(refusal) => refusal.answer(ctx, pending, request),
        }
    }

    fn start(&mut self, ctx: &mut Context<'_>, mut subscription: Subscription, seconds: u32) {
        if seconds == 0 {
            // RFC 6665 §4.4.3: a look without a subscription.
            return subscription.end(ctx, End::Timeout);
        }
        subscription.tell_all(ctx);
        let tags = self.by_watched.entry(Arc::clone(&subscription.watched));
        tags.or_default().push(subscription.tag());
        self.put_back(Box::new(subscription));
    }

    /// A SUBSCRIBE inside a dialog of ours: a refresh, or the end (RFC 6665 §4.2.1.4).
    pub(crate) fn refresh(
        &mut self,
        ctx: &mut Context<'_>,
        tag: Token,
        pending: &Pending,
        request: &Message<'_>,
    ) {
        let Some(mut subscription) = self.take(tag) else {
            return ctx.refuse(pending.server, &pending.flow, request, 481, "");
        };
        match renewed(ctx, &mut subscription, pending, request) {
            Ok(0) => {
                accept(ctx, pending, request, &subscription, 0);
                self.forget(ctx, &subscription);
                subscription.end(ctx, End::Timeout);
            }
            Ok(seconds) => {
                subscription.expires = ctx.now + Duration::from_secs(u64::from(seconds));
                accept(ctx, pending, request, &subscription, seconds);
                subscription.tell_all(ctx);
                self.put_back(subscription);
            }
            Err(refusal) => {
                refusal.answer(ctx, pending, request);
                self.put_back(subscription);
            }
        }
    }

    /// A NOTIFY has been answered. Whoever refuses it wants no more (RFC 6665 §4.2.2).
    pub(crate) fn answered(
        &mut self,
        ctx: &mut Context<'_>,
        tag: Token,
        key: ClientKey,
        status: StatusCode,
    ) {
        let Some(mut subscription) = self.take(tag) else {
            return;
        };
        if status.is_success() {
            subscription.answered(ctx, key);
            self.put_back(subscription);
        } else {
            self.forget(ctx, &subscription);
        }
    }

    /// A NOTIFY was not answered, or could not be sent (RFC 6665 §4.2.2).
    pub(crate) fn lost(&mut self, ctx: &mut Context<'_>, tag: Token) {
        if let Some(subscription) = self.take(tag) {
            self.forget(ctx, &subscription);
        }
    }

    /// Another slot, or this one, has changed something that is watched here.
    pub(crate) fn wake(&mut self, ctx: &mut Context<'_>) {
        for name in ctx.services.watchers.take(ctx.mint.slot()) {
            let tags = self.by_watched.get(&name).cloned().unwrap_or_default();
            for tag in tags {
                if let Some(mut subscription) = self.take(tag) {
                    subscription.changed(ctx);
                    self.put_back(subscription);
                }
            }
        }
    }

    /// Ends what has run out and tells what is due.
    pub(crate) fn expire(&mut self, ctx: &mut Context<'_>) {
        while let Some(tag) = self.deadlines.pop_due(ctx.now) {
            let Some(mut subscription) = self.take(tag) else {
                continue;
            };
            subscription.armed = None;
            if subscription.expires <= ctx.now {
                self.forget(ctx, &subscription);
                subscription.end(ctx, End::Timeout);
            } else {
                subscription.tell_what_is_due(ctx);
                self.put_back(subscription);
            }
        }
    }

    /// Ends all subscriptions, because the server stops.
    pub(crate) fn end_all(&mut self, ctx: &mut Context<'_>) {
        self.end_those(ctx, End::Probation, |_| true);
    }

    /// Ends the subscriptions of and to users that the configuration no longer has.
    pub(crate) fn forget_strangers(&mut self, ctx: &mut Context<'_>) {
        let users = &ctx.config.users;
        self.end_those(ctx, End::NoResource, |subscription| {
            let known = |name: &str| users.contains_key(name);
            // An orbit is no user, and stays.
            let gone = subscription.is_of_user() && !known(&subscription.watched);
            gone || !known(&subscription.watcher)
        });
    }

    fn end_those(
        &mut self,
        ctx: &mut Context<'_>,
        end: End,
        which: impl Fn(&Subscription) -> bool,
    ) {
        let all = self.subscriptions.values();
        let mut tags: Vec<Token> = all
            .filter(|subscription| which(subscription))
            .map(|subscription| subscription.tag())
            .collect();
        // In a fixed order, so that a replay sends the same messages.
        tags.sort_unstable();
        for tag in tags {
            if let Some(subscription) = self.take(tag) {
                self.forget(ctx, &subscription);
                subscription.end(ctx, end);
            }
        }
    }

    fn take(&mut self, tag: Token) -> Option<Box<Subscription>> {
        self.subscriptions.remove(&tag)
    }

    fn put_back(&mut self, mut subscription: Box<Subscription>) {
        let due = subscription.deadline();
        if subscription.armed.is_none_or(|armed| due < armed) {
            subscription.armed = Some(due);
            self.deadlines.arm(due, subscription.tag());
        }
        self.subscriptions.insert(subscription.tag(), subscription);
    }

    /// The subscription is over.
    fn forget(&mut self, ctx: &mut Context<'_>, subscription: &Subscription) {
        ctx.services.watchers.unwatch(subscription.watch());
        if let Some(tags) = self.by_watched.get_mut(&subscription.watched) {
            tags.retain(|tag| *tag != subscription.tag());
            if tags.is_empty() {
                self.by_watched.remove(&subscription.watched);
            }
        }
    }
}

impl Refusal {
    pub(crate) const fn new(status: u16) -> Self {
        Self {
            status,
            field: None,
        }
    }

    /// Too much is going on; later it may work.
    pub(crate) fn busy() -> Self {
        Self::with(503, HeaderName::RetryAfter, "60")
    }

    pub(crate) fn with(status: u16, name: HeaderName, value: impl Into<String>) -> Self {
        Self {
            status,
            field: Some((name, value.into())),
        }
    }

    pub(crate) fn answer(self, ctx: &mut Context<'_>, pending: &Pending, request: &Message<'_>) {
        let tag = ctx.transactions.stateless_tag(ctx.mint.slot(), request);
        let (server, flow) = (pending.server, &pending.flow);
        ctx.respond(
            server,
            flow,
            request,
            self.status,
            tag.as_str(),
            |mut writer| {
                if let Some((name, value)) = &self.field {
                    writer.text(*name, value);
                }
                writer.finish();
            },
        );
    }
}

/// What a SUBSCRIBE asks for, and for how many seconds.
fn begin(
    ctx: &mut Context<'_>,
    flow: Flow,
    request: &Message<'_>,
    user: &User,
) -> Result<(Subscription, u32), Refusal> {
    let required: Vec<&str> = request.values(HeaderName::Require).collect();
    if !required.is_empty() {
        let required = required.join(", ");
        return Err(Refusal::with(420, HeaderName::Unsupported, required));
    }
    let (package, id) = event(request)?;
    let (watched, named) = watched(ctx, request, package, user)?;
    let seconds = seconds(request, package.default_expires())?;
    if !accepts(request, package) {
        return Err(Refusal::with(
            406,
            HeaderName::Accept,
            package.content_type(),
        ));
    }
    let tag = ctx.mint.token();
    let mut dialog = Dialog::of_request(request, flow, tag).map_err(|_| Refusal::new(400))?;
    dialog.flow = network::next_hop(&dialog, flow, request);
    let of_user = ctx.config.users.contains_key(&*watched);
    let beginning = Beginning {
        dialog,
        package,
        id: id.map(Into::into),
        watcher: user.name.as_str().into(),
        watched,
        user: named.into(),
        expires: ctx.now + Duration::from_secs(u64::from(seconds)),
    };
    Ok((Subscription::new(ctx.now, of_user, beginning), seconds))
}

/// The package and id of an Event header field.
fn event<'a>(request: &Message<'a>) -> Result<(Package, Option<&'a str>), Refusal> {
    let value = request.header(HeaderName::Event).unwrap_or("");
    let (name, params) = value.split_once(';').unwrap_or((value, ""));
    // RFC 6665 §8.2.1: names compare byte by byte.
    let package = Package::parse(name.trim())
        .ok_or_else(|| Refusal::with(489, HeaderName::AllowEvents, ALLOW_EVENTS))?;
    let id = sip::Params(params).find("id");
    let sound = |id: &&str| id.len() <= 128 && !id.is_empty();
    Ok((package, id.filter(sound)))
}

/// The user who is to be watched, and how the request names them.
fn watched(
    ctx: &Context<'_>,
    request: &Message<'_>,
    package: Package,
    user: &User,
) -> Result<(Arc<str>, String), Refusal> {
    let uri = Uri::parse(request.request_uri()).map_err(|_| Refusal::new(400))?;
    let named = uri.user_name().into_owned();
    let found = ctx.config.user_at(&named);
    match found {
        Some(found) if !package.is_private() || found.name == user.name => {
            Ok((found.name.as_str().into(), named))
        }
        Some(_) => Err(Refusal::new(403)),
        // Phones ask for their messages at whatever number voice mail has.
        None if package == Package::MessageSummary => Ok((user.name.as_str().into(), named)),
        None => match orbit(ctx, &named).filter(|_| package == Package::Dialog) {
            Some(orbit) => Ok((orbit.into(), named)),
            None => Err(Refusal::new(404)),
        },
    }
}

/// The orbit that a number leads to, if it leads to one.
fn orbit(ctx: &Context<'_>, number: &str) -> Option<String> {
    let steps = ctx.config.dialplan.steps(number);
    steps.into_iter().find_map(|step| match step {
        Step::Park(orbit) => Some(orbit),
        _ => None,
    })
}

/// The time that a request asks for, cut to what we give.
fn seconds(request: &Message<'_>, default: u32) -> Result<u32, Refusal> {
    let asked = request
        .number(HeaderName::Expires)
        .map_err(|_| Refusal::new(400))?;
    match asked.unwrap_or(default) {
        0 => Ok(0),
        short if short < SHORTEST => {
            let least = SHORTEST.to_string();
            Err(Refusal::with(423, HeaderName::MinExpires, least))
        }
        seconds => Ok(seconds.min(LONGEST)),
    }
}

/// Whether the watcher understands the package's documents (RFC 6665 §3.1.3).
fn accepts(request: &Message<'_>, package: Package) -> bool {
    let mut types = request.values(HeaderName::Accept).peekable();
    let fits = |value: &str| {
        let name = value.split(';').next().unwrap_or("").trim();
        [package.content_type(), "application/*", "*/*"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    };
    types.peek().is_none() || types.any(fits)
}

/// Takes a refresh into the subscription; returns for how many seconds.
fn renewed(
    ctx: &Context<'_>,
    subscription: &mut Subscription,
    pending: &Pending,
    request: &Message<'_>,
) -> Result<u32, Refusal> {
    let (package, id) = event(request)?;
    let same = package == subscription.package && id == subscription.id.as_deref();
    if !same || !subscription.dialog.matches_request(request) {
        return Err(Refusal::new(481));
    }
    let cseq = request.cseq().map_or(0, |cseq| cseq.number);
    if !subscription.dialog.advance(cseq) {
        return Err(Refusal::new(500));
    }
    let seconds = seconds(request, package.default_expires())?;
    subscription.dialog.retarget(request);
    subscription.dialog.flow = network::next_hop(&subscription.dialog, pending.flow, request);
    let known = |name: &str| ctx.config.users.contains_key(name);
    Ok(if known(&subscription.watcher) {
        seconds
    } else {
        0
    })
}

/// The 200 to a SUBSCRIBE.
fn accept(
    ctx: &mut Context<'_>,
    pending: &Pending,
    request: &Message<'_>,
    subscription: &Subscription,
    seconds: u32,
) {
    let contact = subscription.contact(ctx);
    let tag = subscription.tag();
    let (server, flow) = (pending.server, &pending.flow);
    ctx.respond(server, flow, request, 200, tag.as_str(), |mut writer| {
        writer.copy(request, HeaderName::RecordRoute);
        writer.header(HeaderName::Contact, &contact);
        writer.number(HeaderName::Expires, u64::from(seconds));
        writer.text(HeaderName::AllowEvents, ALLOW_EVENTS);
        writer.finish();
    });
}

/// Most subscriptions of one slot; more are answered 503.
const MOST: usize = 4096;

/// Shortest time of a subscription, in seconds; shorter wishes are answered 423.
const SHORTEST: u32 = 60;

/// Longest time of a subscription, in seconds; longer wishes are cut to this.
const LONGEST: u32 = 7200;
