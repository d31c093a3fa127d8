//! Dialogs (RFC 3261 §12): what both ends remember between requests.

use base::Token;

use crate::header::HeaderName;
use crate::{Flow, Message, Method, ParseError, Uri, Writer};

/// One end of a dialog: ours.
///
/// An early dialog in which we are the caller has no remote tag yet; [`establish`](Self::establish)
/// fills in what the answer brings.
#[derive(Clone, Debug)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: Box<str>,
    /// Our tag; carries the slot.
    pub local_tag: Token,
    /// The peer's tag; empty until an answer has come.
    pub remote_tag: Box<str>,
    /// Our address as it stands in our From or in the peer's To, without tag.
    pub local: Box<str>,
    /// The peer's address, likewise.
    pub remote: Box<str>,
    /// CSeq of our last request.
    pub local_cseq: u32,
    /// CSeq of the peer's last request.
    pub remote_cseq: Option<u32>,
    /// Route values in the order in which we send them.
    pub route_set: Vec<Box<str>>,
    /// The peer's Contact URI: Request-URI of what we send.
    pub remote_target: Box<str>,
    /// How we reach the peer.
    pub flow: Flow,
    /// Hops that a request of ours may take.
    pub max_forwards: u8,
}

impl Dialog {
    /// The dialog that an INVITE from a peer makes when we answer it with `tag` (RFC 3261 §12.1.1).
    ///
    /// # Errors
    /// If a header field that makes up the dialog is missing or malformed.
    pub fn of_request(request: &Message<'_>, flow: Flow, tag: Token) -> Result<Self, ParseError> {
        let (from, to) = (request.from()?, request.to()?);
        let contact = request.contacts().next().ok_or(ParseError::Missing)??;
        let _ = contact.parse_uri()?;
        Ok(Self {
            call_id: request.call_id().into(),
            local_tag: tag,
            remote_tag: from.tag().unwrap_or("").into(),
            local: without_params(to.display, to.uri),
            remote: without_params(from.display, from.uri),
            local_cseq: 0,
            remote_cseq: Some(request.cseq()?.number),
            route_set: request
                .values(HeaderName::RecordRoute)
                .map(Into::into)
                .collect(),
            remote_target: contact.uri.into(),
            flow,
            max_forwards: MAX_FORWARDS,
        })
    }

    /// A dialog that we begin: the values of our first request (RFC 3261 §8.1.1).
    #[must_use]
    pub fn begin(
        call_id: &str,
        tag: Token,
        local: &str,
        remote: &str,
        target: &str,
        flow: Flow,
    ) -> Self {
        Self {
            call_id: call_id.into(),
            local_tag: tag,
            remote_tag: Box::default(),
            local: local.into(),
            remote: remote.into(),
            local_cseq: 0,
            remote_cseq: None,
            route_set: Vec::new(),
            remote_target: target.into(),
            flow,
            max_forwards: MAX_FORWARDS,
        }
    }

    /// Takes over what an answer to our INVITE brings: tag, target, route set (RFC 3261 §12.1.2).
    ///
    /// `false`: the answer belongs to another dialog of a forked INVITE.
    pub fn establish(&mut self, response: &Message<'_>) -> bool {
        let Ok(to) = response.to() else { return false };
        let tag = to.tag().unwrap_or("");
        if self.remote_tag.is_empty() {
            self.remote_tag = tag.into();
        } else if *self.remote_tag != *tag {
            return false;
        }
        // An early answer's route set is recomputed by the final one (RFC 3261 §13.2.2.4).
        let routes: Vec<Box<str>> = response
            .values(HeaderName::RecordRoute)
            .map(Into::into)
            .collect();
        self.route_set = routes.into_iter().rev().collect();
        self.retarget(response);
        true
    }

    /// Takes over a 2xx whatever its tag: of several that a forked INVITE brings, the last one counts.
    pub fn adopt(&mut self, response: &Message<'_>) {
        if !self.establish(response) {
            self.remote_tag = Box::default();
            self.establish(response);
        }
    }

