//! Calls from a trunk whose callers' numbers are signed, or not, or wrongly.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::time::Duration;

use pbx::stir::{StirPolicy, Verify};
use pbx::trunk::config::Proxy;
use pbx::{Extension, Step, TrunkSettings, Trunks};
use sip::locate::Server;
use stir::{Attest, Call, Certificate, Identity, Signer, SigningKey, date};
use testkit::peer::OFFER;
use testkit::{Command, Manner, Peer, Place, Settings, World, simulate};

/// A world with a trunk at the address of [`Peer`], and a phone of 1002.
fn with_trunk(stir: StirPolicy, story: impl FnOnce(&mut World)) {
    let mut settings = Settings::calm(1);
    let proxy = Proxy {
        server: Server {
            port: Some(5062),
            ..Server::named("198.51.100.7")
        },
        priority: 0,
        weight: 1,
    };
    let mut trunk = TrunkSettings::new("provider", "192.0.2.1", vec![proxy]);
    trunk.qualify = Duration::ZERO;
    trunk.sources = vec![("198.51.100.7".parse().unwrap(), 32)];
    trunk.identity.trusted = true;
    trunk.stir = stir;
    settings.config.dialplan.extensions.push(Extension {
        number: "9.".to_owned(),
        strip: 1,
        steps: vec![Step::Trunk {
            trunks: vec!["provider".to_owned()],
            number: "{number}".to_owned(),
        }],
        ..Extension::default()
    });
    settings.config.trunks = Trunks::new(vec![trunk], &Trunks::default());
    let again = "cargo test -p dialtone-testkit --test signed_numbers";
    simulate(settings, again, |world| {
        let phone = world.phone("1002", Place::Udp, Manner::default());
        world.tell(phone, Command::Register);
        world.run(Duration::from_secs(1));
        world.publish(URL, certificate());
        story(world);
    });
}

fn verify(verify: Verify) -> StirPolicy {
    StirPolicy { sign: None, verify }
}

fn key(number: u8) -> SigningKey {
    let key = p256::SecretKey::from_slice(&[number; 32]).unwrap();
    SigningKey::from_pem(&key.to_sec1_pem(Default::default()).unwrap()).unwrap()
}

fn certificate() -> Certificate {
    Certificate {
        key: key(7).public(),
        not_before: NOW - 1000,
        not_after: NOW + 1000,
        authority: None,
    }
}

fn signed(by: u8, orig: &str, at: u64) -> String {
    signed_at(URL, by, orig, at)
}

fn signed_at(url: &str, by: u8, orig: &str, at: u64) -> String {
    let signer = Signer::new(key(by), url, Attest::Full, "x");
    let call = Call {
        orig: orig.into(),
        dest: "1002".into(),
    };
    format!("Identity: {}", signer.sign(&call, at))
}

/// Calls 1002 from +12155550112 and returns the answers, and the INVITE that the phone got.
fn call(world: &mut World, fields: &[&str]) -> (Vec<String>, Option<String>) {
    let from = "From: <sip:+12155550112@192.0.2.1>;tag=peer";
    let mut all = vec![from];
    all.extend(fields);
    let answers = Peer::new("x").ask(world, "INVITE", "sip:1002@192.0.2.1", &all, OFFER);
    let sent = world.tap().all().iter().map(|sent| &sent.bytes);
    let mut texts = sent.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let invite = texts.find(|text| text.starts_with("INVITE") && text.contains("sip:1002@10."));
    (answers, invite)
}

fn status(answers: &[String]) -> &str {
    answers.last().unwrap().split(' ').nth(1).unwrap()
}

/// What the phone is told of the caller's number.
fn verstat(fields: &[&str]) -> String {
    let mut told = String::new();
    with_trunk(verify(Verify::Mark), |world| {
        let (answers, invite) = call(world, fields);
        let (_, rest) = invite
            .as_deref()
            .and_then(|invite| invite.split_once("verstat="))
            .unwrap_or_else(|| panic!("{answers:?} {invite:?}"));
        told = rest.split(['@', ';', '>']).next().unwrap().to_owned();
        world.run(Duration::from_secs(90));
    });
    told
}

