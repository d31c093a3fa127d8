//! Our own binary.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::lab::{Lab, Site};
use crate::process::Process;
use crate::wait::until;

/// A running server.
#[derive(Debug)]
pub struct Server {
    process: Process,
    sip: SocketAddr,
    data: PathBuf,
}

impl Server {
    /// Starts the server in `lab` and waits until it answers; `settings` are keys and values for
    /// `--set`.
    ///
    /// # Errors
    /// When it ends, or does not answer in time.
    pub fn start(lab: &Lab, settings: &[(&str, &str)]) -> Result<Self> {
        Self::start_at(lab.site(), settings)
    }

    /// Does the same at another site.
    ///
    /// # Errors
    /// When it ends, or does not answer in time.
    pub fn start_at(site: &Site, settings: &[(&str, &str)]) -> Result<Self> {
        Self::run(site, &mut command(site, settings)?, site.data.clone())
    }

    /// Starts the server with its data on a disk of so many octets.
    ///
    /// # Errors
    /// When we may not mount, or it does not start.
    pub fn start_on_small_disk(lab: &Lab, octets: u32) -> Result<Self> {
        let data = lab.folder("srv")?;
        let server = command(lab.site(), &[])?;
        // A name space of its own: nobody else sees the disk, and it goes with the server.
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-c", SMALL_DISK, "sh"]);
        command.arg(octets.to_string()).arg(&data);
        command.arg(server.get_program()).args(server.get_args());
        let mut server = Self::run(lab.site(), &mut command, data.clone())?;
        let outside = data.strip_prefix("/")?;
        let root = format!("/proc/{}/root", server.process.pid().as_raw_nonzero());
        server.data = Path::new(&root).join(outside);
        Ok(server)
    }

    fn run(site: &Site, command: &mut Command, data: PathBuf) -> Result<Self> {
        let process = Process::start(command, &site.data.with_extension("log"))?;
        let sip = site.sip;
        let mut server = Self { process, sip, data };
        server.wait_until_it_answers()?;
        Ok(server)
    }

    /// Where it listens, UDP and TCP.
    #[must_use]
    pub fn sip(&self) -> SocketAddr {
        self.sip
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The password of a user.
    ///
    /// # Errors
    /// When there is no such user.
    pub fn password(&self, user: &str) -> Result<String> {
        let path = self.data.join("etc/users.toml");
        let users: toml::Table = fs::read_to_string(&path)?.parse()?;
        let password = users
            .get("user")
            .and_then(|users| users.get(user)?.get("password")?.as_str());
        let password = password.with_context(|| format!("no user {user} in {}", path.display()))?;
        Ok(password.to_owned())
    }

    /// Runs one of the binary's other commands on this server's data folder.
    ///
    /// # Errors
    /// When the command can't be started.
    pub fn ctl(&self, args: &[&str]) -> Result<Output> {
        let output = Command::new(binary()?)
            .args(args)
            .args([Path::new("--data"), &self.data])
            .output()?;
        Ok(output)
    }

    /// Waits until no call is left, and every call has left one record.
    ///
    /// # Errors
    /// When a call or a record is too many or too few, or the server has caught a panic.
    pub fn settles(&self) -> Result<()> {
        let (mut status, mut records) = (Value::Null, 0);
        until("the end and the record of every call", PATIENCE, || {
            let output = self.ctl(&["status", "--json"])?;
            status = serde_json::from_slice(&output.stdout).context("parse the status")?;
            records = self.call_records()?;
            let done = status["calls"] == 0 && status["calls_total"] == records;
            Ok(done.then_some(()))
        })
        .with_context(|| format!("{records} call records; status {status}"))?;
        ensure!(
            status["counters"]["panics"] == 0,
            "the server has caught a panic"
        );
        Ok(())
    }

    fn call_records(&self) -> Result<u64> {
        let mut lines = 0;
        for file in fs::read_dir(self.data.join("cdr"))? {
            lines += fs::read_to_string(file?.path())?.lines().count();
        }
        Ok(lines as u64)
    }

    /// The memory that it alone uses and its share of what it has in common with others (PSS), in
    /// octets.
    ///
    /// # Errors
    /// When the kernel doesn't tell.
    pub fn memory(&self) -> Result<u64> {
        let file = format!("/proc/{}/smaps_rollup", self.process.pid().as_raw_nonzero());
        let sums = fs::read_to_string(file)?;
        let line = sums.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next());
        let kilobytes: u64 = kilobytes.context("no PSS")?.parse()?;
        Ok(kilobytes * 1024)
    }

