//! `dialtone dial`: a phone on the command line.
//!
//! - [`account`]: whose phone, at which server. - [`call`]: the call, from its beginning to its end.
//! - [`sound`]: what is said and heard. - `audio`: at the machine's speaker and microphone, as a feature.
//! - [mod@keys]: what is typed. - [`signals`]: being asked to end. - [`report`]: what is told.

mod account;
#[cfg(feature = "audio")]
mod audio;
mod call;
mod keys;
mod report;
mod signals;
mod sound;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use codec::Codec;
use ue::load::Transport;

use crate::cli::{Output, Password};
use crate::folder::Folder;
use crate::settings::users::check_number;
use account::Account;
use call::Session;

/// Whom to call, and what to do there.
#[derive(Debug, Args)]
pub(crate) struct Dial {
    /// Whom to call: what a phone of this user would dial.
    number: String,
    /// Call as this user, by name or number [default: the first one of the configuration].
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,
    #[command(flatten)]
    password: Password,
    /// The server [default: the one of the configuration].
    #[arg(long, value_name = "HOST[:PORT]")]
    server: Option<String>,
    /// udp, tcp or tls.
    #[arg(long, value_name = "NAME", default_value = "udp")]
    transport: Transport,
    /// Who vouches for the server's certificate, in PEM [default: public authorities; that of the configuration
    /// vouches for itself].
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Hang up so many seconds after the answer.
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<Duration>,
    /// Give up when nobody has answered after so many seconds.
    #[arg(long, value_name = "S", default_value = "120", value_parser = seconds)]
    wait: Duration,
    /// Say this file (WAV, FLAC, MP3, Ogg), and hang up behind it unless --seconds says when.
    #[arg(long, value_name = "FILE")]
    play: Option<PathBuf>,
    /// Write what is heard to a new WAV file.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Talk and listen through the PulseAudio or PipeWire of PULSE_SERVER.
    #[cfg(feature = "audio")]
    #[arg(long, conflicts_with = "play")]
    audio: bool,
    /// Press these keys after the answer; on a terminal, keys may be typed as well.
    #[arg(long, value_name = "KEYS", value_parser = keys)]
    keys: Option<String>,
    /// Codecs to offer, favourite first.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = codec,
          default_value = "opus,g722,pcma,pcmu")]
    codec: Vec<Codec>,
    /// Encrypt the sound by SDES (RFC 4568).
    #[arg(long)]
    srtp: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Calls, and tells how it was: success if somebody answered and the call ended as calls do.
pub(crate) fn run(folder: &Folder, dial: &Dial) -> Result<ExitCode> {
    check_number(&dial.number)
        .map_err(|fault| anyhow!("{}: {}; {}", dial.number, fault.message, fault.remedy))?;
    ensure!(
        dial.ca.is_none() || dial.transport == Transport::Tls,
        "--ca is for --transport tls alone"
    );
    let account = Account::choose(folder, dial)?;
    sound::check(dial)?;
    let session = Session::new(dial, account)?;
    session.run()?;
    Ok(ExitCode::SUCCESS)
}

fn seconds(text: &str) -> Result<Duration> {
    let seconds: f64 = text.parse().context("write a number of seconds")?;
    let duration = Duration::try_from_secs_f64(seconds).ok();
    let duration = duration.filter(|duration| *duration <= LONGEST);
    duration.context("write a number from 0 to 86400")
}

fn keys(text: &str) -> Result<String> {
    let is_key = |key: char| key.is_ascii_digit() || "*#ABCDabcd".contains(key);
    ensure!(
        !text.is_empty() && text.len() <= ue::voice::MAX_KEYS && text.chars().all(is_key),
        "write at most {} of 0 to 9, *, # and A to D",
        ue::voice::MAX_KEYS
    );
    Ok(text.to_owned())
}

fn codec(name: &str) -> Result<Codec> {
    let known = || Codec::all().filter(|codec| codec.is_available());
    let found = known().find(|codec| codec.name().eq_ignore_ascii_case(name));
    found.with_context(|| {
        let names: Vec<_> = known().map(|codec| codec.name().to_lowercase()).collect();
        format!("there are: {}", names.join(" "))
    })
}

/// A call for a whole day is forgotten.
const LONGEST: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        dial: Dial,
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        let parse = |args: &[&str]| Line::try_parse_from([&["dial", "600"], args].concat());
        let line = parse(&["--seconds", "2.5", "--keys", "1#*A", "--codec", "pcmu,OPUS"]).unwrap();
        assert_eq!(line.dial.seconds, Some(Duration::from_millis(2500)));
        assert_eq!(line.dial.codec, [Codec::Pcmu, Codec::Opus]);
        for (args, hint) in [
            (["--seconds", "90000"], "0 to 86400"),
            (["--seconds=-1", "--json"], "0 to 86400"),
            (["--seconds", "soon"], "number of seconds"),
            (["--keys", "12x"], "A to D"),
            (["--codec", "mp3"], "opus"),
        ] {
            let error = parse(&args).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }
}
