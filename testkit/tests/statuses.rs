//! What the server answers to the odd, the wrong and the impossible.

use std::time::Duration;

use testkit::peer::OFFER;
use testkit::{Command, Manner, Peer, Place, Settings, World, simulate};

fn calm(story: impl FnOnce(&mut World)) {
    let again = "cargo test -p dialtone-testkit --test statuses";
    simulate(Settings::calm(1), again, story);
}

/// Status of the last answer.
fn status(answers: &[String]) -> &str {
    let last = answers.last().expect("the server answers");
    last.split(' ').nth(1).expect("a status")
}

fn field<'a>(answers: &'a [String], name: &str) -> Option<&'a str> {
    let last = answers.last()?;
    last.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Calls as user 1001.
fn invite(uri: &str, fields: &[&str], body: &str, check: impl Fn(&[String])) {
    calm(|world| {
        let answers = Peer::new("1001").ask_as_user(world, "INVITE", uri, fields, body);
        check(&answers);
    });
}

fn phone(world: &mut World, user: &str, manner: Manner) {
    let phone = world.phone(user, Place::Udp, manner);
    world.tell(phone, Command::Register);
    world.run(Duration::from_secs(1));
}

#[test]
fn rfc3261_21_4_5_a_number_that_leads_nowhere_is_404() {
    invite("sip:9@192.0.2.1", &[], OFFER, |answers| {
        assert_eq!(status(answers), "404");
    });
    invite("sip:1009@192.0.2.1", &[], OFFER, |answers| {
        assert_eq!(status(answers), "404");
    });
}

#[test]
fn rfc3261_21_4_18_a_user_without_a_phone_is_480() {
    invite("sip:1002@192.0.2.1", &[], OFFER, |answers| {
        assert_eq!(status(answers), "480");
    });
}

#[test]
fn a_call_without_a_number_is_484() {
    invite("sip:192.0.2.1", &[], OFFER, |answers| {
        assert_eq!(status(answers), "484");
    });
}

#[test]
fn the_dial_plan_refuses_with_its_own_status() {
    invite("sip:700@192.0.2.1", &[], OFFER, |answers| {
        assert_eq!(status(answers), "486");
    });
}

#[test]
fn rfc3261_16_3_without_hops_left_is_483() {
    invite(
        "sip:600@192.0.2.1",
        &["Max-Forwards: 0"],
        OFFER,
        |answers| {
            assert_eq!(status(answers), "483");
        },
    );
}

#[test]
fn rfc3261_8_2_2_3_an_unknown_extension_is_420() {
    invite(
        "sip:600@192.0.2.1",
        &["Require: 100rel, teleport"],
        OFFER,
        |answers| {
            assert_eq!(status(answers), "420");
            assert_eq!(field(answers, "Unsupported"), Some("teleport"));
        },
    );
}

#[test]
fn rfc4028_9_a_short_session_is_422() {
    invite(
        "sip:600@192.0.2.1",
        &["Session-Expires: 60"],
        OFFER,
        |answers| {
            assert_eq!(status(answers), "422");
            assert_eq!(field(answers, "Min-SE"), Some("90"));
        },
    );
}

#[test]
fn rfc3261_21_4_26_no_codec_in_common_is_488() {
    let strange = OFFER.replace("RTP/AVP 0", "RTP/AVP 77");
    invite("sip:600@192.0.2.1", &[], &strange, |answers| {
        assert_eq!(status(answers), "488");
    });
}

#[test]
fn a_body_that_is_no_description_is_488() {
    invite("sip:600@192.0.2.1", &[], "garbage", |answers| {
        assert_eq!(status(answers), "488");
    });
}

#[test]
fn more_calls_than_configured_are_503() {
    let mut settings = Settings::calm(1);
    settings.config.calls.max_calls = 0;
    simulate(
        settings,
        "cargo test -p dialtone-testkit --test statuses",
        |world| {
            let mut peer = Peer::new("1001");
            let answers = peer.ask_as_user(world, "INVITE", "sip:600@192.0.2.1", &[], OFFER);
            assert_eq!(status(&answers), "503");
            assert!(field(&answers, "Retry-After").is_some());
        },
    );
}

#[test]
fn no_ports_are_503() {
    let mut settings = Settings::calm(1);
    settings.ports = 1;
    simulate(
        settings,
        "cargo test -p dialtone-testkit --test statuses",
        |world| {
            phone(world, "1002", Manner::default());
            let mut peer = Peer::new("1001");
            let answers = peer.ask_as_user(world, "INVITE", "sip:1002@192.0.2.1", &[], OFFER);
            assert_eq!(status(&answers), "503");
        },
    );
}

#[test]
fn rfc3261_8_2_1_methods_that_we_do_not_allow() {
    calm(|world| {
        let mut peer = Peer::new("1001");
        for (method, expected) in [("REFER", "405"), ("NOTIFY", "405"), ("TELEPORT", "501")] {
            peer.begin();
            let answers = peer.ask(world, method, "sip:1002@192.0.2.1", &[], "");
            assert_eq!(status(&answers), expected, "{method}");
            assert!(field(&answers, "Allow").is_some_and(|allow| allow.contains("INVITE")));
        }
    });
}

