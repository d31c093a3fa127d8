//! Messages cut out of a stream (TCP, TLS).

use memchr::memchr;

use crate::StatusCode;
use crate::scan::is_token_byte;

/// Takes a stream's octets as they come and yields whole messages.
///
/// After each [`push`](Self::push) call [`next_frame`](Self::next_frame) until it yields nothing.
/// Then at most one unfinished message is kept, within the [`Limits`]; how long a peer may take to
/// finish it is for the caller to say ([`is_idle`](Self::is_idle)).
///
/// ```
/// use sip::framing::{Frame, Framer, Limits};
///
/// let mut framer = Framer::new(Limits::default());
/// framer.push(b"\r\n\r\nOPTIONS sip:h SIP/2.0\r\nl: 2\r\n\r\nh");
/// assert_eq!(framer.next_frame(), Some(Frame::Ping));
/// assert_eq!(framer.next_frame(), None);
/// framer.push(b"i");
/// let whole = b"OPTIONS sip:h SIP/2.0\r\nl: 2\r\n\r\nhi";
/// assert_eq!(framer.next_frame(), Some(Frame::Message(whole)));
/// ```
///
/// # Source
/// RFC 3261 §7.5, §18.3; RFC 5626 §3.5.1, §4.4.1
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    buffer: Vec<u8>,
    /// What lies before has been yielded.
    start: usize,
    state: State,
}

/// What is at `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing, or line ends between messages.
    Between,
    /// A header section without its end; searched up to here.
    Head { searched: usize },
    /// A header section up to `head`, and a body up to `end`.
    Body { head: usize, end: usize },
    /// Something that no message can follow.
    Broken,
}

/// The largest message taken from a stream, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Start line and header section with the empty line.
    pub head: usize,
    /// Body.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 64 * 1024,
            body: 256 * 1024,
        }
    }
}

/// What a stream yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'f> {
    /// A message: start line, header section, body.
    Message(&'f [u8]),
    /// A keep-alive of two line ends: answer it with one. Single line ends, the answer to our own
    /// keep-alives, yield nothing: any octet shows that the peer lives.
    Ping,
    /// The stream cannot be read further. Answer if there is an answer, and close the connection.
    Broken {
        /// What is wrong.
        fault: FrameError,
        /// The header section if it is whole, for an answer; else empty.
        head: &'f [u8],
    },
}

/// Why a stream cannot be read further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// What begins here is no message.
    #[error("not a SIP message")]
    NotSip,
    /// The header section is longer than [`Limits::head`].
    #[error("header section too long")]
    HeadTooLong,
    /// The body is longer than [`Limits::body`].
    #[error("body too long")]
    BodyTooLong,
    /// There is no Content-Length, so nobody knows where the message ends.
    #[error("no Content-Length on a stream")]
    NoContentLength,
    /// Content-Length is no number, or stands there twice with two values.
    #[error("wrong Content-Length")]
    ContentLength,
}

impl FrameError {
    /// How a request with this fault is answered, if its header section is known.
    ///
    /// # Source
    /// RFC 3261 §18.3, §21.4.11
    #[must_use]
    pub const fn status(self) -> StatusCode {
        StatusCode(match self {
            Self::BodyTooLong => 413,
            Self::HeadTooLong => 513,
            _ => 400,
        })
    }
}

