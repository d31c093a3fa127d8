//! The softphone baresip, driven over its control socket.

use std::collections::VecDeque;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::lab::Lab;
use crate::process::Process;
use crate::sound::{RATE, Recording, write_keys, write_tone};
use crate::wait::until;

/// What a phone is set up with.
#[derive(Clone, Debug)]
pub struct Account<'a> {
    /// User name.
    pub user: &'a str,
    /// Password.
    pub password: &'a str,
    /// Where to register and send calls.
    pub server: SocketAddr,
    /// `udp`, `tcp` or `tls`.
    pub transport: &'a str,
    /// Certificates that it trusts, for TLS.
    pub trusts: Option<&'a Path>,
    /// Answers by itself.
    pub answers: bool,
    /// Codecs in order, such as `PCMU/8000/1`.
    pub codecs: &'a str,
    /// How media are encrypted, such as `srtp-mand`; empty: not at all.
    pub encryption: &'a str,
    /// Frequency of the tone that it says.
    pub hertz: f64,
    /// Keys that it says as tones instead, two seconds from the beginning of a call.
    pub keys: Option<&'a str>,
}

impl<'a> Account<'a> {
    /// An account over UDP with G.711 that waits for a command to answer.
    #[must_use]
    pub fn new(user: &'a str, password: &'a str, server: SocketAddr) -> Self {
        Self {
            user,
            password,
            server,
            transport: "udp",
            trusts: None,
            answers: false,
            codecs: "PCMU/8000/1",
            encryption: "",
            hertz: 440.0,
            keys: None,
        }
    }

    /// Samples a second of its first codec.
    fn rate(&self) -> u32 {
        let rate = self.codecs.split('/').nth(1);
        rate.and_then(|rate| rate.parse().ok()).unwrap_or(RATE)
    }

    fn line(&self) -> String {
        let mode = if self.answers { "auto" } else { "manual" };
        let encryption = match self.encryption {
            "" => String::new(),
            name => format!(";mediaenc={name}"),
        };
        format!(
            "<sip:{}@{};transport={}>;auth_pass={};answermode={mode};audio_codecs={};regint=120;\
             ptime=20{encryption}",
            self.user, self.server, self.transport, self.password, self.codecs
        )
    }
}

/// A running phone.
#[derive(Debug)]
pub struct Baresip {
    process: Process,
    control: TcpStream,
    received: Vec<u8>,
    events: VecDeque<Value>,
    folder: PathBuf,
    sip: SocketAddr,
    media: (u16, u16),
}

impl Baresip {
    /// Starts a phone and waits until it is registered.
    ///
    /// # Errors
    /// When it does not start or is not accepted.
    pub fn register(lab: &mut Lab, account: &Account<'_>) -> Result<Self> {
        let mut phone = Self::start(lab, account)?;
        phone.event("REGISTER_OK")?;
        Ok(phone)
    }

