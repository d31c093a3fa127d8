//! Tones to play, and what is in a recording.

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Samples a second of everything that we write.
pub const RATE: u32 = 8000;

/// Writes a steady tone, 16-bit mono at [`RATE`], at about a third of full scale.
///
/// # Errors
/// When the file can't be written.
pub fn write_tone(path: &Path, hertz: f64, seconds: u32) -> Result<()> {
    let samples = (0..RATE * seconds).map(|n| sine(hertz, n, RATE) * 10_000.0);
    write(path, samples, RATE)
}

/// Writes two seconds of silence, keys (ITU-T Q.23) pressed for 100 ms each with as long a pause behind it,
/// and silence, `seconds` in all, at `rate` samples a second.
///
/// # Errors
/// When one is no key, or the file can't be written.
pub fn write_keys(path: &Path, keys: &str, seconds: u32, rate: u32) -> Result<()> {
    const ROWS: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
    const COLUMNS: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
    let place = |key| "123A456B789C*0#D".chars().position(|known| known == key);
    let places = keys.chars().map(|key| place(key).context("no key"));
    let places = places.collect::<Result<Vec<_>>>()?;
    let sample = |n: u32| {
        let (turn, within) = ((n / (rate / 10)) as usize, n % (rate / 10));
        let place = turn.checked_sub(20).filter(|turn| turn % 2 == 0);
        match place.and_then(|turn| places.get(turn / 2)) {
            Some(key) => {
                let tones = [ROWS[key / 4], COLUMNS[key % 4]];
                tones
                    .map(|hertz| sine(hertz, within, rate) * 6000.0)
                    .iter()
                    .sum()
            }
            None => 0.0,
        }
    };
    write(path, (0..rate * seconds).map(sample), rate)
}

fn sine(hertz: f64, n: u32, rate: u32) -> f64 {
    (f64::from(n) * TAU * hertz / f64::from(rate)).sin()
}

fn write(path: &Path, samples: impl Iterator<Item = f64>, rate: u32) -> Result<()> {
    let data: Vec<u8> = samples
        .flat_map(|sample| (sample as i16).to_le_bytes())
        .collect();
    let length = u32::try_from(data.len())?;
    let mut file = Vec::with_capacity(44 + data.len());
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + length).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend_from_slice(&rate.to_le_bytes());
    file.extend_from_slice(&(rate * 2).to_le_bytes());
    file.extend_from_slice(b"\x02\0\x10\0data");
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(&data);
    fs::write(path, file).with_context(|| format!("write {}", path.display()))
}

/// What a phone heard: the first channel.
#[derive(Debug)]
pub struct Recording {
    samples: Vec<i16>,
    rate: u32,
}

impl Recording {
    /// One of `rate` samples a second.
    #[must_use]
    pub fn new(samples: Vec<i16>, rate: u32) -> Self {
        Self { samples, rate }
    }

    /// Reads a WAV file with 16-bit samples; it may still be written to.
    ///
    /// # Errors
    /// When it can't be read or is something else.
    pub fn read(path: &Path) -> Result<Self> {
        let file = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(&file).with_context(|| format!("{} is not a WAV file", path.display()))
    }

    fn parse(file: &[u8]) -> Option<Self> {
        let mut rest = file
            .strip_prefix(b"RIFF")?
            .get(4..)?
            .strip_prefix(b"WAVE")?;
        let (mut channels, mut rate) = (1, RATE);
        loop {
            let (name, length) = (rest.get(..4)?, rest.get(4..8)?);
            let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
            let body = rest.get(8..)?;
            if name == b"data" {
                return Some(Self {
                    samples: first_channel(body, channels),
                    rate,
                });
            }
            if name == b"fmt " {
                channels = usize::from(u16::from_le_bytes(body.get(2..4)?.try_into().ok()?)).max(1);
                rate = u32::from_le_bytes(body.get(4..8)?.try_into().ok()?);
            }
            rest = body.get(length + length % 2..)?;
        }
    }

