//! Browsers: calls of Chromium with JsSIP over WSS, heard and seen.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use interop::bad_network::Weather;
use interop::chromium::Account;
use interop::wait::until;
use interop::{BadNetwork, Baresip, Chromium, Lab, Server, baresip, peer};
use serde_json::{Value, json};

#[test]
fn rfc8827_6_5_a_browser_calls_a_phone_and_each_hears_the_other() -> Result<()> {
    with_office("browser-phone", |office| {
        let mut bob = office.phone("1002", 1000.0)?;
        let mut alice = office.browser("1001", 440.0)?;
        alice.give("call", json!({ "to": "1002" }))?;
        alice.event("confirmed")?;
        alice.finds_tone(1000.0)?;
        bob.hear(3.0)?;
        for digit in ["4", "#"] {
            alice.give("digit", json!({ "digit": digit }))?;
            bob.event("CALL_DTMF_START")?;
        }
        alice.give("hangup", json!({}))?;
        bob.event("CALL_CLOSED")?;
        bob.heard()?.ensure_tone(440.0, 3.0)
    })
}

#[test]
fn rfc8829_5_3_a_phone_calls_a_browser_for_half_a_minute() -> Result<()> {
    with_office("phone-browser", |office| {
        let mut alice = office.browser("1001", 440.0)?;
        let mut bob = office.phone("1002", 1000.0)?;
        bob.dial("1001")?;
        alice.event("incoming")?;
        alice.give("answer", json!({}))?;
        bob.event("CALL_ESTABLISHED")?;
        alice.finds_tone(1000.0)?;
        for _ in 0..3 {
            alice.ensure_tone(1000.0, 10_000, 0.05)?;
        }
        bob.hang_up()?;
        let ended = alice.event("ended")?;
        ensure!(ended["by"] == "remote", "{ended}");
        bob.heard()?.ensure_tone(440.0, 25.0)
    })
}

#[test]
fn rfc3264_8_4_a_browser_holds_a_phone_and_resumes() -> Result<()> {
    with_office("browser-hold", |office| {
        let mut bob = office.phone("1002", 1000.0)?;
        let mut alice = office.browser("1001", 440.0)?;
        alice.give("call", json!({ "to": "1002" }))?;
        alice.event("confirmed")?;
        alice.finds_tone(1000.0)?;
        alice.give("hold", json!({}))?;
        alice.finds_silence()?;
        alice.give("resume", json!({}))?;
        alice.finds_tone(1000.0)?;
        // RFC 8445 §9: other credentials, the same call.
        alice.give("restart_ice", json!({}))?;
        alice.finds_tone(1000.0)?;
        bob.command("hold", "")?;
        alice.event("hold")?;
        alice.finds_silence()?;
        bob.command("resume", "")?;
        alice.event("unhold")?;
        alice.finds_tone(1000.0)?;
        alice.give("hangup", json!({}))?;
        bob.event("CALL_CLOSED").map(drop)
    })
}

#[test]
fn rfc3264_8_4_a_browser_that_was_called_holds_a_phone_and_resumes() -> Result<()> {
    with_office("browser-called-hold", |office| {
        let mut alice = office.browser("1001", 440.0)?;
        let mut bob = office.phone("1002", 1000.0)?;
        bob.dial("1001")?;
        alice.event("incoming")?;
        alice.give("answer", json!({}))?;
        bob.event("CALL_ESTABLISHED")?;
        alice.finds_tone(1000.0)?;
        alice.give("hold", json!({}))?;
        alice.finds_silence()?;
        alice.give("resume", json!({}))?;
        alice.finds_tone(1000.0)?;
        alice.give("restart_ice", json!({}))?;
        alice.finds_tone(1000.0)?;
        alice.give("hangup", json!({}))?;
        bob.event("CALL_CLOSED").map(drop)
    })
}

#[test]
fn rfc8829_5_3_a_browser_hears_the_server_itself() -> Result<()> {
    with_office("browser-served", |office| {
        let mut alice = office.browser("1001", 440.0)?;
        for (number, hertz) in [("600", 440.0), ("601", 1004.0)] {
            alice.give("call", json!({ "to": number }))?;
            alice.event("confirmed")?;
            alice.finds_tone(hertz)?;
            alice.give("hangup", json!({}))?;
            alice.event("ended")?;
        }
        alice.give("call", json!({ "to": "602" }))?;
        let ended = alice.event("ended")?;
        ensure!(ended["by"] == "remote", "the prompt ends the call: {ended}");
        Ok(())
    })
}

