//! `dialtone rooms`: conference rooms, and what happens in them.

use std::io::{self, Write};
use std::ops::ControlFlow;

use anyhow::{Context, Result};
use api::RoomLine;
use clap::Args;
use store::calendar::Date;

use crate::ask::{Console, encode};
use crate::cli::Output;

/// What `dialtone rooms` is asked for.
#[derive(Debug, Args)]
pub(crate) struct Rooms {
    /// Show instead what happens in them from now on: who comes, goes, speaks, is muted, and so on. Ctrl-C ends;
    /// with --json, each is a line of JSON.
    #[arg(long)]
    follow: bool,
    /// With --follow, what happens in this room alone.
    #[arg(long, value_name = "ROOM", requires = "follow")]
    room: Option<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}

impl Rooms {
    pub(crate) fn run(&self, console: &Console) -> Result<()> {
        if !self.follow {
            return console.rooms(self.output);
        }
        let mut resource = "/rooms/events".to_owned();
        if let Some(room) = &self.room {
            resource = format!("{resource}?room={}", encode(room));
        }
        let until = async {
            // Without a handler the signal ends the program, which is as good.
            let _ = tokio::signal::ctrl_c().await;
        };
        let mut failed = None;
        console.follow(&resource, until, |line| match self.show(line) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn show(&self, line: &[u8]) -> Result<()> {
        let mut stdout = io::stdout().lock();
        if self.output.json {
            stdout.write_all(line)?;
            stdout.write_all(b"\n")?;
        } else {
            let line = serde_json::from_slice(line).context("the server is of another release")?;
            writeln!(stdout, "{}", words(&line))?;
        }
        stdout.flush()?;
        Ok(())
    }
}

/// A line for people.
fn words(line: &RoomLine) -> String {
    match line {
        RoomLine::Began => "waiting for what happens; Ctrl-C ends".to_owned(),
        RoomLine::Missed { count } => format!("{count} events are missing here"),
        RoomLine::Event(event) => {
            let at = Date::from(base::UnixTime(event.at));
            let about = [&event.name, &event.call, &event.file];
            let about: String = { about.into_iter().flatten() }
                .map(|word| format!(" {word}"))
                .collect();
            format!("{at} {} {}{about}", event.room, event.what)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_people_has_the_time_and_what_is_known() {
        let line = RoomLine::Event(api::RoomEvent {
            at: 1_795_236_356,
            room: "8000".into(),
            what: "joined".into(),
            call: Some("07-1".into()),
            name: Some("1001".into()),
            file: None,
        });
        assert_eq!(words(&line), "2026-11-21T04:45:56Z 8000 joined 1001 07-1");
        let missed = words(&RoomLine::Missed { count: 3 });
        assert_eq!(missed, "3 events are missing here");
    }
}
