//! Calls whose media pass in the kernel: the binary that users get in one network namespace, phones in another. Where
//! the system does not allow that, the test says so and ends.

#[path = "../../core/xdp/tests/net/mod.rs"]
mod net;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use interop::process::Process;
use interop::server::binary;
use interop::wait::until;
use net::Network;
use serde_json::Value;

const CALLS: u64 = 10;
const SECONDS: u64 = 8;
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn calls_pass_in_the_kernel_and_records_are_as_ever() -> Result<()> {
    let Some(network) = Network::new(1) else {
        return Ok(());
    };
    network.make_checksums();
    let data = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("kernel");
    let mut server = start(&network, &data)?;
    let media = call(&network)?;
    let count = |name: &str| media[name].as_u64().context("no such count");
    let sent = count("sent")?;
    ensure!(sent > CALLS * 2 * 50 * (SECONDS - 2), "{media}");
    ensure!(
        (count("received")?, count("lost")?, count("silent")?) == (sent, 0, 0),
        "{media}"
    );
    // SIP and the first seconds of each stream; the rest has passed them by.
    let came = network.received();
    ensure!(
        came < sent / 2,
        "{came} of {sent} packets came to the workers"
    );
    let records = until("the records of all calls", PATIENCE, || {
        let records = records(&data)?;
        Ok((records.len() as u64 == CALLS).then_some(records))
    })?;
    let sides = ["from_caller", "from_callee"];
    let figures = || {
        records
            .iter()
            .flat_map(|record| sides.map(|side| &record[side]))
    };
    let packets = figures()
        .filter_map(|side| side["packets"].as_u64())
        .sum::<u64>();
    ensure!(
        packets == sent,
        "{packets} of {sent} packets are in the records"
    );
    let judged = figures().all(|side| side["lost"] == 0 && side["mos"].as_f64() > Some(4.0));
    ensure!(judged, "{records:?}");
    ensure!(network.links().contains("prog/xdp"));
    ensure!(server.stop(PATIENCE)?.success());
    ensure!(
        !network.links().contains("xdp"),
        "something was left behind"
    );
    Ok(fs::remove_dir_all(data)?)
}

/// A server at the relay's place, with a user for each end of each call.
fn start(network: &Network, data: &Path) -> Result<Process> {
    let etc = data.join("etc");
    if data.exists() {
        fs::remove_dir_all(data)?;
    }
    fs::create_dir_all(&etc)?;
    let user = |n| format!("[user.u{n}]\npassword = \"pw{n}\"\n");
    fs::write(
        etc.join("users.toml"),
        (0..2 * CALLS).map(user).collect::<String>(),
    )?;
    let plan = "[[extension]]\nnumber = \".\"\nsteps = [{ dial = \"{number}\" }]\n";
    fs::write(etc.join("dialplan.toml"), plan)?;
    let mut command = Command::new(binary()?);
    command.arg("run").arg("--data").arg(data);
    for setting in [
        "http.listen=[]",
        "sip.listen=[\"udp:10.77.0.1:5060\"]",
        "sip.realm=dial.test",
        "media.kernel=auto",
    ] {
        command.args(["--set", setting]);
    }
    command.env("SYSLOG_LEVEL", "7");
    let server = network.relay(|| Process::start(&mut command, &data.with_extension("log")))?;
    until("a word about the kernel", PATIENCE, || {
        let line = "established streams pass in the kernel";
        Ok(server.output()?.contains(line).then_some(()))
    })?;
    Ok(server)
}

/// Calls by SIP, with speech both ways; what has become of the packets.
fn call(network: &Network) -> Result<Value> {
    let mut command = Command::new(binary()?);
    command.args([
        "load",
        "rtp",
        "--json",
        "--allow-remote",
        "--target",
        "10.77.0.1:5060",
    ]);
    command.args(["--local", "10.77.0.2", "--domain", "dial.test"]);
    for (name, number) in [
        ("--calls", CALLS),
        ("--users", CALLS),
        ("--seconds", SECONDS),
    ] {
        command.arg(name).arg(number.to_string());
    }
    let output = network.neighbour(0, || command.output())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&text)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok(report["media"].clone())
}

fn records(data: &Path) -> Result<Vec<Value>> {
    let mut records = Vec::new();
    for file in fs::read_dir(data.join("cdr"))? {
        let text = fs::read_to_string(file?.path())?;
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines() {
            records.push(serde_json::from_str(line)?);
        }
    }
    Ok(records)
}
