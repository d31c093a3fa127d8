//! What `dialtone trace` writes and what a capture server gets, read by other people's programs.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use interop::capture::Trace;
use interop::process::Process;
use interop::wait::until;
use interop::{Baresip, Lab, Pjsua, Server, baresip, driven, peer, pjsua, server};
use rustix::process::Signal;
use serde_json::{Value, json};

#[test]
fn wireshark_reads_every_message_and_tls_in_clear() -> Result<()> {
    Lab::run("trace-file", &[peer::BARESIP, peer::PJSUA2], |lab| {
        let users =
            "[user.1001]\npassword = \"secret-1001\"\n[user.1002]\npassword = \"secret-1002\"\n";
        lab.site().configure(users)?;
        let authority = lab.authority()?;
        let server = lab.server_with_tls(&authority)?;
        let (file, log) = (lab.path("trace.pcapng"), lab.path("trace.log"));
        let mut command = Command::new(server::binary()?);
        command.args(["trace", "--write"]).arg(&file);
        command.arg("--data").arg(server.data());
        let mut trace = Process::start(&mut command, &log)?;
        until("the start of the trace", Duration::from_secs(20), || {
            Ok(trace
                .output()?
                .contains("waiting for messages")
                .then_some(()))
        })?;

        let (tls, root) = (lab.site().tls, authority.root());
        let mut alice = pjsua::Account::new("1001", "secret-1001", tls);
        (alice.transport, alice.trusts) = ("tls", Some(root.as_path()));
        let mut alice = Pjsua::register(lab, &alice)?;
        let mut bob = baresip::Account::new("1002", "secret-1002", server.sip());
        bob.answers = true;
        let mut bob = Baresip::register(lab, &bob)?;
        let call = alice.dial("1002")?;
        alice.established()?;
        alice.give("hangup", json!({ "call": call }))?;
        bob.event("CALL_CLOSED")?;

        let written = Trace::of(&file);
        until("both ends of the call", Duration::from_secs(20), || {
            let over = "sip.CSeq.method == \"BYE\" && sip.Status-Code == 200";
            Ok((written.read(over, &["frame.number"])?.len() == 2).then_some(()))
        })?;
        trace.signal(Signal::INT)?;
        trace.end(Duration::from_secs(10))?;

        same_as_on_the_wire(&written, &lab.trace()?, server.sip().port())?;
        one_call(&written)?;
        let encrypted = format!(
            "frame.comment matches \"^tls\" && exported_pdu.dst_port == {}",
            tls.port()
        );
        let seen = written.read(&encrypted, &["sip.Method"])?;
        for method in ["REGISTER", "INVITE", "ACK", "BYE"] {
            ensure!(
                seen.iter().any(|seen| seen == method),
                "no {method} over TLS: {seen:?}"
            );
        }
        let broken = written.read("_ws.malformed || !sip", &["frame.number"])?;
        ensure!(broken.is_empty(), "not SIP to tshark: {broken:?}");
        server.settles()
    })
}

/// The messages over UDP are those that were captured, in each direction in the same order.
fn same_as_on_the_wire(written: &Trace, wire: &Trace, port: u16) -> Result<()> {
    let message = ["sip.Method", "sip.Status-Code", "sip.CSeq", "sip.Call-ID"];
    for side in ["src", "dst"] {
        let (ours, theirs) = if side == "src" {
            ("src", "dst")
        } else {
            ("dst", "src")
        };
        let (pdu, udp) = (
            format!("exported_pdu.{theirs}_port"),
            format!("udp.{theirs}port"),
        );
        let filter = format!(
            "{NO_PROBE} && frame.comment matches \"^udp\" && exported_pdu.{ours}_port == {port}"
        );
        let written = written.read(&filter, &[&[&*pdu][..], &message].concat())?;
        let filter = format!("sip && {NO_PROBE} && udp.{ours}port == {port}");
        let wire = wire.read(&filter, &[&[&*udp][..], &message].concat())?;
        ensure!(written.len() > 3, "there is next to nothing: {written:?}");
        ensure!(
            wire == written,
            "on the wire:\n{}\nwritten:\n{}",
            wire.join("\n"),
            written.join("\n")
        );
    }
    Ok(())
}

/// Somebody asked whether the server is there before the trace began.
const NO_PROBE: &str = "sip.CSeq.method != \"OPTIONS\"";

