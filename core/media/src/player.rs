//! Sound that we make: tones and prompts, packet by packet.

use std::sync::Arc;

use codec::Encoder;
use codec::indication;
use codec::tone::Tone;

use crate::Source;
use crate::encoder::Manner;
use crate::prompt::{Prompt, Unplayable};
use crate::sound::{Library, Opened, Ring, Track};

#[derive(Debug)]
pub(crate) struct Player {
    sound: Sound,
    encoder: Encoder,
    /// The samples of one packet.
    frame: Vec<i16>,
}

/// What a packet's turn brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// A payload of this length; of none: nothing is to be sent for its time.
    Payload(usize),
    /// Nothing yet.
    Wait,
    /// The sound is over.
    End,
}

impl Player {
    /// A player of `source`; `None` if it makes no sound, or the codec fails.
    pub(crate) fn new(source: &Source, manner: &Manner, library: &Library) -> Option<Self> {
        let encoder = manner.prompter().ok()?;
        let rate = encoder.sample_rate();
        let sound = match source {
            Source::Tone(frequency) => Sound::Tone(Tone::new(*frequency, rate)),
            Source::Cadence(cadence) => {
                Sound::Cadence(Box::new(indication::Player::new(cadence, rate)))
            }
            Source::Prompt(name) => {
                let prompt = Prompt::named(name)?;
                prompt.load();
                Sound::Prompt { prompt, at: 0 }
            }
            Source::Sound(name) => Sound::opened(library.open(name, rate)),
            Source::File(file) => Sound::opened(library.open_file(file, rate)),
            Source::Echo | Source::Music | Source::Silence => return None,
        };
        let samples = rate / 1000 * u32::from(manner.ptime);
        Some(Self {
            sound,
            encoder,
            frame: vec![0; samples as usize],
        })
    }

    /// Is told that so many of a hundred packets are lost.
    pub(crate) fn expect_loss(&mut self, percent: u8) {
        // An encoder that fails shows it when it encodes.
        let _ = self.encoder.expect_loss(percent);
    }

    /// Encodes the next packet's worth into the start of `payload`.
    pub(crate) fn next(&mut self, payload: &mut [u8]) -> Turn {
        match self.sound.fill(&mut self.frame, self.encoder.sample_rate()) {
            Turn::Payload(_) => match self.encoder.encode(&self.frame, payload) {
                Ok(len) => Turn::Payload(len),
                Err(_) => Turn::End,
            },
            turn => turn,
        }
    }
}

#[derive(Debug)]
enum Sound {
    Tone(Tone),
    Cadence(Box<indication::Player>),
    Prompt { prompt: &'static Prompt, at: usize },
    Opened { opened: Arc<Opened>, at: usize },
}

impl Sound {
    fn opened(opened: Arc<Opened>) -> Self {
        Self::Opened { opened, at: 0 }
    }

    fn fill(&mut self, frame: &mut [i16], rate: u32) -> Turn {
        match self {
            Self::Tone(tone) => tone.fill(frame),
            Self::Cadence(player) => player.fill(frame),
            Self::Prompt { prompt, at } => {
                return match prompt.sound() {
                    None => Turn::Wait,
                    Some(Err(Unplayable)) => Turn::End,
                    Some(Ok(clip)) => next_of(clip.at(rate), at, frame),
                };
            }
            Self::Opened { opened, at } => {
                return match opened.track() {
                    None => Turn::Wait,
                    Some(Err(_)) => Turn::End,
                    Some(Ok(Track::Clip(clip))) => next_of(clip.at(rate), at, frame),
                    Some(Ok(Track::Stream(ring))) => next_in(ring, frame),
                };
            }
        }
        Turn::Payload(frame.len())
    }
}

/// Fills the frame with the next samples of `pcm`, of which `at` have been played.
fn next_of(pcm: &[i16], at: &mut usize, frame: &mut [i16]) -> Turn {
    let rest = pcm.get(*at..).unwrap_or_default();
    if rest.is_empty() {
        return Turn::End;
    }
    let (start, end) = frame.split_at_mut(rest.len().min(frame.len()));
    start.copy_from_slice(&rest[..start.len()]);
    end.fill(0);
    *at += start.len();
    Turn::Payload(frame.len())
}

/// Fills the frame from the ring. If the decoder has fallen behind there is silence.
fn next_in(ring: &Ring, frame: &mut [i16]) -> Turn {
    if ring.is_over() {
        return Turn::End;
    }
    let len = ring.read(frame);
    frame[len..].fill(0);
    Turn::Payload(frame.len())
}