/// Who is led to other ports agrees on keys anew there: RFC 8842 §4 makes the other certificate the word for it.
#[test]
fn rfc8842_4_a_browser_is_led_from_phone_to_phone_and_to_the_server() -> Result<()> {
    with_office("browser-led", |office| {
        let mut bob = office.phone("1002", 1000.0)?;
        let mut carol = office.phone("1003", 1700.0)?;
        let mut alice = office.browser("1001", 440.0)?;
        alice.give("call", json!({ "to": "1002" }))?;
        alice.event("confirmed")?;
        alice.finds_tone(1000.0)?;
        bob.command("transfer", "1003")?;
        carol.event("CALL_ESTABLISHED")?;
        alice.finds_tone(1700.0)?;
        carol.hear(2.0)?;
        carol.command("transfer", "601")?;
        alice.finds_tone(1004.0)?;
        carol.heard()?.ensure_tone(440.0, 2.0)?;
        alice.give("hangup", json!({}))?;
        alice.event("ended").map(drop)
    })
}

#[test]
fn rfc8842_4_a_browser_that_was_called_is_parked_and_fetched() -> Result<()> {
    with_office("browser-parked", |office| {
        let mut alice = office.browser("1001", 440.0)?;
        let mut bob = office.phone("1002", 1000.0)?;
        let mut carol = office.phone("1003", 1700.0)?;
        bob.dial("1001")?;
        alice.event("incoming")?;
        alice.give("answer", json!({}))?;
        bob.event("CALL_ESTABLISHED")?;
        alice.finds_tone(1000.0)?;
        bob.command("transfer", "701")?;
        bob.event("CALL_CLOSED")?;
        carol.dial("701")?;
        carol.event("CALL_ESTABLISHED")?;
        alice.finds_tone(1700.0)?;
        carol.hear(2.0)?;
        carol.hang_up()?;
        alice.event("ended")?;
        carol.heard()?.ensure_tone(440.0, 2.0)
    })
}

/// The server looks for the way to the browser: it leads where it has made the offer, and follows where the
/// browser has.
#[test]
fn rfc8445_6_1_1_a_browser_and_a_server_with_full_ice() -> Result<()> {
    let settings = |_: &mut Lab| Ok(vec![("media.ice", "full".to_owned())]);
    with_office_and("browser-full-ice", settings, |office| {
        let mut alice = office.browser("1001", 440.0)?;
        let mut bob = office.phone("1002", 1000.0)?;
        bob.dial("1001")?;
        alice.event("incoming")?;
        alice.give("answer", json!({}))?;
        bob.event("CALL_ESTABLISHED")?;
        alice.finds_tone(1000.0)?;
        ensure!(ice_role(&mut alice)? == "controlled");
        bob.hear(3.0)?;
        bob.hang_up()?;
        alice.event("ended")?;
        bob.heard()?.ensure_tone(440.0, 3.0)?;
        alice.give("call", json!({ "to": "601" }))?;
        alice.event("confirmed")?;
        alice.finds_tone(1004.0)?;
        ensure!(ice_role(&mut alice)? == "controlling");
        // RFC 8445 §9: other credentials, the same call.
        alice.give("restart_ice", json!({}))?;
        alice.finds_tone(1004.0)?;
        alice.give("hangup", json!({}))?;
        alice.event("ended").map(drop)
    })
}

/// Whether the browser chooses the way.
fn ice_role(browser: &mut Chromium) -> Result<String> {
    let stats = browser.give("stats", json!({}))?;
    let reports = stats["reports"].as_array().context("no reports")?;
    let role = reports.iter().find_map(|report| report["iceRole"].as_str());
    Ok(role.context("no role in ICE")?.to_owned())
}

#[test]
fn rfc8829_5_3_browsers_hear_and_see_each_other() -> Result<()> {
    with_office("browsers", |office| {
        let mut alice = office.browser("1001", 440.0)?;
        let mut bob = office.browser("1002", 1000.0)?;
        alice.give("call", json!({ "to": "1002", "video": true }))?;
        bob.event("incoming")?;
        bob.give("answer", json!({ "video": true }))?;
        alice.event("confirmed")?;
        alice.finds_tone(1000.0)?;
        bob.finds_tone(440.0)?;
        for browser in [&mut alice, &mut bob] {
            browser.sees(20.0)?;
        }
        holds_and_goes_on(&mut alice, &mut bob)
    })
}

