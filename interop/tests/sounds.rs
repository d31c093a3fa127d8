//! Sounds at real phones: files of every format, music on hold, recordings.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use interop::baresip::Account;
use interop::sound::{Recording, write_tone};
use interop::wait::until;
use interop::{Baresip, Lab, Server, peer, rtp};

#[test]
fn files_of_every_format_are_played_to_a_phone() -> Result<()> {
    Lab::run("sounds", &[peer::BARESIP, peer::FFMPEG], |lab| {
        let server = lab.server()?;
        let plan = server.data().join("etc/dialplan.toml");
        let mut text = String::new();
        let sounds = server.data().join("sounds");
        let tone = lab.path("tone.wav");
        write_tone(&tone, 440.0, 3)?;
        for (n, (name, codec)) in FILES.iter().enumerate() {
            ffmpeg(
                &["-i", &shown(&tone), "-ar", "48000", "-ac", "2"],
                codec,
                &sounds.join(name),
            )?;
            text.push_str(&format!(
                "[[extension]]\nnumber = \"61{n}\"\nsteps = [{{ play = \"{name}\" }}]\n\n"
            ));
        }
        fs::write(&plan, text + &fs::read_to_string(&plan)?)?;
        ensure!(server.ctl(&["reload"])?.status.success());
        let password = server.password("1001")?;
        let mut alice = Baresip::register(lab, &Account::new("1001", &password, server.sip()))?;
        for (n, (name, _)) in FILES.iter().enumerate() {
            alice.dial(&format!("61{n}"))?;
            alice.event("CALL_ESTABLISHED")?;
            // The sound ends, and the call with it.
            alice.event("CALL_CLOSED")?;
            let heard = alice.heard()?;
            heard
                .ensure_tone(440.0, 2.5)
                .with_context(|| (*name).to_owned())?;
        }
        server.settles()
    })
}

/// Names of files, and what makes them.
const FILES: [(&str, &[&str]); 5] = [
    ("a.wav", &["-c:a", "pcm_s16le"]),
    ("b.flac", &["-c:a", "flac"]),
    ("c.mp3", &["-c:a", "libmp3lame"]),
    ("d.opus", &["-c:a", "libopus"]),
    ("e.ogg", &["-c:a", "libvorbis"]),
];

/// RFC 3261 §13.3.1.1: the caller hears why nobody answers, and nobody has.
#[test]
fn rfc3261_13_3_1_1_a_call_that_is_refused_is_told_so_in_words() -> Result<()> {
    Lab::run("early", &[peer::BARESIP], |lab| {
        lab.write_users(&[("1001".into(), "pw-1001-secret".into())])?;
        fs::create_dir_all(lab.path("srv/sounds"))?;
        write_tone(&lab.path("srv/sounds/refused.wav"), 440.0, 3)?;
        let plan = "[[extension]]\nnumber = \"619\"\nsteps = [\
                    { play = \"refused.wav\", answer = false }, { hangup = 404 }]\n";
        fs::write(lab.path("srv/etc/dialplan.toml"), plan)?;
        let server = lab.server()?;
        let password = server.password("1001")?;
        let mut alice = Baresip::register(lab, &Account::new("1001", &password, server.sip()))?;
        alice.dial("619")?;
        alice.event("CALL_PROGRESS")?;
        let closed = alice.event("CALL_CLOSED")?;
        ensure!(closed.to_string().contains("404"), "{closed}");
        alice.heard()?.ensure_tone(440.0, 2.5)?;
        server.settles()
    })
}

#[test]
fn a_held_phone_hears_music_and_then_the_other_again() -> Result<()> {
    Lab::run("music", &[peer::BARESIP], |lab| {
        let music = lab.path("srv/sounds/music");
        fs::create_dir_all(&music)?;
        write_tone(&music.join("music.wav"), 700.0, 2)?;
        let server = lab.server()?;
        let password = server.password("1002")?;
        let mut bob = Account::new("1002", &password, server.sip());
        bob.answers = true;
        bob.hertz = 1000.0;
        let bob = Baresip::register(lab, &bob)?;
        let password = server.password("1001")?;
        let mut alice = Baresip::register(lab, &Account::new("1001", &password, server.sip()))?;
        let trace = lab.trace()?;
        alice.dial("1002")?;
        alice.event("CALL_ESTABLISHED")?;
        rtp::pcmu(&trace.next_rtp(bob.media(), 100)?).ensure_tone(440.0, 1.9)?;
        for _ in 0..2 {
            alice.command("hold", "")?;
            let heard = || {
                let packets = trace.next_rtp(bob.media(), 100)?;
                Ok(rtp::pcmu(&packets).ensure_tone(700.0, 1.9).ok())
            };
            until("music on hold", PATIENCE, heard)?;
            alice.command("resume", "")?;
            let heard = || {
                let packets = trace.next_rtp(bob.media(), 100)?;
                Ok(rtp::pcmu(&packets).ensure_tone(440.0, 1.9).ok())
            };
            until("the other party again", PATIENCE, heard)?;
        }
        alice.hang_up()?;
        server.settles()
    })
}

