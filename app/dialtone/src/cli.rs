//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

#[cfg(feature = "dial")]
use crate::dial::Dial;
#[cfg(feature = "load")]
use crate::load::Load;
use crate::rooms::Rooms;
use crate::settings::Override;
use crate::trace::Trace;

/// A phone company in one binary: registrar, PBX and media relay for SIP phones.
#[derive(Debug, Parser)]
#[command(name = "dialtone", version, max_term_width = 100)]
#[command(
    after_help = "An empty data folder gets a working configuration on the first `dialtone run`."
)]
pub(crate) struct Cli {
    /// The data folder: configuration, registrations, call records, control socket.
    ///
    /// Where nothing else is said it is `srv` here if that has a configuration, else that of the
    /// Debian package if it is installed.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "DIALTONE_DATA",
        default_value_os_t = data_folder()
    )]
    pub(crate) data: PathBuf,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The data folder of whoever names none.
fn data_folder() -> PathBuf {
    let (here, packaged) = (PathBuf::from("srv"), PathBuf::from("/var/lib/dialtone"));
    if packaged.is_dir() && !here.join("etc/dialtone.toml").exists() {
        packaged
    } else {
        here
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the server and stay in the foreground.
    ///
    /// An empty data folder gets a working configuration with two users; an existing configuration
    /// is never touched. SIGTERM and SIGINT end the server and its calls, SIGHUP reloads.
    Run(Run),
    /// Check the configuration; every fault is shown with file, line, setting and remedy.
    Check(Check),
    /// Show the running server as a whole.
    Status(Output),
    /// Show trunks: whether they are up, registered, and how their servers answer.
    Trunks(Output),
    /// Show registered phones.
    Phones(Output),
    /// Show for whom messages wait: instant ones that no phone has taken, and voice mail.
    Messages(Output),
    /// Tell a user's phones how many voice messages wait: for a voice mail system of your own.
    Mwi(Mwi),
    /// Show calls in progress.
    Calls(Output),
    /// End a call.
    Hangup {
        /// The call, as `dialtone calls` names it.
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        output: Output,
    },
    /// Send a party of a call to another number.
    Transfer(Transfer),
    /// Record a call, or pause, resume or stop that.
    Record(Record),
    /// Show conference rooms and who is in them.
    Rooms(Rooms),
    /// Moderate a conference room: mute, kick, lock and so on.
    Room(Room),
    /// Show the SIP messages of the running server as they come and go, as a ladder diagram.
    ///
    /// Names stand over lifelines, the newest message is the last; times are UTC. Both legs of a call
    /// carry its letter. Messages over TLS and WSS are shown in clear. A repeated message is marked ↻.
    Trace(Trace),
    /// Call a number as a phone would: a test call, or an announcement.
    ///
    /// Tells what happens and how the sound was. Ctrl-C hangs up. Exits with 0 if somebody answered and
    /// the call ended as calls do, else with 1.
    #[cfg(feature = "dial")]
    Dial(Box<Dial>),
    /// Let the running server read its configuration again; if it is wrong, the old one stays.
    Reload(Output),
    /// End the running server and its calls.
    Stop(Output),
    /// Exit with 0 if the server runs and can do its work, else with 1.
    Health(Output),
    /// Add, change, remove and list users.
    #[command(subcommand)]
    User(User),
    /// Put registrations, calls or RTP on a server, and count what comes back.
    #[cfg(feature = "load")]
    Load(Box<Load>),
}

impl Command {
    /// Whether answers, and refusals, are for a program.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Run(_) => false,
            #[cfg(feature = "load")]
            Self::Load(_) => false,
            #[cfg(feature = "dial")]
            Self::Dial(dial) => dial.output.json,
            Self::Check(check) => check.output.json,
            Self::Transfer(transfer) => transfer.output.json,
            Self::Room(room) => room.output.json,
            Self::Record(record) => record.output.json,
            Self::Trace(trace) => trace.json,
            Self::Rooms(rooms) => rooms.output.json,
            Self::Mwi(mwi) => mwi.output.json,
            Self::Hangup { output, .. }
            | Self::Status(output)
            | Self::Trunks(output)
            | Self::Phones(output)
            | Self::Messages(output)
            | Self::Calls(output)
            | Self::Reload(output)
            | Self::Stop(output)
            | Self::Health(output)
            | Self::User(
                User::Add { output, .. }
                | User::Passwd { output, .. }
                | User::Remove { output, .. }
                | User::List(output),
            ) => output.json,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// What the server is.
    #[arg(long, value_enum, default_value_t, env = "DIALTONE_ROLE")]
    pub(crate) role: Role,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
}

/// What the server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// A PBX: registrar, calls, media.
    #[default]
    Pbx,
    /// The media relay of a SIP proxy, by the ng protocol that rtpengine speaks; see [relay].
    Relay,
}

