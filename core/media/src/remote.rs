//! What signalling has agreed with one side about one stream.

use std::net::SocketAddr;

use codec::{Codec, Parameters};
use ice::Credentials;
use srtp::{MasterKey, Profile};

use crate::dtls::{Fingerprint, Setup};

/// Where a party receives a stream, and what it takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remote {
    /// Address for RTP.
    pub rtp: SocketAddr,
    /// Address for RTCP (`a=rtcp`, or the next port); equal to `rtp` with [`mux`](Self::mux).
    pub rtcp: SocketAddr,
    /// RTP and RTCP share a port (RFC 5761).
    pub mux: bool,
    /// How packets are protected.
    pub security: Security,
    /// Our credentials, if the party does ICE: packets go where it nominates, and the addresses above do
    /// not count. RTCP is to share the port. Other credentials than before restart ICE.
    ///
    /// # Source
    /// RFC 8445 §2.5: we are lite.
    pub ice: Option<Credentials>,
    /// The payload types of the agreement: the first codec is what we send, all are what may come.
    /// Empty: what comes is passed on untouched and the other side's table does not matter. At most
    /// [`MAX_PAYLOADS`] count.
    pub payloads: Vec<Payload>,
}

impl Remote {
    /// A party that takes plain RTP and whose payload is passed on untouched.
    #[must_use]
    pub fn plain(rtp: SocketAddr, rtcp: SocketAddr) -> Self {
        Self {
            rtp,
            rtcp,
            mux: rtp == rtcp,
            security: Security::Plain,
            ice: None,
            payloads: Vec::new(),
        }
    }
}

/// How the packets of one side are protected.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Security {
    /// Not at all, or by the parties themselves: what comes is passed on as it is.
    #[default]
    Plain,
    /// By keys in SDP. Saying the same keys again disturbs nothing; new ones take over without a
    /// gap.
    ///
    /// # Source
    /// RFC 4568
    Sdes {
        /// The crypto-suite.
        profile: Profile,
        /// We protect with this.
        local: MasterKey,
        /// The peer protects with this.
        remote: MasterKey,
    },
    /// By a DTLS handshake on the RTP port, with the certificate of
    /// [`Plane::fingerprint`](crate::Plane::fingerprint). Until it is complete nothing passes;
    /// [`Event::Secured`](crate::Event::Secured) or
    /// [`Event::SecurityFailed`](crate::Event::SecurityFailed) tells. RTCP is to share the port
    /// ([`Remote::mux`]): one handshake keys both.
    ///
    /// # Source
    /// RFC 5763, RFC 5764
    Dtls {
        /// Of the peer's certificate.
        fingerprint: Fingerprint,
        /// Our side of the handshake.
        setup: Setup,
    },
}

/// A payload type that was agreed with one side.
///
/// # Source
/// RFC 3264 §5.1, §6.1: who may send which of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payload {
    /// The number in the RTP header, below 128.
    pub number: u8,
    /// What it means.
    pub kind: PayloadKind,
    /// Packet length in milliseconds that the side wants (`a=ptime`); 0 if it did not say.
    pub ptime: u8,
}

/// The meaning of a payload type.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PayloadKind {
    /// Speech that we can decode and encode. The parameters are what this side wishes to receive
    /// (its `a=fmtp`).
    Codec(Codec, Parameters),
    /// Digits and other events.
    ///
    /// # Source
    /// RFC 4733
    TelephoneEvent {
        /// The RTP clock in hertz.
        clock: u32,
    },
    /// What silence sounds like, with an RTP clock of 8 kHz.
    ///
    /// # Source
    /// RFC 3389
    ComfortNoise,
    /// Something else, which is passed on if the other side has a payload type of the same name.
    Other {
        /// What makes it the same on both sides: the encoding name and clock of `a=rtpmap`, or
        /// whatever signalling compares.
        name: Box<str>,
    },
}

/// How many payload types of one side count; more are ignored.
pub const MAX_PAYLOADS: usize = 32;
