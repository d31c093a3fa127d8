//! aiortc: WebRTC of other hands than a browser's, at a phone that speaks SIP over UDP.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use interop::baresip::Account;
use interop::driven::{Driven, program};
use interop::wait::until;
use interop::{Baresip, Lab, Server, peer};
use serde_json::{Value, json};

/// The user has `webrtc = true`: nothing else tells that this is no ordinary phone.
#[test]
fn rfc8835_3_4_aiortc_hears_the_server_s_tone_and_its_own_voice() -> Result<()> {
    with_aiortc("aiortc-served", |_, _, phone| {
        for (number, hertz) in [("601", 1004.0), ("600", 440.0)] {
            let answer = phone.give("call", json!({ "to": number }))?;
            let sdp = answer["sdp"].as_str().context("no answer")?;
            for line in [
                "UDP/TLS/RTP/SAVPF",
                "a=setup:passive",
                "a=ice-lite",
                "a=rtcp-mux",
            ] {
                ensure!(sdp.contains(line), "{line} is missing: {sdp}");
            }
            hears(phone, hertz)?;
            phone.give("hangup", json!({}))?;
        }
        Ok(())
    })
}

#[test]
fn rfc5763_5_aiortc_calls_a_phone_and_is_called_by_it() -> Result<()> {
    with_aiortc("aiortc-phone", |lab, server, phone| {
        let mut account = Account::new("1002", "secret-1002", server.sip());
        (account.hertz, account.answers) = (1000.0, true);
        let mut bob = Baresip::register(lab, &account)?;
        phone.give("call", json!({ "to": "1002" }))?;
        hears(phone, 1000.0)?;
        bob.hear(3.0)?;
        phone.give("hangup", json!({}))?;
        bob.event("CALL_CLOSED")?;
        bob.heard()?.ensure_tone(440.0, 3.0)?;

        bob.dial("1001")?;
        let offer = phone.event("incoming")?;
        let sdp = offer["sdp"].as_str().context("no offer")?;
        ensure!(sdp.contains("a=setup:actpass"), "{sdp}");
        phone.give("answer", json!({}))?;
        bob.event("CALL_ESTABLISHED")?;
        hears(phone, 1000.0)?;
        bob.hang_up()?;
        phone.event("ended").map(drop)
    })
}

/// Waits until it hears a second of this tone and hardly anything else.
fn hears(phone: &mut Driven, hertz: f64) -> Result<()> {
    let mut heard = Value::Null;
    let found = until("a tone at aiortc", Duration::from_secs(30), || {
        heard = phone.give("hear", json!({}))?;
        let number = |name: &str| heard[name].as_f64().unwrap_or(0.0);
        let right = (number("hertz") - hertz).abs() < 12.0 && number("purity") > 0.8;
        Ok((right && number("loud") > 500.0).then_some(()))
    });
    found.with_context(|| format!("{hertz} Hz is not heard, but {heard}"))
}

/// Runs a test at a server with two users, of whom the first one has aiortc.
fn with_aiortc(
    name: &str,
    test: impl FnOnce(&mut Lab, &Server, &mut Driven) -> Result<()>,
) -> Result<()> {
    Lab::run(name, &[peer::AIORTC, peer::BARESIP], |lab| {
        lab.site().configure(
            "[user.1001]\npassword = \"secret-1001\"\nwebrtc = true\n\
             [user.1002]\npassword = \"secret-1002\"\n",
        )?;
        let server = lab.server()?;
        let settings = json!({
            "user": "1001",
            "password": "secret-1001",
            "server": [server.sip().ip(), server.sip().port()],
            "hertz": 440.0,
        });
        let folder = lab.folder("aiortc")?;
        let file = folder.join("settings.json");
        fs::write(&file, settings.to_string())?;
        let python = peer::folder(&peer::AIORTC)?.join("bin/python");
        let mut command = Command::new(python);
        command.arg(program("aiortc_phone.py")).arg(&file);
        let mut phone = Driven::start(&mut command, &folder.join("driver.log"))?;
        phone.give("register", json!({}))?;
        test(lab, &server, &mut phone)?;
        server.settles()
    })
}
