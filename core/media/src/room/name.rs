//! The name that a party says before it comes into a room.

use std::sync::Arc;

use codec::mix;
use codec::resample::Resampler;

use crate::sound::Clip;
use crate::sound::clip::WIDE;

/// A name while it is said. What is longer than [`MOST_SECONDS`] is cut off.
#[derive(Debug)]
pub(super) struct Dictation {
    pcm: Vec<i16>,
    resampler: Option<(u32, Resampler)>,
}

impl Dictation {
    pub(super) fn new() -> Self {
        Self {
            pcm: Vec::with_capacity(MOST_SAMPLES + TURN),
            resampler: None,
        }
    }

    /// Takes what the party has said in 20 ms, at `rate`.
    pub(super) fn take(&mut self, pcm: &[i16], rate: u32) {
        if self.pcm.len() + TURN > MOST_SAMPLES {
            return;
        }
        if rate == WIDE {
            return self.pcm.extend_from_slice(pcm);
        }
        let resampler = match &mut self.resampler {
            Some((from, resampler)) if *from == rate => resampler,
            place => &mut place.insert((rate, Resampler::new(rate, WIDE))).1,
        };
        resampler.process(pcm, &mut self.pcm);
    }

    /// The name, without the silence around it; none: nothing was said.
    pub(super) fn name(&self) -> Option<Arc<Clip>> {
        let mut turns = self.pcm.chunks(TURN).map(|turn| mix::level(turn) > AUDIBLE);
        let count = turns.len();
        let first = turns.position(|audible| audible)?;
        let after = turns
            .rev()
            .position(|audible| audible)
            .unwrap_or(count - first - 1);
        let from = first.saturating_sub(MARGIN) * TURN;
        let to = ((count - after + MARGIN) * TURN).min(self.pcm.len());
        Some(Arc::new(Clip::new(self.pcm[from..to].to_vec())))
    }
}

/// Seconds of the longest name.
const MOST_SECONDS: usize = 5;
const MOST_SAMPLES: usize = MOST_SECONDS * WIDE as usize;
/// Samples of 20 ms.
const TURN: usize = WIDE as usize / 50;
/// Louder than this is said, in dBov.
const AUDIBLE: f32 = -45.0;
/// Turns that are left of the silence before and after.
const MARGIN: usize = 5;

#[cfg(test)]
mod tests {
    use codec::tone::Tone;

    use super::*;

    fn said(parts: &[(f32, usize)], rate: u32) -> Dictation {
        let mut dictation = Dictation::new();
        for (level, turns) in parts {
            let mut tone = Tone::at(*level, 700.0, rate);
            for _ in 0..*turns {
                let mut pcm = vec![0; rate as usize / 50];
                tone.fill(&mut pcm);
                dictation.take(&pcm, rate);
            }
        }
        dictation
    }

    #[test]
    fn the_silence_around_a_name_is_left_out() {
        for rate in [8000, 16_000, 48_000] {
            let name = said(&[(-70.0, 60), (-15.0, 40), (-70.0, 50)], rate);
            let turns = name.name().unwrap().at(WIDE).len() / TURN;
            assert!((48..=54).contains(&turns), "{rate}: {turns}");
        }
        assert!(said(&[(-70.0, 60)], 8000).name().is_none());
        assert!(Dictation::new().name().is_none());
        // Up to the last moment, and no pause in it is left out.
        let name = said(&[(-15.0, 1), (-70.0, 30), (-15.0, 1)], 16_000);
        assert_eq!(name.name().unwrap().at(WIDE).len() / TURN, 32);
    }

    #[test]
    fn a_long_name_is_cut_off() {
        let name = said(&[(-15.0, 400)], 48_000);
        let len = name.name().unwrap().at(WIDE).len();
        assert!(
            len <= MOST_SAMPLES && len > MOST_SAMPLES - 2 * TURN,
            "{len}"
        );
        assert!(name.pcm.capacity() <= MOST_SAMPLES + TURN);
    }
}
