//! Writing messages.

use std::fmt::{Display, Write as _};
use std::net::{IpAddr, SocketAddr};

use crate::header::HeaderName;
use crate::{Flow, Message, Method, StatusCode, Uri};

/// Appends one message to a buffer, header by header.
///
/// ```
/// use sip::{HeaderName, Method, Writer};
/// let mut bytes = Vec::new();
/// let mut writer = Writer::request(&mut bytes, Method::Options, "sip:bob@example.com");
/// writer.header(HeaderName::MaxForwards, 70);
/// writer.finish();
/// assert!(bytes.ends_with(b"Content-Length: 0\r\n\r\n"));
/// ```
#[derive(Debug)]
#[must_use = "a message ends with `finish` or `body`"]
pub struct Writer<'b> {
    bytes: &'b mut Vec<u8>,
}

impl<'b> Writer<'b> {
    /// Begins a request. Headers that the URI has are left out, as they have no place here.
    ///
    /// # Source
    /// RFC 3261 §19.1.1
    pub fn request(bytes: &'b mut Vec<u8>, method: Method<'_>, uri: &str) -> Self {
        let mut writer = Self { bytes };
        writer
            .put(method.as_str())
            .put(" ")
            .put(Uri::without_headers(uri))
            .put(" SIP/2.0\r\n");
        writer
    }

    /// Begins a response with the usual reason phrase.
    pub fn response(bytes: &'b mut Vec<u8>, status: StatusCode) -> Self {
        Self::response_with_reason(bytes, status, status.reason())
    }

    /// Begins a response with a reason phrase of its own.
    pub fn response_with_reason(bytes: &'b mut Vec<u8>, status: StatusCode, reason: &str) -> Self {
        let mut writer = Self { bytes };
        writer
            .put("SIP/2.0 ")
            .digits(u64::from(status.0))
            .put(" ")
            .put(reason)
            .put("\r\n");
        writer
    }

    /// Begins the response to `request`, which came by `flow`: Via with `received` and `rport` (RFC
    /// 3261 §18.2.1, RFC 3581 §4), From, To with `tag` if it has none, Call-ID, CSeq.
    pub fn response_to(
        bytes: &'b mut Vec<u8>,
        request: &Message<'_>,
        flow: &Flow,
        status: StatusCode,
        tag: &str,
    ) -> Self {
        let mut writer = Self::response(bytes, status);
        writer.vias(request, flow);
        for field in request.fields() {
            match field.name {
                HeaderName::From | HeaderName::CallId | HeaderName::CSeq => {
                    writer.text(field.name, field.value);
                }
                HeaderName::To => writer.to(request, field.value, tag),
                _ => {}
            }
        }
        writer
    }

    /// Continues a message that has begun in `bytes`.
    pub(crate) fn resume(bytes: &'b mut Vec<u8>) -> Self {
        Self { bytes }
    }

    /// One header field.
    pub fn header(&mut self, name: HeaderName, value: impl Display) -> &mut Self {
        self.other_header(name.as_str(), value)
    }

    /// One header field whose value is plain text; quicker than [`header`](Self::header).
    pub fn text(&mut self, name: HeaderName, value: &str) -> &mut Self {
        self.put(name.as_str()).put(": ").put(value).put("\r\n")
    }

    /// One header field whose value is a number.
    pub fn number(&mut self, name: HeaderName, value: u64) -> &mut Self {
        self.put(name.as_str()).put(": ").digits(value).put("\r\n")
    }

    /// One header field by its spelling.
    pub fn other_header(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.put(name).put(": ").display(value).put("\r\n")
    }

    /// Copies every field called `name` from `message`.
    pub fn copy(&mut self, message: &Message<'_>, name: HeaderName) -> &mut Self {
        for field in message.fields().iter().filter(|field| field.name == name) {
            self.put(field.spelling)
                .put(": ")
                .put(field.value)
                .put("\r\n");
        }
        self
    }

    /// Ends a message without a body.
    pub fn finish(mut self) {
        self.put("Content-Length: 0\r\n\r\n");
    }

    /// Ends a message with a body.
    pub fn body(mut self, content_type: &str, body: &[u8]) {
        self.text(HeaderName::ContentType, content_type);
        self.number(HeaderName::ContentLength, body.len() as u64)
            .put("\r\n");
        self.bytes.extend_from_slice(body);
    }

    fn vias(&mut self, request: &Message<'_>, flow: &Flow) {
        let mut top = true;
        for value in request.values(HeaderName::Via) {
            self.put("Via: ");
            if std::mem::take(&mut top) {
                self.top_via(request, value, flow);
            } else {
                self.put(value);
            }
            self.put("\r\n");
        }
    }

