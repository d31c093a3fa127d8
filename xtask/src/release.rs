//! The binary that users get: static, position-independent, optimised.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::shell::{self, Cmd, answers, cargo};

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
    let binary = build_for(&host_triple()?, USUAL)?;
    shortcut(&binary)?;
    Ok(binary)
}

/// The features that every binary has unless something is left out.
pub(crate) const USUAL: &[&str] = &["default"];

/// Builds the binary for a target with these features of it.
pub(crate) fn build_for(triple: &str, features: &[&str]) -> Result<PathBuf> {
    build_by("release", triple, features)
}

/// Builds a static binary by one of the workspace's profiles.
pub(crate) fn build_by(profile: &str, triple: &str, features: &[&str]) -> Result<PathBuf> {
    ensure!(
        answers("cmake", ["--version"]),
        "the Opus codec is built by CMake, which is missing; on Debian: apt install cmake"
    );
    let target = target_dir()?.join("static");
    let mut build = cargo(["rustc", "-p", "dialtone", "--bin", "dialtone"])
        .args(["--target", triple, "--profile", profile])
        .args(["--no-default-features", "--features", &features.join(",")])
        .env("CARGO_TARGET_DIR", &target);
    if !links_position_independent(triple) {
        let linker = static_pie_linker(triple, &target)?;
        build = build.args(["--", "-C", &format!("linker={}", linker.display())]);
    }
    for (key, value) in flags(triple, &target)?.into_iter().chain(cross(triple)?) {
        build = build.env(&key, value);
    }
    build.run()?;
    let binary = target.join(triple).join(profile).join("dialtone");
    let image = std::fs::read(&binary).with_context(|| format!("read {}", binary.display()))?;
    ensure!(
        is_static_pie(&image),
        "{} is not a static position-independent executable",
        binary.display()
    );
    eprintln!(
        "{}: {:.1} MB, statically linked, position-independent",
        relative(&binary).display(),
        image.len() as f64 / 1e6
    );
    Ok(binary)
}

/// Whether the Rust compiler knows how to make static binaries for this target that are position-independent. For
/// others the code is so as well, but it tells the linker to put it at a fixed place.
fn links_position_independent(triple: &str) -> bool {
    triple.starts_with("x86_64-")
}

/// A linker that makes position-independent binaries of what it is told to put at a fixed place: `-static` would choose
/// the wrong start files.
fn static_pie_linker(triple: &str, target: &Path) -> Result<PathBuf> {
    let folder = target.join(triple);
    std::fs::create_dir_all(&folder)?;
    let linker = folder.join("static-pie-linker");
    let gcc = if triple == host_triple()? {
        "cc".to_owned()
    } else {
        gcc(triple)
    };
    let script = format!(
        "#!/bin/sh\nfor word do\n    shift\n    case $word in -static | -no-pie) ;; *) set -- \"$@\" \"$word\" ;; esac\n\
         done\nexec {gcc} -static-pie \"$@\"\n"
    );
    std::fs::write(&linker, script)?;
    std::fs::set_permissions(&linker, std::fs::Permissions::from_mode(0o755))?;
    Ok(linker)
}

/// What Debian calls the C compiler for another machine.
fn gcc(triple: &str) -> String {
    let architecture = triple.split('-').next().unwrap_or(triple);
    format!("{architecture}-linux-gnu-gcc")
}

/// What the compilers are told: to link statically, and to call the folders of this machine by names
/// that are the same on every machine, so that one commit gives one binary.
fn flags(triple: &str, target: &Path) -> Result<Vec<(String, String)>> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let home = home.context("neither CARGO_HOME nor HOME is set")?;
    // Of several that fit, the compilers take the last.
    let root = shell::root();
    let names = [
        (&*root, "/dialtone"),
        (&*home, "/cargo"),
        (target, "/target"),
    ];
    let renamed =
        |option: &str| names.map(|(folder, name)| format!("{option}={}={name}", folder.display()));
    let mut rust = vec!["-C".to_owned(), "target-feature=+crt-static".to_owned()];
    rust.extend(renamed("--remap-path-prefix"));
    let mut c = vec![std::env::var("CFLAGS").unwrap_or_default()];
    c.extend(renamed("-ffile-prefix-map"));
    Ok(vec![
        // The separator is cargo's: a folder may have a space in its name.
        ("CARGO_ENCODED_RUSTFLAGS".to_owned(), rust.join("\u{1f}")),
        (format!("CFLAGS_{}", triple.replace('-', "_")), c.join(" ")),
    ])
}

