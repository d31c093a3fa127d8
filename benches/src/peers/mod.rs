//! How each server is configured and started.

pub mod calls;
pub mod dialtone;
pub mod kamailio;
pub mod ng;
pub mod rtpengine;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::unistd::geteuid;

/// Users that every server knows, and that register or call. Their passwords are `pw` and the name.
pub const USERS: u32 = 1000;

/// The first caller's name.
pub const FIRST_CALLER: u32 = 100_000;

/// The first called user's name.
pub const FIRST_CALLEE: u32 = 200_000;

/// The domain of all users.
pub const DOMAIN: &str = "bench.test";

/// A program of another project.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its name on the command line and in the table.
    pub name: &'static str,
    /// The Debian packages that have it.
    packages: &'static [&'static str],
}

impl Peer {
    /// Whether the program is there; installs it when that is allowed, and else says what to install.
    #[must_use]
    pub fn is_there(&self) -> bool {
        if self.path().is_some() {
            return true;
        }
        if geteuid().is_root() && self.install() {
            return self.path().is_some();
        }
        eprintln!(
            "{}: left out; to have it beside us: sudo apt-get install {}",
            self.name,
            self.packages.join(" ")
        );
        false
    }

    fn install(&self) -> bool {
        // Tests run side by side, and apt-get only once.
        let lock = File::create(std::env::temp_dir().join("dialtone-bench-apt.lock"));
        if lock.and_then(|file| file.lock().map(|()| file)).is_err() || self.path().is_some() {
            return self.path().is_some();
        }
        eprintln!("{}: installing {}", self.name, self.packages.join(" "));
        let apt_get = |args: &[&str]| {
            Command::new("apt-get")
                .args(args)
                .env("DEBIAN_FRONTEND", "noninteractive")
                // The package's own service would take ports and CPU.
                .env("RUNLEVEL", "1")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        let install = ["install", "-y", "--no-install-recommends"];
        let install = [&install, self.packages].concat();
        apt_get(&["update", "-qq"]) && apt_get(&install)
    }

    fn path(&self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let system = ["/usr/sbin", "/usr/bin"].map(PathBuf::from);
        let mut folders = std::env::split_paths(&path).chain(system);
        folders.find_map(|folder| Some(folder.join(self.name)).filter(|path| path.is_file()))
    }

    /// A command that starts it.
    #[must_use]
    pub fn command(&self) -> Command {
        Command::new(self.path().unwrap_or_else(|| self.name.into()))
    }
}
