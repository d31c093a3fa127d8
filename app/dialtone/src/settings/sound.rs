//! `[sound]`: tones and music.

use std::path::{Path, PathBuf};

use media::sound::{Music, is_url};
use media::{Cadence, Signal};

use crate::folder::Folder;

use super::document::Value;
use super::reader::Section;
use super::report::Fault;
use super::values::{choice, text};

/// `[sound]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sound {
    /// Whose tones are heard: two letters.
    pub(crate) country: String,
    /// What those hear who wait: a folder or a URL; none: whatever the other party sends.
    hold: Option<String>,
    shuffled: bool,
    /// Where the dial plan's sounds are.
    pub(crate) folder: PathBuf,
    /// Where copies of sounds from the web are.
    pub(crate) copies: PathBuf,
    /// Where recordings of calls are.
    pub(crate) recordings: PathBuf,
}

impl Sound {
    /// What is played to those who wait.
    pub(crate) fn music(&self) -> Option<Music> {
        let hold = self.hold.as_deref()?;
        let source = match is_url(hold) {
            true => hold.to_owned(),
            false => self.folder.join(hold).to_string_lossy().into_owned(),
        };
        Some(Music {
            source: source.into(),
            shuffled: self.shuffled,
        })
    }

    /// Whether there is anything to play.
    pub(crate) fn plays_music(&self) -> bool {
        let there = |source: &str| is_url(source) || !Music::files(Path::new(source)).is_empty();
        self.music().is_some_and(|music| there(&music.source))
    }
}

/// Reads the section; the folder of sounds is in `root`.
pub(crate) fn read(mut sound: Section<'_>, root: &Folder) -> Sound {
    let read = Sound {
        country: sound.read("country", "us".to_owned(), country),
        hold: sound.read("hold", Some("music".to_owned()), hold),
        shuffled: sound.read("hold_order", true, choice(ORDERS)),
        folder: root.sounds(),
        copies: root.copies(),
        recordings: root.recordings(),
    };
    sound.finish();
    read
}

fn country(value: &Value) -> Result<String, Fault> {
    let country = text(value)?;
    if Cadence::of(country, Signal::Busy).is_some() {
        return Ok(country.to_ascii_lowercase());
    }
    let known: Vec<_> = media::countries().collect();
    Err(Fault::new(
        format!("the tones of “{country}” are not known"),
        format!("there are {}", known.join(", ")),
    ))
}

fn hold(value: &Value) -> Result<Option<String>, Fault> {
    let hold = text(value)?;
    let plain = |part| matches!(part, std::path::Component::Normal(_));
    match hold {
        "" => Ok(None),
        url if is_url(url) => Ok(Some(url.to_owned())),
        name if Path::new(name).components().all(plain) => Ok(Some(name.to_owned())),
        name => Err(Fault::new(
            format!("“{name}” is no folder among the sounds"),
            "name a folder in sounds/, or a URL that begins with http:// or https://",
        )),
    }
}

const ORDERS: &[(&str, bool)] = &[("shuffled", true), ("sorted", false)];
