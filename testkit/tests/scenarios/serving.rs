//! Numbers that we answer ourselves, and requests in passing.

use super::*;
use store::LineState;

#[test]
fn test_numbers_serve() {
    let story = |world: &mut World| {
        let alice = registered(world, "1001", Manner::default());
        for number in ["600", "601"] {
            dial(world, alice, number);
            up(world, &[alice]);
            let remote = world.at(alice).lines()[0].remote.unwrap();
            assert!(world.server.media.is_open(remote.port()));
            world.run(secs(90));
            world.tell(alice, Command::HangUp);
            world.run(secs(20));
            assert_eq!(ending(world, alice), Ending::HungUp);
        }
        dial(world, alice, "602");
        world.run(secs(45));
        assert_eq!(ending(world, alice), Ending::PeerHungUp);
        assert_eq!(cause(world), Cause::Completed);
    };
    calm(story);
    in_rough_weather(story);
}

#[test]
fn after_a_prompt_comes_the_next_step() {
    calm(|world| {
        let alice = registered(world, "1001", Manner::default());
        dial(world, alice, "603");
        world.run(secs(60));
        assert!(world.at(alice).lines()[0].up);
        world.tell(
            alice,
            Command::Hold {
                hold: true,
                update: true,
            },
        );
        world.run(secs(1));
        assert_eq!(heard_direction(world, alice), Direction::RecvOnly);
    });
}

#[test]
fn a_caller_without_an_offer_is_served() {
    let story = |world: &mut World| {
        let offerless = Manner {
            offerless: true,
            ..Manner::default()
        };
        let alice = registered(world, "1001", offerless);
        dial(world, alice, "600");
        up(world, &[alice]);
        world.run(secs(10));
        let line = &world.at(alice).lines()[0];
        let port = line.remote.unwrap().port();
        assert_eq!(world.server.media.sends_to(port), Some(line.rtp));
        world.tell(alice, Command::Reoffer);
        world.run(secs(10));
        assert!(world.at(alice).lines()[0].up);
    };
    calm(story);
    in_rough_weather(story);
}

/// RFC 6086.
#[test]
fn info_is_passed_on() {
    calm(|world| {
        let (alice, bob) = talking(world, Manner::default(), Manner::default());
        world.tell(alice, Command::Info);
        world.run(secs(1));
        let infos = world
            .tap()
            .all()
            .iter()
            .filter(|sent| sent.name() == "INFO");
        assert_eq!(infos.count(), 2);
        world.kill(bob, false);
        world.tell(alice, Command::Info);
        world.tell(alice, Command::HangUp);
        world.run(secs(40));
    });
}

#[test]
fn a_call_stands_on_the_lines_of_both_parties_until_it_ends() {
    calm(|world| {
        let alice = registered(world, "1001", Manner::default());
        let bob = registered(world, "1002", Manner::default());
        dial(world, alice, "1002");
        let rings = world.run_until(secs(5), |world| {
            world.server.lines().ringing_at("1002").is_some()
        });
        assert!(rings);
        let shown = world.server.lines().of("1002").remove(0);
        assert_eq!(shown.direction, store::Direction::Recipient);
        assert_eq!(&*shown.remote.number, "1001");
        up(world, &[alice, bob]);
        for line in ["1001", "1002"] {
            let shown = world.server.lines().of(line);
            let states: Vec<_> = shown.iter().map(|dialog| dialog.state).collect();
            assert_eq!(states, [LineState::Confirmed], "{line}");
        }
        world.tell(bob, Command::HangUp);
        world.run(secs(20));
        assert!(world.server.lines().is_empty());
    });
}
