//! Random walks through the simulated world, one for each seed.
//!
//! `SIM_SEEDS=5000` walks more, `SIM_FROM=20000` others, `SIM_SEED=17` or `SIM_POLITE=17` one,
//! `SIM_TRACE=full` shows whole messages, `SIM_CENSUS=1` what was met. Many walks want an optimised
//! build: `cargo xtask test --only simulation` walks 10,000 seeds with the profile `simulation`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

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
        // The server's 481 tells a phone whose change meets a BYE that the other party has gone.
        let crossing = world.tap().all().iter().any(|sent| sent.name() == "481");
        // Who sends somebody to themselves makes a ring of calls that nobody is in any more.
        let transfers = world.tap().all().iter().any(|sent| sent.name() == "REFER");
        let faults: Vec<_> = causes
            .chain(endings)
            .filter(|ending| IMPOLITE.contains(&ending.as_str()))
            .filter(|ending| ending != "Lost" || !crossing)
            .filter(|ending| ending != "session-timeout" || !transfers)
            .collect();
        if faults.is_empty() {
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
fn walks(variable: &str, walk: impl Fn(u64) -> Walked + Sync) -> Census {
    let from = number("SIM_FROM").unwrap_or(0);
    let seeds = match number(variable) {
        Some(seed) => seed..seed + 1,
        None => from..from + number("SIM_SEEDS").unwrap_or(MANY),
    };
    let (census, failures) = on_all_cores(seeds, &walk);
    if number("SIM_CENSUS").is_some() {
        eprintln!("{census:#?}");
    }
    report(variable, &failures);
    census
}

/// What came of a walk.
type Walked = Result<Box<World>, Box<Failure>>;
type Failures = BTreeMap<u64, Box<Failure>>;

/// Each core takes the next seed that nobody has taken; the outcome does not depend on which.
fn on_all_cores(seeds: Range<u64>, walk: &(impl Fn(u64) -> Walked + Sync)) -> (Census, Failures) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(seeds.start);
    let share = || {
        let (mut census, mut failures) = (Census::default(), Failures::new());
        let take = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds.end);
        while let Some(seed) = take() {
            match walk(seed) {
                Ok(world) => census.add(&world),
                Err(failure) => {
                    failures.insert(seed, failure);
                }
            }
        }
        (census, failures)
    };
    let shares: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(share)).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .map(|share| share.expect("a walk catches its panics"))
            .collect()
    });
    let mut all = (Census::default(), Failures::new());
    for (census, failures) in shares {
        all.0.merge(census);
        all.1.extend(failures);
    }
    all
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn report(variable: &str, failures: &Failures) {
    let Some((first, failure)) = failures.first_key_value() else {
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
    /// Notes, by their first words: what users, operators and name servers did.
    happenings: BTreeMap<String, u32>,
    /// Answered calls by what they went through.
    ways: BTreeMap<String, u32>,
    cut_off: usize,
}

impl Census {
    fn add(&mut self, world: &World) {
        self.walks += 1;
        for sent in world.tap().all() {
            *self.messages.entry(sent.name()).or_default() += 1;
        }
        self.add_ways(world);
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
        for note in world.tap().notes() {
            let what = note.split_once(": ").map_or(note, |(who, what)| {
                if who.starts_with("PhoneId") {
                    what
                } else {
                    who
                }
            });
            let what = what.split([' ', '(', '{']).next().unwrap_or_default();
            *self.happenings.entry(what.to_owned()).or_default() += 1;
        }
        self.cut_off += world.server.ledger().cut_off;
    }

    /// Answered calls by trunks and by proxying, and registrations along one of several flows.
    fn add_ways(&mut self, world: &World) {
        let ledger = world.server.ledger();
        let answered = ledger.records.iter().filter(|call| call.answered.is_some());
        let mut ways = Vec::new();
        for call in answered {
            ways.extend(call.trunk_in.as_ref().map(|_| "trunk-in"));
            ways.extend(call.trunk_out.as_ref().map(|_| "trunk-out"));
            ways.extend(ledger.proxied.contains(&call.call).then_some("proxied"));
        }
        let own = world.tap().all().iter().filter(|sent| sent.by_server);
        let flows = own.filter(|sent| {
            let message = sent.message();
            message.is_some_and(|message| message.lists(sip::HeaderName::Require, "outbound"))
        });
        ways.extend(flows.map(|_| "outbound"));
        for way in ways {
            *self.ways.entry(way.to_owned()).or_default() += 1;
        }
    }

    fn merge(&mut self, other: Self) {
        self.walks += other.walks;
        self.cut_off += other.cut_off;
        let Self {
            messages,
            endings,
            causes,
            happenings,
            ways,
            ..
        } = self;
        let ours = [messages, endings, causes, happenings, ways];
        let theirs = [
            other.messages,
            other.endings,
            other.causes,
            other.happenings,
            other.ways,
        ];
        for (ours, theirs) in ours.into_iter().zip(theirs) {
            for (name, count) in theirs {
                *ours.entry(name).or_default() += count;
            }
        }
    }

    fn check(&self) {
        for name in [
            "PRACK",
            "UPDATE",
            "CANCEL",
            "INFO",
            "REFER",
            "MESSAGE",
            "PUBLISH",
            "SUBSCRIBE",
            "183",
            "422",
            "486",
            "487",
            "491",
            "503",
        ] {
            assert!(self.messages.contains_key(name), "no {name} in all walks");
        }
        for way in ["trunk-in", "trunk-out", "proxied", "outbound"] {
            assert!(self.ways.contains_key(way), "no {way} in all walks");
        }
        for what in ["asked", "reload"] {
            assert!(self.happenings.contains_key(what), "no {what} in all walks");
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

/// How many seeds are walked unless told otherwise, and enough of them to meet everything.
const MANY: u64 = 150;
