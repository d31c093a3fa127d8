//! Makes a prompt of a recording:
//!
//! ```text
//! prompt_file IN.wav OUT.opus
//! ```
//!
//! The silence around the speech is cut to a short pause, the level is set to that of a
//! well-placed telephone, and the result is encoded for 16 kHz.

use std::process::ExitCode;

use codec::ogg_opus;
use codec::resample::Resampler;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [wav, opus] = &args[..] else {
        eprintln!("prompt_file IN.wav OUT.opus");
        return ExitCode::from(2);
    };
    match convert(wav, opus) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{wav}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn convert(wav: &str, opus: &str) -> Result<(), String> {
    let file = std::fs::read(wav).map_err(|e| e.to_string())?;
    let (rate, pcm) = read_wav(&file).ok_or("not a mono WAV file of 16 bits")?;
    let mut speech = Vec::new();
    Resampler::new(rate, RATE).process(&pcm, &mut speech);
    let speech = levelled(&paused(trimmed(&speech)));
    let encoded = ogg_opus::encode(&speech, RATE, BIT_RATE).map_err(|e| e.to_string())?;
    std::fs::write(opus, encoded).map_err(|e| e.to_string())
}

/// Sampling rate and samples.
fn read_wav(file: &[u8]) -> Option<(u32, Vec<i16>)> {
    let mut rest = file
        .strip_prefix(b"RIFF")?
        .get(4..)?
        .strip_prefix(b"WAVE")?;
    let mut rate = None;
    loop {
        let (name, after) = rest.split_first_chunk::<4>()?;
        let (len, body) = after.split_first_chunk::<4>()?;
        let len = (u32::from_le_bytes(*len) as usize).min(body.len());
        match name {
            b"fmt " => match *body.get(..16)? {
                [1, 0, 1, 0, a, b, c, d, .., 16, 0] => {
                    rate = Some(u32::from_le_bytes([a, b, c, d]));
                }
                _ => return None,
            },
            b"data" => {
                let (samples, _) = body[..len].as_chunks();
                return Some((
                    rate?,
                    samples.iter().map(|s| i16::from_le_bytes(*s)).collect(),
                ));
            }
            _ => {}
        }
        rest = body.get(len.next_multiple_of(2)..)?;
    }
}

/// The part between the first and the last sample that can be heard.
fn trimmed(pcm: &[i16]) -> &[i16] {
    let audible = |s: &i16| s.unsigned_abs() > 200;
    let start = pcm.iter().position(audible).unwrap_or(0);
    let end = pcm.iter().rposition(audible).map_or(0, |last| last + 1);
    pcm.get(start..end).unwrap_or(&[])
}

/// A pause before and after: a phone loses the first moment while it opens its sound card.
fn paused(pcm: &[i16]) -> Vec<i16> {
    let mut paused = vec![0; RATE as usize * 3 / 10];
    paused.extend(pcm);
    paused.extend(vec![0; RATE as usize / 5]);
    paused
}

/// Speech at −20 dB of full scale (active parts, by energy), or less if its peaks forbid.
fn levelled(pcm: &[i16]) -> Vec<i16> {
    let frames = pcm.chunks(RATE as usize / 50);
    let power = |frame: &[i16]| {
        let sum: f64 = frame.iter().map(|s| f64::from(*s).powi(2)).sum();
        sum / frame.len().max(1) as f64
    };
    let active: Vec<f64> = frames.map(power).filter(|p| *p > 300.0 * 300.0).collect();
    let speech = (active.iter().sum::<f64>() / active.len().max(1) as f64).sqrt();
    let peak = pcm.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
    let gain = (TARGET / speech.max(1.0)).min(PEAK / f64::from(peak.max(1)));
    pcm.iter().map(|s| (f64::from(*s) * gain) as i16).collect()
}

const RATE: u32 = 16_000;
const BIT_RATE: u32 = 20_000;
const TARGET: f64 = 3276.8;
const PEAK: f64 = 26_000.0;
