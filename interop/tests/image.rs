//! The container image.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use interop::baresip::Account;
use interop::podman::{Container, Image};
use interop::{Baresip, Lab, peer};

#[test]
fn phones_call_through_a_container_that_may_do_nothing() -> Result<()> {
    Lab::run("image", &[peer::BARESIP, peer::PODMAN], |lab| {
        let image = Image::load(lab)?;
        ensure!(image.inspect("{{.User}}")? == "1000:1000");
        let server = Container::run(&image, lab, &[("DIALTONE_CALLS__DRAIN", "1m")])?;
        let passwords = (server.password("1001")?, server.password("1002")?);
        let mut alice = Account::new("1001", &passwords.0, lab.sip());
        alice.hertz = 440.0;
        let mut bob = Account::new("1002", &passwords.1, lab.sip());
        (bob.hertz, bob.answers) = (1000.0, true);
        let mut alice = Baresip::register(lab, &alice)?;
        let bob = Baresip::register(lab, &bob)?;
        let trace = lab.trace()?;

        alice.dial("1002")?;
        alice.event("CALL_ESTABLISHED")?;
        trace.hears(bob.media(), 440.0)?;
        // Told to end, it waits for those who talk and takes nobody on.
        server.terminate()?;
        trace.hears(alice.media(), 1000.0)?;
        let status = server.exec(&["status"])?;
        ensure!(status.contains("stopping"), "{status}");
        alice.hang_up()?;
        let code = server.wait()?;
        ensure!(code == "0", "it ended with {code}: {}", server.log()?);

        // What it knew it knows: nobody has registered anew.
        server.start()?;
        alice.dial("1002")?;
        alice.event("CALL_ESTABLISHED")?;
        trace.hears(alice.media(), 1000.0)?;
        alice.hang_up()
    })
}

/// The binary for arm64 is in `DIALTONE_BIN_ARM64`: `cargo xtask test --only arm64` builds it.
#[test]
fn an_image_for_arm64_serves_phones_and_may_do_nothing() -> Result<()> {
    let Some(binary) = std::env::var_os("DIALTONE_BIN_ARM64").map(PathBuf::from) else {
        eprintln!("skipped: DIALTONE_BIN_ARM64 names no binary");
        return Ok(());
    };
    let peers = [peer::BARESIP, peer::PODMAN, peer::QEMU];
    Lab::run("image-arm64", &peers, |lab| {
        let image = Image::load_for_arm64(lab, &binary)?;
        let what = image.inspect("{{.Os}}/{{.Architecture}} {{.User}}")?;
        ensure!(what == "linux/arm64 1000:1000", "{what}");
        let server = Container::run(&image, lab, &[])?;
        let password = server.password("1001")?;
        let mut account = Account::new("1001", &password, lab.sip());
        account.hertz = 440.0;
        let mut phone = Baresip::register(lab, &account)?;
        let phones = server.exec(&["phones", "--json"])?;
        ensure!(phones.contains("1001"), "{phones}");
        let trace = lab.trace()?;

        phone.dial("600")?;
        phone.event("CALL_ESTABLISHED")?;
        trace.hears(phone.media(), 440.0)?;
        phone.hang_up()?;
        phone.event("CALL_CLOSED")?;
        server.terminate()?;
        let code = server.wait()?;
        ensure!(code == "0", "it ended with {code}: {}", server.log()?);

        // What it knew it knows: nobody has registered anew.
        server.start()?;
        let phones = server.exec(&["phones", "--json"])?;
        ensure!(phones.contains("1001"), "{phones}");
        Ok(())
    })
}

#[test]
fn the_same_binary_makes_the_same_image() -> Result<()> {
    Lab::run_quietly("image-twice", |lab| {
        let one = std::fs::read(Image::archive(lab, "one.tar")?)?;
        let other = std::fs::read(Image::archive(lab, "other.tar")?)?;
        ensure!(one == other, "the archives differ");
        Ok(())
    })
}
