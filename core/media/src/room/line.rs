//! Sound that becomes packets: once for all who hear the same, or for one alone.

use codec::Encoder;
use codec::mix::Limiter;
use codec::resample::Resampler;

use crate::encoder::Manner;

/// An encoder, what waits for it and what it has made in this turn.
#[derive(Debug)]
pub(super) struct Line {
    encoder: Encoder,
    rate: u32,
    /// Samples of a packet.
    frame: usize,
    waiting: Vec<i16>,
    /// What waited before this turn.
    before: Vec<i16>,
    /// The last packet's sound.
    last: Vec<i16>,
    /// Encoding has been left out since the last packet.
    stale: bool,
    octets: Vec<u8>,
    /// Where the packets of this turn end.
    ends: Vec<usize>,
}

impl Line {
    pub(super) fn new(manner: &Manner) -> Result<Self, codec::Error> {
        let encoder = Encoder::new(manner.codec, &manner.parameters)?;
        let rate = encoder.sample_rate();
        let frame = (rate / 1000 * u32::from(manner.ptime)) as usize;
        Ok(Self {
            encoder,
            rate,
            frame,
            waiting: Vec::with_capacity(2 * frame.max(rate as usize / 50)),
            before: Vec::with_capacity(frame),
            last: vec![0; frame],
            stale: false,
            octets: vec![0; MOST_PACKETS * MOST_OCTETS],
            ends: Vec::with_capacity(MOST_PACKETS),
        })
    }

    /// Samples a second.
    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    /// Takes 20 ms and makes the packets that are full.
    pub(super) fn push(&mut self, pcm: &[i16]) {
        self.gather(pcm);
        let mut end = 0;
        while self.waiting.len() >= self.frame {
            let space = &mut self.octets[end..end + MOST_OCTETS];
            if std::mem::take(&mut self.stale) {
                // What was said right before brings the encoder to where the hearer's decoder is.
                let _ = self.encoder.encode(&self.last, space);
            }
            let frame = &self.waiting[..self.frame];
            end += self.encoder.encode(frame, space).unwrap_or(0);
            self.ends.push(end);
            self.finish_frame();
        }
    }

    /// Takes 20 ms that nobody hears.
    pub(super) fn skip(&mut self, pcm: &[i16]) {
        self.gather(pcm);
        self.stale = true;
        while self.waiting.len() >= self.frame {
            self.finish_frame();
        }
    }

    /// Goes on where `other` stands, which made the packets before this turn.
    fn follow(&mut self, other: &Self) {
        self.waiting.clone_from(&other.before);
        self.last.clone_from(&other.last);
        self.stale = true;
    }

    /// The payloads made in this turn; an empty one: nothing is to be sent for its time.
    pub(super) fn packets(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let ranges = starts.zip(&self.ends);
        ranges.map(|(start, end)| &self.octets[start..*end])
    }

    fn gather(&mut self, pcm: &[i16]) {
        self.ends.clear();
        self.before.clone_from(&self.waiting);
        self.waiting.extend_from_slice(pcm);
    }

    fn finish_frame(&mut self) {
        self.last.copy_from_slice(&self.waiting[..self.frame]);
        self.waiting.drain(..self.frame);
    }
}

/// What one participant hears whose own voice is in the sum.
#[derive(Debug)]
pub(super) struct Solo {
    pub(super) line: Line,
    limiter: Limiter,
    resampler: Option<(u32, Resampler)>,
    pcm: Vec<i16>,
    /// In use since the last turn.
    on: bool,
}

impl Solo {
    pub(super) fn new(manner: &Manner) -> Result<Self, codec::Error> {
        Ok(Self {
            line: Line::new(manner)?,
            limiter: Limiter::new(),
            resampler: None,
            pcm: Vec::with_capacity(super::MOST_SAMPLES),
            on: false,
        })
    }

    /// Makes packets of `sum`, which has `rate` samples a second. `shared` has been used until now;
    /// `scratch` is as long as `sum`.
    pub(super) fn push(&mut self, sum: &[i32], rate: u32, shared: &Line, scratch: &mut [i16]) {
        if !std::mem::replace(&mut self.on, true) {
            self.line.follow(shared);
            self.limiter = Limiter::new();
        }
        self.limiter.process(sum, scratch);
        if rate == self.line.rate {
            self.line.push(scratch);
            return;
        }
        let resampler = match &mut self.resampler {
            Some((from, resampler)) if *from == rate => resampler,
            place => &mut place.insert((rate, Resampler::new(rate, self.line.rate))).1,
        };
        self.pcm.clear();
        resampler.process(scratch, &mut self.pcm);
        self.line.push(&self.pcm);
    }

    /// Is not in use in this turn.
    pub(super) fn rest(&mut self) {
        self.on = false;
    }
}

/// The sum for all who hear it whole, at one rate.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) rate: u32,
    resampler: Option<Resampler>,
    pub(super) pcm: Vec<i16>,
}

impl Feed {
    /// Of a room that is mixed at `from`.
    pub(super) fn new(from: u32, rate: u32) -> Self {
        Self {
            rate,
            resampler: (from != rate).then(|| Resampler::new(from, rate)),
            pcm: Vec::with_capacity(super::MOST_SAMPLES),
        }
    }

    pub(super) fn fill(&mut self, sum: &[i16]) {
        self.pcm.clear();
        match &mut self.resampler {
            None => self.pcm.extend_from_slice(sum),
            Some(resampler) => resampler.process(sum, &mut self.pcm),
        }
    }
}

/// Packets of one turn: two of 10 ms.
const MOST_PACKETS: usize = 2;
/// Octets of the largest packet: 60 ms of 48 kHz in two channels fit.
const MOST_OCTETS: usize = 3800;

#[cfg(test)]
mod tests {
    use codec::{Codec, Parameters};

    use super::*;

    fn manner(codec: Codec, ptime: u8) -> Manner {
        Manner::new(codec, Parameters::default(), ptime)
    }

    #[test]
    fn packets_are_full_whatever_their_length() {
        for (ptime, expected) in [(10, 100), (20, 50), (30, 33), (40, 25), (60, 16)] {
            let mut line = Line::new(&manner(Codec::Pcmu, ptime)).unwrap();
            let mut made = 0;
            for _ in 0..50 {
                line.push(&[0; 160]);
                for payload in line.packets() {
                    assert_eq!(payload.len(), usize::from(ptime) * 8);
                    made += 1;
                }
            }
            assert_eq!(made, expected, "{ptime}");
        }
    }

    #[test]
    fn who_leaves_the_shared_stream_misses_nothing() {
        let manner = manner(
            Codec::L16 {
                rate: 8000,
                channels: 1,
            },
            30,
        );
        let mut shared = Line::new(&manner).unwrap();
        let mut solo = Solo::new(&manner).unwrap();
        let mut heard = Vec::new();
        for turn in 0..60i32 {
            let pcm: Vec<i16> = (0..160).map(|n| (turn * 160 + n) as i16).collect();
            let sum: Vec<i32> = pcm.iter().map(|s| i32::from(*s)).collect();
            shared.push(&pcm);
            let line = match turn / 7 % 2 {
                0 => {
                    solo.rest();
                    &shared
                }
                _ => {
                    solo.push(&sum, 8000, &shared, &mut [0; 160]);
                    &solo.line
                }
            };
            for payload in line.packets() {
                let samples = payload.as_chunks::<2>().0.iter();
                heard.extend(samples.map(|s| i16::from_be_bytes(*s)));
            }
        }
        let expected: Vec<i16> = (0..9600).map(|n| n as i16).collect();
        assert_eq!(heard, expected);
    }
}
