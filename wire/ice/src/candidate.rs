//! Candidates: addresses by which an agent may be reached, and the values of `a=candidate`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::{FromStr, SplitAsciiWhitespace};

use crate::stun::integrity::crc32;

/// An address by which an agent may be reached.
///
/// ```
/// use ice::Candidate;
/// let line = "1 1 UDP 2130706431 192.0.2.1 5000 typ host";
/// let candidate = Candidate::parse(line)?;
/// assert_eq!(candidate.socket_address(), Some("192.0.2.1:5000".parse()?));
/// assert_eq!(candidate.to_string(), line);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The same for candidates that probably share their fate; 1 to 32 characters.
    pub foundation: String,
    /// 1 is RTP, or RTP and RTCP together; 2 is RTCP.
    pub component: u16,
    /// What carries the media.
    pub transport: Transport,
    /// The larger, the better.
    pub priority: u32,
    /// Where to send.
    pub address: Address,
    /// The port there.
    pub port: u16,
    /// How the address was learnt.
    pub kind: Kind,
    /// Of a candidate that was learnt from a server or peer: the address that it belongs to. An agent
    /// that hides it says `0.0.0.0` or `::`.
    pub related: Option<SocketAddr>,
    /// Of which session of ICE it is, if the peer says so.
    pub ufrag: Option<String>,
}

/// What carries media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Streams (RFC 6544), or something unknown: never used here.
    Other,
}

/// Where a candidate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address.
    Ip(IpAddr),
    /// A name, such as those of multicast DNS behind which browsers hide private addresses. We look none
    /// up: such a peer is found by the checks that it sends.
    Name(String),
}

/// How a candidate was learnt.
///
/// # Source
/// RFC 8445 §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// From an interface.
    Host,
    /// From a STUN server.
    ServerReflexive,
    /// From a check of the peer, or its answer.
    PeerReflexive,
    /// From a TURN server, which relays.
    Relayed,
}

/// The value of `a=candidate` can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something is missing.
    #[error("a candidate has no {0}")]
    Missing(&'static str),
    /// Something has not its form.
    #[error("a candidate's {0} is malformed")]
    Malformed(&'static str),
}

impl Kind {
    /// Type preferences as recommended.
    ///
    /// # Source
    /// RFC 8445 §5.1.2.2.
    const fn preference(self) -> u32 {
        match self {
            Self::Host => 126,
            Self::PeerReflexive => 110,
            Self::ServerReflexive => 100,
            Self::Relayed => 0,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relayed => "relay",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let all = [
            Self::Host,
            Self::ServerReflexive,
            Self::PeerReflexive,
            Self::Relayed,
        ];
        all.into_iter().find(|kind| kind.name() == name)
    }
}

impl Candidate {
    /// A candidate of ours for component 1. `preference` orders those of the same kind: the larger, the
    /// better.
    ///
    /// # Source
    /// RFC 8445 §5.1.1.3, §5.1.2.1.
    #[must_use]
    pub fn new(kind: Kind, address: SocketAddr, base: SocketAddr, preference: u16) -> Self {
        Self {
            foundation: foundation(kind, base.ip()),
            component: 1,
            transport: Transport::Udp,
            priority: priority(kind, preference),
            address: Address::Ip(address.ip()),
            port: address.port(),
            kind,
            related: (kind != Kind::Host).then_some(base),
            ufrag: None,
        }
    }

    /// A candidate of ours that is an address of this machine.
    #[must_use]
    pub fn host(address: SocketAddr, preference: u16) -> Self {
        Self::new(Kind::Host, address, address, preference)
    }

    /// The same for another component, 1 to 256: the address and port are to be those of it.
    ///
    /// # Source
    /// RFC 8445 §5.1.2.1.
    #[must_use]
    pub fn for_component(mut self, component: u16) -> Self {
        let least = 256_u32.saturating_sub(u32::from(component));
        self.priority = self.priority & !0xff | least;
        self.component = component;
        self
    }

    /// Reads the value of `a=candidate`, with or without the word `candidate:` in front.
    ///
    /// # Errors
    /// If it is malformed. Extensions that are unknown are passed over.
    ///
    /// # Source
    /// RFC 8839 §5.1, RFC 8838 §4.3.
    pub fn parse(value: &str) -> Result<Self, Error> {
        let value = value.trim();
        let mut words = value
            .strip_prefix("candidate:")
            .unwrap_or(value)
            .split_ascii_whitespace();
        let foundation = words.next().ok_or(Error::Missing("foundation"))?;
        if foundation.len() > 32 || !foundation.bytes().all(is_ice_char) {
            return Err(Error::Malformed("foundation"));
        }
        let mut candidate = Self {
            foundation: foundation.to_owned(),
            component: number(&mut words, "component")?,
            transport: transport(words.next().ok_or(Error::Missing("transport"))?),
            priority: number(&mut words, "priority")?,
            address: Address::parse(words.next().ok_or(Error::Missing("address"))?)?,
            port: number(&mut words, "port")?,
            kind: kind(&mut words)?,
            related: None,
            ufrag: None,
        };
        if !(1..=256).contains(&candidate.component) {
            return Err(Error::Malformed("component"));
        }
        candidate.extensions(words);
        Ok(candidate)
    }

    /// Where to send, if that is an address.
    #[must_use]
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match self.address {
            Address::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            Address::Name(_) => None,
        }
    }

    fn extensions(&mut self, mut words: SplitAsciiWhitespace<'_>) {
        let mut related = None;
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            match name {
                "raddr" => related = value.parse::<IpAddr>().ok(),
                "rport" => {
                    let port = value.parse().ok();
                    self.related = related
                        .zip(port)
                        .map(|(ip, port)| SocketAddr::new(ip, port));
                }
                "ufrag" if value.len() <= 256 && value.bytes().all(is_ice_char) => {
                    self.ufrag = Some(value.to_owned());
                }
                _ => {}
            }
        }
    }
}

