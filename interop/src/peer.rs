//! Programs that must be there, and how they get there.

use std::fs::File;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// A program that a test needs, and the Debian package that has it.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    program: &'static str,
    package: &'static str,
}

/// A softphone that is driven over a socket.
pub const BARESIP: Peer = Peer {
    program: "baresip",
    package: "baresip-core",
};
/// A softphone that is driven on a terminal.
pub const LINPHONE: Peer = Peer {
    program: "linphonec",
    package: "linphone-cli",
};
/// Scripted SIP user agents.
pub const SIPP: Peer = Peer {
    program: "sipp",
    package: "sip-tester",
};
/// Captures and dissects.
pub const TSHARK: Peer = Peer {
    program: "tshark",
    package: "tshark",
};

/// Whether all of the peers are there; installs what is missing when that is allowed.
///
/// # Errors
/// Says what to install, unless `DIALTONE_INTEROP=skip`: then the answer is `false`.
pub fn ensure_all(peers: &[Peer]) -> Result<bool> {
    let missing: Vec<_> = peers.iter().filter(|peer| !peer.exists()).collect();
    if missing.is_empty() {
        return Ok(true);
    }
    let packages: Vec<_> = missing.iter().map(|peer| peer.package).collect();
    let packages = packages.join(" ");
    if std::env::var("DIALTONE_INTEROP").is_ok_and(|wish| wish == "skip") {
        eprintln!("skipped: {packages} not installed");
        return Ok(false);
    }
    if !rustix::process::geteuid().is_root() {
        bail!("missing peers; please run: sudo apt-get install {packages}");
    }
    install(&packages)?;
    ensure!(
        missing.iter().all(|peer| peer.exists()),
        "{packages} installed, and the program is still missing"
    );
    Ok(true)
}

impl Peer {
    fn exists(&self) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(self.program).is_file())
    }
}

fn install(packages: &str) -> Result<()> {
    // Tests run side by side, and apt-get only once.
    let lock = File::create(std::env::temp_dir().join("dialtone-interop-apt.lock"))?;
    lock.lock()?;
    apt_get(&["update", "-qq"])?;
    let mut args = vec!["install", "-y", "-qq", "--no-install-recommends"];
    args.extend(packages.split(' '));
    apt_get(&args)
}

fn apt_get(args: &[&str]) -> Result<()> {
    let status = Command::new("apt-get")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .status()
        .context("start apt-get")?;
    ensure!(
        status.success(),
        "apt-get {} ended with {status}",
        args.join(" ")
    );
    Ok(())
}
