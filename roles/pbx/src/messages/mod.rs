//! Instant messages: MESSAGE from user to user (RFC 3428), kept for phones that are away.
//!
//! A message goes to all phones of its user at once, and the first that takes it settles it. If none
//! does, or none is registered, it is kept on disk ([`store::Messages`]) and its sender hears 202. The
//! slot that keeps a user's registrations delivers what waits when a phone registers, one message after
//! the other. What is kept is not overtaken by what comes later.
//!
//! A message whose taking was not written down before a crash comes again, under the same Call-ID, so
//! that a phone may know it.
//!
//! - [`parcel`]: one message on its way.

mod parcel;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{Deadlines, Token};
use sip::{HeaderName, Message, StatusCode, Uri};
use store::{Put, TextMessage};

use crate::context::{Context, Pending};
use crate::events::Refusal;
use crate::{Event, User};
use parcel::{Keep, Parcel};

/// The messages of a slot that are on their way.
#[derive(Debug, Default)]
pub(crate) struct Courier {
    parcels: HashMap<Token, Box<Parcel>>,
    /// The kept message that each user's phones have been sent last: they have not answered, or it rests
    /// until the next try.
    rounds: HashMap<Arc<str>, Token>,
    deadlines: Deadlines<Token>,
    /// When what the last process has kept is looked at.
    begins: Option<Instant>,
}

impl Courier {
    /// Looks at what the last process has kept as soon as the slot runs.
    pub(crate) fn restore(&mut self, ctx: &Context<'_>) {
        self.begins = (!ctx.services.messages.is_empty()).then_some(ctx.now);
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let due = self.deadlines.next();
        self.begins.into_iter().chain(due).min()
    }

    /// How many messages are on their way.
    pub(crate) fn len(&self) -> usize {
        self.parcels.len()
    }

    /// A MESSAGE of a known user outside any dialog (RFC 3428 §7).
    pub(crate) fn send(
        &mut self,
        ctx: &mut Context<'_>,
        pending: Pending,
        request: &Message<'_>,
        sender: &User,
    ) {
        let message = written(ctx, request, sender).and_then(|message| {
            let room = self.len() < MOST;
            room.then_some(message).ok_or_else(Refusal::busy)
        });
        let message = match message {
            Ok(message) => message,
            Err(refusal) => return refusal.answer(ctx, &pending, request),
        };
        let others_wait = ctx.services.messages.has(&message.to);
        let mut parcel = Box::new(Parcel::new(Arc::new(message), Some(pending)));
        if parcel.is_fleeting() || !others_wait {
            parcel.send_out(ctx);
        }
        self.watch(&mut parcel, ctx.now + PATIENCE);
        self.go_on(ctx, parcel);
    }

    /// A phone has answered, or has not: then the status is 408.
    pub(crate) fn answered(&mut self, ctx: &mut Context<'_>, id: Token, status: StatusCode) {
        if let Some(mut parcel) = self.parcels.remove(&id) {
            parcel.answered(status);
            self.go_on(ctx, parcel);
        }
    }

    /// The disk has settled something, or a phone is there for what waits.
    pub(crate) fn wake(&mut self, ctx: &mut Context<'_>) {
        let slot = ctx.mint.slot();
        for settled in ctx.services.messages.take_settled(slot) {
            if let Some(mut parcel) = self.parcels.remove(&settled.id) {
                self.settled(ctx, &mut parcel, settled.kept);
                self.go_on(ctx, parcel);
            }
        }
        for user in ctx.services.messages.take_ready(slot) {
            let resting = self.rounds.get(&user).copied();
            let resting = resting.filter(|id| self.parcels.get(id).is_some_and(|p| !p.is_open()));
            if let Some(id) = resting {
                self.parcels.remove(&id);
                self.rounds.remove(&user);
            }
            if !self.rounds.contains_key(&user) {
                self.deliver_first(ctx, &user, 0);
            }
        }
    }

    /// Stops waiting for what is due.
    pub(crate) fn expire(&mut self, ctx: &mut Context<'_>) {
        if self.begins.take_if(|at| *at <= ctx.now).is_some() {
            self.wake(ctx);
        }
        while let Some(id) = self.deadlines.pop_due(ctx.now) {
            let Some(mut parcel) = self.parcels.remove(&id) else {
                continue;
            };
            if parcel.due.take_if(|due| *due <= ctx.now).is_none() {
                // An entry from before its deadline was moved.
                self.parcels.insert(id, parcel);
                continue;
            }
            match parcel.keep {
                // RFC 4320 §4: the sender must hear of it before its own time is over.
                Keep::No if parcel.is_fleeting() => parcel.answer(ctx, 480),
                Keep::No => self.store(ctx, &mut parcel),
                Keep::Asked => parcel.answer(ctx, 503),
                Keep::Yes if !parcel.is_open() => {
                    self.rounds.remove(&*parcel.message.to);
                    self.deliver_first(ctx, &parcel.message.to, parcel.tries + 1);
                    continue;
                }
                Keep::Yes | Keep::Refused => {}
            }
            self.go_on(ctx, parcel);
        }
    }

    /// Does what follows from the state of a parcel, and holds it until it is done with.
    fn go_on(&mut self, ctx: &mut Context<'_>, mut parcel: Box<Parcel>) {
        if parcel.is_taken() {
            parcel.answer(ctx, 200);
        }
        match parcel.keep {
            Keep::No if parcel.is_taken() => return,
            Keep::No if !parcel.is_open() => {
                if let Some(status) = parcel.refusal() {
                    return parcel.answer(ctx, status.0);
                }
                self.store(ctx, &mut parcel);
                return self.go_on(ctx, parcel);
            }
            Keep::Refused if !parcel.is_open() => return,
            Keep::Yes if parcel.is_taken() || !parcel.is_open() => {
                return self.conclude(ctx, parcel);
            }
            _ => {}
        }
        self.parcels.insert(parcel.id(), parcel);
    }

