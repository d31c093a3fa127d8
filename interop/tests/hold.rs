//! Linphone calls baresip, holds, resumes and hangs up.

use anyhow::Result;
use interop::baresip::Account;
use interop::capture::Trace;
use interop::{Baresip, Lab, Linphone, peer, rtp};

#[test]
fn a_held_call_goes_on() -> Result<()> {
    Lab::run("hold", &[peer::BARESIP, peer::LINPHONE], |lab| {
        let server = lab.server()?;
        let password = server.password("1002")?;
        let mut bob = Account::new("1002", &password, server.sip());
        bob.answers = true;
        bob.hertz = 1000.0;
        let mut bob = Baresip::register(lab, &bob)?;
        let password = server.password("1001")?;
        let mut alice = Linphone::register(lab, server.sip(), "1001", &password, 440.0)?;
        let trace = lab.trace()?;

        alice.type_line("call 1002")?;
        alice.see("Media streams established")?;
        they_talk(&trace, &alice, &bob)?;

        alice.type_line("pause")?;
        alice.see("is now paused")?;
        let to_bob = format!(
            "sip.Method == INVITE && udp.dstport == {}",
            bob.sip().port()
        );
        trace.see(&format!("{to_bob} && sdp.media_attr == sendonly"))?;

        alice.type_line("resume")?;
        alice.see("Media streams established")?;
        they_talk(&trace, &alice, &bob)?;

        alice.type_line("terminate")?;
        alice.see("ended")?;
        bob.event("CALL_CLOSED")?;
        server.settles()
    })
}

/// What arrives at either phone is the other's tone.
fn they_talk(trace: &Trace, alice: &Linphone, bob: &Baresip) -> Result<()> {
    let to_bob = trace.next_rtp(bob.media(), 100)?;
    let to_alice = trace.next_rtp(alice.media(), 100)?;
    rtp::pcmu(&to_bob).ensure_tone(440.0, 1.9)?;
    rtp::pcmu(&to_alice).ensure_tone(1000.0, 1.9)
}
