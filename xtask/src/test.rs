//! Every check of the project, one step after the other.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

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
    let chosen = |step: &&Step| match only {
        [] => step.usual,
        names => names.iter().any(|name| name == step.name),
    };
    let results: Vec<_> = STEPS.iter().filter(chosen).map(Step::perform).collect();
    summary(&results)
}

struct Step {
    name: &'static str,
    /// Whether it is one of those that run when none is named.
    usual: bool,
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
        usual: true,
        run: || cargo(["fmt", "--all", "--check"]).run(),
        remedy: "cargo fmt --all",
    },
    Step {
        name: "clippy",
        usual: true,
        run: clippy,
        remedy: "mend what clippy names; `allow` only with a reason beside it",
    },
    Step {
        name: "rustdoc",
        usual: true,
        run: rustdoc,
        remedy: "mend the comments that rustdoc names",
    },
    Step {
        name: "tidy",
        usual: true,
        run: tidy::run,
        remedy: "see CONTRIBUTING.md for the rules of the house",
    },
    Step {
        name: "deny",
        usual: true,
        run: deny::run,
        remedy: "choose another dependency, or argue for a change of deny.toml",
    },
    Step {
        name: "unit",
        usual: true,
        run: unit,
        remedy: "cargo test -p CRATE NAME repeats one test",
    },
    Step {
        name: "simulation",
        usual: true,
        run: simulation,
        remedy: "the failed test names its seed and shows the wire trace",
    },
    Step {
        name: "fuzz",
        usual: true,
        run: || fuzz::run(fuzz::SMOKE_SECONDS),
        remedy: "add the input under fuzz/artifacts to a unit test, then mend the parser",
    },
    Step {
        name: "interop",
        usual: true,
        run: interop,
        remedy: "the failed test names the folder with its logs and captures",
    },
    Step {
        name: "arm64",
        usual: false,
        run: arm64,
        remedy: "docs/guide/debian.md says what a build for another machine needs",
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
    // What a flavour leaves out.
    cargo(["clippy", "-p", "dialtone", "--no-default-features"])
        .args(["--", "-D", "warnings"])
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
    let joined = ["-p", MEDIA, "--features", "codec/g729,codec/amr"];
    let features = features.and(tests(&[&joined[..], &["--test", "matrix"]].concat()));
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

/// The binary for arm64, its Debian package and its image, in an emulator.
fn arm64() -> Result<()> {
    let binary = release::build_by(EMULATED, release::triple("arm64")?, release::USUAL)?;
    let program = emulated(&binary)?;
    let command = if has_nextest() {
        cargo(["nextest", "run", "--no-fail-fast", "-p", INTEROP])
    } else {
        cargo(["test", "--no-fail-fast", "-p", INTEROP])
    };
    command
        .args(["--test", "deb", "--test", "image"])
        .args(["--test", "startup", "--test", "crash"])
        .args(["--", "for_arm64", "wrong", "taken", "after_a_crash"])
        .env("DIALTONE_BIN", program)
        .env("DIALTONE_BIN_ARM64", binary)
        .run()
}

/// A program that runs a binary for arm64 here.
fn emulated(binary: &Path) -> Result<PathBuf> {
    ensure!(
        answers(EMULATOR, ["--version"]),
        "{EMULATOR} is missing; on Debian: apt install qemu-user-static"
    );
    let program = binary.with_extension("emulated");
    let script = format!("#!/bin/sh\nexec {EMULATOR} '{}' \"$@\"\n", binary.display());
    std::fs::write(&program, script)?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    Ok(program)
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
/// Quick to build: it need not be quick.
const EMULATED: &str = "emulated";
const EMULATOR: &str = "qemu-aarch64-static";
const CODEC: &str = "dialtone-codec";
const MEDIA: &str = "dialtone-media";
const INTEROP: &str = "dialtone-interop";
