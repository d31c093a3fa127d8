//! The Debian package in a system that systemd runs: the service, its sandbox, its journal.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use interop::booted::{self, Booted};
use interop::debian::{Package, System};
use interop::process::Process;
use interop::wait::until;
use interop::{Lab, peer, server};
use serde_json::Value;

#[test]
fn the_service_of_the_package_is_run_by_systemd() -> Result<()> {
    Lab::run_quietly("systemd", |lab| {
        if !peer::ensure_all(&[peer::DEBOOTSTRAP])? {
            return Ok(());
        }
        if let Some(lack) = booted::lacks(lab)? {
            eprintln!("skipped: no system can be started in name spaces here: {lack}");
            return Ok(());
        }
        let package = Package::build(lab, &server::binary()?, "amd64")?;
        let system = System::make_bootable(lab)?;
        let booted = Booted::boot(lab, &system)?;
        booted.install(&package)?;
        serves(&booted)?;
        speaks_to_the_journal(&booted)?;
        waits_for_calls(lab, &system, &booted)?;
        needs_a_right_configuration(&system, &booted)?;
        comes_back(&system, &booted)?;
        let newer = package.revised(lab, "99.0.0", "# Theirs.", &[])?;
        is_upgraded(lab, &system, &booted, &newer)?;
        may_more(&system, &booted)?;
        goes(&booted)
    })
}

/// When it counts as started it serves, behind the walls of its unit: sound comes, clear and encrypted.
fn serves(booted: &Booted<'_>) -> Result<()> {
    booted.run(&["dialtone", "health"])?;
    booted.run(&["dialtone", "user", "add", "1001"])?;
    booted.run(&["systemctl", "reload", SERVICE])?;
    let users = booted.run(&["dialtone", "user", "list"])?;
    ensure!(users.contains("1001"), "{users}");
    for way in [&[][..], &["--srtp"], &["--transport", "tls"]] {
        let call = ["dialtone", "dial", "601", "--seconds", "1", "--json"];
        let said = booted.run(&[&call[..], way].concat())?;
        let call: Value = serde_json::from_str(&said)?;
        ensure!(call["packets"].as_u64() > Some(30), "{call}");
    }
    let state = booted.run(&["systemctl", "show", "-p", "StatusText", SERVICE])?;
    ensure!(state == "StatusText=serving", "{state}");
    let sandbox = ["systemd-analyze", "security", "--threshold=16", SERVICE];
    booted.run(&sandbox).context("rights that it had not")?;
    let unit = "/lib/systemd/system/dialtone.service";
    let verify = ["systemd-analyze", "verify", "--man=no", unit];
    booted.run(&verify).map(drop)
}

/// Lines have no time of their own, and an urgency.
fn speaks_to_the_journal(booted: &Booted<'_>) -> Result<()> {
    let all = journal(booted, "info")?;
    let ready = "INFO dialtone::server: ready";
    let is_ready = |line: &str| line.trim_start().starts_with(ready);
    ensure!(all.lines().any(is_ready), "{all}");
    let warnings = journal(booted, "warning")?;
    ensure!(
        warnings.contains("no certificate is configured") && !warnings.contains("INFO"),
        "{warnings}"
    );
    Ok(())
}

/// Restarted, it waits for those who talk.
fn waits_for_calls(lab: &Lab, system: &System, booted: &Booted<'_>) -> Result<()> {
    change(system, "drain = \"off\"", "drain = \"1m\"")?;
    booted.run(&["systemctl", "reload", SERVICE])?;
    let call = call(lab, booted, "restart")?;
    let before = property(booted, "MainPID")?;
    booted.run(&["systemctl", "restart", SERVICE])?;
    ensure!(property(booted, "MainPID")? != before, "it is the old one");
    was_whole(call)
}

/// A wrong configuration is refused while it runs; it is not started with one until it is right.
fn needs_a_right_configuration(system: &System, booted: &Booted<'_>) -> Result<()> {
    change(system, "drain = \"1m\"", "drian = \"1m\"")?;
    let reloaded = booted.run(&["systemctl", "reload", SERVICE]);
    ensure!(reloaded.is_err(), "a wrong configuration is taken");
    booted.run(&["systemctl", "is-active", SERVICE])?;
    let restarted = booted.run(&["systemctl", "restart", SERVICE]);
    ensure!(restarted.is_err(), "it starts with a wrong configuration");
    let state = ["ActiveState", "ExecMainStatus", "NRestarts"];
    let state: Vec<_> = state.iter().map(|name| property(booted, name)).collect();
    let state = state.into_iter().collect::<Result<Vec<_>>>()?;
    ensure!(state == ["failed", "78", "0"], "{state:?}");
    let errors = journal(booted, "err")?;
    ensure!(
        errors.contains("drian") && errors.contains("remedy:"),
        "{errors}"
    );
    change(system, "drian = \"1m\"", "drain = \"1m\"")?;
    booted.run(&["systemctl", "start", SERVICE])?;
    booted.run(&["dialtone", "health"]).map(drop)
}