#[test]
fn a_call_is_recorded_with_each_party_on_its_channel() -> Result<()> {
    Lab::run("recording", &[peer::BARESIP, peer::FFMPEG], |lab| {
        let server = lab.server()?;
        let (mut alice, _bob) = recorded_call(lab, &server, "opus")?;
        let call = recording(server.data())?;
        let stopped = call_id(&call)?;
        // A second and more of both.
        until("sound in the file", PATIENCE, || grown(&call, 6000))?;
        for action in ["pause", "resume", "stop"] {
            ensure!(server.ctl(&["record", &stopped, action])?.status.success());
        }
        server.wait_for_log(&["a call was recorded"])?;
        both_are_heard(lab, &call)?;
        alice.hang_up()?;
        server.settles()
    })
}

#[test]
fn what_was_recorded_plays_after_a_crash() -> Result<()> {
    Lab::run("crash-recording", &[peer::BARESIP, peer::FFMPEG], |lab| {
        let server = lab.server()?;
        let _phones = recorded_call(lab, &server, "wav")?;
        let call = recording(server.data())?;
        until("sound in the file", PATIENCE, || grown(&call, 80_000))?;
        server.crash()?;
        both_are_heard(lab, &call)
    })
}

/// 1001, who says 440 Hz, talks to 1002, who says 1000 Hz, and the dial plan records them.
fn recorded_call(lab: &mut Lab, server: &Server, format: &str) -> Result<(Baresip, Baresip)> {
    let plan = server.data().join("etc/dialplan.toml");
    let text = format!(
        "[[extension]]\nnumber = \"1002\"\n\
         steps = [{{ record = \"{format}\" }}, {{ dial = \"1002\" }}]\n\n"
    );
    fs::write(&plan, text + &fs::read_to_string(&plan)?)?;
    ensure!(server.ctl(&["reload"])?.status.success());
    let password = server.password("1002")?;
    let mut bob = Account::new("1002", &password, server.sip());
    bob.answers = true;
    bob.hertz = 1000.0;
    let bob = Baresip::register(lab, &bob)?;
    let password = server.password("1001")?;
    let mut alice = Baresip::register(lab, &Account::new("1001", &password, server.sip()))?;
    alice.dial("1002")?;
    alice.event("CALL_ESTABLISHED")?;
    Ok((alice, bob))
}

/// The only recording that there is.
fn recording(data: &Path) -> Result<PathBuf> {
    until("a recording", PATIENCE, || {
        let Ok(days) = fs::read_dir(data.join("recordings")) else {
            return Ok(None);
        };
        for day in days {
            if let Some(file) = fs::read_dir(day?.path())?.next() {
                return Ok(Some(file?.path()));
            }
        }
        Ok(None)
    })
}

fn call_id(recording: &Path) -> Result<String> {
    let name = recording.file_stem().context("a file has a name")?;
    Ok(name.to_string_lossy().into_owned())
}

fn grown(file: &Path, size: u64) -> Result<Option<()>> {
    Ok((fs::metadata(file)?.len() > size).then_some(()))
}

/// FFmpeg plays the file, with the caller left and the callee right.
fn both_are_heard(lab: &Lab, file: &Path) -> Result<()> {
    for (channel, hertz) in [("FL", 440.0), ("FR", 1000.0)] {
        let wav = lab.path(&format!("{channel}.wav"));
        let filter = format!("pan=mono|c0={channel}");
        ffmpeg(
            &["-i", &shown(file)],
            &["-af", &filter, "-c:a", "pcm_s16le"],
            &wav,
        )?;
        let heard = Recording::read(&wav)?;
        heard
            .ensure_tone(hertz, 0.8)
            .with_context(|| format!("{channel} of {}", file.display()))?;
    }
    Ok(())
}

fn ffmpeg(input: &[&str], output: &[&str], file: &Path) -> Result<()> {
    let mut command = Command::new("ffmpeg");
    command.args(["-loglevel", "error", "-y"]).args(input);
    let done = command.args(output).arg(file).output()?;
    let text = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "ffmpeg: {text}");
    Ok(())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);
