//! Calls by a trunk, seen from the provider's side.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use pbx::trunk::config::Proxy;
use pbx::{Extension, Step, TrunkSettings, Trunks};
use sip::digest::Account;
use sip::locate::Server;
use testkit::peer::OFFER;
use testkit::{Command, Manner, Peer, PhoneId, Place, Settings, World, simulate};

/// A world with a trunk at the address of [`Peer`], and a phone of 1002; numbers that begin with 9 are
/// outside.
fn with_trunk(story: impl FnOnce(&mut World, PhoneId)) {
    let mut settings = Settings::calm(1);
    let proxy = Proxy {
        server: Server {
            port: Some(5062),
            ..Server::named("198.51.100.7")
        },
        priority: 0,
        weight: 1,
    };
    let mut trunk = TrunkSettings::new("provider", "provider.example", vec![proxy]);
    trunk.qualify = Duration::ZERO;
    trunk.keep_alive = Duration::ZERO;
    trunk.account = Some(Account {
        user: "acct".to_owned(),
        password: "secret".to_owned(),
    });
    let outside = Extension {
        number: "9.".to_owned(),
        strip: 1,
        steps: vec![Step::Trunk {
            trunks: vec!["provider".to_owned()],
            number: "{number}".to_owned(),
        }],
        ..Extension::default()
    };
    settings.config.dialplan.extensions.insert(0, outside);
    settings.config.trunks = Trunks::new(vec![trunk], &Trunks::default());
    let again = "cargo test -p dialtone-testkit --test trunks";
    simulate(settings, again, |world| {
        let phone = world.phone("1002", Place::Udp, Manner::default());
        world.tell(phone, Command::Register);
        world.run(Duration::from_secs(1));
        story(world, phone);
        world.run(Duration::from_secs(90));
    });
}

/// The last request with this method.
fn asked(heard: &[String], method: &str) -> String {
    let start = format!("{method} ");
    let mut requests = heard.iter().filter(|text| text.starts_with(&start));
    let found = requests.next_back();
    found
        .unwrap_or_else(|| panic!("no {method}: {heard:?}"))
        .clone()
}

fn nonce(request: &str) -> Option<&str> {
    request.split_once("nonce=\"")?.1.split('"').next()
}

/// RFC 3261 §22.2, §22.3: a provider may want a proof for any request, not only for the INVITE.
#[test]
fn rfc3261_22_2_challenges_inside_a_call_are_answered() {
    with_trunk(|world, phone| {
        let mut provider = Peer::new("x");
        world.tell(phone, Command::Dial("9123".to_owned()));
        world.run(Duration::from_millis(200));
        let challenge = |nonce: &str| {
            format!("Proxy-Authenticate: Digest realm=\"p\", nonce=\"{nonce}\", qop=\"auth\"")
        };
        let invite = asked(&provider.heard(world), "INVITE");
        assert_eq!(nonce(&invite), None);
        let heard = provider.answer_with(world, &invite, 407, &[&challenge("one")], "");
        let invite = asked(&heard, "INVITE");
        assert_eq!(nonce(&invite), Some("one"));
        provider.answer_with(world, &invite, 200, &[], OFFER);
        assert!(world.at(phone).lines()[0].up);

        for method in ["INVITE", "BYE"] {
            let command = match method {
                "BYE" => Command::HangUp,
                _ => Command::Hold {
                    hold: true,
                    update: false,
                },
            };
            world.tell(phone, command);
            world.run(Duration::from_millis(100));
            let request = asked(&provider.heard(world), method);
            assert_ne!(nonce(&request), Some(method));
            let heard = provider.answer_with(world, &request, 407, &[&challenge(method)], "");
            let again = asked(&heard, method);
            assert_eq!(nonce(&again), Some(method), "{heard:?}");
            // One refusal of what was proved is the last word.
            if method == "BYE" {
                let heard = provider.answer_with(world, &again, 407, &[&challenge("x")], "");
                assert!(heard.is_empty(), "{heard:?}");
            } else {
                provider.answer_with(world, &again, 200, &[], OFFER);
                assert!(world.at(phone).lines()[0].up);
            }
        }
    });
}

/// RFC 3261 §22.3: what a provider's own proxies were shown is not for us.
#[test]
fn rfc3261_22_3_credentials_for_another_realm_do_not_hide_a_trunk() {
    with_trunk(|world, phone| {
        let mut provider = Peer::new("x");
        let digest = |realm: &str| {
            format!(
                "Authorization: Digest username=\"1001\", realm=\"{realm}\", nonce=\"n\", \
                 uri=\"sip:1002@192.0.2.1\", response=\"00000000000000000000000000000000\""
            )
        };
        let uri = "sip:1002@192.0.2.1";
        let ours = provider.ask(world, "INVITE", uri, &[&digest("sim")], OFFER);
        assert!(ours[0].starts_with("SIP/2.0 401"), "{ours:?}");
        provider.begin();
        let theirs = provider.ask(world, "INVITE", uri, &[&digest("theirs")], OFFER);
        assert!(theirs[0].starts_with("SIP/2.0 100"), "{theirs:?}");
        assert_eq!(world.at(phone).calls(), 1);
    });
}

