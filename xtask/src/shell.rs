//! Starting other programs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A command that is shown before it starts and must succeed.
pub(crate) struct Cmd(Command);

impl Cmd {
    /// A command without arguments.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        Self(command)
    }

    /// Adds arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.0.args(args);
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(key, value);
        self
    }

    /// Runs the command with our own output streams.
    ///
    /// # Errors
    /// When it can't be started or exits with another code than 0.
    pub(crate) fn run(mut self) -> Result<()> {
        let line = self.line();
        eprintln!("$ {line}");
        let status = self.0.status().with_context(|| format!("start {line}"))?;
        if !status.success() {
            bail!("`{line}` ended with {status}");
        }
        Ok(())
    }

    /// Runs the command silently and returns what it wrote to standard output.
    ///
    /// # Errors
    /// When it can't be started or exits with another code than 0; carries its error output.
    pub(crate) fn read(mut self) -> Result<String> {
        let line = self.line();
        let output = self.0.output().with_context(|| format!("start {line}"))?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("`{line}` ended with {}: {}", output.status, errors.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn line(&self) -> String {
        let mut line = short(self.0.get_program());
        for arg in self.0.get_args() {
            line.push(' ');
            line.push_str(&arg.to_string_lossy());
        }
        line
    }
}

/// Cargo, the one that started us.
pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Cmd {
    Cmd::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())).args(args)
}

/// Cargo of the nightly toolchain.
pub(crate) fn nightly_cargo<const N: usize>(args: [&str; N]) -> Cmd {
    // Through rustup's proxy: the variables that name our own toolchain must not win.
    let mut cmd = Cmd::new("cargo").args(["+nightly"]).args(args);
    for key in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        cmd.0.env_remove(key);
    }
    cmd
}

/// Whether a program answers to `--version`-like arguments.
pub(crate) fn answers<const N: usize>(program: &str, args: [&str; N]) -> bool {
    Cmd::new(program).args(args).read().is_ok()
}

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Whether a build server runs us: there a missing tool is a failure, elsewhere a hint.
pub(crate) fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty())
}

fn short(program: &OsStr) -> String {
    let name = Path::new(program).file_name().unwrap_or(program);
    name.to_string_lossy().into_owned()
}
