//! Phones of other languages, driven by lines of JSON; the programs are in `interop/drivers`.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::process::Process;
use crate::wait::until;

/// A running driver.
#[derive(Debug)]
pub struct Driven {
    process: Process,
    keyboard: ChildStdin,
    /// How much of its output has been read.
    read: usize,
    events: VecDeque<Value>,
    commands: u32,
}

impl Driven {
    /// Starts a driver and waits until it takes commands.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let (process, keyboard) = Process::start_with_stdin(command, log)?;
        let mut driven = Self {
            process,
            keyboard,
            read: 0,
            events: VecDeque::new(),
            commands: 0,
        };
        driven.take("ready", START, |event| event["event"] == "ready")?;
        Ok(driven)
    }

    /// Gives the command `name` with more fields in `command`, and returns the answer.
    ///
    /// # Errors
    /// When the driver says so, or nothing.
    pub fn give(&mut self, name: &str, mut command: Value) -> Result<Value> {
        self.commands += 1;
        command["do"] = name.into();
        command["n"] = self.commands.into();
        writeln!(self.keyboard, "{command}").with_context(|| format!("give {name}"))?;
        let wanted = json!(self.commands);
        let what = format!("the answer to {name}");
        let answer = self.take(&what, PATIENCE, |line| line["reply"] == wanted)?;
        ensure!(
            answer["error"].is_null(),
            "{command} failed: {}",
            answer["error"]
        );
        Ok(answer)
    }

    /// Waits for an event of this kind; others before it are dropped.
    ///
    /// # Errors
    /// When it does not come in time; names what came instead.
    pub fn event(&mut self, kind: &str) -> Result<Value> {
        self.event_with(kind, &[])
    }

    /// Waits for an event of this kind with these values; others before it are dropped.
    ///
    /// # Errors
    /// When it does not come in time; names what came instead.
    pub fn event_with(&mut self, kind: &str, fields: &[(&str, Value)]) -> Result<Value> {
        let event = self.take(&format!("{kind} with {fields:?}"), PATIENCE, |event| {
            event["event"] == kind && fields.iter().all(|(name, value)| &event[*name] == value)
        })?;
        Ok(event)
    }

    /// Everything it has printed.
    ///
    /// # Errors
    /// When its log can't be read.
    pub fn log(&self) -> Result<String> {
        self.process.output()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub fn end(&mut self) -> Result<()> {
        self.process.end(PATIENCE).map(drop)
    }

    /// The first line that is wanted; an answer leaves events where they are, an event does not.
    fn take(
        &mut self,
        what: &str,
        limit: Duration,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let mut passed = VecDeque::new();
        let found = until(what, limit, || {
            self.read_lines()?;
            while let Some(line) = self.events.pop_front() {
                if is_wanted(&line) {
                    return Ok(Some(line));
                }
                passed.push_back(line);
            }
            ensure!(self.process.is_running()?, "the driver has ended");
            Ok(None)
        });
        let line = found.with_context(|| format!("the driver said {passed:?}"))?;
        if line["event"].is_null() {
            passed.append(&mut self.events);
            self.events = passed;
        }
        Ok(line)
    }

    fn read_lines(&mut self) -> Result<()> {
        let output = self.process.output()?;
        let new = output.get(self.read..).unwrap_or_default();
        let Some(end) = new.rfind('\n') else {
            return Ok(());
        };
        for line in new[..end].lines() {
            if let Some(line) = line.strip_prefix('@') {
                self.events.push_back(serde_json::from_str(line)?);
            }
        }
        self.read += end + 1;
        Ok(())
    }
}

/// The file of a driver.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("drivers")
        .join(name)
}

/// The longest that a healthy phone may take for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same for its start, which for a browser is long.
const START: Duration = Duration::from_secs(120);