/// A user whose phone is said to be behind the provider's server would have calls sent there as if they
/// were ours: past the dial plan, the limits of the trunk, and the caller's right to call out.
#[test]
fn no_phone_is_behind_a_trunk_or_behind_ourselves() {
    with_trunk(|world, phone| {
        world.name("way.example", "198.51.100.7:5062".parse().unwrap());
        world.name("self.example", "192.0.2.1:5060".parse().unwrap());
        let fraud = "203.0.113.66:5060".parse().unwrap();
        for host in ["way.example", "self.example"] {
            let mut user = Peer::new("1003").at(fraud);
            user.begin();
            let path = format!("Path: <sip:{host};lr>");
            let fields = [
                "To: <sip:1003@192.0.2.1>",
                "Supported: path",
                &path,
                "Contact: <sip:00900@provider.example>",
            ];
            user.ask_as_user(world, "REGISTER", "sip:192.0.2.1", &fields, "");
            let mut provider = Peer::new("x");
            provider.heard(world);
            world.tell(phone, Command::Dial("1003".to_owned()));
            world.run(Duration::from_millis(500));
            let heard = provider.heard(world);
            assert!(heard.is_empty(), "{host}: {heard:?}");
            let invite = asked(&user.heard(world), "INVITE");
            assert!(invite.contains(host), "{invite}");
            world.tell(phone, Command::HangUp);
            world.run(Duration::from_secs(40));
        }
    });
}

/// Behind one address with the provider's server a user's Contact can name that server's port.
#[test]
fn a_phone_at_the_address_of_a_trunk_is_reached_where_it_registered() {
    with_trunk(|world, phone| {
        let mut user = Peer::new("1003").at("198.51.100.7:7000".parse().unwrap());
        let fields = [
            "To: <sip:1003@192.0.2.1>",
            "Via: SIP/2.0/UDP 198.51.100.7:7000;branch=z9hG4bKmine",
            "Contact: <sip:00900@198.51.100.7:5062>",
        ];
        let uri = "sip:192.0.2.1";
        let challenge = user.ask(world, "REGISTER", uri, &fields[..1], "");
        let proof = user.prove(&challenge, "REGISTER", uri).unwrap();
        let fields = [fields[0], fields[1], fields[2], &proof];
        let answers = user.ask(world, "REGISTER", uri, &fields, "");
        assert!(answers[0].starts_with("SIP/2.0 200"), "{answers:?}");
        world.tell(phone, Command::Dial("1003".to_owned()));
        world.run(Duration::from_millis(500));
        asked(&user.heard(world), "INVITE");
        assert!(Peer::new("x").heard(world).is_empty());
        world.tell(phone, Command::HangUp);
    });
}

/// RFC 3261 §22.2: INFO that we send by ourselves is proved too, and a provider that does not know it gets keys
/// as tones.
#[test]
fn rfc3261_22_2_a_key_in_info_is_proved_and_pressed_where_info_is_refused() {
    with_trunk(|world, phone| {
        let mut provider = Peer::new("x");
        world.tell(phone, Command::Dial("9123".to_owned()));
        world.run(Duration::from_millis(200));
        let invite = asked(&provider.heard(world), "INVITE");
        provider.answer_with(
            world,
            &invite,
            200,
            &["Allow: INVITE, ACK, BYE, INFO"],
            OFFER,
        );
        assert!(world.at(phone).lines()[0].up);

        let challenge = "Proxy-Authenticate: Digest realm=\"p\", nonce=\"key\", qop=\"auth\"";
        world.tell(phone, Command::Key('5'));
        world.run(Duration::from_millis(100));
        let info = asked(&provider.heard(world), "INFO");
        assert!(info.contains("Signal=5\r\n"), "{info}");
        let heard = provider.answer_with(world, &info, 407, &[challenge], "");
        let info = asked(&heard, "INFO");
        assert_eq!(nonce(&info), Some("key"));
        assert!(info.contains("Signal=5\r\n"), "{info}");
        let place = "198.51.100.7:4000".parse().unwrap();
        assert_eq!(world.server.media.pressed_at(place), "");
        provider.answer_with(world, &info, 415, &[], "");
        assert_eq!(world.server.media.pressed_at(place), "5");
        world.tell(phone, Command::Key('5'));
        world.run(Duration::from_millis(100));
        assert!(provider.heard(world).is_empty());
        assert_eq!(world.server.media.pressed_at(place), "55");
        world.tell(phone, Command::HangUp);
        world.run(Duration::from_secs(1));
        let bye = asked(&provider.heard(world), "BYE");
        provider.answer_with(world, &bye, 200, &[], "");
    });
}
