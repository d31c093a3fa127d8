//! Crashes, operators, limits.

use super::*;

#[test]
fn a_crash_keeps_what_was_confirmed() {
    for death in [Death::BeforeWriting, Death::AfterWriting] {
        calm(|world| {
            let alice = registered(world, "1001", Manner::default());
            let bob = world.phone("1002", Place::Udp, Manner::default());
            world.crash_at_record(death);
            world.tell(bob, Command::Register);
            world.run(secs(1));
            assert_eq!(world.at(bob).registration_status(), Some(401));
            world.run(secs(40));
            assert_eq!(world.at(bob).registration_status(), Some(200));
            dial(world, bob, "1001");
            up(world, &[alice, bob]);
            assert_joined(world, bob, alice);
        });
    }
}

#[test]
fn after_a_crash_calls_go_to_phones_that_have_not_registered_again() {
    calm(|world| {
        let alice = registered(world, "1001", Manner::default());
        let phones: Vec<_> = (0..3)
            .map(|_| registered(world, "1002", Manner::default()))
            .collect();
        world.crash(secs(2));
        world.run(secs(3));
        dial(world, alice, "1002");
        world.run(secs(1));
        for phone in phones {
            assert_eq!(world.at(phone).calls(), 1);
        }
    });
}

#[test]
fn calls_that_a_crash_cut_off_end_when_a_party_moves() {
    calm(|world| {
        let (alice, bob) = talking(world, Manner::default(), Manner::default());
        world.crash(secs(1));
        world.run(secs(2));
        world.tell(alice, Command::HangUp);
        world.run(secs(1));
        world.tell(
            bob,
            Command::Hold {
                hold: true,
                update: false,
            },
        );
        world.run(secs(1));
        assert_eq!(ending(world, bob), Ending::Lost);
    });
}

#[test]
fn an_operator_ends_all_calls() {
    calm(|world| {
        let (alice, bob) = talking(world, Manner::default(), Manner::default());
        registered(world, "1003", Manner::replying(Reply::Never));
        let dave = registered(world, "1004", Manner::default());
        dial(world, dave, "1003");
        world.run(secs(1));
        world.operate(&pbx::Command::HangupAll);
        world.run(secs(1));
        assert_eq!(ending(world, alice), Ending::PeerHungUp);
        assert_eq!(ending(world, bob), Ending::PeerHungUp);
        assert_eq!(ending(world, dave), Ending::Refused(480));
    });
}

#[test]
fn the_longest_duration_ends_a_call() {
    with(
        |settings| settings.config.calls.max_duration = secs(30),
        |world| {
            let (alice, _) = talking(world, Manner::default(), Manner::default());
            world.run(secs(31));
            assert_eq!(ending(world, alice), Ending::PeerHungUp);
            assert_eq!(cause(world), Cause::MaxDuration);
        },
    );
}

#[test]
fn after_a_crash_phones_of_all_places_are_reached() {
    // A browser has to come back by itself.
    for place in Place::ALL.into_iter().filter(|place| *place != Place::Wss) {
        calm(|world| {
            let alice = registered(world, "1001", Manner::default());
            let bob = world.phone("1002", place, Manner::default());
            world.tell(bob, Command::Register);
            world.run(secs(1));
            world.crash(secs(2));
            world.run(secs(3));
            dial(world, alice, "1002");
            up(world, &[alice, bob]);
            world.run(millis(100));
            assert_joined(world, alice, bob);
        });
    }
}
