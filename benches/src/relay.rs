//! Relayed RTP: CPU of the server for each packet that arrives at the far side.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ue::load::{Job, LoadOptions, MediaReport, allow_many_sockets, stream};

use crate::peers::calls::{Kind, set_up};
use crate::peers::rtpengine::{self, RTPENGINE};
use crate::peers::{USERS, dialtone};
use crate::server::Server;
use crate::signalling::{load, sample};
use crate::table::{Figures, Row};

/// G.711 both ways on `calls` calls, 100 packets a second each.
///
/// # Errors
/// If a server does not come up, or loses more than one packet in a thousand.
pub fn relay(binary: &Path, rounds: usize, calls: usize) -> Result<Row> {
    allow_many_sockets();
    let has_peer = RTPENGINE.is_there();
    let mut row = Row {
        work: format!("RTP relayed, {calls} calls"),
        unit: "CPU-µs",
        ours: Figures::default(),
        peer: has_peer.then(|| ("rtpengine", Figures::default())),
        remark: String::new(),
    };
    let mut delays = Vec::new();
    let mut late = Duration::ZERO;
    // One server at a time: both want the same ports.
    for _ in 0..rounds {
        let server = dialtone::start(binary, USERS)?;
        let (cost, media) = ours(&server, calls)?;
        row.ours.push(cost);
        delays.push(format!("{}", media.delay.p50));
        late = late.max(media.lateness);
        drop(server);
        if let Some((_, figures)) = &mut row.peer {
            let (cost, media) = theirs(&rtpengine::start()?, calls)?;
            figures.push(cost);
            late = late.max(media.lateness);
        }
    }
    row.remark = format!(
        "a packet; delay p50 {} µs, generator late {} ms at most",
        delays.join(", "),
        late.as_millis()
    );
    Ok(row)
}

const DURATION: Duration = Duration::from_secs(6);

/// Cost in µs of a packet relayed by us, in calls set up by SIP.
///
/// # Errors
/// If the calls or packets fail.
pub fn ours(server: &Server, calls: usize) -> Result<(f64, MediaReport)> {
    let options = LoadOptions {
        calls,
        duration: DURATION,
        ..load(Job::Rtp, server)
    };
    let found = sample(server, &options)?;
    let media = found.report.media.context("no RTP was sent")?;
    check(server, &media)?;
    let total = found.cost * found.report.ok as f64;
    Ok((total / media.received as f64, media))
}

/// Cost in µs of a packet in calls set up by rtpengine's control protocol.
///
/// # Errors
/// If the calls or packets fail.
pub fn theirs(server: &Server, calls: usize) -> Result<(f64, MediaReport)> {
    let legs = set_up(server, Kind::Plain, 0, calls)?;
    let begin = server.cpu_time()?;
    let media = stream(legs, DURATION)?;
    let spent = server.cpu_time()? - begin;
    check(server, &media)?;
    Ok((spent.as_secs_f64() * 1e6 / media.received as f64, media))
}

fn check(server: &Server, media: &MediaReport) -> Result<()> {
    let name = server.name;
    ensure!(media.sent > 0, "{name}: no packet was sent");
    ensure!(media.silent == 0, "{name}:\n{media}");
    ensure!(media.lost * 1000 <= media.sent, "{name}:\n{media}");
    Ok(())
}
