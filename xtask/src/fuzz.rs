//! Fuzz targets: each is built, and run for a short time.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::release::host_triple;
use crate::shell::{Cmd, answers, cargo, in_ci, nightly_cargo};

/// How long a smoke run gives to each target.
pub(crate) const SMOKE_SECONDS: u32 = 5;

/// Builds all targets under `fuzz/` and runs each for `seconds`.
pub(crate) fn run(seconds: u32) -> Result<()> {
    if !answers("rustc", ["+nightly", "--version"]) {
        return missing_nightly();
    }
    if !answers("cargo-fuzz", ["--version"]) {
        eprintln!("cargo-fuzz is missing: installing it from crates.io");
        cargo(["install", "--locked", "--debug", "cargo-fuzz"]).run()?;
    }
    let targets = targets()?;
    let triple = host_triple()?;
    nightly_cargo(["fuzz", "build", "--target", &triple])
        .env("CARGO_TARGET_DIR", std::path::absolute("fuzz/target")?)
        .run()?;
    let mut failed = Vec::new();
    for target in &targets {
        if let Err(error) = run_one(target, &triple, seconds) {
            eprintln!("fuzz target {target}: {error:#}");
            failed.push(target.as_str());
        }
    }
    if !failed.is_empty() {
        bail!(
            "{} found a failure; its input is in fuzz/artifacts, and `cargo +nightly fuzz run \
             TARGET FILE` repeats it",
            failed.join(", ")
        );
    }
    eprintln!("{} fuzz targets ran {seconds} s each", targets.len());
    Ok(())
}

fn missing_nightly() -> Result<()> {
    let hint = "fuzzing needs a nightly compiler: rustup toolchain install nightly";
    if in_ci() {
        bail!("{hint}");
    }
    eprintln!("skipped: {hint}");
    Ok(())
}

fn targets() -> Result<Vec<String>> {
    let entries = std::fs::read_dir("fuzz/fuzz_targets").context("read fuzz/fuzz_targets")?;
    let mut targets = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "rs") {
            let stem = path.file_stem().unwrap_or_default();
            targets.push(stem.to_string_lossy().into_owned());
        }
    }
    targets.sort();
    Ok(targets)
}

fn run_one(target: &str, triple: &str, seconds: u32) -> Result<()> {
    let corpus = Path::new("fuzz/corpus").join(target);
    let artifacts = Path::new("fuzz/artifacts").join(target);
    std::fs::create_dir_all(&corpus)?;
    std::fs::create_dir_all(&artifacts)?;
    // libFuzzer writes new inputs to the first folder and only reads the others.
    let mut folders = vec![corpus];
    folders.extend(seeds(target));
    Cmd::new(format!("fuzz/target/{triple}/release/{target}"))
        .args([
            format!("-artifact_prefix={}/", artifacts.display()),
            format!("-max_total_time={seconds}"),
            "-timeout=10".to_owned(),
            "-rss_limit_mb=2048".to_owned(),
            "-verbosity=0".to_owned(),
            "-print_final_stats=1".to_owned(),
        ])
        .args(folders)
        .run()
}

fn seeds(target: &str) -> Option<PathBuf> {
    let folder = Path::new("fuzz/seeds").join(target);
    folder.is_dir().then_some(folder)
}
