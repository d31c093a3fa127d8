//! Recording: what the parties of a stream say, as a file.
//!
//! A worker copies each packet into a slot of the `tape`, a bounded queue, and thinks no more of it.
//! The thread of the `desk` puts each side's packets in order, decodes them and conceals what is
//! missing (`track`), and writes both sides to a `file` as they were heard, a little later. What has
//! been written can be played, however the process ends.

mod desk;
mod file;
mod tape;
mod taps;
mod track;

use std::path::{Component, Path, PathBuf};

pub(crate) use desk::{Recorder, Start};
pub use file::WavFile;
pub(crate) use tape::Tap;

/// What is recorded, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recording {
    /// The file, in [`Config::recordings`](crate::Config::recordings), which must not exist yet.
    /// Folders on the way are made.
    pub name: Box<str>,
    /// How it is written.
    pub container: Container,
    /// Both sides mixed to one channel; else the caller is left and the callee right.
    pub mono: bool,
    /// Whose voices, by [`Side::index`](crate::Side::index). Of a side that we serve alone, the other
    /// one is what we play.
    pub sides: [bool; 2],
}

/// The format of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Container {
    /// Uncompressed, 16 bits a sample.
    Wav,
    /// Opus at 24 kbit/s a channel.
    OggOpus,
}

/// Where the file is, if its name leads nowhere else.
fn place(folder: Option<&Path>, name: &str) -> Result<PathBuf, &'static str> {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    match folder {
        None => Err("there is no folder for recordings"),
        Some(_) if name.is_empty() || !Path::new(name).components().all(plain) => {
            Err("its name leads out of the folder of recordings")
        }
        Some(folder) => Ok(folder.join(name)),
    }
}
