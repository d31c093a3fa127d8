//! Keys of a phone that presses them as tones, since it may not agree to telephone events.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use interop::baresip::Account;
use interop::wait::until;
use interop::{Baresip, Lab, Server, peer, rtp};
use serde_json::Value;

const DIALPLAN: &str = r#"
[[extension]]
number = "801"
steps = [{ conference = "801", pin = "4711" }]

[[extension]]
number = "1002"
steps = [{ dial = "{number}" }]
"#;

const USERS: &str = r#"
[user.1001]
password = "pw-1001-secret"
dtmf = "inband"

[user.1002]
password = "pw-1002-secret"
"#;

fn server(lab: &Lab) -> Result<Server> {
    std::fs::write(lab.site().etc()?.join("users.toml"), USERS)?;
    std::fs::write(lab.path("srv/etc/dialplan.toml"), DIALPLAN)?;
    lab.server()
}

/// ITU-T Q.23, Q.24.
#[test]
fn a_pin_is_pressed_as_tones() -> Result<()> {
    Lab::run("dtmf-pin", &[peer::BARESIP], |lab| {
        let server = server(lab)?;
        let password = server.password("1001")?;
        for codec in ["PCMU/8000/1", "G722/16000/1"] {
            let mut alice = Account::new("1001", &password, server.sip());
            (alice.keys, alice.codecs) = (Some("4711#"), codec);
            let mut alice = Baresip::register(lab, &alice)?;
            alice.dial("801")?;
            alice.event("CALL_ESTABLISHED")?;
            until("the participant in the room", PATIENCE, || {
                let output = server.ctl(&["rooms", "--json"])?;
                let rooms: Value =
                    serde_json::from_slice(&output.stdout).context("parse the rooms")?;
                Ok(rooms[0]["participants"][0]["name"].as_str().map(drop))
            })?;
            alice.hang_up()?;
            alice.quit()?;
        }
        server.settles()
    })
}

/// RFC 4733 §2.1: tones of one phone are events for the other.
#[test]
fn rfc4733_2_1_tones_of_one_phone_are_events_for_the_other() -> Result<()> {
    Lab::run("dtmf-events", &[peer::BARESIP], |lab| {
        let server = server(lab)?;
        let passwords = (server.password("1001")?, server.password("1002")?);
        let mut alice = Account::new("1001", &passwords.0, server.sip());
        alice.keys = Some("159D#0");
        let mut bob = Account::new("1002", &passwords.1, server.sip());
        bob.answers = true;
        let mut bob = Baresip::register(lab, &bob)?;
        let mut alice = Baresip::register(lab, &alice)?;
        alice.dial("1002")?;
        alice.event("CALL_ESTABLISHED")?;
        let (first, last) = bob.media();
        until("the keys as events", PATIENCE, || {
            let packets = lab.trace()?.rtp()?;
            let keys = events(packets.iter().filter(|p| (first..=last).contains(&p.to)));
            ensure!("159D#0".starts_with(&keys), "{keys}");
            Ok((keys.len() == 6).then_some(()))
        })?;
        alice.hang_up()?;
        bob.event("CALL_CLOSED")?;
        server.settles()
    })
}

/// The keys whose end is told of, each once.
fn events<'a>(packets: impl Iterator<Item = &'a rtp::Packet>) -> String {
    let mut keys = String::new();
    let mut ended = false;
    for packet in packets.filter(|packet| packet.payload.len() == 4) {
        let end = packet.payload[1] & 0x80 != 0;
        if end && !ended {
            let key = "0123456789*#ABCD".chars().nth(packet.payload[0].into());
            keys.push(key.unwrap_or('?'));
        }
        ended = end;
    }
    keys
}

const PATIENCE: Duration = Duration::from_secs(20);
