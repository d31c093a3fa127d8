//! The disk is full: no promise is made that can't be kept, and what was accepted stays.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use interop::wait::until;
use interop::{Lab, Server, peer};

#[test]
fn a_full_disk_refuses_registrations_and_keeps_the_others() -> Result<()> {
    Lab::run("full-disk", &[peer::SIPP], |lab| {
        let server = Server::start_on_small_disk(lab, 1024 * 1024)?;
        let (alice, bob) = (server.password("1001")?, server.password("1002")?);
        let phone = lab
            .sipp("register.xml")?
            .to(server.sip())
            .user("1002", &bob)?;
        let port = phone.port();
        phone.run()?;

        let ballast = server.data().join("ballast");
        fill(&ballast)?;
        // What is left of the journal's last page still takes some.
        let many = vec![("1001", &*alice); MANY];
        let registrations = lab.sipp("register.xml")?.to(server.sip()).users(many)?;
        ensure!(
            registrations.run().is_err(),
            "registrations are accepted without end"
        );
        let register = |lab: &mut Lab, scenario: &str| -> Result<()> {
            lab.sipp(scenario)?
                .to(server.sip())
                .user("1001", &alice)?
                .run()
        };
        register(lab, "register_no_room.xml")?;
        server.wait_for_log(&["bindings can't be written"])?;

        let callee = lab.sipp("answer.xml")?.at(port).start()?;
        let call = lab.sipp("call.xml")?.to(server.sip()).auth("1001", &alice);
        call.numbers(["1002"])?.run()?;
        callee.finish()?;

        fs::remove_file(&ballast)?;
        until(
            "registrations to be accepted again",
            Duration::from_secs(30),
            || Ok(register(lab, "register.xml").ok()),
        )?;
        server.stop()
    })
}

/// Registrations that certainly do not fit into 4096 octets.
const MANY: usize = 80;

/// Writes until nothing more fits.
fn fill(path: &Path) -> Result<()> {
    let mut size = 0_u64;
    for block in [64 * 1024, 4096, 1] {
        let bytes = vec![b'.'; block];
        loop {
            let mut file = fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)?;
            match std::io::Write::write_all(&mut file, &bytes) {
                Ok(()) => size += bytes.len() as u64,
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error).with_context(|| format!("{size} octets written")),
            }
        }
    }
    Ok(())
}
