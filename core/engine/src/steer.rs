//! Which slot a message belongs to.
//!
//! Everything that a peer echoes to us was minted by a slot and carries its number, so most messages
//! are steered by two digits. What we did not mint is steered by a hash of a key that stays the same
//! for all messages that belong together.

use base::Slot;
use sip::{HeaderName, Message, Method, NameAddr, Params, Uri};

/// The slot of a message; `None` for a response to something that we did not send.
///
/// - A response: by the branch of its topmost Via.
/// - REGISTER: by the user that it registers, because one slot owns all bindings of a user.
/// - A request with a Route of ours: by the token in it.
/// - A request inside a dialog: by the To tag, which we minted.
/// - A request that replaces a dialog of ours: to the slot of that dialog.
/// - PUBLISH and MESSAGE outside a dialog: by the user whom they are for, so that they are handled in
///   the order in which they come.
/// - Any other request: by the Call-ID.
///
/// # Source
/// RFC 3261 §18.1.2 (a response whose Via is not ours is dropped), §12.2. RFC 3891 §3.
#[must_use]
pub fn steer(message: &Message<'_>) -> Option<Slot> {
    let Some(method) = message.method() else {
        let via = message.top_via().ok()?;
        return Slot::of_token(via.branch_token()?.as_bytes());
    };
    if method == Method::Register {
        return Some(registration(message));
    }
    if let Some(slot) = routed(message) {
        return Some(slot);
    }
    let minted = match message.to().ok().and_then(|to| to.tag()) {
        Some(tag) => Slot::of_token(tag.as_bytes()),
        None => replaced(message),
    };
    Some(minted.unwrap_or_else(|| match method {
        Method::Publish | Method::Message => addressee(message),
        _ => Slot::of_key(message.call_id().as_bytes()),
    }))
}

/// The slot that put its token into a Record-Route or Path, if that has become the first Route. The tags
/// are those of the parties then, and may look like ours if one of them is a server like us.
fn routed(message: &Message<'_>) -> Option<Slot> {
    let route = message.values(HeaderName::Route).next()?;
    let route = NameAddr::parse(route).ok()?.parse_uri().ok()?;
    Slot::of_token(route.user.as_bytes())
}

/// The slot of the dialog that a request wants to take the place of. Its `to-tag` is the tag of whoever
/// receives the request (RFC 3891 §3).
fn replaced(message: &Message<'_>) -> Option<Slot> {
    let replaces = message.header(HeaderName::Replaces)?;
    let (_, params) = replaces.split_once(';')?;
    Slot::of_token(Params(params).find("to-tag")?.as_bytes())
}

/// The slot that owns the bindings of the user called `user`, percent-escapes resolved.
#[must_use]
pub fn slot_of_user(user: &str) -> Slot {
    Slot::of_key(user.as_bytes())
}

fn addressee(message: &Message<'_>) -> Slot {
    match Uri::parse(message.request_uri()) {
        Ok(uri) if !uri.user.is_empty() => slot_of_user(&uri.user_name()),
        _ => Slot::of_key(message.request_uri().as_bytes()),
    }
}