#[test]
fn rfc3261_12_2_2_requests_for_a_dialog_that_is_not_there_are_481() {
    calm(|world| {
        let mut peer = Peer::new("1001");
        for method in ["BYE", "UPDATE", "INFO", "PRACK", "INVITE", "CANCEL"] {
            let to = "To: <sip:1002@192.0.2.1>;tag=7f-0123456789abcdef";
            let answers = peer.ask(world, method, "sip:1002@192.0.2.1", &[to], "");
            assert_eq!(status(&answers), "481", "{method}");
        }
        let to = "To: <sip:1002@192.0.2.1>;tag=7f-0123456789abcdef";
        assert!(
            peer.ask(world, "ACK", "sip:1002@192.0.2.1", &[to], "")
                .is_empty()
        );
    });
}

/// RFC 3261 §11.
#[test]
fn options_tell_what_we_can_do() {
    calm(|world| {
        let answers = Peer::new("1001").ask(world, "OPTIONS", "sip:192.0.2.1", &[], "");
        assert_eq!(status(&answers), "200");
        assert!(field(&answers, "Accept").is_some_and(|all| all.starts_with("application/sdp, ")));
        assert!(field(&answers, "Supported").is_some_and(|all| all.contains("timer")));
    });
}

fn register(fields: &[&str], check: impl Fn(&[String])) {
    calm(|world| {
        let mut fields = fields.to_vec();
        fields.push("To: <sip:1001@192.0.2.1>");
        let mut peer = Peer::new("1001");
        let answers = peer.ask_as_user(world, "REGISTER", "sip:192.0.2.1", &fields, "");
        check(&answers);
    });
}

#[test]
fn rfc3261_10_3_a_short_registration_is_423() {
    register(&["Expires: 30"], |answers| {
        assert_eq!(status(answers), "423");
        assert_eq!(field(answers, "Min-Expires"), Some("60"));
    });
}

#[test]
fn rfc3261_10_3_a_long_registration_is_cut() {
    register(&["Expires: 100000"], |answers| {
        assert_eq!(status(answers), "200");
        let contact = field(answers, "Contact").unwrap();
        assert!(contact.ends_with(";expires=900"), "{contact}");
    });
}

#[test]
fn rfc3261_10_2_2_a_star_stands_alone() {
    register(&["Contact: *", "Expires: 60"], |answers| {
        assert_eq!(status(answers), "400");
    });
    register(&["Contact: *"], |answers| {
        assert_eq!(status(answers), "400");
    });
    register(&["Contact: *, <sip:a@h>", "Expires: 0"], |answers| {
        assert_eq!(status(answers), "400");
    });
    register(&["Contact: *", "Expires: 0"], |answers| {
        assert_eq!(status(answers), "200");
        assert_eq!(field(answers, "Contact"), None);
    });
}

#[test]
fn registrations_of_another_user_are_403() {
    calm(|world| {
        let fields = ["To: <sip:1002@192.0.2.1>"];
        let mut peer = Peer::new("1001");
        let uri = "sip:192.0.2.1";
        let challenge = peer.ask(world, "REGISTER", uri, &fields, "");
        assert_eq!(status(&challenge), "401");
        let answers = peer.ask_as_user(world, "REGISTER", uri, &fields, "");
        assert_ne!(status(&answers), "200");
        assert!(world.server.bindings().is_empty());
    });
}

/// RFC 3327 §5.3: a Path is kept, given back, and used as a route to the phone.
#[test]
fn rfc3327_calls_take_the_path() {
    calm(|world| {
        let fields = [
            "To: <sip:1001@192.0.2.1>",
            "Supported: path",
            "Path: <sip:198.51.100.7:5062;lr>, <sip:far.example;lr>",
            "Contact: <sip:1001@10.77.0.1:5060>",
        ];
        let mut peer = Peer::new("1001");
        let answers = peer.ask_as_user(world, "REGISTER", "sip:192.0.2.1", &fields, "");
        assert_eq!(status(&answers), "200");
        let path = field(&answers, "Path");
        assert_eq!(
            path,
            Some("<sip:198.51.100.7:5062;lr>, <sip:far.example;lr>")
        );
        let caller = world.phone("1002", Place::Udp, Manner::default());
        world.tell(caller, Command::Dial("1001".to_owned()));
        world.run(Duration::from_secs(1));
        let heard = peer.heard(world);
        let invite = heard
            .iter()
            .find(|text| text.starts_with("INVITE "))
            .unwrap();
        assert!(
            invite.starts_with("INVITE sip:1001@10.77.0.1:5060 SIP/2.0\r\n"),
            "{invite}"
        );
        let routes: Vec<_> = invite
            .lines()
            .filter(|line| line.starts_with("Route: "))
            .collect();
        assert_eq!(
            routes,
            [
                "Route: <sip:198.51.100.7:5062;lr>",
                "Route: <sip:far.example;lr>"
            ]
        );
    });
}

