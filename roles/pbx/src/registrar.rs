//! The registrar (RFC 3261 §10.3), one for the users of each slot.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{Deadlines, UnixTime};
use sip::digest::ReplayGuard;
use sip::{Dialog, Flow, HeaderName, Message, Method, NameAddr, StatusCode, Uri, Writer};
use store::{Contact, Reach, record};

use crate::auth::{self, Verdict};
use crate::context::{Context, Owner};
use crate::{Event, User, network, outbound};

/// The users of a slot that have phones: when their bindings end, when they are asked whether they
/// are there. The bindings themselves are in [`store::Bindings`].
#[derive(Debug, Default)]
pub(crate) struct Registrar {
    entries: Vec<Entry>,
    by_user: HashMap<Arc<str>, u32>,
    free: Vec<u32>,
    deadlines: Deadlines<u32>,
}

#[derive(Debug)]
struct Entry {
    user: Arc<str>,
    qualify_at: Option<Instant>,
    armed: Option<Instant>,
}

/// A REGISTER that has been understood.
struct Wish<'a> {
    contacts: Vec<(NameAddr<'a>, Uri<'a>, u32)>,
    removes_all: bool,
    cseq: u32,
}

impl Registrar {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Takes over the bindings that the last process left.
    pub(crate) fn restore(&mut self, ctx: &mut Context<'_>) {
        let mut users = Vec::new();
        ctx.services
            .bindings
            .for_each_in(ctx.mint.slot(), |user, contacts| {
                users.push((user.to_owned(), Arc::clone(contacts)));
            });
        for (user, contacts) in users {
            self.watch(ctx, &user, &contacts);
        }
    }

    /// Answers a REGISTER. The answer needs no transaction: a repetition finds the binding as the
    /// first one left it and is answered alike.
    pub(crate) fn register(
        &mut self,
        ctx: &mut Context<'_>,
        guard: &mut ReplayGuard,
        flow: Flow,
        request: &Message<'_>,
    ) {
        if let Some(unknown) = unsupported(request) {
            return reply(ctx, flow, request, 420, |writer| {
                writer.header(HeaderName::Unsupported, unknown);
            });
        }
        let Some(aor) = address_of_record(request) else {
            return reply(ctx, flow, request, 400, |_| {});
        };
        match auth::authenticate(ctx, guard, request, &flow) {
            Verdict::Known(user) | Verdict::Replayed(user) if *aor != user.name => {
                reply(ctx, flow, request, 403, |_| {});
            }
            Verdict::Known(user) => self.register_known(ctx, flow, request, &user),
            // A repetition hears what the first one did; whoever replays it changes nothing.
            Verdict::Replayed(user) if is_repeated(ctx, &aor, request) => {
                let contacts = valid_contacts(ctx, &user.name);
                confirm(ctx, flow, request, &contacts);
            }
            refused => auth::refuse(ctx, flow, request, &refused),
        }
    }

    fn register_known(
        &mut self,
        ctx: &mut Context<'_>,
        flow: Flow,
        request: &Message<'_>,
        user: &User,
    ) {
        if !(ctx.services.registrations_open)() {
            return reply(ctx, flow, request, 503, |writer| {
                writer.header(HeaderName::RetryAfter, 30);
            });
        }
        let changed = Wish::parse(ctx, request, user.max_contacts)
            .and_then(|wish| self.apply(ctx, flow, request, user, &wish));
        match changed {
            Ok(contacts) => {
                confirm(ctx, flow, request, &contacts);
                if !contacts.is_empty()
                    && let Some(slot) = ctx.services.messages.ready(&user.name)
                {
                    ctx.out.wake.push(slot);
                }
            }
            Err(StatusCode(423)) => {
                let least = ctx.config.registrar.min_expires.as_secs();
                reply(ctx, flow, request, 423, |writer| {
                    writer.header(HeaderName::MinExpires, least);
                });
            }
            Err(status) => reply(ctx, flow, request, status.0, |_| {}),
        }
    }

