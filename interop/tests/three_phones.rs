//! Phones of three makers talk to each other.

use anyhow::Result;
use interop::baresip::Account;
use interop::{Baresip, Lab, Linphone, Pjsua, peer, pjsua};
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
        trace.hears(alice.media(), 1000.0)?;
        trace.hears(bob.media(), 440.0)?;
        alice.give("hangup", json!({ "call": call }))?;
        bob.event("CALL_CLOSED")?;

        carol.type_line("call 1001")?;
        alice.accept()?;
        carol.see("Media streams established")?;
        trace.hears(alice.media(), 700.0)?;
        trace.hears(carol.media(), 440.0)?;
        carol.type_line("terminate")?;
        alice.over()?;
        server.settles()
    })
}
