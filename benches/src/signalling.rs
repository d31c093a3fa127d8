//! Registrations and calls: CPU of the server for each.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use ue::load::{Accounts, Job, LoadOptions, Phase, Report, Transport, Trust, run};

use crate::machine;
use crate::peers::dialtone::Step;
use crate::peers::kamailio::{self, KAMAILIO, Role};
use crate::peers::{DOMAIN, FIRST_CALLEE, FIRST_CALLER, USERS, dialtone};
use crate::server::Server;
use crate::table::{Figures, Row};

/// One measurement of a server under load.
#[derive(Clone, Debug)]
pub struct Sample {
    /// CPU of the server in µs for each operation that came to its good end.
    pub cost: f64,
    /// Share of one CPU that the server used: near 1, it was the limit.
    pub server_share: f64,
    /// Share of one CPU that the generator used.
    pub generator_share: f64,
    /// What the generator found.
    pub report: Report,
}

/// OPTIONS and its answer.
///
/// # Errors
/// If a server does not come up, or not every request is answered.
pub fn options(binary: &Path, rounds: usize) -> Result<Row> {
    let ours = dialtone::start(binary, USERS)?;
    let peer = KAMAILIO
        .is_there()
        .then(|| kamailio::start(Role::Registrar, USERS));
    let options = |server: &Server| load(Job::Options, server);
    compare("OPTIONS", rounds, &ours, peer, &options, &options)
}

/// Digest registrations, two round trips each, over UDP, TCP and TLS in turn.
///
/// # Errors
/// If a server does not come up, or not every registration succeeds.
pub fn register(binary: &Path, rounds: usize) -> Result<[Row; 3]> {
    let row = |work, role, transport| {
        let ours = dialtone::start(binary, USERS)?;
        let identity = dialtone::identity(&ours);
        let identity = (transport == Transport::Tls).then_some(&identity);
        let peer = KAMAILIO
            .is_there()
            .then(|| kamailio::start_with(role, USERS, identity));
        let options = |server: &Server| over(transport, server, load(Job::Register, server));
        compare(work, rounds, &ours, peer, &options, &options)
    };
    Ok([
        row("REGISTER with digest", Role::Registrar, Transport::Udp)?,
        row("REGISTER over TCP", Role::StreamRegistrar, Transport::Tcp)?,
        row("REGISTER over TLS", Role::StreamRegistrar, Transport::Tls)?,
    ])
}

/// The same load over another transport: all users share [`CONNECTIONS`], which stay for the round.
fn over(transport: Transport, server: &Server, options: LoadOptions) -> LoadOptions {
    let address = match transport {
        Transport::Tls => server.secure.unwrap_or(server.address),
        _ => server.address,
    };
    LoadOptions {
        target: address.to_string(),
        transport,
        trust: Trust::Anybody,
        connections: CONNECTIONS,
        ..options
    }
}

/// Long-lived connections, as of a proxy at a customer's or of an access gateway.
const CONNECTIONS: usize = 8;

/// Calls: ours as back-to-back user agent with its media anchored, the peer as a proxy with dialogs.
///
/// # Errors
/// If a server does not come up, or not every call succeeds.
pub fn call(binary: &Path, rounds: usize) -> Result<Row> {
    let ours = dialtone::start(binary, USERS)?;
    let peer = KAMAILIO
        .is_there()
        .then(|| kamailio::start(Role::Dialog, 0));
    let options = |server: &Server| load(Job::Call, server);
    let proxied = |server: &Server| LoadOptions {
        proxy: true,
        ..load(Job::Call, server)
    };
    compare("call, stateful", rounds, &ours, peer, &options, &proxied)
}

/// Calls that are forwarded: both are record-routing stateful proxies that trust the caller's address and
/// look up where the callee is registered.
///
/// # Errors
/// If a server does not come up, or not every call succeeds.
pub fn proxy(binary: &Path, rounds: usize) -> Result<Row> {
    let ours = dialtone::start_with(binary, USERS, Step::Proxy)?;
    let peer = KAMAILIO
        .is_there()
        .then(|| kamailio::start(Role::Located, 0));
    let options = |server: &Server| load(Job::Call, server);
    compare("call, proxied", rounds, &ours, peer, &options, &options)
}

