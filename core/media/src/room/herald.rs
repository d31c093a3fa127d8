//! What tells a room that somebody comes or goes: a sound, and the name that was said.

use std::collections::VecDeque;
use std::sync::Arc;

use codec::mix;
use codec::resample::Resampler;

use super::chime::Chime;
use super::{MOST_SAMPLES, TURNS};
use crate::prompt::Prompt;
use crate::sound::Clip;
use crate::sound::clip::{NARROW, WIDE};

/// Announcements, one after the other.
#[derive(Debug)]
pub(super) struct Herald {
    waiting: VecDeque<Announcement>,
    /// A piece of a clip, at the room's rate.
    piece: Vec<i16>,
}

#[derive(Debug)]
struct Announcement {
    chime: Option<Chime>,
    name: Option<Arc<Clip>>,
    /// What is said of the name.
    words: Option<&'static Prompt>,
    /// Turns that the clip in hand has been heard.
    turn: usize,
    resampler: Option<(u32, Resampler)>,
}

impl Herald {
    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::with_capacity(MOST_WAITING),
            piece: Vec::with_capacity(MOST_SAMPLES),
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Loads what is said beside names, so that it is there when a name is.
    pub(super) fn expect_names() {
        for words in [JOINED, LEFT].into_iter().filter_map(Prompt::named) {
            words.load();
        }
    }

    /// Somebody has come, and may have said its name.
    pub(super) fn coming(&mut self, name: Option<Arc<Clip>>) {
        self.announce(Chime::coming(), name, JOINED);
    }

    /// Somebody has gone.
    pub(super) fn going(&mut self, name: Option<Arc<Clip>>) {
        self.announce(Chime::going(), name, LEFT);
    }

    /// A mere sound takes the place of the one before it. If too many names wait, the oldest is left out.
    fn announce(&mut self, chime: Chime, name: Option<Arc<Clip>>, words: &str) {
        let words = Prompt::named(words).filter(|_| name.is_some());
        if let Some(last) = self.waiting.back_mut().filter(|last| last.is_sound())
            && name.is_none()
        {
            last.chime = Some(chime);
            return;
        }
        if self.waiting.len() == MOST_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Announcement {
            chime: Some(chime),
            name,
            words,
            turn: 0,
            resampler: None,
        });
    }

    /// Adds the next 20 ms, of `rate` samples a second, to `sum`.
    pub(super) fn play(&mut self, rate: u32, sum: &mut [i32], scratch: &mut [i16]) {
        while let Some(first) = self.waiting.front_mut() {
            if first.play(rate, sum, scratch, &mut self.piece) {
                return;
            }
            self.waiting.pop_front();
        }
    }
}

impl Announcement {
    fn is_sound(&self) -> bool {
        self.chime.is_some() && self.name.is_none()
    }

    /// False when it is over.
    fn play(
        &mut self,
        rate: u32,
        sum: &mut [i32],
        scratch: &mut [i16],
        piece: &mut Vec<i16>,
    ) -> bool {
        if let Some(chime) = &mut self.chime {
            if chime.play(rate, sum, scratch) {
                return true;
            }
            self.chime = None;
        }
        if let Some(name) = self.name.clone() {
            if self.say(&name, rate, sum, piece) {
                return true;
            }
            self.name = None;
        }
        if let Some(words) = self.words {
            // Not there yet: then the name alone must do.
            if let Some(Ok(clip)) = words.sound()
                && self.say(clip, rate, sum, piece)
            {
                return true;
            }
            self.words = None;
        }
        false
    }

    /// Adds the next piece of a clip; false when it is over.
    fn say(&mut self, clip: &Clip, rate: u32, sum: &mut [i32], piece: &mut Vec<i16>) -> bool {
        let from = if rate == NARROW { NARROW } else { WIDE };
        let samples = (from / TURNS) as usize;
        let said = clip.at(from).chunks(samples).nth(self.turn);
        let Some(said) = said else {
            self.turn = 0;
            return false;
        };
        self.turn += 1;
        if rate == from {
            mix::add(sum, said);
            return true;
        }
        let resampler = match &mut self.resampler {
            Some((to, resampler)) if *to == rate => resampler,
            place => &mut place.insert((rate, Resampler::new(from, rate))).1,
        };
        piece.clear();
        resampler.process(said, piece);
        mix::add(sum, piece);
        true
    }
}

/// Announcements that wait.
const MOST_WAITING: usize = 8;
const JOINED: &str = "conference-joined";
const LEFT: &str = "conference-left";

#[cfg(test)]
mod tests {
    use codec::tone::{self, Tone};

    use super::*;

    fn name() -> Arc<Clip> {
        let mut pcm = vec![0; WIDE as usize];
        Tone::at(-15.0, 1250.0, WIDE).fill(&mut pcm);
        Arc::new(Clip::new(pcm))
    }

    /// What is heard until there is nothing more.
    fn heard(herald: &mut Herald, rate: u32) -> Vec<i16> {
        let (mut pcm, mut scratch) = (Vec::new(), vec![0; (rate / TURNS) as usize]);
        while !herald.is_silent() {
            let mut sum = vec![0; scratch.len()];
            herald.play(rate, &mut sum, &mut scratch);
            pcm.extend(sum.iter().map(|sample| *sample as i16));
        }
        pcm
    }

    #[test]
    fn a_name_comes_after_the_sound_and_before_the_words() {
        let words = Prompt::named(JOINED).unwrap();
        words.load();
        let begin = std::time::Instant::now();
        while words.sound().is_none() {
            assert!(begin.elapsed().as_secs() < 60, "the words are not there");
            std::thread::yield_now();
        }
        for rate in [8000, 16_000, 48_000] {
            let mut herald = Herald::new();
            herald.coming(Some(name()));
            let pcm = heard(&mut herald, rate);
            let tenth = rate as usize / 10;
            let level = |at: usize, hertz| {
                tone::level(&pcm[at * tenth..][..tenth], hertz, rate) - tone::ZERO_DBM0
            };
            assert!(level(0, 587.0) > -24.0 && level(1, 880.0) > -24.0, "{rate}");
            assert!((3..11).all(|at| (level(at, 1250.0) + 15.0).abs() < 2.0));
            assert!(level(14, 1250.0) < -25.0);
            let seconds = pcm.len() as f32 / rate as f32;
            assert!((3.0..6.0).contains(&seconds), "{seconds} s");
        }
    }

    #[test]
    fn sounds_take_each_others_place_and_names_wait() {
        let mut herald = Herald::new();
        (0..20).for_each(|_| herald.coming(None));
        herald.going(None);
        // Ten turns of sound, and one that finds that it is over.
        assert_eq!(heard(&mut herald, 8000).len() / 160, 11);
        (0..20).for_each(|_| herald.going(Some(name())));
        assert_eq!(herald.waiting.len(), MOST_WAITING);
    }
}
