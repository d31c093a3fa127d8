//! What an operator does while people talk, and what strangers send meanwhile.

use super::*;

#[test]
fn a_reload_drops_no_call_and_counts_for_the_next_one() {
    let story = |world: &mut World| {
        let (alice, bob) = talking(world, Manner::default(), Manner::default());
        let mut config = world.server.config().clone();
        config.calls.session_expires = secs(90);
        config.calls.max_duration = secs(20);
        world.reload(config);
        world.run(secs(300));
        assert_joined(world, alice, bob);
        world.tell(alice, Command::HangUp);
        world.run(secs(5));
        dial(world, alice, "1002");
        up(world, &[alice, bob]);
        world.run(secs(60));
        assert_eq!(cause(world), Cause::MaxDuration);
    };
    calm(story);
    in_rough_weather(story);
}

#[test]
fn a_user_who_is_removed_goes_on_talking_and_can_not_call_again() {
    calm(|world| {
        let (alice, bob) = talking(world, Manner::default(), Manner::default());
        let mut config = world.server.config().clone();
        config.users.remove("1002");
        config.numbers.remove("1002");
        world.reload(config);
        world.run(secs(2));
        assert!(world.server.bindings().lookup("1002").is_none());
        assert_joined(world, alice, bob);
        world.tell(bob, Command::HangUp);
        world.run(secs(2));
        assert_eq!(ending(world, alice), Ending::PeerHungUp);
        dial(world, bob, "600");
        world.run(secs(2));
        assert_eq!(ending(world, bob), Ending::Refused(403));
    });
}

/// RFC 3261 §21.4.1: a request that can't be understood is answered 400, without any state.
#[test]
fn rfc3261_21_4_1_malformed_requests_are_refused_while_people_talk() {
    calm(|world| {
        let (alice, bob) = talking(world, Manner::default(), Manner::default());
        let load = world.server.load();
        let mut stranger = Peer::new("1003");
        for field in ["CSeq: x INVITE", "To: -", "CSeq: 9 OPTIONS"] {
            let heard = stranger.ask(world, "INVITE", "sip:1002@192.0.2.1", &[field], "");
            assert_eq!(heard.len(), 1, "{field}: {heard:?}");
            assert!(heard[0].starts_with("SIP/2.0 400 "), "{}", heard[0]);
        }
        assert_eq!(world.server.load(), load);
        assert_joined(world, alice, bob);
    });
}
