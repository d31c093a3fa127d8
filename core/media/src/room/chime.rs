//! The sound that tells that somebody comes or goes.

use codec::mix;
use codec::tone::Tone;

/// Two soft tones of a tenth of a second: rising when somebody comes, falling when somebody goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chime {
    notes: [f32; 2],
    /// Turns played so far.
    turn: usize,
    tone: Option<(u32, Tone)>,
}

impl Chime {
    pub(super) fn coming() -> Self {
        Self::of([587.0, 880.0])
    }

    pub(super) fn going() -> Self {
        Self::of([880.0, 587.0])
    }

    fn of(notes: [f32; 2]) -> Self {
        Self {
            notes,
            turn: 0,
            tone: None,
        }
    }

    /// Adds the next 20 ms, of `rate` samples a second, to `sum`; false when it is over.
    pub(super) fn play(&mut self, rate: u32, sum: &mut [i32], pcm: &mut [i16]) -> bool {
        let Some(frequency) = self.notes.get(self.turn / NOTE_TURNS) else {
            return false;
        };
        let begins = self.turn.is_multiple_of(NOTE_TURNS);
        let tone = match &mut self.tone {
            Some((of, tone)) if *of == rate && !begins => tone,
            tone => &mut tone.insert((rate, Tone::at(LEVEL, *frequency, rate))).1,
        };
        tone.fill(pcm);
        self.turn += 1;
        let ends = self.turn.is_multiple_of(NOTE_TURNS);
        let gain = |silent| if silent { 0.0 } else { 1.0 };
        mix::fade(pcm, gain(begins), gain(ends));
        mix::add(sum, pcm);
        true
    }
}

/// In dBm0.
const LEVEL: f32 = -18.0;
/// Turns of 20 ms in a note.
const NOTE_TURNS: usize = 5;

#[cfg(test)]
mod tests {
    use codec::tone;

    use super::*;

    #[test]
    fn it_rises_or_falls_and_ends() {
        for (mut chime, notes) in [
            (Chime::coming(), [587.0, 880.0]),
            (Chime::going(), [880.0, 587.0]),
        ] {
            let mut heard = Vec::new();
            let (mut sum, mut pcm) = ([0; 160], [0; 160]);
            while chime.play(8000, &mut sum, &mut pcm) {
                heard.extend(std::mem::replace(&mut sum, [0; 160]).map(|s| s as i16));
            }
            assert_eq!(heard.len(), 1600);
            for (half, note) in heard.chunks(800).zip(notes) {
                let level = tone::level(&half[160..640], note, 8000) - tone::ZERO_DBM0;
                assert!((level - LEVEL).abs() < 1.0, "{note}: {level}");
            }
        }
    }
}
