//! What may happen between answer and end.

use super::*;

#[test]
fn hold_and_resume_reach_the_other_party() {
    for update in [false, true] {
        let story = |world: &mut World| {
            let (alice, bob) = talking(world, Manner::default(), Manner::default());
            for (who, other) in [(alice, bob), (bob, alice)] {
                let hold = true;
                world.tell(who, Command::Hold { hold, update });
                world.run(secs(10));
                assert_eq!(heard_direction(world, other), Direction::SendOnly);
                let hold = false;
                world.tell(who, Command::Hold { hold, update });
                world.run(secs(10));
                assert_eq!(heard_direction(world, other), Direction::SendRecv);
            }
            assert_joined(world, alice, bob);
        };
        calm(story);
        in_rough_weather(story);
    }
}

/// RFC 3311.
#[test]
fn update_becomes_a_re_invite_for_a_phone_that_does_not_know_it() {
    calm(|world| {
        let old = Manner {
            update: false,
            ..Manner::default()
        };
        let (alice, bob) = talking(world, Manner::default(), old);
        let (hold, update) = (true, true);
        world.tell(alice, Command::Hold { hold, update });
        world.run(secs(1));
        assert_eq!(heard_direction(world, bob), Direction::SendOnly);
    });
}

/// RFC 3261 §14.1.
#[test]
fn changes_of_both_parties_at_once_are_told_apart_by_491() {
    for update in [false, true] {
        let story = |world: &mut World| {
            let (alice, bob) = talking(world, Manner::default(), Manner::default());
            let hold = true;
            world.tell_after(millis(1), alice, Command::Hold { hold, update });
            world.tell_after(millis(2), bob, Command::Hold { hold, update });
            world.run(secs(40));
            let heard = [alice, bob].map(|phone| heard_direction(world, phone));
            let (one, other) = (Direction::SendOnly, Direction::Inactive);
            assert!(heard == [one, other] || heard == [other, one], "{heard:?}");
            let glare = world.tap().all().iter().filter(|sent| sent.name() == "491");
            assert!(glare.count() > 0);
        };
        calm(story);
    }
}

#[test]
fn a_re_invite_is_given_up() {
    for reliable in [false, true] {
        calm(|world| {
            let thoughtful = Manner {
                considers: Some(secs(5)),
                reliable,
                ..Manner::default()
            };
            let (alice, bob) = talking(world, Manner::default(), thoughtful);
            let (hold, update) = (true, false);
            world.tell(alice, Command::Hold { hold, update });
            world.run(secs(2));
            world.tell(alice, Command::CancelChange);
            world.run(secs(1));
            let refused = world.tap().all().iter().filter(|sent| sent.name() == "487");
            assert_eq!(refused.count(), 2);
            world.tell(alice, Command::Hold { hold, update });
            world.run(secs(7));
            assert_eq!(heard_direction(world, bob), Direction::SendOnly);
        });
    }
}

#[test]
fn a_re_invite_without_an_offer_is_answered_by_the_other_party() {
    let story = |world: &mut World| {
        let (alice, bob) = talking(world, Manner::default(), Manner::default());
        world.tell(bob, Command::Reoffer);
        world.run(secs(15));
        assert_joined(world, alice, bob);
        world.tell(alice, Command::Reoffer);
        world.run(secs(15));
        assert_joined(world, alice, bob);
    };
    calm(story);
    in_rough_weather(story);
}

#[test]
fn video_is_added_with_ports_of_its_own() {
    calm(|world| {
        let video = Manner {
            video: true,
            ..Manner::default()
        };
        let (alice, bob) = talking(world, Manner::default(), video);
        assert_eq!(world.server.media.ports_in_use(), 2);
        world.tell(alice, Command::AddVideo);
        world.run(secs(1));
        assert_eq!(world.server.media.ports_in_use(), 4);
        assert_joined(world, alice, bob);
    });
}

#[test]
fn without_ports_for_video_the_call_goes_on_without_and_may_ask_again() {
    with(
        |settings| settings.ports = 4,
        |world| {
            let video = Manner {
                video: true,
                ..Manner::default()
            };
            let (alice, bob) = talking(world, Manner::default(), video);
            let carol = registered(world, "1003", Manner::default());
            dial(world, carol, "600");
            world.run(secs(1));
            world.tell(alice, Command::AddVideo);
            world.run(secs(1));
            assert_eq!(world.server.media.ports_in_use(), 3);
            assert_joined(world, alice, bob);
            world.tell(carol, Command::HangUp);
            world.run(secs(1));
            world.tell(alice, Command::AddVideo);
            world.run(secs(1));
            assert_eq!(world.server.media.ports_in_use(), 4);
        },
    );
}

