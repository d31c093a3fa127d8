//! The Debian packages, made without Debian's tools.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use flate2::{Compression, GzBuilder};
use lexopt::prelude::*;
use md5::{Digest, Md5};

use crate::release::{self, architectures, commit_time, host, triple, version};
use crate::root::Root;
use crate::sbom;
use crate::shell;
use control::{changelog, control, debian_version};

mod control;

/// What is asked for on the command line.
struct Options {
    architectures: Vec<String>,
    /// A binary that was built elsewhere, for the only architecture.
    binary: Option<PathBuf>,
    /// The folder that the packages go to.
    output: PathBuf,
}

/// Builds the packages and names them.
pub(crate) fn run(args: Vec<OsString>) -> Result<()> {
    let options = Options::parse(args)?;
    std::fs::create_dir_all(&options.output)?;
    let time = commit_time()?;
    for architecture in &options.architectures {
        let triple = triple(architecture)?;
        let binary = match &options.binary {
            Some(binary) => binary.clone(),
            None => release::build_for(triple, release::USUAL)?,
        };
        let program = release::read_static(&binary)?;
        let root = root(program, &sbom::bill(triple, release::USUAL)?, time)?;
        let package = package(&root, architecture, u64::try_from(time)?)?;
        let name = format!("dialtone_{}_{architecture}.deb", debian_version(version()));
        let path = options.output.join(name);
        std::fs::write(&path, &package).with_context(|| format!("write {}", path.display()))?;
        eprintln!("{:.1} MB", package.len() as f64 / 1e6);
        writeln!(std::io::stdout(), "{}", path.display())?;
    }
    Ok(())
}

impl Options {
    fn parse(args: Vec<OsString>) -> Result<Self> {
        let mut options = Self {
            architectures: Vec::new(),
            binary: None,
            output: release::target_dir()?.join("debian"),
        };
        let mut parser = lexopt::Parser::from_args(args);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("arch") => options.architectures = architectures(&parser.value()?.string()?)?,
                Long("binary") => options.binary = Some(parser.value()?.into()),
                Long("output") => options.output = parser.value()?.into(),
                other => return Err(other.unexpected().into()),
            }
        }
        if options.architectures.is_empty() {
            options.architectures = vec![host()?.to_owned()];
        }
        ensure!(
            options.architectures.len() == 1 || options.binary.is_none(),
            "--binary is of one architecture, and --arch names several"
        );
        Ok(options)
    }
}

/// The files of the package.
///
/// # Source
/// Filesystem Hierarchy Standard 3.0; Debian Policy §12.
fn root(program: Vec<u8>, bill: &serde_json::Value, time: i64) -> Result<Root> {
    let mut root = Root::default();
    root.file("usr/bin/dialtone", 0o755, program);
    for (path, source) in [
        (
            "etc/dialtone/dialtone.toml",
            "app/dialtone/assets/dialtone.toml",
        ),
        (
            "etc/dialtone/dialplan.toml",
            "app/dialtone/assets/dialplan.toml",
        ),
        (
            "etc/dialtone/trunks.toml",
            "app/dialtone/assets/trunks.toml",
        ),
        ("etc/default/dialtone", "deploy/deb/default"),
        (
            "lib/systemd/system/dialtone.service",
            "deploy/deb/dialtone.service",
        ),
        (
            "usr/share/dialtone/users.toml",
            "app/dialtone/assets/users.toml",
        ),
        ("usr/share/doc/dialtone/copyright", "deploy/deb/copyright"),
        (
            "usr/share/lintian/overrides/dialtone",
            "deploy/deb/lintian-overrides",
        ),
    ] {
        root.file(path, 0o644, read(source)?);
    }
    let log = changelog(version(), time)?;
    for (path, content) in [
        (
            "usr/share/man/man1/dialtone.1.gz",
            read("deploy/deb/dialtone.1")?,
        ),
        ("usr/share/doc/dialtone/changelog.gz", log.into_bytes()),
        (
            "usr/share/doc/dialtone/sbom.cdx.json.gz",
            serde_json::to_vec(bill)?,
        ),
    ] {
        root.file(path, 0o644, gzip(&content)?);
    }
    root.folder("var/lib/dialtone", 0o755, 0);
    // The server knows one folder, and the configuration in it.
    root.link("var/lib/dialtone/etc", "/etc/dialtone");
    Ok(root)
}

