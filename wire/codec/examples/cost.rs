//! What coding costs: microseconds for 20 ms of one stream, the best of some rounds.
//!
//! ```sh
//! cargo run --release -p dialtone-codec --all-features --example cost
//! ```

#![allow(clippy::print_stdout, reason = "it prints a table")]
#![allow(
    clippy::disallowed_methods,
    reason = "it measures, and is in no binary"
)]

use std::hint::black_box;
use std::time::Instant;

use codec::conceal::Concealer;
use codec::dtmf::Detector;
use codec::resample::Resampler;
use codec::{Codec, Decoder, Encoder, Error, Parameters, ogg_opus};

/// So much sound in each round.
const SECONDS: usize = 6;
const ROUNDS: usize = 7;

fn main() -> Result<(), Error> {
    println!("| codec | encode | decode |\n|---|---|---|");
    for (codec, fmtp, rate) in [
        (Codec::Pcmu, "", None),
        (Codec::Pcma, "", None),
        (Codec::G722, "", None),
        (Codec::Opus, "", Some(8000)),
        (Codec::Opus, "", Some(16_000)),
        (Codec::Opus, "", Some(48_000)),
        (Codec::Gsm, "", None),
        (Codec::G7231, "bitrate=6.3", None),
        (Codec::G7231, "bitrate=5.3", None),
        (Codec::Ilbc, "mode=20", None),
        (Codec::Ilbc, "mode=30", None),
        (Codec::G729, "annexb=no", None),
        (Codec::AmrNb, "mode-set=7", None),
        (Codec::AmrWb, "mode-set=2", None),
        (Codec::AmrWb, "mode-set=8", None),
    ] {
        if !codec.is_available() {
            continue;
        }
        let mut parameters = Parameters::from_fmtp(codec, fmtp);
        parameters.rate = rate;
        let ptime = if fmtp == "mode=30" {
            30
        } else {
            codec.ptime(20)
        };
        let (encode, decode) = coding(codec, &parameters, ptime)?;
        let rate = rate.map_or(String::new(), |rate| format!(", sound at {rate} Hz"));
        println!("| {codec} {fmtp}{rate} | {encode:.1} | {decode:.1} |");
    }
    println!("\n| other work | |\n|---|---|");
    for (from, to) in [
        (8000, 16_000),
        (16_000, 8000),
        (8000, 48_000),
        (48_000, 8000),
        (16_000, 48_000),
        (48_000, 16_000),
    ] {
        println!(
            "| resample {from} to {to} Hz | {:.1} |",
            resampling(from, to)?
        );
    }
    println!("| listen for keys at 8000 Hz | {:.1} |", listening()?);
    println!("| conceal 20 ms at 8000 Hz | {:.1} |", concealing()?);
    Ok(())
}

fn coding(codec: Codec, parameters: &Parameters, ptime: u8) -> Result<(f64, f64), Error> {
    let mut encoder = Encoder::new(codec, parameters)?;
    let rate = encoder.sample_rate();
    let sound = speech(rate)?;
    let frames: Vec<&[i16]> = sound
        .chunks_exact(rate as usize * usize::from(ptime) / 1000)
        .collect();
    let mut payloads = Vec::new();
    let encode = best(frames.len(), ptime, || {
        payloads.clear();
        for frame in &frames {
            let mut payload = [0; 1500];
            let len = encoder.encode(frame, &mut payload)?;
            payloads.push(payload[..len].to_vec());
        }
        Ok(())
    })?;
    let mut decoder = Decoder::new(codec, parameters)?;
    let decode = best(frames.len(), ptime, || {
        let mut pcm = [0; 5760];
        for payload in &payloads {
            black_box(decoder.decode(payload, &mut pcm)?);
        }
        Ok(())
    })?;
    Ok((encode, decode))
}

fn resampling(from: u32, to: u32) -> Result<f64, Error> {
    let sound = speech(from)?;
    let mut resampler = Resampler::new(from, to);
    let frame = from as usize / 50;
    let mut out = Vec::with_capacity(2000);
    best(sound.len() / frame, 20, || {
        for pcm in sound.chunks_exact(frame) {
            out.clear();
            resampler.process(pcm, &mut out);
            black_box(&out);
        }
        Ok(())
    })
}

fn listening() -> Result<f64, Error> {
    let sound = speech(8000)?;
    let mut detector = Detector::new(8000);
    best(sound.len() / 160, 20, || {
        for pcm in sound.chunks_exact(160) {
            detector.process(pcm, |event| _ = black_box(event));
        }
        Ok(())
    })
}

/// Every second packet is lost; the other ones cost next to nothing.
fn concealing() -> Result<f64, Error> {
    let mut sound = speech(8000)?;
    let mut concealer = Concealer::new(8000);
    best(sound.len() / 320, 20, || {
        for pcm in sound.chunks_exact_mut(320) {
            let (good, lost) = pcm.split_at_mut(160);
            concealer.heard(good);
            concealer.conceal(lost);
        }
        Ok(())
    })
}

/// Microseconds for each 20 ms of the fastest round of `frames` frames.
fn best(
    frames: usize,
    ptime: u8,
    mut round: impl FnMut() -> Result<(), Error>,
) -> Result<f64, Error> {
    let mut least = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        round()?;
        least = least.min(start.elapsed().as_secs_f64());
    }
    Ok(least * 1e6 / frames as f64 * 20.0 / f64::from(ptime))
}

fn speech(rate: u32) -> Result<Vec<i16>, Error> {
    let file = include_bytes!("../../../core/media/prompts/welcome.opus");
    let mut pcm = ogg_opus::decode(file, rate)?;
    while pcm.len() < SECONDS * rate as usize {
        pcm.extend_from_within(..);
    }
    pcm.truncate(SECONDS * rate as usize);
    Ok(pcm)
}
