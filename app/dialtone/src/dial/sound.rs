//! What is said and heard in a call.

use std::collections::VecDeque;

use anyhow::{Context, Result, bail, ensure};
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

/// Where sound comes from and goes to while the call is up.
pub(super) struct Sound {
    file: Option<File>,
    record: Option<WavFile>,
    #[cfg(feature = "audio")]
    streams: Option<Streams>,
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
    /// For a call with so many samples a second.
    pub(super) fn open(dial: &Dial, rate: u32) -> Result<Self> {
        let file = dial.play.as_ref().map(|path| {
            let reader = Reader::open(path, rate);
            reader.with_context(|| format!("--play {}", path.display()))
        });
        let record = dial.record.as_ref().map(|path| {
            let file = WavFile::create(path, rate);
            file.with_context(|| format!("--record {}: it can't be written", path.display()))
        });
        Ok(Self {
            file: file.transpose()?.map(File::new),
            record: record.transpose()?,
            #[cfg(feature = "audio")]
            streams: None,
        })
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
            Some(record) => record.end().context("the recording can't be written"),
            None => Ok(()),
        }
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
