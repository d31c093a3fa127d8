//! Memory of a server for each registration and for each call in progress.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{Resource, getrlimit};
use ue::load::{Accounts, Job, LoadOptions, Phase, Report, run};

use crate::peers::kamailio::{self, KAMAILIO, Role};
use crate::peers::{DOMAIN, FIRST_CALLEE, FIRST_CALLER, USERS, dialtone};
use crate::server::Server;
use crate::table::{Figures, Row};

/// What a contact takes: memory (PSS) after 100,000 users have registered one phone each, less what it
/// was before.
///
/// # Errors
/// If a server does not come up, or not every registration succeeds.
pub fn contact(binary: &Path) -> Result<Row> {
    let mut row = row("contact in memory", "bytes", CONTACTS);
    let ours = dialtone::start(binary, CONTACTS)?;
    row.ours
        .push(grown_by(&ours, &registrations(&ours), CONTACTS)?);
    drop(ours);
    if let Some((_, figures)) = &mut row.peer {
        let peer = kamailio::start(Role::Registrar, CONTACTS)?;
        figures.push(grown_by(&peer, &registrations(&peer), CONTACTS)?);
    }
    Ok(row)
}

/// What a call takes while people talk: memory when the transactions that set it up are over.
///
/// # Errors
/// If a server does not come up, or not every call succeeds.
pub fn call(binary: &Path) -> Result<Row> {
    let many = calls_at_once()?;
    let mut row = row("call in memory, answered", "bytes", many);
    let ours = dialtone::start(binary, USERS)?;
    row.ours.push(grown_by(&ours, &calls(&ours, many), many)?);
    drop(ours);
    if let Some((_, figures)) = &mut row.peer {
        let peer = kamailio::start(Role::Dialog, 0)?;
        let options = LoadOptions {
            proxy: true,
            ..calls(&peer, many)
        };
        figures.push(grown_by(&peer, &options, many)?);
    }
    Ok(row)
}

fn row(work: &str, unit: &'static str, many: u32) -> Row {
    Row {
        work: work.to_owned(),
        unit,
        ours: Figures::default(),
        peer: KAMAILIO
            .is_there()
            .then(|| ("Kamailio", Figures::default())),
        remark: format!("{many} of them"),
    }
}

fn registrations(server: &Server) -> LoadOptions {
    LoadOptions {
        domain: Some(DOMAIN.to_owned()),
        callers: users(FIRST_CALLER, CONTACTS),
        count: Some(u64::from(CONTACTS)),
        duration: Duration::from_secs(120),
        keep: true,
        ..LoadOptions::new(Job::Register, server.address.to_string())
    }
}

fn calls(server: &Server, many: u32) -> LoadOptions {
    LoadOptions {
        domain: Some(DOMAIN.to_owned()),
        callers: users(FIRST_CALLER, USERS),
        callees: users(FIRST_CALLEE, USERS),
        window: Some(many as usize),
        // Not faster than the two ends can take, so that nothing is repeated.
        rate: Some(1000.0),
        count: Some(u64::from(many)),
        duration: Duration::from_secs(120),
        hold: HOLD,
        ..LoadOptions::new(Job::Call, server.address.to_string())
    }
}

fn users(first: u32, count: u32) -> Accounts {
    Accounts::Numbered {
        user_prefix: String::new(),
        password_prefix: "pw".to_owned(),
        first,
        count,
    }
}

/// By how many bytes for each of `many` the server grows, at the moment before the load goes away.
fn grown_by(server: &Server, options: &LoadOptions, many: u32) -> Result<f64> {
    let before = server.memory()?;
    let mut last = before;
    let mut failure = None;
    let settled = |elapsed: Duration| options.job == Job::Register || elapsed >= SETTLED;
    let report: Report = run(options, &mut |progress| {
        if progress.phase == Phase::Load && settled(progress.elapsed) && progress.tally.ok == 0
            || options.job == Job::Register
        {
            match server.memory() {
                Ok(memory) => last = memory,
                Err(error) => failure = Some(error),
            }
        }
        ControlFlow::Continue(())
    })?;
    if let Some(failure) = failure {
        return Err(failure).context("the memory can't be read");
    }
    if options.job == Job::Register {
        last = server.memory()?;
    }
    ensure!(report.failed == 0, "not all succeeded:\n{report}");
    Ok((last.saturating_sub(before) * 1024) as f64 / f64::from(many))
}

/// Users, with a phone each.
const CONTACTS: u32 = 100_000;

/// Calls at once: 10,000, or as many as descriptors allow, since each has four sockets for its media.
fn calls_at_once() -> Result<u32> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let calls = most.saturating_sub(1000) / 4;
    Ok(u32::try_from(calls).unwrap_or(u32::MAX).min(10_000))
}

/// How long each call lasts: so long that all are up, and their transactions over.
const HOLD: Duration = Duration::from_secs(55);

/// From then on all calls are up and their transactions over (timers L and M: 32 s after the last).
const SETTLED: Duration = Duration::from_secs(46);
