//! A small Debian system in a folder, and packages for it; [`crate::booted`] has it run.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

use crate::lab::Lab;
use crate::process::Process;

/// A small Debian system. By itself no service runs in it, and it shares our network.
#[derive(Debug)]
pub struct System {
    root: PathBuf,
}

/// A Debian package of the binary under test.
#[derive(Debug)]
pub struct Package {
    path: PathBuf,
}

impl Package {
    /// Makes the package of a binary, as `cargo xtask deb` does.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn build(lab: &Lab, binary: &Path, architecture: &str) -> Result<Self> {
        let output = lab.folder("packages")?;
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        command.args([
            "run",
            "-q",
            "-p",
            "xtask",
            "--",
            "deb",
            "--arch",
            architecture,
        ]);
        command.arg("--binary").arg(binary);
        command.arg("--output").arg(&output);
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        let path = said(&done(&mut command)?);
        Ok(Self { path: path.into() })
    }

    /// The same package at another version and with `line` at the end of these files of it.
    ///
    /// # Errors
    /// When it can't be taken apart or put together.
    pub fn revised(&self, lab: &Lab, version: &str, line: &str, files: &[&str]) -> Result<Self> {
        let parts = lab.path("parts");
        done(
            Command::new("dpkg-deb")
                .arg("-R")
                .args([&self.path, &parts]),
        )?;
        let control = parts.join("DEBIAN/control");
        let text: String = fs::read_to_string(&control)?
            .lines()
            .map(|line| match line.split_once(": ") {
                Some(("Version", _)) => format!("Version: {version}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        fs::write(control, text)?;
        for file in files {
            append(&parts.join(file), line)?;
        }
        let path = lab.path(&format!("dialtone_{version}.deb"));
        let mut build = Command::new("dpkg-deb");
        build.args(["--root-owner-group", "-Znone", "-b"]);
        done(build.args([&parts, &path]))?;
        fs::remove_dir_all(parts)?;
        Ok(Self { path })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file's name.
    pub(crate) fn file_name(&self) -> Result<String> {
        let name = self.path.file_name().context("a package has a name")?;
        Ok(name.to_string_lossy().into_owned())
    }

    /// A field of its control file.
    ///
    /// # Errors
    /// When it is no package.
    pub fn field(&self, name: &str) -> Result<String> {
        let mut command = Command::new("dpkg-deb");
        Ok(said(&done(command.arg("-f").arg(&self.path).arg(name))?))
    }
}

impl System {
    /// Makes one with nothing but what every Debian system has, and what packages that make users
    /// ask for.
    ///
    /// # Errors
    /// When we are not root, or Debian's mirror can't be reached.
    pub fn make(lab: &Lab) -> Result<Self> {
        Self::make_with(lab, "adduser")
    }

    /// Makes one that can be booted too.
    ///
    /// # Errors
    /// When we are not root, or Debian's mirror can't be reached.
    pub fn make_bootable(lab: &Lab) -> Result<Self> {
        Self::make_with(lab, "adduser,systemd-sysv,dbus")
    }

    /// Makes one with these packages.
    fn make_with(lab: &Lab, packages: &str) -> Result<Self> {
        let root = lab.path("system");
        let mut command = Command::new("debootstrap");
        command.arg("--variant=minbase");
        command.arg(format!("--include={packages}")).arg(SUITE);
        done(command.arg(&root))?;
        Ok(Self { root })
    }

    /// Where a path of it is for us.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Installs a package, or upgrades to it, and keeps what the administrator has changed.
    ///
    /// # Errors
    /// When dpkg fails.
    pub fn install(&self, package: &Package) -> Result<String> {
        let name = package.file_name()?;
        fs::copy(&package.path, self.root.join("tmp").join(&name))?;
        let path = format!("/tmp/{name}");
        self.run(&["dpkg", "--force-confold", "--install", &path])
    }

    /// Runs a program in it as root and returns what it said.
    ///
    /// # Errors
    /// When it fails; carries its errors.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        Ok(said(&done(self.command("root:root").args(args))?))
    }

    /// Runs a program in it as the package's user and returns what it said.
    ///
    /// # Errors
    /// When it fails; carries its errors.
    pub fn run_as_server(&self, args: &[&str]) -> Result<String> {
        Ok(said(&done(self.command(SERVER).args(args))?))
    }

    /// Starts a program in it as the package's user.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn start_as_server(&self, args: &[&str], log: &Path) -> Result<Process> {
        Process::start(self.command(SERVER).args(args), log)
    }

    /// Owner, group and mode of a path, as in `root:root 755`.
    ///
    /// # Errors
    /// When there is none.
    pub fn owner(&self, path: &str) -> Result<String> {
        self.run(&["stat", "-c", "%U:%G %a", path])
    }

    /// Adds a line to a file, as an administrator does.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn edit(&self, path: &str, line: &str) -> Result<()> {
        append(&self.path(path), line)
    }

    /// Whether a file contains this text.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn contains(&self, path: &str, text: &str) -> Result<bool> {
        let content =
            fs::read_to_string(self.path(path)).with_context(|| format!("read {path}"))?;
        Ok(content.contains(text))
    }

    /// A program that will run in it, as this user and group.
    fn command(&self, user: &str) -> Command {
        let mut command = Command::new("chroot");
        command.arg(format!("--userspec={user}")).arg(&self.root);
        command.env_clear();
        command.env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        );
        command.envs([("DEBIAN_FRONTEND", "noninteractive"), ("LC_ALL", "C.UTF-8")]);
        command.stdin(std::process::Stdio::null());
        command
    }
}

/// A folder is never removed while something is mounted in it.
impl Drop for System {
    fn drop(&mut self) {
        for folder in ["proc", "sys"] {
            let mut command = Command::new("umount");
            // Fails when nothing is mounted, which is how debootstrap leaves it.
            let _ = command
                .args([OsStr::new("-q"), self.root.join(folder).as_os_str()])
                .output();
        }
    }
}

fn append(path: &Path, line: &str) -> Result<()> {
    let mut content =
        fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    content.push_str(line);
    content.push('\n');
    Ok(fs::write(path, content)?)
}

pub(crate) fn done(command: &mut Command) -> Result<Output> {
    let output = command
        .output()
        .with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} failed: {said}{errors}");
    }
    Ok(output)
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Debian 12, the oldest that the package is for.
const SUITE: &str = "bookworm";
/// The package's user and group.
const SERVER: &str = "dialtone:dialtone";
