//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::load::Load;
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
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "DIALTONE_DATA",
        default_value = "srv"
    )]
    pub(crate) data: PathBuf,

    #[command(subcommand)]
    pub(crate) command: Command,
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
    /// Show the SIP messages of the running server as they come and go, as a ladder diagram.
    ///
    /// Names stand over lifelines, the newest message is the last; times are UTC. Both legs of a call
    /// carry its letter. Messages over TLS and WSS are shown in clear. A repeated message is marked ↻.
    Trace(Trace),
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
    Load(Box<Load>),
}

impl Command {
    /// Whether answers, and refusals, are for a program.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Run(_) | Self::Load(_) => false,
            Self::Check(check) => check.output.json,
            Self::Transfer(transfer) => transfer.output.json,
            Self::Trace(trace) => trace.json,
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
    #[command(flatten)]
    pub(crate) overrides: Overrides,
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
