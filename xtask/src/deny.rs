//! Licences, bans and sources of the dependencies, and known vulnerabilities.

use anyhow::{Result, bail};

use crate::shell::{answers, cargo};

/// Runs cargo-deny over the workspace; installs it when it is missing.
pub(crate) fn run() -> Result<()> {
    if !answers("cargo-deny", ["--version"]) {
        eprintln!("cargo-deny is missing: installing it from crates.io, which takes some minutes");
        cargo(["install", "--locked", "--debug", "cargo-deny"]).run()?;
    }
    cargo([
        "deny",
        "--log-level",
        "warn",
        "check",
        "licenses",
        "bans",
        "sources",
    ])
    .run()?;
    advisories()
}

/// The list of vulnerabilities is a git repository, which not every machine can reach.
fn advisories() -> Result<()> {
    match cargo(["deny", "check", "advisories"]).read() {
        Ok(_) => eprintln!("advisories ok"),
        Err(error)
            if error
                .to_string()
                .contains("failed to fetch advisory database") =>
        {
            eprintln!("advisories not checked: their database can't be reached from here");
        }
        Err(error) => bail!("{error:#}"),
    }
    Ok(())
}
