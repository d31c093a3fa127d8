//! Calls that the server forwards instead of joining them.

use pbx::{Extension, Step, TrunkSettings, Trunks};
use sip::{HeaderName, Message, Method};

use super::*;

/// A world in which all calls are forwarded.
fn forwarding(mut settings: Settings) -> Settings {
    let step = |number: &str, target: &str| Extension {
        number: number.to_owned(),
        strip: 0,
        steps: vec![Step::Proxy(target.to_owned())],
        from: Vec::new(),
        transit: false,
    };
    settings.config.dialplan.extensions = vec![
        step("8XXX", "sip:{number}@192.0.2.200"),
        step("9XXX", "1999"),
        step("XXXX", "{number}"),
    ];
    settings
}

fn calm(story: impl FnOnce(&mut World)) {
    simulate(forwarding(Settings::calm(1)), AGAIN, story);
}

fn in_rough_weather(story: impl Fn(&mut World)) {
    for seed in 0..8 {
        let mut settings = forwarding(Settings::calm(seed));
        settings.weather = Weather {
            loss: 10,
            duplicates: 20,
            delay: 1..40,
            stragglers: 10,
            straggle: 300,
        };
        simulate(settings, AGAIN, &story);
    }
}

/// Each party hears the other one without the server's help.
fn assert_direct(world: &World, a: PhoneId, b: PhoneId) {
    let lines = [a, b].map(|phone| world.at(phone).lines().remove(0));
    assert_eq!(lines[0].remote, Some(lines[1].rtp));
    assert_eq!(lines[1].remote, Some(lines[0].rtp));
    assert_eq!(world.server.load().sessions, 0);
}

/// How many messages of a method reached a phone or left it.
fn count(world: &World, method: Method<'_>) -> usize {
    let all = world.tap().all().iter();
    let wanted = all.filter_map(testkit::wiretap::Sent::message);
    wanted
        .filter(|message| message.method() == Some(method))
        .count()
}

#[test]
fn rfc3261_16_a_call_goes_by_and_its_media_does_not() {
    let story = |world: &mut World| {
        let (alice, bob) = talking(world, Manner::default(), Manner::default());
        assert_direct(world, alice, bob);
        world.tell(alice, Command::HangUp);
        world.run(secs(40));
        assert_eq!(ending(world, alice), Ending::HungUp);
        assert_eq!(ending(world, bob), Ending::PeerHungUp);
        assert_eq!(cause(world), Cause::CallerHungUp);
        let record = world.server.ledger().records.last().unwrap();
        assert_eq!(record.answered_by.as_deref(), Some("1002"));
        assert_eq!(&*record.caller, "1001");
        assert_eq!(&*record.number, "1002");
        assert!(record.answered.is_some() && record.duration_ms >= 300);
    };
    calm(story);
    in_rough_weather(story);
}

#[test]
fn the_callee_hangs_up() {
    let story = |world: &mut World| {
        let (alice, bob) = talking(world, Manner::default(), Manner::default());
        world.tell(bob, Command::HangUp);
        world.run(secs(40));
        assert_eq!(ending(world, alice), Ending::PeerHungUp);
        assert_eq!(cause(world), Cause::CalleeHungUp);
    };
    calm(story);
    in_rough_weather(story);
}

#[test]
fn rfc3261_16_12_later_requests_come_by_from_both_sides() {
    let story = |world: &mut World| {
        let (alice, bob) = talking(world, Manner::default(), Manner::default());
        for (phone, other) in [(alice, bob), (bob, alice)] {
            for update in [false, true] {
                for hold in [true, false] {
                    world.tell(phone, Command::Hold { hold, update });
                    world.run(secs(20));
                }
            }
            world.tell(phone, Command::Key('5'));
            world.run(secs(10));
            assert_eq!(world.at(other).calls(), 1);
        }
        assert_direct(world, alice, bob);
    };
    calm(story);
    in_rough_weather(story);
}

#[test]
fn reliable_answers_are_between_the_parties() {
    let story = |world: &mut World| {
        let manner = Manner {
            reliable: true,
            early_media: true,
            ..Manner::default()
        };
        let (alice, bob) = talking(world, manner.clone(), manner);
        assert!(count(world, Method::Prack) > 0);
        assert_direct(world, alice, bob);
    };
    calm(story);
    in_rough_weather(story);
}