    /// Makes the change and returns the user's contacts after it.
    fn apply(
        &mut self,
        ctx: &mut Context<'_>,
        flow: Flow,
        request: &Message<'_>,
        user: &User,
        wish: &Wish<'_>,
    ) -> Result<Vec<Contact>, StatusCode> {
        let now = ctx.clock.unix(ctx.now);
        let before = ctx.services.bindings.lookup(&user.name);
        let mut contacts: Vec<Contact> = before
            .iter()
            .flat_map(|list| list.iter())
            .filter(|contact| contact.expires > now)
            .cloned()
            .collect();
        if wish.contacts.is_empty() && !wish.removes_all {
            return Ok(contacts);
        }
        if wish.removes_all {
            if contacts
                .iter()
                .any(|contact| is_older(contact, request, wish.cseq))
            {
                return Err(StatusCode(500));
            }
            contacts.clear();
        }
        for (address, uri, expires) in &wish.contacts {
            let flow = ctx.way_to_phone(address.uri, flow, request);
            change(
                &mut contacts,
                address,
                uri,
                *expires,
                wish.cseq,
                flow,
                request,
                now,
            )?;
        }
        make_room(&mut contacts, user.max_contacts)?;
        let news = self.announce(ctx, user, before.as_deref().unwrap_or(&[]), &contacts);
        ctx.out.records.push(record::encode(&user.name, &contacts));
        ctx.services.bindings.replace(&user.name, &contacts);
        if news {
            ctx.changed(&user.name);
        }
        self.watch(ctx, &user.name, &contacts);
        Ok(contacts)
    }

    /// Tells observers who has come and gone; `false`: nobody has.
    fn announce(
        &self,
        ctx: &mut Context<'_>,
        user: &User,
        before: &[Contact],
        after: &[Contact],
    ) -> bool {
        let told = ctx.out.events.len();
        let name: Arc<str> = user.name.as_str().into();
        for contact in after.iter().filter(|new| {
            !before
                .iter()
                .any(|old| old.uri == new.uri && old.flow.remote == new.flow.remote)
        }) {
            let event = Event::Registered {
                user: Arc::clone(&name),
                contact: (&*contact.uri).into(),
                from: contact.flow.remote,
            };
            ctx.out.events.push(event);
        }
        for contact in before
            .iter()
            .filter(|old| !after.iter().any(|new| old.uri == new.uri))
        {
            let event = Event::Unregistered {
                user: Arc::clone(&name),
                contact: (&*contact.uri).into(),
                expired: false,
            };
            ctx.out.events.push(event);
        }
        ctx.out.events.len() > told
    }

    /// Sees to it that the user's next deadline is met.
    fn watch(&mut self, ctx: &mut Context<'_>, user: &str, contacts: &[Contact]) {
        let Some(first) = contacts.iter().map(|contact| contact.expires).min() else {
            return;
        };
        let index = match self.by_user.get(user) {
            Some(index) => *index,
            None => self.enter(ctx, user),
        };
        let Some(entry) = self.entries.get_mut(index as usize) else {
            return;
        };
        let expiry = ctx.clock.instant(first, ctx.now);
        let due = entry
            .qualify_at
            .map_or(expiry, |qualify| qualify.min(expiry));
        if entry.armed.is_none_or(|armed| due < armed) {
            entry.armed = Some(due);
            self.deadlines.arm(due, index);
        }
    }

