//! A Kamailio that has media relayed: by us, and with the same configuration by the program that the
//! protocol comes from, so that the test itself is known to be right.

use anyhow::{Context, Result};
use interop::baresip::Account;
use interop::relay::{Kind, Relay, proxy};
use interop::{Baresip, Lab, peer};

#[test]
fn kamailio_has_us_relay() -> Result<()> {
    calls("relay-dialtone", [Kind::Dialtone, Kind::Rtpengine])
}

#[test]
fn kamailio_has_rtpengine_relay() -> Result<()> {
    calls("relay-rtpengine", [Kind::Rtpengine; 2])
}

#[test]
fn kamailio_has_us_relay_behind_rtpengine() -> Result<()> {
    calls("relay-behind", [Kind::Rtpengine, Kind::Dialtone])
}

#[test]
fn kamailio_has_two_of_us_relay() -> Result<()> {
    calls("relay-twice", [Kind::Dialtone; 2])
}

/// A phone: its name, its encryption, its codec and what it says.
type Phone = (&'static str, &'static str, &'static str, f64);

const PLAIN: Phone = ("alice", "", "PCMU/8000/1", 440.0);
const OTHER: Phone = ("bob", "", "PCMU/8000/1", 1000.0);
const SDES: Phone = ("sdes", "srtp-mand", "PCMU/8000/1", 700.0);
const FAR: Phone = ("far", "", "PCMU/8000/1", 850.0);
const WIDE: Phone = ("wide", "", "G722/16000/1", 600.0);

/// Every kind of call; those to [`FAR`] go through both relays.
fn calls(name: &str, kinds: [Kind; 2]) -> Result<()> {
    if !peer::ensure_all(&[peer::BARESIP, peer::KAMAILIO, peer::RTPENGINE])? {
        return Ok(());
    }
    Lab::run_quietly(name, |lab| {
        let relays = [Relay::start(lab, kinds[0])?, Relay::start(lab, kinds[1])?];
        let proxy = proxy(lab, [relays[0].ng(), relays[1].ng()])?;
        let sip = proxy.sip();
        let pairs = [
            (PLAIN, OTHER),
            (PLAIN, SDES),
            (SDES, PLAIN),
            (PLAIN, WIDE),
            (PLAIN, FAR),
            (SDES, FAR),
        ];
        for (caller, callee) in pairs {
            call(lab, sip, caller, callee)
                .with_context(|| format!("{} calls {}", caller.0, callee.0))?;
        }
        for (relay, kind) in relays.into_iter().zip(kinds) {
            // The other one lists calls for a while after their end.
            if kind == Kind::Dialtone {
                relay.settles()?;
            }
            relay.stop()?;
        }
        proxy.stop()
    })
}

fn call(lab: &mut Lab, sip: std::net::SocketAddr, caller: Phone, callee: Phone) -> Result<()> {
    let mut phone = |(user, encryption, codecs, hertz): Phone, answers| {
        let mut account = Account::new(user, "none", sip);
        (account.encryption, account.codecs) = (encryption, codecs);
        (account.hertz, account.answers) = (hertz, answers);
        Baresip::register(lab, &account)
    };
    let mut bob = phone(callee, true)?;
    let mut alice = phone(caller, false)?;
    alice.dial(callee.0)?;
    alice.event("CALL_ESTABLISHED")?;
    alice.hear(3.0).context("at the caller")?;
    bob.hear(3.0).context("at the callee")?;
    alice.hang_up()?;
    bob.event("CALL_CLOSED")?;
    alice.heard()?.ensure_tone(callee.3, 3.0)?;
    bob.heard()?.ensure_tone(caller.3, 3.0)?;
    alice.quit()?;
    bob.quit()
}
