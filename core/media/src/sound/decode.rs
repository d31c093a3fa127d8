//! Files as samples: WAV, FLAC, MP3 and Ogg, any sampling rate and number of channels, as mono.

use std::fs::File;
use std::io::{Cursor, Read, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};

use codec::ogg_opus;
use codec::resample::Resampler;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream, ReadOnlySource};
use symphonia::core::meta::MetadataOptions;

use super::Unplayable;
use super::clip::WIDE;

/// What can be decoded from.
pub(crate) trait Input: MediaSource + 'static {}

impl Input for File {}
impl Input for Cursor<std::sync::Arc<[u8]>> {}

/// A file that is being decoded.
pub(crate) struct Decoding(Kind);

enum Kind {
    Opus(Box<ogg_opus::Reader<Box<dyn MediaSource>>>),
    Other(Box<Other>),
}

impl Decoding {
    /// Begins with a file; `extension` says what it probably is. Samples come at `rate` a second, 8
    /// or 16 kHz.
    ///
    /// # Errors
    /// It is no sound that we know.
    pub(crate) fn open(
        mut input: impl Input,
        extension: &str,
        rate: u32,
    ) -> Result<Self, Unplayable> {
        let is_opus = is_opus(&mut input).map_err(|e| unreadable(&e))?;
        contained(|| {
            if is_opus {
                let reader = ogg_opus::Reader::new(Box::new(input) as Box<dyn MediaSource>, rate);
                let reader = reader.map_err(|error| undecodable(&error))?;
                return Ok(Self(Kind::Opus(Box::new(reader))));
            }
            Other::open(Box::new(input), extension, rate).map(|it| Self(Kind::Other(Box::new(it))))
        })
    }

    /// Begins with a stream whose start is past once it has been read. Samples come at 16 kHz.
    ///
    /// # Errors
    /// It is no sound that we know.
    pub(crate) fn open_live(
        mut input: impl Read + Send + Sync + 'static,
        extension: &str,
    ) -> Result<Self, Unplayable> {
        let (head, len) = head(&mut input).map_err(|e| unreadable(&e))?;
        let input = Cursor::new(head).take(len as u64).chain(input);
        let input: Box<dyn MediaSource> = Box::new(ReadOnlySource::new(input));
        contained(|| {
            if names_opus(&head) {
                let reader = ogg_opus::Reader::new(input, WIDE);
                let reader = reader.map_err(|error| undecodable(&error))?;
                return Ok(Self(Kind::Opus(Box::new(reader))));
            }
            let other = Other::open(input, extension, WIDE)?;
            Ok(Self(Kind::Other(Box::new(other))))
        })
    }

    /// Appends some samples; false at the end.
    ///
    /// # Errors
    /// The file is damaged here, so that nothing more can be had.
    pub(crate) fn read(&mut self, pcm: &mut Vec<i16>) -> Result<bool, Unplayable> {
        contained(|| match &mut self.0 {
            Kind::Opus(reader) => reader.read(pcm).map_err(|error| undecodable(&error)),
            Kind::Other(other) => other.read(pcm),
        })
    }
}

struct Other {
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    rate: u32,
    /// From the rate of the file, once that is known.
    resampler: Option<(u32, Option<Resampler>)>,
    interleaved: Vec<f32>,
    mono: Vec<i16>,
}

impl Other {
    fn open(input: Box<dyn MediaSource>, extension: &str, rate: u32) -> Result<Self, Unplayable> {
        let stream = MediaSourceStream::new(input, Default::default());
        let mut hint = Hint::new();
        hint.with_extension(extension);
        let options = FormatOptions::default();
        let probe = symphonia::default::get_probe();
        let format = probe
            .probe(&hint, stream, options, MetadataOptions::default())
            .map_err(|error| undecodable(&error))?;
        let none = || Unplayable::Undecodable("no sound is in it".into());
        let track = format.default_track(TrackType::Audio).ok_or_else(none)?;
        let parameters = track.codec_params.as_ref().and_then(|p| p.audio());
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(
                parameters.ok_or_else(none)?,
                &AudioDecoderOptions::default(),
            )
            .map_err(|error| undecodable(&error))?;
        Ok(Self {
            track: track.id,
            format,
            decoder,
            rate,
            resampler: None,
            interleaved: Vec::new(),
            mono: Vec::new(),
        })
    }