    /// Kills it as a crash would, without any chance to write.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn crash(mut self) -> Result<()> {
        self.process.signal(Signal::KILL)?;
        self.process.end(Duration::from_secs(5))?;
        Ok(())
    }

    /// Asks it to stop and waits for its end.
    ///
    /// # Errors
    /// When it does not end, or not with success.
    pub fn stop(mut self) -> Result<()> {
        let status = self.process.stop(Duration::from_secs(10))?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    /// Whether it still runs and answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn is_well(&mut self) -> Result<()> {
        self.wait_until_it_answers()
    }

    /// What it has logged so far.
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn log(&self) -> Result<String> {
        self.process.output()
    }

    /// Waits until a line of the log contains all `words`, and returns the line.
    ///
    /// # Errors
    /// When it does not come.
    pub fn wait_for_log(&self, words: &[&str]) -> Result<String> {
        let what = format!("a line of the log with {words:?}");
        until(&what, PATIENCE, || {
            let log = self.log()?;
            let line = log
                .lines()
                .find(|line| words.iter().all(|word| line.contains(word)));
            Ok(line.map(str::to_owned))
        })
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(self.sip)?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        let (mut attempt, mut buffer) = (0, [0; 2048]);
        until("an answer of the server to OPTIONS", PATIENCE, || {
            if !self.process.is_running()? {
                bail!("the server has ended:\n{}", self.log()?.trim());
            }
            attempt += 1;
            // While nobody listens these fail with "connection refused".
            let _ = socket.send(options(&socket, attempt)?.as_bytes());
            let answer = socket.recv(&mut buffer).ok();
            let answer = answer.filter(|&length| buffer[..length].starts_with(b"SIP/2.0 "));
            Ok(answer.map(drop))
        })
    }
}

/// Starts a server that is to end by itself, and returns how it ended and what it said.
///
/// # Errors
/// When it goes on running.
pub fn refusal(lab: &Lab, settings: &[(&str, &str)]) -> Result<(ExitStatus, String)> {
    let mut process = Process::start(
        &mut command(lab.site(), settings)?,
        &lab.path("refusal.log"),
    )?;
    let status = process.end(PATIENCE)?;
    Ok((status, process.output()?))
}

fn command(site: &Site, settings: &[(&str, &str)]) -> Result<Command> {
    let mut all = BTreeMap::from([
        ("http.listen", "[]".to_owned()),
        ("sip.listen", format!("[\"udp:{0}\",\"tcp:{0}\"]", site.sip)),
        ("media.ports", format!("{}-{}", site.media.0, site.media.1)),
    ]);
    all.extend(
        settings
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned())),
    );
    let mut command = Command::new(binary()?);
    command.arg("run").arg("--data").arg(&site.data);
    for (key, value) in all {
        command.args(["--set", &format!("{key}={value}")]);
    }
    command.env("SYSLOG_LEVEL", "7");
    Ok(command)
}

/// The binary under test.
///
/// # Errors
/// When cargo can't build it.
pub fn binary() -> Result<PathBuf> {
    if let Some(binary) = std::env::var_os("DIALTONE_BIN") {
        return Ok(binary.into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "-p", "dialtone"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .context("start cargo")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo build -p dialtone: {errors}");
    // The test is at target/debug/deps/NAME.
    let test = std::env::current_exe()?;
    let folder = test
        .ancestors()
        .nth(2)
        .context("the test has no target folder")?;
    Ok(folder.join("dialtone"))
}

fn options(socket: &UdpSocket, attempt: u32) -> Result<String> {
    let (local, remote) = (socket.local_addr()?, socket.peer_addr()?);
    Ok(format!(
        "OPTIONS sip:{remote} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {local};rport;branch=z9hG4bK-probe-{attempt}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:probe@{local}>;tag=probe\r\n\
         To: <sip:{remote}>\r\n\
         Call-ID: probe-{attempt}-{port}\r\n\
         CSeq: {attempt} OPTIONS\r\n\
         Content-Length: 0\r\n\r\n",
        port = local.port(),
    ))
}

/// Arguments: size, folder, command.
const SMALL_DISK: &str = r#"mount -t tmpfs -o "size=$1" none "$2" && shift 2 && exec "$@""#;

/// The longest that a healthy server may take for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);