/// What cargo must be told to build for another machine than ours: the linker and the C compiler, and
/// Debian's Rust compiler if it has the standard library for that machine and ours has not.
fn cross(triple: &str) -> Result<Vec<(String, String)>> {
    if triple == host_triple()? {
        return Ok(Vec::new());
    }
    let gcc = gcc(triple);
    ensure!(
        answers(&gcc, ["--version"]),
        "a build for {triple} needs {gcc}; on Debian: apt install {}",
        package_of(&gcc)
    );
    ensure!(
        has_c_library(&gcc),
        "{gcc} has no C library to link with; on Debian: apt install {}",
        library_package_of(&gcc)
    );
    let name = triple.replace('-', "_");
    let linker = format!("CARGO_TARGET_{}_LINKER", name.to_uppercase());
    let mut told = vec![(linker, gcc.clone()), (format!("CC_{name}"), gcc)];
    if !has_library("rustc", triple) {
        ensure!(
            has_library(DEBIANS_RUSTC, triple),
            "Rust's standard library for {triple} is missing: `rustup target add {triple}`, or on Debian \
             `dpkg --add-architecture arm64`, `apt update` and `apt install rustc-web libstd-rust-web-dev:arm64`"
        );
        told.push(("RUSTC".to_owned(), DEBIANS_RUSTC.to_owned()));
    }
    Ok(told)
}

/// The Debian package of a C compiler for another machine: `x86_64-linux-gnu-gcc` is in `gcc-x86-64-linux-gnu`.
fn package_of(gcc: &str) -> String {
    format!("gcc-{}", gcc.trim_end_matches("-gcc").replace('_', "-"))
}

/// Whether a C compiler has a static C library: Debian's only recommends it.
fn has_c_library(gcc: &str) -> bool {
    // It repeats the bare name of what it does not find.
    let place = Cmd::new(gcc).args(["-print-file-name=libc.a"]).read();
    place.is_ok_and(|place| Path::new(place.trim()).is_absolute())
}

/// The Debian package of the C library of a compiler for another machine.
fn library_package_of(gcc: &str) -> &'static str {
    if gcc.starts_with("x86_64-") {
        "libc6-dev-amd64-cross"
    } else {
        "libc6-dev-arm64-cross"
    }
}

/// Whether a compiler has the standard library for a target.
fn has_library(rustc: &str, triple: &str) -> bool {
    let folder = Cmd::new(rustc)
        .args(["--print", "target-libdir", "--target", triple])
        .read();
    let files = folder
        .ok()
        .and_then(|folder| std::fs::read_dir(folder.trim()).ok());
    let is_library = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
    };
    files.is_some_and(|mut files| files.any(is_library))
}

/// Where Debian's own compiler is, whatever comes first in the path.
const DEBIANS_RUSTC: &str = "/usr/bin/rustc";

/// Links `target/dialtone`, which can be typed, to the binary.
fn shortcut(binary: &Path) -> Result<()> {
    let link = target_dir()?.join("dialtone");
    match std::fs::remove_file(&link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    std::os::unix::fs::symlink(binary, &link)?;
    eprintln!("{} is it", relative(&link).display());
    Ok(())
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

/// When the commit was made, in seconds since 1970, or what `SOURCE_DATE_EPOCH` says.
pub(crate) fn commit_time() -> Result<i64> {
    let time = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(time) => time,
        Err(_) => Cmd::new("git").args(["log", "-1", "--format=%ct"]).read()?,
    };
    time.trim()
        .parse()
        .with_context(|| format!("`{}` are no seconds since 1970", time.trim()))
}

/// The version of the product.
pub(crate) fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The architectures in a list with commas.
pub(crate) fn architectures(list: &str) -> Result<Vec<String>> {
    list.split(',')
        .map(|name| triple(name).map(|_| name.to_owned()))
        .collect()
}

/// The compiler's name of what Go calls `architecture`.
pub(crate) fn triple(architecture: &str) -> Result<&'static str> {
    match architecture {
        "amd64" => Ok("x86_64-unknown-linux-gnu"),
        "arm64" => Ok("aarch64-unknown-linux-gnu"),
        _ => bail!("no architecture `{architecture}`; there are: amd64 arm64"),
    }
}

/// Go's name of what this machine is.
pub(crate) fn host() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("no image can be made on {other} without --arch"),
    }
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

/// Reads a binary that needs nothing beside it.
pub(crate) fn read_static(binary: &Path) -> Result<Vec<u8>> {
    let program = std::fs::read(binary).with_context(|| format!("read {}", binary.display()))?;
    ensure!(
        is_static_pie(&program),
        "{} needs libraries: `cargo xtask build` makes one that doesn't",
        binary.display()
    );
    Ok(program)
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
    fn a_compiler_without_a_library_is_noticed() {
        assert!(has_c_library("cc"), "tests are linked by it");
        assert!(!has_c_library("echo"), "it repeats what it does not know");
        assert!(!has_c_library("no-such-gcc"));
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
