//! What phones say of their users: PUBLISH (RFC 3903).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::Token;
use sip::{HeaderName, Message, Uri};
use store::Said;

use super::{ALLOW_EVENTS, Package, Refusal, pidf, seconds};
use crate::User;
use crate::context::{Context, Pending};

/// The publications that came in a slot, by entity tag: when they run out. Their content is in
/// [`store::Publications`].
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    entries: HashMap<Token, (Arc<str>, Instant)>,
    /// One for each entry, so that a phone that renews often takes no more room than another.
    deadlines: BTreeSet<(Instant, Token)>,
}

impl Publisher {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// How many publications there are.
    pub(crate) fn len(&self) -> usize {
        debug_assert_eq!(
            self.entries.len(),
            self.deadlines.len(),
            "one deadline for each"
        );
        self.entries.len()
    }

    /// Answers a PUBLISH of a known user (RFC 3903 §6).
    pub(crate) fn publish(
        &mut self,
        ctx: &mut Context<'_>,
        pending: &Pending,
        request: &Message<'_>,
        user: &User,
    ) {
        match self.take(ctx, request, user) {
            Ok((etag, seconds)) => {
                let tag = ctx.transactions.stateless_tag(ctx.mint.slot(), request);
                let (server, flow) = (pending.server, &pending.flow);
                ctx.respond(server, flow, request, 200, tag.as_str(), |mut writer| {
                    writer.other_header("SIP-ETag", etag);
                    writer.number(HeaderName::Expires, u64::from(seconds));
                    writer.finish();
                });
            }
            Err(refusal) => refusal.answer(ctx, pending, request),
        }
    }

    fn take(
        &mut self,
        ctx: &mut Context<'_>,
        request: &Message<'_>,
        user: &User,
    ) -> Result<(Token, u32), Refusal> {
        let name = published(ctx, request, user)?;
        let known = self.known(request, &name)?;
        let seconds = seconds(request, Package::Presence.default_expires())?;
        let said = said(request)?;
        let etag = ctx.mint.token();
        let publications = &ctx.services.publications;
        let changed = match (known, said) {
            (None, None) => return Err(Refusal::new(400)),
            // Nothing is to be kept: RFC 3903 §4.5 has it as a removal, which needs a tag.
            (None, Some(_)) if seconds == 0 => false,
            (None, Some(said)) => {
                if self.len() >= MOST || !publications.add(&name, etag, said) {
                    return Err(Refusal::with(503, HeaderName::RetryAfter, "300"));
                }
                true
            }
            (Some(known), _) if seconds == 0 => {
                self.forget(known);
                publications.remove(&name, known)
            }
            (Some(known), said) => {
                self.forget(known);
                let renewed = publications.renew(&name, known, etag, said);
                renewed.ok_or(Refusal::new(412))?
            }
        };
        if seconds > 0 {
            let until = ctx.now + Duration::from_secs(u64::from(seconds));
            self.entries.insert(etag, (Arc::clone(&name), until));
            self.deadlines.insert((until, etag));
        }
        if changed {
            ctx.changed(&name);
        }
        Ok((etag, seconds))
    }

    /// The publication that the request is about, if it names one (RFC 3903 §6 step 3).
    fn known(&self, request: &Message<'_>, name: &str) -> Result<Option<Token>, Refusal> {
        let Some(value) = request.other_header("SIP-If-Match") else {
            return Ok(None);
        };
        let tag = Token::parse(value.trim());
        let ours = tag.filter(|tag| {
            self.entries
                .get(tag)
                .is_some_and(|(user, _)| **user == *name)
        });
        ours.map(Some).ok_or(Refusal::new(412))
    }

    /// Removes what has run out.
    pub(crate) fn expire(&mut self, ctx: &mut Context<'_>) {
        while let Some((_, etag)) = self
            .deadlines
            .first()
            .copied()
            .filter(|(at, _)| *at <= ctx.now)
        {
            if let Some(name) = self.forget(etag) {
                ctx.services.publications.remove(&name, etag);
                ctx.changed(&name);
            }
        }
    }

    /// Ends an entry together with its deadline.
    fn forget(&mut self, etag: Token) -> Option<Arc<str>> {
        let (name, until) = self.entries.remove(&etag)?;
        self.deadlines.remove(&(until, etag));
        Some(name)
    }
}

/// The user whose presence is published, who must be the one who publishes.
fn published(ctx: &Context<'_>, request: &Message<'_>, user: &User) -> Result<Arc<str>, Refusal> {
    let event = request.header(HeaderName::Event).unwrap_or("");
    let event = event.split(';').next().unwrap_or("").trim();
    if Package::parse(event) != Some(Package::Presence) {
        return Err(Refusal::with(489, HeaderName::AllowEvents, ALLOW_EVENTS));
    }
    let uri = Uri::parse(request.request_uri()).map_err(|_| Refusal::new(400))?;
    let found = ctx.config.user_at(&uri.user_name());
    match found {
        Some(found) if found.name == user.name => Ok(found.name.as_str().into()),
        Some(_) => Err(Refusal::new(403)),
        None => Err(Refusal::new(404)),
    }
}

/// What the body says; none without a body.
fn said(request: &Message<'_>) -> Result<Option<Said>, Refusal> {
    if request.body().is_empty() {
        return Ok(None);
    }
    if request.body().len() > LARGEST {
        return Err(Refusal::new(413));
    }
    let content_type = Package::Presence.content_type();
    let document = request
        .body_of_type(content_type)
        .ok_or_else(|| Refusal::with(415, HeaderName::Accept, content_type))?;
    let said = pidf::parse(document).map_err(|_| Refusal::new(400))?;
    Ok(Some(said))
}

/// Octets of a document that are read; a larger one is answered 413.
const LARGEST: usize = 16 * 1024;

/// Most publications that live in one slot; more are answered 503.
const MOST: usize = 4096;
