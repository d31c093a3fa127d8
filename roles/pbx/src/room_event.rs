//! What happens in a conference room, as observers are told.

use std::sync::Arc;

use base::{Token, UnixTime};

/// Something has happened in a conference room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomEvent {
    /// The room's name.
    pub room: Arc<str>,
    /// The participant whom it is about: its call, and its name. None: it is about the room.
    pub participant: Option<(Token, Arc<str>)>,
    /// What.
    pub change: RoomChange,
    /// When.
    pub at: UnixTime,
}

/// What may happen in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomChange {
    /// The participant has come.
    Joined,
    /// The participant has gone.
    Left,
    /// The participant begins to speak, or has stopped: of each one told once a second at most, and then what
    /// holds by that time.
    Talking(bool),
    /// The participant is the one who speaks loudest: told as seldom.
    ActiveSpeaker,
    /// The participant has been muted, or may speak again.
    Muted(bool),
    /// The participant does not hear the others any more, or again.
    Deafened(bool),
    /// The participant is thrown out.
    Kicked,
    /// Nobody but moderators may come, or everybody again.
    Locked(bool),
    /// Moderators alone are heard, or everybody again.
    Lecture(bool),
    /// What is said is recorded in this file, in the folder of recordings.
    RecordingBegun(Arc<str>),
    /// What is said is left out of the file, or no more.
    RecordingPaused(Arc<str>, bool),
    /// The file is complete, or could not be made.
    RecordingEnded(Arc<str>),
}

impl RoomChange {
    /// The change in a few words, for logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Left => "left",
            Self::Talking(true) => "talks",
            Self::Talking(false) => "silent",
            Self::ActiveSpeaker => "active-speaker",
            Self::Muted(true) => "muted",
            Self::Muted(false) => "unmuted",
            Self::Deafened(true) => "deafened",
            Self::Deafened(false) => "undeafened",
            Self::Kicked => "kicked",
            Self::Locked(true) => "locked",
            Self::Locked(false) => "unlocked",
            Self::Lecture(true) => "lecture",
            Self::Lecture(false) => "discussion",
            Self::RecordingBegun(_) => "recording-begun",
            Self::RecordingPaused(_, true) => "recording-paused",
            Self::RecordingPaused(_, false) => "recording-resumed",
            Self::RecordingEnded(_) => "recording-ended",
        }
    }

    /// The file that it is about.
    #[must_use]
    pub const fn recording(&self) -> Option<&Arc<str>> {
        match self {
            Self::RecordingBegun(file)
            | Self::RecordingPaused(file, _)
            | Self::RecordingEnded(file) => Some(file),
            _ => None,
        }
    }

    /// Whether it is about who speaks, and so happens all the time.
    #[must_use]
    pub const fn is_about_speech(&self) -> bool {
        matches!(self, Self::Talking(_) | Self::ActiveSpeaker)
    }
}
