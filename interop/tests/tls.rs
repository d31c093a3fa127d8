//! Phones over TLS: they verify the server, and talk with those over UDP.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use interop::process::Process;
use interop::wait::until;
use interop::{Baresip, Lab, Linphone, Pjsua, baresip, peer, pjsua};
use serde_json::json;

#[test]
fn rfc3261_26_3_1_three_phones_verify_the_server_and_talk() -> Result<()> {
    let peers = [peer::BARESIP, peer::LINPHONE, peer::PJSUA2];
    Lab::run("tls-phones", &peers, |lab| {
        lab.site().configure(&users())?;
        let authority = lab.authority()?;
        let server = lab.server_with_tls(&authority)?;
        let (tls, root) = (lab.site().tls, authority.root());
        let mut alice = pjsua::Account::new("1001", "secret-1001", tls);
        (alice.transport, alice.trusts, alice.hertz) = ("tls", Some(root.as_path()), 440.0);
        let mut alice = Pjsua::register(lab, &alice)?;
        let mut bob = baresip::Account::new("1002", "secret-1002", tls);
        (bob.transport, bob.trusts, bob.hertz) = ("tls", Some(root.as_path()), 1000.0);
        bob.answers = true;
        let mut bob = Baresip::register(lab, &bob)?;
        let account = ("1003", "secret-1003");
        let mut carol = Linphone::register_over_tls(lab, tls, &root, account, 700.0)?;
        let trace = lab.trace()?;

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

#[test]
fn a_phone_that_does_not_know_the_authority_goes_away() -> Result<()> {
    Lab::run("tls-stranger", &[peer::PJSUA2], |lab| {
        lab.site().configure(&users())?;
        let server = lab.server_with_tls(&lab.authority()?)?;
        let stranger = interop::tls::Authority::new(lab.folder("stranger")?)?;
        let root = stranger.root();
        let mut alice = pjsua::Account::new("1001", "secret-1001", lab.site().tls);
        (alice.transport, alice.trusts) = ("tls", Some(root.as_path()));
        let mut alice = Pjsua::start(lab, &alice)?;
        let registration = alice.event("registration")?;
        ensure!(
            registration["code"] != 200,
            "it registered all the same: {registration}"
        );
        server.settles()
    })
}

#[test]
fn scripted_calls_come_through_a_tunnel() -> Result<()> {
    Lab::run("tls-socat", &[peer::SIPP, peer::SOCAT], |lab| {
        lab.site().configure(&users())?;
        let authority = lab.authority()?;
        let server = lab.server_with_tls(&authority)?;
        let tunnel = lab.ports().port()?;
        let to = format!(
            "OPENSSL:{},cafile={},verify=1",
            lab.site().tls,
            authority.root().display()
        );
        let listen = format!("TCP-LISTEN:{tunnel},bind=127.0.0.1,fork,reuseaddr");
        let _socat = Process::start(
            Command::new("socat").args([&listen, &to]),
            &lab.path("socat.log"),
        )?;
        until("socat's port", Duration::from_secs(10), || {
            Ok(std::net::TcpStream::connect(("127.0.0.1", tunnel)).ok())
        })?;
        // A phone over UDP that everybody can call.
        let mut bob = baresip::Account::new("1002", "secret-1002", server.sip());
        bob.answers = true;
        let _bob = Baresip::register(lab, &bob)?;
        let call = lab.sipp("call.xml")?.to(([127, 0, 0, 1], tunnel).into());
        let call = call
            .numbers(["1002"; 10])?
            .auth("1001", "secret-1001")
            .tcp();
        call.run().context("ten calls through the tunnel")?;
        server.settles()
    })
}

fn users() -> String {
    let user = |user| format!("[user.{user}]\npassword = \"secret-{user}\"\n");
    ["1001", "1002", "1003"].map(user).concat()
}
