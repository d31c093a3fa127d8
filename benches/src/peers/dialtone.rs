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

/// Starts it with `users` callers, as many called ones, and silent phones: keep-alive and log would be load that the peers don't
/// have.
///
/// # Errors
/// If it does not come up.
pub fn start(binary: &Path, users: u32) -> Result<Server> {
    let folder = Folder::new("dialtone")?;
    let address = free_address()?;
    let etc = folder.path("etc");
    fs::create_dir_all(&etc)?;
    fs::write(etc.join("users.toml"), user_file(users)?)?;
    fs::write(etc.join("dialplan.toml"), DIALPLAN)?;
    let mut command = Command::new(binary);
    command
        .arg("run")
        .arg("--data")
        .arg(folder.path(""))
        .args(["--set", &format!("sip.listen=[\"udp:{address}\"]")])
        .args(["--set", &format!("sip.realm={DOMAIN}")])
        .args(["--set", "http.listen=[]"])
        .args(["--set", "media.ports=10000-64999"])
        .args(["--set", "registrar.qualify=off"])
        .args(["--set", "log.level=warn"]);
    Server::start("dialtone", &command, folder, address, Probe::Sip)
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

const DIALPLAN: &str = r#"
[[extension]]
number = "."
steps = [{ dial = "{number}" }]
"#;