#[test]
fn rfc3261_16_10_a_caller_gives_up() {
    let story = |world: &mut World| {
        let alice = registered(world, "1001", Manner::default());
        let bob = registered(world, "1002", Manner::replying(Reply::Never));
        dial(world, alice, "1002");
        assert!(world.run_until(secs(40), |world| world.at(bob).calls() == 1));
        world.run(secs(3));
        world.tell(alice, Command::HangUp);
        world.run(secs(70));
        assert_eq!(ending(world, alice), Ending::Cancelled);
        assert_eq!(ending(world, bob), Ending::Cancelled);
        assert_eq!(cause(world), Cause::Cancelled);
    };
    calm(story);
    in_rough_weather(story);
}

#[test]
fn rfc3261_16_7_a_refusal_comes_back() {
    let story = |world: &mut World| {
        let alice = registered(world, "1001", Manner::default());
        registered(world, "1002", Manner::refusing(486));
        dial(world, alice, "1002");
        world.run(secs(60));
        assert_eq!(ending(world, alice), Ending::Refused(486));
        assert_eq!(cause(world), Cause::Refused);
    };
    calm(story);
    in_rough_weather(story);
}

#[test]
fn rfc3261_16_7_all_phones_ring_and_the_first_wins() {
    let story = |world: &mut World| {
        let manner = Manner {
            meets_many: true,
            ..Manner::default()
        };
        let alice = registered(world, "1001", manner);
        let slow = registered(world, "1002", Manner::replying(Reply::Never));
        let quick = registered(world, "1002", Manner::replying(Reply::Answer(secs(3))));
        let busy = registered(world, "1002", Manner::refusing(486));
        dial(world, alice, "1002");
        up(world, &[alice, quick]);
        world.run(secs(40));
        assert_direct(world, alice, quick);
        assert_eq!(ending(world, slow), Ending::Cancelled);
        assert_eq!(ending(world, busy), Ending::Refused(486));
        world.tell(alice, Command::HangUp);
        world.run(secs(40));
        assert_eq!(world.server.ledger().records.len(), 1);
    };
    calm(story);
    in_rough_weather(story);
}

#[test]
fn nobody_answers() {
    calm(|world| {
        let alice = registered(world, "1001", Manner::default());
        let bob = registered(world, "1002", Manner::replying(Reply::Never));
        dial(world, alice, "1002");
        world.run(secs(50));
        assert_eq!(ending(world, alice), Ending::Refused(480));
        assert_eq!(ending(world, bob), Ending::Cancelled);
        assert_eq!(cause(world), Cause::NoAnswer);
    });
}

#[test]
fn rfc3261_16_8_a_phone_that_has_vanished_is_given_up() {
    calm(|world| {
        let alice = registered(world, "1001", Manner::default());
        let bob = registered(world, "1002", Manner::default());
        world.kill(bob, false);
        dial(world, alice, "1002");
        world.run(secs(45));
        assert_eq!(ending(world, alice), Ending::Refused(408));
    });
}

#[test]
fn rfc3261_16_9_a_phone_that_is_off_is_found_out_at_once() {
    calm(|world| {
        let alice = registered(world, "1001", Manner::default());
        let bob = registered(world, "1002", Manner::default());
        world.kill(bob, true);
        dial(world, alice, "1002");
        world.run(secs(2));
        assert_eq!(ending(world, alice), Ending::Refused(500));
    });
}

#[test]
fn a_callee_without_phone_and_one_who_does_not_exist() {
    for (number, status) in [("1003", 480), ("1999", 404), ("9123", 404)] {
        calm(|world| {
            let alice = registered(world, "1001", Manner::default());
            dial(world, alice, number);
            world.run(secs(2));
            assert_eq!(ending(world, alice), Ending::Refused(status));
            assert_eq!(cause(world), Cause::Refused);
        });
    }
}

#[test]
fn rfc5658_5_phones_of_different_transports_and_networks_are_joined() {
    let places = [Place::Udp, Place::Tcp, Place::Nat];
    for (from, to) in places
        .iter()
        .flat_map(|a| places.iter().map(move |b| (a, b)))
    {
        calm(|world| {
            let alice = world.phone("1001", *from, Manner::default());
            let bob = world.phone("1002", *to, Manner::default());
            world.tell(alice, Command::Register);
            world.tell(bob, Command::Register);
            world.run(secs(1));
            dial(world, alice, "1002");
            up(world, &[alice, bob]);
            world.tell(
                bob,
                Command::Hold {
                    hold: true,
                    update: false,
                },
            );
            world.run(secs(2));
            world.tell(bob, Command::HangUp);
            world.run(secs(2));
            assert_eq!(ending(world, alice), Ending::PeerHungUp, "{from:?} {to:?}");
            assert_eq!(cause(world), Cause::CalleeHungUp);
        });
    }
}

