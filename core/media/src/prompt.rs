//! The built-in prompts, decoded when they are first needed.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use codec::ogg_opus;
use codec::resample::Resampler;

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
    sound: OnceLock<Option<Sound>>,
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
        let decode = move || _ = self.sound.set(Sound::decode(self.file));
        let thread = std::thread::Builder::new().name("prompt".into());
        if thread.spawn(decode).is_err() {
            let _ = self.sound.set(None);
        }
    }

    /// The sound; `None` while it is being decoded.
    pub(crate) fn sound(&self) -> Option<Result<&Sound, Unplayable>> {
        self.sound.get().map(|s| s.as_ref().ok_or(Unplayable))
    }
}

/// The prompt could not be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unplayable;

/// A decoded prompt at both sampling rates that encoders want.
#[derive(Debug)]
pub(crate) struct Sound {
    wide: Vec<i16>,
    narrow: Vec<i16>,
}

impl Sound {
    fn decode(file: &[u8]) -> Option<Self> {
        let wide = ogg_opus::decode(file, 16_000).ok()?;
        let mut narrow = Vec::with_capacity(wide.len() / 2 + 1);
        Resampler::new(16_000, 8000).process(&wide, &mut narrow);
        Some(Self { wide, narrow })
    }

    /// Samples at `rate`, 8 or 16 kHz.
    pub(crate) fn at(&self, rate: u32) -> &[i16] {
        if rate == 8000 {
            &self.narrow
        } else {
            &self.wide
        }
    }
}

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        [$(Prompt::new($name, include_bytes!(concat!("../prompts/", $name, ".opus")))),*]
    };
}

static PROMPTS: [Prompt; 4] = built_in!["welcome", "busy", "not-found", "unavailable"];

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
            let sound = Sound::decode(prompt.file).unwrap();
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
        assert!(Sound::decode(b"OggS").is_none());
    }
}
