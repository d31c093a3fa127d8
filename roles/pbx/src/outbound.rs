//! SIP Outbound: a phone that registers over several flows is one phone (RFC 5626).
//!
//! We are registrar and edge in one: a binding keeps the flow by which it came, so no flow tokens are
//! needed. A flow that is dead shows itself when something is sent along it.

use std::net::IpAddr;

use sip::{Flow, HeaderName, Message, NameAddr, StatusCode, Writer};
use store::{Contact, Reach};

use crate::context::Context;
use crate::network;

/// The flow that a contact names as one of several of its instance; 0 if it does not, or if outbound
/// may not be used.
///
/// # Errors
/// 439 if a proxy on the way knows nothing of flows, though the phone counts on it; 400 if the number
/// is none.
///
/// # Source
/// RFC 5626 §6, §11.6.
pub(crate) fn flow_number(
    request: &Message<'_>,
    address: &NameAddr<'_>,
) -> Result<u32, StatusCode> {
    let Some(number) = address.params.find("reg-id") else {
        return Ok(0);
    };
    let number = number.parse::<u32>().ok().filter(|number| *number > 0);
    let number = number.ok_or(StatusCode(400))?;
    let wanted = request.lists(HeaderName::Supported, OUTBOUND);
    if !wanted || !address.params.has("+sip.instance") {
        return Ok(0);
    }
    if is_first_hop(request) || edge_keeps_flows(request) {
        Ok(number)
    } else {
        Err(FIRST_HOP_LACKS_OUTBOUND)
    }
}

/// Whether no proxy is between the phone and us.
fn is_first_hop(request: &Message<'_>) -> bool {
    request.values(HeaderName::Via).count() == 1
}

/// Whether the proxy that a phone came through promises to keep its flow (`ob`, RFC 5626 §5.1).
fn edge_keeps_flows(request: &Message<'_>) -> bool {
    let path = request.values(HeaderName::Path).next();
    let uri = path.and_then(|path| NameAddr::parse(path).ok());
    uri.and_then(|path| path.parse_uri().ok())
        .is_some_and(|uri| uri.params.has("ob"))
}

/// Tells a phone that its flow is kept, and how often it must show on a connection that it lives.
///
/// # Source
/// RFC 5626 §6 (`Require: outbound` in the 200), §5.4 (Flow-Timer).
pub(crate) fn put_terms(writer: &mut Writer<'_>, flow: &Flow) {
    writer.text(HeaderName::Require, OUTBOUND);
    if flow.protocol.is_reliable() {
        writer.other_header("Flow-Timer", FLOW_TIMER);
    }
}

/// Adds to a Contact of a 200 what tells the flows of one instance apart.
pub(crate) fn name_flow(contact: &Contact) -> String {
    match (&contact.instance, contact.reg_id) {
        (Some(instance), number @ 1..) => {
            format!(";+sip.instance=\"{instance}\";reg-id={number}")
        }
        _ => String::new(),
    }
}

/// A flow of a registered phone is dead: until the phone registers along it again it counts as one that
/// leads nowhere, and is tried last.
///
/// # Source
/// RFC 5626 §5.3.1
pub(crate) fn flow_failed(ctx: &Context<'_>, user: &str, uri: &str, flow: &Flow) {
    let bindings = &ctx.services.bindings;
    bindings.mark(user, Reach::Unreachable, |contact| {
        contact.reg_id > 0 && *contact.uri == *uri && network::first_hop(contact) == *flow
    });
}

/// Whether two registrations are flows of one phone.
pub(crate) fn are_of_one_phone(one: &Contact, other: &Contact) -> bool {
    let numbered = one.reg_id > 0 && other.reg_id > 0;
    numbered && one.instance.is_some() && one.instance == other.instance
}

/// The phones behind bindings: for each the flow that was registered last, then those that are tried if
/// it fails, one after the other and never two at once.
///
/// # Source
/// RFC 5626 §5.3, §6.
pub(crate) fn phones(contacts: Vec<Contact>) -> Vec<(Contact, Vec<Spare>)> {
    let mut phones: Vec<(Contact, Vec<Spare>)> = Vec::with_capacity(contacts.len());
    // The latest stand behind.
    for contact in contacts.into_iter().rev() {
        let known = phones
            .iter_mut()
            .find(|(phone, _)| are_of_one_phone(phone, &contact));
        match known {
            Some((_, spares)) => spares.push(Spare::of(contact)),
            None => phones.push((contact, Vec::new())),
        }
    }
    phones.reverse();
    phones
}

/// Another flow of a phone that is called.
#[derive(Clone, Debug)]
pub(crate) struct Spare {
    pub(crate) uri: Box<str>,
    pub(crate) flow: Flow,
    pub(crate) path: Vec<String>,
}

impl Spare {
    fn of(contact: Contact) -> Self {
        Self {
            flow: network::first_hop(&contact),
            uri: contact.uri,
            path: contact.path,
        }
    }

    /// Whether media that are meant for `local` serve this flow too.
    pub(crate) fn leaves_from(&self, local: IpAddr) -> bool {
        self.flow.local.ip() == local
    }
}

/// The status of a phone's edge whose flow to the phone is gone (RFC 5626 §11.5).
pub(crate) const FLOW_FAILED: StatusCode = StatusCode(430);

const FIRST_HOP_LACKS_OUTBOUND: StatusCode = StatusCode(439);

/// The option tag.
pub(crate) const OUTBOUND: &str = "outbound";

/// Seconds in which a phone shows on a connection that it lives.
const FLOW_TIMER: u32 = 120;
