//! Commands that talk to the running server.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow, bail};
use api::{
    Call, CallState, Client, ClientError, Health, Phone, Reachability, Refusal, Reloaded, Status,
};
use serde::Serialize;

use crate::cli::{Mwi, Output, Record, Room, RoomAction, Transfer};
use crate::folder::Folder;
use crate::settings::Invalid;
use crate::systemd;
use crate::terminal::{self, Style, Table, span, styled};

/// A connection to the server of a folder, and where to print.
pub(crate) struct Console {
    client: Client,
    hint: String,
    colours: bool,
}

impl Console {
    pub(crate) fn new(folder: &Folder) -> Self {
        let root = folder.root().display();
        Self {
            client: Client::new(&folder.socket()),
            hint: format!(
                "start it with `dialtone run --data {root}`, or name its data folder with --data DIR"
            ),
            colours: terminal::colours(&io::stdout()),
        }
    }

    pub(crate) fn status(&self, output: Output) -> Result<()> {
        let status: Status = self.ask(self.client.fetch("/status"))?;
        if output.json {
            return print_json(&status);
        }
        let health = match status.health.healthy {
            true => styled("healthy", Style::Green, self.colours),
            false => styled(&status.health.faults.join("; "), Style::Red, self.colours),
        };
        let lines = [
            (
                "server",
                format!(
                    "dialtone {}, process {}, {health}",
                    status.version, status.pid
                ),
            ),
            (
                "running",
                format!("for {}", span(now().saturating_sub(status.started))),
            ),
            ("data", status.data.clone()),
            ("listening", status.listen.join(" ")),
            (
                "users",
                format!("{} of {} registered", status.registered_users, status.users),
            ),
            ("phones", status.phones.to_string()),
            (
                "calls",
                format!(
                    "{} now, {} since the start",
                    status.calls, status.calls_total
                ),
            ),
            (
                "refused",
                format!("{} authentications", status.authentication_failures),
            ),
        ];
        let mut stdout = io::stdout().lock();
        for (name, text) in lines {
            writeln!(
                stdout,
                "{}  {text}",
                styled(&format!("{name:9}"), Style::Bold, self.colours)
            )?;
        }
        Ok(())
    }

    pub(crate) fn phones(&self, output: Output) -> Result<()> {
        let phones: Vec<Phone> = self.ask(self.client.fetch("/phones"))?;
        if output.json {
            return print_json(&phones);
        }
        let mut table = Table::new(&["USER", "ADDRESS", "STATE", "EXPIRES", "PHONE", "CONTACT"]);
        for phone in phones {
            let state = match (phone.reachability, phone.rtt_ms) {
                (Reachability::Reachable, Some(rtt)) => format!("{rtt} ms"),
                (Reachability::Reachable, None) => "reachable".into(),
                (Reachability::Unreachable, _) => "unreachable".into(),
                (Reachability::Unknown, _) => "-".into(),
            };
            let expires = span(phone.expires.saturating_sub(now()));
            table.row([
                phone.user,
                phone.address,
                state,
                expires,
                phone.user_agent,
                phone.contact,
            ]);
        }
        self.print(&table)
    }

    pub(crate) fn messages(&self, output: Output) -> Result<()> {
        let waiting: Vec<api::Waiting> = self.ask(self.client.fetch("/waiting"))?;
        if output.json {
            return print_json(&waiting);
        }
        let mut table = Table::new(&["USER", "MESSAGES", "VOICE NEW", "VOICE OLD"]);
        for user in waiting {
            let (new, old) = (user.voice.new.to_string(), user.voice.old.to_string());
            table.row([user.user, user.messages.to_string(), new, old]);
        }
        self.print(&table)
    }

    pub(crate) fn mwi(&self, mwi: &Mwi) -> Result<()> {
        let (user, new, old) = (encode(&mwi.user), mwi.new, mwi.old);
        let resource = format!("/users/{user}/voice-messages?new={new}&old={old}");
        self.ask(self.client.command(&resource))?;
        acknowledge(mwi.output)
    }

    pub(crate) fn trunks(&self, output: Output) -> Result<()> {
        let trunks: Vec<api::Trunk> = self.ask(self.client.fetch("/trunks"))?;
        if output.json {
            return print_json(&trunks);
        }
        let mut table = Table::new(&["TRUNK", "STATE", "REGISTERED", "CALLS", "SERVERS", "ERROR"]);
        for trunk in trunks {
            let registered = match (trunk.registration, trunk.registered_until) {
                (_, Some(until)) => format!("for {}", span(until.saturating_sub(now()))),
                (api::TrunkRegistration::Trying, None) => "no".into(),
                (_, None) => "-".into(),
            };
            let calls = match trunk.most_channels {
                Some(most) => format!("{} of {most}", trunk.channels),
                None => trunk.channels.to_string(),
            };
            let ways: Vec<_> = trunk.ways.iter().map(way).collect();
            table.row([
                trunk.name,
                if trunk.up { "up" } else { "down" }.into(),
                registered,
                calls,
                ways.join(", "),
                trunk.error.unwrap_or_default(),
            ]);
        }
        self.print(&table)
    }

