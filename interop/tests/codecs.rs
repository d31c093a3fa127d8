//! Codecs against FFmpeg's: what we encode it decodes, sample for sample as we do where the codec is
//! exact, and what it encodes we decode.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use codec::{Codec, Decoder, Encoder, Parameters, ogg_opus};

#[test]
fn g711_is_exact() -> Result<()> {
    for (codec, format) in [(Codec::Pcmu, "mulaw"), (Codec::Pcma, "alaw")] {
        let lab = Folder::new(format)?;
        let file = lab.ours(codec, "", 20, |payload| payload.to_vec(), b"")?;
        let raw = ["-f", format, "-ar", "8000", "-ac", "1"];
        let heard = lab.decoded(&raw, &file, 8000)?;
        ensure!(heard == lab.as_we_decode()?, "{codec} differs");
        // FFmpeg rounds where the decision levels are another's choice.
        let theirs = lab.theirs(8000, &["-f", format])?;
        let quality = ratio(&speech(8000)?, &we_decode(codec, theirs.chunks(160))?);
        ensure!(
            quality > 35.0,
            "FFmpeg's {codec} sounds of {quality} dB here"
        );
    }
    Ok(())
}

#[test]
fn g722_is_exact() -> Result<()> {
    let lab = Folder::new("g722")?;
    let file = lab.ours(Codec::G722, "", 20, |payload| payload.to_vec(), b"")?;
    let heard = lab.decoded(&["-f", "g722"], &file, 16_000)?;
    ensure!(heard == lab.as_we_decode()?, "G.722 differs");
    let theirs = lab.theirs(16_000, &["-f", "g722"])?;
    let heard = we_decode(Codec::G722, theirs.chunks(160))?;
    let speech = speech(16_000)?;
    // Both filters delay by 22 samples together.
    let quality = ratio(&speech, heard.get(22..).unwrap_or_default());
    ensure!(quality > 17.0, "FFmpeg's G.722 sounds of {quality} dB here");
    Ok(())
}

#[test]
fn gsm_is_exact() -> Result<()> {
    let lab = Folder::new("gsm")?;
    let file = lab.ours(Codec::Gsm, "", 20, |payload| payload.to_vec(), b"")?;
    let heard = lab.decoded(&["-c:a", "libgsm", "-f", "gsm"], &file, 8000)?;
    ensure!(heard == lab.as_we_decode()?, "GSM differs");
    let theirs = lab.theirs(8000, &["-c:a", "libgsm", "-f", "gsm"])?;
    ensure!(theirs == std::fs::read(&file)?, "GSM is encoded otherwise");
    Ok(())
}

#[test]
fn g7231_sounds_alike() -> Result<()> {
    for fmtp in ["bitrate=6.3;annexa=no", "bitrate=5.3;annexa=no"] {
        let lab = Folder::new("g723_1")?;
        let file = lab.ours(Codec::G7231, fmtp, 30, |payload| payload.to_vec(), b"")?;
        let heard = lab.decoded(&["-f", "g723_1"], &file, 8000)?;
        let alike = ratio(&lab.as_we_decode()?, &heard);
        ensure!(alike > 20.0, "{fmtp}: decoders differ, {alike} dB");
        let quality = segments(&speech(8000)?, &heard, 400);
        ensure!(quality > 4.0, "{fmtp}: FFmpeg hears {quality} dB");
    }
    let lab = Folder::new("g723_1-theirs")?;
    let theirs = lab.theirs(8000, &["-b:a", "6300", "-f", "g723_1"])?;
    let heard = we_decode(Codec::G7231, theirs.chunks(24))?;
    let quality = segments(&speech(8000)?, &heard, 400);
    ensure!(
        quality > 4.0,
        "FFmpeg's G.723.1 sounds of {quality} dB here"
    );
    Ok(())
}

#[test]
fn ilbc_sounds_alike() -> Result<()> {
    for (fmtp, ptime, magic) in [
        ("mode=20", 20, b"#!iLBC20\n"),
        ("mode=30", 30, b"#!iLBC30\n"),
    ] {
        let lab = Folder::new(&format!("ilbc-{ptime}"))?;
        let frame = |payload: &[u8]| payload.to_vec();
        let file = lab.ours(Codec::Ilbc, fmtp, ptime, frame, magic)?;
        let heard = lab.decoded(&["-f", "ilbc"], &file, 8000)?;
        // FFmpeg calculates in integers, and does without the enhancer and its delay.
        let alike = segments(&heard, &lab.as_we_decode()?, 400);
        ensure!(alike > 12.0, "{fmtp}: decoders differ, {alike} dB");
        let quality = segments(&speech(8000)?, &heard, 400);
        ensure!(quality > 2.0, "{fmtp}: FFmpeg hears {quality} dB");
    }
    Ok(())
}