#[test]
fn a_full_disk_is_503_and_nothing_is_changed() {
    calm(|world| {
        world.server.set_disk_open(false);
        let fields = ["To: <sip:1001@192.0.2.1>"];
        let mut peer = Peer::new("1001");
        let answers = peer.ask_as_user(world, "REGISTER", "sip:192.0.2.1", &fields, "");
        assert_eq!(status(&answers), "503");
        assert!(field(&answers, "Retry-After").is_some());
        assert!(world.server.bindings().is_empty());
    });
}

/// RFC 3261 §26.1.5: guessing is made hopeless, and not at the cost of those who are registered.
#[test]
fn whoever_guesses_passwords_is_not_listened_to() {
    calm(|world| {
        let uri = "sip:192.0.2.1";
        let mut neighbour = Peer::new("1002");
        let fields = ["To: <sip:1002@192.0.2.1>"];
        let answers = neighbour.ask_as_user(world, "REGISTER", uri, &fields, "");
        assert_eq!(status(&answers), "200");

        let mut peer = Peer::new("1001");
        let to = ["To: <sip:1001@192.0.2.1>"];
        let challenge = peer.ask(world, "REGISTER", uri, &to, "");
        let guess = guess(field(&challenge, "WWW-Authenticate").unwrap());
        let wrong = [to[0], &guess];
        for _ in 0..20 {
            assert_eq!(status(&peer.ask(world, "REGISTER", uri, &wrong, "")), "403");
        }
        assert_eq!(status(&peer.ask(world, "REGISTER", uri, &wrong, "")), "503");
        let right = ["To: <sip:1001@192.0.2.1>"];
        let answers = peer.ask_as_user(world, "REGISTER", uri, &right, "");
        assert_eq!(status(&answers), "503");
        assert_eq!(field(&answers, "Retry-After"), Some("10"));

        neighbour.heard(world);
        let answers = neighbour.ask_as_user(world, "REGISTER", uri, &fields, "");
        assert_eq!(status(&answers), "200");
        peer.heard(world);
        world.run(Duration::from_secs(10));
        let answers = peer.ask_as_user(world, "REGISTER", uri, &right, "");
        assert_eq!(status(&answers), "200");
    });
}

/// Credentials with the nonce of a challenge and a wrong password.
fn guess(challenge: &str) -> String {
    let (_, nonce) = challenge.split_once("nonce=\"").expect("a nonce");
    let nonce = nonce.split('"').next().expect("a closing quote");
    format!(
        "Authorization: Digest username=\"1001\", realm=\"sim\", nonce=\"{nonce}\", \
         uri=\"sip:192.0.2.1\", response=\"00000000000000000000000000000000\""
    )
}

/// Who writes another's address on his datagrams does not hear the challenge, so he has no nonce that
/// was made for it: with an invented one nobody looks at the password, and with one of his own he gets
/// himself locked out.
#[test]
fn rfc3261_26_1_5_a_false_address_locks_nobody_out() {
    calm(|world| {
        let (uri, to) = ("sip:192.0.2.1", "To: <sip:1001@192.0.2.1>");
        let mut forger = Peer::new("1001").at("203.0.113.9:5060".parse().unwrap());
        let challenge = forger.ask(world, "REGISTER", uri, &[to], "");
        let own = guess(field(&challenge, "WWW-Authenticate").unwrap());
        let invented = guess("nonce=\"none\"");
        let mut victim = Peer::new("1001");
        for _ in 0..30 {
            let answers = victim.ask(world, "REGISTER", uri, &[to, &invented], "");
            assert_eq!(status(&answers), "401");
            let again = field(&answers, "WWW-Authenticate").unwrap();
            assert!(again.contains("stale=true"), "{again}");
        }
        for _ in 0..20 {
            let answers = victim.ask(world, "REGISTER", uri, &[to, &own], "");
            assert_eq!(status(&answers), "403");
        }
        let answers = victim.ask(world, "REGISTER", uri, &[to, &own], "");
        assert_eq!(status(&answers), "503", "his nonce is worth nothing now");
        let answers = victim.ask_as_user(world, "REGISTER", uri, &[to], "");
        assert_eq!(status(&answers), "200");
        let answers = forger.ask_as_user(world, "REGISTER", uri, &[to], "");
        assert_eq!(status(&answers), "503");
    });
}

/// Some translators give each request of a phone another address.
#[test]
fn rfc7616_3_3_a_challenge_may_be_answered_from_another_address() {
    calm(|world| {
        let uri = "sip:192.0.2.1";
        let fields = ["To: <sip:1001@192.0.2.1>", "Call-ID: one-phone"];
        let addresses = ["203.0.113.9:5060", "203.0.113.10:5060"];
        let [mut first, mut second] =
            addresses.map(|address| Peer::new("1001").at(address.parse().unwrap()));
        let challenge = first.ask(world, "REGISTER", uri, &fields, "");
        let proof = first.prove(&challenge, "REGISTER", uri).unwrap();
        let fields = [fields[0], fields[1], &proof];
        let answers = second.ask(world, "REGISTER", uri, &fields, "");
        assert_eq!(status(&answers), "200");
    });
}
