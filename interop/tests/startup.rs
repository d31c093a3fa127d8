//! Starts that must fail, with one line that says why.

use std::net::TcpListener;

use anyhow::{Result, ensure};
use interop::{Lab, server};

#[test]
fn a_port_that_is_taken() -> Result<()> {
    Lab::run_quietly("port-taken", |lab| {
        let taken = TcpListener::bind(lab.sip())?;
        fails_and_names(lab, &[], &taken.local_addr()?.to_string())
    })
}

#[test]
fn a_wrong_value_on_the_command_line() -> Result<()> {
    Lab::run_quietly("wrong-value", |lab| {
        fails_and_names(lab, &[("media.ports", "lots")], "media.ports")
    })
}

#[test]
fn a_wrong_value_in_a_file() -> Result<()> {
    Lab::run_quietly("wrong-file", |lab| {
        lab.write_users(&[])?;
        let etc = lab.folder("srv/etc")?;
        std::fs::write(
            etc.join("dialtone.toml"),
            "# Mine.\n[calls]\nring_timeout = \"soon\"\n",
        )?;
        fails_and_names(lab, &[], "dialtone.toml:3")
    })
}

/// The server ends with another code than 0, and few lines say what is wrong, `what` among it.
fn fails_and_names(lab: &Lab, settings: &[(&str, &str)], what: &str) -> Result<()> {
    let (status, said) = server::refusal(lab, settings)?;
    ensure!(
        status.code().is_some_and(|code| code != 0),
        "ended with {status}"
    );
    ensure!(said.contains(what), "`{what}` is not named in:\n{said}");
    ensure!(
        said.lines().count() <= 12,
        "that is no short answer:\n{said}"
    );
    ensure!(!said.contains("panicked"), "a panic:\n{said}");
    Ok(())
}