fn registration(message: &Message<'_>) -> Slot {
    let Ok(to) = message.to() else {
        return Slot::of_key(message.call_id().as_bytes());
    };
    match to.parse_uri() {
        Ok(uri) if !uri.user.is_empty() => slot_of_user(&uri.user_name()),
        _ => Slot::of_key(to.uri.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot_of(start: &str, via: &str, to: &str, call_id: &str) -> Option<Slot> {
        let text = format!(
            "{start}\r\nVia: SIP/2.0/UDP h;branch={via}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\r\n"
        );
        steer(&Message::parse(text.as_bytes()).unwrap())
    }

    /// RFC 3261 §18.1.2.
    #[test]
    fn responses_go_where_the_request_came_from() {
        let ours = "z9hG4bKc3-0123456789abcdef";
        assert_eq!(
            slot_of("SIP/2.0 200 OK", ours, "<sip:a@b>;tag=x", "1"),
            Some(Slot::new(0xc3))
        );
        for foreign in ["z9hG4bK776asdhds", "c3-0123456789abcdef", ""] {
            assert_eq!(
                slot_of("SIP/2.0 200 OK", foreign, "<sip:a@b>;tag=x", "1"),
                None
            );
        }
    }

    #[test]
    fn requests_go_by_our_tag_or_by_call_id() {
        let bye = "BYE sip:a@b SIP/2.0";
        assert_eq!(
            slot_of(bye, "z9hG4bK1", "<sip:a@b>;tag=7f-0123456789abcdef", "1"),
            Some(Slot::new(0x7f))
        );
        let by_call_id = Some(Slot::of_key(b"1@x"));
        assert_eq!(
            slot_of(bye, "z9hG4bK1", "<sip:a@b>;tag=theirs", "1@x"),
            by_call_id
        );
        for start in ["INVITE sip:a@b SIP/2.0", "CANCEL sip:a@b SIP/2.0"] {
            assert_eq!(slot_of(start, "z9hG4bK1", "<sip:a@b>", "1@x"), by_call_id);
        }
    }

    /// RFC 3261 §16.6 step 4: what stands in our Record-Route comes back in Route.
    #[test]
    fn rfc3261_16_6_4_a_request_with_our_route_goes_to_the_slot_in_it() {
        let slot_of = |route: &str, to: &str| {
            let text = format!(
                "BYE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nTo: {to}\r\n\
                 Call-ID: 1@x\r\nRoute: {route}\r\n\r\n"
            );
            steer(&Message::parse(text.as_bytes()).unwrap())
        };
        let (ours, theirs) = ("<sip:7f-0123456789abcdef@h;lr>", "<sip:h;lr>");
        let to = "<sip:a@b>;tag=01-0123456789abcdef";
        assert_eq!(slot_of(ours, to), Some(Slot::new(0x7f)));
        assert_eq!(
            slot_of(&format!("{ours},{theirs}"), to),
            Some(Slot::new(0x7f))
        );
        assert_eq!(slot_of(&format!("{theirs},{ours}"), to), Some(Slot::new(1)));
        let by_call_id = Some(Slot::of_key(b"1@x"));
        assert_eq!(slot_of("\"", "<sip:a@b>;tag=x"), by_call_id);
    }

    /// RFC 3891 §3: the dialog that is replaced may have another Call-ID than the request.
    #[test]
    fn rfc3891_3_a_request_that_replaces_a_dialog_goes_to_its_slot() {
        let slot_of = |to: &str, replaces: &str| {
            let text = format!(
                "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nTo: {to}\r\n\
                 Call-ID: 1@x\r\nReplaces: {replaces}\r\n\r\n"
            );
            steer(&Message::parse(text.as_bytes()).unwrap())
        };
        let ours = "7@y ;from-tag=theirs;to-tag=7f-0123456789abcdef;early-only";
        assert_eq!(slot_of("<sip:a@b>", ours), Some(Slot::new(0x7f)));
        let inside = "<sip:a@b>;tag=01-0123456789abcdef";
        assert_eq!(slot_of(inside, ours), Some(Slot::new(1)));
        let by_call_id = Some(Slot::of_key(b"1@x"));
        for foreign in ["7@y;to-tag=theirs;from-tag=7f-0123456789abcdef", "7@y", ""] {
            assert_eq!(slot_of("<sip:a@b>", foreign), by_call_id, "{foreign}");
        }
    }

    #[test]
    fn messages_and_publications_go_by_whom_they_are_for() {
        for method in ["MESSAGE", "PUBLISH"] {
            let start = format!("{method} sip:al%69ce@h SIP/2.0");
            let alice = Some(slot_of_user("alice"));
            assert_eq!(slot_of(&start, "z9hG4bK1", "<sip:x@b>", "1"), alice);
            let minted = "<sip:a@b>;tag=7f-0123456789abcdef";
            let dialog = Some(Slot::new(0x7f));
            assert_eq!(slot_of(&start, "z9hG4bK1", minted, "1"), dialog);
        }
    }

    #[test]
    fn registrations_go_by_user() {
        let start = "REGISTER sip:b SIP/2.0";
        let alice = Some(slot_of_user("alice"));
        assert_eq!(slot_of(start, "z9hG4bK1", "<sip:alice@b>", "1"), alice);
        assert_eq!(
            slot_of(
                start,
                "z9hG4bK1",
                "A <sip:al%69ce@c;x=y>;tag=01-0123456789abcdef",
                "2"
            ),
            alice
        );
        assert_eq!(
            slot_of(start, "z9hG4bK1", "<sip:b>", "1"),
            Some(Slot::of_key(b"sip:b"))
        );
    }
}
