//! Programs that end with the test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::wait::until;

/// A running program; it is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints goes to the file `log`, after what is there.
    ///
    /// # Errors
    /// When the program can't be started.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        Self::spawn(command.stdin(Stdio::null()), log)
    }

    /// Does the same, and hands out the program's standard input.
    ///
    /// # Errors
    /// When the program can't be started.
    pub fn start_with_stdin(command: &mut Command, log: &Path) -> Result<(Self, ChildStdin)> {
        let mut process = Self::spawn(command.stdin(Stdio::piped()), log)?;
        let stdin = process
            .child
            .stdin
            .take()
            .context("standard input is a pipe")?;
        Ok((process, stdin))
    }

    fn spawn(command: &mut Command, log: &Path) -> Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        command.stdout(out.try_clone()?).stderr(out);
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        let log = log.to_path_buf();
        Ok(Self { child, name, log })
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When the system doesn't know the process.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it has not ended after `limit`.
    pub fn end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        until(&what, limit, || Ok(self.child.try_wait()?))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.pid(), signal)?)
    }

    /// Kills it and its children, if it leads a process group.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn kill_group(&self) -> Result<()> {
        Ok(kill_process_group(self.pid(), Signal::KILL)?)
    }

    /// Asks it to end with SIGTERM and waits.
    ///
    /// # Errors
    /// When it has not ended after `limit`.
    pub fn stop(&mut self, limit: Duration) -> Result<ExitStatus> {
        if self.is_running()? {
            self.signal(Signal::TERM)?;
        }
        self.end(limit)
    }

    /// Everything that it has printed.
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn output(&self) -> Result<String> {
        let bytes = std::fs::read(&self.log)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
