//! What signalling tells the media workers, and what it hears from them.

use std::net::IpAddr;
use std::sync::Arc;

use base::Slot;
pub use codec::Codec;
use srtp::Profile;

use crate::{Remote, dtls};

/// Names the media of one call. Chosen by the signalling slot that owns the call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SessionId(u64);

impl SessionId {
    /// Session `number` of `slot`; only the lower 56 bits of the number count.
    #[must_use]
    pub fn new(slot: Slot, number: u64) -> Self {
        Self(u64::from(slot.number()) << 56 | number & ((1 << 56) - 1))
    }

    /// The slot that events about this session go to.
    #[must_use]
    pub fn slot(self) -> Slot {
        Slot::new((self.0 >> 56) as u8)
    }

    /// The number within the slot.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0 & ((1 << 56) - 1)
    }
}

/// A side of a session: towards the caller or towards the callee.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    /// Towards the party that sent the first INVITE.
    Caller,
    /// Towards the party that was called. Unused when the call ends at us.
    Callee,
}

impl Side {
    /// Position in an array of both sides.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The opposite side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }
}

/// From signalling to a media worker. Commands for a session take effect in order.
#[derive(Clone, Debug)]
pub enum Command {
    /// Makes sure that the session has ports for `streams` media lines on each side that has a
    /// local address. Answered by [`Event::Allocated`] with all ports, or [`Event::Refused`].
    /// May be repeated with a larger number when a re-INVITE adds a media line.
    Allocate {
        /// The session.
        session: SessionId,
        /// Addresses to bind, indexed by [`Side::index`]. No address: the side has no ports.
        local: [Option<IpAddr>; 2],
        /// How many media lines.
        streams: u8,
    },
    /// Where one side says that it receives a stream, from its SDP. Learning of the real source
    /// starts afresh if the address differs from the last one signalled. `None`: the stream is
    /// refused or gone; nothing is sent or accepted. Repeated with what is known already, it
    /// changes nothing.
    Connect {
        /// The session.
        session: SessionId,
        /// The media line, from 0.
        stream: u8,
        /// The side that the address belongs to.
        side: Side,
        /// The signalled address.
        remote: Option<Box<Remote>>,
    },
    /// From now on the caller's side of `stream` is served by us instead of being relayed.
    Serve {
        /// The session.
        session: SessionId,
        /// The media line, from 0.
        stream: u8,
        /// What the caller hears.
        source: Source,
        /// How it is sent.
        format: Format,
    },
    /// Ends the session: its ports go back. Answered by [`Event::Closed`].
    Close {
        /// The session.
        session: SessionId,
    },
}

impl Command {
    /// The session that the command is about.
    #[must_use]
    pub fn session(&self) -> SessionId {
        match self {
            Self::Allocate { session, .. }
            | Self::Connect { session, .. }
            | Self::Serve { session, .. }
            | Self::Close { session } => *session,
        }
    }
}

/// What a served stream sends.
#[derive(Clone, PartialEq, Debug)]
pub enum Source {
    /// Every RTP packet comes back with its payload untouched, under our SSRC.
    Echo,
    /// A sine of this frequency in hertz at 0 dBm0 (−3.14 dB of full scale for G.711 µ-law).
    Tone(f32),
    /// A built-in spoken prompt by name; [`Event::Finished`] follows its end.
    Prompt(Arc<str>),
    /// Nothing is sent.
    Silence,
}

/// How a served stream is encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Format {
    /// The codec.
    pub codec: Codec,
    /// RTP payload type agreed in SDP.
    pub payload_type: u8,
    /// Packet length in milliseconds: 10, 20, 30, 40 or 60.
    pub ptime: u8,
}

/// From a media worker to the slot that owns the session.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// The answer to [`Command::Allocate`]: ports of each stream.
    Allocated {
        /// The session.
        session: SessionId,
        /// One entry a stream, from 0.
        streams: Vec<StreamPorts>,
    },
    /// The other answer to [`Command::Allocate`]; what the session had before, it keeps.
    Refused {
        /// The session.
        session: SessionId,
        /// Why.
        refusal: Refusal,
    },
    /// No side has sent a valid packet for the configured media time-out; said again after each
    /// further time-out until packets flow.
    Silent {
        /// The session.
        session: SessionId,
    },
    /// A prompt has been played to its end.
    Finished {
        /// The session.
        session: SessionId,
    },
    /// Packets of a side can be protected now: keys were agreed on in the media path.
    Secured {
        /// The session.
        session: SessionId,
        /// The media line, from 0.
        stream: u8,
        /// The side.
        side: Side,
        /// How they are protected.
        profile: Profile,
    },
    /// Packets of a side cannot be protected, so none are passed.
    SecurityFailed {
        /// The session.
        session: SessionId,
        /// The media line, from 0.
        stream: u8,
        /// The side.
        side: Side,
        /// Why.
        reason: Insecurity,
    },
    /// The session is gone and its ports are free.
    Closed {
        /// The session.
        session: SessionId,
        /// What each side sent us, indexed by [`Side::index`], all streams together.
        stats: Box<[SideStats; 2]>,
    },
}

impl Event {
    /// The session that the event is about.
    #[must_use]
    pub fn session(&self) -> SessionId {
        match self {
            Self::Allocated { session, .. }
            | Self::Refused { session, .. }
            | Self::Silent { session }
            | Self::Finished { session }
            | Self::Secured { session, .. }
            | Self::SecurityFailed { session, .. }
            | Self::Closed { session, .. } => *session,
        }
    }
}

/// Local RTP ports of one stream, indexed by [`Side::index`]; 0 for a side without an address.
/// RTCP is on the next port, or on the same one if the side multiplexes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StreamPorts {
    /// RTP ports.
    pub rtp: [u16; 2],
}

/// Why ports could not be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Every port of the configured range is in use.
    NoPorts,
    /// The address cannot be bound here.
    BadAddress,
    /// The worker's queue is full.
    Overload,
}

/// Why packets cannot be protected.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Insecurity {
    /// The keys have another length than the profile's.
    KeyLength,
    /// The DTLS handshake has failed.
    Dtls(dtls::Error),
}

/// What one side sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SideStats {
    /// RTP packets accepted.
    pub packets: u64,
    /// Octets of those packets, RTP header included.
    pub octets: u64,
    /// Packets missing from the sequence numbers.
    pub lost: u64,
    /// Packets dropped because they came from a stranger.
    pub rejected: u64,
    /// RTP packets dropped because their payload type was not agreed, or means nothing to the other
    /// side.
    pub unexpected: u64,
    /// Packets dropped because they were not protected by the key that was agreed, or by none.
    pub forged: u64,
    /// Packets dropped because they had come before, or too long ago to tell.
    pub replayed: u64,
}
