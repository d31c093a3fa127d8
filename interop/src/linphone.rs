//! The softphone linphonec, driven on a terminal.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ChildStdin, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::lab::Lab;
use crate::process::Process;
use crate::sound::write_tone;
use crate::wait::until;

/// A running phone.
#[derive(Debug)]
pub struct Linphone {
    process: Process,
    keyboard: ChildStdin,
    /// How much of its output has been looked at.
    seen: usize,
    media: (u16, u16),
}

impl Linphone {
    /// Starts a phone that says a tone of `hertz`, and waits until it is registered.
    ///
    /// # Errors
    /// When it does not start or is not accepted.
    pub fn register(
        lab: &mut Lab,
        server: SocketAddr,
        user: &str,
        password: &str,
        hertz: f64,
    ) -> Result<Self> {
        Self::register_with(lab, server, (user, password), hertz, "")
    }

    /// Does the same with more settings, as sections of its configuration.
    ///
    /// # Errors
    /// When it does not start or is not accepted.
    pub fn register_with(
        lab: &mut Lab,
        server: SocketAddr,
        (user, password): (&str, &str),
        hertz: f64,
        settings: &str,
    ) -> Result<Self> {
        let mut phone = Self::start(lab, hertz, None, settings)?;
        phone.type_line(&format!(
            "register sip:{user}@{server} sip:{server} {password}"
        ))?;
        phone.ask("status register", "registered, identity")?;
        Ok(phone)
    }

    /// Starts a phone that speaks TLS with who has a certificate of `trusted`, and waits until it is
    /// registered.
    ///
    /// # Errors
    /// When it does not start or is not accepted.
    pub fn register_over_tls(
        lab: &mut Lab,
        server: SocketAddr,
        trusted: &Path,
        (user, password): (&str, &str),
        hertz: f64,
    ) -> Result<Self> {
        let mut phone = Self::start(lab, hertz, Some(trusted), "")?;
        // Its TLS knows no addresses in certificates, only names.
        let server = format!("localhost:{}", server.port());
        phone.type_line(&format!(
            "register sip:{user}@{server} sip:{server};transport=tls {password}"
        ))?;
        phone.ask("status register", "registered, identity")?;
        Ok(phone)
    }

    fn start(lab: &mut Lab, hertz: f64, trusted: Option<&Path>, more: &str) -> Result<Self> {
        let (sip, media) = (lab.ports().port()?, lab.ports().range(8)?);
        let home = lab.folder(&format!("linphone-{sip}"))?;
        // Without this folder it opens no SIP port.
        fs::create_dir_all(home.join(".local/share/linphone"))?;
        let config = config(sip, media, trusted) + more;
        fs::write(home.join("linphonerc"), config)?;
        let tone = home.join("says.wav");
        write_tone(&tone, hertz, TONE_SECONDS)?;

        // It wants a terminal; `script` makes one.
        let mut command = Command::new("script");
        command.args(["-qfec", "linphonec -S -c linphonerc", "/dev/null"]);
        command
            .current_dir(&home)
            .env("HOME", &home)
            .env("LC_ALL", "C")
            .env("TERM", "dumb");
        let (process, keyboard) =
            Process::start_with_stdin(&mut command, &home.join("terminal.log"))?;
        let mut phone = Self {
            process,
            keyboard,
            seen: 0,
            media,
        };
        phone.see("linphonec>")?;
        phone.type_line("soundcard use files")?;
        phone.type_line(&format!("play {}", tone.display()))?;
        Ok(phone)
    }

    /// First and last of its RTP ports.
    #[must_use]
    pub fn media(&self) -> (u16, u16) {
        self.media
    }

    /// Types a line.
    ///
    /// # Errors
    /// When the phone has ended.
    pub fn type_line(&mut self, line: &str) -> Result<()> {
        writeln!(self.keyboard, "{line}").with_context(|| format!("type `{line}` at linphonec"))
    }

    /// Types a question again and again until the answer has `text` in it.
    ///
    /// # Errors
    /// When it never has; shows the answers.
    pub fn ask(&mut self, question: &str, text: &str) -> Result<()> {
        let start = self.process.output()?.len();
        let mut asked = Instant::now();
        self.type_line(question)?;
        let what = format!("`{text}` in linphonec's answer to `{question}`");
        let answer = until(&what, PATIENCE, || {
            if asked.elapsed() > Duration::from_millis(200) {
                asked = Instant::now();
                self.type_line(question)?;
            }
            let output = self.process.output()?;
            let answers = output.get(start..).unwrap_or_default();
            Ok(answers.contains(text).then_some(output.len()))
        });
        self.seen = answer.with_context(|| self.process.output().unwrap_or_default())?;
        Ok(())
    }

    /// Waits for `text` on the terminal, after what has been seen before.
    ///
    /// # Errors
    /// When it does not come; shows what came instead.
    pub fn see(&mut self, text: &str) -> Result<()> {
        let mut came = String::new();
        let seen = until(&format!("`{text}` from linphonec"), PATIENCE, || {
            let output = self.process.output()?;
            came = output.get(self.seen..).unwrap_or_default().to_owned();
            ensure!(self.process.is_running()?, "linphonec ended");
            Ok(came.find(text).map(|at| at + text.len()))
        });
        self.seen += seen.with_context(|| format!("linphonec said: {}", came.trim()))?;
        Ok(())
    }
}

fn config(sip: u16, media: (u16, u16), trusted: Option<&Path>) -> String {
    let trusted = trusted.map_or(String::new(), |file| {
        format!("root_ca={}\nverify_server_certs=1\n", file.display())
    });
    format!(
        "[sip]\n\
         {trusted}\
         sip_port={sip}\n\
         sip_tcp_port=-1\n\
         sip_tls_port=-1\n\
         use_ipv6=0\n\
         guess_hostname=0\n\
         contact=sip:linphone@127.0.0.1\n\
         [rtp]\n\
         audio_rtp_port={}-{}\n",
        media.0, media.1
    )
}

/// Longer than any test.
const TONE_SECONDS: u32 = 120;

const PATIENCE: Duration = Duration::from_secs(20);