#[test]
fn without_ports_a_call_is_503() {
    with(
        |settings| settings.ports = 2,
        |world| {
            talking(world, Manner::default(), Manner::default());
            let carol = registered(world, "1003", Manner::default());
            dial(world, carol, "600");
            world.run(secs(1));
            assert_eq!(ending(world, carol), Ending::Refused(503));
        },
    );
}

/// RFC 4028 §7.2, §7.3.
#[test]
fn a_session_timer_keeps_a_call_alive_whoever_refreshes() {
    for update in [false, true] {
        for (session, refreshes) in [(Some(90), true), (None, true)] {
            let story = |world: &mut World| {
                let manner = || Manner {
                    session,
                    refreshes,
                    update,
                    ..Manner::default()
                };
                let (alice, bob) = talking(world, manner(), manner());
                world.run(secs(600));
                assert_joined(world, alice, bob);
            };
            with(
                |settings| settings.config.calls.session_expires = secs(90),
                story,
            );
        }
    }
}

/// RFC 4028 §10.
#[test]
fn a_phone_that_does_not_refresh_its_session_is_hung_up() {
    let lazy = |lazy: bool| Manner {
        session: Some(90),
        refreshes: !lazy,
        ..Manner::default()
    };
    for caller_is_lazy in [true, false] {
        with(
            |settings| settings.config.calls.session_expires = secs(90),
            |world| {
                let (alice, bob) = talking(world, lazy(caller_is_lazy), lazy(!caller_is_lazy));
                world.run(secs(120));
                // Whoever has promised to refresh: the call is over only if it was the lazy one.
                let refreshed = world.at(alice).calls() + world.at(bob).calls();
                assert!(refreshed == 0 || refreshed == 2);
                if refreshed == 0 {
                    assert_eq!(cause(world), Cause::SessionTimeout);
                }
            },
        );
    }
}

#[test]
fn a_party_that_dies_in_a_call_is_found_out_by_its_session_timer() {
    for caller_dies in [true, false] {
        with(
            |settings| settings.config.calls.session_expires = secs(90),
            |world| {
                let manner = || Manner {
                    session: Some(90),
                    ..Manner::default()
                };
                let (alice, bob) = talking(world, manner(), manner());
                let (dies, lives) = if caller_dies {
                    (alice, bob)
                } else {
                    (bob, alice)
                };
                world.kill(dies, false);
                world.run(secs(130));
                assert_eq!(ending(world, lives), Ending::PeerHungUp);
                assert_eq!(cause(world), Cause::SessionTimeout);
            },
        );
    }
}

#[test]
fn silence_of_both_parties_ends_a_call_that_nobody_defends() {
    for update in [false, true] {
        calm(|world| {
            let manner = || Manner {
                update,
                ..Manner::default()
            };
            let (alice, bob) = talking(world, manner(), manner());
            world.kill(alice, false);
            world.kill(bob, false);
            world.run(secs(60 + 33));
            assert_eq!(cause(world), Cause::MediaTimeout);
        });
    }
}

#[test]
fn a_held_call_survives_silence() {
    calm(|world| {
        let (alice, _) = talking(world, Manner::default(), Manner::default());
        world.run(secs(300));
        assert!(world.at(alice).lines()[0].up);
    });
}

/// RFC 3261 §12.2.1.2.
#[test]
fn a_phone_that_has_forgotten_its_call_ends_it_for_the_other() {
    calm(|world| {
        let (alice, bob) = talking(world, Manner::default(), Manner::default());
        world.reboot(bob);
        world.run(secs(1));
        let (hold, update) = (true, false);
        world.tell(alice, Command::Hold { hold, update });
        world.run(secs(5));
        assert_eq!(ending(world, alice), Ending::Lost);
    });
}

#[test]
fn a_caller_that_never_acknowledges_is_hung_up() {
    calm(|world| {
        let rude = Manner {
            withholds: vec!["ACK "],
            ..Manner::default()
        };
        let (alice, bob) = talking(world, rude, Manner::default());
        world.run(secs(33));
        assert_eq!(ending(world, alice), Ending::PeerHungUp);
        assert_eq!(ending(world, bob), Ending::PeerHungUp);
        assert_eq!(cause(world), Cause::NoAck);
    });
}
