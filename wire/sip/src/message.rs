//! Messages: one pass over the bytes makes an index, header values are typed on demand.

use memchr::memchr2;

use crate::field::{Field, Fields};
use crate::header::{CSeq, List, NameAddr, Via, comma_list};
use crate::scan::is_token_byte;
use crate::{HeaderName, Method, ParseError, StatusCode, Uri};

/// A request or response, borrowed from its bytes (RFC 3261 §7).
///
/// Parsing finds the lines and remembers where they are; nothing is copied. A message that has a
/// usable start line parses even if the rest has faults, so that a request can be refused with the
/// right status: [`check`](Self::check) tells.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    start: StartLine<'a>,
    fields: Fields<'a>,
    body: &'a [u8],
    bytes: &'a [u8],
    /// Read once: steering, transaction matching and the answer all look at it.
    via: Result<Via<'a>, ParseError>,
    /// Read once as well: it decides about the slot, the dialog, and the tag of the answer.
    to: Result<NameAddr<'a>, ParseError>,
    fault: Option<ParseError>,
}

impl<'a> Message<'a> {
    /// Parses one message at the front of `bytes`: a whole datagram, or what a stream framer cut out.
    ///
    /// Line ends before the start line are passed over (RFC 3261 §7.5). Octets behind the length that
    /// Content-Length gives are left out of the body.
    ///
    /// # Errors
    /// [`ParseError::NotSip`] if the start line is none, [`ParseError::Encoding`] if the header section
    /// is not UTF-8, [`ParseError::TooManyHeaders`] above [`MAX_FIELDS`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let before = bytes
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        let text = utf8_prefix(&bytes[before..]);
        let line = Line::at(text, 0);
        let (start, fault) = StartLine::parse(line.text)?;
        let mut message = Self {
            start,
            fields: Fields::default(),
            body: &[],
            bytes,
            via: Err(ParseError::Missing),
            to: Err(ParseError::Missing),
            fault: fault.or((!line.is_clean).then_some(ParseError::StartLine)),
        };
        match message.parse_fields(text, line.next)? {
            Some(end) => message.body = &bytes[before + end..],
            None if before + text.len() < bytes.len() => return Err(ParseError::Encoding),
            None => message.fault = Some(ParseError::Incomplete),
        }
        message.cut_body();
        message.via = message.first_via();
        if let Some(to) = message.header(HeaderName::To) {
            message.to = NameAddr::parse(to);
        }
        Ok(message)
    }

    fn first_via(&self) -> Result<Via<'a>, ParseError> {
        let first = self.values(HeaderName::Via).next();
        Via::parse(first.ok_or(ParseError::Missing)?)
    }

    /// Indexes the lines from `at` on. Yields where the body begins, if the header section ends.
    fn parse_fields(&mut self, text: &'a str, mut at: usize) -> Result<Option<usize>, ParseError> {
        loop {
            match text.as_bytes()[at..] {
                [] => return Ok(None),
                [b'\n', ..] => return Ok(Some(at + 1)),
                [b'\r', b'\n', ..] => return Ok(Some(at + 2)),
                _ => {}
            }
            let line = Line::folded(text, at);
            at = line.next;
            match Field::parse(line.text) {
                Some(field) if line.is_clean => self.fields.push(field)?,
                _ => self.fault = self.fault.or(Some(ParseError::HeaderLine)),
            }
        }
    }

    /// Whether the message is a well-formed one that may be processed (RFC 3261 §8.1.1, §16.3).
    ///
    /// # Errors
    /// The first fault found; [`ParseError::status`] tells how to refuse a request that has it.
    pub fn check(&self) -> Result<(), ParseError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        use HeaderName as N;
        for name in [N::Via, N::From, N::To, N::CallId, N::CSeq] {
            if self.header(name).is_none() {
                return Err(ParseError::Missing);
            }
            if self.fields.is_repeated(name) && name != N::Via {
                return Err(ParseError::Repeated);
            }
        }
        self.top_via()?;
        self.values(N::Via)
            .skip(1)
            .try_for_each(|via| Via::parse(via).map(drop))?;
        self.from()?;
        self.to()?;
        if self.call_id().is_empty() {
            return Err(ParseError::Missing);
        }
        let cseq = self.cseq()?;
        if let StartLine::Request { method, uri } = self.start {
            if cseq.method != method {
                return Err(ParseError::CSeq);
            }
            // Headers have no place in a Request-URI (RFC 3261 §19.1.1).
            if !Uri::parse(uri)?.headers.is_empty() {
                return Err(ParseError::Uri);
            }
            self.number(N::MaxForwards)?
                .filter(|hops| *hops > 255)
                .map_or(Ok(()), |_| Err(ParseError::Number))?;
        }
        Ok(())
    }

    /// The start line.
    #[must_use]
    pub fn start(&self) -> &StartLine<'a> {
        &self.start
    }

    /// The method, if this is a request.
    #[must_use]
    pub fn method(&self) -> Option<Method<'a>> {
        match self.start {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Response { .. } => None,
        }
    }

    /// The Request-URI's text; empty in a response.
    #[must_use]
    pub fn request_uri(&self) -> &'a str {
        match self.start {
            StartLine::Request { uri, .. } => uri,
            StartLine::Response { .. } => "",
        }
    }

    /// The status, if this is a response.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self.start {
            StartLine::Request { .. } => None,
            StartLine::Response { status, .. } => Some(status),
        }
    }

    /// The body: what Content-Length says, or all that came if it says nothing.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The body as text if its Content-Type is `content_type`, compared without case and parameters.
    #[must_use]
    pub fn body_of_type(&self, content_type: &str) -> Option<&'a str> {
        let given = self.header(HeaderName::ContentType)?;
        let given = given.split_once(';').map_or(given, |(kind, _)| kind).trim();
        if self.body.is_empty() || !given.eq_ignore_ascii_case(content_type) {
            return None;
        }
        std::str::from_utf8(self.body).ok()
    }

    /// All header fields in order.
    #[must_use]
    pub fn fields(&self) -> &[Field<'a>] {
        self.fields.as_slice()
    }

    /// The first value of a header field, white space trimmed, folds kept.
    #[must_use]
    pub fn header(&self, name: HeaderName) -> Option<&'a str> {
        self.fields.first(name).map(|field| field.value)
    }

    /// The first value of a header field that [`HeaderName`] does not know.
    #[must_use]
    pub fn other_header(&self, name: &str) -> Option<&'a str> {
        self.fields()
            .iter()
            .find(|field| field.spelling.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }

    /// Every value of a header field, one field after the other, commas split.
    pub fn values(&self, name: HeaderName) -> impl Iterator<Item = &'a str> + use<'a, '_> {
        self.fields
            .all(name)
            .flat_map(|field| -> List<'a> { comma_list(field.value) })
    }

    /// Whether a comma-separated header field of tokens (Supported, Require, Allow) names `token`.
    #[must_use]
    pub fn lists(&self, name: HeaderName, token: &str) -> bool {
        self.values(name)
            .any(|value| value.eq_ignore_ascii_case(token))
    }

    /// The topmost Via.
    ///
    /// # Errors
    /// If there is none or it is malformed.
    pub fn top_via(&self) -> Result<Via<'a>, ParseError> {
        self.via
    }

    /// From.
    ///
    /// # Errors
    /// If it is missing or malformed.
    pub fn from(&self) -> Result<NameAddr<'a>, ParseError> {
        NameAddr::parse(self.header(HeaderName::From).ok_or(ParseError::Missing)?)
    }

    /// To.
    ///
    /// # Errors
    /// If it is missing or malformed.
    pub fn to(&self) -> Result<NameAddr<'a>, ParseError> {
        self.to
    }

    /// Call-ID; empty if it is missing.
    #[must_use]
    pub fn call_id(&self) -> &'a str {
        self.header(HeaderName::CallId).unwrap_or("")
    }

    /// CSeq.
    ///
    /// # Errors
    /// If it is missing or malformed.
    pub fn cseq(&self) -> Result<CSeq<'a>, ParseError> {
        CSeq::parse(self.header(HeaderName::CSeq).ok_or(ParseError::Missing)?)
    }

    /// Contacts in order. A malformed one ends the list with its error.
    pub fn contacts(&self) -> impl Iterator<Item = Result<NameAddr<'a>, ParseError>> + use<'a, '_> {
        self.values(HeaderName::Contact).map(NameAddr::parse)
    }

    /// The number in a header field such as Expires or Max-Forwards; `None` if it is not there.
    ///
    /// # Errors
    /// If what stands there is not a number. One above 2^32−1 counts as 2^32−1.
    pub fn number(&self, name: HeaderName) -> Result<Option<u32>, ParseError> {
        self.header(name).map(parse_number).transpose()
    }

    fn cut_body(&mut self) {
        let mut length = None;
        for field in self.fields.all(HeaderName::ContentLength) {
            match parse_number(field.value) {
                Ok(number) if length.is_none_or(|known| known == number) => length = Some(number),
                _ => self.fault = self.fault.or(Some(ParseError::ContentLength)),
            }
        }
        let Some(length) = length else { return };
        match self.body.get(..length as usize) {
            Some(body) => {
                self.bytes = &self.bytes[..self.bytes.len() - (self.body.len() - body.len())];
                self.body = body;
            }
            None => self.fault = self.fault.or(Some(ParseError::ContentLength)),
        }
    }

    /// The octets that the message was parsed from, without what followed it.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// Request line or status line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartLine<'a> {
    /// `INVITE sip:bob@example.com SIP/2.0`
    Request {
        /// The method.
        method: Method<'a>,
        /// The Request-URI's text.
        uri: &'a str,
    },
    /// `SIP/2.0 200 OK`
    Response {
        /// The status.
        status: StatusCode,
        /// The reason phrase, possibly empty.
        reason: &'a str,
    },
}

