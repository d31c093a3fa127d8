//! JsSIP, the phone of browsers, over WebSockets.

use anyhow::{Result, ensure};
use interop::jssip::Account;
use interop::{Baresip, JsSip, Lab, Pjsua, Server, baresip, peer, pjsua};
use serde_json::json;

#[test]
fn rfc7118_5_calls_over_wss() -> Result<()> {
    with_browser("wss", true, |office| {
        let mut bob = baresip::Account::new("1002", "secret-1002", office.server.sip());
        bob.answers = true;
        let mut bob = Baresip::register(office.lab, &bob)?;
        calls_in_both_directions(&mut office.browser, &mut bob)
    })
}

#[test]
fn rfc7118_5_calls_over_ws() -> Result<()> {
    with_browser("ws", false, |office| {
        let mut bob = baresip::Account::new("1002", "secret-1002", office.server.sip());
        bob.answers = true;
        let mut bob = Baresip::register(office.lab, &bob)?;
        calls_in_both_directions(&mut office.browser, &mut bob)
    })
}

#[test]
fn rfc3428_5_messages_between_a_browser_and_a_phone() -> Result<()> {
    with_browser("wss-message", true, |office| {
        let bob = pjsua::Account::new("1002", "secret-1002", office.server.sip());
        let mut bob = Pjsua::register(office.lab, &bob)?;
        let browser = &mut office.browser;
        browser.give("message", json!({ "to": "1002", "body": "Grüße" }))?;
        let message = bob.event("message")?;
        ensure!(message["body"] == "Grüße", "{message}");
        browser.event("message_status")?;
        bob.give("message", json!({ "to": "1001", "body": "zurück" }))?;
        let message = browser.event("message")?;
        ensure!(message["body"] == "zurück", "{message}");
        Ok(())
    })
}

/// Each calls the other, who answers; each ends one call.
fn calls_in_both_directions(browser: &mut JsSip, bob: &mut Baresip) -> Result<()> {
    browser.give("call", json!({ "to": "1002" }))?;
    browser.event("confirmed")?;
    browser.give("hold", json!({}))?;
    browser.event("held")?;
    browser.give("resume", json!({}))?;
    browser.event("resumed")?;
    browser.give("hangup", json!({}))?;
    browser.event("ended")?;
    bob.event("CALL_CLOSED")?;

    bob.dial("1001")?;
    browser.event("incoming")?;
    browser.give("answer", json!({}))?;
    browser.event("confirmed")?;
    bob.event("CALL_ESTABLISHED")?;
    bob.hang_up()?;
    let ended = browser.event("ended")?;
    ensure!(ended["by"] == "remote", "{ended}");

    browser.give("call", json!({ "to": "1002" }))?;
    browser.event("confirmed")?;
    bob.hang_up()?;
    browser.event("ended").map(drop)
}

struct Office<'a> {
    lab: &'a mut Lab,
    server: Server,
    browser: JsSip,
}

/// Runs a test in which 1001 is a browser.
fn with_browser(
    name: &str,
    encrypted: bool,
    test: impl FnOnce(&mut Office<'_>) -> Result<()>,
) -> Result<()> {
    let peers = [peer::NODE, peer::JSSIP, peer::BARESIP, peer::PJSUA2];
    Lab::run(name, &peers, |lab| {
        // Its description is a phone's.
        let user = |user| format!("[user.{user}]\npassword = \"secret-{user}\"\nwebrtc = false\n");
        lab.site().configure(&["1001", "1002"].map(user).concat())?;
        let authority = lab.authority()?;
        let server = lab.server_with_tls(&authority)?;
        let site = lab.site();
        let url = if encrypted {
            format!("wss://localhost:{}/ws", site.https.port())
        } else {
            format!("ws://127.0.0.1:{}/ws", site.http.port())
        };
        let root = authority.root();
        let account = Account {
            user: "1001",
            password: "secret-1001",
            domain: server.sip(),
            url: &url,
            trusts: Some(&root),
        };
        let browser = JsSip::register(lab, &account)?;
        let mut office = Office {
            lab,
            server,
            browser,
        };
        test(&mut office)?;
        office.server.settles()
    })
}