impl Framer {
    /// A framer for one connection. It allocates when octets come.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: Vec::new(),
            start: 0,
            state: State::Between,
        }
    }

    /// Takes octets. They are dropped if the stream is broken.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reclaim();
        if self.state != State::Broken {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next frame, if one is complete. After [`Frame::Broken`] there is none.
    pub fn next_frame(&mut self) -> Option<Frame<'_>> {
        if self.state == State::Between && self.skip_line_ends()? == Next::Ping {
            return Some(Frame::Ping);
        }
        if let State::Head { searched } = self.state {
            match self.end_of_head(searched) {
                Ok(state) => self.state = state?,
                Err((fault, head)) => return Some(self.broken(fault, head)),
            }
        }
        let State::Body { end, .. } = self.state else {
            return None;
        };
        if self.pending().len() < end {
            return None;
        }
        let message = self.start..self.start + end;
        self.start = message.end;
        self.state = State::Between;
        Some(Frame::Message(&self.buffer[message]))
    }

    /// Whether no message has been begun: an idle connection may stay, an unfinished message must be
    /// finished in time.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.pending()
            .iter()
            .all(|byte| matches!(byte, b'\r' | b'\n'))
    }

    /// What has come of the unfinished message; at most line ends if the framer is idle.
    #[must_use]
    pub fn unfinished(&self) -> &[u8] {
        self.pending()
    }

    fn pending(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Moves what is pending to the front, and gives memory back after a large message. Done with
    /// every [`push`](Self::push); a caller does it once more when the stream may fall silent.
    pub fn reclaim(&mut self) {
        if self.start == 0 {
            return;
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT {
            self.buffer = Vec::new();
        }
    }

    /// Between messages: passes over line ends until a message or a keep-alive begins.
    fn skip_line_ends(&mut self) -> Option<Next> {
        loop {
            let skip = match self.pending() {
                [b'\r', b'\n', b'\r', b'\n', ..] => {
                    self.start += 4;
                    return Some(Next::Ping);
                }
                [] | [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => return None,
                [b'\r', b'\n', ..] => 2,
                [b'\n', ..] => 1,
                _ => {
                    self.state = State::Head { searched: 0 };
                    return Some(Next::Message);
                }
            };
            self.start += skip;
        }
    }

    /// Searches for the empty line. Nothing searched once is searched again.
    fn end_of_head(&self, searched: usize) -> Result<Option<State>, (FrameError, usize)> {
        let pending = self.pending();
        // Between messages at least one octet was seen that is no line end.
        if !is_token_byte(pending[0]) {
            return Err((FrameError::NotSip, 0));
        }
        let (head, searched) = match find_empty_line(pending, searched) {
            Ok(head) => (Some(head), head),
            Err(searched) => (None, searched),
        };
        if head.unwrap_or(pending.len()) > self.limits.head {
            return Err((FrameError::HeadTooLong, 0));
        }
        let Some(head) = head else {
            return Ok(Some(State::Head { searched }));
        };
        let body = content_length(&pending[..head]).map_err(|fault| (fault, head))?;
        if body > self.limits.body {
            return Err((FrameError::BodyTooLong, head));
        }
        Ok(Some(State::Body {
            head,
            end: head + body,
        }))
    }

    fn broken(&mut self, fault: FrameError, head: usize) -> Frame<'_> {
        self.state = State::Broken;
        let head = self.start..self.start + head;
        self.start = self.buffer.len();
        Frame::Broken {
            fault,
            head: &self.buffer[head],
        }
    }
}

/// What begins after the line ends.
#[derive(PartialEq, Eq)]
enum Next {
    Ping,
    Message,
}

/// Memory that an idle connection may hold on to, in octets.
const KEPT: usize = 2048;

/// Where the first empty line has ended, or how far the search need not be repeated.
///
/// Lines may end in LF alone, as everywhere in this crate.
fn find_empty_line(bytes: &[u8], searched: usize) -> Result<usize, usize> {
    let mut from = searched;
    while let Some(at) = memchr(b'\n', &bytes[from..]).map(|at| from + at) {
        match bytes[at + 1..] {
            [b'\n', ..] => return Ok(at + 2),
            [b'\r', b'\n', ..] => return Ok(at + 3),
            [] | [b'\r'] => return Err(at),
            _ => from = at + 1,
        }
    }
    Err(bytes.len())
}

/// The value of Content-Length in a header section that ends in an empty line.
fn content_length(head: &[u8]) -> Result<usize, FrameError> {
    let mut found = None;
    let mut rest = head;
    while let Some(end) = memchr(b'\n', rest) {
        let (line, after) = rest.split_at(end + 1);
        rest = after;
        let Some(value) = content_length_value(line) else {
            continue;
        };
        // A folded value goes on after the line's end.
        let folds = rest
            .split_inclusive(|&byte| byte == b'\n')
            .take_while(|line| matches!(line.first(), Some(b' ' | b'\t')))
            .map(<[u8]>::len)
            .sum::<usize>();
        let length = match (value.trim_ascii(), rest[..folds].trim_ascii()) {
            (value, []) | ([], value) => parse_length(value)?,
            _ => return Err(FrameError::ContentLength),
        };
        if found.is_some_and(|known| known != length) {
            return Err(FrameError::ContentLength);
        }
        found = Some(length);
    }
    found.ok_or(FrameError::NoContentLength)
}

/// What follows the colon, if the line is a Content-Length.
fn content_length_value(line: &[u8]) -> Option<&[u8]> {
    if !matches!(line.first(), Some(b'C' | b'c' | b'L' | b'l')) {
        return None;
    }
    let colon = memchr(b':', line)?;
    let name = line[..colon].trim_ascii_end();
    let matches = name.eq_ignore_ascii_case(b"Content-Length") || name.eq_ignore_ascii_case(b"l");
    matches.then_some(&line[colon + 1..])
}

fn parse_length(digits: &[u8]) -> Result<usize, FrameError> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(FrameError::ContentLength);
    }
    let length = digits.iter().fold(0usize, |length, digit| {
        length
            .saturating_mul(10)
            .saturating_add(usize::from(digit - b'0'))
    });
    Ok(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame that outlives its framer.
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Owned {
        Message(Vec<u8>),
        Ping,
        Broken(FrameError, Vec<u8>),
    }

    fn drain(framer: &mut Framer, into: &mut Vec<Owned>) {
        while let Some(frame) = framer.next_frame() {
            into.push(match frame {
                Frame::Message(bytes) => Owned::Message(bytes.to_vec()),
                Frame::Ping => Owned::Ping,
                Frame::Broken { fault, head } => Owned::Broken(fault, head.to_vec()),
            });
        }
    }

    fn frames(limits: Limits, chunks: &[&[u8]]) -> Vec<Owned> {
        let mut framer = Framer::new(limits);
        let mut all = Vec::new();
        for chunk in chunks {
            framer.push(chunk);
            drain(&mut framer, &mut all);
        }
        all
    }

    fn one(text: &str) -> Vec<Owned> {
        frames(Limits::default(), &[text.as_bytes()])
    }

    fn broken(fault: FrameError, head: &str) -> Vec<Owned> {
        vec![Owned::Broken(fault, head.into())]
    }

    /// RFC 3261 §7.5, §18.3.
    #[test]
    fn messages_follow_each_other_with_line_ends_between() {
        let a = "A sip:a SIP/2.0\r\nContent-Length: 3\r\n\r\nabc";
        let b = "SIP/2.0 200 OK\nX: y\nl\t:\n\t 0 \n\n";
        let all = one(&format!("\r\n{a}{b}\r\n\r\n\r\n{a}\r"));
        let message = |text: &str| Owned::Message(text.into());
        assert_eq!(all, [message(a), message(b), Owned::Ping, message(a)]);
    }

    /// RFC 3261 §18.3, §21.4.11.
    #[test]
    fn every_fault_has_its_answer() {
        let head = "A sip:a SIP/2.0\r\nX: y\r\n\r\n";
        let all = one(&format!("{head}body"));
        assert_eq!(all, broken(FrameError::NoContentLength, head));
        for value in ["-1", "x", "", "1 2", "+5", "0x10", "5;a", "1\r\n 2"] {
            let head = format!("A sip:a SIP/2.0\r\nl: {value}\r\n\r\n");
            assert_eq!(
                one(&head),
                broken(FrameError::ContentLength, &head),
                "{value}"
            );
        }
        let head = "A sip:a SIP/2.0\r\nl: 1\r\nContent-length: 2\r\n\r\n";
        assert_eq!(one(head), broken(FrameError::ContentLength, head));
        let head = "A sip:a SIP/2.0\r\nl: 99999999999999999999999\r\n\r\n";
        assert_eq!(one(head), broken(FrameError::BodyTooLong, head));
        assert_eq!(one("\x16\x03\x01"), broken(FrameError::NotSip, ""));
        assert_eq!(one("\r\r\n"), broken(FrameError::NotSip, ""));
        assert_eq!(FrameError::BodyTooLong.status(), StatusCode(413));
    }

    #[test]
    fn a_head_that_never_ends_is_cut_off_at_the_limit() {
        let limits = Limits { head: 100, body: 5 };
        let line = "X: yyyyyyyy\r\n".repeat(8);
        assert!(frames(limits, &[&line.as_bytes()[..100]]).is_empty());
        let over = frames(limits, &[&line.as_bytes()[..101]]);
        assert_eq!(over, broken(FrameError::HeadTooLong, ""));
        let head = format!("{}l: 5\r\n\r\n", "a\r\n".repeat(30));
        assert_eq!(head.len(), 98);
        assert_eq!(frames(limits, &[head.as_bytes(), b"12345"]).len(), 1);
    }

    #[test]
    fn after_a_fault_nothing_is_kept() {
        let mut framer = Framer::new(Limits::default());
        framer.push(b"\0");
        assert!(matches!(framer.next_frame(), Some(Frame::Broken { .. })));
        for _ in 0..10 {
            framer.push(b"A sip:a SIP/2.0\r\nl: 0\r\n\r\n");
            assert_eq!(framer.next_frame(), None);
        }
        assert_eq!(framer.buffer.len(), 0);
    }

    #[test]
    fn memory_goes_back_after_a_large_message() {
        let mut framer = Framer::new(Limits::default());
        let body = "x".repeat(100_000);
        framer.push(format!("A sip:a SIP/2.0\r\nl: 100000\r\n\r\n{body}").as_bytes());
        assert!(!framer.is_idle());
        assert!(framer.next_frame().is_some());
        framer.push(b"\r\n");
        assert!(framer.is_idle());
        assert!(framer.buffer.capacity() <= KEPT);
    }

    #[test]
    fn a_dribbled_head_is_searched_once() {
        let head = format!("A sip:a SIP/2.0\r\n{}l: 0\r\n\r\n", "X: y\r\n".repeat(500));
        let mut framer = Framer::new(Limits::default());
        let mut searches = 0;
        for byte in head.as_bytes() {
            let before = match framer.state {
                State::Head { searched } => searched,
                _ => 0,
            };
            framer.push(&[*byte]);
            searches += framer.pending().len() - before;
            if framer.next_frame().is_some() {
                break;
            }
        }
        assert!(searches < head.len() * 5, "{searches} of {}", head.len());
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            8 => (0usize..40).prop_map(|length| {
                let body = "b\r\n\r".repeat(10);
                format!("M sip:x SIP/2.0\r\nf: <sip:a>\r\nl: {length}\r\n\r\n{}", &body[..length])
            }),
            2 => Just("\r\n".to_owned()),
            1 => Just("\r\n\r\n".to_owned()),
            1 => Just("SIP/2.0 200 OK\nContent-Length:\n  2\n\nab".to_owned()),
            1 => "[A-Z]{0,3}[\r\n :l0-9]{0,20}",
        ];
        proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn however_a_stream_is_split_its_messages_are_the_same(
            stream in stream(),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let limits = Limits { head: 120, body: 30 };
            let whole = frames(limits, &[&stream]);
            let dribbled: Vec<_> = stream.chunks(1).collect();
            prop_assert_eq!(&frames(limits, &dribbled), &whole);
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let chunks: Vec<_> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
            prop_assert_eq!(&frames(limits, &chunks), &whole);
        }
    }
}