/// The answer where signatures are demanded.
fn demanded(fields: &[&str]) -> String {
    let mut found = String::new();
    with_trunk(verify(Verify::Require), |world| {
        let (answers, _) = call(world, fields);
        found = status(&answers).to_owned();
        world.run(Duration::from_secs(90));
    });
    found
}

#[test]
fn rfc8224_6_2_a_signed_number_passes() {
    let identity = signed(7, "12155550112", NOW);
    assert_eq!(verstat(&[&identity]), "TN-Validation-Passed");
    let answer = demanded(&[&identity]);
    assert!(["100", "180", "200"].contains(&&*answer), "{answer}");
    // The asserted number counts more than the one in From.
    let asserted = "P-Asserted-Identity: <sip:+12155550199@192.0.2.1>";
    let identity = signed(7, "12155550199", NOW);
    assert_eq!(verstat(&[asserted, &identity]), "TN-Validation-Passed");
}

#[test]
fn rfc8224_6_2_2_what_is_wrong_is_told_or_refused() {
    assert_eq!(verstat(&[]), "No-TN-Validation");
    assert_eq!(demanded(&[]), "428");
    let forged = signed(8, "12155550112", NOW);
    assert_eq!(verstat(&[&forged]), "TN-Validation-Failed");
    assert_eq!(demanded(&[&forged]), "438");
    assert_eq!(demanded(&[&signed(7, "12155550113", NOW)]), "438");
    assert_eq!(demanded(&[&signed(7, "12155550112", NOW - 120)]), "403");
    assert_eq!(demanded(&["Identity: nonsense"]), "438");
    let elsewhere = signed_at("https://gone.example/x", 7, "12155550112", NOW);
    assert_eq!(demanded(&[&elsewhere]), "436");
    assert_eq!(verstat(&[&elsewhere]), "No-TN-Validation");
}

#[test]
fn a_caller_who_does_not_wait_leaves_nothing_behind() {
    with_trunk(verify(Verify::Require), |world| {
        world.set_names(testkit::Names {
            silent: 100,
            ..testkit::Names::good()
        });
        let (answers, _) = call(world, &[&signed(7, "12155550112", NOW)]);
        assert_eq!(status(&answers), "100");
        // Nobody ever answers the server's question; the world is at rest all the same.
        world.run(Duration::from_secs(90));
    });
}

#[test]
fn rfc8224_6_1_our_calls_to_a_trunk_are_signed() {
    let signer = Signer::new(key(7), URL, Attest::Full, "x");
    let stir = StirPolicy {
        sign: Some(Arc::new(signer)),
        verify: Verify::Off,
    };
    with_trunk(stir, |world| {
        let mut provider = Peer::new("x");
        // The trunk asks whether the provider is there before it is used.
        world.run(Duration::from_secs(2));
        let caller = world.phone("1001", Place::Udp, Manner::default());
        world.tell(caller, Command::Dial("912155550177".to_owned()));
        world.run(Duration::from_secs(2));
        let heard = provider.heard(world);
        let invite = heard.iter().find(|text| text.starts_with("INVITE "));
        let invite = invite.unwrap_or_else(|| panic!("{heard:?}"));
        let message = sip::Message::parse(invite.as_bytes()).unwrap();
        let date = date::parse(message.header(sip::HeaderName::Date).unwrap()).unwrap();
        let value = message.other_header("Identity").unwrap();
        let call = Call {
            orig: "1001".into(),
            dest: "12155550177".into(),
        };
        let identity = Identity::parse(value).unwrap();
        let claim = identity.examine(&call, date, Some(date)).unwrap();
        assert!(claim.verify_with(&certificate(), date).is_ok());
        world.run(Duration::from_secs(90));
    });
}

const URL: &str = "https://cert.example/shaken.pem";

/// When the simulated world begins, and the second that has passed.
const NOW: u64 = 1_800_000_001;
