//! What signalling tells the media workers, and what it hears from them.

use std::net::IpAddr;
use std::sync::Arc;

use base::Slot;
pub use codec::Codec;
use codec::indication::Cadence;
use srtp::Profile;

use crate::{
    Alarm, DigitSource, Key, Mos, Participant, Recording, Remote, Reported, RoomId, VideoFormat,
    dtls,
};

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

    /// Both in one number; never 0 for a session that has a number.
    pub(crate) fn raw(self) -> u64 {
        self.0
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
    /// From now on one side of `stream` hears us instead of the other side. What it says goes to the
    /// other side as before, unless it is echoed. SSRC, sequence numbers and timestamps of what it
    /// hears go on when the source changes, and when it hears the other side again.
    Serve {
        /// The session.
        session: SessionId,
        /// The media line, from 0.
        stream: u8,
        /// Who is served.
        side: Side,
        /// What it hears.
        source: Source,
        /// What [`Event::Finished`] is to say, so that the end of one source is not taken for that of the next.
        number: u32,
        /// How it is sent.
        format: Format,
    },
    /// The side of `stream` hears the other side again, with the SSRC that it was served under.
    /// Without effect on one that is not served.
    Unserve {
        /// The session.
        session: SessionId,
        /// The media line, from 0.
        stream: u8,
        /// Who was served.
        side: Side,
    },
    /// Asks the party at `side`, which sends pictures in `stream`, for one that stands alone: somebody begins to
    /// look. As soon as it is heard, if it is not yet.
    ///
    /// # Source
    /// RFC 4585 §6.3.1, RFC 5104 §4.3.1
    Keyframe {
        /// The session.
        session: SessionId,
        /// The media line, from 0.
        stream: u8,
        /// Who sends the pictures.
        side: Side,
        /// By a Full Intra Request, not by a Picture Loss Indication.
        full_intra: bool,
    },
    /// The party at `side` wants a picture that stands alone of whom it sees in its room, and has said so
    /// otherwise than in RTCP.
    ///
    /// # Source
    /// RFC 5168
    Wish {
        /// The session.
        session: SessionId,
        /// The media line, from 0.
        stream: u8,
        /// Who sees the pictures.
        side: Side,
    },
    /// Presses keys towards a side, one after the other, behind those that are still to be pressed: as
    /// telephone events, or as tones if the side has agreed to none. Meanwhile it hears nothing else.
    /// From then on the stream to it is ours. A side that protects its packets with keys of which we
    /// know nothing can't be reached so. At most 64 keys wait; more are dropped.
    ///
    /// # Source
    /// RFC 4733, ITU-T Q.23
    Digits {
        /// The session.
        session: SessionId,
        /// The media line, from 0.
        stream: u8,
        /// Who hears the keys.
        side: Side,
        /// The keys.
        digits: Arc<[Key]>,
        /// For how long each is pressed, in milliseconds: 40 to 6000; and for how long none is
        /// behind it, 40 to 1000.
        duration_ms: u16,
        /// See above.
        pause_ms: u16,
    },
    /// Telephone events that come from a side do not pass to the other one, or do again. They are told all
    /// the same; keys in the sound itself are not touched.
    ///
    /// # Source
    /// RFC 4733
    BlockDigits {
        /// The session.
        session: SessionId,
        /// Index of the stream.
        stream: u8,
        /// Whose digits.
        side: Side,
        /// Whether they stay.
        blocked: bool,
    },
    /// Asks what has been received so far. Answered by [`Event::Counted`].
    Count {
        /// The session.
        session: SessionId,
    },
    /// From now on one side of `stream` is in a room: it hears the others who are there and they hear
    /// it, until it leaves or the session ends. Packets that it is sent keep their SSRC. Repeated with
    /// another format it goes on with that; with another room it changes rooms.
    Join {
        /// The session.
        session: SessionId,
        /// The media line, from 0.
        stream: u8,
        /// Who joins.
        side: Side,
        /// The room, which is there with its first participant.
        room: RoomId,
        /// What it may say and hear.
        participant: Participant,
        /// How it is sent what it hears.
        format: Format,
    },
    /// From now on one side of `stream`, which carries pictures, sees who speaks in a room, and is seen
    /// there when it speaks, until it [leaves](Self::Leave) or the session ends. Who speaks is found out by
    /// the sound of the same session. Repeated with another format it goes on with that.
    Watch {
        /// The session.
        session: SessionId,
        /// The media line, from 0.
        stream: u8,
        /// Who watches.
        side: Side,
        /// The room.
        room: RoomId,
        /// What was agreed on.
        format: VideoFormat,
    },
    /// Changes what a participant may say and hear. Without effect on who is in no room.
    Adjust {
        /// The session.
        session: SessionId,
        /// The media line, from 0.
        stream: u8,
        /// Who is concerned.
        side: Side,
        /// What holds from now on.
        participant: Participant,
    },
    /// One side of `stream` leaves its room, and hears the other side again.
    Leave {
        /// The session.
        session: SessionId,
        /// The media line, from 0.
        stream: u8,
        /// Who leaves.
        side: Side,
    },
    /// Records a stream from now on, instead of what was recorded of it before; `None`: no more.
    /// [`Event::Recorded`] tells when a file is complete, which it is too when the session ends.
    Record {
        /// The session.
        session: SessionId,
        /// The media line, from 0.
        stream: u8,
        /// What is recorded.
        recording: Option<Box<Recording>>,
    },
    /// Leaves out what is said from now on, or goes on recording. Without effect on a stream that is
    /// not recorded.
    PauseRecording {
        /// The session.
        session: SessionId,
        /// The media line, from 0.
        stream: u8,
        /// Whether it pauses.
        paused: bool,
    },
    /// Records what is said in a room from now on, instead of what was recorded of it before; `None`: no
    /// more. The file has one channel. It is complete when the recording ends or nobody is in the room any
    /// more; the room need not have this session in it then. [`Event::Recorded`] tells.
    RecordRoom {
        /// A session in the room.
        session: SessionId,
        /// The room.
        room: RoomId,
        /// What is recorded; `mono` and `sides` do not matter.
        recording: Option<Box<Recording>>,
    },
    /// Leaves out what is said in a room from now on, or goes on recording. Without effect on a room that is
    /// not recorded.
    PauseRoom {
        /// A session in the room.
        session: SessionId,
        /// The room.
        room: RoomId,
        /// Whether it pauses.
        paused: bool,
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
            | Self::Unserve { session, .. }
            | Self::Record { session, .. }
            | Self::PauseRecording { session, .. }
            | Self::Join { session, .. }
            | Self::Watch { session, .. }
            | Self::RecordRoom { session, .. }
            | Self::PauseRoom { session, .. }
            | Self::Adjust { session, .. }
            | Self::Leave { session, .. }
            | Self::Digits { session, .. }
            | Self::Keyframe { session, .. }
            | Self::Wish { session, .. }
            | Self::BlockDigits { session, .. }
            | Self::Count { session }
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
    /// A tone of a network, such as busy.
    Cadence(Arc<Cadence>),
    /// A file of [`Config::sounds`](crate::Config::sounds) by its name in there, or one of the web by
    /// its URL; [`Event::Finished`] follows its end, and at once if it cannot be played, which is
    /// logged. WAV, FLAC, MP3, Ogg Vorbis or Ogg Opus.
    Sound(Arc<str>),
    /// The same of a file in memory.
    File(Arc<[u8]>),
    /// The music on hold, which is the same for all: see [`Handle::tune`](crate::Handle::tune).
    Music,
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
    /// A prompt, or a sound, has been played to its end; silence follows.
    Finished {
        /// The session.
        session: SessionId,
        /// The media line, from 0.
        stream: u8,
        /// Who has heard it.
        side: Side,
        /// The number that came with it.
        number: u32,
    },
    /// A recording is complete: the file will not change any more.
    Recorded {
        /// The session, which may be gone by now.
        session: SessionId,
        /// The name that the recording was given.
        name: Box<str>,
        /// How long it is.
        milliseconds: u64,
        /// Why it is not as long as it should be.
        error: Option<Box<str>>,
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
    /// A party has pressed a key: told once, when it is let go. No more than 16 a second are told
    /// of each side; the rest is dropped, as nobody presses keys so fast.
    Digit {
        /// The session.
        session: SessionId,
        /// The media line, from 0.
        stream: u8,
        /// The side of the party.
        side: Side,
        /// The key.
        digit: Key,
        /// How long it was pressed, in milliseconds.
        duration_ms: u32,
        /// How it came.
        source: DigitSource,
    },
    /// A picture that stands alone is wanted of a party that can't be told so in RTCP
    /// ([`Remote::asked_aside`]). At most once a second for each stream of pictures; what is wanted in between
    /// is not told of.
    PictureWanted {
        /// The session.
        session: SessionId,
        /// The media line, from 0.
        stream: u8,
        /// Who sends the pictures.
        side: Side,
    },
    /// The answer to [`Command::Count`].
    Counted {
        /// The session.
        session: SessionId,
        /// What each side has sent us, indexed by [`Side::index`], all streams together; nothing if
        /// there is no such session.
        stats: Box<[SideStats; 2]>,
    },
    /// The party of this session begins to speak in a room, or has stopped; at most three times a
    /// second. Said as well when it has become known by another SSRC, at most once a second.
    Talking {
        /// The session.
        session: SessionId,
        /// Whether it speaks.
        talking: bool,
        /// What the packets of the others call it (CSRC), if it has been heard.
        ///
        /// # Source
        /// RFC 3550 §7.1
        ssrc: Option<u32>,
    },
    /// The party of this session is from now on the one who speaks loudest in its room.
    ActiveSpeaker {
        /// The session.
        session: SessionId,
    },
    /// How what each side sends sounds; told every 10 seconds once both parties are known.
    Quality {
        /// The session.
        session: SessionId,
        /// As in [`Event::Closed`].
        stats: Box<[SideStats; 2]>,
    },
    /// Something is wrong with the sound of a side. Each thing is told once.
    Alarm {
        /// The session.
        session: SessionId,
        /// The media line, from 0.
        stream: u8,
        /// The side from which it ought to come.
        side: Side,
        /// What is wrong.
        alarm: Alarm,
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
            | Self::Finished { session, .. }
            | Self::Recorded { session, .. }
            | Self::Secured { session, .. }
            | Self::SecurityFailed { session, .. }
            | Self::Digit { session, .. }
            | Self::PictureWanted { session, .. }
            | Self::Counted { session, .. }
            | Self::Talking { session, .. }
            | Self::ActiveSpeaker { session }
            | Self::Quality { session, .. }
            | Self::Alarm { session, .. }
            | Self::Closed { session, .. } => *session,
        }
    }
}

/// Local ports of one stream, indexed by [`Side::index`]; 0 for a side without an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StreamPorts {
    /// RTP ports.
    pub rtp: [u16; 2],
    /// RTCP ports of sides that do not multiplex: the next ones, or the same if ports are shared.
    pub rtcp: [u16; 2],
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
    /// RTCP datagrams accepted.
    pub rtcp_packets: u64,
    /// Octets of those datagrams.
    pub rtcp_octets: u64,
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
    /// Interarrival jitter now, in microseconds; 0 where the codec is not known.
    pub jitter_us: u32,
    /// The same at its worst.
    pub worst_jitter_us: u32,
    /// From us to the party and back, in milliseconds, from its last RTCP about a sender report.
    pub round_trip_ms: Option<u32>,
    /// How what it sends sounds on average, if the codec is known.
    pub mos: Option<Mos>,
    /// The same in the worst 5 seconds.
    pub worst_mos: Option<Mos>,
    /// What it says about what it receives.
    pub reported: Option<Reported>,
}
