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

fn infos(world: &World) -> usize {
    let sent = world.tap().all();
    sent.iter().filter(|sent| sent.name() == "INFO").count()
}

/// RFC 4733, and INFO as it was before RFC 6086.
#[test]
fn a_key_sent_by_info_is_pressed_where_telephone_events_are_agreed() {
    calm(|world| {
        let (alice, bob) = talking(world, Manner::default(), Manner::default());
        world.tell(alice, Command::Key('5'));
        world.tell(alice, Command::Key('5'));
        world.run(secs(1));
        assert_eq!(infos(world), 2);
        let heard = world.at(bob).lines()[0].rtp;
        assert_eq!(world.server.media.pressed_at(heard), "55");
        world.tell(alice, Command::HangUp);
        world.run(secs(40));
    });
}

/// RFC 6086.
#[test]
fn info_is_passed_on_to_whom_it_is_configured_for() {
    calm(|world| {
        let alice = registered(world, "1001", Manner::default());
        let bob = registered(world, "1003", Manner::default());
        dial(world, alice, "1003");
        up(world, &[alice, bob]);
        world.run(secs(1));
        world.tell(alice, Command::Key('5'));
        world.run(secs(1));
        assert_eq!(infos(world), 2);
        world.kill(bob, false);
        world.tell(alice, Command::Key('5'));
        world.tell(alice, Command::HangUp);
        world.run(secs(40));
    });
}

/// RFC 3261 §21.4.6: who does not know INFO gets keys in its RTP, this one and all that follow.
#[test]
fn rfc3261_21_4_6_a_key_is_pressed_where_info_is_refused() {
    calm(|world| {
        let alice = registered(world, "1001", Manner::default());
        let refuses = Manner {
            refuses_info: true,
            ..Manner::default()
        };
        let bob = registered(world, "1003", refuses);
        dial(world, alice, "1003");
        up(world, &[alice, bob]);
        world.run(secs(1));
        let heard = world.at(bob).lines()[0].rtp;
        world.tell(alice, Command::Key('5'));
        world.run(secs(1));
        assert_eq!(infos(world), 2);
        assert_eq!(world.server.media.pressed_at(heard), "5");
        world.tell(alice, Command::Key('5'));
        world.run(secs(1));
        assert_eq!(infos(world), 3);
        assert_eq!(world.server.media.pressed_at(heard), "55");
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
