//! A server under test.

use std::fs::{self, File};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::machine;

/// A running server with a folder of its own; both end with it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    folder: Folder,
    /// What it is.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it listens with TLS, if it does.
    pub secure: Option<SocketAddr>,
    /// From the start of its process to its first answer.
    pub birth: Duration,
}

/// What makes a server answer, and shows that it does.
#[derive(Clone, Copy, Debug)]
pub enum Probe {
    /// OPTIONS over UDP.
    Sip,
    /// `ping` of rtpengine's control protocol over UDP.
    Ng,
}

impl Server {
    /// Starts `command` on the servers' CPU, and waits for its first answer at `address`.
    ///
    /// # Errors
    /// If it can't be started, ends, or does not answer within ten seconds.
    pub fn start(
        name: &'static str,
        command: &Command,
        folder: Folder,
        address: SocketAddr,
        probe: Probe,
    ) -> Result<Self> {
        let socket = UdpSocket::bind((address.ip(), 0))?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(Duration::from_millis(1)))?;
        let log = File::create(folder.path("log"))?;
        let mut command = pinned(command);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        let mut server = Self {
            child,
            folder,
            name,
            address,
            secure: None,
            birth: Duration::ZERO,
        };
        server.await_answer(&socket, probe, started)?;
        Ok(server)
    }

    fn await_answer(&mut self, socket: &UdpSocket, probe: Probe, started: Instant) -> Result<()> {
        let question = probe.question(socket.local_addr()?, self.address);
        let mut buffer = [0; 4096];
        loop {
            // Before the server listens, the system refuses both.
            let _ = socket.send(question.as_bytes());
            if socket.recv(&mut buffer).is_ok() {
                self.birth = started.elapsed();
                return Ok(());
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || started.elapsed() > Duration::from_secs(10) {
                let log = fs::read_to_string(self.folder.path("log")).unwrap_or_default();
                let name = self.name;
                bail!("{name} does not answer at {}:\n{log}", self.address);
            }
        }
    }

    /// A file in its folder.
    #[must_use]
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path(name)
    }

    /// CPU time of all its processes.
    ///
    /// # Errors
    /// If it has ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        machine::cpu_time(self.child.id()).with_context(|| format!("{} has ended", self.name))
    }

    /// Memory of all its processes (PSS), in KiB.
    ///
    /// # Errors
    /// If it has ended.
    pub fn memory(&self) -> Result<u64> {
        machine::memory(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id() as i32);
        // A server that has ended already needs no signal.
        let _ = kill(pid, Signal::SIGTERM);
        let patience = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > patience {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Probe {
    fn question(self, from: SocketAddr, to: SocketAddr) -> String {
        match self {
            Self::Sip => format!(
                "OPTIONS sip:{to} SIP/2.0\r\n\
                 Via: SIP/2.0/UDP {from};rport;branch=z9hG4bKbirth{port}\r\n\
                 Max-Forwards: 70\r\n\
                 From: <sip:probe@{from}>;tag=1\r\n\
                 To: <sip:{to}>\r\n\
                 Call-ID: birth{port}@{from}\r\n\
                 CSeq: 1 OPTIONS\r\n\
                 Content-Length: 0\r\n\r\n",
                port = from.port()
            ),
            Self::Ng => format!("{} d7:command4:pinge", from.port()),
        }
    }
}

/// The same command on the servers' CPU, with the generator's priority. What runs in between replaces
/// itself, so the process stays the same.
fn pinned(command: &Command) -> Command {
    let mut outer = Command::new("taskset");
    if machine::has_two_cpus() {
        outer.args(["-c", &machine::SERVER_CPU.to_string()]);
    } else {
        outer = Command::new("env");
    }
    outer.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            outer.env(name, value);
        }
    }
    outer
}

/// A folder for one server, removed at the end.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new, empty one.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn new(name: &str) -> Result<Self> {
        let path =
            std::env::temp_dir().join(format!("dialtone-bench-{}-{name}", std::process::id()));
        // What an interrupted run left.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self(path))
    }

    /// A file in it.
    #[must_use]
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An address on this machine that nobody uses now.
///
/// # Errors
/// If there is none.
pub fn free_address() -> Result<SocketAddr> {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).context("no free port")?;
    Ok(socket.local_addr()?)
}
