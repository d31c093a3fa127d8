//! A PulseAudio server of the test's own, with a speaker and a microphone that are none.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::lab::Lab;
use crate::process::Process;
use crate::sound::{RATE, Recording, write_tone};
use crate::wait::until;

/// A running sound server. What its microphone hears is a tone, and what its speaker plays is recorded.
#[derive(Debug)]
pub struct Pulse {
    server: Process,
    /// What plays the tone, and what records.
    clients: Vec<Process>,
    folder: PathBuf,
}

impl Pulse {
    /// Starts one whose microphone hears `hertz`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(lab: &Lab, hertz: f64) -> Result<Self> {
        let folder = lab.folder("pulse")?;
        let (socket, cookie) = (folder.join("native"), folder.join("cookie"));
        let protocol = format!(
            "module-native-protocol-unix auth-anonymous=0 auth-cookie={} socket={}",
            cookie.display(),
            socket.display()
        );
        let mut command = Command::new("pulseaudio");
        command
            .args(["-n", "--daemonize=no", "--use-pid-file=no"])
            .args(["--exit-idle-time=-1", "--realtime=no", "-L", &protocol])
            .args(["-L", "module-null-sink sink_name=speaker rate=48000"])
            .args(["-L", "module-null-sink sink_name=voice rate=48000"])
            .env("HOME", &folder)
            .env("XDG_RUNTIME_DIR", &folder)
            .env_remove("DBUS_SESSION_BUS_ADDRESS");
        let server = Process::start(&mut command, &lab.path("pulse.log"))?;
        let mut pulse = Self {
            server,
            clients: Vec::new(),
            folder,
        };
        pulse.wait_until_it_answers()?;
        pulse.pactl(&["set-default-sink", "speaker"])?;
        pulse.pactl(&["set-default-source", "voice.monitor"])?;
        let tone = lab.path("microphone.wav");
        write_tone(&tone, hertz, TONE_SECONDS)?;
        let mut play = pulse.client("paplay");
        play.args(["--device", "voice"]).arg(tone);
        let mut record = pulse.client("parec");
        record.args(["--device", "speaker.monitor", "--format", "s16le"]);
        record.args(["--rate", &RATE.to_string(), "--channels", "1"]);
        record.arg("--raw").arg(pulse.recording());
        for mut command in [play, record] {
            let client = Process::start(&mut command, &lab.path("pulse-clients.log"))?;
            pulse.clients.push(client);
        }
        Ok(pulse)
    }

    /// Lets a program find it.
    pub fn invite(&self, command: &mut Command) {
        let mut server = std::ffi::OsString::from("unix:");
        server.push(self.folder.join("native"));
        command
            .env("PULSE_SERVER", server)
            .env("PULSE_COOKIE", self.folder.join("cookie"));
    }

    /// Waits until the speaker has played `seconds` of sound, and returns what it played.
    ///
    /// # Errors
    /// When it does not in good time.
    pub fn play(&self, seconds: f64) -> Result<Recording> {
        until("sound at the speaker", PATIENCE, || {
            let heard = self.played()?;
            Ok((heard.sounding() >= seconds).then_some(heard))
        })
        .with_context(|| self.server.output().unwrap_or_default())
    }

    /// Kills it.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn crash(mut self) -> Result<()> {
        self.server.signal(Signal::KILL)?;
        self.server.end(PATIENCE)?;
        Ok(())
    }

    fn played(&self) -> Result<Recording> {
        let octets = std::fs::read(self.recording()).unwrap_or_default();
        let samples = octets.chunks_exact(2);
        let samples = samples.map(|octets| i16::from_le_bytes([octets[0], octets[1]]));
        Ok(Recording::new(samples.collect(), RATE))
    }

    fn recording(&self) -> PathBuf {
        self.folder.join("speaker.raw")
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        self.invite(&mut command);
        command.env("HOME", &self.folder).env("LC_ALL", "C");
        command
    }

    fn pactl(&self, args: &[&str]) -> Result<()> {
        let output = self.client("pactl").args(args).output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "pactl {args:?}: {errors}");
        Ok(())
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        until("an answer of the sound server", PATIENCE, || {
            ensure!(
                self.server.is_running()?,
                "PulseAudio ended: {}",
                self.server.output()?
            );
            Ok(self.pactl(&["info"]).ok())
        })
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than any test.
const TONE_SECONDS: u32 = 300;