impl<'a> StartLine<'a> {
    /// Parses a line; a fault that still lets a request be refused comes beside the result.
    fn parse(line: &'a str) -> Result<(Self, Option<ParseError>), ParseError> {
        if let Some(rest) = strip_version(line) {
            return Self::parse_status(rest).map(|start| (start, None));
        }
        let (method, rest) = line.split_once(' ').ok_or(ParseError::NotSip)?;
        let (uri, version) = rest.rsplit_once(' ').ok_or(ParseError::NotSip)?;
        let is_sip = version
            .get(..4)
            .is_some_and(|name| name.eq_ignore_ascii_case("SIP/"));
        if method.is_empty()
            || !method.bytes().all(is_token_byte)
            || !(is_sip || version.is_empty())
        {
            return Err(ParseError::NotSip);
        }
        let fault = if version.is_empty()
            || uri.is_empty()
            || uri
                .bytes()
                .any(|byte| matches!(byte, b' ' | b'\t' | b'<' | b'>'))
        {
            Some(ParseError::StartLine)
        } else if !version.eq_ignore_ascii_case("SIP/2.0") {
            Some(ParseError::Version)
        } else {
            None
        };
        Ok((
            Self::Request {
                method: Method::parse(method),
                uri,
            },
            fault,
        ))
    }

