//! One subscription (RFC 6665 §4.2).

use std::sync::Arc;
use std::time::{Duration, Instant};

use base::Token;
use sip::{ClientKey, Dialog, HeaderName, Method, NameAddr};
use store::Watch;

use super::package::{Frame, Package, Picture};
use crate::context::{Context, Owner};
use crate::network;

/// A watcher's subscription: a dialog with it, and what it knows.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) dialog: Dialog,
    pub(super) package: Package,
    /// The `id` of the Event header field (RFC 6665 §8.2.1).
    pub(super) id: Option<Box<str>>,
    /// The user who watches.
    pub(super) watcher: Arc<str>,
    /// The user who is watched.
    pub(super) watched: Arc<str>,
    /// Who is watched is a user, and no orbit.
    of_user: bool,
    pub(super) expires: Instant,
    /// User part of our Contact.
    pub(super) user: Box<str>,
    /// What the watcher has been told.
    told: Option<Picture>,
    version: u32,
    /// A NOTIFY that has not been answered; the next one waits for that.
    unanswered: Option<ClientKey>,
    /// Something has changed that the watcher has not been told of, and may be at this time.
    due: Option<Instant>,
    /// Not before then is the next change told.
    quiet_until: Instant,
    /// The earliest entry for this subscription in the slot's queue.
    pub(super) armed: Option<Instant>,
}

/// Why a subscription ends (RFC 6665 §4.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// It has run out, or the watcher wants no more.
    Timeout,
    /// The server is stopping: come back later.
    Probation,
    /// Whoever watched or was watched is no user any more.
    NoResource,
}

/// What a subscription begins with.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) dialog: Dialog,
    pub(super) package: Package,
    pub(super) id: Option<Box<str>>,
    pub(super) watcher: Arc<str>,
    pub(super) watched: Arc<str>,
    pub(super) user: Box<str>,
    pub(super) expires: Instant,
}

impl Subscription {
    pub(super) fn new(now: Instant, of_user: bool, beginning: Beginning) -> Self {
        let Beginning {
            dialog,
            package,
            id,
            watcher,
            watched,
            user,
            expires,
        } = beginning;
        Self {
            dialog,
            package,
            id,
            watcher,
            watched,
            of_user,
            expires,
            user,
            told: None,
            version: 0,
            unanswered: None,
            due: None,
            quiet_until: now,
            armed: None,
        }
    }

    pub(super) fn is_of_user(&self) -> bool {
        self.of_user
    }

    pub(super) fn tag(&self) -> Token {
        self.dialog.local_tag
    }

    /// The watch that stands for this subscription in what all slots share.
    pub(super) fn watch(&self) -> Watch<'_> {
        Watch {
            watcher: &self.watcher,
            watched: &self.watched,
            slot: self.tag().slot(),
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        let due = self.due.filter(|_| self.unanswered.is_none());
        due.map_or(self.expires, |due| due.min(self.expires))
    }

    /// Our Contact towards the watcher.
    pub(super) fn contact(&self, ctx: &Context<'_>) -> String {
        let flow = &self.dialog.flow;
        let address = ctx.config.network.signalling_address(flow);
        network::contact(&self.user, address, flow.protocol)
    }

    /// Tells the watcher all there is to see, as after each SUBSCRIBE (RFC 6665 §4.2.1.2).
    pub(super) fn tell_all(&mut self, ctx: &mut Context<'_>) {
        let picture = self.package.look(ctx, &self.watched);
        self.told = None;
        self.tell(ctx, picture);
    }

    /// Something may have changed. Soon after the last news it waits for more, so that a watcher gets
    /// five messages a second at most.
    pub(super) fn changed(&mut self, ctx: &mut Context<'_>) {
        self.due.get_or_insert(self.quiet_until.max(ctx.now));
        self.tell_what_is_due(ctx);
    }

    /// The watcher has taken a NOTIFY.
    pub(super) fn answered(&mut self, ctx: &mut Context<'_>, key: ClientKey) {
        self.unanswered.take_if(|sent| *sent == key);
        self.tell_what_is_due(ctx);
    }

    pub(super) fn tell_what_is_due(&mut self, ctx: &mut Context<'_>) {
        if self.unanswered.is_some() || self.due.is_none_or(|due| due > ctx.now) {
            return;
        }
        self.due = None;
        let picture = self.package.look(ctx, &self.watched);
        if self
            .told
            .as_ref()
            .is_none_or(|told| !told.is_same(&picture))
        {
            self.tell(ctx, picture);
        }
    }

    fn tell(&mut self, ctx: &mut Context<'_>, picture: Picture) {
        let left = self.expires.saturating_duration_since(ctx.now).as_secs();
        let state = format!("active;expires={left}");
        let body = self.document(ctx, &picture);
        let owner = Owner::Notify {
            subscription: self.tag(),
        };
        self.unanswered = Some(self.notify(ctx, owner, &state, Some(&body)));
        self.told = Some(picture);
        self.due = None;
        self.quiet_until = ctx.now + QUIET;
    }

    /// Tells the watcher that there is no more (RFC 6665 §4.2.2).
    pub(super) fn end(mut self, ctx: &mut Context<'_>, end: End) {
        let state = match end {
            End::Timeout => "terminated;reason=timeout",
            End::Probation => "terminated;reason=probation;retry-after=10",
            End::NoResource => "terminated;reason=noresource",
        };
        let body = (end == End::Timeout).then(|| {
            self.told = None;
            let picture = self.package.look(ctx, &self.watched);
            self.document(ctx, &picture)
        });
        self.notify(ctx, Owner::Nobody, state, body.as_deref());
    }

    fn document(&mut self, ctx: &Context<'_>, picture: &Picture) -> String {
        let (entity, host) = entity(&self.dialog.local);
        let frame = Frame {
            entity: &entity,
            host: &host,
            version: self.version,
            now: ctx.clock.unix(ctx.now).0,
        };
        self.version += 1;
        picture.write(frame, self.told.as_ref())
    }

    fn notify(
        &mut self,
        ctx: &mut Context<'_>,
        owner: Owner,
        state: &str,
        body: Option<&str>,
    ) -> ClientKey {
        let contact = self.contact(ctx);
        let package = self.package;
        let id = self.id.as_deref().map(|id| format!(";id={id}"));
        let id = id.unwrap_or_default();
        ctx.request(&mut self.dialog, Method::Notify, owner, |mut writer| {
            writer.header(HeaderName::Contact, &contact);
            writer.header(HeaderName::Event, format_args!("{}{id}", package.name()));
            writer.text(HeaderName::SubscriptionState, state);
            match body {
                Some(body) => writer.body(package.content_type(), body.as_bytes()),
                None => writer.finish(),
            }
        })
    }
}

/// The watched address without parameters, and its host.
fn entity(address: &str) -> (String, String) {
    let uri = NameAddr::parse(address).map_or("", |address| address.uri);
    match sip::Uri::parse(uri) {
        Ok(parsed) if !parsed.host.is_empty() => {
            let (user, host) = (parsed.user, parsed.host);
            (format!("sip:{user}@{host}"), host.to_owned())
        }
        _ => (uri.to_owned(), "localhost".to_owned()),
    }
}

/// How long changes are collected after a NOTIFY that told one.
const QUIET: Duration = Duration::from_millis(200);
