//! Our own binary.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{DOMAIN, FIRST_CALLEE, FIRST_CALLER};
use crate::server::{Folder, Probe, Server, free_address};

/// The static release binary: the one that `DIALTONE_BIN` names, or a fresh one.
///
/// # Errors
/// If it does not build.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("DIALTONE_BIN") {
        return Ok(path.into());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["xtask", "build"])
        .current_dir(&root)
        .stdout(std::process::Stdio::inherit())
        .output()
        .context("start cargo xtask build")?;
    let said = String::from_utf8_lossy(&output.stderr);
    eprint!("{said}");
    ensure!(output.status.success(), "the binary does not build");
    let path = said.lines().rev().find_map(|line| line.split_once(": "));
    let (path, _) = path.context("cargo xtask build names no binary")?;
    Ok(root.join(path))
}

/// Starts it with `users` callers, as many called ones, and silent phones: keep-alive and log would be load that the
/// peers don't have.
///
/// # Errors
/// If it does not come up.
pub fn start(binary: &Path, users: u32) -> Result<Server> {
    start_with(binary, users, Step::Dial)
}

/// Starts it as the media relay of a proxy.
///
/// # Errors
/// If it does not come up.
pub fn start_relay(binary: &Path) -> Result<Server> {
    start_relay_with(binary, &["media.ports=10000-19999"])
}

/// [`start_relay`] with all calls on one port.
///
/// # Errors
/// If it does not come up.
pub fn start_one_port(binary: &Path) -> Result<Server> {
    start_relay_with(binary, &["media.shared=true", "media.ports=10000-10000"])
}

fn start_relay_with(binary: &Path, settings: &[&str]) -> Result<Server> {
    let folder = Folder::new("dialtone-relay")?;
    let address = free_address()?;
    let mut command = Command::new(binary);
    command.args(["run", "--role", "relay", "--data"]);
    command.arg(folder.path("srv"));
    for setting in [
        format!("relay.listen=[\"udp:{address}\"]"),
        format!("relay.interfaces=[\"{}\"]", address.ip()),
        "relay.delete_delay=never".to_owned(),
        "log.level=error".to_owned(),
    ] {
        command.args(["--set", &setting]);
    }
    for setting in settings {
        command.args(["--set", setting]);
    }
    Server::start("dialtone", &command, folder, address, Probe::Ng)
}

/// What the dial plan does with every call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Joins it to a call to the user's phones.
    Dial,
    /// Forwards it to them; whoever calls is a trunk, known by its address.
    Proxy,
}

/// [`start`] with another dial plan. It listens on UDP and TCP at its address, and on TLS at another,
/// with a certificate of its own making.
///
/// # Errors
/// If it does not come up.
pub fn start_with(binary: &Path, users: u32, step: Step) -> Result<Server> {
    let secure = free_address()?;
    let folder = Folder::new("dialtone")?;
    let address = free_address()?;
    let etc = folder.path("etc");
    fs::create_dir_all(&etc)?;
    fs::write(etc.join("users.toml"), user_file(users)?)?;
    fs::write(etc.join("dialplan.toml"), step.dialplan())?;
    if step == Step::Proxy {
        fs::write(etc.join("trunks.toml"), TRUNK)?;
    }
    let listen = format!("sip.listen=[\"udp:{address}\",\"tcp:{address}\",\"tls:{secure}\"]");
    let mut command = Command::new(binary);
    command
        .arg("run")
        .arg("--data")
        .arg(folder.path(""))
        .args(["--set", &listen])
        .args(["--set", &format!("sip.realm={DOMAIN}")])
        .args(["--set", "http.listen=[]"])
        // One address stands for many here.
        .args(["--set", "sip.limits.strangers=0"])
        .args(["--set", "media.ports=10000-64999"])
        .args(["--set", "registrar.qualify=off"])
        .args(["--set", "log.level=warn"]);
    let mut server = Server::start("dialtone", &command, folder, address, Probe::Sip)?;
    server.secure = Some(secure);
    Ok(server)
}

/// Certificate and key of a server that [`start`] has started.
#[must_use]
pub fn identity(server: &Server) -> [PathBuf; 2] {
    ["certificate.pem", "key.pem"].map(|name| server.path("state/tls").join(name))
}

fn user_file(users: u32) -> Result<String> {
    let mut text = String::new();
    for first in [FIRST_CALLER, FIRST_CALLEE] {
        for user in first..first + users {
            writeln!(text, "[user.{user}]\npassword = \"pw{user}\"")?;
        }
    }
    Ok(text)
}

/// The generator's callers. Nobody calls them, so where their server would be does not matter.
const TRUNK: &str = "\
[trunk.generator]
proxies = [\"127.0.0.1:9\"]
from = [\"127.0.0.0/8\"]
qualify = \"off\"
keep_alive = \"off\"
";

impl Step {
    fn dialplan(self) -> String {
        let step = match self {
            Self::Dial => "dial",
            Self::Proxy => "proxy",
        };
        format!("[[extension]]\nnumber = \".\"\nsteps = [{{ {step} = \"{{number}}\" }}]\n")
    }
}
