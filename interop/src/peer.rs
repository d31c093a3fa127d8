//! Programs that must be there, and how they get there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// A program that a test needs.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The program, looked for in `PATH`, or a file; for a library, the name of its folder.
    program: &'static str,
    source: Source,
}

/// Where a peer comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// Debian packages.
    Debian(&'static str),
    /// Packages for Python, with a space between them, in a virtual environment of their own.
    PyPi(&'static str),
    /// Packages for Node.
    Npm(&'static [&'static str]),
}

/// A softphone that is driven over a socket.
pub const BARESIP: Peer = debian("baresip", "baresip-core");
/// A softphone that is driven on a terminal.
pub const LINPHONE: Peer = debian("linphonec", "linphone-cli");
/// Scripted SIP user agents.
pub const SIPP: Peer = debian("sipp", "sip-tester");
/// Captures and dissects.
pub const TSHARK: Peer = debian("tshark", "tshark");
/// A provider's proxy and registrar.
pub const KAMAILIO: Peer = debian("kamailio", "kamailio kamailio-tls-modules");
/// A media relay.
pub const RTPENGINE: Peer = debian("rtpengine", "rtpengine-daemon");
/// Fetches over HTTP, also from a Unix socket.
pub const CURL: Peer = debian("curl", "curl");
/// Clients of TURN and STUN servers.
pub const COTURN: Peer = debian("turnutils_uclient", "coturn");
/// Puts TLS around what speaks none.
pub const SOCAT: Peer = debian("socat", "socat");
/// Looks for phone systems, their users and their passwords.
pub const SIPVICIOUS: Peer = debian("svmap", "sipvicious");
/// Protects packets; its tests compile a program of their own.
pub const LIBSRTP: Peer = debian("/usr/include/srtp2/srtp.h", "libsrtp2-dev build-essential");
/// Does DTLS.
pub const OPENSSL: Peer = debian("openssl", "openssl");
/// What writes and plays sound of every format.
pub const FFMPEG: Peer = debian("ffmpeg", "ffmpeg");
/// A sound server.
pub const PULSE: Peer = debian("pulseaudio", "pulseaudio pulseaudio-utils");
/// What plays and records at a sound server.
pub const PULSE_CLIENTS: Peer = debian("parec", "pulseaudio-utils");
/// A reverse proxy.
pub const NGINX: Peer = debian("nginx", "nginx-light");
/// Runs containers.
pub const PODMAN: Peer = debian("podman", "podman runc catatonit");
/// Networks of containers of their own, for [`PODMAN`].
pub const CONTAINER_NETWORKS: Peer = debian(
    "/usr/lib/cni/portmap",
    "containernetworking-plugins iptables",
);
/// Makes a small Debian system in a folder.
pub const DEBOOTSTRAP: Peer = debian("debootstrap", "debootstrap");
/// The program that runs those for arm64.
pub const EMULATOR: &str = "qemu-aarch64-static";
/// Runs programs for other machines.
pub const QEMU: Peer = debian(EMULATOR, "qemu-user-static");
/// Runs JavaScript.
pub const NODE: Peer = debian("node", "nodejs");

/// A softphone in a library for Python.
pub const PJSUA2: Peer = Peer {
    program: "pjsua2-2.15.1",
    source: Source::PyPi("pjsua2-python==2.15.1.post1"),
};
/// Runs compose files; needs [`PODMAN`].
pub const PODMAN_COMPOSE: Peer = Peer {
    program: "podman-compose-1.6.0",
    source: Source::PyPi("podman-compose==1.6.0"),
};
/// Compares files with schemas, among them that of the Compose Specification.
pub const CHECK_JSONSCHEMA: Peer = Peer {
    program: "check-jsonschema-0.39.0",
    source: Source::PyPi("check-jsonschema==0.39.0"),
};
/// An ICE agent in a library for Python.
pub const AIOICE: Peer = Peer {
    program: "aioice-0.13.0",
    source: Source::PyPi("aioice==0.13.0"),
};
/// WebRTC in a library for Python.
pub const AIORTC: Peer = Peer {
    program: "aiortc-1.16.0",
    source: Source::PyPi("aiortc==1.16.0 numpy==2.4.6"),
};
/// A softphone in a library for browsers; needs [`NODE`].
pub const JSSIP: Peer = Peer {
    program: "jssip-3.13.8",
    source: Source::Npm(&["jssip@3.13.8", "ws@8"]),
};
/// A browser.
pub const CHROMIUM: Peer = debian("chromium", "chromium");
/// What drives [`CHROMIUM`], and the softphone for it; needs [`NODE`].
pub const JSSIP_IN_BROWSER: Peer = Peer {
    program: "jssip-browser-3.13.8",
    source: Source::Npm(&["jssip@3.13.8", "playwright-core@1.64.1", "esbuild@0.25"]),
};