    fn enter(&mut self, ctx: &mut Context<'_>, user: &str) -> u32 {
        let user: Arc<str> = user.into();
        let interval = ctx.config.registrar.qualify;
        // Spread over the interval, so that phones that came together are not all asked together.
        let qualify_at =
            (!interval.is_zero()).then(|| ctx.now + interval / 2 + spread(ctx, interval / 2));
        let entry = Entry {
            user: Arc::clone(&user),
            qualify_at,
            armed: None,
        };
        let index = match self.free.pop() {
            Some(index) => {
                self.entries[index as usize] = entry;
                index
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        self.by_user.insert(user, index);
        index
    }

    /// Ends the bindings of users that the configuration no longer has.
    pub(crate) fn forget_strangers(&mut self, ctx: &mut Context<'_>) {
        let known = |user: &str| ctx.config.users.contains_key(user);
        let strangers: Vec<_> = self
            .by_user
            .keys()
            .filter(|user| !known(user))
            .map(Arc::clone)
            .collect();
        for user in strangers {
            let contacts = ctx.services.bindings.lookup(&user);
            for contact in contacts.iter().flat_map(|list| list.iter()) {
                ctx.out.events.push(Event::Unregistered {
                    user: Arc::clone(&user),
                    contact: (&*contact.uri).into(),
                    expired: false,
                });
            }
            ctx.out.records.push(record::encode(&user, &[]));
            ctx.services.bindings.replace(&user, &[]);
            ctx.changed(&user);
        }
    }

    /// Ends bindings that have run out and asks phones whether they are there.
    pub(crate) fn expire(&mut self, ctx: &mut Context<'_>) {
        while let Some(index) = self.deadlines.pop_due(ctx.now) {
            self.expire_user(ctx, index);
        }
    }

    fn expire_user(&mut self, ctx: &mut Context<'_>, index: u32) {
        let Some(entry) = self
            .entries
            .get_mut(index as usize)
            .filter(|entry| entry.armed.is_some_and(|armed| armed <= ctx.now))
        else {
            return;
        };
        entry.armed = None;
        let user = Arc::clone(&entry.user);
        let ask = entry.qualify_at.is_some_and(|at| at <= ctx.now);
        if ask {
            let interval = ctx.config.registrar.qualify;
            entry.qualify_at = (!interval.is_zero()).then(|| ctx.now + interval);
        }
        let left = drop_expired(ctx, &user);
        if left.is_empty() {
            self.by_user.remove(&user);
            self.free.push(index);
            return;
        }
        if ask {
            for contact in &*left {
                qualify(ctx, &user, contact);
            }
        }
        self.watch(ctx, &user, &left);
    }
}

/// Takes the answer to our OPTIONS, or its absence, into the directory.
pub(crate) fn qualified(ctx: &Context<'_>, user: &str, uri: &str, reg_id: u32, reach: Reach) {
    ctx.services.bindings.mark(user, reach, |contact| {
        &*contact.uri == uri && contact.reg_id == reg_id
    });
}

/// Asks a phone whether it is there.
fn qualify(ctx: &mut Context<'_>, user: &Arc<str>, contact: &Contact) {
    let flow = network::first_hop(contact);
    let address = ctx.config.network.signalling_address(&flow);
    let ours = format!("<sip:{address}>");
    let (call_id, tag) = (ctx.mint.token(), ctx.mint.token());
    let remote = format!("<{}>", contact.uri);
    let mut dialog = Dialog::begin(call_id.as_str(), tag, &ours, &remote, &contact.uri, flow);
    dialog.route_set = contact
        .path
        .iter()
        .map(|route| route.as_str().into())
        .collect();
    let owner = Owner::Qualify {
        user: Arc::clone(user),
        contact: contact.uri.clone(),
        reg_id: contact.reg_id,
        sent: ctx.now,
    };
    ctx.request(&mut dialog, Method::Options, owner, |mut writer| {
        writer.header(HeaderName::Contact, &ours);
        writer.finish();
    });
}

/// Removes what has run out and returns what is left.
fn drop_expired(ctx: &mut Context<'_>, user: &Arc<str>) -> Arc<[Contact]> {
    let now = ctx.clock.unix(ctx.now);
    let Some(contacts) = ctx.services.bindings.lookup(user) else {
        return Arc::default();
    };
    if contacts.iter().all(|contact| contact.expires > now) {
        return contacts;
    }
    let (left, gone): (Vec<_>, Vec<_>) = contacts
        .iter()
        .cloned()
        .partition(|contact| contact.expires > now);
    for contact in gone {
        let event = Event::Unregistered {
            user: Arc::clone(user),
            contact: (&*contact.uri).into(),
            expired: true,
        };
        ctx.out.events.push(event);
    }
    ctx.out.records.push(record::encode(user, &left));
    ctx.services.bindings.replace(user, &left);
    ctx.changed(user);
    left.into()
}

impl<'a> Wish<'a> {
    fn parse(ctx: &Context<'_>, request: &Message<'a>, most: usize) -> Result<Self, StatusCode> {
        let bad = |_| StatusCode(400);
        let cseq = request.cseq().map_err(bad)?.number;
        let general = request.number(HeaderName::Expires).unwrap_or(None);
        let mut wish = Self {
            contacts: Vec::new(),
            removes_all: false,
            cseq,
        };
        for value in request.values(HeaderName::Contact) {
            if value
                .split(';')
                .next()
                .is_some_and(|star| star.trim() == "*")
            {
                wish.removes_all = true;
                continue;
            }
            if wish.contacts.len() >= most.max(MOST_REMOVED) {
                return Err(StatusCode(403));
            }
            let address = NameAddr::parse(value).map_err(bad)?;
            let uri = Uri::parse(address.uri).map_err(bad)?;
            // A malformed expires parameter counts as absent (RFC 3261 §10.2.1.1).
            let own = address
                .params
                .find("expires")
                .and_then(|seconds| seconds.parse().ok());
            wish.contacts
                .push((address, uri, granted(ctx, own.or(general))?));
        }
        // RFC 5626 §6: one REGISTER makes one flow.
        let numbered = |(address, _, expires): &&(NameAddr<'_>, Uri<'_>, u32)| {
            *expires > 0 && address.params.has("reg-id")
        };
        if wish.contacts.iter().filter(numbered).count() > 1 {
            return Err(StatusCode(400));
        }
        // RFC 3261 §10.2.2: `*` stands alone and with Expires: 0.
        let star_is_right = wish.contacts.is_empty() && general == Some(0);
        if wish.removes_all && !star_is_right {
            return Err(StatusCode(400));
        }
        Ok(wish)
    }
}

/// The time that a contact gets, in seconds.
fn granted(ctx: &Context<'_>, wished: Option<u32>) -> Result<u32, StatusCode> {
    let rules = &ctx.config.registrar;
    let seconds = |duration: Duration| duration.as_secs().min(u64::from(u32::MAX)) as u32;
    match wished.unwrap_or(seconds(rules.default_expires)) {
        0 => Ok(0),
        wished if wished < seconds(rules.min_expires) => Err(StatusCode(423)),
        wished => Ok(wished.min(seconds(rules.max_expires))),
    }
}

/// Adds, refreshes or removes one contact; `uri` is that of its address.
#[expect(
    clippy::too_many_arguments,
    reason = "a contact is all that its REGISTER says"
)]
fn change(
    contacts: &mut Vec<Contact>,
    address: &NameAddr<'_>,
    uri: &Uri<'_>,
    expires: u32,
    cseq: u32,
    flow: Flow,
    request: &Message<'_>,
    now: UnixTime,
) -> Result<(), StatusCode> {
    let instance = address
        .params
        .find("+sip.instance")
        .map(|instance| instance.trim_matches('"').into());
    let reg_id = match expires {
        0 if address.params.find("reg-id").is_none() => 0,
        _ => outbound::flow_number(request, address)?,
    };
    let same = |contact: &Contact| {
        // A device that comes back under a new address replaces itself, or that one of its flows which
        // it names (RFC 5626 §6). Its flows may all have the same Contact.
        let same_device = instance.is_some() && contact.instance == instance;
        if same_device && reg_id > 0 && contact.reg_id > 0 {
            return contact.reg_id == reg_id;
        }
        same_device
            || &*contact.uri == address.uri
            || Uri::parse(&contact.uri).is_ok_and(|known| known.equivalent(uri))
    };
    if let Some(known) = contacts.iter().find(|contact| same(contact))
        && is_older(known, request, cseq)
    {
        return Err(StatusCode(500));
    }
    let reach = contacts
        .iter()
        .find(|contact| same(contact) && contact.flow.remote == flow.remote)
        .map(|known| known.reach)
        // RFC 5626 §5.3.1: a flow that was dead lives again.
        .filter(|reach| reg_id == 0 || *reach != Reach::Unreachable);
    contacts.retain(|contact| !same(contact));
    if expires == 0 {
        return Ok(());
    }
    let q = address
        .params
        .find("q")
        .and_then(|q| q.parse::<f32>().ok())
        .map_or(1000.0, |q| q.clamp(0.0, 1.0) * 1000.0);
    contacts.push(Contact {
        uri: address.uri.into(),
        flow,
        path: request
            .values(HeaderName::Path)
            .map(str::to_owned)
            .collect(),
        instance,
        reg_id,
        q: q as u16,
        call_id: request.call_id().into(),
        cseq,
        expires: UnixTime(now.0 + u64::from(expires)),
        user_agent: request.header(HeaderName::UserAgent).unwrap_or("").into(),
        reach: reach.unwrap_or(Reach::Unknown),
    });
    Ok(())
}

