//! The binary that users get: static, position-independent, optimised.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::shell::{Cmd, cargo};

/// Builds the binary, then becomes `dialtone run` with the given arguments.
pub(crate) fn run(args: &[OsString]) -> Result<()> {
    let binary = build()?;
    let mut command = Command::new(&binary);
    command.arg("run");
    if !chooses_data(args) {
        command.args(["--data", "./srv"]);
    }
    let error = command.args(args).exec();
    Err(error).with_context(|| format!("start {}", binary.display()))
}

/// Builds the binary and returns its path.
///
/// It has a target folder of its own, because its compiler flags would make cargo rebuild
/// everything that the development build shares with it.
pub(crate) fn build() -> Result<PathBuf> {
    let triple = host_triple()?;
    let target = target_dir()?.join("static");
    cargo(["build", "--release", "-p", "dialtone", "--target", &triple])
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env("CARGO_TARGET_DIR", &target)
        .run()?;
    let binary = target.join(&triple).join("release/dialtone");
    let image = std::fs::read(&binary).with_context(|| format!("read {}", binary.display()))?;
    ensure!(
        is_static_pie(&image),
        "{} is not a static position-independent executable",
        binary.display()
    );
    let shortcut = shortcut(&binary)?;
    eprintln!(
        "{}: {:.1} MB, statically linked, position-independent",
        relative(&shortcut).display(),
        image.len() as f64 / 1e6
    );
    Ok(binary)
}

/// Links `target/dialtone`, which can be typed, to the binary.
fn shortcut(binary: &Path) -> Result<PathBuf> {
    let link = target_dir()?.join("dialtone");
    match std::fs::remove_file(&link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    std::os::unix::fs::symlink(binary, &link)?;
    Ok(link)
}

/// The folder that cargo builds into.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let metadata = cargo(["metadata", "--no-deps", "--format-version", "1"]).read()?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let dir = metadata["target_directory"].as_str();
    Ok(dir
        .context("cargo metadata names no target directory")?
        .into())
}

/// The triple that the compiler runs on, such as `x86_64-unknown-linux-gnu`.
pub(crate) fn host_triple() -> Result<String> {
    let version = Cmd::new("rustc").args(["-vV"]).read()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

fn chooses_data(args: &[OsString]) -> bool {
    let named = |arg: &OsString| {
        let arg = arg.to_string_lossy();
        arg == "--data" || arg.starts_with("--data=")
    };
    std::env::var_os("DIALTONE_DATA").is_some() || args.iter().any(named)
}

fn relative(path: &Path) -> &Path {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path)
}

/// Whether a 64-bit little-endian ELF image is position-independent and asks for no interpreter,
/// which is what `ldd` calls statically linked.
fn is_static_pie(image: &[u8]) -> bool {
    const SHARED_OBJECT: u16 = 3;
    const INTERPRETER: u32 = 3;
    let kind = half(image, 16);
    if !image.starts_with(b"\x7fELF\x02\x01") || kind != Some(SHARED_OBJECT) {
        return false;
    }
    segments(image).is_ok_and(|kinds| !kinds.is_empty() && !kinds.contains(&INTERPRETER))
}

/// The types of all program headers (System V ABI, chapter 5).
fn segments(image: &[u8]) -> Result<Vec<u32>> {
    let field = |at, length| {
        image
            .get(at..at + length)
            .context("the ELF header is cut off")
    };
    let table = usize::try_from(u64::from_le_bytes(field(32, 8)?.try_into()?))?;
    let (Some(size), Some(count)) = (half(image, 54), half(image, 56)) else {
        bail!("the ELF header is cut off");
    };
    (0..usize::from(count))
        .map(|index| {
            let kind = field(table + index * usize::from(size), 4)?;
            Ok(u32::from_le_bytes(kind.try_into()?))
        })
        .collect()
}

fn half(image: &[u8], at: usize) -> Option<u16> {
    let bytes = image.get(at..at + 2)?;
    Some(u16::from_le_bytes([bytes[0], bytes[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_test_binary_is_not_static() {
        let image = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(!is_static_pie(&image));
        assert!(segments(&image).unwrap().len() > 3);
    }

    #[test]
    fn an_image_without_interpreter_is_static() {
        let mut image = vec![0; 64 + 2 * 56];
        image[..6].copy_from_slice(b"\x7fELF\x02\x01");
        image[16] = 3;
        image[32] = 64;
        image[54] = 56;
        image[56] = 2;
        image[64] = 1;
        image[64 + 56] = 2;
        assert!(is_static_pie(&image));
        image[64 + 56] = 3;
        assert!(!is_static_pie(&image), "it names an interpreter");
        assert!(!is_static_pie(&image[..100]), "it is cut off");
    }

    #[test]
    fn data_may_be_chosen_by_argument() {
        assert!(chooses_data(&["--data=/x".into()]));
        assert!(chooses_data(&[
            "--set".into(),
            "a=1".into(),
            "--data".into(),
            "x".into()
        ]));
    }
}
