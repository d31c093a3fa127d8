//! Random walks through the simulated world, one for each seed.
//!
//! `SIM_SEEDS=5000` walks more, `SIM_SEED=17` or `SIM_POLITE=17` one, `SIM_TRACE=full` shows whole messages,
//! `SIM_CENSUS=1` what was met.

use std::collections::BTreeMap;

use testkit::report::{Failure, examine};
use testkit::{World, walk};

#[test]
fn whatever_the_network_does_every_call_ends() {
    let census = walks("SIM_SEED", |seed| {
        examine(walk::settings(seed), |world| walk::walk(world, seed))
    });
    if census.walks >= MANY {
        census.check();
    }
}

#[test]
fn calls_of_polite_phones_end_only_when_a_user_wants_it() {
    walks("SIM_POLITE", |seed| {
        let world = examine(walk::polite_settings(seed), |world| {
            walk::walk_politely(world, seed);
        })?;
        let records = world.server.ledger().records.iter();
        let causes = records.map(|record| record.cause.as_str().to_owned());
        let outcomes = world.phones().flat_map(|phone| world.at(phone).outcomes());
        let endings = outcomes.map(|outcome| format!("{:?}", outcome.ending));
        let faults: Vec<_> = causes
            .chain(endings)
            .filter(|ending| IMPOLITE.contains(&ending.as_str()))
            .collect();
        // A change that meets a BYE is answered 481 and ends the call as well.
        let crossing = world.tap().all().iter().any(|sent| sent.name() == "481");
        if faults.is_empty() || crossing {
            return Ok(world);
        }
        let trace = world.tap().text(false);
        Err(Box::new(Failure { faults, trace }))
    });
}

/// Ends that no user wanted.
const IMPOLITE: [&str; 9] = [
    "no-ack",
    "media-timeout",
    "session-timeout",
    "max-duration",
    "Timeout",
    "NoAck",
    "Lost",
    "Refused(504)",
    "Refused(500)",
];

/// Walks for each seed, or for the one in `variable`.
fn walks(variable: &str, walk: impl Fn(u64) -> Result<Box<World>, Box<Failure>>) -> Census {
    let seeds = match number(variable) {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(MANY),
    };
    let mut census = Census::default();
    let mut failures = Vec::new();
    for seed in seeds {
        match walk(seed) {
            Ok(world) => census.add(&world),
            Err(failure) => failures.push((seed, failure)),
        }
    }
    if number("SIM_CENSUS").is_some() {
        eprintln!("{census:#?}");
    }
    report(variable, &failures);
    census
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn report(variable: &str, failures: &[(u64, Box<Failure>)]) {
    let Some((first, failure)) = failures.first() else {
        return;
    };
    eprintln!("{}", failure.trace);
    for (seed, failure) in failures {
        eprintln!("seed {seed}: {}", failure.faults.join("\n    "));
    }
    panic!(
        "{} walks failed; again: {variable}={first} cargo test -p dialtone-testkit --test simulation",
        failures.len()
    );
}

/// What the walks have met: they are worth nothing if they meet nothing.
#[derive(Debug, Default)]
struct Census {
    walks: u64,
    messages: BTreeMap<String, u32>,
    endings: BTreeMap<String, u32>,
    causes: BTreeMap<String, u32>,
    cut_off: usize,
}

impl Census {
    fn add(&mut self, world: &World) {
        self.walks += 1;
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

/// How many seeds are walked, and enough of them to meet everything.
const MANY: u64 = 150;
