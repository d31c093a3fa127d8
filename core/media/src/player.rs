//! Sound that we make: tones and prompts, packet by packet.

use codec::Encoder;
use codec::tone::Tone;

use crate::encoder::{encoder, ptime};
use crate::prompt::{Prompt, Unplayable};
use crate::{Format, Source};

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
    /// A payload of this length.
    Payload(usize),
    /// Nothing yet.
    Wait,
    /// The sound is over.
    End,
}

impl Player {
    /// A player of `source`; `None` if it makes no sound, or the codec fails.
    pub(crate) fn new(source: &Source, format: Format) -> Option<Self> {
        let encoder = encoder(format.codec).ok()?;
        let sound = match source {
            Source::Tone(frequency) => Sound::Tone(Tone::new(*frequency, encoder.sample_rate())),
            Source::Prompt(name) => {
                let prompt = Prompt::named(name)?;
                prompt.load();
                Sound::Prompt { prompt, at: 0 }
            }
            Source::Echo | Source::Silence => return None,
        };
        let samples = encoder.sample_rate() / 1000 * u32::from(ptime(format));
        Some(Self {
            sound,
            encoder,
            frame: vec![0; samples as usize],
        })
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
    Prompt { prompt: &'static Prompt, at: usize },
}

impl Sound {
    fn fill(&mut self, frame: &mut [i16], rate: u32) -> Turn {
        match self {
            Self::Tone(tone) => tone.fill(frame),
            Self::Prompt { prompt, at } => {
                let pcm = match prompt.sound() {
                    None => return Turn::Wait,
                    Some(Err(Unplayable)) => return Turn::End,
                    Some(Ok(sound)) => sound.at(rate),
                };
                let rest = pcm.get(*at..).unwrap_or_default();
                if rest.is_empty() {
                    return Turn::End;
                }
                let (start, end) = frame.split_at_mut(rest.len().min(frame.len()));
                start.copy_from_slice(&rest[..start.len()]);
                end.fill(0);
                *at += start.len();
            }
        }
        Turn::Payload(frame.len())
    }
}
