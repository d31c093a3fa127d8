//! Lamps, presence, mailboxes and messages with real subscribers.

use anyhow::{Context, Result, ensure};
use interop::{Baresip, JsSip, Lab, Pjsua, Server, baresip, jssip, peer, pjsua};
use serde_json::{Value, json};

/// A lamp for 1002 through a call's life: JsSIP watches, baresip and pjsua2 talk.
#[test]
fn rfc4235_3_a_lamp_follows_a_call() -> Result<()> {
    office("lamp", |office| {
        let mut watcher = office.browser("1003")?;
        let mut bob = office.baresip("1002")?;
        let mut alice = office.pjsua("1001", false)?;
        let subscription = json!({
            "to": "1002", "package": "dialog", "accept": "application/dialog-info+xml",
        });
        watcher.give("subscribe", subscription)?;
        let first = watcher.event("notify")?;
        ensure!(
            first["type"] == "application/dialog-info+xml"
                && body(&first).contains("state=\"full\""),
            "the first notification says nothing of all calls: {first}"
        );
        ensure!(states(&first).is_empty(), "nobody talks yet: {first}");

        let call = alice.dial("1002")?;
        bob.event("CALL_INCOMING")?;
        lamp(&mut watcher, "early")?;
        bob.accept()?;
        alice.established()?;
        lamp(&mut watcher, "confirmed")?;
        alice.give("hangup", json!({ "call": call }))?;
        bob.event("CALL_CLOSED")?;
        lamp(&mut watcher, "terminated")?;
        watcher.give("unsubscribe", json!({ "to": "1002" }))?;
        watcher
            .event_with("subscription", &[("state", json!("terminated"))])
            .map(drop)
    })
}

/// pjsua2 publishes, pjsua2 watches.
#[test]
fn rfc3903_4_published_presence_reaches_who_watches() -> Result<()> {
    office("presence", |office| {
        let mut bob = office.pjsua("1002", true)?;
        let mut alice = office.pjsua("1001", false)?;
        alice.give("watch", json!({ "who": "1002" }))?;
        bob.give("presence", json!({ "online": true, "note": "at lunch" }))?;
        alice
            .event_with("presence", &[("note", json!("at lunch"))])
            .context("a note of bob's")?;
        bob.give("presence", json!({ "online": false }))?;
        alice
            .event_with("presence", &[("status", json!(2))])
            .map(drop)
    })
}

#[test]
fn rfc3842_3_a_phone_learns_of_its_mailbox() -> Result<()> {
    office("mailbox", |office| {
        let mut account = pjsua::Account::new("1001", "secret-1001", office.server.sip());
        account.mailbox = true;
        let mut alice = Pjsua::register(office.lab, &account)?;
        let news = alice.event("mwi")?;
        let text = news["message"].as_str().unwrap_or_default();
        ensure!(text.contains("Messages-Waiting: no"), "it learned {news}");
        Ok(())
    })
}

#[test]
fn rfc3428_5_messages_go_both_ways() -> Result<()> {
    office("message", |office| {
        let mut alice = office.pjsua("1001", false)?;
        let mut bob = office.pjsua("1002", false)?;
        alice.give("message", json!({ "to": "1002", "body": "Grüße ☎" }))?;
        heard(&mut bob, "1001", "Grüße ☎")?;
        alice.event_with("message_status", &[("code", json!(200))])?;
        alice.give("typing", json!({}))?;
        bob.event_with("typing", &[("typing", json!(true))])?;
        bob.give("message", json!({ "to": "1001", "body": "danke" }))?;
        heard(&mut alice, "1002", "danke")
    })
}

/// Messages to a phone that is away wait on the disk, even over a crash of the server.
#[test]
fn rfc3428_messages_wait_for_a_phone_that_is_away() -> Result<()> {
    Lab::run("message-later", &[peer::PJSUA2], |lab| {
        lab.site().configure(&users())?;
        let server = lab.server()?;
        let mut alice = phone(lab, &server, "1001")?;
        for body in ["one", "two"] {
            alice.give("message", json!({ "to": "1002", "body": body }))?;
            let status = alice.event("message_status")?;
            ensure!(status["code"] == 202, "it is taken for later: {status}");
        }
        server.crash()?;
        let server = lab.server()?;
        let mut bob = phone(lab, &server, "1002")?;
        heard(&mut bob, "1001", "one")?;
        heard(&mut bob, "1001", "two")?;
        server.settles()
    })
}

fn heard(phone: &mut Pjsua, sender: &str, body: &str) -> Result<()> {
    let message = phone.event("message")?;
    let from = message["sender"].as_str().unwrap_or_default();
    ensure!(
        message["body"] == body && from.contains(sender),
        "another message came: {message}"
    );
    Ok(())
}

/// Waits until the lamp shows this and nothing else.
fn lamp(watcher: &mut JsSip, state: &str) -> Result<()> {
    let mut shown = Vec::new();
    loop {
        let notify = watcher
            .event("notify")
            .with_context(|| format!("{state} after {shown:?}"))?;
        let states = states(&notify);
        if states.iter().any(|shown| shown == state) {
            return Ok(());
        }
        shown.push(states);
    }
}

/// The states of all dialogs in a notification.
fn states(notify: &Value) -> Vec<String> {
    let after = body(notify).split("<state").skip(1);
    let texts = after.filter_map(|rest| rest.split_once('>')?.1.split('<').next());
    texts.map(str::to_owned).collect()
}

fn body(notify: &Value) -> &str {
    notify["body"].as_str().unwrap_or_default()
}

fn users() -> String {
    let user = |user| format!("[user.{user}]\npassword = \"secret-{user}\"\nwebrtc = false\n");
    ["1001", "1002", "1003"].map(user).concat()
}

fn phone(lab: &mut Lab, server: &Server, user: &str) -> Result<Pjsua> {
    let password = format!("secret-{user}");
    Pjsua::register(lab, &pjsua::Account::new(user, &password, server.sip()))
}

struct Office<'a> {
    lab: &'a mut Lab,
    server: Server,
}

impl Office<'_> {
    fn baresip(&mut self, user: &str) -> Result<Baresip> {
        let password = format!("secret-{user}");
        let account = baresip::Account::new(user, &password, self.server.sip());
        Baresip::register(self.lab, &account)
    }

    fn pjsua(&mut self, user: &str, publishes: bool) -> Result<Pjsua> {
        let password = format!("secret-{user}");
        let mut account = pjsua::Account::new(user, &password, self.server.sip());
        account.publishes = publishes;
        Pjsua::register(self.lab, &account)
    }

    fn browser(&mut self, user: &str) -> Result<JsSip> {
        let url = format!("ws://127.0.0.1:{}/ws", self.lab.site().http.port());
        let account = jssip::Account {
            user,
            password: &format!("secret-{user}"),
            domain: self.server.sip(),
            url: &url,
            trusts: None,
        };
        JsSip::register(self.lab, &account)
    }
}

fn office(name: &str, test: impl FnOnce(&mut Office<'_>) -> Result<()>) -> Result<()> {
    let peers = [peer::BARESIP, peer::PJSUA2, peer::NODE, peer::JSSIP];
    Lab::run(name, &peers, |lab| {
        lab.site().configure(&users())?;
        let server = lab.server_with_tls(&lab.authority()?)?;
        let mut office = Office { lab, server };
        test(&mut office)?;
        office.server.settles()
    })
}
