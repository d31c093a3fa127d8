//! Sound from files: found, fetched and decoded away from the workers, and read by them without
//! waiting.
//!
//! - `clip`: a short sound, decoded as a whole and shared by all who play it.
//! - `ring`: a long one, decoded piece by piece for one player.
//! - `decode`: files as samples.
//! - `library`: finds a sound by its name and keeps the short ones; its thread decodes.
//! - `radio`: music on hold.
//! - `fetch`: sounds from the web, with copies on disk.
//! - `reader`: a file for whoever reads it piece by piece.

pub(crate) mod clip;
mod decode;
mod fetch;
pub(crate) mod library;
mod radio;
mod reader;
mod ring;

pub(crate) use clip::Clip;
pub(crate) use library::{Library, Opened, Track};
pub use library::{find, is_url};
pub use radio::Music;
pub(crate) use radio::{Listening, Radio};
pub use reader::Reader;
pub(crate) use ring::Ring;

/// A sound cannot be played, and why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unplayable {
    /// There is no folder of sounds, or no file of this name in it.
    #[error("there is no such file among the sounds")]
    Missing,
    /// The name leads out of the folder of sounds.
    #[error("it is not in the folder of sounds")]
    Outside,
    /// It cannot be read, for this reason.
    #[error("it can't be read: {0}")]
    Unreadable(Box<str>),
    /// It is none of WAV, FLAC, MP3, Ogg Vorbis and Ogg Opus, or is damaged.
    #[error("it is none of WAV, FLAC, MP3 and Ogg, or damaged: {0}")]
    Undecodable(Box<str>),
    /// The web does not give it, for this reason.
    #[error("the web server does not give it: {0}")]
    Unfetchable(Box<str>),
    /// Too many sounds wait to be opened.
    #[error("too many sounds are being opened")]
    Overload,
}
