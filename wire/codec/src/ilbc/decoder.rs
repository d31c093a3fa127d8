//! Frames in, sound out.

use super::bits::Frame;
use super::concealment::Concealment;
use super::enhancer::Enhancer;
use super::excitation::Excitation;
use super::filter::{HighPass, Memory, settle, synthesise};
use super::lsf::{self, Lsf};
use super::quantiser;
use super::{FLAT, Lpc, MAX_SAMPLES, MAX_SUB_BLOCKS, Mode, ORDER, SUB_BLOCK};
use crate::Error;

/// Decodes one stream.
#[derive(Clone, Debug)]
pub struct Decoder {
    stream: Stream,
}

impl Decoder {
    /// A new stream, which is expected to have frames of this length.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        let stream = Stream::new(mode);
        Self { stream }
    }

    /// Decodes whole frames into the start of `pcm` and returns how many samples that is. Frames of
    /// the other length are known by their bytes. A frame that says that it was lost, or that makes
    /// no sense, is made up.
    ///
    /// # Errors
    /// The bytes are no frames, or `pcm` is too short.
    pub fn decode(&mut self, bytes: &[u8], pcm: &mut [i16]) -> Result<usize, Error> {
        let whole = |mode: &Mode| !bytes.is_empty() && bytes.len().is_multiple_of(mode.bytes());
        let mut modes = [self.stream.mode, self.stream.mode.other()].into_iter();
        let mode = modes.find(whole).ok_or(Error::Damaged)?;
        let samples = bytes.len() / mode.bytes() * mode.samples();
        let pcm = pcm.get_mut(..samples).ok_or(Error::Parameters)?;
        if self.stream.mode != mode {
            self.stream = Stream::new(mode);
        }
        let frames = bytes.chunks_exact(mode.bytes());
        for (bytes, pcm) in frames.zip(pcm.chunks_exact_mut(mode.samples())) {
            self.stream.decode(Frame::parse(mode, bytes).as_ref(), pcm);
        }
        Ok(samples)
    }

    /// Makes up as many frames as `pcm` has space for and returns how many samples that is. The
    /// sound fades away within 200 ms.
    ///
    /// # Source
    /// RFC 3951 §4.5
    pub fn conceal(&mut self, pcm: &mut [i16]) -> usize {
        let mut samples = 0;
        for pcm in pcm.chunks_exact_mut(self.stream.mode.samples()) {
            self.stream.decode(None, pcm);
            samples += pcm.len();
        }
        samples
    }
}

/// What a frame needs to know of those before.
#[derive(Clone, Debug)]
struct Stream {
    mode: Mode,
    /// The spectrum at the end of the frame before.
    before: Lsf,
    concealment: Concealment,
    enhancer: Enhancer,
    /// The filters of the last sub-blocks, which are heard late.
    late: [Lpc; 2],
    synthesis: Memory,
    high_pass: HighPass,
}

impl Stream {
    const fn new(mode: Mode) -> Self {
        Self {
            mode,
            before: lsf::MEAN,
            concealment: Concealment::new(),
            enhancer: Enhancer::new(mode),
            late: [FLAT; 2],
            synthesis: [0.0; ORDER],
            high_pass: HighPass::output(),
        }
    }

    /// Without a frame, one is made up.
    ///
    /// # Source
    /// RFC 3951 §4
    fn decode(&mut self, frame: Option<&Frame>, pcm: &mut [i16]) {
        let (mut samples, filters) = match frame {
            Some(frame) => self.received(frame),
            None => self.lost(),
        };
        let samples = &mut samples[..self.mode.samples()];
        self.enhancer.enhance(samples);
        self.sound(samples, &filters);
        let pairs = pcm.iter_mut().zip(&*samples);
        pairs.for_each(|(out, sample)| *out = sample.round_ties_even() as i16);
        self.settle();
    }

    fn received(&mut self, frame: &Frame) -> ([f32; MAX_SAMPLES], [Lpc; MAX_SUB_BLOCKS]) {
        let spectra = frame.spectra.map(quantiser::spectrum);
        let [first, second] = spectra;
        let spectra = match self.mode {
            Mode::Ms20 => [first; 2],
            Mode::Ms30 => [first, second],
        };
        let filters = lsf::filters(self.mode, &self.before, &spectra);
        self.before = spectra[1];
        let mut samples = Excitation::decode(self.mode, frame, &filters).samples;
        let last = &filters[self.mode.sub_blocks() - 1];
        let heard = &mut samples[..self.mode.samples()];
        self.concealment.heard(heard, last);
        (samples, filters)
    }

    fn lost(&mut self) -> ([f32; MAX_SAMPLES], [Lpc; MAX_SUB_BLOCKS]) {
        let mut samples = [0.0; MAX_SAMPLES];
        let made_up = &mut samples[..self.mode.samples()];
        let filter = self.concealment.make_up(made_up);
        (samples, [filter; MAX_SUB_BLOCKS])
    }

    /// From enhanced excitation to sound.
    ///
    /// # Source
    /// RFC 3951 §4.7, §4.8
    fn sound(&mut self, samples: &mut [f32], filters: &[Lpc; MAX_SUB_BLOCKS]) {
        let filters = &filters[..self.mode.sub_blocks()];
        let (now, late) = filters.split_at(filters.len() - Enhancer::delay(self.mode));
        let before = &self.late[..late.len()];
        let blocks = samples.chunks_mut(SUB_BLOCK);
        for (block, filter) in blocks.zip(before.iter().chain(now)) {
            synthesise(filter, &mut self.synthesis, block);
        }
        self.late[..late.len()].copy_from_slice(late);
        self.high_pass.filter(samples);
    }

    /// Begins anew if a frame that nobody encodes has made a filter run away.
    fn settle(&mut self) {
        settle(&mut self.synthesis);
        self.high_pass.settle();
        let sane = |sample: &f32| sample.abs() < RUNAWAY;
        if !self.synthesis.iter().all(sane) {
            *self = Self::new(self.mode);
        }
    }
}

/// A thousand times as loud as can be heard.
const RUNAWAY: f32 = 3e7;