#[test]
fn rfc3261_22_3_credentials_for_the_server_go_no_further() {
    calm(|world| {
        talking(world, Manner::default(), Manner::default());
        let mut seen = 0;
        for message in world.tap().all().iter().filter_map(|sent| sent.message()) {
            let forwarded = message.values(HeaderName::Via).count() > 1;
            if message.method() == Some(Method::Invite) && forwarded {
                seen += 1;
                assert_eq!(message.header(HeaderName::Authorization), None);
                let identity = message.header(HeaderName::PAssertedIdentity);
                assert!(identity.is_some_and(|identity| identity.contains("sip:1001@")));
            }
        }
        assert!(seen > 0);
    });
}

#[test]
fn a_record_ends_when_the_session_was_not_refreshed() {
    calm(|world| {
        let manner = Manner {
            session: Some(120),
            ..Manner::default()
        };
        let (alice, bob) = talking(world, manner.clone(), manner);
        world.kill(alice, false);
        world.kill(bob, false);
        world.run(secs(600));
        assert_eq!(cause(world), Cause::SessionTimeout);
    });
}

#[test]
fn rfc3261_16_12_an_operator_cannot_end_an_answered_call() {
    calm(|world| {
        let (alice, bob) = talking(world, Manner::default(), Manner::default());
        let call = world.server.ledger().open()[0];
        world.operate(&pbx::Command::Hangup { call });
        world.run(secs(10));
        up(world, &[alice, bob]);
        assert_eq!(world.server.ledger().open(), [call], "it has its record");
        world.tell(bob, Command::HangUp);
        world.run(secs(40));
        assert_eq!(cause(world), Cause::CalleeHungUp);
    });
}

#[test]
fn rfc3261_16_12_a_call_goes_on_and_ends_while_the_server_starts_again() {
    let story = |world: &mut World| {
        let (alice, bob) = talking(world, Manner::default(), Manner::default());
        world.crash(Duration::from_millis(500));
        world.run(secs(2));
        let hold = Command::Hold {
            hold: true,
            update: false,
        };
        world.tell(bob, hold);
        world.run(secs(40));
        assert_eq!(world.at(alice).lines()[0].state.0, Direction::RecvOnly);
        world.tell(alice, Command::HangUp);
        world.run(secs(40));
        assert_eq!(ending(world, alice), Ending::HungUp);
        assert_eq!(ending(world, bob), Ending::PeerHungUp);
    };
    calm(story);
    in_rough_weather(story);
}

#[test]
fn an_operator_ends_a_call_that_rings() {
    calm(|world| {
        let alice = registered(world, "1001", Manner::default());
        let bob = registered(world, "1002", Manner::replying(Reply::Never));
        dial(world, alice, "1002");
        world.run(secs(1));
        world.operate(&pbx::Command::HangupAll);
        world.run(secs(1));
        assert_eq!(ending(world, alice), Ending::Refused(480));
        assert_eq!(ending(world, bob), Ending::Cancelled);
        assert_eq!(cause(world), Cause::Operator);
    });
}

/// A world in which calls of a trunk at the address of [`Peer`] are forwarded.
fn with_trunk(change: impl FnOnce(&mut TrunkSettings), story: impl FnOnce(&mut World, Peer)) {
    let mut settings = forwarding(Settings::calm(1));
    let mut trunk = TrunkSettings::new("provider", "provider.example", Vec::new());
    trunk.sources = vec![([198, 51, 100, 7].into(), 32)];
    change(&mut trunk);
    settings.config.trunks = Trunks::new(vec![trunk], &Trunks::default());
    simulate(settings, AGAIN, |world| story(world, Peer::new("+493011")));
}

/// The last answer with this status.
fn answer(heard: &[String], status: &str) -> String {
    let start = format!("SIP/2.0 {status} ");
    let mut answers = heard.iter().filter(|text| text.starts_with(&start));
    let found = answers.next_back();
    found
        .unwrap_or_else(|| panic!("no {status}: {heard:?}"))
        .clone()
}