#[test]
fn g729_sounds_alike() -> Result<()> {
    let lab = Folder::new("g729")?;
    let file = lab.ours(
        Codec::G729,
        "annexb=no",
        20,
        |payload| payload.to_vec(),
        b"",
    )?;
    let heard = lab.decoded(&["-f", "g729", "-bit_rate", "8000"], &file, 8000)?;
    let alike = ratio(&lab.as_we_decode()?, &heard);
    ensure!(alike > 20.0, "decoders differ, {alike} dB");
    let quality = segments(&speech(8000)?, &heard, 200);
    ensure!(quality > 3.0, "FFmpeg hears {quality} dB");
    Ok(())
}

#[test]
fn amr_sounds_alike_in_every_mode() -> Result<()> {
    let bands = [
        (Codec::AmrNb, 8, "amr", &b"#!AMR\n"[..]),
        (Codec::AmrWb, 9, "amr", &b"#!AMR-WB\n"[..]),
    ];
    for (codec, modes, format, magic) in bands {
        for mode in 0..modes {
            let lab = Folder::new(&format!("{codec}-{mode}").replace('/', "-"))?;
            let fmtp = format!("octet-align=1;mode-set={mode}");
            // In a file each frame has its own header, as in a packet, and no request before it.
            let frame = |payload: &[u8]| payload[1..].to_vec();
            let file = lab.ours(codec, &fmtp, 20, frame, magic)?;
            let heard = lab.decoded(&["-f", format], &file, codec.sample_rate())?;
            let ours = lab.as_we_decode()?;
            // FFmpeg's decoders calculate in floating point; ours round to 13 and 14 bits.
            let alike = segments(&ours, &heard, 0);
            ensure!(
                alike > 10.0,
                "{codec} mode {mode}: decoders differ, {alike} dB"
            );
            let quality = segments(&speech(codec.sample_rate())?, &heard, 400);
            ensure!(
                quality > 2.0,
                "{codec} mode {mode}: FFmpeg hears {quality} dB"
            );
        }
    }
    Ok(())
}

#[test]
fn opus_sounds_alike() -> Result<()> {
    let lab = Folder::new("opus")?;
    let speech = speech(16_000)?;
    let ours = ogg_opus::encode(&speech, 16_000, 24_000)?;
    let file = lab.path("ours.opus");
    std::fs::write(&file, &ours)?;
    let heard = lab.decoded(&["-c:a", "libopus"], &file, 48_000)?;
    let alike = ratio(&ogg_opus::decode(&ours, 48_000)?, &heard);
    ensure!(alike > 30.0, "decoders differ, {alike} dB");
    let encode = ["-c:a", "libopus", "-b:a", "24000", "-f", "opus"];
    let theirs = lab.theirs(16_000, &encode)?;
    let quality = segments(&speech, &ogg_opus::decode(&theirs, 16_000)?, 100);
    ensure!(quality > 8.0, "FFmpeg's Opus sounds of {quality} dB here");
    Ok(())
}

/// A folder of files, gone when the test is over.
struct Folder {
    path: PathBuf,
    codec: std::cell::RefCell<Vec<i16>>,
}

