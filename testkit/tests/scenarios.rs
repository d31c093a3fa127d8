//! Scenarios.

use std::time::Duration;

use testkit::{Command, Ending, Manner, PhoneId, Place, Reply, Settings, World, simulate};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn calm(story: impl FnOnce(&mut World)) {
    simulate(
        Settings::calm(1),
        "cargo test -p dialtone-testkit --test scenarios",
        story,
    );
}

fn registered(world: &mut World, user: &str, manner: Manner) -> PhoneId {
    let phone = world.phone(user, Place::Udp, manner);
    world.tell(phone, Command::Register);
    world.run(secs(1));
    assert_eq!(world.at(phone).registration_status(), Some(200));
    phone
}

fn dial(world: &mut World, phone: PhoneId, number: &str) {
    world.tell(phone, Command::Dial(number.to_owned()));
}

#[test]
fn a_call_is_answered_and_hung_up_by_either_side() {
    for caller_hangs_up in [true, false] {
        calm(|world| {
            let alice = registered(world, "1001", Manner::default());
            let bob = registered(world, "1002", Manner::default());
            dial(world, alice, "1002");
            world.run(secs(5));
            let (a, b) = (&world.at(alice).lines()[0], &world.at(bob).lines()[0]);
            assert!(a.up && b.up && a.rang);
            let media = &world.server.media;
            let port = a.remote.unwrap().port();
            assert_eq!(media.relays_to(port), Some(b.rtp));
            let who = if caller_hangs_up { alice } else { bob };
            world.tell(who, Command::HangUp);
            world.run(secs(1));
            let ended = |phone| world.at(phone).outcomes()[0].ending;
            let (a, b) = (ended(alice), ended(bob));
            if caller_hangs_up {
                assert_eq!((a, b), (Ending::HungUp, Ending::PeerHungUp));
            } else {
                assert_eq!((a, b), (Ending::PeerHungUp, Ending::HungUp));
            }
        });
    }
}

#[test]
fn a_refusal_reaches_the_caller() {
    for (given, told) in [
        (486, 486),
        (603, 603),
        (480, 480),
        (404, 404),
        (503, 500),
        (302, 480),
    ] {
        calm(|world| {
            let alice = registered(world, "1001", Manner::default());
            registered(world, "1002", Manner::refusing(given));
            dial(world, alice, "1002");
            world.run(secs(5));
            assert_eq!(world.at(alice).outcomes()[0].ending, Ending::Refused(told));
        });
    }
}

#[test]
fn nobody_answers() {
    calm(|world| {
        let alice = registered(world, "1001", Manner::default());
        registered(world, "1002", Manner::replying(Reply::Never));
        dial(world, alice, "1002");
        world.run(secs(45));
        assert_eq!(world.at(alice).outcomes()[0].ending, Ending::Refused(480));
    });
}
