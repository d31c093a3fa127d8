//! Two softphones register, call each other and talk.

use anyhow::{Result, ensure};
use interop::baresip::Account;
use interop::{Baresip, Lab, Server, peer, rtp};

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
fn one_udp_port_serves_all_calls() -> Result<()> {
    Lab::run("one-port", &[peer::BARESIP], |lab| {
        let port = lab.media().0.to_string();
        let settings = [("media.shared", "true"), ("media.ports", &*port)];
        let server = Server::start(lab, &settings)?;
        let passwords = (server.password("1001")?, server.password("1002")?);
        let mut alice = Account::new("1001", &passwords.0, server.sip());
        alice.hertz = 440.0;
        alice.encryption = "srtp-mand";
        let mut bob = Account::new("1002", &passwords.1, server.sip());
        (bob.hertz, bob.answers) = (1000.0, true);
        let carol = Account::new("1001", &passwords.0, server.sip());
        let mut bob = Baresip::register(lab, &bob)?;
        let mut alice = Baresip::register(lab, &alice)?;
        let mut carol = Baresip::register(lab, &carol)?;

        alice.dial("1002")?;
        alice.event("CALL_ESTABLISHED")?;
        carol.dial("601")?;
        carol.event("CALL_ESTABLISHED")?;
        alice.hear(4.0)?;
        bob.hear(4.0)?;
        carol.hear(4.0)?;
        alice.hang_up()?;
        carol.hang_up()?;
        bob.event("CALL_CLOSED")?;

        alice.heard()?.ensure_tone(1000.0, 4.0)?;
        bob.heard()?.ensure_tone(440.0, 4.0)?;
        carol.heard()?.ensure_tone(1004.0, 4.0)?;
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

#[test]
fn one_that_encrypts_and_one_with_another_codec_hear_each_other() -> Result<()> {
    Lab::run("srtp-plain", &[peer::BARESIP], |lab| {
        let server = lab.server()?;
        let passwords = (server.password("1001")?, server.password("1002")?);
        let mut alice = Account::new("1001", &passwords.0, server.sip());
        alice.encryption = "srtp-mand";
        let mut bob = Account::new("1002", &passwords.1, server.sip());
        bob.codecs = "PCMA/8000/1";
        bob.hertz = 1000.0;
        bob.answers = true;
        let mut bob = Baresip::register(lab, &bob)?;
        let mut alice = Baresip::register(lab, &alice)?;

        alice.dial("1002")?;
        alice.event("CALL_ESTABLISHED")?;
        talk(&mut alice, &mut bob)?;
        server.settles()
    })
}

/// baresip has an RSA certificate.
#[test]
fn rfc5763_5_a_phone_with_dtls_calls_a_plain_one_and_is_called_by_it() -> Result<()> {
    dtls_call("dtls-plain", ["dtls_srtp", ""])?;
    dtls_call("plain-dtls", ["", "dtls_srtp"])
}

#[test]
fn rfc5763_5_a_phone_with_dtls_calls_one_with_sdes_and_is_called_by_it() -> Result<()> {
    dtls_call("dtls-sdes", ["dtls_srtp", "srtp-mand"])?;
    dtls_call("sdes-dtls", ["srtp-mand", "dtls_srtp"])
}

#[test]
fn rfc5763_5_phones_with_dtls_hear_each_other() -> Result<()> {
    dtls_call("dtls-dtls", ["dtls_srtp"; 2])
}

/// A call of a phone to another, each with its encryption.
fn dtls_call(name: &str, encryption: [&str; 2]) -> Result<()> {
    Lab::run(name, &[peer::BARESIP], |lab| {
        let server = lab.server()?;
        let passwords = (server.password("1001")?, server.password("1002")?);
        let mut alice = Account::new("1001", &passwords.0, server.sip());
        let mut bob = Account::new("1002", &passwords.1, server.sip());
        [alice.encryption, bob.encryption] = encryption;
        bob.hertz = 1000.0;
        let mut bob = Baresip::register(lab, &bob)?;
        let mut alice = Baresip::register(lab, &alice)?;

        alice.dial("1002")?;
        bob.event("CALL_INCOMING")?;
        bob.accept()?;
        alice.event("CALL_ESTABLISHED")?;
        talk(&mut alice, &mut bob)?;
        server.settles()
    })
}

#[test]
fn a_phone_that_encrypts_hears_the_server_s_tone() -> Result<()> {
    tone_call("srtp-tone", "srtp-mand")
}

/// Its certificate is RSA.
#[test]
fn rfc5763_5_a_phone_with_dtls_hears_the_server_s_tone() -> Result<()> {
    tone_call("dtls-tone", "dtls_srtp")
}

/// A phone with this encryption calls the server's tone.
fn tone_call(name: &str, encryption: &str) -> Result<()> {
    Lab::run(name, &[peer::BARESIP], |lab| {
        let server = lab.server()?;
        let password = server.password("1001")?;
        let mut alice = Account::new("1001", &password, server.sip());
        alice.encryption = encryption;
        let mut alice = Baresip::register(lab, &alice)?;

        alice.dial("601")?;
        alice.event("CALL_ESTABLISHED")?;
        alice.hear(3.0)?;
        alice.hang_up()?;

        alice.heard()?.ensure_tone(1004.0, 3.0)?;
        server.settles()
    })
}

/// Neither of them is set up here: the phone that insists on SRTP is asked again, with that.
#[test]
fn rfc3261_21_4_26_a_phone_that_refuses_plain_rtp_is_offered_srtp() -> Result<()> {
    Lab::run("plain-srtp", &[peer::BARESIP], |lab| {
        let server = lab.server()?;
        let passwords = (server.password("1001")?, server.password("1002")?);
        let alice = Account::new("1001", &passwords.0, server.sip());
        let mut bob = Account::new("1002", &passwords.1, server.sip());
        bob.encryption = "srtp-mand";
        bob.codecs = "opus/48000/2";
        bob.hertz = 1000.0;
        bob.answers = true;
        let mut bob = Baresip::register(lab, &bob)?;
        let mut alice = Baresip::register(lab, &alice)?;

        alice.dial("1002")?;
        alice.event("CALL_ESTABLISHED")?;
        talk(&mut alice, &mut bob)?;
        server.settles()
    })
}

/// In a call that has begun each hears the other's tone, 440 Hz of `alice` and 1000 Hz of `bob`, until `alice` hangs up.
fn talk(alice: &mut Baresip, bob: &mut Baresip) -> Result<()> {
    alice.hear(3.0)?;
    bob.hear(3.0)?;
    alice.hang_up()?;
    bob.event("CALL_CLOSED")?;

    alice.heard()?.ensure_tone(1000.0, 3.0)?;
    bob.heard()?.ensure_tone(440.0, 3.0)
}