/// `alice`, whose tone is 440 Hz, puts the other one on hold and fetches it back; then they hear and see each other
/// again, until `bob` hangs up.
fn holds_and_goes_on(alice: &mut Chromium, bob: &mut Chromium) -> Result<()> {
    alice.give("hold", json!({}))?;
    bob.event("hold")?;
    bob.finds_silence()?;
    alice.give("resume", json!({}))?;
    bob.event("unhold")?;
    bob.finds_tone(440.0)?;
    alice.finds_tone(1000.0)?;
    for browser in [&mut *alice, &mut *bob] {
        let before = browser.inbound("video")?.frames;
        browser.sees(before + 20.0)?;
    }
    bob.give("hangup", json!({}))?;
    alice.event("ended").map(drop)
}

/// Three browsers in a room: who is heard is seen, by those who speak too.
#[test]
fn rfc7741_4_2_browsers_in_a_room_see_who_speaks() -> Result<()> {
    with_office("browsers-room", |office| {
        let mut browsers = Vec::new();
        for (user, (hertz, hue)) in ["1001", "1002", "1003"].into_iter().zip(LOOKS) {
            let mut browser = office.browser(user, hertz)?;
            // Who comes with a sound has spoken, though nobody knows when before or after the next.
            let call = json!({ "to": "880", "video": true, "hue": hue, "gain": 0.0 });
            browser.give("call", call)?;
            browser.event("confirmed")?;
            browsers.push(browser);
        }
        // Whom each of the three sees; whoever speaks sees who spoke before, and the first one nobody knows
        // whom.
        let seen = [
            [None, Some(0), Some(0)],
            [Some(1), Some(0), Some(1)],
            [Some(2), Some(2), Some(1)],
        ];
        for (speaker, seen) in seen.into_iter().enumerate() {
            browsers[speaker].give("loud", json!({ "gain": 0.4 }))?;
            let others = (0..3).filter(|other| *other != speaker);
            for other in others {
                browsers[other].finds_tone(LOOKS[speaker].0)?;
            }
            for (browser, who) in browsers.iter_mut().zip(seen) {
                if let Some(who) = who {
                    browser.sees_hue(LOOKS[who].1)?;
                }
            }
            browsers[speaker].give("loud", json!({ "gain": 0.0 }))?;
        }
        for browser in &mut browsers {
            let before = browser.inbound("video")?.frames;
            browser.sees(before + 20.0)?;
        }
        all_leave(&mut browsers)
    })
}

/// What a page shows of those whom it hears: who they are, and how loud.
#[test]
fn rfc3550_7_1_pages_show_who_speaks_in_a_room_and_how_loud() -> Result<()> {
    with_office("browsers-sources", |office| {
        let mut browsers = Vec::new();
        let mut ssrcs = Vec::new();
        for (user, (hertz, _)) in ["1001", "1002", "1003"].into_iter().zip(LOOKS) {
            let mut browser = office.browser(user, hertz)?;
            browser.give("call", json!({ "to": "880", "gain": 0.0 }))?;
            browser.event("confirmed")?;
            browser.connected()?;
            ssrcs.push(browser.ssrc()?);
            browsers.push(browser);
        }
        let [first, second, third] = ssrcs[..] else {
            anyhow::bail!("{ssrcs:?}")
        };
        office.names(&ssrcs)?;
        browsers[0].give("loud", json!({ "gain": 0.4 }))?;
        browsers[1].finds_tone(LOOKS[0].0)?;
        browsers[1].shows_speakers(&[first])?;
        browsers[2].shows_speakers(&[first])?;
        browsers[0].shows_speakers(&[])?;
        // Another one interrupts; who has never said a word is never shown.
        browsers[2].give("loud", json!({ "gain": 0.4 }))?;
        browsers[0].finds_tone(LOOKS[2].0)?;
        browsers[0].shows_speakers(&[third])?;
        browsers[1].shows_speakers(&[first, third])?;
        browsers[2].shows_speakers(&[first])?;
        ensure!(second != first && second != third);
        all_leave(&mut browsers)
    })
}

fn all_leave(browsers: &mut [Chromium]) -> Result<()> {
    for browser in browsers {
        browser.give("hangup", json!({}))?;
        browser.event("ended")?;
    }
    Ok(())
}