    /// Starts a phone.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(lab: &mut Lab, account: &Account<'_>) -> Result<Self> {
        let name = format!("baresip-{}-{}", account.user, lab.ports().port()?);
        let folder = lab.folder(&name)?;
        // IPv4 or IPv6, as the server.
        let sip = SocketAddr::from((account.server.ip(), lab.ports().port()?));
        let control = SocketAddr::from((Ipv4Addr::LOCALHOST, lab.ports().port()?));
        let media = lab.ports().range(10)?;
        let says = folder.join("says.wav");
        let mut rate = RATE;
        match account.keys {
            Some(keys) => {
                // It resamples with a filter that leaves little of the high tones.
                rate = account.rate();
                write_keys(&says, keys, TONE_SECONDS, rate)?;
            }
            None => write_tone(&says, account.hertz, TONE_SECONDS)?,
        }
        let mut config = config(&folder, sip, control, media, rate);
        if let Some(trusted) = account.trusts {
            config.push_str(&format!("sip_cafile {}\n", trusted.display()));
        }
        fs::write(folder.join("config"), config)?;
        fs::write(folder.join("accounts"), "")?;
        fs::write(folder.join("contacts"), "")?;
        let log = lab.path(&format!("{name}.log"));
        let mut command = Command::new("baresip");
        command.arg("-f").arg(&folder).env("LC_ALL", "C");
        let mut process = Process::start(&mut command, &log)?;
        let control = until("baresip's control socket", PATIENCE, || {
            ensure!(
                process.is_running()?,
                "baresip ended: {}",
                process.output()?
            );
            Ok(TcpStream::connect(control).ok())
        })?;
        control.set_read_timeout(Some(Duration::from_millis(50)))?;
        let mut phone = Self {
            process,
            control,
            received: Vec::new(),
            events: VecDeque::new(),
            folder,
            sip,
            media,
        };
        // Not in the file: it would register before anybody listens to its events.
        phone.command("uanew", &account.line())?;
        Ok(phone)
    }

    /// Where it speaks SIP.
    #[must_use]
    pub fn sip(&self) -> SocketAddr {
        self.sip
    }

    /// First and last of its RTP ports.
    #[must_use]
    pub fn media(&self) -> (u16, u16) {
        self.media
    }

    /// Calls somebody; `target` is a number or a URI.
    ///
    /// # Errors
    /// When the phone refuses.
    pub fn dial(&mut self, target: &str) -> Result<()> {
        self.command("dial", target)
    }

    /// Answers the call that rings.
    ///
    /// # Errors
    /// When the phone refuses.
    pub fn accept(&mut self) -> Result<()> {
        self.command("accept", "")
    }

    /// Ends the call.
    ///
    /// # Errors
    /// When the phone refuses.
    pub fn hang_up(&mut self) -> Result<()> {
        self.command("hangup", "")
    }

    /// Gives any of the commands of baresip's menu.
    ///
    /// # Errors
    /// When the phone refuses.
    pub fn command(&mut self, command: &str, params: &str) -> Result<()> {
        let message = json!({"command": command, "params": params, "token": command}).to_string();
        write!(self.control, "{}:{message},", message.len())?;
        let limit = Instant::now() + PATIENCE;
        loop {
            let message = self.message(limit)?;
            if message["response"] != true {
                self.events.push_back(message);
            } else if message["token"] == command {
                ensure!(
                    message["ok"] == true,
                    "baresip refused {command}: {message}"
                );
                return Ok(());
            }
        }
    }

    /// Waits for an event of this kind; others before it are dropped.
    ///
    /// A caller sees `CALL_ESTABLISHED` when it is answered; whoever answers sees none.
    ///
    /// # Errors
    /// When it does not come in time; names what came instead.
    pub fn event(&mut self, kind: &str) -> Result<Value> {
        let limit = Instant::now() + PATIENCE;
        let mut others = Vec::new();
        loop {
            let event = match self.events.pop_front() {
                Some(event) => event,
                None => self.message(limit).with_context(|| {
                    format!(
                        "{} waits for {kind}; came: {others:?}",
                        self.folder.display()
                    )
                })?,
            };
            if event["type"] == kind {
                return Ok(event);
            }
            others.push(format!("{} {}", event["type"], event["param"]));
        }
    }

    /// Waits until it has recorded `seconds` of sound in its last call.
    ///
    /// # Errors
    /// When it does not hear that much in good time.
    pub fn hear(&self, seconds: f64) -> Result<()> {
        let sounding = || self.heard().map_or(0.0, |recording| recording.sounding());
        let limit = PATIENCE + Duration::from_secs_f64(seconds);
        let enough = || Ok((sounding() >= seconds).then_some(()));
        until("sound at baresip", limit, enough)
            .with_context(|| format!("{} s of {seconds} s heard", sounding()))
    }

    /// What it has heard in its last call, up to the first hold: it records no further.
    ///
    /// # Errors
    /// When it has recorded nothing.
    pub fn heard(&self) -> Result<Recording> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with("-dec.wav") {
                files.push(path);
            }
        }
        // The names begin with the time.
        files.sort();
        Recording::read(files.last().context("baresip has recorded nothing")?)
    }

    /// Everything it has printed.
    ///
    /// # Errors
    /// When its log can't be read.
    pub fn log(&self) -> Result<String> {
        self.process.output()
    }

    /// Unregisters and ends the phone.
    ///
    /// # Errors
    /// When it does not end.
    pub fn quit(mut self) -> Result<()> {
        self.process.stop(PATIENCE)?;
        Ok(())
    }

    fn message(&mut self, limit: Instant) -> Result<Value> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(message) = self.next_message()? {
                return Ok(message);
            }
            ensure!(Instant::now() < limit, "no message from baresip in time");
            match self.control.read(&mut buffer) {
                Ok(0) => bail!("baresip has closed its control socket"),
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next netstring, `LENGTH:JSON,`.
    fn next_message(&mut self) -> Result<Option<Value>> {
        let Some(colon) = self.received.iter().position(|&byte| byte == b':') else {
            return Ok(None);
        };
        let length: usize = std::str::from_utf8(&self.received[..colon])?.parse()?;
        let end = colon + 1 + length;
        if self.received.len() <= end {
            return Ok(None);
        }
        let message = serde_json::from_slice(&self.received[colon + 1..end])?;
        self.received.drain(..=end);
        Ok(Some(message))
    }
}

/// A configuration that has `rate` samples a second said.
fn config(
    folder: &Path,
    sip: SocketAddr,
    control: SocketAddr,
    media: (u16, u16),
    rate: u32,
) -> String {
    let folder = folder.display();
    let (first, last) = media;
    let interface = sip.ip();
    let mut config = format!(
        "poll_method epoll\n\
         sip_listen {sip}\n\
         net_interface {interface}\n\
         audio_source aufile,{folder}/says.wav\n\
         ausrc_srate {rate}\n\
         auplay_srate 8000\n\
         ausrc_channels 1\n\
         auplay_channels 1\n\
         audio_player aubridge,nil\n\
         audio_alert aubridge,nil\n\
         rtp_ports {first}-{last}\n\
         ctrl_tcp_listen {control}\n\
         snd_path {folder}\n\
         module_path /usr/lib/baresip/modules\n\
         module_tmp account.so\n\
         module_app menu.so\n\
         module_app ctrl_tcp.so\n"
    );
    for module in [
        "g711",
        "g722",
        "opus",
        "srtp",
        "dtls_srtp",
        "ice",
        "sndfile",
        "aufile",
        "aubridge",
    ] {
        config.push_str(&format!("module {module}.so\n"));
    }
    config
}

/// Longer than any test.
const TONE_SECONDS: u32 = 120;

const PATIENCE: Duration = Duration::from_secs(60);
