//! The copy of a request or response that is sent on.

use base::Token;

use super::check::MAX_BREADTH;
use super::copy::Copy;
use super::route::is_loose;
use super::{Env, Policy, Record, Routing, Target};
use crate::header::HeaderName;
use crate::{Flow, Message, NameAddr, ServerKey, Transmit, Writer};

/// One copy of a request.
#[derive(Debug)]
pub(super) struct Forward<'m, 'a> {
    pub(super) request: &'m Message<'a>,
    /// How the request came.
    pub(super) source: &'m Flow,
    pub(super) routing: &'m Routing<'a>,
    pub(super) target: &'m Target,
    pub(super) branch: Token,
    /// Finds loops; none for a copy that is not followed by an answer.
    pub(super) mark: Option<u64>,
    /// Max-Breadth of this copy.
    pub(super) breadth: Option<u32>,
}

impl Forward<'_, '_> {
    /// Writes the copy: our own header fields first, then those of the request in their order.
    ///
    /// # Source
    /// RFC 3261 §16.6 steps 1 to 8 and 11.
    pub(super) fn write<P: Policy>(&self, policy: &P, bytes: &mut Vec<u8>) {
        let method = self.request.method().unwrap_or(crate::Method::Ack);
        let strict = self.strict_route();
        let mut writer = Writer::request(bytes, method, strict.unwrap_or(&self.target.uri));
        self.put_via(policy, &mut writer);
        self.put_record(policy, &mut writer);
        self.put_routes(strict.is_some(), &mut writer);
        self.put_missing(&mut writer);
        policy.add(self.target, &mut writer);
        self.copy_fields(policy, strict.is_some(), bytes);
    }

    /// The URI of the next route, if that is a strict router, which wants it as Request-URI.
    fn strict_route(&self) -> Option<&str> {
        let next = self.target.routes.first().map(|route| &**route);
        let next = next.or(self.routing.next)?;
        if is_loose(next) {
            return None;
        }
        NameAddr::parse(next).ok().map(|route| route.uri)
    }

    fn put_via<P: Policy>(&self, policy: &P, writer: &mut Writer<'_>) {
        let flow = &self.target.flow;
        writer.put("Via: SIP/2.0/").put(flow.protocol.via_name());
        writer.put(" ").socket_address(policy.address(flow));
        writer
            .put(";rport;branch=z9hG4bK")
            .put(self.branch.as_str());
        if let Some(mark) = self.mark {
            writer.put(".").hexadecimal(mark);
        }
        writer.put("\r\n");
    }

    fn put_record<P: Policy>(&self, policy: &P, writer: &mut Writer<'_>) {
        let (name, token) = match policy.record() {
            Record::No => return,
            Record::Route(token) => (HeaderName::RecordRoute, token),
            Record::Path(token) => (HeaderName::Path, token),
        };
        let (from, to) = (self.source, &self.target.flow);
        let (here, there) = (policy.address(from), policy.address(to));
        // Whoever is reached in another way than its peer must find both (RFC 5658 §5). The entry for
        // the side that the copy goes to is the topmost, so each side meets its own first.
        let mut put = |flow: &Flow, address| {
            writer.put(name.as_str()).put(": <");
            put_own_uri(flow, address, token, self.is_secure(), writer);
            writer.put(">\r\n");
        };
        if (from.protocol, here) != (to.protocol, there) {
            put(to, there);
        }
        put(from, here);
    }