    pub(crate) fn calls(&self, output: Output) -> Result<()> {
        let calls: Vec<Call> = self.ask(self.client.fetch("/calls"))?;
        if output.json {
            return print_json(&calls);
        }
        let mut table = Table::new(&["ID", "FROM", "TO", "STATE", "FOR", "MOS"]);
        let mut alarms = Vec::new();
        for call in calls {
            let state = match call.state {
                CallState::Calling => "calling",
                CallState::Ringing => "ringing",
                CallState::Answered => "answered",
            };
            let since = call.answered.unwrap_or(call.started);
            let lasted = span(now().saturating_sub(since));
            let sides = [&call.from_caller, &call.from_callee];
            let opinions = sides.map(|side| side.as_ref().and_then(|sound| sound.mos));
            for alarm in call.alarms {
                alarms.push(format!("{}: {alarm}", call.id));
            }
            let row = [call.id, call.caller, call.callee, state.into(), lasted];
            let [id, from, to, state, lasted] = row;
            table.row([id, from, to, state, lasted, mos(opinions)]);
        }
        self.print(&table)?;
        let mut stdout = io::stdout().lock();
        for alarm in alarms {
            writeln!(stdout, "{alarm}")?;
        }
        Ok(())
    }

    pub(crate) fn hangup(&self, id: &str, output: Output) -> Result<()> {
        self.ask(self.client.delete(&format!("/calls/{}", encode(id))))?;
        acknowledge(output)
    }

    pub(crate) fn record(&self, record: &Record) -> Result<()> {
        let (id, action) = (encode(&record.id), record.action.word());
        let resource = format!("/calls/{id}/record?action={action}");
        self.ask(self.client.command(&resource))?;
        acknowledge(record.output)
    }

    pub(crate) fn transfer(&self, transfer: &Transfer) -> Result<()> {
        let (id, to) = (encode(&transfer.id), encode(&transfer.number));
        let who = if transfer.callee { "callee" } else { "caller" };
        let resource = format!("/calls/{id}/transfer?to={to}&who={who}");
        self.ask(self.client.command(&resource))?;
        acknowledge(transfer.output)
    }

    pub(crate) fn rooms(&self, output: Output) -> Result<()> {
        let rooms: Vec<api::Room> = self.ask(self.client.fetch("/rooms"))?;
        if output.json {
            return print_json(&rooms);
        }
        let mut table = Table::new(&["ROOM", "WHO", "CALL", "SSRC", "STATE", "FOR"]);
        for room in rooms {
            let recorded = room.recording.as_ref();
            let flags = [
                (room.locked, "locked"),
                (room.lecture, "lecture"),
                (recorded.is_some_and(|taken| !taken.paused), "recorded"),
                (
                    recorded.is_some_and(|taken| taken.paused),
                    "recording paused",
                ),
            ];
            table.row([
                room.name.clone(),
                format!("{} here", room.participants.len()),
                String::new(),
                String::new(),
                words(&flags),
                span(now().saturating_sub(room.since)),
            ]);
            for one in room.participants {
                let flags = [
                    (one.moderator, "moderator"),
                    (one.muted, "muted"),
                    (one.deaf, "deaf"),
                    (one.video, "video"),
                    (one.talking, "talking"),
                    (one.active, "active"),
                ];
                table.row([
                    room.name.clone(),
                    one.name,
                    one.call,
                    one.ssrc.map_or_else(String::new, |ssrc| ssrc.to_string()),
                    words(&flags),
                    span(now().saturating_sub(one.since)),
                ]);
            }
        }
        self.print(&table)
    }

    pub(crate) fn moderate(&self, room: &Room) -> Result<()> {
        let action = match room.action {
            RoomAction::Mute => "mute",
            RoomAction::Unmute => "unmute",
            RoomAction::Deafen => "deafen",
            RoomAction::Undeafen => "undeafen",
            RoomAction::Kick => "kick",
            RoomAction::Lock => "lock",
            RoomAction::Unlock => "unlock",
            RoomAction::Lecture => "lecture",
            RoomAction::Discuss => "discuss",
            RoomAction::Record => match room.call.as_deref() {
                None | Some("start") => "record",
                Some(word @ ("pause" | "resume" | "stop")) => word,
                Some(other) => {
                    bail!("“{other}” is no word; there are start, pause, resume and stop")
                }
            },
        };
        let mut resource = format!("/rooms/{}/{action}", encode(&room.room));
        let call = room.call.as_ref();
        if let Some(call) = call.filter(|_| room.action != RoomAction::Record) {
            resource.push_str("?call=");
            resource.push_str(&encode(call));
        }
        self.ask(self.client.command(&resource))?;
        acknowledge(room.output)
    }

