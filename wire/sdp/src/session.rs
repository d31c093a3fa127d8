//! A parsed description: its lines in order, and where each media section starts.

use std::fmt;
use std::net::IpAddr;

use memchr::{memchr, memchr_iter, memchr2};

use crate::media::{Head, Media};

/// A description as its lines, borrowed from the text it was parsed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sdp<'a> {
    lines: Vec<Line<'a>>,
    sections: Vec<Section<'a>>,
}

/// A media section: `lines[start]` is its `m=` line; it ends where the next one starts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Section<'a> {
    start: usize,
    head: Head<'a>,
}

impl<'a> Sdp<'a> {
    /// Longest description that is read, in bytes.
    pub const MAX_LENGTH: usize = 64 * 1024;
    /// Most lines in a description.
    pub const MAX_LINES: usize = 1024;
    /// Most media sections in a description.
    pub const MAX_MEDIA: usize = 32;

    /// Parses a description. Lines may end in CRLF or LF; empty lines are skipped; a line of any
    /// letter is kept. Mandatory lines other than `v=` may be missing.
    ///
    /// # Errors
    /// The text is no description, or larger than the limits above.
    ///
    /// # Source
    /// RFC 8866 §5, §9
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        if text.len() > Self::MAX_LENGTH {
            return Err(Error::TooLong);
        }
        let mut sdp = Self {
            lines: Vec::with_capacity(32),
            sections: Vec::new(),
        };
        let mut from = 0;
        let ends = memchr_iter(b'\n', text.as_bytes()).chain([text.len()]);
        for (number, end) in (1..).zip(ends) {
            let line = &text[from..end];
            let line = line.strip_suffix('\r').unwrap_or(line);
            if !line.is_empty() {
                sdp.push(Line::parse(line).ok_or(Error::Line(number))?, number)?;
            }
            from = end + 1;
        }
        match sdp.lines.first() {
            Some(Line { kind: b'v', .. }) => Ok(sdp),
            _ => Err(Error::NoVersion),
        }
    }

    /// Parses a message body.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); also if the body is not UTF-8.
    pub fn parse_bytes(body: &'a [u8]) -> Result<Self, Error> {
        Self::parse(std::str::from_utf8(body).map_err(|_| Error::NotUtf8)?)
    }

    fn push(&mut self, line: Line<'a>, number: usize) -> Result<(), Error> {
        if self.lines.len() == Self::MAX_LINES {
            return Err(Error::TooManyLines);
        }
        if line.kind == b'm' {
            if self.sections.len() == Self::MAX_MEDIA {
                return Err(Error::TooManyMedia);
            }
            self.sections.push(Section {
                start: self.lines.len(),
                head: Head::parse(line.value).ok_or(Error::Media(number))?,
            });
        }
        self.lines.push(line);
        Ok(())
    }

    /// Every line, in order.
    #[must_use]
    pub fn lines(&self) -> &[Line<'a>] {
        &self.lines
    }

    /// The lines before the first media section.
    #[must_use]
    pub fn session_lines(&self) -> &[Line<'a>] {
        &self.lines[..self.start_of(0)]
    }

    /// The media sections, in order.
    pub fn media(&self) -> impl ExactSizeIterator<Item = Media<'_, 'a>> {
        (0..self.sections.len()).map(|index| self.section(index))
    }

    /// The media section at `index`, from 0.
    #[must_use]
    pub fn media_at(&self, index: usize) -> Option<Media<'_, 'a>> {
        (index < self.sections.len()).then(|| self.section(index))
    }

    /// How many media sections there are.
    #[must_use]
    pub fn media_count(&self) -> usize {
        self.sections.len()
    }

    fn section(&self, index: usize) -> Media<'_, 'a> {
        let section = &self.sections[index];
        let lines = &self.lines[section.start..self.start_of(index + 1)];
        Media::new(self, &section.head, lines)
    }

    /// Where section `index` starts; the end of all lines if there is no such section.
    fn start_of(&self, index: usize) -> usize {
        self.sections
            .get(index)
            .map_or(self.lines.len(), |section| section.start)
    }

    /// The session's own `c=` line.
    #[must_use]
    pub fn connection(&self) -> Option<Connection<'a>> {
        connection(self.session_lines())
    }

    /// Session id and version of the `o=` line. A description that differs from the one before it
    /// has a higher version; the same version says that nothing changed.
    ///
    /// # Source
    /// RFC 8866 §5.2, RFC 3264 §8
    #[must_use]
    pub fn id_and_version(&self) -> Option<(&'a str, &'a str)> {
        let mut fields = value(self.session_lines(), b'o')?.split_ascii_whitespace();
        Some((fields.nth(1)?, fields.next()?))
    }

    /// Appends the description to `out`, each line ended by CRLF.
    pub fn encode(&self, out: &mut String) {
        for line in &self.lines {
            line.encode(out);
        }
    }
}

