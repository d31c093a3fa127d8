//! A file for whoever reads it piece by piece, and may wait for the disk.

use std::fmt;
use std::fs::File;
use std::path::Path;

use codec::resample::Resampler;

use super::Unplayable;
use super::clip::WIDE;
use super::decode::Decoding;

/// A sound from a file of any format that is played: WAV, FLAC, MP3, Ogg.
pub struct Reader {
    decoding: Decoding,
    resampler: Option<Resampler>,
    piece: Vec<i16>,
}

impl Reader {
    /// Begins with a file; samples come at `rate` a second.
    ///
    /// # Errors
    /// It can't be read, or is no sound that we know.
    pub fn open(path: &Path, rate: u32) -> Result<Self, Unplayable> {
        let file = File::open(path);
        let file = file.map_err(|error| Unplayable::Unreadable(error.to_string().into()))?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        let narrow = if rate < WIDE { NARROW } else { WIDE };
        Ok(Self {
            decoding: Decoding::open(file, extension.unwrap_or_default(), narrow)?,
            resampler: (narrow != rate).then(|| Resampler::new(narrow, rate)),
            piece: Vec::new(),
        })
    }

    /// Appends some samples, mono; false at the end.
    ///
    /// # Errors
    /// The file is damaged here, so that nothing more can be had.
    pub fn read(&mut self, pcm: &mut Vec<i16>) -> Result<bool, Unplayable> {
        let Some(resampler) = &mut self.resampler else {
            return self.decoding.read(pcm);
        };
        self.piece.clear();
        let more = self.decoding.read(&mut self.piece)?;
        resampler.process(&self.piece, pcm);
        Ok(more)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

/// Samples a second of narrow-band speech.
const NARROW: u32 = 8000;

#[cfg(test)]
mod tests {
    use codec::tone::{self, Tone};

    use super::*;
    use crate::record::WavFile;

    #[test]
    fn what_was_written_is_read_at_any_rate() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tone.wav");
        let mut file = WavFile::create(&path, 16_000).unwrap();
        let mut pcm = [0; 16_000];
        Tone::new(500.0, 16_000).fill(&mut pcm);
        file.write(&pcm).unwrap();
        file.end().unwrap();
        assert!(WavFile::create(&path, 16_000).is_err(), "it is there");
        for rate in [8000, 16_000, 48_000] {
            let mut reader = Reader::open(&path, rate).unwrap();
            let mut heard = Vec::new();
            while reader.read(&mut heard).unwrap() {}
            let missing = (rate as usize).abs_diff(heard.len());
            assert!(missing < rate as usize / 50, "{rate}: {}", heard.len());
            let middle = &heard[heard.len() / 4..heard.len() * 3 / 4];
            let level = tone::level(middle, 500.0, rate) - tone::ZERO_DBM0;
            assert!(level.abs() < 0.5, "{rate}: {level}");
        }
        let error = Reader::open(&folder.path().join("no.wav"), 8000).unwrap_err();
        assert!(matches!(error, Unplayable::Unreadable(_)), "{error}");
    }
}