impl fmt::Display for Candidate {
    /// Writes the value of `a=candidate`.
    ///
    /// # Source
    /// RFC 8839 §5.1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Udp => "UDP",
            Transport::Other => "TCP",
        };
        let (foundation, component, priority) = (&self.foundation, self.component, self.priority);
        write!(f, "{foundation} {component} {transport} {priority} ")?;
        match &self.address {
            Address::Ip(ip) => write!(f, "{ip}")?,
            Address::Name(name) => f.write_str(name)?,
        }
        write!(f, " {} typ {}", self.port, self.kind.name())?;
        if let Some(related) = self.related {
            write!(f, " raddr {} rport {}", related.ip(), related.port())?;
        }
        match &self.ufrag {
            Some(ufrag) => write!(f, " ufrag {ufrag}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Candidate {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self, Error> {
        Self::parse(value)
    }
}

impl Address {
    fn parse(word: &str) -> Result<Self, Error> {
        if let Ok(ip) = word.parse() {
            return Ok(Self::Ip(ip));
        }
        let is_name = word.len() <= 255
            && word
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        let name = is_name.then(|| Self::Name(word.to_owned()));
        name.ok_or(Error::Malformed("address"))
    }
}

/// The priority of a candidate for component 1.
///
/// # Source
/// RFC 8445 §5.1.2.1.
#[must_use]
pub const fn priority(kind: Kind, preference: u16) -> u32 {
    kind.preference() << 24 | (preference as u32) << 8 | 255
}

/// The same for all candidates of a kind with the same base.
fn foundation(kind: Kind, base: IpAddr) -> String {
    let octets = match base {
        IpAddr::V4(ip) => crc32(&[kind.name().as_bytes(), &ip.octets()]),
        IpAddr::V6(ip) => crc32(&[kind.name().as_bytes(), &ip.octets()]),
    };
    octets.to_string()
}

fn transport(word: &str) -> Transport {
    if word.eq_ignore_ascii_case("udp") {
        Transport::Udp
    } else {
        Transport::Other
    }
}

fn kind(words: &mut SplitAsciiWhitespace<'_>) -> Result<Kind, Error> {
    if words.next() != Some("typ") {
        return Err(Error::Missing("type"));
    }
    let name = words.next().ok_or(Error::Missing("type"))?;
    Kind::parse(name).ok_or(Error::Malformed("type"))
}

