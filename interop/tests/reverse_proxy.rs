//! A browser's phone behind a reverse proxy.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use interop::jssip::Account;
use interop::nginx::Nginx;
use interop::{Baresip, JsSip, Lab, baresip, peer};
use serde_json::{Value, json};

#[test]
fn rfc7118_5_a_proxys_client_is_known_by_its_own_address() -> Result<()> {
    let say = (
        "x-forwarded-for",
        "X-Forwarded-For $proxy_add_x_forwarded_for",
    );
    let seen = through_a_proxy("proxied", say, "127.0.0.1")?;
    is(seen, "127.0.0.7")
}

#[test]
fn rfc7239_4_so_it_is_by_the_standards_header() -> Result<()> {
    let say = ("forwarded", "Forwarded \"for=$remote_addr;proto=https\"");
    let seen = through_a_proxy("forwarded", say, "127.0.0.1")?;
    is(seen, "127.0.0.7")
}

#[test]
fn rfc7239_8_1_a_proxy_that_is_not_ours_is_not_believed() -> Result<()> {
    let say = (
        "x-forwarded-for",
        "X-Forwarded-For $proxy_add_x_forwarded_for",
    );
    let seen = through_a_proxy("not-believed", say, "192.0.2.0/24")?;
    is(seen, "127.0.0.1")
}

fn is(seen: Option<String>, address: &str) -> Result<()> {
    let Some(seen) = seen else { return Ok(()) };
    ensure!(seen == address, "the browser is taken for {seen}");
    Ok(())
}

/// Has a browser at 127.0.0.7 register and call through a proxy that names clients `say`, and returns
/// the address that the server knows it by; it believes `proxies`. `None` if a peer is missing.
fn through_a_proxy(name: &str, say: (&str, &str), proxies: &str) -> Result<Option<String>> {
    let peers = [peer::NODE, peer::JSSIP, peer::BARESIP, peer::NGINX];
    let mut seen = None;
    Lab::run(name, &peers, |lab| {
        seen = Some(call(lab, say, proxies)?);
        Ok(())
    })?;
    Ok(seen)
}

fn call(lab: &mut Lab, (header, line): (&str, &str), proxies: &str) -> Result<String> {
    let user = |user| format!("[user.{user}]\npassword = \"secret-{user}\"\nwebrtc = false\n");
    lab.site().configure(&["1001", "1002"].map(user).concat())?;
    let authority = lab.authority()?;
    let proxies = format!("[\"{proxies}\"]");
    let settings = [("http.proxies", &*proxies), ("http.proxies_say", header)];
    let server = lab.server_with_tls_and(&authority, &settings)?;
    let proxy = Nginx::start(lab, &authority.vouch(&["127.0.0.1"])?, line)?;
    let mut bob = baresip::Account::new("1002", "secret-1002", server.sip());
    bob.answers = true;
    let mut bob = Baresip::register(lab, &bob)?;
    let root = authority.root();
    let account = Account {
        user: "1001",
        password: "secret-1001",
        domain: server.sip(),
        url: &format!("wss://{}/ws", proxy.https()),
        trusts: Some(&root),
    };
    let mut browser = JsSip::register_from(lab, &account, IpAddr::from([127, 0, 0, 7]))?;

    browser.give("call", json!({ "to": "1002" }))?;
    browser.event("confirmed")?;
    bob.event("CALL_ESTABLISHED")?;
    browser.give("hangup", json!({}))?;
    bob.event("CALL_CLOSED")?;
    bob.dial("1001")?;
    browser.event("incoming")?;
    browser.give("answer", json!({}))?;
    bob.event("CALL_ESTABLISHED")?;
    bob.hang_up()?;
    browser.event("ended")?;

    let output = server.ctl(&["phones", "--json"])?;
    let phones: Value = serde_json::from_slice(&output.stdout)?;
    let phones = phones.as_array().cloned().unwrap_or_default();
    let browser = phones.iter().find(|phone| phone["user"] == "1001");
    let address = browser.and_then(|phone| phone["address"].as_str());
    // Like `ws:192.0.2.7:50001`.
    let host = address.and_then(|address| Some(address.split_once(':')?.1.rsplit_once(':')?.0));
    Ok(host.with_context(|| format!("{phones:?}"))?.to_owned())
}
