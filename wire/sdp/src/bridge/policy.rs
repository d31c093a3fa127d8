//! What a side wants: encryption, codecs, and how much of a browser it is.

use super::dtls::Fingerprint;
use super::keys::Suite;
use crate::payload::RtpMap;

/// How we deal with one side. The same policy serves many calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether its media are protected.
    pub encryption: Encryption,
    /// How keys are agreed.
    pub keying: Keying,
    /// What SDES may use; offered in this order. No more than [`Suite::ALL`] has count.
    pub suites: Vec<Suite>,
    /// The keys that we write say how long they last, for parties that want to know.
    ///
    /// # Source
    /// RFC 4568 §6.1
    pub lifetime: bool,
    /// Of the party's keys the first with one of these suites is taken; none: the first of all.
    pub prefers: Vec<Suite>,
    /// Where the party leaves the choice, we begin the handshake instead of waiting for it.
    ///
    /// # Source
    /// RFC 5763 §5
    pub begins: bool,
    /// Payload types of both sides are told even where they are the same, because packets change.
    pub repacks: bool,
    /// The packet length in milliseconds that the party is told; none: the other side's.
    pub ptime: Option<u8>,
    /// The feedback profile (RTP/AVPF, RTP/SAVPF) and its `a=rtcp-fb` lines.
    pub feedback: Use,
    /// RTCP on the RTP port (RFC 5761).
    pub mux: Use,
    /// ICE, where [`Terms::ice`] says that we can.
    pub ice: Use,
    /// Candidates of the party may come after its description, as whoever signals for us can take them.
    ///
    /// # Source
    /// RFC 8840 §4.1
    pub trickles: bool,
    /// All streams on one port (RFC 9143).
    pub bundle: Use,
    /// `a=ssrc`, `a=msid` and their like are kept; for browsers on both sides.
    pub sources: bool,
    /// RTP header extensions are kept.
    pub extensions: bool,
    /// Names of the codecs for sound that the side may use, best first; none: any, in the other
    /// side's order.
    pub codecs: Vec<Box<str>>,
    /// Codecs that we can convert into each other, in the order in which we add them.
    pub transcode: &'static [Transcodable],
    /// What we say in `a=fmtp` of codecs that we add, by their names, in place of what
    /// [`transcode`](Self::transcode) has.
    pub fmtp: Vec<(Box<str>, Box<str>)>,
    /// When codecs are added that the other side has not got.
    pub add: Add,
    /// Telephone events (RFC 4733), where sound can be converted.
    pub events: Events,
}

impl Default for Policy {
    /// Encryption and everything else as the other side has it; no codec is touched.
    fn default() -> Self {
        Self {
            encryption: Encryption::Follow,
            keying: Keying::Both,
            suites: Suite::ALL.to_vec(),
            lifetime: false,
            prefers: Vec::new(),
            begins: false,
            repacks: false,
            ptime: None,
            feedback: Use::Follow,
            mux: Use::Follow,
            ice: Use::Never,
            trickles: false,
            bundle: Use::Never,
            sources: true,
            extensions: true,
            codecs: Vec::new(),
            transcode: &[],
            fmtp: Vec::new(),
            add: Add::Needed,
            events: Events::Follow,
        }
    }
}

impl Policy {
    /// Whether the codec may be used on this side.
    pub(super) fn allows(&self, name: &str) -> bool {
        self.codecs.is_empty() || self.codecs.iter().any(|c| c.eq_ignore_ascii_case(name))
    }

    /// What we say of a codec that we add.
    pub(super) fn fmtp_of(&self, known: &Transcodable) -> &str {
        let mut named = self.fmtp.iter();
        let named = named.find(|(name, _)| name.eq_ignore_ascii_case(known.name));
        named.map_or(known.fmtp, |(_, fmtp)| fmtp)
    }

    /// What we can do with this codec, if we can convert it.
    pub(super) fn transcodable(&self, map: &RtpMap<'_>) -> Option<&'static Transcodable> {
        self.transcode.iter().find(|known| known.is(map))
    }
}

/// Whether a side has telephone events.
///
/// # Source
/// RFC 4733 §2.1
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Events {
    /// Offered where the other side has them; who offers them gets them, though the other side may have none:
    /// its keys become tones there.
    #[default]
    Follow,
    /// Offered even where the other side has none.
    Always,
    /// Neither offered nor taken.
    Never,
}

/// Whether media of a side are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encryption {
    /// Never: an offer that insists on it is refused.
    Forbidden,
    /// Taken where it is offered; offered, as [`Optional`](Self::Optional) does, where the other
    /// side's media are protected.
    Follow,
    /// Taken where it is offered; offered as a plain stream with keys beside it, which a party that
    /// cannot do it ignores.
    Optional,
    /// Always: an offer without it is refused.
    Required,
}

/// How keys for SRTP are agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keying {
    /// In the description (RFC 4568).
    Sdes,
    /// By a handshake on the media path (RFC 5763).
    Dtls,
    /// Whichever the party offers. Our own offers have SDES keys.
    Both,
}

impl Keying {
    pub(super) const fn has_sdes(self) -> bool {
        matches!(self, Self::Sdes | Self::Both)
    }

    pub(super) const fn has_dtls(self) -> bool {
        matches!(self, Self::Dtls | Self::Both)
    }
}

/// Whether an extension is used on a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Use {
    /// Neither offered nor accepted.
    Never,
    /// Accepted; offered if the other side has it.
    Follow,
    /// Accepted and offered.
    Always,
}

impl Use {
    /// Whether we offer it, given that the other side has it or not.
    pub(super) const fn offers(self, other: bool) -> bool {
        match self {
            Self::Never => false,
            Self::Follow => other,
            Self::Always => true,
        }
    }

    pub(super) const fn accepts(self) -> bool {
        !matches!(self, Self::Never)
    }
}

/// When an offer gets codecs that its maker has not got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Add {
    /// G.711, which everybody has, in the law that is not among those that are left, and everything if
    /// neither is; or, where the side has a list of its own, if nothing of it is left.
    Needed,
    /// Always.
    Always,
}

/// A codec that we can convert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transcodable {
    /// The encoding's name in `a=rtpmap`.
    pub name: &'static str,
    /// The RTP clock's rate in hertz.
    pub clock_rate: u32,
    /// Channels in `a=rtpmap`.
    pub channels: u8,
    /// Its static payload type, if it has one.
    pub payload_type: Option<u8>,
    /// What we write in `a=fmtp`; empty: nothing.
    pub fmtp: &'static str,
}

impl Transcodable {
    pub(super) fn is(&self, map: &RtpMap<'_>) -> bool {
        self.name.eq_ignore_ascii_case(map.name)
            && self.clock_rate == map.clock_rate
            && self.channels == map.channels
    }
}

/// What holds for one side in one call.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The side's policy.
    pub policy: &'a Policy,
    /// Our certificate's fingerprint; none: we cannot do DTLS, and its keys pass from end to end.
    pub fingerprint: Option<&'a Fingerprint>,
    /// How we do ICE; none: we don't.
    pub ice: Option<super::ice::Mode>,
}