    /// A sips: target wants sips: entries all the way (RFC 3261 §16.6 step 4).
    fn is_secure(&self) -> bool {
        let scheme = self.target.uri.get(..5);
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("sips:"))
    }

    /// Route values of the target; all of them if a strict router comes next, since the Request-URI
    /// then goes to their end.
    fn put_routes(&self, strict: bool, writer: &mut Writer<'_>) {
        let own = self.target.routes.iter().map(|route| &**route);
        if !strict {
            for route in own {
                writer.text(HeaderName::Route, route);
            }
            return;
        }
        for route in own.chain(self.routing.rest(self.request)).skip(1) {
            writer.text(HeaderName::Route, route);
        }
        writer.put("Route: <").put(&self.target.uri).put(">\r\n");
    }

    /// What every forwarded request has, even if the request did not.
    fn put_missing(&self, writer: &mut Writer<'_>) {
        if self.request.header(HeaderName::MaxForwards).is_none() {
            writer.text(HeaderName::MaxForwards, "70");
        }
        if let Some(breadth) = self.breadth {
            writer.put(MAX_BREADTH).put(": ");
            writer.digits(u64::from(breadth)).put("\r\n");
        }
        put_content_length(self.request, writer);
    }

    fn copy_fields<P: Policy>(&self, policy: &P, strict: bool, bytes: &mut Vec<u8>) {
        let mut copy = Copy::new(self.request);
        let mut top = true;
        let mut route = 0;
        let kept = self.routing.rest(self.request).count() + self.routing.skip;
        for (index, field) in self.request.fields().iter().enumerate() {
            match field.name {
                HeaderName::Via if top => {
                    copy.replace(index, bytes);
                    top = !self.put_previous_via(field.value, bytes);
                }
                HeaderName::MaxForwards => {
                    copy.replace(index, bytes);
                    let hops = self.request.number(HeaderName::MaxForwards);
                    let hops = hops.ok().flatten().unwrap_or(70);
                    Writer::resume(bytes)
                        .number(HeaderName::MaxForwards, u64::from(hops.saturating_sub(1)));
                }
                HeaderName::Route => {
                    let first = route;
                    route += crate::header::comma_list(field.value).count();
                    let stays = if strict {
                        0..0
                    } else {
                        self.routing.skip..kept
                    };
                    if stays.start <= first && route <= stays.end {
                        continue;
                    }
                    copy.replace(index, bytes);
                    put_some(field.value, first, &stays, bytes);
                }
                HeaderName::Other
                    if self.breadth.is_some()
                        && field.spelling.eq_ignore_ascii_case(MAX_BREADTH) =>
                {
                    copy.replace(index, bytes);
                }
                _ if !policy.keeps(field) => copy.replace(index, bytes),
                _ => {}
            }
        }
        copy.finish(bytes);
    }

    /// The Via of the previous hop, with what the receiving transport adds (RFC 3261 §18.2.1); `false`:
    /// there is none in this field.
    fn put_previous_via(&self, value: &str, bytes: &mut Vec<u8>) -> bool {
        let Some((first, rest)) = split_first(value) else {
            return false;
        };
        let mut writer = Writer::resume(bytes);
        writer.put("Via: ");
        writer.top_via(self.request, first, self.source);
        if !rest.is_empty() {
            writer.put(", ").put(rest);
        }
        writer.put("\r\n");
        true
    }
}

/// The values of a list whose numbers, counted from `first`, are in `stays`.
fn put_some(value: &str, first: usize, stays: &std::ops::Range<usize>, bytes: &mut Vec<u8>) {
    let values = crate::header::comma_list(value).zip(first..);
    let mut writer = Writer::resume(bytes);
    for (value, _) in values.filter(|(_, number)| stays.contains(number)) {
        writer.text(HeaderName::Route, value);
    }
}

/// The first value of a list that is not empty, and what follows.
fn split_first(value: &str) -> Option<(&str, &str)> {
    let mut rest = value;
    while !rest.is_empty() {
        let (first, after) = crate::scan::split_outside(rest, b',').unwrap_or((rest, ""));
        match first.trim_ascii() {
            "" => rest = after,
            first => return Some((first, after.trim_ascii())),
        }
    }
    None
}

fn put_own_uri(
    flow: &Flow,
    address: std::net::SocketAddr,
    token: Token,
    secure: bool,
    writer: &mut Writer<'_>,
) {
    writer.put(if secure { "sips:" } else { "sip:" });
    writer.put(token.as_str()).put("@").socket_address(address);
    match flow.protocol {
        crate::Protocol::Udp | crate::Protocol::Local => {}
        crate::Protocol::Tls if secure => {}
        named => {
            writer.put(";transport=").put(named.name());
        }
    }
    writer.put(";lr");
}