/// The lines of a later request in the dialog of this answer, and its Request-URI.
fn in_dialog(answer: &str) -> (String, Vec<String>) {
    let answer = Message::parse(answer.as_bytes()).expect("it is SIP");
    let value = |name| answer.header(name).expect("the field");
    let target = value(HeaderName::Contact)
        .split(['<', '>'])
        .nth(1)
        .expect("a URI");
    let lines = vec![
        format!("Route: {}", value(HeaderName::RecordRoute)),
        format!("To: {}", value(HeaderName::To)),
    ];
    (target.to_owned(), lines)
}

/// The last INVITE that the server sent.
fn forwarded_invite(world: &World) -> String {
    let mut latest = world.tap().all().iter().rev();
    let sent = latest.find(|sent| sent.by_server && sent.bytes.starts_with(b"INVITE "));
    String::from_utf8_lossy(&sent.expect("it was sent").bytes).into_owned()
}

const CALLED: &str = "sip:1002@192.0.2.1";

#[test]
fn rfc3261_16_a_call_from_a_trunk_goes_by_without_a_password() {
    with_trunk(
        |trunk| trunk.max_channels = 1,
        |world, mut provider| {
            let bob = registered(world, "1002", Manner::default());
            let claims = [
                "P-Asserted-Identity: <sip:+499999@x>",
                "Remote-Party-ID: <sip:+499999@x>;privacy=full",
            ];
            provider.ask(world, "INVITE", CALLED, &claims, OFFER);
            world.run(secs(20));
            let accepted = answer(&provider.heard(world), "200");
            // What a trunk claims that nobody trusts is not passed on as if we knew.
            assert!(!forwarded_invite(world).contains("+499999"));
            assert_eq!(world.server.load().sessions, 0);

            provider.begin();
            let full = provider.ask(world, "INVITE", CALLED, &[], OFFER);
            answer(&full, "503");

            let (target, lines) = in_dialog(&accepted);
            let call = "Call-ID: peer-1".to_owned();
            let with = |cseq: &str| [&*lines, &[call.clone(), format!("CSeq: {cseq}")]].concat();
            for (method, cseq) in [("ACK", "1 ACK"), ("BYE", "2 BYE")] {
                let fields = with(cseq);
                let fields: Vec<&str> = fields.iter().map(|line| &**line).collect();
                let heard = provider.ask(world, method, &target, &fields, "");
                if method == "BYE" {
                    answer(&heard, "200");
                }
            }
            assert_eq!(ending(world, bob), Ending::PeerHungUp);
            let record = world.server.ledger().records.last().unwrap();
            assert_eq!(record.trunk_in.as_deref(), Some("provider"));
            assert_eq!((&*record.caller, &*record.number), ("+493011", "1002"));
            assert_eq!(record.cause, Cause::CallerHungUp);

            provider.begin();
            let free = provider.ask(world, "INVITE", CALLED, &[], OFFER);
            answer(&free, "100");
        },
    );
}

#[test]
fn rfc3325_5_a_trusted_trunk_names_its_caller() {
    with_trunk(
        |trunk| trunk.identity.trusted = true,
        |world, mut provider| {
            registered(world, "1002", Manner::default());
            let claim = "P-Asserted-Identity: \"Net\" <sip:+499999@x>";
            provider.ask(world, "INVITE", CALLED, &[claim], OFFER);
            let open = forwarded_invite(world);
            assert!(open.contains("P-Asserted-Identity: \"Net\" <sip:+499999@"));
            provider.begin();
            let wish = [claim, "Privacy: id"];
            provider.ask(world, "INVITE", CALLED, &wish, OFFER);
            assert!(!forwarded_invite(world).contains("+499999"));
        },
    );
}

#[test]
fn a_call_from_a_trunk_is_not_forwarded_out_of_the_house() {
    with_trunk(
        |_| (),
        |world, mut provider| {
            let heard = provider.ask(world, "INVITE", "sip:8123@192.0.2.1", &[], OFFER);
            answer(&heard, "403");
        },
    );
}

#[test]
fn a_call_whose_caller_must_be_verified_is_not_forwarded_unseen() {
    with_trunk(
        |trunk| trunk.stir.verify = pbx::stir::Verify::Require,
        |world, mut provider| {
            let bob = registered(world, "1002", Manner::default());
            let heard = provider.ask(world, "INVITE", CALLED, &[], OFFER);
            answer(&heard, "428");
            assert_eq!(world.at(bob).calls(), 0);
        },
    );
}