    /// Takes the Contact of a target refresh: of an INVITE, UPDATE or their 2xx (RFC 3261 §12.2).
    pub fn retarget(&mut self, message: &Message<'_>) {
        if let Some(Ok(contact)) = message.contacts().next()
            && Uri::parse(contact.uri).is_ok()
        {
            self.remote_target = contact.uri.into();
        }
    }

    /// Whether a message's Call-ID and tags are this dialog's, seen from our end.
    #[must_use]
    pub fn matches_request(&self, request: &Message<'_>) -> bool {
        let from = request
            .from()
            .ok()
            .and_then(|from| from.tag())
            .unwrap_or("");
        request.call_id() == &*self.call_id && from == &*self.remote_tag
    }

    /// Takes the CSeq of a request in the dialog. `false`: it is older than one that we have seen, so
    /// the request must be refused with 500 (RFC 3261 §12.2.2).
    pub fn advance(&mut self, cseq: u32) -> bool {
        if self.remote_cseq.is_some_and(|last| cseq < last) {
            return false;
        }
        self.remote_cseq = Some(cseq);
        true
    }

    /// Begins the next request in the dialog: start line, Via, Max-Forwards, Route, From, To, Call-ID
    /// and a fresh CSeq. `sent_by` is our address in Via.
    pub fn request<'b>(
        &mut self,
        bytes: &'b mut Vec<u8>,
        method: Method<'_>,
        sent_by: &str,
        branch: Token,
    ) -> Writer<'b> {
        self.local_cseq += 1;
        self.request_with_cseq(bytes, method, self.local_cseq, sent_by, branch)
    }

    /// Begins an ACK for the 2xx to the INVITE with this CSeq (RFC 3261 §13.2.2.4).
    pub fn ack<'b>(
        &self,
        bytes: &'b mut Vec<u8>,
        cseq: u32,
        sent_by: &str,
        branch: Token,
    ) -> Writer<'b> {
        self.request_with_cseq(bytes, Method::Ack, cseq, sent_by, branch)
    }

    fn request_with_cseq<'b>(
        &self,
        bytes: &'b mut Vec<u8>,
        method: Method<'_>,
        cseq: u32,
        sent_by: &str,
        branch: Token,
    ) -> Writer<'b> {
        let (uri, routes) = self.request_uri_and_routes();
        let mut writer = Writer::request(bytes, method, uri);
        let transport = self.flow.protocol.via_name();
        writer.header(
            HeaderName::Via,
            format_args!("SIP/2.0/{transport} {sent_by};rport;branch=z9hG4bK{branch}"),
        );
        writer.header(HeaderName::MaxForwards, self.max_forwards);
        for route in routes {
            writer.text(HeaderName::Route, &route);
        }
        writer.header(
            HeaderName::From,
            format_args!("{};tag={}", self.local, self.local_tag),
        );
        if self.remote_tag.is_empty() {
            writer.text(HeaderName::To, &self.remote);
        } else {
            writer.header(
                HeaderName::To,
                format_args!("{};tag={}", self.remote, self.remote_tag),
            );
        }
        writer.text(HeaderName::CallId, &self.call_id);
        writer.header(HeaderName::CSeq, format_args!("{cseq} {method}"));
        writer
    }

    /// Request-URI and Route values; a strict router at the front takes the Request-URI's place and
    /// the target goes to the end (RFC 3261 §12.2.1.1).
    fn request_uri_and_routes(&self) -> (&str, Vec<String>) {
        let first = self
            .route_set
            .first()
            .and_then(|route| crate::NameAddr::parse(route).ok());
        let strict = first.filter(|route| route.parse_uri().is_ok_and(|uri| !uri.params.has("lr")));
        let Some(strict) = strict else {
            return (
                &self.remote_target,
                self.route_set
                    .iter()
                    .map(|route| route.to_string())
                    .collect(),
            );
        };
        let rest = self.route_set[1..].iter().map(|route| route.to_string());
        (
            strict.uri,
            rest.chain([format!("<{}>", self.remote_target)]).collect(),
        )
    }
}