impl Folder {
    fn new(name: &str) -> Result<Self> {
        let name = format!("dialtone-codec-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path)?;
        let codec = std::cell::RefCell::default();
        Ok(Self { path, codec })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Speech as we encode it: `magic`, then what `frame` makes of each payload.
    fn ours(
        &self,
        codec: Codec,
        fmtp: &str,
        ptime: usize,
        frame: impl Fn(&[u8]) -> Vec<u8>,
        magic: &[u8],
    ) -> Result<PathBuf> {
        let parameters = Parameters::from_fmtp(codec, fmtp);
        let mut encoder = Encoder::new(codec, &parameters)?;
        let mut decoder = Decoder::new(codec, &parameters)?;
        let mut file = magic.to_vec();
        let mut heard = self.codec.borrow_mut();
        let samples = codec.sample_rate() as usize * ptime / 1000;
        for pcm in speech(codec.sample_rate())?.chunks_exact(samples) {
            let mut payload = [0; 1500];
            let len = encoder.encode(pcm, &mut payload)?;
            file.extend(frame(&payload[..len]));
            let mut pcm = [0; 5760];
            let samples = decoder.decode(&payload[..len], &mut pcm)?;
            heard.extend(&pcm[..samples]);
        }
        let path = self.path("ours");
        std::fs::write(&path, file)?;
        Ok(path)
    }

    /// What we hear of what we encoded.
    fn as_we_decode(&self) -> Result<Vec<i16>> {
        Ok(self.codec.take())
    }

    /// What FFmpeg hears of a file.
    fn decoded(&self, input: &[&str], file: &Path, rate: u32) -> Result<Vec<i16>> {
        let out = self.path("heard.raw");
        let rate = rate.to_string();
        let output = ["-f", "s16le", "-ar", &rate, "-ac", "1"];
        ffmpeg(input, file, &output, &out)?;
        let bytes = std::fs::read(out)?;
        let (words, _) = bytes.as_chunks::<2>();
        Ok(words.iter().map(|w| i16::from_le_bytes(*w)).collect())
    }

    /// Speech as FFmpeg encodes it: whole frames of 20 and of 30 ms.
    fn theirs(&self, rate: u32, output: &[&str]) -> Result<Vec<u8>> {
        let raw = self.path("speech.raw");
        let speech = speech(rate)?;
        std::fs::write(
            &raw,
            speech
                .iter()
                .flat_map(|s| s.to_le_bytes())
                .collect::<Vec<_>>(),
        )?;
        let rate = rate.to_string();
        let input = ["-f", "s16le", "-ar", &rate, "-ac", "1"];
        let out = self.path("theirs");
        ffmpeg(&input, &raw, output, &out)?;
        Ok(std::fs::read(out)?)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn ffmpeg(input: &[&str], from: &Path, output: &[&str], to: &Path) -> Result<()> {
    let result = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostdin", "-v", "error", "-y"])
        .args(input)
        .arg("-i")
        .arg(from)
        .args(output)
        .arg(to)
        .output()
        .context("ffmpeg is missing: apt-get install ffmpeg")?;
    let words = String::from_utf8_lossy(&result.stderr);
    ensure!(
        result.status.success(),
        "ffmpeg {input:?} {output:?}: {words}"
    );
    Ok(())
}

fn we_decode<'a>(codec: Codec, payloads: impl Iterator<Item = &'a [u8]>) -> Result<Vec<i16>> {
    let mut decoder = Decoder::new(codec, &Parameters::default())?;
    let mut heard = Vec::new();
    for payload in payloads {
        let mut pcm = [0; 5760];
        let samples = decoder.decode(payload, &mut pcm)?;
        heard.extend(&pcm[..samples]);
    }
    Ok(heard)
}

/// Two seconds of a spoken prompt, in whole frames of 20 and of 30 ms.
fn speech(rate: u32) -> Result<Vec<i16>> {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../core/media/prompts/welcome.opus"
    );
    let mut pcm = ogg_opus::decode(&std::fs::read(file)?, rate)?;
    let frame = rate as usize * 60 / 1000;
    pcm.truncate(33 * frame);
    Ok(pcm)
}

/// Decibels of `said` over its difference from `heard`.
fn ratio(said: &[i16], heard: &[i16]) -> f64 {
    let square = |s: f64| s * s;
    let signal: f64 = said.iter().map(|s| square(f64::from(*s))).sum();
    let pairs = said.iter().zip(heard);
    let error: f64 = pairs
        .map(|(a, b)| square(f64::from(*a) - f64::from(*b)))
        .sum();
    10.0 * (signal / error.max(1.0)).log10()
}

/// The mean of that over pieces of 20 ms that are no silence, at the likeliest delay of up to
/// `most` samples.
fn segments(said: &[i16], heard: &[i16], most: usize) -> f64 {
    let middle = &said[said.len() / 2..][..4000];
    let product = |delay: &usize| -> i64 {
        let heard = heard.iter().skip(said.len() / 2 + delay);
        middle
            .iter()
            .zip(heard)
            .map(|(a, b)| i64::from(*a) * i64::from(*b))
            .sum()
    };
    let delay = (0..=most).max_by_key(product).unwrap_or(0);
    let loud = |piece: &[i16]| piece.iter().any(|s| s.unsigned_abs() > 1000);
    let pairs = said
        .chunks(160)
        .zip(heard.get(delay..).unwrap_or_default().chunks(160));
    let rated: Vec<f64> = pairs
        .filter(|(said, heard)| loud(said) && said.len() == heard.len())
        .map(|(said, heard)| ratio(said, heard).clamp(-10.0, 40.0))
        .collect();
    rated.iter().sum::<f64>() / rated.len().max(1) as f64
}
