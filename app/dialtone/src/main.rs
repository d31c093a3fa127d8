//! The binary: command line, configuration, wiring of the roles.
//!
//! - [`cli`]: the command line. - [`ask`], [`users`]: commands beside the server.
//! - [`trace`]: messages as they come and go. - `load`: load on any server, as a feature.
//! - `dial`: a phone on the command line, as a feature.
//! - [`environment`]: variables that other images know as well.
//! - [`folder`]: the data folder. - [`seed`]: what an empty one gets. - [`settings`]: what it says.
//! - [`server`]: the running server. - [`log`], [`terminal`]: what people see. - [`systemd`]: and what it does.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use ask::Console;
use cli::{Check, Cli, Command, Role};
use folder::Folder;

mod ask;
mod cli;
#[cfg(feature = "dial")]
mod dial;
mod environment;
mod folder;
#[cfg(feature = "load")]
mod load;
mod log;
mod password;
mod rooms;
mod seed;
mod server;
mod settings;
mod systemd;
mod terminal;
mod trace;
mod user_file;
mod users;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(&cli) {
        Ok(code) => code,
        // Whoever reads a pipe may stop reading it.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if cli.command.json() => {
            // The exit status says the same.
            let _ = ask::print_json(&ask::refusal(&error));
            ExitCode::FAILURE
        }
        Err(error) => {
            let colours = terminal::colours(&io::stderr());
            let word = terminal::styled("error", terminal::Style::Red, colours);
            // There is nowhere else to say it.
            let _ = ask::print_problems(&ask::refusal(&error).problems);
            let mut text = format!("{word}: {error:#}");
            if systemd::has_journal() {
                text = systemd::urgent(tracing::Level::ERROR, &text);
            }
            let _ = writeln!(io::stderr(), "{text}");
            failure(&cli.command, &error)
        }
    }
}

/// A server with a wrong configuration need not be started again until somebody has mended it, and says so.
fn failure(command: &Command, error: &anyhow::Error) -> ExitCode {
    match command {
        Command::Run(_) if error.is::<settings::Invalid>() => ExitCode::from(EX_CONFIG),
        _ => ExitCode::FAILURE,
    }
}

/// # Source
/// sysexits.h(3head); systemd.exec(5), process exit codes.
const EX_CONFIG: u8 = 78;

fn dispatch(cli: &Cli) -> Result<ExitCode> {
    let folder = Folder::new(&cli.data);
    let console = Console::new(&folder);
    match &cli.command {
        Command::Run(run) => match run.role {
            Role::Pbx => server::run(&folder, run.overrides.all())?,
            Role::Relay => server::relay::run(&folder, &run.overrides.all())?,
        },
        Command::Check(check) => return run_check(&folder, check),
        Command::Status(output) => console.status(*output)?,
        Command::Trunks(output) => console.trunks(*output)?,
        Command::Phones(output) => console.phones(*output)?,
        Command::Calls(output) => console.calls(*output)?,
        Command::Messages(output) => console.messages(*output)?,
        Command::Mwi(mwi) => console.mwi(mwi)?,
        Command::Rooms(rooms) => rooms.run(&console)?,
        Command::Room(room) => console.moderate(room)?,
        Command::Record(record) => console.record(record)?,
        Command::Transfer(transfer) => console.transfer(transfer)?,
        Command::Hangup { id, output } => console.hangup(id, *output)?,
        Command::Trace(trace) => trace.run(&console)?,
        Command::Reload(output) => console.reload(*output)?,
        Command::Stop(output) => console.stop(*output)?,
        Command::Health(output) => return console.health(*output),
        Command::User(command) => users::run(&folder, command)?,
        #[cfg(feature = "load")]
        Command::Load(load) => return load::run(load),
        #[cfg(feature = "dial")]
        Command::Dial(dial) => return dial::run(&folder, dial),
    }
    Ok(ExitCode::SUCCESS)
}

fn run_check(folder: &Folder, check: &Check) -> Result<ExitCode> {
    let (problems, valid) = match settings::load(folder, &check.overrides.all()) {
        Ok(loaded) => (loaded.warnings, true),
        Err(invalid) => (invalid.0, false),
    };
    if check.output.json {
        ask::print_json(&problems)?;
    } else {
        ask::print_problems(&problems)?;
        if valid {
            writeln!(
                io::stdout(),
                "{}: the configuration is valid",
                folder.etc().display()
            )?;
        }
    }
    Ok(ExitCode::from(u8::from(!valid)))
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
