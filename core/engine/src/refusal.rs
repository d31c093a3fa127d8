//! Answers to malformed requests, made without any state.

use std::hash::{DefaultHasher, Hash, Hasher};

use sip::{Flow, HeaderName, Message, Method, StatusCode, Writer, response_flow};

/// Appends the refusal of `request` with `status` to `bytes` and tells where to send it; `None` if
/// nothing may be answered: a response, an ACK, or a request whose topmost Via makes no sense.
///
/// The tag is the same for every retransmission and is none that a slot mints.
///
/// # Source
/// RFC 3261 §8.2.6, §8.2.7.
#[must_use]
pub fn refuse(
    bytes: &mut Vec<u8>,
    request: &Message<'_>,
    flow: Flow,
    status: StatusCode,
) -> Option<Flow> {
    if !may_be_answered(request) {
        return None;
    }
    Writer::response_to(bytes, request, &flow, status, &tag(request)).finish();
    Some(response_flow(request, flow))
}

/// Like [`refuse`], for whoever sends too much.
///
/// # Source
/// RFC 3261 §21.5.4.
pub(crate) fn refuse_busy(bytes: &mut Vec<u8>, request: &Message<'_>, flow: Flow) -> Option<Flow> {
    if !may_be_answered(request) {
        return None;
    }
    let mut writer = Writer::response_to(bytes, request, &flow, UNAVAILABLE, &tag(request));
    writer.number(HeaderName::RetryAfter, RETRY_AFTER);
    writer.finish();
    Some(response_flow(request, flow))
}

fn may_be_answered(request: &Message<'_>) -> bool {
    let method = request.method();
    method.is_some_and(|method| method != Method::Ack) && request.top_via().is_ok()
}

const UNAVAILABLE: StatusCode = StatusCode(503);

/// Seconds.
const RETRY_AFTER: u64 = 5;

fn tag(request: &Message<'_>) -> String {
    let mut hasher = DefaultHasher::new();
    request.call_id().hash(&mut hasher);
    request.header(HeaderName::Via).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use sip::Protocol;

    use super::*;

    fn answer(text: &str) -> Option<String> {
        let flow = Flow {
            protocol: Protocol::Udp,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "198.51.100.7:40000".parse().unwrap(),
            connection: None,
            tls: sip::TlsPeer::ANY,
        };
        let mut bytes = Vec::new();
        let message = Message::parse(text.as_bytes()).unwrap();
        let status = message.check().unwrap_err().status();
        refuse(&mut bytes, &message, flow, status)?;
        Some(String::from_utf8(bytes).unwrap())
    }

    /// RFC 3261 §8.2.6.
    #[test]
    fn a_malformed_request_is_refused_with_the_status_of_its_fault() {
        let text = answer(
            "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;rport\r\nTo: <sip:a@b>\r\n\
             From: <sip:c@d>;tag=1\r\nCall-ID: 1\r\nCSeq: 1 BYE\r\n\r\n",
        )
        .unwrap();
        assert!(text.starts_with("SIP/2.0 400 "));
        assert!(text.contains("\r\nTo: <sip:a@b>;tag="));
    }

    /// RFC 3261 §8.2.7.
    #[test]
    fn nothing_answers_an_ack_a_response_or_a_broken_via() {
        for text in [
            "ACK sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n\r\n",
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h\r\n\r\n",
            "OPTIONS sip:a@b SIP/2.0\r\nVia: nonsense\r\n\r\n",
        ] {
            assert_eq!(answer(text), None, "{text}");
        }
    }
}
