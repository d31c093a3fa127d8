//! Pictures in a room: everybody sees who speaks, and who speaks sees who spoke before.
//!
//! Nothing is decoded. Of the participants that send pictures, the [`stage::Stage`] says which two are
//! seen. The worker of each writes its packets into a [`ring::Ring`]; every worker of the room reads
//! them there, without a lock, and sends them to its own participants. Each of these has a
//! [`screen::Screen`], which makes one continuous stream of what it is shown ([`splice`]): when
//! somebody else speaks, the pictures of the one before go on until a keyframe of the new one has come,
//! for which he is asked ([`camera`]).

mod camera;
mod control;
mod feedback;
mod picture;
mod ring;
mod screen;
mod splice;
mod stage;
mod view;

pub(super) use ring::Ring;
pub(crate) use screen::Screen;
pub(super) use stage::Stage;
pub(super) use view::View;

/// How pictures are encoded that a room passes on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum VideoCodec {
    /// RFC 7741.
    Vp8,
    /// RFC 6184.
    H264,
}

/// What was agreed with a participant about pictures. Everybody in a room has the same codec: that is
/// for signalling to see to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VideoFormat {
    /// The codec.
    pub codec: VideoCodec,
    /// Its number in packets to and from the participant.
    pub payload_type: u8,
    /// It sends pictures.
    pub sends: bool,
    /// It wants to see pictures.
    pub receives: bool,
    /// It sends packets once more that are said to be missing.
    ///
    /// # Source
    /// RFC 4585 §6.2.1
    pub repeats: bool,
    /// Keyframes are wanted of it by Full Intra Request; else by Picture Loss Indication, which most
    /// understand whatever they have said.
    ///
    /// # Source
    /// RFC 5104 §4.3.1, RFC 4585 §6.3.1
    pub intra: bool,
}

/// Ticks of the RTP clock of pictures in a millisecond.
const CLOCK: u32 = 90;
