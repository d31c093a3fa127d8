//! One message on its way to the phones of a user.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use base::Token;
use sip::{Dialog, HeaderName, Method, StatusCode};
use store::{Contact, TextMessage};

use crate::context::{Context, Owner, Pending};
use crate::network;

/// A message and what has become of it so far.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) message: Arc<TextMessage>,
    /// The sender's request, until it is answered.
    pending: Option<Pending>,
    /// Phones that have not answered.
    open: usize,
    taken: bool,
    /// The best refusal of a phone.
    refused: Option<StatusCode>,
    pub(super) keep: Keep,
    /// Until when the next thing has to happen.
    pub(super) due: Option<Instant>,
    /// How often it has been tried in vain since it is kept.
    pub(super) tries: u32,
    /// The registrations that were tried.
    tried: u64,
}

/// Whether a message is kept on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keep {
    /// Not yet: phones are asked.
    No,
    /// The disk is asked.
    Asked,
    /// It is.
    Yes,
    /// The disk, or a limit, has refused it.
    Refused,
}

impl Parcel {
    pub(super) fn new(message: Arc<TextMessage>, pending: Option<Pending>) -> Self {
        Self {
            message,
            pending,
            open: 0,
            taken: false,
            refused: None,
            keep: Keep::No,
            due: None,
            tries: 0,
            tried: 0,
        }
    }

    pub(super) fn id(&self) -> Token {
        self.message.id
    }

    /// A phone has taken it.
    pub(super) fn is_taken(&self) -> bool {
        self.taken
    }

    /// A phone may still take it.
    pub(super) fn is_open(&self) -> bool {
        self.open > 0
    }

    /// It is of use now or never: who is typing (RFC 3994 §3).
    pub(super) fn is_fleeting(&self) -> bool {
        let content_type = self.message.content_type.split(';').next().unwrap_or("");
        content_type
            .trim()
            .eq_ignore_ascii_case("application/im-iscomposing+xml")
    }

    /// What the sender hears if no phone will ever take the message; none if it may be kept.
    pub(super) fn refusal(&self) -> Option<StatusCode> {
        let for_good = self.refused.filter(|status| is_for_good(*status));
        for_good.or_else(|| self.is_fleeting().then_some(StatusCode(480)))
    }

    /// A phone has answered. 482 says that it has the message already (RFC 3261 §8.2.2.2).
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.open = self.open.saturating_sub(1);
        if status.is_success() || status == StatusCode(482) {
            self.taken = true;
        } else if self.refused.is_none_or(is_for_good) {
            // A phone that is only away outweighs one that can't take it.
            self.refused = Some(status);
        }
    }

    /// Answers the sender, who may have been answered before.
    pub(super) fn answer(&mut self, ctx: &mut Context<'_>, status: u16) {
        let Some(pending) = self.pending.take() else {
            return;
        };
        let Some(request) = pending.message() else {
            return;
        };
        let tag = ctx.mint.token();
        let (server, flow) = (pending.server, &pending.flow);
        ctx.respond(server, flow, request, status, tag.as_str(), |mut writer| {
            if status == 503 {
                writer.number(HeaderName::RetryAfter, 60);
            }
            writer.finish();
        });
    }

    /// Sends it to all phones of the user (RFC 3428 §7).
    pub(super) fn send_out(&mut self, ctx: &mut Context<'_>) {
        let contacts = contacts(ctx, &self.message.to);
        self.tried = mark(&contacts);
        for contact in &contacts {
            self.send_to(ctx, contact);
            self.open += 1;
        }
    }

    /// Whether the user has registrations with which this message has not been tried: another try may
    /// do.
    pub(super) fn is_news_to_phones(&self, ctx: &Context<'_>) -> bool {
        let contacts = contacts(ctx, &self.message.to);
        !contacts.is_empty() && mark(&contacts) != self.tried
    }

    fn send_to(&self, ctx: &mut Context<'_>, contact: &Contact) {
        let message = Arc::clone(&self.message);
        let flow = network::first_hop(contact);
        let host = match ctx.config.network.signalling_address(&flow).ip() {
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
            ip => ip.to_string(),
        };
        let address = |number: &str| format!("<sip:{}@{host}>", sip::uri::escape_user(number));
        let from = match &*message.display {
            "" => address(&message.from),
            display => format!("\"{display}\" {}", address(&message.from)),
        };
        let number = ctx.config.users.get(&*message.to);
        let to = address(number.map_or(&message.to, |user| &user.number));
        // The same Call-ID each time, so that a phone may know a message that it had before.
        let (id, target) = (message.id, &contact.uri);
        let tag = ctx.mint.token();
        let mut dialog = Dialog::begin(id.as_str(), tag, &from, &to, target, flow);
        let path = contact.path.iter();
        dialog.route_set = path.map(|route| route.as_str().into()).collect();
        let owner = Owner::Message { parcel: id };
        ctx.request(&mut dialog, Method::Message, owner, |mut writer| {
            writer.other_header("Date", store::calendar::header_date(message.at));
            for (name, value) in &message.fields {
                writer.other_header(name, value);
            }
            writer.body(&message.content_type, &message.body);
        });
    }
}

/// Whether a refusal is about the message, so that trying again is no use.
fn is_for_good(status: StatusCode) -> bool {
    matches!(
        status.0,
        405 | 413 | 414 | 415 | 416 | 420 | 488 | 493 | 501 | 505 | 513 | 603 | 606
    )
}

/// The phones of a user whose time is not over.
fn contacts(ctx: &Context<'_>, user: &str) -> Vec<Contact> {
    let now = ctx.clock.unix(ctx.now);
    let bound = ctx.services.bindings.lookup(user);
    let all = bound.iter().flat_map(|list| list.iter());
    all.filter(|contact| contact.expires > now)
        .cloned()
        .collect()
}

/// Changes whenever a phone registers.
fn mark(contacts: &[Contact]) -> u64 {
    let mut hash = DefaultHasher::new();
    for contact in contacts {
        (&contact.uri, &contact.call_id, contact.cseq).hash(&mut hash);
    }
    hash.finish()
}
