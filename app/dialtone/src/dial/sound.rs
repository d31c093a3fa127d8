//! What is said and heard in a call.

use std::collections::VecDeque;
use std::io;

use anyhow::{Context, Result, bail, ensure};
use codec::resample::Resampler;
use media::record::WavFile;
use media::sound::Reader;

use super::Dial;
#[cfg(feature = "audio")]
use super::audio::Streams;

/// Refuses what could not be played or written before anybody is called.
pub(super) fn check(dial: &Dial) -> Result<()> {
    if let Some(path) = &dial.play {
        Reader::open(path, 8000).with_context(|| format!("--play {}", path.display()))?;
    }
    if let Some(path) = &dial.record {
        ensure!(
            !path.exists(),
            "--record {}: the file is there already; name another one, or remove it",
            path.display()
        );
    }
    Ok(())
}

/// Where sound comes from and goes to during a call.
pub(super) struct Sound {
    file: Option<File>,
    record: Option<Record>,
    #[cfg(feature = "audio")]
    streams: Option<Streams>,
}

/// What is written, at the rate of what was heard first.
struct Record {
    file: WavFile,
    rate: u32,
    /// If what is heard has another rate.
    resampler: Option<Resampler>,
    resampled: Vec<i16>,
}

/// A file that is said.
struct File {
    reader: Reader,
    /// Read and not said yet: at most a piece of the file, and what is left of one.
    waiting: VecDeque<i16>,
    piece: Vec<i16>,
    ended: bool,
}

impl Sound {
    /// For a call in which so many samples a second are heard at first.
    pub(super) fn open(dial: &Dial, rate: u32) -> Result<Self> {
        let record = dial.record.as_ref().map(|path| {
            let file = WavFile::create(path, rate);
            file.with_context(|| format!("--record {}: it can't be written", path.display()))
        });
        Ok(Self {
            file: None,
            record: record.transpose()?.map(|file| Record::new(file, rate)),
            #[cfg(feature = "audio")]
            streams: None,
        })
    }

    /// From now on so many samples a second are heard.
    pub(super) fn change_rate(&mut self, rate: u32) {
        if let Some(record) = &mut self.record {
            let differs = rate != record.rate;
            record.resampler = differs.then(|| Resampler::new(rate, record.rate));
        }
    }

    /// Begins to say the file, at so many samples a second.
    pub(super) fn begin(&mut self, dial: &Dial, rate: u32) -> Result<()> {
        let file = dial.play.as_ref().map(|path| {
            let reader = Reader::open(path, rate);
            reader.with_context(|| format!("--play {}", path.display()))
        });
        self.file = file.transpose()?.map(File::new);
        Ok(())
    }

    /// Talks and listens here as well.
    #[cfg(feature = "audio")]
    pub(super) fn join(&mut self, streams: Streams) {
        self.streams = Some(streams);
    }

    /// Fills `pcm` with what is to be said next.
    pub(super) fn say(&mut self, pcm: &mut [i16]) -> Result<()> {
        pcm.fill(0);
        #[cfg(feature = "audio")]
        if let Some(streams) = &mut self.streams {
            streams.say(pcm)?;
        }
        match &mut self.file {
            Some(file) => file.say(pcm).context("the file is damaged"),
            None => Ok(()),
        }
    }

    /// Takes what was heard.
    pub(super) fn hear(&mut self, pcm: &[i16]) -> Result<()> {
        #[cfg(feature = "audio")]
        if let Some(streams) = &mut self.streams {
            streams.hear(pcm);
        }
        if let Some(record) = &mut self.record {
            record
                .write(pcm)
                .context("the recording can't be written")?;
        }
        Ok(())
    }

    /// Whether there was a file, and all of it has been said.
    pub(super) fn is_over(&self) -> bool {
        let over = |file: &File| file.ended && file.waiting.is_empty();
        self.file.as_ref().is_some_and(over)
    }

    /// Completes what is written.
    pub(super) fn end(self) -> Result<()> {
        match self.record {
            Some(record) => record.file.end().context("the recording can't be written"),
            None => Ok(()),
        }
    }
}

impl Record {
    fn new(file: WavFile, rate: u32) -> Self {
        Self {
            file,
            rate,
            resampler: None,
            resampled: Vec::new(),
        }
    }

    fn write(&mut self, pcm: &[i16]) -> io::Result<()> {
        let Some(resampler) = &mut self.resampler else {
            return self.file.write(pcm);
        };
        self.resampled.clear();
        resampler.process(pcm, &mut self.resampled);
        self.file.write(&self.resampled)
    }
}

impl File {
    fn new(reader: Reader) -> Self {
        Self {
            reader,
            waiting: VecDeque::new(),
            piece: Vec::new(),
            ended: false,
        }
    }

    fn say(&mut self, pcm: &mut [i16]) -> Result<()> {
        while self.waiting.len() < pcm.len() && !self.ended {
            self.piece.clear();
            match self.reader.read(&mut self.piece) {
                Ok(more) => self.ended = !more,
                Err(error) => bail!(error),
            }
            self.waiting.extend(&self.piece);
        }
        for sample in pcm {
            *sample = self.waiting.pop_front().unwrap_or(0);
        }
        Ok(())
    }
}
