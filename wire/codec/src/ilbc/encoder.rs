//! Sound in, frames out.

use super::bits::Frame;
use super::codebook;
use super::excitation::{Excitation, Part};
use super::filter::{HighPass, Memory, analyse, settle};
use super::lpc::{self, WINDOW, Window};
use super::lsf::{self, Lsf};
use super::start_state::{self, first_block};
use super::{FLAT, Lpc, MAX_SAMPLES, MAX_SUB_BLOCKS, Mode, ORDER, SUB_BLOCK};
use super::{quantiser, search};
use crate::Error;

/// Encodes one stream.
#[derive(Clone, Debug)]
pub struct Encoder {
    wished: Mode,
    stream: Stream,
}

impl Encoder {
    /// A new stream with frames of this length.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self {
            wished: mode,
            stream: Stream::new(mode),
        }
    }

    /// Encodes whole frames into the start of `out` and returns how many bytes that is. What is not
    /// whole frames of the length that is wished, but of the other one, is encoded in those.
    ///
    /// # Errors
    /// `pcm` is not whole frames, or `out` is too small.
    pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Result<usize, Error> {
        let whole = |mode: &Mode| !pcm.is_empty() && pcm.len().is_multiple_of(mode.samples());
        let mut modes = [self.wished, self.wished.other()].into_iter();
        let mode = modes.find(whole).ok_or(Error::Parameters)?;
        let len = pcm.len() / mode.samples() * mode.bytes();
        let out = out.get_mut(..len).ok_or(Error::Parameters)?;
        if self.stream.mode != mode {
            self.stream = Stream::new(mode);
        }
        let frames = pcm.chunks_exact(mode.samples());
        for (sound, bytes) in frames.zip(out.chunks_exact_mut(mode.bytes())) {
            self.stream.encode(sound).encode(mode, bytes);
        }
        Ok(len)
    }
}

/// What a frame needs to know of those before.
#[derive(Clone, Debug)]
struct Stream {
    mode: Mode,
    high_pass: HighPass,
    /// The newest sound behind 60 samples that only the analysis of a frame of 30 ms needs.
    sound: [f32; HISTORY],
    /// The spectrum at the end of the frame before, as it was and as it was sent.
    before: Lsf,
    sent_before: Lsf,
    analysis: Memory,
}

/// The filters of each sub-block: as the decoder has them, and for the error to be shaped by.
struct Filters {
    quantised: [Lpc; MAX_SUB_BLOCKS],
    weighting: [Lpc; MAX_SUB_BLOCKS],
}

impl Stream {
    fn new(mode: Mode) -> Self {
        Self {
            mode,
            high_pass: HighPass::input(),
            sound: [0.0; HISTORY],
            before: lsf::MEAN,
            sent_before: lsf::MEAN,
            analysis: [0.0; ORDER],
        }
    }

    fn encode(&mut self, pcm: &[i16]) -> Frame {
        let mut frame = Frame::EMPTY;
        self.take(pcm);
        let filters = self.describe(&mut frame);
        let residual = self.residual(&filters.quantised);
        let residual = &residual[..self.mode.samples()];
        start_state::locate(self.mode, residual, &mut frame);
        let first = first_block(&frame);
        let weighting = [&filters.weighting[first], &filters.weighting[first + 1]];
        let filter = &filters.quantised[first];
        start_state::encode(self.mode, residual, filter, weighting, &mut frame);
        self.fill(residual, &filters, &mut frame);
        self.high_pass.settle();
        settle(&mut self.analysis);
        frame
    }

    /// # Source
    /// RFC 3951 §3.1
    fn take(&mut self, pcm: &[i16]) {
        self.sound.copy_within(pcm.len().., 0);
        let fresh = &mut self.sound[HISTORY - pcm.len()..];
        let pairs = fresh.iter_mut().zip(pcm);
        pairs.for_each(|(sample, pcm)| *sample = f32::from(*pcm));
        self.high_pass.filter(fresh);
    }

    /// The spectrum of the newest sound, which is written into `frame`.
    ///
    /// # Source
    /// RFC 3951 §3.2, §3.4
    fn describe(&mut self, frame: &mut Frame) -> Filters {
        let mode = self.mode;
        let analyse = |window, from: usize, fallback: &Lsf| {
            let mut sound = [0.0; WINDOW];
            sound.copy_from_slice(&self.sound[from..from + WINDOW]);
            lsf::from_lpc(&lpc::predict(window, &sound), fallback)
        };
        let first = match mode {
            Mode::Ms20 => self.before,
            Mode::Ms30 => analyse(Window::Middle, 0, &self.before),
        };
        let last = analyse(Window::End, HISTORY - WINDOW, &first);
        let spectra = match mode {
            Mode::Ms20 => [last; 2],
            Mode::Ms30 => [first, last],
        };
        frame.spectra = spectra.map(|spectrum| quantiser::quantise(&spectrum));
        let sent = frame.spectra.map(quantiser::spectrum);
        let weighting = lsf::filters(mode, &self.before, &spectra);
        let filters = Filters {
            quantised: lsf::filters(mode, &self.sent_before, &sent),
            weighting: weighting.map(|lpc| lpc::widened(&lpc, WEIGHTING)),
        };
        (self.before, self.sent_before) = (last, sent[1]);
        filters
    }

    /// # Source
    /// RFC 3951 §3.3
    fn residual(&mut self, filters: &[Lpc; MAX_SUB_BLOCKS]) -> [f32; MAX_SAMPLES] {
        let mut residual = [0.0; MAX_SAMPLES];
        let sound = self.sound[HISTORY - self.mode.samples()..].chunks(SUB_BLOCK);
        for ((sound, out), filter) in sound.zip(residual.chunks_mut(SUB_BLOCK)).zip(filters) {
            analyse(filter, &mut self.analysis, sound, out);
        }
        residual
    }

    /// Encodes all parts beside the start state.
    ///
    /// # Source
    /// RFC 3951 §3.6
    fn fill(&self, residual: &[f32], filters: &Filters, frame: &mut Frame) {
        let mut excitation = Excitation::of_state(self.mode, frame, &filters.quantised);
        for part in Part::all(self.mode, frame) {
            let memory = excitation.memory(part);
            let memory = &memory[..part.memory()];
            let weighting = filters.weighting.get(part.sub_block()).unwrap_or(&FLAT);
            let shape = search::search(memory, &part.target(residual), part, weighting);
            *part.shape_mut(frame) = shape;
            excitation.add(part, codebook::construct(memory, part, shape));
        }
    }
}

/// Samples that an analysis looks at, and those before that the other one does.
const HISTORY: usize = 300;
/// How far the error may follow the spectrum.
///
/// # Source
/// RFC 3951 §3.4
const WEIGHTING: f32 = 0.4222;
