//! Calls that are passed on between real phones; those who are left hear each other.

use anyhow::Result;
use interop::baresip::Account;
use interop::capture::Trace;
use interop::{Baresip, Lab, Pjsua, peer, pjsua, rtp};
use serde_json::json;

#[test]
fn rfc5589_a_blind_transfer() -> Result<()> {
    Lab::run("blind-transfer", &[peer::BARESIP], |lab| {
        furnish(lab)?;
        let server = lab.server()?;
        let mut alice = phone(lab, "1001", 440.0, false)?;
        let mut bob = phone(lab, "1002", 1000.0, true)?;
        let mut carol = phone(lab, "1003", 1700.0, true)?;
        let trace = lab.trace()?;

        alice.dial("1002")?;
        alice.event("CALL_ESTABLISHED")?;
        alice.command("transfer", "1003")?;
        carol.event("CALL_ESTABLISHED")?;
        alice.event("CALL_CLOSED")?;

        hears(&trace, bob.media(), 1700.0)?;
        hears(&trace, carol.media(), 1000.0)?;
        carol.hang_up()?;
        bob.event("CALL_CLOSED")?;
        server.settles()
    })
}

#[test]
fn rfc5589_an_attended_transfer() -> Result<()> {
    let peers = [peer::BARESIP, peer::PJSUA2];
    Lab::run("attended-transfer", &peers, |lab| {
        furnish(lab)?;
        let server = lab.server()?;
        let mut alice = pjsua::Account::new("1001", "pw-1001-secret", server.sip());
        alice.hertz = 440.0;
        let mut alice = Pjsua::register(lab, &alice)?;
        let mut bob = phone(lab, "1002", 1000.0, true)?;
        let mut carol = phone(lab, "1003", 1700.0, true)?;
        let trace = lab.trace()?;

        let first = alice.dial("1002")?;
        alice.established()?;
        alice.give("hold", json!({ "call": first }))?;
        let second = alice.dial("1003")?;
        carol.event("CALL_ESTABLISHED")?;
        hears(&trace, alice.media(), 1700.0)?;
        alice.give(
            "transfer_to_call",
            json!({ "call": first, "other": second }),
        )?;
        alice.over()?;
        alice.over()?;

        hears(&trace, bob.media(), 1700.0)?;
        hears(&trace, carol.media(), 1000.0)?;
        carol.hang_up()?;
        bob.event("CALL_CLOSED")?;
        server.settles()
    })
}

#[test]
fn a_call_is_parked_and_fetched() -> Result<()> {
    Lab::run("park", &[peer::BARESIP], |lab| {
        furnish(lab)?;
        let server = lab.server()?;
        let mut alice = phone(lab, "1001", 440.0, false)?;
        let mut bob = phone(lab, "1002", 1000.0, true)?;
        let mut carol = phone(lab, "1003", 1700.0, false)?;
        let trace = lab.trace()?;

        alice.dial("1002")?;
        alice.event("CALL_ESTABLISHED")?;
        alice.command("transfer", "701")?;
        alice.event("CALL_CLOSED")?;
        carol.dial("701")?;
        carol.event("CALL_ESTABLISHED")?;
        hears(&trace, bob.media(), 1700.0)?;
        hears(&trace, carol.media(), 1000.0)?;
        carol.hang_up()?;
        bob.event("CALL_CLOSED")?;
        server.settles()
    })
}

#[test]
fn a_call_that_rings_is_picked_up_elsewhere() -> Result<()> {
    Lab::run("pickup", &[peer::BARESIP], |lab| {
        furnish(lab)?;
        let server = lab.server()?;
        let mut alice = phone(lab, "1001", 440.0, false)?;
        let mut bob = phone(lab, "1002", 1000.0, false)?;
        let mut carol = phone(lab, "1003", 1700.0, false)?;
        let trace = lab.trace()?;

        alice.dial("1002")?;
        bob.event("CALL_INCOMING")?;
        carol.dial("*81002")?;
        bob.event("CALL_CLOSED")?;
        carol.event("CALL_ESTABLISHED")?;
        hears(&trace, alice.media(), 1700.0)?;
        hears(&trace, carol.media(), 440.0)?;
        alice.hang_up()?;
        carol.event("CALL_CLOSED")?;
        server.settles()
    })
}

/// What arrives at these ports is a tone.
fn hears(trace: &Trace, phone: (u16, u16), hertz: f64) -> Result<()> {
    let packets = trace.next_rtp(phone, 75)?;
    rtp::pcmu(&packets).ensure_tone(hertz, 1.1)
}

/// Three users, and numbers to park at and to pick up by.
fn furnish(lab: &Lab) -> Result<()> {
    let users = ["1001", "1002", "1003"];
    lab.write_users(&users.map(|user| (user.into(), format!("pw-{user}-secret"))))?;
    std::fs::write(lab.path("srv/etc/dialplan.toml"), DIALPLAN)?;
    Ok(())
}

const DIALPLAN: &str = r#"
[[extension]]
number = "70Z"
steps = [{ park = "{number}" }]

[[extension]]
number = "*8."
strip = 2
steps = [{ pickup = "{number}" }]

[[extension]]
number = "."
steps = [{ dial = "{number}" }]
"#;

fn phone(lab: &mut Lab, user: &str, hertz: f64, answers: bool) -> Result<Baresip> {
    let password = format!("pw-{user}-secret");
    let mut account = Account::new(user, &password, lab.sip());
    account.hertz = hertz;
    account.answers = answers;
    Baresip::register(lab, &account)
}