    /// The phones have said all they have to say to a message that is kept.
    fn conclude(&mut self, ctx: &mut Context<'_>, mut parcel: Box<Parcel>) {
        let message = Arc::clone(&parcel.message);
        let refused = parcel.refusal().filter(|_| !parcel.is_taken());
        let done = parcel.is_taken() || refused.is_some();
        if done {
            ctx.services.messages.remove(&message.to, message.id);
        }
        if let Some(status) = refused {
            let user = (*message.to).into();
            ctx.out.events.push(Event::MessageRefused { user, status });
        }
        if self.rounds.get(&*message.to) != Some(&message.id) {
            return;
        }
        if done {
            self.rounds.remove(&*message.to);
            self.deliver_first(ctx, &message.to, 0);
        } else {
            // A registered phone that is silent or busy may take it later.
            let pause = FIRST_PAUSE * (1 << parcel.tries.min(MOST_DOUBLINGS));
            self.watch(&mut parcel, ctx.now + pause);
            self.parcels.insert(parcel.id(), parcel);
        }
    }

    /// Sends the user's phones the message that waits longest, after so many tries in vain.
    fn deliver_first(&mut self, ctx: &mut Context<'_>, user: &str, tries: u32) {
        let now = ctx.clock.unix(ctx.now);
        let Some(message) = ctx.services.messages.first(user, now) else {
            return;
        };
        if self.parcels.contains_key(&message.id) {
            // A phone still ponders over it; the next registration is another chance.
            return;
        }
        let mut parcel = Box::new(Parcel::new(message, None));
        (parcel.keep, parcel.tries) = (Keep::Yes, tries);
        parcel.send_out(ctx);
        if parcel.is_open() {
            self.rounds.insert(user.into(), parcel.id());
            self.go_on(ctx, parcel);
        }
    }

    /// Has a message kept.
    fn store(&mut self, ctx: &mut Context<'_>, parcel: &mut Parcel) {
        match ctx.services.messages.put((*parcel.message).clone()) {
            Put::Kept => self.settled(ctx, parcel, true),
            Put::Waits => {
                parcel.keep = Keep::Asked;
                self.watch(parcel, ctx.now + STORING);
            }
            Put::Full => {
                parcel.keep = Keep::Refused;
                parcel.answer(ctx, 480);
            }
        }
    }

    fn settled(&mut self, ctx: &mut Context<'_>, parcel: &mut Parcel, kept: bool) {
        if !kept {
            parcel.keep = Keep::Refused;
            return parcel.answer(ctx, 503);
        }
        parcel.keep = Keep::Yes;
        if parcel.is_taken() {
            return;
        }
        parcel.answer(ctx, 202);
        // Whoever has registered meanwhile found nothing that waited.
        if parcel.is_news_to_phones(ctx)
            && let Some(slot) = ctx.services.messages.ready(&parcel.message.to)
        {
            ctx.out.wake.push(slot);
        }
    }

    fn watch(&mut self, parcel: &mut Parcel, until: Instant) {
        parcel.due = Some(until);
        self.deadlines.arm(until, parcel.id());
    }
}

/// The message in a request.
fn written(
    ctx: &mut Context<'_>,
    request: &Message<'_>,
    sender: &User,
) -> Result<TextMessage, Refusal> {
    let required: Vec<&str> = request.values(HeaderName::Require).collect();
    if !required.is_empty() {
        let required = required.join(", ");
        return Err(Refusal::with(420, HeaderName::Unsupported, required));
    }
    if request.number(HeaderName::MaxForwards) == Ok(Some(0)) {
        return Err(Refusal::new(483));
    }
    let uri = Uri::parse(request.request_uri()).map_err(|_| Refusal::new(400))?;
    let addressee = ctx.config.user_at(&uri.user_name());
    let to = addressee.ok_or(Refusal::new(404))?.name.as_str().into();
    let content_type = request.header(HeaderName::ContentType);
    let content_type = content_type.filter(|_| !request.body().is_empty());
    let content_type = content_type.ok_or(Refusal::new(400))?.into();
    if request.body().len() > LARGEST {
        return Err(Refusal::new(413));
    }
    let fields = KEPT_FIELDS.iter().filter_map(|name| {
        let value = request.other_header(name)?;
        (value.len() <= LONGEST_FIELD).then(|| ((*name).to_owned(), value.to_owned()))
    });
    Ok(TextMessage {
        id: ctx.mint.token(),
        to,
        from: sender.number.as_str().into(),
        display: sender.display_name.replace(['"', '\\'], "").into(),
        at: ctx.clock.unix(ctx.now),
        content_type,
        fields: fields.collect(),
        body: request.body().into(),
    })
}

/// Header fields that belong to the body and go with it (RFC 3428 §11).
const KEPT_FIELDS: [&str; 5] = [
    "Subject",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "In-Reply-To",
];

/// Octets of a kept header field; a longer one is left out.
const LONGEST_FIELD: usize = 512;

/// Octets of a body; a larger one is answered 413.
const LARGEST: usize = 32 * 1024;

/// Most messages on their way in a slot; one more is answered 503.
const MOST: usize = 1024;

/// How long phones may think before the message is kept and its sender hears 202.
const PATIENCE: Duration = Duration::from_secs(6);

/// How long after a phone was silent or busy what waits is tried again; twice as long after each try.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

/// How often that is doubled: to 128 seconds.
const MOST_DOUBLINGS: u32 = 6;

/// How long the disk may take before the sender hears 503.
const STORING: Duration = Duration::from_secs(10);
