//! Forwarding, do not disturb, pickup and parking, with the voice of whom one gets.

use anyhow::{Result, ensure};
use interop::baresip::Account;
use interop::{Baresip, Lab, Server, peer};
use serde_json::Value;

#[test]
fn calls_are_forwarded_always() -> Result<()> {
    forwarded("always", "always = \"1003\"", None)
}

#[test]
fn calls_are_forwarded_when_busy() -> Result<()> {
    forwarded("busy", "busy = \"1003\"", Some("486"))
}

#[test]
fn calls_are_forwarded_when_nobody_answers() -> Result<()> {
    forwarded(
        "no-answer",
        "no_answer = \"1003\"\nafter = \"2s\"",
        Some(""),
    )
}

#[test]
fn calls_are_forwarded_when_no_phone_is_there() -> Result<()> {
    forwarded("unreachable", "unreachable = \"1003\"", None)
}

#[test]
fn who_does_not_want_to_be_disturbed_is_busy() -> Result<()> {
    office("do-not-disturb", "do_not_disturb = true\n", |office| {
        let _bob = office.phone("1002", 1000.0, false)?;
        let mut alice = office.phone("1001", 440.0, false)?;
        alice.dial("1002")?;
        let closed = alice.event("CALL_CLOSED")?;
        ensure!(is_busy(&closed), "the caller heard {closed}");
        Ok(())
    })
}

#[test]
fn a_call_that_rings_elsewhere_is_picked_up() -> Result<()> {
    office("pickup", "", |office| {
        let mut bob = office.phone("1002", 1000.0, false)?;
        let mut carol = office.phone("1003", 700.0, false)?;
        let mut alice = office.phone("1001", 440.0, false)?;
        alice.dial("1002")?;
        bob.event("CALL_INCOMING")?;
        carol.dial("*81002")?;
        alice.event("CALL_ESTABLISHED")?;
        carol.event("CALL_ESTABLISHED")?;
        bob.event("CALL_CLOSED")?;
        office.they_talk((&alice, 440.0), (&carol, 700.0))?;
        alice.hang_up()?;
        carol.event("CALL_CLOSED").map(drop)
    })
}

#[test]
fn a_parked_call_is_fetched() -> Result<()> {
    office("park", "", |office| {
        let mut bob = office.phone("1002", 1000.0, true)?;
        let mut carol = office.phone("1003", 700.0, false)?;
        let mut alice = office.phone("1001", 440.0, false)?;
        alice.dial("1002")?;
        alice.event("CALL_ESTABLISHED")?;
        office.they_talk((&alice, 440.0), (&bob, 1000.0))?;
        bob.command("transfer", "701")?;
        bob.event("CALL_CLOSED")?;
        carol.dial("701")?;
        carol.event("CALL_ESTABLISHED")?;
        office.they_talk((&alice, 440.0), (&carol, 700.0))?;
        carol.hang_up()?;
        alice.event("CALL_CLOSED").map(drop)
    })
}

/// 1001 calls 1002, who has forwarded, and gets 1003. `refuses`: 1002 has a phone, which rings if
/// this is empty and else refuses with it.
fn forwarded(name: &str, how: &str, refuses: Option<&str>) -> Result<()> {
    let settings = format!("[user.1002.forward]\n{how}\n");
    office(&format!("forward-{name}"), &settings, |office| {
        let mut bob = match refuses {
            Some(_) => Some(office.phone("1002", 1000.0, false)?),
            None => None,
        };
        let mut carol = office.phone("1003", 700.0, true)?;
        let mut alice = office.phone("1001", 440.0, false)?;
        alice.dial("1002")?;
        if let (Some(bob), Some(refuses)) = (&mut bob, refuses) {
            bob.event("CALL_INCOMING")?;
            if !refuses.is_empty() {
                bob.hang_up()?;
            }
        }
        alice.event("CALL_ESTABLISHED")?;
        office.they_talk((&alice, 440.0), (&carol, 700.0))?;
        alice.hang_up()?;
        carol.event("CALL_CLOSED").map(drop)
    })
}

fn is_busy(closed: &Value) -> bool {
    closed["param"]
        .as_str()
        .is_some_and(|why| why.contains("486"))
}

struct Office<'a> {
    lab: &'a mut Lab,
    server: Server,
}

impl Office<'_> {
    fn phone(&mut self, user: &str, hertz: f64, answers: bool) -> Result<Baresip> {
        let password = format!("secret-{user}");
        let mut account = Account::new(user, &password, self.server.sip());
        (account.hertz, account.answers) = (hertz, answers);
        Baresip::register(self.lab, &account)
    }

    /// Each hears the tone of the other.
    fn they_talk(&self, one: (&Baresip, f64), other: (&Baresip, f64)) -> Result<()> {
        let trace = self.lab.trace()?;
        trace.hears(one.0.media(), other.1)?;
        trace.hears(other.0.media(), one.1)
    }
}

/// Runs a test with three users; `more` are settings of 1002.
fn office(name: &str, more: &str, test: impl FnOnce(&mut Office<'_>) -> Result<()>) -> Result<()> {
    Lab::run(name, &[peer::BARESIP], |lab| {
        let user = |user: &str| format!("[user.{user}]\npassword = \"secret-{user}\"\n");
        let users = user("1001") + &user("1003") + &user("1002") + more;
        lab.site().configure(&users)?;
        let server = lab.server()?;
        let mut office = Office { lab, server };
        test(&mut office)?;
        office.server.settles()
    })
}
