//! Packets through the library that most phones and browsers protect theirs with.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use srtp::{MasterKey, Profile};

use crate::driven;

/// A program made of libsrtp, with a sender and a receiver; it ends when this is dropped.
#[derive(Debug)]
pub struct Libsrtp {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Libsrtp {
    /// Compiles and starts the program in `folder`.
    ///
    /// # Errors
    /// When there is no compiler or no library.
    pub fn start(folder: &Path) -> Result<Self> {
        let program = folder.join("libsrtp");
        let status = Command::new("cc")
            .arg("-o")
            .arg(&program)
            .arg(driven::program("libsrtp.c"))
            .arg("-lsrtp2")
            .status()
            .context("start cc")?;
        ensure!(status.success(), "cc ended with {status}");
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("standard output is a pipe")?;
        Ok(Self {
            child,
            input,
            output: BufReader::new(output),
        })
    }

    /// Forgets all streams and takes a key for both directions.
    ///
    /// # Errors
    /// When libsrtp doesn't have the profile.
    pub fn key(&mut self, profile: Profile, key: &MasterKey) -> Result<()> {
        let line = format!("key {} {}", profile.name(), hex(key.as_bytes()));
        let answer = self.ask(&line)?;
        ensure!(answer == "ok", "{}: {answer}", profile.name());
        Ok(())
    }

    /// What becomes of `packet`; `verb` is one of `protect`, `unprotect`, `protect_rtcp` and
    /// `unprotect_rtcp`.
    ///
    /// # Errors
    /// When libsrtp refuses it.
    pub fn packet(&mut self, verb: &str, packet: &[u8]) -> Result<Vec<u8>> {
        let answer = self.ask(&format!("{verb} {}", hex(packet)))?;
        bytes(&answer).with_context(|| format!("{verb}: {answer}"))
    }

    fn ask(&mut self, line: &str) -> Result<String> {
        let input = self.input.as_mut().context("standard input is a pipe")?;
        writeln!(input, "{line}")?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        Ok(answer.trim_end().to_owned())
    }
}

impl Drop for Libsrtp {
    fn drop(&mut self) {
        // It ends at the end of its input.
        self.input = None;
        let _ = self.child.wait();
    }
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What hexadecimal digits stand for; `None` if they are none.
#[must_use]
pub fn bytes(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let value = |digit: u8| char::from(digit).to_digit(16);
    let byte = |pair: &[u8; 2]| Some((value(pair[0])? << 4 | value(pair[1])?) as u8);
    let bytes = pairs.iter().map(byte).collect::<Option<_>>();
    bytes.filter(|_| rest.is_empty())
}