    fn parse_status(rest: &'a str) -> Result<Self, ParseError> {
        let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        let code = code
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| code.parse().ok())
            .flatten();
        let code = code
            .filter(|code| (100..700).contains(code))
            .ok_or(ParseError::NotSip)?;
        Ok(Self::Response {
            status: StatusCode(code),
            reason,
        })
    }
}

/// A line within a text.
struct Line<'a> {
    /// The line without its end.
    text: &'a str,
    /// Where the next one begins.
    next: usize,
    /// There is no carriage return within the line: whoever takes one for a line's end would read
    /// another message than we do.
    is_clean: bool,
}

impl<'a> Line<'a> {
    /// The line that begins at `at`.
    fn at(text: &'a str, at: usize) -> Self {
        Self::find(text, at, |_| false)
    }

    /// The line that begins at `at` with its continuation lines (RFC 3261 §7.3.1).
    fn folded(text: &'a str, at: usize) -> Self {
        Self::find(text, at, |next| matches!(next, b' ' | b'\t'))
    }

    /// A line goes on behind its end if what follows there `continues` it.
    fn find(text: &'a str, at: usize, continues: impl Fn(u8) -> bool) -> Self {
        let bytes = text.as_bytes();
        let (mut from, mut is_clean) = (at, true);
        while let Some(end) = memchr2(b'\r', b'\n', &bytes[from..]).map(|end| from + end) {
            let next = match bytes[end..] {
                [b'\n', ..] => end + 1,
                [_, b'\n', ..] => end + 2,
                _ => {
                    is_clean = false;
                    from = end + 1;
                    continue;
                }
            };
            if bytes.get(next).is_some_and(|&byte| continues(byte)) {
                from = next;
                continue;
            }
            return Self {
                text: &text[at..end],
                next,
                is_clean,
            };
        }
        Self {
            text: &text[at..],
            next: text.len(),
            is_clean,
        }
    }
}

