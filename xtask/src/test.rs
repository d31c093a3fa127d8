//! Every check of the project, one step after the other.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::shell::{Cmd, answers, cargo};
use crate::{deny, fuzz, release, tidy};

/// Runs the steps that are named, or all; a failed step does not stop those after it.
pub(crate) fn run(only: &[String]) -> Result<()> {
    if let Some(unknown) = only
        .iter()
        .find(|name| !STEPS.iter().any(|step| step.name == **name))
    {
        let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        bail!("no step `{unknown}`; there are: {}", names.join(" "));
    }
    let chosen = |step: &&Step| only.is_empty() || only.iter().any(|name| name == step.name);
    let results: Vec<_> = STEPS.iter().filter(chosen).map(Step::perform).collect();
    summary(&results)
}

struct Step {
    name: &'static str,
    run: fn() -> Result<()>,
    /// What to do when it fails.
    remedy: &'static str,
}

struct Outcome {
    step: &'static Step,
    took: Duration,
    result: Result<()>,
}

impl Step {
    fn perform(&'static self) -> Outcome {
        eprintln!("\n── {} ──", self.name);
        let start = Instant::now();
        let result = (self.run)();
        let took = start.elapsed();
        if let Err(error) = &result {
            eprintln!("error: {error:#}");
        }
        Outcome {
            step: self,
            took,
            result,
        }
    }
}

const STEPS: &[Step] = &[
    Step {
        name: "format",
        run: || cargo(["fmt", "--all", "--check"]).run(),
        remedy: "cargo fmt --all",
    },
    Step {
        name: "clippy",
        run: clippy,
        remedy: "mend what clippy names; `allow` only with a reason beside it",
    },
    Step {
        name: "rustdoc",
        run: rustdoc,
        remedy: "mend the comments that rustdoc names",
    },
    Step {
        name: "tidy",
        run: tidy::run,
        remedy: "see CONTRIBUTING.md for the rules of the house",
    },
    Step {
        name: "deny",
        run: deny::run,
        remedy: "choose another dependency, or argue for a change of deny.toml",
    },
    Step {
        name: "unit",
        run: unit,
        remedy: "cargo test -p CRATE NAME repeats one test",
    },
    Step {
        name: "simulation",
        run: simulation,
        remedy: "the failed test names its seed and shows the wire trace",
    },
    Step {
        name: "fuzz",
        run: || fuzz::run(fuzz::SMOKE_SECONDS),
        remedy: "add the input under fuzz/artifacts to a unit test, then mend the parser",
    },
    Step {
        name: "interop",
        run: interop,
        remedy: "the failed test names the folder with its logs and captures",
    },
];

fn clippy() -> Result<()> {
    cargo([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ])
    .run()?;
    // What is not compiled in by default.
    cargo(["clippy", "-p", CODEC, "--all-features", "--all-targets"])
        .args(["--", "-D", "warnings"])
        .run()
}

fn rustdoc() -> Result<()> {
    cargo([
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ])
    .env(
        "RUSTDOCFLAGS",
        "-D warnings -A rustdoc::private-intra-doc-links",
    )
    .run()
}

fn unit() -> Result<()> {
    let chosen = ["--workspace", "--exclude", SIMULATION, "--exclude", INTEROP];
    let units = tests(&chosen);
    // nextest knows no examples in comments, and plain `cargo test` has run them.
    let examples = if has_nextest() {
        cargo(["test", "--doc"]).args(chosen).run()
    } else {
        Ok(())
    };
    let features = tests(&["-p", CODEC, "--all-features"]);
    units.and(examples).and(features)
}

/// The same seeds each time: what fails today failed yesterday.
fn simulation() -> Result<()> {
    let profile = if has_nextest() {
        "--cargo-profile"
    } else {
        "--profile"
    };
    test_command()
        .args(["-p", SIMULATION, profile, SIMULATION_PROFILE])
        .env("SIM_SEEDS", SIMULATION_SEEDS)
        .run()
}

/// Real peers meet the binary that users get.
fn interop() -> Result<()> {
    let binary = release::build()?;
    if has_nextest() {
        return cargo(["nextest", "run", "--no-fail-fast", "-p", INTEROP])
            .env("DIALTONE_BIN", binary)
            .run();
    }
    cargo(["test", "--no-fail-fast", "-p", INTEROP])
        .env("DIALTONE_BIN", binary)
        .run()
}

fn tests(selection: &[&str]) -> Result<()> {
    test_command().args(selection).run()
}

fn test_command() -> Cmd {
    if has_nextest() {
        // A room without tests is no failure.
        return cargo(["nextest", "run", "--no-fail-fast", "--no-tests", "pass"]);
    }
    cargo(["test", "--no-fail-fast"])
}

fn has_nextest() -> bool {
    answers("cargo-nextest", ["nextest", "--version"])
}

fn summary(results: &[Outcome]) -> Result<()> {
    eprintln!("\n── summary ──");
    for Outcome { step, took, result } in results {
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        eprintln!("{:<12}{word:<8}{:>7.1} s", step.name, took.as_secs_f64());
    }
    let failed: Vec<_> = results
        .iter()
        .filter(|outcome| outcome.result.is_err())
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    eprintln!("\nWhat to do:");
    for Outcome { step, .. } in &failed {
        eprintln!(
            "  {}: {} (again: cargo xtask test --only {})",
            step.name, step.remedy, step.name
        );
    }
    bail!("{} of {} steps failed", failed.len(), results.len());
}

const SIMULATION: &str = "dialtone-testkit";
/// Optimised: ten times as many walks in the same time.
const SIMULATION_PROFILE: &str = "simulation";
/// Seeds of each kind of walk.
const SIMULATION_SEEDS: &str = "10000";
const CODEC: &str = "dialtone-codec";
const INTEROP: &str = "dialtone-interop";
