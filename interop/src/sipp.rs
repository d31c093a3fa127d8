//! Scripted user agents: sipp and the files in `interop/scenarios`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::Server;
use crate::lab::Lab;
use crate::process::Process;
use crate::wait::until;

/// Registers a phone of 1002 and leaves it to a scenario; also returns its port.
///
/// # Errors
/// When the registration fails, or the scenario does not start.
pub fn phone(lab: &mut Lab, server: &Server, scenario: &str) -> Result<(Running, u16)> {
    let password = server.password("1002")?;
    let registration = lab
        .sipp("register.xml")?
        .to(server.sip())
        .user("1002", &password)?;
    let port = registration.port();
    registration.run()?;
    Ok((lab.sipp(scenario)?.at(port).start()?, port))
}

/// 1001 calls `number` in a scenario.
///
/// # Errors
/// When the scenario does not start.
pub fn call(lab: &mut Lab, server: &Server, scenario: &str, number: &str) -> Result<Running> {
    let call = lab.sipp(scenario)?.to(server.sip()).numbers([number])?;
    call.auth("1001", &server.password("1001")?).start()
}

/// One run of one scenario.
#[derive(Debug)]
pub struct Sipp {
    scenario: String,
    command: Command,
    target: Option<SocketAddr>,
    log: PathBuf,
    port: u16,
    calls: u32,
}

impl Sipp {
    /// A run of `scenario` with one call, from a port of its own.
    ///
    /// # Errors
    /// When there are no ports left.
    pub fn new(lab: &mut Lab, scenario: &str) -> Result<Self> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("scenarios")
            .join(scenario);
        let port = lab.ports().port()?;
        // It takes two more for video, whether the scenario has any or not.
        let (media, _) = lab.ports().range(4)?;
        let log = lab.path(&format!("sipp-{scenario}-{port}.log"));
        let mut command = Command::new("sipp");
        command.current_dir(lab.root()).arg("-sf").arg(file);
        command.args(["-i", "127.0.0.1", "-mp", &media.to_string(), "-nostdin"]);
        command
            .args(["-trace_err", "-error_file"])
            .arg(log.with_extension("err"));
        command
            .args(["-trace_msg", "-message_file"])
            .arg(log.with_extension("msg"));
        Ok(Self {
            scenario: scenario.to_owned(),
            command,
            target: None,
            log,
            port,
            calls: 1,
        })
    }

    /// Sends to this address.
    #[must_use]
    pub fn to(mut self, target: SocketAddr) -> Self {
        self.target = Some(target);
        self
    }

    /// Uses this port, so that a phone that has registered from it can be called there.
    #[must_use]
    pub fn at(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Plays the scenario so many times, at most three at once: a baresip takes four calls, and one that has ended
    /// here may not have ended there.
    #[must_use]
    pub fn calls(mut self, calls: u32) -> Self {
        self.calls = calls;
        self.command.args(["-r", "50", "-l", "3"]);
        self
    }

    /// Replaces `[key]` in the scenario.
    #[must_use]
    pub fn key(mut self, key: &str, value: &str) -> Self {
        self.command.args(["-key", key, value]);
        self
    }

    /// Answers challenges in this user's name.
    #[must_use]
    pub fn auth(mut self, user: &str, password: &str) -> Self {
        self.command.args(["-au", user, "-ap", password]);
        self.key("user", user)
    }

    /// Plays the scenario for this user: its name is `[field0]` and its password in `[field1]`.
    ///
    /// # Errors
    /// When the file with them can't be written.
    pub fn user(self, user: &str, password: &str) -> Result<Self> {
        self.users([(user, password)])
    }

    /// Plays the scenario once for each of these users and passwords.
    ///
    /// # Errors
    /// When the file with them can't be written.
    pub fn users<'a>(self, users: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let line = |(user, password)| {
            format!("{user};[authentication username={user} password={password}]")
        };
        self.lines(users.into_iter().map(line))
    }

    /// Plays the scenario once for each of these numbers, which are `[field0]`.
    ///
    /// # Errors
    /// When the file with them can't be written.
    pub fn numbers<'a>(self, numbers: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        self.lines(numbers.into_iter().map(str::to_owned))
    }

    fn lines(mut self, lines: impl Iterator<Item = String>) -> Result<Self> {
        let lines: Vec<String> = lines.collect();
        let file = self.log.with_extension("csv");
        std::fs::write(&file, format!("SEQUENTIAL\n{}\n", lines.join("\n")))?;
        self.command.arg("-inf").arg(file);
        Ok(self.calls(u32::try_from(lines.len())?))
    }

    /// Uses one TCP connection instead of UDP.
    #[must_use]
    pub fn tcp(mut self) -> Self {
        self.command.args(["-t", "t1"]);
        self
    }

    /// Takes every message as a new one, where it would else deal with repeated ones by itself.
    #[must_use]
    pub fn sees_repeats(mut self) -> Self {
        self.command.arg("-nr");
        self
    }

    /// The port it speaks from.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When a call went otherwise than the scenario says; shows where.
    pub fn run(self) -> Result<()> {
        self.start()?.finish()
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(mut self) -> Result<Running> {
        self.command
            .args(["-p", &self.port.to_string(), "-m", &self.calls.to_string()]);
        if let Some(target) = self.target {
            self.command.arg(target.to_string());
        }
        let mut process = Process::start(&mut self.command, &self.log)?;
        let port = self.port;
        until("sipp's socket", Duration::from_secs(10), || {
            // One that has failed or done its job already shows that in `finish`.
            Ok((listens(port)? || !process.is_running()?).then_some(()))
        })?;
        Ok(Running {
            scenario: self.scenario,
            process,
            log: self.log,
        })
    }
}

/// A scenario that is being played.
#[derive(Debug)]
pub struct Running {
    scenario: String,
    process: Process,
    log: PathBuf,
}

impl Running {
    /// Waits for the end of all its calls.
    ///
    /// # Errors
    /// When a call went otherwise than the scenario says; shows where.
    pub fn finish(mut self) -> Result<()> {
        let status = self
            .process
            .end(LIMIT)
            .with_context(|| self.scenario.clone());
        if status.as_ref().is_ok_and(std::process::ExitStatus::success) {
            return Ok(());
        }
        let errors = std::fs::read_to_string(self.log.with_extension("err")).unwrap_or_default();
        match status {
            Ok(status) => bail!("sipp {} ended with {status}\n{errors}", self.scenario),
            Err(error) => bail!("sipp {error:#}\n{errors}"),
        }
    }
}

/// Whether somebody has a UDP or TCP socket at this port of 127.0.0.1.
fn listens(port: u16) -> Result<bool> {
    let wanted = format!("0100007F:{port:04X}");
    for table in ["/proc/net/udp", "/proc/net/tcp"] {
        let table = std::fs::read_to_string(table)?;
        if table
            .lines()
            .any(|line| line.split_whitespace().nth(1) == Some(&wanted))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Longer than any scenario takes: 64×T1 and some.
const LIMIT: Duration = Duration::from_secs(60);