/// The tone and the hue of each of three browsers.
const LOOKS: [(f64, f64); 3] = [(440.0, 0.0), (700.0, 120.0), (1000.0, 240.0)];

/// A page that has all streams on one port from the first offer on: the others' ports are 0.
#[test]
fn rfc9143_7_2_1_browsers_with_one_port_for_all_hear_and_see_each_other() -> Result<()> {
    with_office("browsers-bundle", |office| {
        let bundles = |account: &mut Account<'_>| {
            account.peer_connection = json!({ "bundlePolicy": "max-bundle" });
        };
        let mut alice = office.browser_with("1001", 440.0, bundles)?;
        let mut bob = office.browser_with("1002", 1000.0, bundles)?;
        alice.give("call", json!({ "to": "1002", "video": true }))?;
        bob.event("incoming")?;
        bob.give("answer", json!({ "video": true }))?;
        alice.event("confirmed")?;
        alice.finds_tone(1000.0)?;
        bob.finds_tone(440.0)?;
        for browser in [&mut alice, &mut bob] {
            browser.sees(20.0)?;
            ensure!(browser.transports()? == 1, "there is more than one port");
        }
        holds_and_goes_on(&mut alice, &mut bob)
    })
}

#[test]
fn rfc9143_7_3_a_browser_with_one_port_for_all_calls_a_phone_and_is_called_by_it() -> Result<()> {
    with_office("browser-bundle-phone", |office| {
        let mut bob = office.phone("1002", 1000.0)?;
        let mut alice = office.browser_with("1001", 440.0, |account| {
            account.peer_connection = json!({ "bundlePolicy": "max-bundle" });
        })?;
        alice.give("call", json!({ "to": "1002", "video": true }))?;
        alice.event("confirmed")?;
        alice.finds_tone(1000.0)?;
        bob.hear(3.0)?;
        alice.give("hangup", json!({}))?;
        bob.event("CALL_CLOSED")?;
        bob.heard()?.ensure_tone(440.0, 3.0)?;
        bob.dial("1001")?;
        alice.event("incoming")?;
        alice.give("answer", json!({}))?;
        bob.event("CALL_ESTABLISHED")?;
        alice.finds_tone(1000.0)?;
        bob.hang_up()?;
        alice.event("ended").map(drop)
    })
}

/// 5 % of all packets are lost on the browser's way, each way, and the others late by up to 30 ms.
#[test]
fn rfc8834_4_a_bad_network_spoils_little() -> Result<()> {
    with_office("browser-bad-network", |office| {
        let weather = Weather {
            loss: 0.05,
            jitter: Duration::from_millis(30),
        };
        let network = BadNetwork::start(weather)?;
        let mut bob = office.phone("1002", 1000.0)?;
        let mut alice = office.browser_with("1001", 440.0, |account| {
            account.relay = Some(network.address());
        })?;
        alice.give("call", json!({ "to": "1002" }))?;
        let told = alice.event("remote_candidate")?;
        let (ip, port) = (told["address"].as_str(), told["port"].as_u64());
        let ip = ip.context("no address")?.parse()?;
        network.lead_to(SocketAddr::new(ip, port.context("no port")?.try_into()?));
        alice.event("confirmed")?;
        alice.finds_tone(1000.0)?;
        alice.ensure_tone(1000.0, 5000, 0.2)?;
        let early = alice.inbound("audio")?;
        alice.ensure_tone(1000.0, 20_000, 0.2)?;
        let late = alice.inbound("audio")?;
        let (passed, lost) = network.counts();
        ensure!(
            lost * 10 > passed / 10 && late.lost > 5.0,
            "{passed} {lost} {late:?}"
        );
        // What came late does not add up: the buffer is as long at the end as at the beginning.
        ensure!(
            late.delay < 0.3 && late.delay < early.delay + 0.1,
            "{early:?} {late:?}"
        );
        alice.give("hangup", json!({}))?;
        bob.event("CALL_CLOSED")?;
        bob.heard()?.ensure_tone(440.0, 20.0)
    })
}

