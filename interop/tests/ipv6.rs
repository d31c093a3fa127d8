//! Phones that speak IPv6, among themselves and with one that does not.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};

use anyhow::Result;
use interop::baresip::Account;
use interop::{Baresip, Lab, Server, peer};

#[test]
fn two_phones_talk_over_ipv6() -> Result<()> {
    if !machine_has_ipv6() {
        return Ok(());
    }
    Lab::run("ipv6", &[peer::BARESIP], |lab| {
        let (server, ipv6) = dual_stack(lab)?;
        talk(lab, &server, ipv6, ipv6)
    })
}

#[test]
fn ipv6_meets_ipv4() -> Result<()> {
    if !machine_has_ipv6() {
        return Ok(());
    }
    Lab::run("ipv6-ipv4", &[peer::BARESIP], |lab| {
        let (server, ipv6) = dual_stack(lab)?;
        talk(lab, &server, ipv6, server.sip())
    })
}

/// Containers often have none.
fn machine_has_ipv6() -> bool {
    let bound = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0));
    if let Err(error) = &bound {
        eprintln!("skipped: no IPv6 here: {error}");
    }
    bound.is_ok()
}

/// A server that listens on both loopback addresses, and its second one.
fn dual_stack(lab: &Lab) -> Result<(Server, SocketAddr)> {
    let ipv6 = SocketAddr::from((Ipv6Addr::LOCALHOST, lab.sip().port()));
    let listen = format!("[\"udp:{}\", \"udp:{ipv6}\"]", lab.sip());
    Ok((Server::start(lab, &[("sip.listen", &listen)])?, ipv6))
}

/// 1001 registers with one address of the server, 1002 with the other, and they talk.
fn talk(lab: &mut Lab, server: &Server, alice: SocketAddr, bob: SocketAddr) -> Result<()> {
    let passwords = (server.password("1001")?, server.password("1002")?);
    let mut bob = Account::new("1002", &passwords.1, bob);
    bob.answers = true;
    bob.hertz = 1000.0;
    let mut bob = Baresip::register(lab, &bob)?;
    let mut alice = Baresip::register(lab, &Account::new("1001", &passwords.0, alice))?;
    alice.dial("1002")?;
    alice.event("CALL_ESTABLISHED")?;
    alice.hear(2.0)?;
    bob.hear(2.0)?;
    alice.hang_up()?;
    bob.event("CALL_CLOSED")?;
    alice.heard()?.ensure_tone(1000.0, 2.0)?;
    bob.heard()?.ensure_tone(440.0, 2.0)?;
    server.settles()
}
