//! The Debian packages, from installation to purge, in a system of their own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use interop::debian::{Package, System};
use interop::wait::until;
use interop::{Lab, peer, server};
use rustix::process::Signal;

#[test]
fn a_package_is_installed_upgraded_removed_and_purged() -> Result<()> {
    Lab::run_quietly("deb", |lab| {
        if !peer::ensure_all(&[peer::DEBOOTSTRAP])? {
            return Ok(());
        }
        let package = Package::build(lab, &server::binary()?, host())?;
        let system = System::make(lab)?;
        system.install(&package)?;
        installed(&system)?;
        configured(&system, &["dialtone"])?;
        serves(lab, &system, &["dialtone"])?;
        life(lab, &system, &package)
    })
}

/// The binary for arm64 is in `DIALTONE_BIN_ARM64`: `cargo xtask test --only arm64` builds it.
#[test]
fn a_package_for_arm64_is_installed_upgraded_removed_and_purged() -> Result<()> {
    let Some(binary) = std::env::var_os("DIALTONE_BIN_ARM64").map(PathBuf::from) else {
        eprintln!("skipped: DIALTONE_BIN_ARM64 names no binary");
        return Ok(());
    };
    Lab::run_quietly("deb-arm64", |lab| {
        if !peer::ensure_all(&[peer::DEBOOTSTRAP, peer::QEMU])? {
            return Ok(());
        }
        let package = Package::build(lab, &binary, "arm64")?;
        ensure!(package.field("Architecture")? == "arm64");
        let system = System::make(lab)?;
        system.run(&["dpkg", "--add-architecture", "arm64"])?;
        let emulator = Path::new("usr/bin").join(peer::EMULATOR);
        std::fs::copy(
            Path::new("/").join(&emulator),
            system.path("usr/bin/emulator"),
        )?;
        system.install(&package)?;
        installed(&system)?;
        let program = ["emulator", "/usr/bin/dialtone"];
        configured(&system, &program)?;
        serves(lab, &system, &program)?;
        life(lab, &system, &package)
    })
}

/// Passwords are nobody's but the server's and root's, and the service starts with the system.
fn installed(system: &System) -> Result<()> {
    for (path, owner) in [
        ("/etc/dialtone", "root:dialtone 2770"),
        ("/etc/dialtone/trunks.toml", "root:dialtone 640"),
        ("/etc/dialtone/users.toml", "root:dialtone 640"),
        ("/var/lib/dialtone", "dialtone:dialtone 750"),
        ("/var/lib/dialtone/state", "dialtone:dialtone 700"),
        ("/usr/bin/dialtone", "root:root 755"),
    ] {
        let found = system.owner(path)?;
        ensure!(found == owner, "{path} is {found}, not {owner}");
    }
    let link = system.path(SERVICE).read_link()?;
    ensure!(link == Path::new("/lib/systemd/system/dialtone.service"));
    Ok(())
}

/// What root writes, the server reads; `program` starts the binary.
fn configured(system: &System, program: &[&str]) -> Result<()> {
    system.run(&[program, &["user", "add", "1001"]].concat())?;
    system.edit("etc/dialtone/dialtone.toml", "# Mine.")?;
    system.run_as_server(&[program, &["check"]].concat())?;
    Ok(())
}

/// The server finds its folders, and ends when it is told to.
fn serves(lab: &Lab, system: &System, program: &[&str]) -> Result<()> {
    let site = lab.site();
    let sip = format!("sip.listen=[\"udp:{}\"]", site.sip);
    let media = format!("media.ports={}-{}", site.media.0, site.media.1);
    let settings = [
        "run",
        "--set",
        &sip,
        "--set",
        &media,
        "--set",
        "http.listen=[]",
    ];
    let log = lab.path("server.log");
    let mut server = system.start_as_server(&[program, &settings].concat(), &log)?;
    let health = [program, &["health"]].concat();
    until("a healthy server", PATIENCE, || {
        ensure!(server.is_running()?, "it ended: {}", server.output()?);
        Ok(system.run_as_server(&health).ok())
    })?;
    let phones = system.run(&[program, &["user", "list"]].concat())?;
    ensure!(phones.contains("1001"), "{phones}");
    server.signal(Signal::TERM)?;
    let status = server.end(PATIENCE)?;
    ensure!(status.success(), "{status}: {}", server.output()?);
    Ok(())
}

/// What becomes of configuration and data.
fn life(lab: &Lab, system: &System, package: &Package) -> Result<()> {
    let shipped = ["etc/dialtone/dialtone.toml", "etc/dialtone/dialplan.toml"];
    let newer = package.revised(lab, "99.0.0", "# Theirs.", &shipped)?;
    system.install(&newer)?;
    let version = system.run(&["dpkg-query", "-W", "-f", "${Version} ${Status}", "dialtone"])?;
    ensure!(version == "99.0.0 install ok installed", "{version}");
    keeps_what_is_mine(system)?;
    ensure!(
        system.contains(shipped[1], "# Theirs.")?,
        "what nobody has changed is replaced"
    );
    let beside = system.path("etc/dialtone/dialtone.toml.dpkg-dist");
    ensure!(beside.exists(), "the new one is there for comparison");
    installed(system)?;

    system.run(&["dpkg", "--remove", "dialtone"])?;
    ensure!(!system.path("usr/bin/dialtone").exists());
    keeps_what_is_mine(system)?;
    system.install(&newer)?;
    keeps_what_is_mine(system)?;
    installed(system)?;

    system.run(&["dpkg", "--purge", "dialtone"])?;
    for path in [
        "etc/dialtone",
        "etc/default/dialtone",
        "var/lib/dialtone",
        SERVICE,
    ] {
        let left = system.path(path).symlink_metadata().is_ok();
        ensure!(!left, "{path} is left after purge");
    }
    for file in ["etc/passwd", "etc/group", "var/lib/dpkg/status"] {
        ensure!(!system.contains(file, "dialtone")?, "{file} knows of it");
    }
    Ok(())
}

fn keeps_what_is_mine(system: &System) -> Result<()> {
    let settings = "etc/dialtone/dialtone.toml";
    ensure!(system.contains(settings, "# Mine.")?, "an edit is lost");
    ensure!(!system.contains(settings, "# Theirs.")?, "it is replaced");
    ensure!(system.contains("etc/dialtone/users.toml", "[user.1001]")?);
    ensure!(system.path("var/lib/dialtone/state/route-secret").exists());
    Ok(())
}

fn host() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    }
}

const SERVICE: &str = "etc/systemd/system/multi-user.target.wants/dialtone.service";
/// Programs are slow where others run beside them.
const PATIENCE: Duration = Duration::from_secs(60);
