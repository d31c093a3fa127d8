//! Rules of the house that no compiler knows.
//!
//! - [`floors`]: who may depend on whom, and what every crate must say of itself.
//! - [`map`]: ARCHITECTURE.md names what exists, and nothing else.
//! - [`text`]: length, white space and words of every file.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::matrix;
use crate::shell::{Cmd, cargo, in_ci};

mod floors;
mod map;
mod text;

/// Checks the working tree.
pub(crate) fn run() -> Result<()> {
    let packages = packages()?;
    let files = files()?;
    let mut faults = floors::check(&packages);
    faults.extend(map::check(
        &packages,
        &files,
        &std::fs::read_to_string("ARCHITECTURE.md")?,
    ));
    for file in &files {
        // A file may be deleted and not yet committed; only text is looked at.
        if let Ok(content) = std::fs::read_to_string(file) {
            faults.extend(text::check(Path::new(file), &content));
        }
    }
    faults.extend(stale_page(&files));
    for fault in &faults {
        eprintln!("{fault}");
    }
    if !faults.is_empty() {
        bail!("{} rules broken", faults.len());
    }
    eprintln!(
        "{} crates and {} files are tidy",
        packages.len(),
        files.len()
    );
    Ok(())
}

/// The page of RFCs changes with nearly every commit: before a build server looks, a hint will do.
fn stale_page(files: &[String]) -> Option<String> {
    if matrix::is_fresh(files) {
        return None;
    }
    let fault = format!(
        "{}: is stale; `cargo xtask rfc-matrix` writes it anew",
        matrix::PAGE
    );
    if in_ci() {
        return Some(fault);
    }
    eprintln!("hint: {fault}");
    None
}

/// What tidy wants to know of one crate of the workspace.
struct Package {
    name: String,
    /// Folder relative to the workspace, such as `wire/sip`.
    folder: String,
    described: bool,
    /// Text of its manifest.
    manifest: String,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    only_for_tests: bool,
}

fn packages() -> Result<Vec<Package>> {
    let metadata = cargo(["metadata", "--no-deps", "--format-version", "1"]).read()?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let root = metadata["workspace_root"]
        .as_str()
        .context("no workspace root")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    packages
        .iter()
        .map(|package| read_package(package, root))
        .collect()
}

fn read_package(package: &serde_json::Value, root: &str) -> Result<Package> {
    let path = package["manifest_path"]
        .as_str()
        .context("no manifest path")?;
    let folder = Path::new(path)
        .strip_prefix(root)?
        .parent()
        .context("no folder")?;
    let dependencies = package["dependencies"]
        .as_array()
        .context("no dependencies")?;
    Ok(Package {
        name: package["name"].as_str().context("no name")?.to_owned(),
        folder: folder.to_string_lossy().into_owned(),
        described: package["description"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        manifest: std::fs::read_to_string(path)?,
        dependencies: dependencies
            .iter()
            .map(|dependency| Dependency {
                name: dependency["name"].as_str().unwrap_or_default().to_owned(),
                only_for_tests: dependency["kind"] == "dev",
            })
            .collect(),
    })
}

/// All files that git knows or would add.
pub(crate) fn files() -> Result<Vec<String>> {
    let list = Cmd::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .read()?;
    Ok(list.lines().map(str::to_owned).collect())
}