/// RFC 3261 §10.3 step 7: within one Call-ID a lower CSeq is out of order.
fn is_older(known: &Contact, request: &Message<'_>, cseq: u32) -> bool {
    &*known.call_id == request.call_id() && cseq < known.cseq
}

/// The phones of a user whose time is not over.
fn valid_contacts(ctx: &Context<'_>, user: &str) -> Vec<Contact> {
    let now = ctx.clock.unix(ctx.now);
    let contacts = ctx.services.bindings.lookup(user);
    let all = contacts.iter().flat_map(|list| list.iter());
    all.filter(|contact| contact.expires > now)
        .cloned()
        .collect()
}

/// Whether this very request has been carried out already.
fn is_repeated(ctx: &Context<'_>, user: &str, request: &Message<'_>) -> bool {
    let Some(contacts) = ctx.services.bindings.lookup(user) else {
        return false;
    };
    let call_id = request.call_id();
    let mut same_call = contacts
        .iter()
        .filter(|contact| &*contact.call_id == call_id)
        .peekable();
    same_call.peek().is_some()
        && request
            .cseq()
            .is_ok_and(|cseq| same_call.any(|contact| contact.cseq == cseq.number))
}

/// Keeps a user's phones within the limit: those that no longer answer make room, the oldest first.
fn make_room(contacts: &mut Vec<Contact>, most: usize) -> Result<(), StatusCode> {
    while contacts.len() > most {
        let silent = contacts
            .iter()
            .position(|contact| contact.reach == Reach::Unreachable)
            .ok_or(StatusCode(403))?;
        contacts.remove(silent);
    }
    Ok(())
}

