//! One media section of a description.

use std::net::{IpAddr, SocketAddr};

use crate::payload::{self, RtpMap};
use crate::session::{Connection, Line, Sdp, attributes, connection};

/// A media section, read on demand.
#[derive(Clone, Copy, Debug)]
pub struct Media<'s, 'a> {
    sdp: &'s Sdp<'a>,
    head: &'s Head<'a>,
    lines: &'s [Line<'a>],
}

impl<'s, 'a> Media<'s, 'a> {
    pub(crate) fn new(sdp: &'s Sdp<'a>, head: &'s Head<'a>, lines: &'s [Line<'a>]) -> Self {
        Self { sdp, head, lines }
    }

    /// The kind of media: `audio`, `video`, `image`, `message`, …
    #[must_use]
    pub fn kind(&self) -> &'a str {
        self.head.kind
    }

    /// The port; 0 for a stream that is refused or gone.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.head.port
    }

    /// The transport: `RTP/AVP`, `RTP/SAVP`, `UDP/TLS/RTP/SAVPF`, `TCP/MSRP`, …
    #[must_use]
    pub fn proto(&self) -> &'a str {
        self.head.proto
    }

    /// Whether the stream is RTP over UDP, protected or not: what a relay can carry.
    #[must_use]
    pub fn is_rtp(&self) -> bool {
        let proto = self.head.proto;
        proto.starts_with("RTP/") || proto.starts_with("UDP/TLS/RTP/")
    }

    /// Whether keys are needed for the stream (SDES or DTLS).
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.head.proto.contains("SAVP")
    }

    /// The formats, in order of preference: payload types if the stream is RTP.
    pub fn formats(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.head.formats.split_ascii_whitespace()
    }

    /// The payload types with their codecs, in order of preference. Dynamic types without an
    /// `a=rtpmap` line are left out.
    pub fn rtpmaps(&self) -> impl Iterator<Item = RtpMap<'a>> + use<'a> {
        // One pass over the lines, however many formats there are.
        let written = payload::written_rtpmaps(self.lines);
        self.formats()
            .filter_map(|format| format.parse().ok())
            .filter_map(move |payload_type: u8| {
                let mut written = written.iter();
                let said = written.find(|(written, _)| *written == payload_type);
                payload::rtpmap(payload_type, said.map(|(_, value)| *value))
            })
    }

    /// What `a=rtpmap` says of a payload type, or RFC 3551 if no line does.
    ///
    /// # Source
    /// RFC 8866 §6.6, RFC 3551 §6
    #[must_use]
    pub fn rtpmap(&self, payload_type: u8) -> Option<RtpMap<'a>> {
        let value = payload::of_payload_type(self.lines, "rtpmap", payload_type);
        payload::rtpmap(payload_type, value)
    }

    /// The parameters of a payload type.
    ///
    /// # Source
    /// RFC 8866 §6.15
    #[must_use]
    pub fn fmtp(&self, payload_type: u8) -> Option<&'a str> {
        payload::of_payload_type(self.lines, "fmtp", payload_type)
    }

    /// The lines of the section, from its `m=` line on.
    #[must_use]
    pub fn lines(&self) -> &'s [Line<'a>] {
        self.lines
    }

    /// The value of the section's first attribute `name`; empty if it has none.
    #[must_use]
    pub fn attribute(&self, name: &'static str) -> Option<&'a str> {
        attributes(self.lines, name).next()
    }

    /// The values of all of the section's attributes `name`, in order.
    pub fn attributes(&self, name: &'static str) -> impl Iterator<Item = &'a str> {
        attributes(self.lines, name)
    }

    /// The value of the attribute that holds for the section: its own, else the session's.
    #[must_use]
    pub fn inherited(&self, name: &'static str) -> Option<&'a str> {
        let session = || attributes(self.sdp.session_lines(), name).next();
        self.attribute(name).or_else(session)
    }

    /// Whether the `m=` line has this format.
    pub(crate) fn has_format(&self, format: &str) -> bool {
        self.formats().any(|own| own == format)
    }

    /// The `c=` line that holds for the section: its own, else the session's.
    #[must_use]
    pub fn connection(&self) -> Option<Connection<'a>> {
        connection(self.lines).or_else(|| self.sdp.connection())
    }

    /// The address that media goes to; nothing if it is named, missing or unreadable.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.connection()?.address()
    }

    /// Where the party receives the stream; nothing if the stream is refused, its address is not
    /// numeric, or it is on hold by the unspecified address.
    #[must_use]
    pub fn transport(&self) -> Option<Transport> {
        let address = self.address().filter(|a| !a.is_unspecified())?;
        let port = Some(self.port()).filter(|&p| p != 0)?;
        Some(Transport {
            rtp: SocketAddr::new(address, port),
            rtcp: self
                .rtcp(address)
                .unwrap_or_else(|| SocketAddr::new(address, port.checked_add(1).unwrap_or(port))),
            mux: self.mux(),
        })
    }

    /// What `a=rtcp` says: a port, perhaps with an address of its own (RFC 3605).
    fn rtcp(&self, address: IpAddr) -> Option<SocketAddr> {
        let mut fields = self.attribute("rtcp")?.split_ascii_whitespace();
        let port = fields.next()?.parse().ok().filter(|&p: &u16| p != 0)?;
        let own = fields.nth(2).and_then(|host| host.parse().ok());
        Some(SocketAddr::new(own.unwrap_or(address), port))
    }

    /// Whether the party can take RTCP on its RTP port. It does so if both sides say it.
    ///
    /// # Source
    /// RFC 5761 §5.1.1
    #[must_use]
    pub fn mux(&self) -> bool {
        self.attribute("rtcp-mux").is_some() || self.attribute("rtcp-mux-only").is_some()
    }

    /// In which directions media flows, as the party that wrote the description sees it: the
    /// section's attribute, else the session's, else both. The unspecified address takes away
    /// receiving, unless ICE or a placeholder port (9) says that addresses are yet to come.
    ///
    /// # Source
    /// RFC 8866 §6.7, RFC 3264 §8.4
    #[must_use]
    pub fn direction(&self) -> Direction {
        let said = direction(self.lines).or_else(|| direction(self.sdp.session_lines()));
        let said = said.unwrap_or_default();
        if self.is_held_by_address() {
            said.without_receiving()
        } else {
            said
        }
    }

    /// Whether `c=0.0.0.0` puts the stream on hold, as phones before RFC 3264 do.
    pub(crate) fn is_held_by_address(&self) -> bool {
        self.address().is_some_and(|a| a.is_unspecified())
            && self.port() != DISCARD_PORT
            && self.attribute("ice-ufrag").is_none()
            && attributes(self.sdp.session_lines(), "ice-ufrag")
                .next()
                .is_none()
    }

    /// The wished packet length in milliseconds.
    ///
    /// # Source
    /// RFC 8866 §6.4
    #[must_use]
    pub fn ptime(&self) -> Option<u16> {
        milliseconds(self.attribute("ptime")?)
    }

    /// The greatest packet length in milliseconds.
    ///
    /// # Source
    /// RFC 8866 §6.5
    #[must_use]
    pub fn maxptime(&self) -> Option<u16> {
        milliseconds(self.attribute("maxptime")?)
    }

    pub(crate) fn head(&self) -> &'s Head<'a> {
        self.head
    }
}

