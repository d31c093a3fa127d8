//! Project tasks, started as `cargo xtask TASK`.
//!
//! - [`release`]: builds the static release binary and starts it.
//! - [`mod@test`]: every check of the project, one step after the other.
//! - [`tidy`]: rules of the house that no compiler knows.
//! - [`fuzz`]: builds and runs the fuzz targets for a short time.
//! - [`prompts`]: speaks the built-in prompts.
//! - [`matrix`]: which section of which RFC is done where.
//! - [`deny`]: licences, bans and sources of the dependencies.
//! - [`image`]: the container image.
//! - [`deb`]: the Debian packages.
//! - [`reproduce`]: whether two builds of a commit are the same.
//! - [`root`]: files, packed the same everywhere. - [`sbom`]: what the binary is made of.
//! - [`shell`]: starting other programs.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, bail};
use lexopt::prelude::*;

mod deb;
mod deny;
mod fuzz;
mod image;
mod matrix;
mod prompts;
mod release;
mod reproduce;
mod root;
mod sbom;
mod shell;
mod test;
mod tidy;

const USAGE: &str = "\
cargo xtask TASK

  run [ARGS..]           build the static release binary and start it (data under ./srv)
  build                  build the static release binary
  image [--flavour mini|base|full] [--arch amd64,arm64]
                         build the container image, for podman load and docker load
  deb [--arch amd64,arm64]
                         build the Debian packages
  reproduce              build the last commit twice, in two folders, and compare
  test [--only STEP]..   run every check, or the named steps
  tidy                   check the rules of the house
  rfc-matrix             write docs/rfc-matrix.md anew
  fuzz [--seconds N]     build all fuzz targets and run each for N seconds (default 5)
  prompts                speak the built-in prompts anew (needs flite)
  deny                   check licences, bans and sources of the dependencies
  bench [ARGS..]         print the figures
";

fn main() -> ExitCode {
    match dispatch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch() -> Result<()> {
    std::env::set_current_dir(shell::root())?;
    let mut parser = lexopt::Parser::from_env();
    let task = match parser.next()? {
        Some(Value(task)) => task.string()?,
        Some(Long("help") | Short('h')) | None => {
            eprint!("{USAGE}");
            return Ok(());
        }
        Some(other) => return Err(other.unexpected().into()),
    };
    match task.as_str() {
        "run" => release::run(&rest(&mut parser)?),
        "build" => no_more(&mut parser).and_then(|()| release::build().map(drop)),
        "image" => image::run(rest(&mut parser)?),
        "deb" => deb::run(rest(&mut parser)?),
        "reproduce" => no_more(&mut parser).and_then(|()| reproduce::run()),
        "test" => test::run(&steps(&mut parser)?),
        "tidy" => no_more(&mut parser).and_then(|()| tidy::run()),
        "rfc-matrix" => no_more(&mut parser).and_then(|()| matrix::run(&tidy::files()?)),
        "fuzz" => fuzz::run(seconds(&mut parser)?),
        "prompts" => no_more(&mut parser).and_then(|()| prompts::run()),
        "deny" => no_more(&mut parser).and_then(|()| deny::run()),
        "bench" => shell::cargo(["run", "--release", "-p", "dialtone-benches", "--"])
            .args(rest(&mut parser)?)
            .run(),
        other => bail!("no task `{other}`\n\n{USAGE}"),
    }
}

fn rest(parser: &mut lexopt::Parser) -> Result<Vec<OsString>> {
    Ok(parser.raw_args()?.collect())
}

fn no_more(parser: &mut lexopt::Parser) -> Result<()> {
    match parser.next()? {
        None => Ok(()),
        Some(argument) => Err(argument.unexpected().into()),
    }
}

fn steps(parser: &mut lexopt::Parser) -> Result<Vec<String>> {
    let mut steps = Vec::new();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("only") => steps.push(parser.value()?.string()?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    Ok(steps)
}

fn seconds(parser: &mut lexopt::Parser) -> Result<u32> {
    let mut seconds = fuzz::SMOKE_SECONDS;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seconds") => seconds = parser.value()?.parse()?,
            _ => return Err(argument.unexpected().into()),
        }
    }
    Ok(seconds)
}