/// The load of one round: closed loop, so that nothing waits for anything but the server.
#[must_use]
pub fn load(job: Job, server: &Server) -> LoadOptions {
    LoadOptions {
        domain: Some(DOMAIN.to_owned()),
        callers: users(FIRST_CALLER),
        callees: users(FIRST_CALLEE),
        window: Some(64),
        duration: Duration::from_secs(3),
        timeout: Duration::from_secs(8),
        ..LoadOptions::new(job, server.address.to_string())
    }
}

fn users(first: u32) -> Accounts {
    Accounts::Numbered {
        user_prefix: String::new(),
        password_prefix: "pw".to_owned(),
        first,
        count: USERS,
    }
}

type Options<'a> = &'a dyn Fn(&Server) -> LoadOptions;

/// A B A B …, after a short run of each that warms caches and is not counted.
fn compare(
    work: &str,
    rounds: usize,
    ours: &Server,
    peer: Option<Result<Server>>,
    our_options: Options<'_>,
    peer_options: Options<'_>,
) -> Result<Row> {
    let peer = peer.transpose()?;
    let mut row = Row {
        work: work.to_owned(),
        unit: "CPU-µs",
        ours: Figures::default(),
        peer: peer.as_ref().map(|peer| (peer.name, Figures::default())),
        remark: String::new(),
    };
    let warm = |options: LoadOptions| LoadOptions {
        duration: Duration::from_millis(500),
        ..options
    };
    sample(ours, &warm(our_options(ours)))?;
    if let Some(peer) = &peer {
        sample(peer, &warm(peer_options(peer)))?;
    }
    let mut shares = Vec::new();
    for _ in 0..rounds {
        let found = sample(ours, &our_options(ours))?;
        row.ours.push(found.cost);
        shares.push((found.report.rate(), found.server_share));
        if let (Some(peer), Some((_, figures))) = (&peer, &mut row.peer) {
            figures.push(sample(peer, &peer_options(peer))?.cost);
        }
    }
    let mean = |of: fn(&(f64, f64)) -> f64| shares.iter().map(of).sum::<f64>() / rounds as f64;
    row.remark = format!("{:.0}/s, server {:.2} CPU", mean(|s| s.0), mean(|s| s.1));
    Ok(row)
}

/// Puts a load on a server and measures what it costs.
///
/// # Errors
/// If the load can't be put on it, or something of it fails.
pub fn sample(server: &Server, options: &LoadOptions) -> Result<Sample> {
    let mut begin = None;
    let mut end = None;
    let mut failure = None;
    let report = run(options, &mut |progress| {
        let clocks = || -> Result<_> {
            let own = machine::own_cpu_time()?;
            Ok((Instant::now(), server.cpu_time()?, own))
        };
        let place = match progress.phase {
            Phase::Load if begin.is_none() => &mut begin,
            Phase::Load => return ControlFlow::Continue(()),
            Phase::End => &mut end,
        };
        match clocks() {
            Ok(clocks) => *place = Some(clocks),
            Err(error) => failure = Some(error),
        }
        match &failure {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    })?;
    if let Some(failure) = failure {
        return Err(failure);
    }
    let (Some(begin), Some(end)) = (begin, end) else {
        bail!("the load had no begin or no end");
    };
    let name = server.name;
    ensure!(report.ok > 0, "{name} did nothing:\n{report}");
    ensure!(report.failed == 0, "{name} failed:\n{report}");
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let wall = micros(end.0 - begin.0);
    Ok(Sample {
        cost: micros(end.1 - begin.1) / report.ok as f64,
        server_share: micros(end.1 - begin.1) / wall,
        generator_share: micros(end.2 - begin.2) / wall,
        report,
    })
}
