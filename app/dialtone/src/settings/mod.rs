//! The configuration: files, options and environment variables, read into one snapshot.
//!
//! - [`document`]: TOML whose values know their place.
//! - [`report`]: what is wrong, where, and what to do.
//! - [`reader`], [`values`]: keys and kinds of values.
//! - [`server`], with [`tls`], [`http`] and [`sound`]; [`users`], [`trunks`], [`dialplan`]: the files.
//! - [`overrides`]: `--set` and the environment.
//! - [`snapshot`]: what the PBX gets of it all.

pub(crate) mod conference;
mod dialplan;
pub(crate) mod document;
pub(crate) mod http;
pub(crate) mod overrides;
pub(crate) mod reader;
mod relay;
pub(crate) mod report;
pub(crate) mod server;
pub(crate) mod snapshot;
pub(crate) mod sound;
pub(crate) mod stir;
pub(crate) mod tls;
pub(crate) mod trunks;
mod turn;
pub(crate) mod users;
pub(crate) mod values;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use api::{Problem, Severity};

use crate::folder::Folder;
use crate::seed;
use document::{Source, Table};
pub(crate) use overrides::Override;
use report::{Fault, Report};
pub(crate) use server::{Server, Stun};
pub(crate) use tls::Tls;

/// All settings.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) server: Server,
    pub(crate) users: Vec<pbx::User>,
    pub(crate) trunks: Vec<pbx::TrunkSettings>,
    pub(crate) dialplan: pbx::DialPlan,
}

/// Settings that can be used, and what is odd about them.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    pub(crate) warnings: Vec<Problem>,
}

/// Settings that can't be used.
#[derive(Debug)]
pub(crate) struct Invalid(pub(crate) Vec<Problem>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration can't be used")
    }
}

impl std::error::Error for Invalid {}

/// Reads and checks everything; all problems of all files are found in one go.
pub(crate) fn load(folder: &Folder, overrides: &[Override]) -> Result<Loaded, Invalid> {
    let report = Report::default();
    if let Ok(true) = seed::is_empty(folder) {
        let remedy = "`dialtone run` makes one; another data folder is named with --data DIR";
        report.file_error(
            &folder.etc(),
            Fault::new("there is no configuration", remedy),
        );
        return Err(Invalid(report.into_problems()));
    }
    // The defaults work without this file; without the others the server would be of no use.
    let server = read(&folder.server_file(), Absent::Fine, &report);
    let users = read(&folder.users_file(), Absent::Wrong(NO_USERS), &report);
    let dialplan = read(&folder.dialplan_file(), Absent::Wrong(NO_DIALPLAN), &report);
    let trunks = read(&folder.trunks_file(), Absent::Fine, &report);
    let (mut server, mut users, mut trunks) = (server, users, trunks);
    overrides::apply(overrides, &mut server, &mut users, &mut trunks, &report);
    let server = server::read(server, folder.root(), &report);
    let users = users::read(users, server.registrar.max_contacts, &report);
    let trunks = trunks::read(trunks, &users, &report);
    let mut server = server;
    trunks::add_peers(&trunks, &mut server.tls, &report);
    let dialplan = dialplan::read(dialplan, &trunks, &server.sound, &report);
    let problems = report.into_problems();
    if problems.iter().any(|p| p.severity == Severity::Error) {
        return Err(Invalid(problems));
    }
    let settings = Settings {
        server,
        users,
        trunks,
        dialplan,
    };
    Ok(Loaded {
        settings,
        warnings: problems,
    })
}

/// What a missing file means.
#[derive(Clone, Copy)]
enum Absent {
    Fine,
    /// An error with this remedy.
    Wrong(&'static str),
}

/// What is wrong with the text of a users file.
pub(crate) fn check_users(path: &Path, text: &str) -> Vec<Problem> {
    let report = Report::default();
    let table = parse(path, text, &report);
    users::read(table, 10, &report);
    let mut problems = report.into_problems();
    problems.retain(|problem| problem.severity == Severity::Error);
    problems
}

fn read(path: &Path, absent: Absent, report: &Report) -> Table {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            report_unread(path, &error, absent, report);
            String::new()
        }
    };
    parse(path, &text, report)
}

fn parse(path: &Path, text: &str, report: &Report) -> Table {
    let source = Arc::new(Source::File {
        path: path.to_owned(),
        text: text.to_owned(),
    });
    Table::parse(text, &source).unwrap_or_else(|error| {
        let fault = Fault::new(error.message, "see https://toml.io for the syntax of TOML");
        report.error("", &error.origin, fault);
        Table {
            origin: error.origin,
            entries: Vec::new(),
        }
    })
}

fn report_unread(path: &Path, error: &io::Error, absent: Absent, report: &Report) {
    let fault = match (error.kind(), absent) {
        (io::ErrorKind::NotFound, Absent::Fine) => return,
        (io::ErrorKind::NotFound, Absent::Wrong(remedy)) => {
            Fault::new("is missing, though other files are there", remedy)
        }
        (io::ErrorKind::InvalidData, _) => Fault::new("is not UTF-8", "save it as UTF-8"),
        (io::ErrorKind::PermissionDenied, _) => Fault::new(
            "may not be read",
            "give this user the right to, or run as the file's owner",
        ),
        _ => Fault::new(format!("can't be read: {error}"), ""),
    };
    report.file_error(path, fault);
}

const NO_USERS: &str =
    "add a user with `dialtone user add NAME`, or make an empty file to have none";
const NO_DIALPLAN: &str = "restore it, or make an empty file to let nobody call anything";

#[cfg(test)]
mod tests;