/// After a crash, and from an address that the machine gets only later.
fn comes_back(system: &System, booted: &Booted<'_>) -> Result<()> {
    let before = property(booted, "MainPID")?;
    booted.run(&["systemctl", "kill", "-s", "KILL", SERVICE])?;
    until("another server", PATIENCE, || {
        let now = property(booted, "MainPID")?;
        let healthy = booted.run(&["dialtone", "health"]).is_ok();
        Ok((now != before && healthy).then_some(()))
    })?;
    let environment = system.path("etc/default/dialtone");
    let shipped = std::fs::read_to_string(&environment)?;
    let listen = "DIALTONE_SIP__LISTEN=[\"udp:192.0.2.7:5060\"]\n";
    std::fs::write(&environment, format!("{shipped}{listen}"))?;
    let restarted = booted.run(&["systemctl", "restart", SERVICE]);
    ensure!(restarted.is_err(), "it listens where nothing is");
    // More often than systemd has patience by itself.
    until("seven tries", PATIENCE, || {
        let tries: u32 = property(booted, "NRestarts")?.parse()?;
        Ok((tries >= 7).then_some(()))
    })?;
    booted.add_address("192.0.2.7/32")?;
    until("a server at the address", PATIENCE, || {
        Ok((property(booted, "ActiveState")? == "active").then_some(()))
    })?;
    std::fs::write(&environment, shipped)?;
    booted.run(&["systemctl", "restart", SERVICE]).map(drop)
}

/// A call goes on while a new version comes, and the configuration stays.
fn is_upgraded(lab: &Lab, system: &System, booted: &Booted<'_>, newer: &Package) -> Result<()> {
    let call = call(lab, booted, "upgrade")?;
    let before = property(booted, "MainPID")?;
    booted.install(newer)?;
    ensure!(property(booted, "MainPID")? != before, "it is the old one");
    booted.run(&["dialtone", "health"])?;
    ensure!(system.contains("etc/dialtone/dialtone.toml", "drain = \"1m\"")?);
    ensure!(system.contains("etc/dialtone/users.toml", "[user.1001]")?);
    was_whole(call)
}

/// With the rights that docs/guide/debian.md gives for it, calls pass in the kernel, also as a relay.
fn may_more(system: &System, booted: &Booted<'_>) -> Result<()> {
    let guide = include_str!("../../docs/guide/debian.md");
    let rights = guide.split("```").find(|text| text.contains("[Service]"));
    let rights = rights.context("the guide gives no rights")?;
    let folder = system.path("etc/systemd/system/dialtone.service.d");
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("override.conf"), rights.trim())?;
    booted.run(&["systemctl", "daemon-reload"])?;
    booted.add_ethernet("192.0.2.8/24")?;
    let environment = system.path("etc/default/dialtone");
    for role in ["pbx", "relay"] {
        std::fs::write(&environment, format!("DIALTONE_ROLE={role}\n"))?;
        booted.run(&["systemctl", "restart", SERVICE])?;
        booted.run(&["dialtone", "health"])?;
        let id = property(booted, "InvocationID")?;
        let of_this = format!("_SYSTEMD_INVOCATION_ID={id}");
        until("calls in the kernel", PATIENCE, || {
            booted.run(&["journalctl", "--sync"])?;
            let lines = booted.run(&["journalctl", "-o", "cat", &of_this])?;
            let passes = lines.contains("established streams pass in the kernel");
            Ok(passes.then_some(()))
        })?;
    }
    std::fs::remove_dir_all(folder)?;
    booted.run(&["systemctl", "daemon-reload"]).map(drop)
}

/// Stopped it has not failed; removed it is stopped; purged it has never been there.
fn goes(booted: &Booted<'_>) -> Result<()> {
    booted.run(&["systemctl", "stop", SERVICE])?;
    ensure!(property(booted, "Result")? == "success");
    booted.run(&["systemctl", "start", SERVICE])?;
    booted.run(&["dpkg", "--remove", "dialtone"])?;
    ensure!(property(booted, "ActiveState")? == "inactive");
    booted.run(&["dpkg", "--purge", "dialtone"])?;
    ensure!(property(booted, "LoadState")? == "not-found");
    let state = booted.run(&["systemctl", "is-system-running"])?;
    ensure!(state == "running", "{state}");
    Ok(())
}

/// A call that lasts a while, after its answer.
fn call(lab: &Lab, booted: &Booted<'_>, name: &str) -> Result<Process> {
    let log = lab.path(&format!("{name}.log"));
    let call = booted.start(&["dialtone", "dial", "600", "--seconds", "5"], &log)?;
    until("the answer", PATIENCE, || {
        Ok(call.output()?.contains("answered").then_some(()))
    })?;
    Ok(call)
}

/// It has lasted as long as its caller wanted.
fn was_whole(mut call: Process) -> Result<()> {
    let status = call.end(PATIENCE)?;
    let said = call.output()?;
    ensure!(
        status.success() && said.contains("the time is over"),
        "{status}: {said}"
    );
    Ok(())
}

/// What the journal has of the service, of this urgency and above.
fn journal(booted: &Booted<'_>, urgency: &str) -> Result<String> {
    booted.run(&["journalctl", "--sync"])?;
    let lines = ["journalctl", "-o", "cat", "-u", SERVICE, "-p", urgency];
    booted.run(&lines)
}

fn property(booted: &Booted<'_>, name: &str) -> Result<String> {
    booted.run(&["systemctl", "show", "--value", "-p", name, SERVICE])
}

/// Changes a line of the configuration.
fn change(system: &System, from: &str, to: &str) -> Result<()> {
    let path = system.path("etc/dialtone/dialtone.toml");
    let text = std::fs::read_to_string(&path)?;
    ensure!(text.contains(from), "there is no {from}");
    Ok(std::fs::write(path, text.replace(from, to))?)
}

const SERVICE: &str = "dialtone.service";
const PATIENCE: Duration = Duration::from_secs(60);