/// Hops that a request may take, if nothing else is said (RFC 3261 §8.1.1.6).
const MAX_FORWARDS: u8 = 70;

/// `"Name" <uri>`, whatever form it had.
fn without_params(display: &str, uri: &str) -> Box<str> {
    if display.is_empty() {
        format!("<{uri}>").into()
    } else {
        format!("{display} <{uri}>").into()
    }
}

#[cfg(test)]
mod tests {
    use base::{Mint, Slot};

    use super::*;
    use crate::Protocol;

    fn flow() -> Flow {
        Flow {
            protocol: Protocol::Udp,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "192.0.2.9:5060".parse().unwrap(),
            connection: None,
            tls: crate::TlsPeer::ANY,
        }
    }

    fn text(dialog: &mut Dialog, branch: Token) -> String {
        let mut bytes = Vec::new();
        dialog
            .request(&mut bytes, Method::Bye, "192.0.2.1", branch)
            .finish();
        String::from_utf8(bytes).unwrap()
    }

    /// RFC 3261 §12.1.2: the route set is the reverse of Record-Route.
    #[test]
    fn rfc3261_12_1_2_the_caller_reverses_the_route_set() {
        let mut mint = Mint::new(Slot::new(1), [0; 32]);
        let tag = mint.token();
        let mut dialog = Dialog::begin("c@h", tag, "<sip:a@h>", "<sip:b@h>", "sip:b@h", flow());
        let answer = b"SIP/2.0 200 OK\r\nTo: <sip:b@h>;tag=x\r\nContact: <sip:b@10.0.0.9:5070>\r\n\
            Record-Route: <sip:p2;lr>, <sip:p1;lr>\r\n\r\n";
        assert!(dialog.establish(&Message::parse(answer).unwrap()));
        let text = text(&mut dialog, mint.token());
        assert!(
            text.starts_with("BYE sip:b@10.0.0.9:5070 SIP/2.0\r\n"),
            "{text}"
        );
        assert!(
            text.contains("Route: <sip:p1;lr>\r\nRoute: <sip:p2;lr>\r\n"),
            "{text}"
        );
        assert!(
            text.contains(&format!(
                "From: <sip:a@h>;tag={tag}\r\nTo: <sip:b@h>;tag=x\r\n"
            )),
            "{text}"
        );
        let other = b"SIP/2.0 200 OK\r\nTo: <sip:b@h>;tag=y\r\n\r\n";
        assert!(!dialog.establish(&Message::parse(other).unwrap()));
    }

    /// RFC 3261 §12.2.1.1: strict routing.
    #[test]
    fn rfc3261_12_2_1_1_a_strict_router_takes_the_request_uri() {
        let mut mint = Mint::new(Slot::new(1), [0; 32]);
        let mut dialog = Dialog::begin(
            "c@h",
            mint.token(),
            "<sip:a@h>",
            "<sip:b@h>",
            "sip:b@t",
            flow(),
        );
        dialog.route_set = vec!["<sip:strict>".into(), "<sip:p1;lr>".into()];
        let text = text(&mut dialog, mint.token());
        assert!(text.starts_with("BYE sip:strict SIP/2.0\r\n"), "{text}");
        assert!(
            text.contains("Route: <sip:p1;lr>\r\nRoute: <sip:b@t>\r\n"),
            "{text}"
        );
    }

    #[test]
    fn rfc3261_12_2_2_old_requests_are_out_of_order() {
        let mut dialog = Dialog::begin(
            "c",
            Mint::new(Slot::new(1), [0; 32]).token(),
            "",
            "",
            "",
            flow(),
        );
        assert!(dialog.advance(5));
        assert!(dialog.advance(5));
        assert!(dialog.advance(9));
        assert!(!dialog.advance(8));
    }
}
