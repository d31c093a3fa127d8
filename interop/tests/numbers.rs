//! The test numbers of the seeded dial plan, heard by baresip.

use anyhow::{Result, ensure};
use interop::baresip::Account;
use interop::sound::Recording;
use interop::{Baresip, Lab, peer};

#[test]
fn echo_returns_the_own_tone() -> Result<()> {
    tone("600", "PCMU/8000/1", "udp", OWN_TONE)
}

#[test]
fn echo_returns_the_own_tone_in_opus_over_tcp() -> Result<()> {
    tone("600", "opus/48000/2", "tcp", OWN_TONE)
}

#[test]
fn milliwatt_in_mu_law() -> Result<()> {
    tone("601", "PCMU/8000/1", "udp", 1004.0)
}

#[test]
fn milliwatt_in_a_law_over_tcp() -> Result<()> {
    tone("601", "PCMA/8000/1", "tcp", 1004.0)
}

#[test]
fn milliwatt_in_g722() -> Result<()> {
    tone("601", "G722/16000/1", "udp", 1004.0)
}

#[test]
fn milliwatt_in_opus() -> Result<()> {
    tone("601", "opus/48000/2", "udp", 1004.0)
}

#[test]
fn the_welcome_is_speech() -> Result<()> {
    listen("602", "PCMU/8000/1", "udp", 1.0, |heard| {
        for hertz in [OWN_TONE, 1004.0] {
            let share = heard.tone(hertz);
            ensure!(share < 0.5, "{share:.2} of it is a tone of {hertz} Hz");
        }
        Ok(())
    })
}

fn tone(number: &str, codec: &str, transport: &str, hertz: f64) -> Result<()> {
    listen(number, codec, transport, 3.0, |heard| {
        heard.ensure_tone(hertz, 3.0)
    })
}

/// 1001 calls a number, listens to `seconds` of sound, hangs up and judges it.
fn listen(
    number: &str,
    codec: &str,
    transport: &str,
    seconds: f64,
    judge: impl Fn(&Recording) -> Result<()>,
) -> Result<()> {
    let name = format!(
        "{number}-{}-{transport}",
        codec.split('/').next().unwrap_or_default()
    );
    Lab::run(&name, &[peer::BARESIP], |lab| {
        let server = lab.server()?;
        let password = server.password("1001")?;
        let mut account = Account::new("1001", &password, server.sip());
        account.codecs = codec;
        account.transport = transport;
        account.hertz = OWN_TONE;
        let mut phone = Baresip::register(lab, &account)?;
        phone.dial(number)?;
        phone.event("CALL_ESTABLISHED")?;
        phone.hear(seconds)?;
        phone.hang_up()?;
        judge(&phone.heard()?)
    })
}

const OWN_TONE: f64 = 440.0;