/// The 200 with all contacts and the time that each has left.
fn confirm(ctx: &mut Context<'_>, flow: Flow, request: &Message<'_>, contacts: &[Contact]) {
    let now = ctx.clock.unix(ctx.now);
    reply(ctx, flow, request, 200, |writer| {
        for contact in contacts {
            let left = contact.expires.0.saturating_sub(now.0);
            let named = outbound::name_flow(contact);
            writer.header(
                HeaderName::Contact,
                format_args!("<{}>;expires={left}{named}", contact.uri),
            );
        }
        writer.copy(request, HeaderName::Path);
        writer.text(HeaderName::Supported, "path, outbound");
        let of_this = |contact: &&Contact| &*contact.call_id == request.call_id();
        if contacts
            .iter()
            .filter(of_this)
            .any(|contact| contact.reg_id > 0)
        {
            outbound::put_terms(writer, &flow);
        }
    });
}

/// Contacts that one REGISTER may name, even if the user may have fewer: some remove as they add.
const MOST_REMOVED: usize = 16;

/// Answers without a transaction.
pub(crate) fn reply(
    ctx: &mut Context<'_>,
    flow: Flow,
    request: &Message<'_>,
    status: u16,
    finish: impl FnOnce(&mut Writer<'_>),
) {
    let tag = ctx.transactions.stateless_tag(ctx.mint.slot(), request);
    let config = ctx.config;
    ctx.out
        .send_with(sip::response_flow(request, flow), |bytes| {
            let mut writer =
                Writer::response_to(bytes, request, &flow, StatusCode(status), tag.as_str());
            config.put_server(&mut writer);
            finish(&mut writer);
            writer.finish();
        });
}

/// The user whose bindings a REGISTER is about.
fn address_of_record<'a>(request: &Message<'a>) -> Option<Cow<'a, str>> {
    Some(request.to().ok()?.parse_uri().ok()?.user_name())
}

fn unsupported(request: &Message<'_>) -> Option<String> {
    let unknown: Vec<_> = request
        .values(HeaderName::Require)
        .filter(|token| !["path", outbound::OUTBOUND].contains(&&*token.to_ascii_lowercase()))
        .collect();
    (!unknown.is_empty()).then(|| unknown.join(", "))
}

/// A random part of an interval.
fn spread(ctx: &mut Context<'_>, interval: Duration) -> Duration {
    let millis = interval.as_millis().min(u128::from(u32::MAX)) as u32;
    Duration::from_millis(u64::from(ctx.mint.below(millis)))
}
