//! Start-up, idle memory, size.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::peers::dialtone;
use crate::peers::kamailio::{self, KAMAILIO, Role};
use crate::server::Server;
use crate::table::{Figures, Row};

/// From the start of the process to the first answered OPTIONS, and the memory of the idle server a
/// second later.
///
/// # Errors
/// If a server does not come up.
pub fn birth(binary: &Path, rounds: usize) -> Result<[Row; 2]> {
    let has_peer = KAMAILIO.is_there();
    let row = |work: &str, unit| Row {
        work: work.to_owned(),
        unit,
        ours: Figures::default(),
        peer: has_peer.then(|| ("Kamailio", Figures::default())),
        remark: String::new(),
    };
    let mut start = row("start to first answer", "ms");
    let mut memory = row("idle memory (PSS)", "MB");
    for _ in 0..rounds {
        let (millis, megabytes) = measure(&dialtone::start(binary, FEW)?)?;
        start.ours.push(millis);
        memory.ours.push(megabytes);
        if let (Some(start), Some(memory)) = (&mut start.peer, &mut memory.peer) {
            let (millis, megabytes) = measure(&kamailio::start(Role::Registrar, FEW)?)?;
            start.1.push(millis);
            memory.1.push(megabytes);
        }
    }
    Ok([start, memory])
}

/// Users of a new installation.
const FEW: u32 = 5;

fn measure(server: &Server) -> Result<(f64, f64)> {
    // Idle is what a server is after it has settled; how long that takes is part of the definition.
    std::thread::sleep(Duration::from_secs(1));
    let megabytes = server.memory()? as f64 * 1024.0 / 1e6;
    Ok((server.birth.as_secs_f64() * 1e3, megabytes))
}

/// Size of the binary.
///
/// # Errors
/// If there is none.
pub fn size(binary: &Path) -> Result<Row> {
    let bytes = fs::metadata(binary)
        .with_context(|| format!("no binary at {}", binary.display()))?
        .len();
    let mut ours = Figures::default();
    ours.push(bytes as f64 / 1e6);
    Ok(Row {
        work: "binary, static and stripped".to_owned(),
        unit: "MB",
        ours,
        peer: None,
        remark: String::new(),
    })
}
