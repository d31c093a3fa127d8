//! Calls that the server forwards instead of joining them.

use pbx::{Extension, Step};
use sip::{HeaderName, Method};

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
            world.tell(phone, Command::Info);
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