    fn read(&mut self, pcm: &mut Vec<i16>) -> Result<bool, Unplayable> {
        let packet = match self.format.next_packet() {
            Ok(Some(packet)) => packet,
            // A file that was cut off, as a download may be, plays to where it ends.
            Ok(None) | Err(Error::IoError(_) | Error::ResetRequired) => return Ok(false),
            Err(error) => return Err(undecodable(&error)),
        };
        if packet.track_id != self.track {
            return Ok(true);
        }
        let sound = match self.decoder.decode(&packet) {
            Ok(sound) => sound,
            // One bad packet is a click.
            Err(Error::DecodeError(_)) => return Ok(true),
            Err(error) => return Err(undecodable(&error)),
        };
        let (from, channels) = (sound.spec().rate(), sound.spec().channels().count());
        if !RATES.contains(&from) || channels == 0 {
            let text = format!("{channels} channels of {from} Hz");
            return Err(Unplayable::Undecodable(text.into()));
        }
        self.interleaved.resize(sound.samples_interleaved(), 0.0);
        sound.copy_to_slice_interleaved(&mut self.interleaved);
        self.mono.clear();
        let frames = self.interleaved.chunks_exact(channels);
        self.mono.extend(frames.map(mixed));
        match self.resampler(from) {
            Some((resampler, mono)) => resampler.process(mono, pcm),
            None => pcm.extend_from_slice(&self.mono),
        }
        Ok(true)
    }

    /// What brings the file's rate to ours, with the samples for it; `None` if they are the same.
    fn resampler(&mut self, from: u32) -> Option<(&mut Resampler, &[i16])> {
        let to = self.rate;
        if self
            .resampler
            .as_ref()
            .is_none_or(|(rate, _)| *rate != from)
        {
            self.resampler = Some((from, (from != to).then(|| Resampler::new(from, to))));
        }
        let resampler = self.resampler.as_mut()?.1.as_mut()?;
        Some((resampler, &self.mono))
    }
}

/// All channels as one.
fn mixed(frame: &[f32]) -> i16 {
    let mean = frame.iter().sum::<f32>() / frame.len() as f32;
    (mean * 32_767.0).round() as i16
}

/// Whether the file is Opus in Ogg; it stands at its start again then.
fn is_opus(input: &mut impl Input) -> std::io::Result<bool> {
    let (head, _) = head(input)?;
    input.seek(SeekFrom::Start(0))?;
    Ok(names_opus(&head))
}

/// What a file begins with, and how much of that there is.
fn head(input: &mut impl Read) -> std::io::Result<([u8; 36], usize)> {
    let mut head = [0; 36];
    let mut len = 0;
    while len < head.len() {
        match input.read(&mut head[len..])? {
            0 => break,
            more => len += more,
        }
    }
    Ok((head, len))
}

/// # Source
/// RFC 7845 §5.1
fn names_opus(head: &[u8; 36]) -> bool {
    head.starts_with(b"OggS") && head.ends_with(b"OpusHead")
}

/// A panic of a decoder is a damaged file.
fn contained<T>(work: impl FnOnce() -> Result<T, Unplayable>) -> Result<T, Unplayable> {
    let panicked = |_| Err(Unplayable::Undecodable("the decoder has failed".into()));
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(panicked)
}

fn undecodable(error: &dyn std::error::Error) -> Unplayable {
    Unplayable::Undecodable(error.to_string().into())
}

fn unreadable(error: &std::io::Error) -> Unplayable {
    Unplayable::Unreadable(error.to_string().into())
}

/// Sampling rates of files that can be meant.
const RATES: std::ops::RangeInclusive<u32> = 4000..=384_000;