/// What capture servers written for Node understand HEP with; needs [`NODE`].
pub const HEP_JS: Peer = Peer {
    program: "hep-js-1.0.22",
    source: Source::Npm(&["hep-js@1.0.22"]),
};

const fn debian(program: &'static str, package: &'static str) -> Peer {
    let source = Source::Debian(package);
    Peer { program, source }
}

/// Whether all of the peers are there; installs what is missing when that is allowed.
///
/// # Errors
/// Says what to install, unless `DIALTONE_INTEROP=skip`: then the answer is `false`.
pub fn ensure_all(peers: &[Peer]) -> Result<bool> {
    let missing: Vec<_> = peers.iter().filter(|peer| !peer.exists()).collect();
    if missing.is_empty() {
        return Ok(true);
    }
    if std::env::var("DIALTONE_INTEROP").is_ok_and(|wish| wish == "skip") {
        let names: Vec<_> = missing.iter().map(|peer| peer.program).collect();
        eprintln!("skipped: not installed: {}", names.join(" "));
        return Ok(false);
    }
    // Tests run side by side, and each installation only once.
    let lock = File::create(std::env::temp_dir().join("dialtone-interop-install.lock"))?;
    lock.lock()?;
    for peer in missing {
        peer.install()?;
    }
    Ok(true)
}

/// The folder of a library.
///
/// # Errors
/// When nobody knows where to keep it.
pub fn folder(peer: &Peer) -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let cache = cache
        .or_else(home)
        .context("neither HOME nor XDG_CACHE_HOME is set")?;
    Ok(cache.join("dialtone-interop").join(peer.program))
}

impl Peer {
    fn exists(&self) -> bool {
        match self.source {
            Source::Debian(_) => is_in_path(self.program),
            // Written last: half an installation is none.
            _ => folder(self).is_ok_and(|folder| folder.join(COMPLETE).is_file()),
        }
    }

    fn install(&self) -> Result<()> {
        if self.exists() {
            return Ok(());
        }
        match self.source {
            Source::Debian(packages) => install_packages(packages)?,
            Source::PyPi(package) => install_for_python(&emptied(self)?, package)?,
            Source::Npm(packages) => install_for_node(&emptied(self)?, packages)?,
        }
        if !matches!(self.source, Source::Debian(_)) {
            File::create(folder(self)?.join(COMPLETE))?;
        }
        ensure!(
            self.exists(),
            "installed, and {} is still missing",
            self.program
        );
        Ok(())
    }
}

fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn emptied(peer: &Peer) -> Result<PathBuf> {
    let folder = folder(peer)?;
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    Ok(folder)
}

fn install_packages(packages: &str) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("missing peers; please run: sudo apt-get install {packages}");
    }
    let apt_get = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    run(apt_get().args(["update", "-qq"]))?;
    let install = ["install", "-y", "-qq", "--no-install-recommends"];
    run(apt_get().args(install).args(packages.split(' ')))
}

fn install_for_python(folder: &Path, packages: &str) -> Result<()> {
    run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    let pip = folder.join("bin/pip");
    run(Command::new(pip)
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .args(packages.split(' ')))
}

fn install_for_node(folder: &Path, packages: &[&str]) -> Result<()> {
    fs::write(folder.join("package.json"), "{\"private\": true}\n")?;
    let install = [
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
    ];
    run(Command::new("npm")
        .args(install)
        .args(packages)
        .current_dir(folder))
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("start {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

const COMPLETE: &str = "complete";