/// The package with these files.
///
/// # Source
/// deb(5): an `ar` archive of the format's version, the control files, and the files.
fn package(root: &Root, architecture: &str, time: u64) -> Result<Vec<u8>> {
    let mut meta = Root::default();
    let size = root.files().map(|(_, content)| content.len()).sum();
    let text = control(version(), architecture, size);
    meta.file("control", 0o644, text.into_bytes());
    meta.file("conffiles", 0o644, conffiles(root).into_bytes());
    meta.file("md5sums", 0o644, sums(root).into_bytes());
    for script in ["postinst", "prerm", "postrm"] {
        meta.file(script, 0o755, read(&format!("deploy/deb/{script}"))?);
    }
    let mut package = b"!<arch>\n".to_vec();
    member(&mut package, "debian-binary", time, b"2.0\n")?;
    for (name, root) in [("control.tar.gz", &meta), ("data.tar.gz", root)] {
        member(&mut package, name, time, &gzip(&root.tar("./", time)?)?)?;
    }
    Ok(package)
}

/// Adds a member to an `ar` archive; `time` is in seconds since 1970.
///
/// # Source
/// ar(5), deb(5): names of up to 16 characters, numbers in decimal (the mode in octal), all filled
/// up with spaces; a member begins at an even place.
fn member(archive: &mut Vec<u8>, name: &str, time: u64, content: &[u8]) -> Result<()> {
    ensure!(name.len() <= 16, "`{name}` is too long for an archive");
    let size = content.len();
    let mode = 100_644;
    writeln!(
        archive,
        "{name:<16}{time:<12}{:<6}{:<6}{mode:<8}{size:<10}`",
        0, 0
    )?;
    archive.extend(content);
    if size % 2 == 1 {
        archive.push(b'\n');
    }
    Ok(())
}

/// What dpkg asks about before it replaces what an administrator has changed.
fn conffiles(root: &Root) -> String {
    let paths = root.files().map(|(path, _)| path);
    let settings = paths.filter(|path| path.starts_with("etc/"));
    settings.map(|path| format!("/{path}\n")).collect()
}

/// The checksums by which `dpkg --verify` knows changed files.
fn sums(root: &Root) -> String {
    let mut sums = String::new();
    for (path, content) in root.files().filter(|(path, _)| !path.starts_with("etc/")) {
        for byte in Md5::digest(content) {
            sums.push_str(&format!("{byte:02x}"));
        }
        sums.push_str(&format!("  {path}\n"));
    }
    sums
}

fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    gzip.write_all(content)?;
    Ok(gzip.finish()?)
}

fn read(path: &str) -> Result<Vec<u8>> {
    std::fs::read(shell::root().join(path)).with_context(|| format!("read {path}"))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn files() -> Root {
        root(b"program".to_vec(), &serde_json::json!({}), 1_000_000_000).unwrap()
    }

    /// The members of an archive: names and contents.
    fn members(mut archive: &[u8]) -> Vec<(String, Vec<u8>)> {
        archive = archive.strip_prefix(b"!<arch>\n").unwrap();
        let mut members = Vec::new();
        while !archive.is_empty() {
            let (head, rest) = archive.split_at(60);
            let head = std::str::from_utf8(head).unwrap();
            assert_eq!(&head[58..], "`\n");
            let size: usize = head[48..58].trim().parse().unwrap();
            members.push((head[..16].trim().to_owned(), rest[..size].to_vec()));
            archive = &rest[size + size % 2..];
        }
        members
    }

    fn unpacked(gzip: &[u8]) -> Vec<String> {
        let mut tar = Vec::new();
        flate2::read::GzDecoder::new(gzip)
            .read_to_end(&mut tar)
            .unwrap();
        let mut tar = tar::Archive::new(&tar[..]);
        let entries = tar.entries().unwrap();
        entries
            .map(|entry| String::from_utf8(entry.unwrap().path_bytes().to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn a_package_has_three_parts_in_their_order() {
        let package = package(&files(), "arm64", 7).unwrap();
        assert_eq!(package, super::package(&files(), "arm64", 7).unwrap());
        let members = members(&package);
        let names: Vec<_> = members.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["debian-binary", "control.tar.gz", "data.tar.gz"]);
        assert_eq!(members[0].1, b"2.0\n");
        let control = unpacked(&members[1].1);
        assert!(control.contains(&"./control".to_owned()), "{control:?}");
        let data = unpacked(&members[2].1);
        for path in ["./usr/bin/dialtone", "./var/lib/dialtone/etc"] {
            assert!(data.contains(&path.to_owned()), "{data:?}");
        }
    }

    #[test]
    fn configuration_is_asked_about_and_all_else_has_a_sum() {
        let files = files();
        let asked = conffiles(&files);
        let expected = ["default/dialtone", "dialtone/dialplan.toml"];
        for path in expected {
            assert!(asked.contains(&format!("/etc/{path}\n")), "{asked}");
        }
        assert!(!asked.contains("users.toml"), "it is made, not shipped");
        let sums = sums(&files);
        let program = "a9c449d4fa44e9e5a41c574ae55ce4d9  usr/bin/dialtone\n";
        assert!(sums.contains(program), "{sums}");
        let count = asked.lines().count() + sums.lines().count();
        assert_eq!(count, files.count().0);
    }
}
