//! `cargo xtask bench`: prints figures of the product, measured beside peers in one run.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Result, bail, ensure};
use benches::peers::dialtone;
use benches::table::{Row, head};
use benches::{birth, machine, media, memory, relay, signalling};
use lexopt::prelude::*;

const USAGE: &str = "\
cargo xtask bench [NAME..] [--rounds N] [--calls N]

  options    OPTIONS answered without state, beside Kamailio
  register   digest registrations over UDP, TCP and TLS, beside Kamailio
  call       stateful calls, beside Kamailio
  proxy      calls forwarded by a stateful proxy, beside Kamailio
  relay      relayed RTP, beside rtpengine
  ng         the same in calls that a proxy sets up by the ng protocol, beside rtpengine
  srtp       RTP to SRTP and SRTP to SRTP, beside rtpengine
  one-port   relayed RTP, all calls on one port of ours, beside rtpengine
  delay      how long packets of 1000 calls take, beside rtpengine
  transcode  PCMU to Opus and to G.722, beside rtpengine
  playback   a file played to 200, beside rtpengine
  tick       how late the packets of played streams are under 80 % load, beside rtpengine
  footprint  memory for each relayed and each transcoded call, beside rtpengine
  memory     memory for each registration and each call, beside Kamailio
  birth      start-up time and idle memory, beside Kamailio
  size       size of the binary
  parsers    parsing alone, beside other crates
  room       a conference room of 100, for three codecs
  kernel     a relayed packet in the media workers and in the kernel; wants root

Without a name all but the last three are measured. --rounds: how often each (default 3). --calls: how
many calls carry RTP (default 500). DIALTONE_BIN names a binary to use instead of building one.
";

struct Arguments {
    names: Vec<String>,
    rounds: usize,
    calls: usize,
}

fn main() -> ExitCode {
    match arguments().and_then(|arguments| bench(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Arguments> {
    let mut arguments = Arguments {
        names: Vec::new(),
        rounds: 3,
        calls: 500,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Value(name) => arguments.names.push(name.string()?),
            Long("rounds") => arguments.rounds = parser.value()?.parse()?,
            Long("calls") => arguments.calls = parser.value()?.parse()?,
            Long("help") | Short('h') => bail!("\n{USAGE}"),
            other => return Err(other.unexpected().into()),
        }
    }
    if let Some(unknown) = arguments
        .names
        .iter()
        .find(|name| !NAMES.contains(&&***name) && !is_apart(name))
    {
        bail!("no bench `{unknown}`\n\n{USAGE}");
    }
    Ok(arguments)
}

const NAMES: [&str; 16] = [
    "options",
    "register",
    "call",
    "proxy",
    "relay",
    "ng",
    "srtp",
    "one-port",
    "delay",
    "transcode",
    "playback",
    "tick",
    "footprint",
    "memory",
    "birth",
    "size",
];

/// A package of its own, because its peers are in nobody else's build.
const PARSERS: &str = "parsers";

/// A bench of the media workers' package: it plays all parts in one process.
const KERNEL: &str = "kernel";

/// An example of the media workers' package: it plays all parts in one process.
const ROOM: &str = "room";

/// Whether it is measured on its own, and only if it is named.
fn is_apart(name: &str) -> bool {
    [PARSERS, KERNEL, ROOM].contains(&name)
}

fn bench(arguments: &Arguments) -> Result<()> {
    for name in arguments.names.iter().filter(|name| is_apart(name)) {
        match &**name {
            PARSERS => parsers()?,
            ROOM => room()?,
            _ => kernel()?,
        }
    }
    if !arguments.names.is_empty() && arguments.names.iter().all(|name| is_apart(name)) {
        return Ok(());
    }
    let binary: PathBuf = dialtone::binary()?;
    machine::become_generator()?;
    if !machine::has_two_cpus() {
        eprintln!("one CPU only: server and generator share it, and the figures say little");
    }
    let mut failed = 0;
    print(&head());
    for name in NAMES {
        let is_wanted = arguments.names.is_empty() || arguments.names.iter().any(|n| n == name);
        if !is_wanted {
            continue;
        }
        match measure(name, &binary, arguments) {
            Ok(rows) => rows.iter().for_each(|row| print(&row.to_string())),
            Err(error) => {
                eprintln!("{name}: {error:#}");
                failed += 1;
            }
        }
    }
    if failed > 0 {
        bail!("{failed} could not be measured");
    }
    Ok(())
}

fn parsers() -> Result<()> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("parsers/Cargo.toml");
    let mut command = cargo();
    command
        .args(["run", "--release", "--manifest-path"])
        .arg(manifest);
    ensure!(command.status()?.success(), "the parsers were not measured");
    Ok(())
}

fn kernel() -> Result<()> {
    let mut command = cargo();
    command.args(["bench", "-p", "dialtone-media", "--bench", "kernel"]);
    ensure!(command.status()?.success(), "the kernel was not measured");
    Ok(())
}

fn room() -> Result<()> {
    let mut command = cargo();
    command.args(["run", "--release", "-p", "dialtone-media"]);
    command.args(["--example", "room_bench", "--", "100", "10"]);
    ensure!(command.status()?.success(), "the room was not measured");
    Ok(())
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn measure(name: &str, binary: &Path, arguments: &Arguments) -> Result<Vec<Row>> {
    let &Arguments { rounds, calls, .. } = arguments;
    Ok(match name {
        "options" => vec![signalling::options(binary, rounds)?],
        "memory" => vec![memory::contact(binary)?, memory::call(binary)?],
        "register" => signalling::register(binary, rounds)?.into(),
        "call" => vec![signalling::call(binary, rounds)?],
        "proxy" => vec![signalling::proxy(binary, rounds)?],
        "relay" => vec![relay::relay(binary, rounds, calls)?],
        "ng" => vec![media::ng(binary, rounds, calls)?],
        "srtp" => media::srtp(binary, rounds, calls)?,
        "one-port" => vec![media::one_port(binary, rounds, calls)?],
        "delay" => vec![media::delay(binary, rounds)?],
        "transcode" => media::transcode(binary, rounds)?,
        "playback" => vec![media::playback(binary, rounds)?],
        "tick" => vec![media::tick(binary, rounds)?],
        "footprint" => media::memory(binary)?,
        "birth" => birth::birth(binary, rounds)?.into(),
        _ => vec![birth::size(binary)?],
    })
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn print(line: &str) {
    println!("{line}");
}