/// A stream needs the length, which a datagram may leave out (RFC 3261 §16.6 step 11, §18.3).
fn put_content_length(message: &Message<'_>, writer: &mut Writer<'_>) {
    if message.header(HeaderName::ContentLength).is_none() {
        writer.number(HeaderName::ContentLength, message.body().len() as u64);
    }
}

/// Writes a response without its topmost Via, which was ours, with further header lines, and with
/// another tag in To if one is given. `false`: there is no other Via, so the response was for us (RFC
/// 3261 §16.7 step 3).
pub(super) fn write_response(
    response: &Message<'_>,
    lines: &[Box<str>],
    tag: Option<Token>,
    bytes: &mut Vec<u8>,
) -> bool {
    if response.values(HeaderName::Via).nth(1).is_none() {
        return false;
    }
    let mut copy = Copy::from_start(response, bytes);
    let mut writer = Writer::resume(bytes);
    for line in lines {
        writer.put(line);
    }
    put_content_length(response, &mut writer);
    let mut top = true;
    for (index, field) in response.fields().iter().enumerate() {
        match (field.name, tag) {
            (HeaderName::Via, _) if top => {
                copy.replace(index, bytes);
                let Some((_, rest)) = split_first(field.value) else {
                    continue;
                };
                top = false;
                if !rest.is_empty() {
                    Writer::resume(bytes).text(HeaderName::Via, rest);
                }
                if tag.is_none() {
                    break;
                }
            }
            (HeaderName::To, Some(tag)) => {
                copy.replace(index, bytes);
                put_retagged(field.value, tag, &mut Writer::resume(bytes));
            }
            _ => {}
        }
    }
    copy.finish(bytes);
    true
}

/// To with another tag.
fn put_retagged(value: &str, tag: Token, writer: &mut Writer<'_>) {
    let Ok(address) = NameAddr::parse(value) else {
        writer.text(HeaderName::To, value);
        return;
    };
    let head = value.len() - address.params.0.len();
    let head = value[..head].trim_ascii_end().trim_end_matches(';');
    writer.put("To: ").put(head);
    for (name, value) in address.params.iter() {
        if name.eq_ignore_ascii_case("tag") {
            continue;
        }
        writer.put(";").put(name);
        if !value.is_empty() {
            writer.put("=").put(value);
        }
    }
    writer.put(";tag=").put(tag.as_str()).put("\r\n");
}

/// Forwards a request without keeping anything: the ACK of a 2xx, which nobody answers. A repetition
/// goes out as the same message.
///
/// # Source
/// RFC 3261 §16.11, §16.6; RFC 6026 §8.
pub fn forward_stateless<P: Policy>(
    env: &mut Env<'_, P>,
    source: &Flow,
    request: &Message<'_>,
    routing: &Routing<'_>,
    target: &Target,
) {
    let branch = env.transactions.stateless_tag(env.mint.slot(), request);
    let forward = Forward {
        request,
        source,
        routing,
        target,
        branch,
        mark: None,
        breadth: None,
    };
    env.scratch.clear();
    forward.write(env.policy, env.scratch);
    env.out.transmit(target.flow, env.scratch);
}

/// Passes on a 2xx to an INVITE whose context has ended: a repetition of it, for which the callee waits
/// for an ACK.
///
/// # Source
/// RFC 3261 §16.7 step 5, RFC 6026 §7.1.
pub fn relay_late<P: Policy>(env: &mut Env<'_, P>, server: ServerKey, response: &Message<'_>) {
    if !response.status().is_some_and(crate::StatusCode::is_success) {
        return;
    }
    env.scratch.clear();
    if write_response(response, &[], None, env.scratch) {
        env.transactions
            .relay_success(env.now, server, env.scratch, env.out);
    }
}