/// A browser that may use nothing but the server's own TURN server.
#[test]
fn rfc8656_3_a_browser_behind_a_firewall_hears_the_server_by_its_relay() -> Result<()> {
    let port = Cell::new(0);
    let settings = |lab: &mut Lab| {
        let turn = lab.ports().port()?;
        port.set(turn);
        let (low, high) = lab.ports().range(20)?;
        Ok(vec![
            ("turn.listen", format!("[\"tcp:127.0.0.1:{turn}\"]")),
            ("turn.users", "[\"browser:secret\"]".to_owned()),
            ("turn.advertise", "127.0.0.1".to_owned()),
            ("turn.allow", "[\"127.0.0.0/8\"]".to_owned()),
            ("turn.ports", format!("{low}-{high}")),
        ])
    };
    with_office_and("browser-turn", settings, |office| {
        let mut alice = office.browser_with("1001", 440.0, |account| {
            account.peer_connection = json!({
                "iceTransportPolicy": "relay",
                "iceServers": [{
                    "urls": format!("turn:127.0.0.1:{}?transport=tcp", port.get()),
                    "username": "browser",
                    "credential": "secret",
                }],
            });
        })?;
        alice.give("call", json!({ "to": "601" }))?;
        alice.event("confirmed")?;
        alice.finds_tone(1004.0)?;
        alice.give("hangup", json!({}))?;
        alice.event("ended").map(drop)
    })
}

struct Office<'a> {
    lab: &'a mut Lab,
    server: Server,
    url: String,
}

impl Office<'_> {
    fn browser(&mut self, user: &str, hertz: f64) -> Result<Chromium> {
        self.browser_with(user, hertz, |_| {})
    }

    fn browser_with(
        &mut self,
        user: &str,
        hertz: f64,
        change: impl FnOnce(&mut Account<'_>),
    ) -> Result<Chromium> {
        let password = format!("secret-{user}");
        let mut account = Account {
            user,
            password: &password,
            domain: self.server.sip(),
            url: &self.url,
            at: None,
            hertz,
            relay: None,
            peer_connection: json!({}),
        };
        change(&mut account);
        Chromium::register(self.lab, &account)
    }

    fn phone(&mut self, user: &str, hertz: f64) -> Result<Baresip> {
        let password = format!("secret-{user}");
        let mut account = baresip::Account::new(user, &password, self.server.sip());
        account.answers = true;
        account.hertz = hertz;
        Baresip::register(self.lab, &account)
    }
}

impl Office<'_> {
    /// Waits until the server says whose these are: in the room 880 each of the users from 1001 on has one.
    fn names(&self, ssrcs: &[u64]) -> Result<()> {
        let named = || -> Result<bool> {
            let output = self.server.ctl(&["rooms", "--json"])?;
            let rooms: Value = serde_json::from_slice(&output.stdout).context("parse the rooms")?;
            let there = rooms[0]["participants"].as_array().context("nobody")?;
            let of = |user: usize| {
                let name = (1001 + user).to_string();
                let one = there.iter().find(|one| one["name"] == *name)?;
                one["ssrc"].as_u64()
            };
            let mut all = ssrcs.iter().enumerate();
            Ok(all.all(|(user, ssrc)| of(user) == Some(*ssrc)))
        };
        let found = until("names of SSRCs", PATIENCE, || Ok(named()?.then_some(())));
        found.with_context(|| format!("{ssrcs:?}"))
    }
}

/// Runs a test at a server that speaks WSS, with three users.
fn with_office(name: &str, test: impl FnOnce(&mut Office<'_>) -> Result<()>) -> Result<()> {
    with_office_and(name, |_| Ok(Vec::new()), test)
}

/// Does the same with more settings of the server.
fn with_office_and(
    name: &str,
    settings: impl FnOnce(&mut Lab) -> Result<Vec<(&'static str, String)>>,
    test: impl FnOnce(&mut Office<'_>) -> Result<()>,
) -> Result<()> {
    let peers = [
        peer::NODE,
        peer::CHROMIUM,
        peer::JSSIP_IN_BROWSER,
        peer::BARESIP,
    ];
    Lab::run(name, &peers, |lab| {
        let user = |user| format!("[user.{user}]\npassword = \"secret-{user}\"\n");
        lab.site()
            .configure(&["1001", "1002", "1003"].map(user).concat())?;
        let authority = lab.authority()?;
        let more = settings(lab)?;
        let more: Vec<_> = more.iter().map(|(key, value)| (*key, &**value)).collect();
        let server = lab.server_with_tls_and(&authority, &more)?;
        let url = format!("wss://localhost:{}/ws", lab.site().https.port());
        let mut office = Office { lab, server, url };
        test(&mut office)?;
        office.server.settles()
    })
}

const PATIENCE: Duration = Duration::from_secs(30);
