//! Phones of three makers talk to each other.

use anyhow::Result;
use interop::baresip::Account;
use interop::capture::Trace;
use interop::{Baresip, Lab, Linphone, Pjsua, peer, pjsua, rtp};
use serde_json::json;

#[test]
fn each_calls_the_next() -> Result<()> {
    let peers = [peer::BARESIP, peer::LINPHONE, peer::PJSUA2];
    Lab::run("three-phones", &peers, |lab| {
        lab.write_users(&["1001", "1002", "1003"].map(|user| (user.into(), format!("pw-{user}"))))?;
        let server = lab.server()?;
        let trace = lab.trace()?;
        let mut alice = pjsua::Account::new("1001", "pw-1001", server.sip());
        alice.hertz = 440.0;
        let mut alice = Pjsua::register(lab, &alice)?;
        let mut bob = Account::new("1002", "pw-1002", server.sip());
        bob.hertz = 1000.0;
        bob.answers = true;
        let mut bob = Baresip::register(lab, &bob)?;
        let mut carol = Linphone::register(lab, server.sip(), "1003", "pw-1003", 700.0)?;

        let call = alice.dial("1002")?;
        alice.established()?;
        hears(&trace, alice.media(), 1000.0)?;
        hears(&trace, bob.media(), 440.0)?;
        alice.give("hangup", json!({ "call": call }))?;
        bob.event("CALL_CLOSED")?;

        carol.type_line("call 1001")?;
        alice.accept()?;
        carol.see("Media streams established")?;
        hears(&trace, alice.media(), 700.0)?;
        hears(&trace, carol.media(), 440.0)?;
        carol.type_line("terminate")?;
        alice.over()?;
        server.settles()
    })
}

/// What arrives at these ports is a tone.
fn hears(trace: &Trace, phone: (u16, u16), hertz: f64) -> Result<()> {
    let packets = trace.next_rtp(phone, 75)?;
    rtp::pcmu(&packets).ensure_tone(hertz, 1.4)
}
