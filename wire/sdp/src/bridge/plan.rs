//! What was agreed with one side about one stream, for the media worker.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::dtls::{Fingerprint, Setup};
use super::formats::Payload;
use super::ice::Ice;
use super::keys::{Key, Suite};
use crate::levels::Levels;
use crate::media::Direction;

/// One stream of one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<'a> {
    /// Where the party receives RTP; the unspecified address if only ICE will tell.
    pub rtp: SocketAddr,
    /// Where it receives RTCP; the same with `mux`.
    pub rtcp: SocketAddr,
    /// RTP and RTCP share a port.
    pub mux: bool,
    /// How packets are protected.
    pub security: &'a Security,
    /// Connectivity checks, if both do them.
    pub ice: Option<Ice>,
    /// Payload types, the one that we send first. None: payloads pass untouched.
    pub payloads: &'a [Payload],
    /// As the party sees it.
    pub direction: Direction,
    /// The stream goes over the port of this one, and has none of its own (RFC 9143).
    pub bundled: Option<usize>,
    /// Header extensions that say how loud it is, in a call that ends at us.
    pub levels: Levels,
    /// We show the second one of our certificates.
    pub second: bool,
}

/// How a stream is protected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    #[default]
    Plain,
    /// With keys from the description.
    Sdes(Sdes),
    /// With keys from a handshake.
    Dtls {
        /// The party's certificate.
        fingerprint: Fingerprint,
        /// Our part: [`Setup::Active`], we begin, or [`Setup::Passive`].
        setup: Setup,
    },
    /// By the two parties themselves, with keys that we have no part in; or it is no RTP.
    EndToEnd,
}

/// Keys from `a=crypto` lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sdes {
    /// The tag of both lines.
    pub tag: u32,
    /// The suite.
    pub suite: Suite,
    /// What we protect with.
    pub local: Key,
    /// What the party protects with.
    pub remote: Key,
}

impl Security {
    /// Whether we take part in protecting the stream.
    #[must_use]
    pub const fn is_keyed(&self) -> bool {
        matches!(self, Self::Sdes(_) | Self::Dtls { .. })
    }
}

/// Where nothing can be sent until ICE has found a way.
pub(super) const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 9);
