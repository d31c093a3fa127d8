//! A small Debian system that runs, with systemd as its first process and a network of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::debian::{Package, System, done, said};
use crate::lab::Lab;
use crate::process::Process;
use crate::wait::until;

/// A running system; it is gone when this is dropped.
#[derive(Debug)]
pub struct Booted<'a> {
    system: &'a System,
    /// What has made its name spaces and waits for its end.
    outside: Process,
    /// Its first process, as we number it.
    init: String,
    /// Its control group, seen from the root of all groups.
    group: String,
}

/// Why no system can be started on this machine; none: it can.
///
/// # Errors
/// When that can't be found out.
pub fn lacks(lab: &Lab) -> Result<Option<String>> {
    let mut command = Command::new("unshare");
    command.args([
        "--mount", "--pid", "--fork", "--uts", "--ipc", "--cgroup", "--net",
    ]);
    command
        .args(["sh", "-ec", TRY, "sh"])
        .arg(lab.folder("try")?);
    let output = command.output().context("start unshare")?;
    let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok((!output.status.success()).then_some(error))
}

impl<'a> Booted<'a> {
    /// Starts a system and waits until systemd has started all that there is.
    ///
    /// # Errors
    /// When we are not root, the kernel has no control groups of version 2, or it does not start.
    pub fn boot(lab: &Lab, system: &'a System) -> Result<Self> {
        let group = format!("dialtone-test-{}", std::process::id());
        let log = lab.path("systemd.log");
        let mut command = Command::new("sh");
        command.args(["-ec", BOOT, "sh"]).arg(system.path(""));
        command.arg(lab.folder("groups")?).arg(&group);
        let mut outside = Process::start(&mut command, &log)?;
        let pid = outside.pid().as_raw_nonzero();
        let children = PathBuf::from(format!("/proc/{pid}/task/{pid}/children"));
        let init = until("the first process", PATIENCE, || {
            ensure!(outside.is_running()?, "no system: {}", outside.output()?);
            Ok(systemd(&children))
        })?;
        let booted = Self {
            system,
            outside,
            init,
            group,
        };
        until("a system that is up", PATIENCE, || {
            let state = booted.run(&["systemctl", "is-system-running"]);
            Ok((state.ok().as_deref() == Some("running")).then_some(()))
        })
        .with_context(|| booted.outside.output().unwrap_or_default())?;
        Ok(booted)
    }

    /// Installs a package, or upgrades to it, and keeps what the administrator has changed.
    ///
    /// # Errors
    /// When dpkg fails.
    pub fn install(&self, package: &Package) -> Result<String> {
        let path = format!("/root/{}", package.file_name()?);
        fs::copy(
            package.path(),
            self.system.path(path.trim_start_matches('/')),
        )?;
        self.run(&["dpkg", "--force-confold", "--install", &path])
    }

    /// Runs a program in it as root and returns what it said.
    ///
    /// # Errors
    /// When it fails; carries its errors.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        Ok(said(&done(self.command().args(args))?))
    }

    /// Starts a program in it as root.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn start(&self, args: &[&str], log: &Path) -> Result<Process> {
        Process::start(self.command().args(args), log)
    }

    /// Gives the machine an address.
    ///
    /// # Errors
    /// When it is none.
    pub fn add_address(&self, address: &str) -> Result<()> {
        self.ip(&["address", "add", address, "dev", "lo"])
    }

    /// Gives the machine an Ethernet interface with an address.
    ///
    /// # Errors
    /// When it is none.
    pub fn add_ethernet(&self, address: &str) -> Result<()> {
        self.ip(&["link", "add", "ours", "type", "veth", "peer", "theirs"])?;
        self.ip(&["address", "add", address, "dev", "ours"])?;
        self.ip(&["link", "set", "ours", "up"])?;
        self.ip(&["link", "set", "theirs", "up"])
    }

    fn ip(&self, args: &[&str]) -> Result<()> {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init, "--net", "ip"]);
        done(command.args(args)).map(drop)
    }

    /// A program that will run in it.
    fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init, "--all", "--wd=/", "env", "-i"]);
        command.args([PATH, "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]);
        command.stdin(std::process::Stdio::null());
        command
    }
}

impl Drop for Booted<'_> {
    fn drop(&mut self) {
        // These fail only when it has ended; all its processes end with the first.
        let _ = self.outside.signal(rustix::process::Signal::KILL);
        let _ = self.outside.end(PATIENCE);
        let init = PathBuf::from(format!("/proc/{}", self.init));
        let _ = until("the end", PATIENCE, || Ok((!init.exists()).then_some(())));
        let mut command = Command::new("unshare");
        let group = self.group.as_str();
        command.args(["--mount", "sh", "-ec", CLEAN, "sh", group]);
        let _ = command.output();
    }
}

/// The only child, once it has become systemd.
fn systemd(children: &Path) -> Option<String> {
    let child = fs::read_to_string(children).ok()?;
    let child = child.trim();
    let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
    (name.trim() == "systemd").then(|| child.to_owned())
}

/// Starts systemd in a folder: `$1` is the root, `$2` an empty folder, `$3` the control group to make.
const BOOT: &str = r#"
unshare --mount sh -ec 'mount -t cgroup2 none "$1"; mkdir "$1/$2"; echo $PPID > "$1/$2/cgroup.procs"' sh "$2" "$3"
exec unshare --mount --pid --fork --kill-child --uts --ipc --cgroup --net sh -ec '
cd "$1"
mount --bind . .
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do
    touch dev/$name
    mount --bind /dev/$name dev/$name
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
ip link set lo up
hostname phones
mkdir run/outside
pivot_root . run/outside
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -ec "
umount -l /run/outside
rmdir /run/outside
exec /lib/systemd/systemd --log-target=console --show-status=0
"' sh "$1"
"#;

/// Whether all that [`BOOT`] wants of the kernel is allowed: `$1` is an empty folder.
const TRY: &str = r#"
mount -t cgroup2 none "$1"
mkdir "$1/dialtone-test-try"
rmdir "$1/dialtone-test-try"
umount "$1"
mount -t proc proc "$1"
mount -t sysfs -o ro sysfs "$1"
mount -t devpts -o newinstance devpts "$1"
"#;

/// Removes the control group `$1`, whose processes have ended.
const CLEAN: &str = r#"
mount -t cgroup2 none /mnt
find "/mnt/$1" -depth -type d -exec rmdir {} \;
"#;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Everything is slow where others run beside it.
const PATIENCE: Duration = Duration::from_secs(60);
