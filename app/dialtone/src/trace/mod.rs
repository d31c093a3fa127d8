//! `dialtone trace`: messages of the running server as a ladder, as lines of JSON, and in a file.
//!
//! - [`ladder`]: the diagram. - [`summary`]: what an arrow says. - [`again`], [`calls`]: what it
//!   remembers. - [`pcapng`]: the file.

mod again;
mod calls;
mod ladder;
mod pcapng;
mod summary;

use std::fs::File;
use std::io::{self, Write};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use api::{TraceFilter, TraceLine};
use clap::Args;

use crate::ask::{Console, encode};
use crate::settings::values;
use crate::terminal;
use ladder::Ladder;
use pcapng::Capture;

/// What `dialtone trace` is asked for.
#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// All legs of this call, as `dialtone calls` names it.
    #[arg(long, value_name = "ID")]
    call: Option<String>,
    /// What names this user or number, or goes to or comes from a phone of it.
    #[arg(long, value_name = "USER")]
    phone: Option<String>,
    /// What goes to or comes from this address.
    #[arg(long, value_name = "IP")]
    peer: Option<IpAddr>,
    /// Write a capture for Wireshark as well; messages are in clear whatever the transport.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// End after this time, such as 30s or 5m; without it, Ctrl-C ends.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    length: Option<Duration>,
    /// Show messages of the last minutes too, as far as the server has kept them, and end; see
    /// trace.history_megabytes in etc/dialtone.toml.
    #[arg(long, value_name = "TIME", value_parser = time)]
    last: Option<Duration>,
    /// With --last, go on with what comes.
    #[arg(long, requires = "last")]
    follow: bool,
    /// Print each message as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Trace {
    /// Shows messages until the end.
    pub(crate) fn run(&self, console: &Console) -> Result<()> {
        let mut sink = Sink::new(self)?;
        let length = self.length;
        let until = async move {
            let enough = async {
                match length {
                    Some(length) => tokio::time::sleep(length).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = enough => {}
                // Without a handler the signal ends the program, which is as good.
                _ = tokio::signal::ctrl_c() => {}
            }
        };
        let mut failed = None;
        console.follow(&self.resource(), until, |line| match sink.line(line) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        sink.finish()?;
        failed.map_or(Ok(()), Err)
    }

    fn resource(&self) -> String {
        let filter = TraceFilter {
            call: self.call.clone(),
            phone: self.phone.clone(),
            peer: self.peer,
            last: self.last.map(|last| last.as_secs()),
            past: self.last.is_some() && !self.follow,
        };
        let peer = filter.peer.map(|ip| ip.to_string());
        let named = [
            ("call", filter.call),
            ("phone", filter.phone),
            ("peer", peer),
            ("last", filter.last.map(|seconds| seconds.to_string())),
            ("past", filter.past.then(|| "true".to_owned())),
        ];
        let named = named
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        let query: Vec<_> = named
            .map(|(name, value)| format!("{name}={}", encode(&value)))
            .collect();
        format!("/trace?{}", query.join("&"))
    }
}

/// Where messages go.
struct Sink {
    ladder: Option<Ladder>,
    capture: Option<(Capture<File>, PathBuf)>,
    written: u64,
    /// Nothing will come.
    past: bool,
}

impl Sink {
    fn new(trace: &Trace) -> Result<Self> {
        let ladder = || {
            let width = terminal::width().unwrap_or(WIDTH);
            Ladder::new(width, terminal::colours(&io::stdout()))
        };
        let capture = trace.write.as_ref().map(|path| {
            let file = File::create(path).and_then(Capture::new);
            let file = file.with_context(|| format!("{} can't be written", path.display()));
            file.map(|capture| (capture, path.clone()))
        });
        Ok(Self {
            ladder: (!trace.json).then(ladder),
            capture: capture.transpose()?,
            written: 0,
            past: trace.last.is_some() && !trace.follow,
        })
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        let parsed: TraceLine =
            serde_json::from_slice(line).context("the server is of another release")?;
        if let (TraceLine::Message(message), Some((capture, path))) = (&parsed, &mut self.capture) {
            let put = capture.put(message);
            put.with_context(|| format!("{} can't be written", path.display()))?;
            self.written += 1;
        }
        let mut stdout = io::stdout().lock();
        match (&mut self.ladder, &parsed) {
            (None, _) => {
                stdout.write_all(line)?;
                stdout.write_all(b"\n")?;
            }
            (Some(_), TraceLine::Began) if self.past => {}
            (Some(_), TraceLine::Began) => writeln!(io::stderr(), "{BEGAN}")?,
            (Some(ladder), TraceLine::Message(message)) => {
                stdout.write_all(ladder.message(message).as_bytes())?;
            }
            (Some(ladder), TraceLine::Missed { count }) => {
                stdout.write_all(ladder.missed(*count).as_bytes())?;
            }
        }
        stdout.flush()?;
        Ok(())
    }

    fn finish(self) -> Result<()> {
        if let Some((_, path)) = &self.capture {
            writeln!(
                io::stderr(),
                "{} messages are in {}",
                self.written,
                path.display()
            )?;
        }
        Ok(())
    }
}

fn time(text: &str) -> Result<Duration> {
    let seconds = values::seconds(text);
    let seconds = seconds.context("write it like 30s, 5m or 1h30m")?;
    Ok(Duration::from_secs(seconds))
}

/// Said on standard error, so that the ladder can go to a file.
const BEGAN: &str = "waiting for messages; Ctrl-C ends";

/// Columns when the output is not a terminal.
const WIDTH: usize = 100;
