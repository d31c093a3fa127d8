//! A server for a test, run as a user runs it.
#![allow(dead_code, unreachable_pub, reason = "no test uses all of it")]

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use ue::load::{Accounts, Job, LoadOptions};

/// A running server on a free port of the loopback interface.
pub struct Server {
    child: Child,
    pub data: TempDir,
}

impl Server {
    /// Starts one on a new folder.
    pub fn new() -> Self {
        Self::start(TempDir::new().unwrap())
    }

    /// Starts one on a folder that may hold a configuration, and waits until it is ready.
    pub fn start(data: TempDir) -> Self {
        let child = run(data.path())
            .stdout(fs::File::create(data.path().join("stdout")).unwrap())
            .stderr(
                fs::File::options()
                    .append(true)
                    .create(true)
                    .open(data.path().join("log"))
                    .unwrap(),
            )
            .spawn()
            .unwrap();
        let mut server = Self { child, data };
        server.until(|server| server.run(&["health"]).0.success());
        server
    }

    /// Runs another command on its folder: exit status, standard output, standard error.
    pub fn run(&self, args: &[&str]) -> (ExitStatus, String, String) {
        let output = command(self.data.path(), args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status, text(output.stdout), text(output.stderr))
    }

    pub fn json(&self, command: &str) -> Value {
        let (status, text, error) = self.run(&[command, "--json"]);
        assert!(status.success(), "{error}");
        serde_json::from_str(&text).unwrap()
    }

    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.data.path().join(file)).unwrap()
    }

    /// Where it listens on UDP.
    pub fn sip(&self) -> String {
        self.address("udp")
    }

    /// Where it listens for a transport.
    pub fn address(&self, transport: &str) -> String {
        let status = self.json("status");
        let listen = status["listen"].as_array().unwrap();
        let mut all = listen.iter().map(|listen| listen.as_str().unwrap());
        let found = all.find_map(|l| l.strip_prefix(transport)?.strip_prefix(':'));
        found.unwrap().to_owned()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Waits for its end; the folder stays.
    pub fn wait(mut self) -> (ExitStatus, TempDir) {
        let status = self.child.wait().unwrap();
        let empty = TempDir::new().unwrap();
        (status, std::mem::replace(&mut self.data, empty))
    }

    pub fn until(&mut self, mut condition: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended: {}", self.read("log"));
            assert!(
                start.elapsed().as_secs() < 30,
                "in vain: {}",
                self.read("log")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Adds users `u0`, `u1`, … with the passwords that the load generator expects.
    pub fn add_load_users(&self, count: u32) {
        let path = self.data.path().join("etc/users.toml");
        let mut users = fs::read_to_string(&path).unwrap();
        for n in 0..count {
            users += &format!("[user.u{n}]\npassword = \"pw{n}\"\n");
        }
        fs::write(path, users).unwrap();
        let (status, _, error) = self.run(&["reload"]);
        assert!(status.success(), "{error}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server on a folder, at ports that are free.
pub fn run(data: &Path) -> Command {
    let mut command = command(data, &["run"]);
    for setting in [
        "sip.listen=[\"udp:127.0.0.1:0\", \"tcp:127.0.0.1:0\", \"tls:127.0.0.1:0\"]",
        "http.listen=[\"http:127.0.0.1:0\", \"https:127.0.0.1:0\"]",
        &format!("media.ports={}", ports()),
        "registrar.qualify=off",
        // The load comes from one address.
        "sip.limits.strangers=0",
    ] {
        command.args(["--set", setting]);
    }
    command
}

pub fn command(data: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dialtone"));
    command
        .args(args)
        .arg("--data")
        .arg(data)
        .stdin(Stdio::null());
    for variable in ["RUST_LOG", "SYSLOG_LEVEL", "HOSTNAME"] {
        command.env_remove(variable);
    }
    command
}

/// A range of ports around one that is free.
fn ports() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let low = socket.local_addr().unwrap().port().min(65_000) & !1;
    format!("{low}-{}", low + 400)
}

pub fn load(job: Job, target: &str, count: u32) -> LoadOptions {
    LoadOptions {
        count: Some(u64::from(count)),
        callers: Accounts::numbered(0, count),
        callees: Accounts::numbered(count, count),
        window: Some(4),
        keep: true,
        ..LoadOptions::new(job, target)
    }
}