/// The INVITEs of both legs name one call.
fn one_call(written: &Trace) -> Result<()> {
    let comments = written.read("sip.Method == \"INVITE\"", &["frame.comment"])?;
    let calls: BTreeSet<_> = comments
        .iter()
        .map(|comment| comment.split_once(", call "))
        .collect();
    let named: BTreeSet<_> = calls.iter().flatten().map(|(_, call)| call).collect();
    let transports: BTreeSet<_> = calls
        .iter()
        .flatten()
        .map(|(transport, _)| *transport)
        .collect();
    ensure!(
        named.len() == 1 && transports == BTreeSet::from(["tls", "udp"]) && !calls.contains(&None),
        "{comments:?}"
    );
    Ok(())
}

#[test]
fn a_capture_server_gets_both_legs_of_a_call_as_one() -> Result<()> {
    let peers = [peer::BARESIP, peer::NODE, peer::HEP_JS];
    Lab::run("trace-hep", &peers, |lab| {
        let collector = UdpSocket::bind("127.0.0.1:0")?;
        collector.set_read_timeout(Some(Duration::from_secs(20)))?;
        let hep = format!("udp:{}", collector.local_addr()?);
        let settings = [
            ("trace.hep", &*hep),
            ("trace.hep_key", "secret"),
            ("trace.hep_node", "pbx-1"),
        ];
        let server = Server::start(lab, &settings)?;
        let passwords = (server.password("1001")?, server.password("1002")?);
        let mut alice = baresip::Account::new("1001", &passwords.0, server.sip());
        alice.transport = "tcp";
        let mut alice = Baresip::register(lab, &alice)?;
        let mut bob = baresip::Account::new("1002", &passwords.1, server.sip());
        bob.answers = true;
        let mut bob = Baresip::register(lab, &bob)?;
        alice.dial("1002")?;
        alice.event("CALL_ESTABLISHED")?;
        alice.hang_up()?;
        bob.event("CALL_CLOSED")?;

        let mut packets = Vec::new();
        let mut byes = 0;
        while byes < 2 {
            let mut buffer = [0; 65_536];
            let length = collector
                .recv(&mut buffer)
                .context("two BYEs did not come")?;
            byes += usize::from(contains(&buffer[..length], b"BYE sip:"));
            packets.push(buffer[..length].to_vec());
        }
        let decoded = decode(lab, &packets)?;
        let invites: Vec<_> = decoded
            .iter()
            .filter(|packet| is_request(packet, "INVITE"))
            .collect();
        ensure!(invites.len() >= 2, "{decoded:?}");
        let call = &invites[0]["rcinfo"]["correlation_id"];
        for invite in &invites {
            let info = &invite["rcinfo"];
            ensure!(
                call.is_string() && info["correlation_id"] == *call,
                "another call: {info}"
            );
            let sent = info["srcPort"] == server.sip().port();
            let protocol = if sent { 17 } else { 6 };
            ensure!(
                info["protocol"] == protocol && info["payloadType"] == 1,
                "{info}"
            );
            ensure!(sent || info["dstPort"] == server.sip().port(), "{info}");
            ensure!(
                info["captureId"] == 2001 && info["capturePass"] == "secret",
                "{info}"
            );
            ensure!(
                info["hepNodeName"] == "pbx-1" && info["srcIp"] == "127.0.0.1",
                "{info}"
            );
        }
        ensure!(
            decoded.iter().any(|packet| is_request(packet, "REGISTER")),
            "{decoded:?}"
        );
        server.settles()
    })
}

/// The packets as hep-js understands them.
fn decode(lab: &Lab, packets: &[Vec<u8>]) -> Result<Vec<Value>> {
    let hex = |packet: &Vec<u8>| {
        packet
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect::<String>()
    };
    let lines: Vec<_> = packets.iter().map(hex).collect();
    let file = lab.path("packets.hex");
    std::fs::write(&file, lines.join("\n"))?;
    let output = Command::new("node")
        .arg(driven::program("hep_decode.cjs"))
        .arg(peer::folder(&peer::HEP_JS)?)
        .arg(&file)
        .output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "hep-js: {errors}");
    let text = String::from_utf8(output.stdout)?;
    let read = |line| serde_json::from_str(line).with_context(|| format!("read {line}"));
    text.lines().map(read).collect()
}

fn is_request(packet: &Value, method: &str) -> bool {
    let payload = packet["payload"].as_str().unwrap_or_default();
    payload.starts_with(method)
}

fn contains(octets: &[u8], text: &[u8]) -> bool {
    octets.windows(text.len()).any(|window| window == text)
}