#[derive(Debug, Args)]
pub(crate) struct Transfer {
    /// The call, as `dialtone calls` names it.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Where to.
    pub(crate) number: String,
    /// Send the party that was called, instead of the one that called.
    #[arg(long)]
    pub(crate) callee: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Record {
    /// The call, as `dialtone calls` names it.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// What is to be done; the file is in recordings/ of the data folder, under the day and the call.
    #[arg(value_enum)]
    pub(crate) action: RecordAction,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum RecordAction {
    /// Begin: a WAV file with the caller left and the callee right.
    Start,
    /// Leave out what is said from now on.
    Pause,
    /// Go on.
    Resume,
    /// Complete the file.
    Stop,
}

impl RecordAction {
    /// As the API names it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Stop => "stop",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Room {
    /// The room, as `dialtone rooms` names it.
    pub(crate) room: String,
    /// What is to be done.
    #[arg(value_enum)]
    pub(crate) action: RoomAction,
    /// With whom: a call, as `dialtone rooms` names it; without, all who are no moderators. Of a
    /// recording: start, pause, resume or stop.
    #[arg(value_name = "ID")]
    pub(crate) call: Option<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// What may be done in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RoomAction {
    /// They are not heard.
    Mute,
    /// They are heard again.
    Unmute,
    /// They do not hear the others.
    Deafen,
    /// They hear them again.
    Undeafen,
    /// They are thrown out.
    Kick,
    /// Nobody but moderators may come.
    Lock,
    /// Everybody may come.
    Unlock,
    /// Only moderators are heard.
    Lecture,
    /// Everybody is heard.
    Discuss,
    /// What is said is recorded: begin (start), leave out (pause), go on (resume), complete (stop).
    Record,
}

#[derive(Debug, Args)]
pub(crate) struct Mwi {
    /// The user, by name or number.
    pub(crate) user: String,
    /// Messages that have not been heard.
    #[arg(long, default_value_t = 0)]
    pub(crate) new: u32,
    /// Messages that have been heard and kept.
    #[arg(long, default_value_t = 0)]
    pub(crate) old: u32,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct Overrides {
    /// Set a key of the configuration for this run; may be repeated.
    ///
    /// The value is TOML, or a bare word: --set media.ports=20000-20999
    /// --set sip.listen='["udp:127.0.0.1:5070","tcp:127.0.0.1:5070"]'.
    /// The environment does the same: DIALTONE_MEDIA__PORTS=20000-20999.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = Override::from_option)]
    pub(crate) set: Vec<Override>,
}

impl Overrides {
    /// The environment's settings, then those of the command line, which win.
    pub(crate) fn all(&self) -> Vec<Override> {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let mut all = Override::from_environment(variables);
        all.extend(self.set.iter().cloned());
        all
    }
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Output {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum User {
    /// Add a user; the password is made and shown if none is given.
    Add {
        /// The name that a phone registers with.
        name: String,
        /// What others dial; the name if absent.
        #[arg(long)]
        number: Option<String>,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        output: Output,
    },
    /// Change a user's password; it is made and shown if none is given.
    Passwd {
        /// The user.
        name: String,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        output: Output,
    },
    /// Remove a user.
    Remove {
        /// The user.
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// List all users, without passwords.
    List(Output),
}

#[derive(Debug, Args)]
pub(crate) struct Password {
    /// The password. Other users of this machine may see it while the command runs.
    #[arg(long, env = "DIALTONE_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn overrides_are_checked_while_parsing() {
        let parse = |set| Cli::try_parse_from(["dialtone", "run", "--set", set]);
        assert!(parse("sip.realm=example.com").is_ok());
        for (wrong, hint) in [("sip.realm", "KEY=VALUE"), ("realm=x", "SECTION.KEY")] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn the_data_folder_may_be_named_before_or_after_the_command() {
        for line in [
            ["dialtone", "--data", "d", "status"],
            ["dialtone", "status", "--data", "d"],
        ] {
            assert_eq!(Cli::try_parse_from(line).unwrap().data, PathBuf::from("d"));
        }
    }
}