/// The port that stands for "not known yet" (RFC 8838 §4.1.1).
const DISCARD_PORT: u16 = 9;

/// Some phones write a fraction (`ptime:20.0`).
fn milliseconds(value: &str) -> Option<u16> {
    value.split('.').next()?.parse().ok()
}

fn direction(lines: &[Line<'_>]) -> Option<Direction> {
    lines
        .iter()
        .filter_map(Line::attribute)
        .find_map(|(name, _)| Direction::parse(name))
}

/// Where a party receives a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Address for RTP.
    pub rtp: SocketAddr,
    /// Address for RTCP when it is not multiplexed: `a=rtcp`, or the port after RTP's.
    pub rtcp: SocketAddr,
    /// The party can take RTCP on its RTP port; in force if the other side can too.
    pub mux: bool,
}

/// In which directions media flows, seen by the party that says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both.
    #[default]
    SendRecv,
    /// It sends only: it has put the other party on hold.
    SendOnly,
    /// It receives only.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// The direction that an attribute names.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [
            Self::SendRecv,
            Self::SendOnly,
            Self::RecvOnly,
            Self::Inactive,
        ]
        .into_iter()
        .find(|direction| direction.as_str() == name)
    }

    /// The attribute's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// The party sends.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// The party receives.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same flow seen by the other party: how a willing answerer answers.
    ///
    /// # Source
    /// RFC 3264 §6.1
    #[must_use]
    pub const fn mirrored(self) -> Self {
        match self {
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            both => both,
        }
    }

    /// The direction in which both flow: ours, as far as `limit` lets it.
    pub(crate) const fn within(self, limit: Self) -> Self {
        match (
            self.sends() && limit.sends(),
            self.receives() && limit.receives(),
        ) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    const fn without_receiving(self) -> Self {
        match self {
            Self::SendRecv | Self::SendOnly => Self::SendOnly,
            Self::RecvOnly | Self::Inactive => Self::Inactive,
        }
    }
}