    pub(crate) fn reload(&self, output: Output) -> Result<()> {
        let reloaded: Reloaded = self.ask(self.client.post("/reload"))?;
        if output.json {
            return print_json(&reloaded);
        }
        print_problems(&reloaded.warnings)?;
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "reloaded; {} users", reloaded.users)?;
        if !reloaded.restart.is_empty() {
            let keys = reloaded.restart.join(", ");
            writeln!(
                stdout,
                "{keys}: changed, but only a new start makes it take effect"
            )?;
        }
        Ok(())
    }

    pub(crate) fn stop(&self, output: Output) -> Result<()> {
        self.ask(self.client.command("/stop"))?;
        acknowledge(output)
    }

    /// For a health check: quiet when all is well.
    pub(crate) fn health(&self, output: Output) -> Result<ExitCode> {
        let health: Health = self.ask(self.client.fetch_any("/health"))?;
        if output.json {
            print_json(&health)?;
        } else if !health.healthy {
            writeln!(io::stdout(), "{}", health.faults.join("; "))?;
        }
        Ok(ExitCode::from(u8::from(!health.healthy)))
    }

    /// Follows lines as they come; see [`Client::follow`].
    pub(crate) fn follow(
        &self,
        resource: &str,
        until: impl Future<Output = ()>,
        take: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<bool> {
        self.ask(self.client.follow(resource, until, take))
    }

    fn ask<T>(&self, answer: Result<T, ClientError>) -> Result<T> {
        answer.map_err(|error| match &error {
            ClientError::NotRunning { .. } => anyhow!("{error}; {}", self.hint),
            _ => error.into(),
        })
    }

    fn print(&self, table: &Table) -> Result<()> {
        let text = table.render(terminal::width(), self.colours);
        write!(io::stdout(), "{text}")?;
        Ok(())
    }
}

/// A server of a trunk, and how it answers.
fn way(way: &api::TrunkWay) -> String {
    let state = match (way.reachability, way.rtt_ms) {
        (Reachability::Reachable, Some(rtt)) => format!(" ({rtt} ms)"),
        (Reachability::Unreachable, _) => " (no answer)".into(),
        _ => String::new(),
    };
    format!("{}{state}", way.address)
}

/// An error as the API would put it, with the faults that caused it.
pub(crate) fn refusal(error: &anyhow::Error) -> Refusal {
    let problems = match (error.downcast_ref(), error.downcast_ref()) {
        (Some(ClientError::Refused(refusal)), _) => refusal.problems.clone(),
        (_, Some(Invalid(problems))) => problems.clone(),
        _ => Vec::new(),
    };
    Refusal {
        error: format!("{error:#}"),
        problems,
        conflict: false,
    }
}

/// For a program that asked for JSON: it was done.
fn acknowledge(output: Output) -> Result<()> {
    if output.json {
        print_json(&serde_json::json!({ "ok": true }))?;
    }
    Ok(())
}

/// Shows faults on standard error.
pub(crate) fn print_problems(problems: &[api::Problem]) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    let colours = terminal::colours(&stderr);
    let journal = systemd::has_journal();
    for problem in problems {
        let mut text = terminal::problem(problem, colours);
        if journal {
            let level = match problem.severity {
                api::Severity::Error => tracing::Level::ERROR,
                api::Severity::Warning => tracing::Level::WARN,
            };
            text = systemd::urgent(level, &text);
        }
        writeln!(stderr, "{text}")?;
    }
    Ok(())
}

pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    writeln!(io::stdout(), "{}", serde_json::to_string_pretty(value)?)?;
    Ok(())
}

/// A path segment: what is not unreserved is escaped (RFC 3986 §2.1).
pub(crate) fn encode(segment: &str) -> String {
    let escape = |octet: u8| match octet {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(octet).to_string()
        }
        _ => format!("%{octet:02X}"),
    };
    segment.bytes().map(escape).collect()
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// The words whose flag is set.
fn words(flags: &[(bool, &str)]) -> String {
    let set = flags.iter().filter(|(on, _)| *on).map(|(_, word)| *word);
    match set.collect::<Vec<_>>() {
        none if none.is_empty() => "-".into(),
        words => words.join(", "),
    }
}

/// How caller and callee sound, where that is known.
fn mos(opinions: [Option<f64>; 2]) -> String {
    if opinions.iter().all(Option::is_none) {
        return String::new();
    }
    let words = opinions.map(|mos| mos.map_or("-".to_owned(), |mos| format!("{mos:.2}")));
    words.join(" / ")
}
