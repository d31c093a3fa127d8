//! What signalling has agreed with one side about one stream.

use std::net::{IpAddr, SocketAddr};

use codec::{Codec, Parameters};
use ice::{Candidate, Credentials};
use sdp::Levels;
use srtp::{MasterKey, Profile};

use crate::dtls::{Fingerprint, Setup};
use crate::{Keys, OwnCertificate};

/// Where a party receives a stream, and what it takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remote {
    /// Address for RTP.
    pub rtp: SocketAddr,
    /// Address for RTCP (`a=rtcp`, or the next port); equal to `rtp` with [`mux`](Self::mux).
    pub rtcp: SocketAddr,
    /// Where the party's signalling comes from, if that is known: a party behind a NAT, which does not
    /// know where it is, is most likely to send its media from there too.
    pub host: Option<IpAddr>,
    /// RTP and RTCP share a port (RFC 5761).
    pub mux: bool,
    /// How packets are protected.
    pub security: Security,
    /// Whom packets are taken from, and whether ours follow.
    pub latching: Latching,
    /// Packets of sound to the party are of this length in milliseconds, whatever comes from the other side:
    /// they are decoded and encoded anew where that says otherwise. None: as they come.
    pub ptime: Option<u8>,
    /// The octet of our packets' headers that says how urgent they are; none: as for all. Where ports are
    /// shared it is that of all.
    ///
    /// # Source
    /// RFC 2474 §3
    pub tos: Option<u8>,
    /// If both of us do ICE: packets go where that leads, and the addresses above do not count.
    pub ice: Option<Ice>,
    /// The payload types of the agreement: the first codec is what we send, all are what may come.
    /// Empty: what comes is passed on untouched and the other side's table does not matter. At most
    /// [`MAX_PAYLOADS`] count.
    pub payloads: Vec<Payload>,
    /// Without [`payloads`](Self::payloads): what the party says that its payload types mean. Nothing is
    /// changed by it; digits and the quality of the sound are understood by it. At most
    /// [`MAX_PAYLOADS`] count.
    pub described: Vec<Payload>,
    /// How keys go to and fro beside telephone events.
    pub keys: Keys,
    /// The party's profile has no feedback: who wants a picture of it that stands alone is told of by
    /// [`Event::PictureWanted`](crate::Event::PictureWanted).
    pub asked_aside: bool,
    /// The party asks for reports of how it sounds. Without it, who sends such reports gets some.
    ///
    /// # Source
    /// RFC 3611 §5.1: `a=rtcp-xr:voip-metrics`
    pub metrics: bool,
    /// The header extensions by which the party says how loud it is, and is told of those whom it hears.
    pub levels: Levels,
    /// The stream goes over the transport of another one: then keys, ICE and addresses are that one's.
    pub bundled: Option<Box<Bundled>>,
}

/// What tells a stream from the others that share its transport.
///
/// # Source
/// RFC 9143 §9.2
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bundled {
    /// The stream whose transport it is, on the same side.
    pub stream: u8,
    /// The stream's name (`a=mid`).
    pub mid: Box<str>,
    /// The number of the header extension that bears the name, if there is one.
    pub extension: Option<u8>,
    /// The payload types that the party sends in it: bit *n* for number *n*.
    pub payload_types: u128,
}

impl Remote {
    /// A party that takes plain RTP and whose payload is passed on untouched.
    #[must_use]
    pub fn plain(rtp: SocketAddr, rtcp: SocketAddr) -> Self {
        Self {
            rtp,
            rtcp,
            host: None,
            latching: Latching::Learn,
            ptime: None,
            tos: None,
            mux: rtp == rtcp,
            security: Security::Plain,
            ice: None,
            payloads: Vec::new(),
            described: Vec::new(),
            keys: Keys::default(),
            levels: Levels::default(),
            bundled: None,
            asked_aside: false,
            metrics: false,
        }
    }

    /// What the payload types mean, as far as is known.
    pub(crate) fn meaning(&self) -> &[Payload] {
        let known = match self.payloads.is_empty() {
            true => &self.described,
            false => &self.payloads,
        };
        &known[..known.len().min(MAX_PAYLOADS)]
    }
}

/// Whom packets are taken from that nothing proves to be the party's, and where ours go.
///
/// # Source
/// RFC 7362 §4: why a party's address is learnt, and from whom it is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Latching {
    /// The first likely source is learnt and then held; ours go there.
    #[default]
    Learn,
    /// As [`Learn`](Self::Learn), but a new source that has sent a few packets takes the place of the old
    /// one at any time, even of one that still speaks. Whoever can send a packet can have the call.
    Handover,
    /// A source is learnt and held, but ours go where signalling says: the party sends from elsewhere than it
    /// receives.
    Asymmetric,
    /// Nothing is learnt: packets come from where signalling says, and ours go there.
    Signalled,
}

impl Latching {
    /// Whether ours go where signalling says, whatever comes.
    pub(crate) const fn is_fixed(self) -> bool {
        matches!(self, Self::Asymmetric | Self::Signalled)
    }
}

/// How the way to a party is found. Other credentials than before restart ICE: media go the old way until
/// there is a new one.
///
/// # Source
/// RFC 8445 §9.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ice {
    /// What the party's checks name us by.
    pub local: Credentials,
    /// Whom we check ways to. None: we are lite, and go where the party nominates.
    ///
    /// # Source
    /// RFC 8445 §2.5.
    pub peer: Option<Box<IcePeer>>,
}

impl Ice {
    /// We only answer checks.
    #[must_use]
    pub fn lite(local: Credentials) -> Self {
        Self { local, peer: None }
    }
}

/// A party that we check ways to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IcePeer {
    /// What our checks name it by.
    pub credentials: Credentials,
    /// It only answers checks, so that we choose the way.
    pub lite: bool,
    /// We choose the way unless it insists: we made the offer.
    ///
    /// # Source
    /// RFC 8445 §6.1.1.
    pub controlling: bool,
    /// Where it may be reached, as far as it has said so. Further ones may be told later, and others are
    /// learnt from its checks; what can't be used is passed over.
    ///
    /// # Source
    /// RFC 8838 §11.
    pub candidates: Vec<Candidate>,
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
    /// [`Handle::fingerprint`](crate::Handle::fingerprint). Until it is complete nothing passes;
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
        /// What we show in it.
        certificate: OwnCertificate,
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
