//! Files that are being written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use codec::ogg_opus;

use super::Container;

/// A file that can be played up to what was written last.
#[derive(Debug)]
pub(super) enum Sink {
    Wav(Wav),
    Opus(Box<ogg_opus::Writer<File>>),
}

impl Sink {
    /// A new file, for its owner alone.
    pub(super) fn create(
        path: &Path,
        container: Container,
        rate: u32,
        channels: u8,
    ) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        match container {
            Container::Wav => Wav::begin(file, rate, channels).map(Self::Wav),
            Container::OggOpus => {
                let bit_rate = BIT_RATE * u32::from(channels);
                let writer = ogg_opus::Writer::new(file, rate, channels, bit_rate);
                writer
                    .map(Box::new)
                    .map(Self::Opus)
                    .map_err(io::Error::other)
            }
        }
    }

    /// Adds samples, those of the channels taking turns.
    pub(super) fn write(&mut self, pcm: &[i16]) -> io::Result<()> {
        match self {
            Self::Wav(wav) => wav.write(pcm),
            Self::Opus(writer) => writer.write(pcm).map_err(io::Error::other),
        }
    }

    pub(super) fn end(self) -> io::Result<()> {
        match self {
            Self::Wav(wav) => wav.file.sync_data(),
            Self::Opus(writer) => writer.end().map_err(io::Error::other),
        }
    }
}

/// A WAV file of one channel for whoever may wait for the disk; it can be played up to what was written last.
#[derive(Debug)]
pub struct WavFile(Sink);

impl WavFile {
    /// A new file for its owner alone, with so many samples a second.
    ///
    /// # Errors
    /// It can't be made, or is there already.
    pub fn create(path: &Path, rate: u32) -> io::Result<Self> {
        Sink::create(path, Container::Wav, rate, 1).map(Self)
    }

    /// Adds samples.
    ///
    /// # Errors
    /// They can't be written, or 4 GB are full.
    pub fn write(&mut self, pcm: &[i16]) -> io::Result<()> {
        self.0.write(pcm)
    }

    /// Brings it to the disk.
    ///
    /// # Errors
    /// It can't be.
    pub fn end(self) -> io::Result<()> {
        self.0.end()
    }
}

/// A WAV file whose header tells its length after each write.
#[derive(Debug)]
pub(super) struct Wav {
    file: File,
    rate: u32,
    channels: u8,
    /// Octets of sound.
    len: u32,
    octets: Vec<u8>,
}

impl Wav {
    fn begin(mut file: File, rate: u32, channels: u8) -> io::Result<Self> {
        let wav = Self {
            rate,
            channels,
            len: 0,
            octets: Vec::new(),
            file: file.try_clone()?,
        };
        file.write_all(&wav.header())?;
        Ok(wav)
    }

    fn write(&mut self, pcm: &[i16]) -> io::Result<()> {
        self.octets.clear();
        self.octets.extend(pcm.iter().flat_map(|s| s.to_le_bytes()));
        let len = u32::try_from(self.octets.len()).ok();
        let len = len.and_then(|len| self.len.checked_add(len));
        let Some(len) = len.filter(|len| *len < MAX_WAV) else {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "4 GB are full"));
        };
        let at = u64::from(HEADER) + u64::from(self.len);
        self.file.write_all_at(&self.octets, at)?;
        self.len = len;
        let header = self.header();
        self.file.write_all_at(&header, 0)
    }

    /// # Source
    /// Multimedia Programming Interface and Data Specifications 1.0, "Waveform Audio File Format"
    fn header(&self) -> [u8; HEADER as usize] {
        let frame = 2 * u16::from(self.channels);
        let mut header = [0; HEADER as usize];
        header[..4].copy_from_slice(b"RIFF");
        header[4..8].copy_from_slice(&(HEADER - 8 + self.len).to_le_bytes());
        header[8..16].copy_from_slice(b"WAVEfmt ");
        header[16..20].copy_from_slice(&16u32.to_le_bytes());
        header[20..22].copy_from_slice(&1u16.to_le_bytes());
        header[22..24].copy_from_slice(&u16::from(self.channels).to_le_bytes());
        header[24..28].copy_from_slice(&self.rate.to_le_bytes());
        header[28..32].copy_from_slice(&(self.rate * u32::from(frame)).to_le_bytes());
        header[32..34].copy_from_slice(&frame.to_le_bytes());
        header[34..36].copy_from_slice(&16u16.to_le_bytes());
        header[36..40].copy_from_slice(b"data");
        header[40..44].copy_from_slice(&self.len.to_le_bytes());
        header
    }
}

const HEADER: u32 = 44;
/// Longer ones cannot tell their length.
const MAX_WAV: u32 = u32::MAX - HEADER;
/// Bits a second of one channel.
const BIT_RATE: u32 = 24_000;
