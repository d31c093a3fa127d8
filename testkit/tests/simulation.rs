//! Random walks through the simulated world, one for each seed.
//!
//! `SIM_SEEDS=5000` walks more, `SIM_SEED=17` walks one, `SIM_TRACE=full` shows whole messages,
//! `SIM_CENSUS=1` what was met.

use std::collections::BTreeMap;

use testkit::report::{Failure, examine};
use testkit::{World, walk};

#[test]
fn whatever_the_network_does_every_call_ends() {
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(150),
    };
    let many = seeds.end - seeds.start >= 150;
    let mut census = Census::default();
    let mut failures = Vec::new();
    for seed in seeds {
        match examine(walk::settings(seed), |world| walk::walk(world, seed)) {
            Ok(world) => census.add(&world),
            Err(failure) => failures.push((seed, failure)),
        }
    }
    if number("SIM_CENSUS").is_some() {
        eprintln!("{census:#?}");
    }
    report(&failures);
    if many {
        census.check();
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn report(failures: &[(u64, Box<Failure>)]) {
    let Some((first, failure)) = failures.first() else {
        return;
    };
    eprintln!("{}", failure.trace);
    for (seed, failure) in failures {
        eprintln!("seed {seed}: {}", failure.faults.join("\n    "));
    }
    panic!(
        "{} walks failed; again: SIM_SEED={first} cargo test -p dialtone-testkit --test simulation",
        failures.len()
    );
}

/// What the walks have met: they are worth nothing if they meet nothing.
#[derive(Debug, Default)]
struct Census {
    messages: BTreeMap<String, u32>,
    endings: BTreeMap<String, u32>,
    causes: BTreeMap<String, u32>,
    cut_off: usize,
}

impl Census {
    fn add(&mut self, world: &World) {
        for sent in world.tap().all() {
            *self.messages.entry(sent.name()).or_default() += 1;
        }
        for outcome in world.phones().flat_map(|phone| world.at(phone).outcomes()) {
            let ending = format!("{:?}", outcome.ending);
            *self.endings.entry(ending).or_default() += 1;
        }
        for record in &world.server.ledger().records {
            *self
                .causes
                .entry(record.cause.as_str().to_owned())
                .or_default() += 1;
        }
        self.cut_off += world.server.ledger().cut_off;
    }

    fn check(&self) {
        for name in [
            "PRACK", "UPDATE", "CANCEL", "INFO", "183", "422", "486", "487", "491", "503",
        ] {
            assert!(self.messages.contains_key(name), "no {name} in all walks");
        }
        for cause in [
            "caller-hung-up",
            "callee-hung-up",
            "cancelled",
            "refused",
            "no-answer",
            "completed",
            "operator",
            "media-timeout",
            "session-timeout",
            "max-duration",
            "no-ack",
        ] {
            assert!(self.causes.contains_key(cause), "no {cause} in all walks");
        }
    }
}
