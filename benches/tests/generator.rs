//! The load generator against servers of others: what it says is understood, and what it counts is
//! true.

use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use benches::peers::calls::{Kind, set_up};
use benches::peers::kamailio::{self, KAMAILIO, Role};
use benches::peers::rtpengine::{self, RTPENGINE};
use benches::peers::{FIRST_CALLER, Peer, USERS};
use benches::server::{Server, free_address};
use benches::signalling::load;
use ue::load::{Accounts, Job, LoadError, LoadOptions, Report, Transport, run, stream};

/// Whether to go on without the peer: only if somebody said so.
fn is_there(peer: &Peer) -> Result<bool> {
    let may_skip = std::env::var("DIALTONE_INTEROP").is_ok_and(|wish| wish == "skip");
    match (peer.is_there(), may_skip) {
        (false, false) => bail!("{} is missing; DIALTONE_INTEROP=skip goes on", peer.name),
        (is_there, _) => Ok(is_there),
    }
}

fn some(job: Job, server: &Server) -> LoadOptions {
    LoadOptions {
        count: Some(500),
        duration: Duration::from_secs(60),
        ..load(job, server)
    }
}

fn run_to_end(options: &LoadOptions) -> Result<Report, LoadError> {
    run(options, &mut |_| ControlFlow::Continue(()))
}

#[test]
fn registrations_succeed() -> Result<()> {
    if !is_there(&KAMAILIO)? {
        return Ok(());
    }
    let server = kamailio::start(Role::Registrar, USERS)?;
    for refresh in [false, true] {
        let options = LoadOptions {
            refresh,
            ..some(Job::Register, &server)
        };
        let report = run_to_end(&options)?;
        ensure!(report.is_clean() && report.ok == 500, "{report}");
    }
    Ok(())
}

#[test]
fn registrations_over_a_few_connections_succeed() -> Result<()> {
    if !is_there(&KAMAILIO)? {
        return Ok(());
    }
    let server = kamailio::start(Role::StreamRegistrar, USERS)?;
    let options = LoadOptions {
        transport: Transport::Tcp,
        connections: 3,
        ..some(Job::Register, &server)
    };
    let report = run_to_end(&options)?;
    ensure!(report.is_clean() && report.ok == 500, "{report}");
    assert_eq!(report.retransmissions, 0);
    Ok(())
}

#[test]
fn a_wrong_password_is_counted_as_what_it_is() -> Result<()> {
    if !is_there(&KAMAILIO)? {
        return Ok(());
    }
    let server = kamailio::start(Role::Registrar, USERS)?;
    let options = LoadOptions {
        callers: Accounts::One {
            user: FIRST_CALLER.to_string(),
            password: "wrong".to_owned(),
        },
        count: Some(3),
        ..some(Job::Register, &server)
    };
    let report = run_to_end(&options)?;
    assert_eq!((report.ok, report.failed), (0, 3), "{report}");
    assert_eq!(report.failures, [("401 Unauthorized".to_owned(), 3)]);
    Ok(())
}

#[test]
fn calls_go_through_a_proxy() -> Result<()> {
    if !is_there(&KAMAILIO)? {
        return Ok(());
    }
    for role in [Role::Proxy, Role::Dialog] {
        let server = kamailio::start(role, 0)?;
        let options = LoadOptions {
            proxy: true,
            ..some(Job::Call, &server)
        };
        let report = run_to_end(&options)?;
        ensure!(report.is_clean() && report.ok == 500, "{report}");
        let seen = report.callee.unwrap_or_default();
        assert_eq!((seen.invites, seen.unconfirmed), (500, 0), "{report}");
        assert!(report.answer.is_some());
    }
    Ok(())
}

#[test]
fn calls_go_to_whoever_has_registered_at_a_proxy() -> Result<()> {
    if !is_there(&KAMAILIO)? {
        return Ok(());
    }
    let server = kamailio::start(Role::Located, 0)?;
    let report = run_to_end(&some(Job::Call, &server))?;
    ensure!(report.is_clean() && report.ok == 500, "{report}");
    assert_eq!(report.callee.unwrap_or_default().invites, 500);
    Ok(())
}

#[test]
fn media_flow_end_to_end_through_a_proxy() -> Result<()> {
    if !is_there(&KAMAILIO)? {
        return Ok(());
    }
    let server = kamailio::start(Role::Proxy, 0)?;
    let options = LoadOptions {
        proxy: true,
        calls: 5,
        duration: Duration::from_millis(400),
        ..some(Job::Rtp, &server)
    };
    let report = run_to_end(&options)?;
    ensure!(report.ok == 5 && report.failed == 0, "{report}");
    let media = report.media.expect("RTP was sent");
    assert_eq!(
        (media.legs, media.silent, media.sent),
        (10, 0, 200),
        "{report}"
    );
    Ok(())
}

#[test]
fn a_relay_passes_packets_on() -> Result<()> {
    if !is_there(&RTPENGINE)? {
        return Ok(());
    }
    let server = rtpengine::start()?;
    let legs = set_up(&server, Kind::Plain, 0, 3)?;
    let media = stream(legs, Duration::from_millis(600))?;
    assert_eq!(
        (media.legs, media.silent, media.foreign),
        (6, 0, 0),
        "{media}"
    );
    assert_eq!(media.sent, 6 * 30);
    Ok(())
}

#[test]
fn options_are_answered_at_the_pace_that_was_asked_for() -> Result<()> {
    if !is_there(&KAMAILIO)? {
        return Ok(());
    }
    let server = kamailio::start(Role::Proxy, 0)?;
    let options = LoadOptions {
        rate: Some(500.0),
        count: Some(100),
        ..some(Job::Options, &server)
    };
    let report = run_to_end(&options)?;
    ensure!(report.is_clean() && report.ok == 100, "{report}");
    // 100 at 500 a second take 198 ms at least.
    assert!(report.elapsed >= Duration::from_millis(198), "{report}");
    Ok(())
}

#[test]
fn nobody_there_is_an_error_at_once() -> Result<()> {
    let nobody = LoadOptions::new(Job::Options, free_address()?.to_string());
    let refused = run_to_end(&nobody);
    assert!(
        matches!(refused, Err(LoadError::Refused(..))),
        "{refused:?}"
    );
    Ok(())
}