/// An `m=` line in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    pub(crate) kind: &'a str,
    pub(crate) port: u16,
    /// What follows `/` in the port, for layered streams.
    pub(crate) ports: Option<&'a str>,
    pub(crate) proto: &'a str,
    pub(crate) formats: &'a str,
}

impl<'a> Head<'a> {
    /// As many as an RTP stream can have payload types.
    const MAX_FORMATS: usize = 128;

    pub(crate) fn parse(value: &'a str) -> Option<Self> {
        let (kind, rest) = field(value)?;
        let (port, rest) = field(rest)?;
        let (proto, rest) = field(rest)?;
        let formats = rest.trim_ascii();
        let (port, ports) = match port.split_once('/') {
            Some((port, ports)) => (port, Some(ports)),
            None => (port, None),
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let count = formats.split_ascii_whitespace().count();
        (digits(port) && ports.is_none_or(digits) && (1..=Self::MAX_FORMATS).contains(&count))
            .then_some(Self {
                kind,
                port: port.parse().ok()?,
                ports,
                proto,
                formats,
            })
    }
}

/// The first word of a text and what follows it.
fn field(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_ascii_start();
    let end = text.find([' ', '\t']).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_first<T>(text: &str, f: impl FnOnce(Media<'_, '_>) -> T) -> T {
        let text = format!("v=0\n{text}");
        f(Sdp::parse(&text).unwrap().media_at(0).unwrap())
    }

    fn direction_of(text: &str) -> Direction {
        with_first(text, |media| media.direction())
    }

    #[test]
    fn the_media_line_comes_apart() {
        with_first("m=video  5000/2 RTP/AVPF 96 97\n", |media| {
            assert_eq!((media.kind(), media.port()), ("video", 5000));
            assert_eq!(media.proto(), "RTP/AVPF");
            assert_eq!(media.formats().collect::<Vec<_>>(), ["96", "97"]);
            assert!(media.is_rtp() && !media.is_protected());
        });
        for bad in [
            "audio",
            "audio 1",
            "audio 1 RTP/AVP",
            "audio 70000 RTP/AVP 0",
            "audio -1 RTP/AVP 0",
            "audio +1 RTP/AVP 0",
            "audio 1/ RTP/AVP 0",
        ] {
            assert!(Head::parse(bad).is_none(), "{bad}");
        }
        let many = format!("audio 1 RTP/AVP {}", "0 ".repeat(129));
        assert!(Head::parse(&many).is_none());
    }

    /// RFC 8866 §5.7.
    #[test]
    fn the_section_s_address_goes_before_the_session_s() {
        let text = "c=IN IP4 10.0.0.1\nm=audio 4000 RTP/AVP 0\nc=IN IP6 2001:db8::5\n\
                    m=audio 4002 RTP/AVP 0\n";
        with_first(text, |media| {
            assert_eq!(media.address(), "2001:db8::5".parse().ok());
            let second = media.sdp.media_at(1).unwrap();
            assert_eq!(second.address(), Some([10, 0, 0, 1].into()));
        });
    }

    /// RFC 3605, RFC 5761 §5.1.1.
    #[test]
    fn rtcp_is_the_next_port_unless_said() {
        let rtcp = |extra: &str| {
            let text = format!("c=IN IP4 10.0.0.1\nm=audio 4000 RTP/AVP 0\n{extra}");
            with_first(&text, |media| media.transport().unwrap().rtcp.to_string())
        };
        assert_eq!(rtcp(""), "10.0.0.1:4001");
        assert_eq!(rtcp("a=rtcp:53020\n"), "10.0.0.1:53020");
        assert_eq!(
            rtcp("a=rtcp:53020 IN IP4 126.16.64.4\n"),
            "126.16.64.4:53020"
        );
        assert_eq!(
            rtcp("a=rtcp:53020 IN IP6 2001:db8::2\n"),
            "[2001:db8::2]:53020"
        );
        assert_eq!(rtcp("a=rtcp:x\n"), "10.0.0.1:4001");
    }

    #[test]
    fn there_is_no_transport_without_a_port_or_an_address() {
        for text in [
            "c=IN IP4 10.0.0.1\nm=audio 0 RTP/AVP 0\n",
            "c=IN IP4 host.example\nm=audio 4000 RTP/AVP 0\n",
            "c=IN IP4 0.0.0.0\nm=audio 4000 RTP/AVP 0\n",
            "m=audio 4000 RTP/AVP 0\n",
        ] {
            assert_eq!(with_first(text, |media| media.transport()), None);
        }
    }

    /// RFC 8866 §6.7.
    #[test]
    fn direction_is_inherited_and_overridden() {
        assert_eq!(direction_of("m=audio 1 X 0\n"), Direction::SendRecv);
        assert_eq!(
            direction_of("a=sendonly\nm=audio 1 X 0\n"),
            Direction::SendOnly
        );
        assert_eq!(
            direction_of("a=sendonly\nm=audio 1 X 0\na=inactive\n"),
            Direction::Inactive
        );
    }

    /// RFC 3264 §8.4, RFC 8838 §4.1.1.
    #[test]
    fn the_unspecified_address_is_hold_but_not_with_ice() {
        let zero = "c=IN IP4 0.0.0.0\n";
        let held = direction_of(&format!("{zero}m=audio 4000 RTP/AVP 0\n"));
        assert_eq!(held, Direction::SendOnly);
        let held = direction_of(&format!("{zero}m=audio 4000 RTP/AVP 0\na=recvonly\n"));
        assert_eq!(held, Direction::Inactive);
        let ice = direction_of(&format!("{zero}m=audio 9 RTP/SAVPF 0\n"));
        assert_eq!(ice, Direction::SendRecv);
        let ice = direction_of(&format!("{zero}m=audio 4000 RTP/AVP 0\na=ice-ufrag:abcd\n"));
        assert_eq!(ice, Direction::SendRecv);
    }

    /// RFC 8866 §6.4, §6.5.
    #[test]
    fn packet_times_are_read() {
        let times = |extra: &str| {
            let text = format!("m=audio 1 X 0\n{extra}");
            with_first(&text, |media| (media.ptime(), media.maxptime()))
        };
        assert_eq!(times("a=ptime:20\na=maxptime:150\n"), (Some(20), Some(150)));
        assert_eq!(times("a=ptime: 30.0 \n"), (Some(30), None));
        assert_eq!(times("a=ptime:x\n"), (None, None));
    }
}
