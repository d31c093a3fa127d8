//! Two softphones register, call each other and talk.

use anyhow::{Result, ensure};
use interop::baresip::Account;
use interop::{Baresip, Lab, peer, rtp};

#[test]
fn each_hears_the_other() -> Result<()> {
    Lab::run("two-phones", &[peer::BARESIP], |lab| {
        let server = lab.server()?;
        let passwords = (server.password("1001")?, server.password("1002")?);
        let mut alice = Account::new("1001", &passwords.0, server.sip());
        alice.hertz = 440.0;
        let mut bob = Account::new("1002", &passwords.1, server.sip());
        bob.hertz = 1000.0;
        let mut alice = Baresip::register(lab, &alice)?;
        let mut bob = Baresip::register(lab, &bob)?;

        alice.dial("1002")?;
        bob.event("CALL_INCOMING")?;
        bob.accept()?;
        alice.event("CALL_ESTABLISHED")?;
        alice.hear(5.0)?;
        bob.hear(5.0)?;
        alice.hang_up()?;
        bob.event("CALL_CLOSED")?;

        alice.heard()?.ensure_tone(1000.0, 5.0)?;
        bob.heard()?.ensure_tone(440.0, 5.0)?;
        let loss = rtp::worst_loss(&lab.trace()?.rtp()?)?;
        ensure!(
            loss < 0.01,
            "{:.2} % of the packets of a stream are lost",
            loss * 100.0
        );
        server.settles()
    })
}

#[test]
fn tcp_meets_udp_in_opus_and_digits_pass() -> Result<()> {
    Lab::run("tcp-udp", &[peer::BARESIP], |lab| {
        let server = lab.server()?;
        let passwords = (server.password("1001")?, server.password("1002")?);
        let mut alice = Account::new("1001", &passwords.0, server.sip());
        alice.transport = "tcp";
        alice.codecs = "opus/48000/2";
        let mut bob = Account::new("1002", &passwords.1, server.sip());
        bob.codecs = "opus/48000/2,PCMU/8000/1";
        bob.hertz = 1000.0;
        bob.answers = true;
        let mut bob = Baresip::register(lab, &bob)?;
        let mut alice = Baresip::register(lab, &alice)?;

        alice.dial("1002")?;
        alice.event("CALL_ESTABLISHED")?;
        alice.hear(2.0)?;
        bob.hear(2.0)?;
        alice.command("sndcode", "5")?;
        let digit = bob.event("CALL_DTMF_START")?;
        ensure!(digit["param"] == "5", "another digit came: {digit}");
        bob.hang_up()?;
        alice.event("CALL_CLOSED")?;

        alice.heard()?.ensure_tone(1000.0, 2.0)?;
        bob.heard()?.ensure_tone(440.0, 2.0)?;
        server.settles()
    })
}