/// Most header fields of one message.
pub const MAX_FIELDS: usize = 256;

/// The front of the octets that is text: a body need not be.
fn utf8_prefix(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_else(|error| {
        // The octets before the fault are text, as the error says.
        std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or("")
    })
}

fn strip_version(line: &str) -> Option<&str> {
    let (version, rest) = line.split_at_checked(8)?;
    version.eq_ignore_ascii_case("SIP/2.0 ").then_some(rest)
}

fn parse_number(value: &str) -> Result<u32, ParseError> {
    let digits = value
        .split_once([';', '(', ' '])
        .map_or(value, |(digits, _)| digits);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ParseError::Number);
    }
    Ok(digits.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:bob@biloxi.com SIP/2.0\r\n\
        Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK776asdhds, SIP/2.0/TCP 10.0.0.1\r\n\
        v: SIP/2.0/UDP 10.0.0.2\r\n\
        Max-Forwards: 70\r\n\
        t: Bob <sip:bob@biloxi.com>\r\n\
        From: Alice\r\n  <sip:alice@atlanta.com>;tag=1928301774\r\n\
        Call-ID: a84b4c76e66710@pc33.atlanta.com\r\n\
        CSeq: 314159 INVITE\r\n\
        Contact: <sip:alice@pc33.atlanta.com>\r\n\
        Supported: 100rel,timer\r\n\
        Content-Type: application/SDP ; x=y\r\n\
        Content-Length: 4\r\n\r\nv=0\n and more";

    /// RFC 3261 §7.1, §7.3.1.
    #[test]
    fn a_request_with_folds_compact_forms_and_lists() {
        let message = Message::parse(INVITE.as_bytes()).unwrap();
        message.check().unwrap();
        assert_eq!(message.method(), Some(Method::Invite));
        assert_eq!(message.values(HeaderName::Via).count(), 3);
        assert_eq!(message.from().unwrap().tag(), Some("1928301774"));
        assert_eq!(message.to().unwrap().display, "Bob");
        assert!(message.lists(HeaderName::Supported, "Timer"));
        assert_eq!(message.body(), b"v=0\n");
        assert_eq!(message.body_of_type("application/sdp"), Some("v=0\n"));
        assert_eq!(message.bytes().len(), INVITE.len() - 9);
        assert_eq!(message.number(HeaderName::MaxForwards), Ok(Some(70)));
    }

    /// RFC 3261 §7.5.
    #[test]
    fn line_ends_before_a_datagram_are_passed_over() {
        let bytes = format!("\r\n\n{INVITE}");
        let message = Message::parse(bytes.as_bytes()).unwrap();
        assert_eq!(message.check(), Ok(()));
        assert_eq!(message.bytes().len(), bytes.len() - 9);
    }

    #[test]
    fn the_first_empty_line_ends_the_header_section() {
        let message = Message::parse(b"SIP/2.0 200 OK\nl: 4\n\na\r\n\r\n").unwrap();
        assert_eq!(message.body(), b"a\r\n\r");
    }

    #[test]
    fn a_carriage_return_within_a_line_is_a_fault() {
        for (from, to) in [
            ("Max-Forwards: 70", "Max-Forwards: 70\rX: y"),
            ("SIP/2.0\r\nVia", "SIP/2.0\r\r\nVia"),
        ] {
            let text = INVITE.replace(from, to);
            let message = Message::parse(text.as_bytes());
            assert!(
                message.and_then(|message| message.check()).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_body_need_not_be_text_but_a_header_section_must() {
        let text = b"SIP/2.0 200 OK\r\nl: 2\r\n\r\n\xff\xfe";
        assert_eq!(Message::parse(text).unwrap().body(), b"\xff\xfe");
        let text = b"SIP/2.0 200 OK\r\nSubject: \xff\r\n\r\n";
        assert_eq!(Message::parse(text).err(), Some(ParseError::Encoding));
    }

    #[test]
    fn a_response() {
        let message = Message::parse(b"SIP/2.0 183 \r\nl: 0\r\n\r\n").unwrap();
        assert_eq!(message.status(), Some(StatusCode(183)));
        assert_eq!(message.check(), Err(ParseError::Missing));
    }

    #[test]
    fn many_fields_keep_their_order() {
        let mut text = String::from("OPTIONS sip:a@b SIP/2.0\r\n");
        for number in 0..MAX_FIELDS {
            text.push_str(&format!("X: {number}\r\n"));
        }
        let message = Message::parse(text.as_bytes()).unwrap();
        for (number, field) in message.fields().iter().enumerate() {
            assert_eq!(field.value, number.to_string());
        }
        assert_eq!(message.fields().len(), MAX_FIELDS);
        drop(message);
        text.push_str("X: one too many\r\n");
        let error = Message::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error, ParseError::TooManyHeaders);
    }

    #[test]
    fn what_is_not_sip() {
        for bytes in [
            &b""[..],
            b"\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"SIP/2.0 99 Low\r\n\r\n",
            b"\x00\x01\x02\xff",
            b"INVITE\r\n\r\n",
        ] {
            assert!(Message::parse(bytes).is_err(), "{bytes:?}");
        }
    }

    /// RFC 3261 §8.1.1, §21.4.14, §21.5.6.
    #[test]
    fn faults_are_kept_for_the_refusal() {
        let with = |from: &str, to: &str| INVITE.replace(from, to);
        for (text, fault) in [
            (
                with("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"),
                ParseError::Version,
            ),
            (
                with("Content-Length: 4", "Content-Length: 4000"),
                ParseError::ContentLength,
            ),
            (
                with("Content-Length: 4", "Content-Length: -4"),
                ParseError::ContentLength,
            ),
            (
                with("Max-Forwards: 70", "Max-Forwards 70"),
                ParseError::HeaderLine,
            ),
            (
                with("CSeq: 314159 INVITE", "CSeq: 314159 BYE"),
                ParseError::CSeq,
            ),
            (with("Call-ID: ", "X-Call-ID: "), ParseError::Missing),
            (
                with("Max-Forwards: 70", "CSeq: 314159 INVITE"),
                ParseError::Repeated,
            ),
            (
                with("sip:bob@biloxi.com SIP", "mailto:bob@biloxi.com SIP"),
                ParseError::Scheme,
            ),
            (with("\r\n\r\n", "\r\n"), ParseError::Incomplete),
        ] {
            assert_eq!(
                Message::parse(text.as_bytes()).unwrap().check(),
                Err(fault),
                "{text}"
            );
        }
    }
}