/// A line: a letter and a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The ASCII letter before `=`.
    pub kind: u8,
    /// What follows `=`, without the line's end.
    pub value: &'a str,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let &[kind, b'=', ref value @ ..] = text.as_bytes() else {
            return None;
        };
        let clean = memchr2(0, b'\r', value).is_none();
        (kind.is_ascii_alphabetic() && clean).then(|| Self {
            kind,
            value: &text[2..],
        })
    }

    /// Name and value of an `a=` line; the value is empty if it has none.
    #[must_use]
    pub fn attribute(&self) -> Option<(&'a str, &'a str)> {
        let (text, colon) = (self.value, memchr(b':', self.value.as_bytes()));
        (self.kind == b'a').then(|| match colon {
            Some(colon) => (text[..colon].trim_ascii(), text[colon + 1..].trim_ascii()),
            None => (text.trim_ascii(), ""),
        })
    }

    /// Appends the line and CRLF to `out`.
    pub fn encode(&self, out: &mut String) {
        out.push(char::from(self.kind));
        out.push('=');
        out.push_str(self.value);
        out.push_str("\r\n");
    }
}

/// What a `c=` line says.
///
/// # Source
/// RFC 8866 §5.7
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection<'a> {
    /// The address as written: an IPv4 or IPv6 address, perhaps with `/ttl`, or a name.
    pub host: &'a str,
}

impl<'a> Connection<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        let mut fields = value.split_ascii_whitespace();
        let network = fields.next()?;
        let family = fields.next()?;
        let known = network.eq_ignore_ascii_case("IN")
            && (family.eq_ignore_ascii_case("IP4") || family.eq_ignore_ascii_case("IP6"));
        let host = fields.next()?;
        known.then_some(Self { host })
    }

    /// The address, if it is not a name.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.host.split('/').next()?.parse().ok()
    }
}

/// Why a text is no description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The body is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// Longer than [`Sdp::MAX_LENGTH`].
    #[error("longer than {} bytes", Sdp::MAX_LENGTH)]
    TooLong,
    /// More lines than [`Sdp::MAX_LINES`].
    #[error("more than {} lines", Sdp::MAX_LINES)]
    TooManyLines,
    /// More media sections than [`Sdp::MAX_MEDIA`].
    #[error("more than {} media sections", Sdp::MAX_MEDIA)]
    TooManyMedia,
    /// The first line is not `v=`.
    #[error("no v= line at the start")]
    NoVersion,
    /// A line is not a letter, `=` and a value. Counted from 1.
    #[error("line {0} is not of the form x=value")]
    Line(usize),
    /// An `m=` line is malformed or names too many formats. Its line, counted from 1.
    #[error("line {0} is not a media line")]
    Media(usize),
}

/// The first `c=` line of some lines, if it can be read.
pub(crate) fn connection<'a>(lines: &[Line<'a>]) -> Option<Connection<'a>> {
    Connection::parse(value(lines, b'c')?)
}

/// The value of the first line with this letter.
pub(crate) fn value<'a>(lines: &[Line<'a>], kind: u8) -> Option<&'a str> {
    lines
        .iter()
        .find(|line| line.kind == kind)
        .map(|line| line.value)
}