fn number<T: FromStr>(
    words: &mut SplitAsciiWhitespace<'_>,
    what: &'static str,
) -> Result<T, Error> {
    let word = words.next().ok_or(Error::Missing(what))?;
    word.parse().map_err(|_| Error::Malformed(what))
}

/// Letters, digits, `+` and `/` (RFC 8839 §5.1).
pub(crate) const fn is_ice_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8839_5_1_what_chromium_writes_is_read() {
        let line = "candidate:842163049 1 udp 1677729535 198.51.100.7 46154 typ srflx raddr 0.0.0.0 \
                    rport 0 generation 0 ufrag Fv3d network-cost 999";
        let candidate = Candidate::parse(line).unwrap();
        assert_eq!(candidate.kind, Kind::ServerReflexive);
        assert_eq!(candidate.related, Some("0.0.0.0:0".parse().unwrap()));
        assert_eq!(candidate.ufrag.as_deref(), Some("Fv3d"));
        assert_eq!(Candidate::parse(&candidate.to_string()), Ok(candidate));
    }

    #[test]
    fn rfc8839_5_4_a_username_fragment_has_no_other_characters() {
        for strange in ["\u{b}", "a\0", "a:b"] {
            let line = format!("1 1 udp 1 192.0.2.1 9 typ host ufrag {strange}");
            assert_eq!(Candidate::parse(&line).unwrap().ufrag, None, "{strange:?}");
        }
    }

    #[test]
    fn a_name_of_multicast_dns_is_no_address_but_no_error() {
        let line = "1 1 udp 2113937151 3f0a1e4e-66c0-4b5e-9d6c-9e2f6f1d1a11.local 57000 typ host";
        let candidate = Candidate::parse(line).unwrap();
        assert_eq!(candidate.socket_address(), None);
        assert_eq!(Candidate::parse(&candidate.to_string()), Ok(candidate));
    }

    #[test]
    fn tcp_is_known_for_what_it_is() {
        let line = "1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active";
        assert_eq!(Candidate::parse(line).unwrap().transport, Transport::Other);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for (line, error) in [
            ("", Error::Missing("foundation")),
            ("1", Error::Missing("component")),
            (
                "1 0 udp 1 192.0.2.1 9 typ host",
                Error::Malformed("component"),
            ),
            (
                "1 1 udp 1 192.0.2.1 65536 typ host",
                Error::Malformed("port"),
            ),
            (
                "1 1 udp 4294967296 192.0.2.1 9 typ host",
                Error::Malformed("priority"),
            ),
            ("1 1 udp 1 <script> 9 typ host", Error::Malformed("address")),
            ("1 1 udp 1 192.0.2.1 9 typ moon", Error::Malformed("type")),
            ("1 1 udp 1 192.0.2.1 9", Error::Missing("type")),
            (
                "a-b 1 udp 1 192.0.2.1 9 typ host",
                Error::Malformed("foundation"),
            ),
        ] {
            assert_eq!(Candidate::parse(line), Err(error), "{line}");
        }
    }

    #[test]
    fn rfc8445_5_1_2_1_rtcp_comes_after_rtp() {
        let rtp = Candidate::host("192.0.2.1:5000".parse().unwrap(), 65_535);
        let rtcp = Candidate::host("192.0.2.1:5001".parse().unwrap(), 65_535).for_component(2);
        assert_eq!((rtp.priority - rtcp.priority, rtcp.component), (1, 2));
    }

    #[test]
    fn rfc8445_5_1_2_host_before_reflexive_before_relayed() {
        assert_eq!(priority(Kind::Host, 65535), 2_130_706_431);
        let kinds = [
            Kind::Relayed,
            Kind::ServerReflexive,
            Kind::PeerReflexive,
            Kind::Host,
        ];
        assert!(kinds.is_sorted_by_key(|kind| priority(*kind, 65535)));
    }

    proptest::proptest! {
        #[test]
        fn what_was_read_is_written_so_that_it_is_read_again(line in "[ -~]{0,200}") {
            if let Ok(candidate) = Candidate::parse(&line) {
                proptest::prop_assert_eq!(Candidate::parse(&candidate.to_string()), Ok(candidate));
            }
        }
    }
}
