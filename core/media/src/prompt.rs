//! The built-in prompts, decoded when they are first needed.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use codec::ogg_opus;

use crate::sound::Clip;
use crate::sound::clip::WIDE;

/// The built-in prompt of this name, as [`Source::Prompt`](crate::Source::Prompt) wants it.
#[must_use]
pub fn prompt(name: &str) -> Option<&'static str> {
    Prompt::named(name).map(|prompt| prompt.name)
}

/// The names of all built-in prompts.
pub fn prompts() -> impl Iterator<Item = &'static str> {
    PROMPTS.iter().map(|prompt| prompt.name)
}

#[derive(Debug)]
pub(crate) struct Prompt {
    name: &'static str,
    file: &'static [u8],
    wanted: AtomicBool,
    sound: OnceLock<Option<Clip>>,
}

impl Prompt {
    const fn new(name: &'static str, file: &'static [u8]) -> Self {
        Self {
            name,
            file,
            wanted: AtomicBool::new(false),
            sound: OnceLock::new(),
        }
    }

    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        PROMPTS.iter().find(|prompt| prompt.name == name)
    }

    /// Starts decoding on another thread, unless that has been done: it takes longer than a
    /// worker may.
    pub(crate) fn load(&'static self) {
        if self.wanted.swap(true, Ordering::Relaxed) {
            return;
        }
        let decode = move || _ = self.sound.set(decode(self.file));
        let thread = std::thread::Builder::new().name("prompt".into());
        if thread.spawn(decode).is_err() {
            let _ = self.sound.set(None);
        }
    }

    /// The sound; `None` while it is being decoded.
    pub(crate) fn sound(&self) -> Option<Result<&Clip, Unplayable>> {
        self.sound.get().map(|s| s.as_ref().ok_or(Unplayable))
    }
}

/// The prompt could not be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unplayable;

fn decode(file: &[u8]) -> Option<Clip> {
    ogg_opus::decode(file, WIDE).ok().map(Clip::new)
}

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        [$(Prompt::new($name, include_bytes!(concat!("../prompts/", $name, ".opus")))),*]
    };
}

static PROMPTS: [Prompt; 10] = built_in![
    "welcome",
    "busy",
    "not-found",
    "unavailable",
    "conference-pin",
    "conference-wrong-pin",
    "conference-closed",
    "conference-name",
    "conference-joined",
    "conference-left",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_of_the_list_has_its_prompt() {
        let list = include_str!("../prompts/prompts.toml");
        let listed: Vec<_> = list
            .lines()
            .filter_map(|line| line.split_once(" = \""))
            .map(|(name, _)| name)
            .collect();
        assert_eq!(prompts().collect::<Vec<_>>(), listed);
        assert_eq!(prompt("welcome"), Some("welcome"));
        assert_eq!(prompt("farewell"), None);
    }

    #[test]
    fn every_prompt_speaks_at_telephone_level() {
        for prompt in &PROMPTS {
            let sound = decode(prompt.file).unwrap();
            for rate in [8000, 16_000] {
                let pcm = sound.at(rate);
                let seconds = pcm.len() / rate as usize;
                assert!((2..=8).contains(&seconds), "{}: {seconds} s", prompt.name);
                let energy: f64 = pcm.iter().map(|s| f64::from(*s).powi(2)).sum();
                let rms = (energy / pcm.len() as f64).sqrt();
                assert!((1000.0..6000.0).contains(&rms), "{}: {rms}", prompt.name);
            }
        }
    }

    #[test]
    fn a_damaged_prompt_is_unplayable() {
        assert!(decode(b"OggS").is_none());
    }
}