    /// How long it is.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.rate)
    }

    /// How long sound is in it, in seconds.
    #[must_use]
    pub fn sounding(&self) -> f64 {
        self.frames().filter(|frame| sounds(frame)).count() as f64 * FRAME_SECONDS
    }

    /// The share of the sound that is a tone of `hertz`: 1 is nothing but the tone.
    #[must_use]
    pub fn tone(&self, hertz: f64) -> f64 {
        let mut shares: Vec<f64> = self
            .frames()
            .filter(|frame| sounds(frame))
            .map(|frame| tone_share(frame, hertz / f64::from(self.rate)))
            .collect();
        shares.sort_by(f64::total_cmp);
        // The median: a frame at the start or end of the sound holds only a part of it.
        shares.get(shares.len() / 2).copied().unwrap_or(0.0)
    }

    /// How long nothing but a tone of `hertz` is in it, in seconds.
    #[must_use]
    pub fn seconds_of(&self, hertz: f64) -> f64 {
        let is_tone =
            |frame: &&[i16]| sounds(frame) && tone_share(frame, hertz / f64::from(self.rate)) > 0.9;
        self.frames().filter(is_tone).count() as f64 * FRAME_SECONDS
    }

    /// The share of silent 20 ms frames between the first and the last that sound.
    ///
    /// # Errors
    /// When nothing sounds at all.
    pub fn gaps(&self) -> Result<f64> {
        let frames: Vec<bool> = self.frames().map(sounds).collect();
        let first = frames
            .iter()
            .position(|sounds| *sounds)
            .context("nothing but silence")?;
        let last = frames.iter().rposition(|sounds| *sounds).unwrap_or(first);
        let between = &frames[first..=last];
        let silent = between.iter().filter(|sounds| !**sounds).count();
        Ok(silent as f64 / between.len() as f64)
    }

    /// Checks that this is `hertz`, for at least `seconds`, with less than 1 % of the frames lost.
    ///
    /// # Errors
    /// Says what it is instead.
    pub fn ensure_tone(&self, hertz: f64, seconds: f64) -> Result<()> {
        let (share, sounding) = (self.tone(hertz), self.sounding());
        ensure!(
            share > 0.9,
            "only {share:.2} of the sound is a tone of {hertz} Hz"
        );
        ensure!(
            sounding >= seconds,
            "only {sounding:.2} s of {seconds} s sound"
        );
        let gaps = self.gaps()?;
        ensure!(
            gaps < 0.01,
            "{:.2} % of the frames are silent",
            gaps * 100.0
        );
        Ok(())
    }

    fn frames(&self) -> impl Iterator<Item = &[i16]> {
        let length = (f64::from(self.rate) * FRAME_SECONDS) as usize;
        self.samples.chunks_exact(length.max(1))
    }
}

const FRAME_SECONDS: f64 = 0.02;

/// Root mean square of a frame that sounds: 40 dB under full scale.
const AUDIBLE: f64 = 327.0;

fn first_channel(data: &[u8], channels: usize) -> Vec<i16> {
    let frames = data.chunks_exact(2 * channels);
    frames
        .map(|frame| i16::from_le_bytes([frame[0], frame[1]]))
        .collect()
}

fn sounds(frame: &[i16]) -> bool {
    (energy(frame) / frame.len() as f64).sqrt() > AUDIBLE
}

fn energy(frame: &[i16]) -> f64 {
    frame.iter().map(|&sample| f64::from(sample).powi(2)).sum()
}

/// The share of a frame's energy at a frequency (cycles a sample), by Goertzel's algorithm.
fn tone_share(frame: &[i16], frequency: f64) -> f64 {
    let coefficient = 2.0 * (TAU * frequency).cos();
    let (mut last, mut before) = (0.0, 0.0);
    for &sample in frame {
        (last, before) = (f64::from(sample) + coefficient * last - before, last);
    }
    let power = last * last + before * before - coefficient * last * before;
    2.0 * power / (frame.len() as f64 * energy(frame)).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(hertz: f64) -> Recording {
        let name = format!("dialtone-tone-{hertz}-{}.wav", std::process::id());
        let path = std::env::temp_dir().join(name);
        write_tone(&path, hertz, 2).unwrap();
        let recording = Recording::read(&path).unwrap();
        fs::remove_file(path).unwrap();
        recording
    }

    #[test]
    fn a_tone_is_found_and_no_other() {
        let mut recording = written(440.0);
        assert!((recording.seconds() - 2.0).abs() < 0.001);
        recording.ensure_tone(440.0, 1.9).unwrap();
        assert!(recording.tone(1000.0) < 0.05);
        assert!(recording.ensure_tone(440.0, 3.0).is_err());
        recording.samples[..8000].fill(0);
        assert!((recording.seconds_of(440.0) - 1.0).abs() < 0.001);
        assert!(recording.seconds_of(1000.0) < 0.001);
    }

    #[test]
    fn silence_in_between_is_lost_frames() {
        let mut recording = written(1000.0);
        recording.samples[3200..3200 + 320].fill(0);
        assert!((recording.gaps().unwrap() - 0.02).abs() < 0.001);
        assert!(recording.ensure_tone(1000.0, 1.0).is_err());
    }

    #[test]
    fn silence_has_no_tone() {
        let recording = Recording::new(vec![0; 8000], RATE);
        assert!(recording.gaps().is_err());
        assert!(recording.tone(440.0) < 0.01);
    }
}
