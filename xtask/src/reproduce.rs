//! Whether a commit gives the same image and the same package, wherever it is built.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::release;
use crate::shell::{self, Cmd, cargo};

/// Builds the last commit in two folders and compares what comes of it.
pub(crate) fn run() -> Result<()> {
    let folder = release::target_dir()?.join("reproduce");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    // A path must not even leave its length behind.
    let clones = ["one", "the/other/one"].map(|name| folder.join(name));
    for clone in &clones {
        build(clone)?;
    }
    let package = format!("dialtone_{}_{}.deb", release::version(), release::host()?);
    for name in ["image.tar", &package] {
        let [one, other] = clones.each_ref().map(|clone| clone.join(name));
        let read =
            |path: &Path| std::fs::read(path).with_context(|| format!("read {}", path.display()));
        ensure!(
            read(&one)? == read(&other)?,
            "{} and {} differ",
            one.display(),
            other.display()
        );
        eprintln!("{name}: twice the same");
    }
    Ok(())
}

/// Clones the project and builds image and package there, with nothing of ours but the registry.
fn build(clone: &Path) -> Result<()> {
    Cmd::new("git")
        .args(["clone", "--quiet"])
        .args([&shell::root(), clone])
        .run()?;
    let image = clone.join("image.tar");
    for (task, output) in [("image", &*image), ("deb", clone)] {
        cargo(["run", "--quiet", "-p", "xtask", "--manifest-path"])
            .args([clone.join("Cargo.toml")])
            .args(["--", task, "--output"])
            .args([output])
            .env("CARGO_TARGET_DIR", clone.join("target"))
            .run()?;
    }
    Ok(())
}