    /// The topmost Via with what the transport adds to it.
    pub(crate) fn top_via(&mut self, request: &Message<'_>, value: &str, flow: &Flow) {
        let Ok(via) = request.top_via() else {
            self.put(value);
            return;
        };
        let wants_rport = via.params.find("rport") == Some("");
        let head = value.split_once(';').map_or(value, |(head, _)| head);
        self.put(head.trim_end());
        for (name, value) in via.params.iter() {
            match name {
                _ if name.eq_ignore_ascii_case("received") => continue,
                _ if wants_rport && name.eq_ignore_ascii_case("rport") => {
                    self.put(";rport=").digits(u64::from(flow.remote.port()));
                    continue;
                }
                _ => self.put(";").put(name),
            };
            if !value.is_empty() {
                self.put("=").put(value);
            }
        }
        if wants_rport || via.address() != Some(flow.remote.ip()) {
            self.put(";received=").address(flow.remote.ip());
        }
    }

    fn to(&mut self, request: &Message<'_>, value: &str, tag: &str) {
        self.put("To: ").put(value);
        if !tag.is_empty() && request.to().is_ok_and(|to| to.tag().is_none()) {
            self.put(";tag=").put(tag);
        }
        self.put("\r\n");
    }

    pub(crate) fn address(&mut self, address: IpAddr) -> &mut Self {
        let IpAddr::V4(address) = address else {
            return self.display(address);
        };
        let [a, b, c, d] = address.octets().map(u64::from);
        self.digits(a)
            .put(".")
            .digits(b)
            .put(".")
            .digits(c)
            .put(".")
            .digits(d)
    }

    /// Address and port as they stand in a URI or a Via.
    pub(crate) fn socket_address(&mut self, address: SocketAddr) -> &mut Self {
        match address.ip() {
            ip @ IpAddr::V4(_) => self.address(ip),
            ip @ IpAddr::V6(_) => self.put("[").address(ip).put("]"),
        };
        self.put(":").digits(u64::from(address.port()))
    }

    pub(crate) fn digits(&mut self, mut value: u64) -> &mut Self {
        let mut text = [0; 20];
        let mut at = text.len();
        loop {
            at -= 1;
            text[at] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.bytes.extend_from_slice(&text[at..]);
        self
    }

    /// 16 hexadecimal digits.
    pub(crate) fn hexadecimal(&mut self, value: u64) -> &mut Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let digit = |place: u32| HEX[(value >> (60 - 4 * place) & 15) as usize];
        self.bytes.extend((0..16).map(digit));
        self
    }

    pub(crate) fn put(&mut self, text: &str) -> &mut Self {
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    fn display(&mut self, value: impl Display) -> &mut Self {
        // Writing to a vector does not fail.
        let _ = write!(Text(self.bytes), "{value}");
        self
    }
}

/// Lets formatted text go straight into the buffer.
struct Text<'b>(&'b mut Vec<u8>);

impl std::fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Where the response to a request that came by `flow` goes: back along the connection, or for a
/// datagram to the source address, at the source port if the client asked for that and at the port
/// of sent-by if not (RFC 3261 §18.2.2, RFC 3581 §4).
#[must_use]
pub fn response_flow(request: &Message<'_>, flow: Flow) -> Flow {
    let Ok(via) = request.top_via() else {
        return flow;
    };
    if flow.protocol.is_reliable() || via.params.has("rport") {
        return flow;
    }
    let mut back = flow;
    back.remote.set_port(via.port.unwrap_or(5060));
    back
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Protocol;

    fn flow() -> Flow {
        Flow {
            protocol: Protocol::Udp,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "198.51.100.7:40000".parse().unwrap(),
            connection: None,
            tls: crate::TlsPeer::ANY,
        }
    }

    fn answer(via: &str) -> (String, Flow) {
        let request = format!(
            "OPTIONS sip:a@b SIP/2.0\r\nVia: {via}\r\nVia: SIP/2.0/UDP second\r\nf: <sip:c@d>;tag=1\r\n\
             t: <sip:a@b>\r\ni: 1@d\r\nCSeq: 1 OPTIONS\r\n\r\n"
        );
        let request = Message::parse(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        Writer::response_to(&mut bytes, &request, &flow(), StatusCode(200), "ours").finish();
        (
            String::from_utf8(bytes).unwrap(),
            response_flow(&request, flow()),
        )
    }

    /// RFC 3581 §4.
    #[test]
    fn rfc3581_4_rport_is_filled_in() {
        let (text, back) = answer("SIP/2.0/UDP 10.1.1.1:4540;rport;branch=z9hG4bKkjshdyff");
        assert!(text.contains(
            "Via: SIP/2.0/UDP 10.1.1.1:4540;rport=40000;branch=z9hG4bKkjshdyff;received=198.51.100.7\r\n\
             Via: SIP/2.0/UDP second\r\nFrom: <sip:c@d>;tag=1\r\nTo: <sip:a@b>;tag=ours\r\n"
        ));
        assert_eq!(back, flow());
    }

    /// RFC 3261 §18.2.2.
    #[test]
    fn rfc3261_18_2_2_without_rport_the_answer_goes_to_the_port_of_sent_by() {
        let (text, back) = answer("SIP/2.0/UDP 198.51.100.7:4540;branch=z9hG4bK1;received=1.2.3.4");
        assert!(text.contains("Via: SIP/2.0/UDP 198.51.100.7:4540;branch=z9hG4bK1\r\n"));
        assert_eq!(back.remote.port(), 4540);
    }
}