/// The values of all attributes of this name.
pub(crate) fn attributes<'a>(
    lines: &[Line<'a>],
    name: &'static str,
) -> impl Iterator<Item = &'a str> {
    lines
        .iter()
        // Most lines are none of that name: a glance at their front settles it.
        .filter(move |line| line.kind == b'a' && line.value.trim_ascii_start().starts_with(name))
        .filter_map(Line::attribute)
        .filter(move |(found, _)| *found == name)
        .map(|(_, value)| value)
}

impl fmt::Display for Sdp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            write!(f, "{}={}\r\n", char::from(line.kind), line.value)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_order_and_text() {
        let text =
            "v=0\no=- 1 2 IN IP6 ::1\ns=ü\r\nq=what is this\n\na=x:y:z \nm=audio 0 X 1\ny=\n";
        let sdp = Sdp::parse(text).unwrap();
        assert_eq!(
            sdp.to_string(),
            "v=0\r\no=- 1 2 IN IP6 ::1\r\ns=ü\r\nq=what is this\r\na=x:y:z \r\nm=audio 0 X 1\r\ny=\r\n"
        );
        assert_eq!(sdp.session_lines().len(), 5);
        assert_eq!(sdp.session_lines()[4].attribute(), Some(("x", "y:z")));
        assert_eq!(sdp.id_and_version(), Some(("1", "2")));
    }

    /// RFC 8866 §5, §9.
    #[test]
    fn what_is_no_description_is_refused_with_its_place() {
        assert_eq!(Sdp::parse(""), Err(Error::NoVersion));
        assert_eq!(Sdp::parse("o=x\nv=0\n"), Err(Error::NoVersion));
        assert_eq!(Sdp::parse("v=0\nhello\n"), Err(Error::Line(2)));
        assert_eq!(Sdp::parse("v=0\r\n=5\r\n"), Err(Error::Line(2)));
        assert_eq!(Sdp::parse("v=0\na=x\0y\n"), Err(Error::Line(2)));
        assert_eq!(Sdp::parse("v=0\ns=-\nm=audio\n"), Err(Error::Media(3)));
        assert_eq!(Sdp::parse_bytes(b"v=0\r\ns=\xff\r\n"), Err(Error::NotUtf8));
    }

    #[test]
    fn size_is_bounded() {
        let lines = |n: usize| format!("v=0\n{}", "a=\n".repeat(n - 1));
        assert!(Sdp::parse(&lines(Sdp::MAX_LINES)).is_ok());
        assert_eq!(
            Sdp::parse(&lines(Sdp::MAX_LINES + 1)),
            Err(Error::TooManyLines)
        );
        let media = |n: usize| format!("v=0\n{}", "m=audio 0 RTP/AVP 0\n".repeat(n));
        assert!(Sdp::parse(&media(Sdp::MAX_MEDIA)).is_ok());
        assert_eq!(
            Sdp::parse(&media(Sdp::MAX_MEDIA + 1)),
            Err(Error::TooManyMedia)
        );
        let long = format!("v=0\ns={}", " ".repeat(Sdp::MAX_LENGTH));
        assert_eq!(Sdp::parse(&long), Err(Error::TooLong));
    }

    /// RFC 8866 §5.7.
    #[test]
    fn a_connection_is_an_address_or_a_name() {
        let address = |c: &str| {
            let text = format!("v=0\nc={c}\n");
            Sdp::parse(&text)
                .unwrap()
                .connection()
                .and_then(|c| c.address())
        };
        assert_eq!(address("IN IP4 10.1.2.3"), Some([10, 1, 2, 3].into()));
        assert_eq!(
            address("in ip4 224.2.1.1/127/3"),
            Some([224, 2, 1, 1].into())
        );
        assert_eq!(address("IN IP6 2001:db8::1"), "2001:db8::1".parse().ok());
        assert_eq!(address("IN IP4 phone.example.com"), None);
        assert_eq!(address("ATM NSAP 47.0091"), None);
        assert_eq!(address("IN IP4"), None);
    }
}
