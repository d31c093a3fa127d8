//! What a phone user expects, one scenario at a time, in calm weather and in rough.

use std::time::Duration;

use pbx::Cause;
use sdp::Direction;
use testkit::{
    Command, Death, Ending, Manner, PhoneId, Place, Reply, Settings, Weather, World, simulate,
};

const AGAIN: &str = "cargo test -p dialtone-testkit --test scenarios";

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn calm(story: impl FnOnce(&mut World)) {
    simulate(Settings::calm(1), AGAIN, story);
}

fn with(change: impl FnOnce(&mut Settings), story: impl FnOnce(&mut World)) {
    let mut settings = Settings::calm(1);
    change(&mut settings);
    simulate(settings, AGAIN, story);
}

/// The same story under several skies in which nothing is lost for good.
fn in_rough_weather(story: impl Fn(&mut World)) {
    for seed in 0..8 {
        let mut settings = Settings::calm(seed);
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

fn registered(world: &mut World, user: &str, manner: Manner) -> PhoneId {
    let phone = world.phone(user, Place::Udp, manner);
    world.tell(phone, Command::Register);
    let done = world.run_until(secs(30), |world| {
        world.at(phone).registration_status() == Some(200)
    });
    assert!(done, "no registration");
    phone
}

fn dial(world: &mut World, phone: PhoneId, number: &str) {
    world.tell(phone, Command::Dial(number.to_owned()));
}

/// Waits until both phones are in a call.
fn up(world: &mut World, phones: &[PhoneId]) {
    let done = world.run_until(secs(60), |world| {
        let is_up = |phone: &PhoneId| world.at(*phone).lines().first().is_some_and(|line| line.up);
        phones.iter().all(is_up)
    });
    assert!(done, "the call is not answered");
}

/// 1001 and 1002 talk.
fn talking(world: &mut World, a: Manner, b: Manner) -> (PhoneId, PhoneId) {
    let alice = registered(world, "1001", a);
    let bob = registered(world, "1002", b);
    dial(world, alice, "1002");
    up(world, &[alice, bob]);
    world.run(millis(300));
    (alice, bob)
}

fn ending(world: &World, phone: PhoneId) -> Ending {
    world
        .at(phone)
        .outcomes()
        .last()
        .expect("a call has ended")
        .ending
}

fn cause(world: &World) -> Cause {
    world
        .server
        .ledger()
        .records
        .last()
        .expect("a record")
        .cause
}

/// What either phone sends reaches the other one's RTP address.
fn assert_joined(world: &World, a: PhoneId, b: PhoneId) {
    let lines = [a, b].map(|phone| world.at(phone).lines().remove(0));
    let ports = lines
        .each_ref()
        .map(|line| line.remote.expect("a description was heard").port());
    let media = &world.server.media;
    for side in [0, 1] {
        assert_eq!(media.relays_to(ports[side]), Some(lines[1 - side].rtp));
        assert_eq!(media.sends_to(ports[side]), Some(lines[side].rtp));
    }
}

fn heard_direction(world: &World, phone: PhoneId) -> Direction {
    world.at(phone).lines()[0].remote_direction
}

#[test]
fn a_phone_registers_refreshes_and_leaves() {
    let manner = Manner {
        expires: 120,
        ..Manner::default()
    };
    calm(|world| {
        let phone = registered(world, "1001", manner);
        world.run(secs(600));
        assert!(world.server.bindings().lookup("1001").is_some());
        world.tell(phone, Command::Unregister { all: false });
        world.run(secs(1));
        assert!(world.server.bindings().is_empty());
        let events = &world.server.ledger().events;
        assert_eq!(events.len(), 2, "{events:?}");
    });
}

#[test]
fn a_phone_that_goes_away_runs_out() {
    calm(|world| {
        let phone = registered(world, "1001", Manner::default());
        world.kill(phone, false);
        world.run(secs(599));
        assert!(!world.server.bindings().is_empty());
        world.run(secs(3));
        assert!(world.server.bindings().is_empty());
        let last = world.server.ledger().events.last().unwrap();
        assert!(last.contains("expired: true"), "{last}");
    });
}

#[test]
fn one_phone_ends_all_registrations_of_its_user() {
    calm(|world| {
        registered(world, "1001", Manner::default());
        let second = registered(world, "1001", Manner::default());
        assert_eq!(world.server.bindings().lookup("1001").unwrap().len(), 2);
        world.tell(second, Command::Unregister { all: true });
        world.run(secs(1));
        assert!(world.server.bindings().is_empty());
    });
}

#[test]
fn a_nonce_that_is_too_old_is_stale_and_a_fresh_one_is_used() {
    let manner = Manner {
        reuses_nonce: true,
        expires: 800,
        ..Manner::default()
    };
    calm(|world| {
        registered(world, "1001", manner);
        world.run(secs(450));
        let stale = world.tap().all().iter().filter(|sent| {
            let message = sent.message().unwrap();
            let challenge = message.header(sip::HeaderName::WwwAuthenticate);
            challenge.is_some_and(|challenge| challenge.contains("stale=true"))
        });
        assert_eq!(stale.count(), 1);
        assert!(world.server.bindings().lookup("1001").is_some());
        let events = &world.server.ledger().events;
        assert_eq!(events.len(), 1, "{events:?}");
    });
}

#[test]
fn a_wrong_password_is_forbidden_and_told() {
    calm(|world| {
        // The phone of somebody who is not a user has no password that we know.
        let phone = world.phone("1009", Place::Udp, Manner::default());
        world.tell(phone, Command::Register);
        world.run(secs(1));
        assert_eq!(world.at(phone).registration_status(), Some(403));
        assert!(world.server.ledger().events[0].starts_with("AuthenticationFailed"));
        dial(world, phone, "600");
        world.run(secs(1));
        assert_eq!(ending(world, phone), Ending::Refused(403));
    });
}

#[test]
fn a_call_is_answered_and_hung_up_by_either_side() {
    for caller_hangs_up in [true, false] {
        let story = |world: &mut World| {
            let (alice, bob) = talking(world, Manner::default(), Manner::default());
            assert_joined(world, alice, bob);
            let (who, other) = if caller_hangs_up {
                (alice, bob)
            } else {
                (bob, alice)
            };
            world.run(secs(2));
            world.tell(who, Command::HangUp);
            world.run(secs(10));
            assert_eq!(ending(world, who), Ending::HungUp);
            assert_eq!(ending(world, other), Ending::PeerHungUp);
            let expected = if caller_hangs_up {
                Cause::CallerHungUp
            } else {
                Cause::CalleeHungUp
            };
            assert_eq!(cause(world), expected);
        };
        calm(story);
        in_rough_weather(story);
    }
}

#[test]
fn phones_of_all_places_talk_to_each_other() {
    let places = [Place::Udp, Place::Udp6, Place::Tcp, Place::Nat];
    for from in places {
        for to in places {
            calm(|world| {
                let alice = world.phone("1001", from, Manner::default());
                let bob = world.phone("1002", to, Manner::default());
                world.tell(alice, Command::Register);
                world.tell(bob, Command::Register);
                world.run(secs(1));
                dial(world, alice, "1002");
                up(world, &[alice, bob]);
                world.run(millis(200));
                assert_joined(world, alice, bob);
                world.tell(bob, Command::HangUp);
                world.run(secs(1));
                assert_eq!(ending(world, alice), Ending::PeerHungUp);
            });
        }
    }
}

#[test]
fn a_refusal_reaches_the_caller() {
    let statuses = [
        (486, 486),
        (603, 603),
        (480, 480),
        (404, 404),
        (503, 500),
        (302, 480),
    ];
    for (given, told) in statuses {
        calm(|world| {
            let alice = registered(world, "1001", Manner::default());
            registered(world, "1002", Manner::refusing(given));
            dial(world, alice, "1002");
            world.run(secs(5));
            assert_eq!(ending(world, alice), Ending::Refused(told));
        });
    }
}

#[test]
fn a_phone_in_a_call_is_busy() {
    calm(|world| {
        let bob = Manner {
            calls: 1,
            ..Manner::default()
        };
        talking(world, Manner::default(), bob);
        let carol = registered(world, "1003", Manner::default());
        dial(world, carol, "1002");
        world.run(secs(2));
        assert_eq!(ending(world, carol), Ending::Refused(486));
    });
}

#[test]
fn nobody_answers() {
    calm(|world| {
        let alice = registered(world, "1001", Manner::default());
        let bob = registered(world, "1002", Manner::replying(Reply::Never));
        dial(world, alice, "1002");
        world.run(secs(39));
        assert_eq!(world.at(alice).calls(), 1);
        world.run(secs(3));
        assert_eq!(ending(world, alice), Ending::Refused(480));
        assert_eq!(ending(world, bob), Ending::Cancelled);
        assert_eq!(cause(world), Cause::NoAnswer);
    });
}

#[test]
fn a_phone_that_is_gone_is_not_waited_for() {
    for refusing in [false, true] {
        calm(|world| {
            let alice = registered(world, "1001", Manner::default());
            let bob = registered(world, "1002", Manner::default());
            world.kill(bob, refusing);
            dial(world, alice, "1002");
            let limit = if refusing { secs(1) } else { secs(33) };
            world.run(limit);
            assert_eq!(ending(world, alice), Ending::Refused(480));
        });
    }
}

#[test]
fn the_dial_plan_goes_on_to_the_next_user() {
    calm(|world| {
        let alice = registered(world, "1001", Manner::default());
        let bob = registered(world, "1002", Manner::replying(Reply::Never));
        let carol = registered(world, "1003", Manner::default());
        dial(world, alice, "800");
        world.run(secs(39));
        assert_eq!(world.at(bob).calls(), 1);
        world.run(secs(5));
        assert_eq!(ending(world, bob), Ending::Cancelled);
        up(world, &[alice, carol]);
        assert_joined(world, alice, carol);
    });
}

#[test]
fn a_caller_gives_up_while_it_rings() {
    let story = |world: &mut World| {
        let alice = registered(world, "1001", Manner::default());
        let bob = registered(world, "1002", Manner::replying(Reply::Never));
        dial(world, alice, "1002");
        world.run_until(secs(30), |world| world.at(alice).lines()[0].rang);
        world.tell(alice, Command::HangUp);
        world.run(secs(30));
        assert_eq!(ending(world, alice), Ending::Cancelled);
        assert_eq!(ending(world, bob), Ending::Cancelled);
        assert_eq!(cause(world), Cause::Cancelled);
    };
    calm(story);
    in_rough_weather(story);
}

#[test]
fn a_caller_gives_up_before_it_rings() {
    calm(|world| {
        let alice = registered(world, "1001", Manner::default());
        let silent = Manner {
            ring: None,
            ..Manner::replying(Reply::Never)
        };
        let bob = registered(world, "1002", silent);
        dial(world, alice, "1002");
        world.run(secs(1));
        world.tell(alice, Command::HangUp);
        world.run(secs(1));
        assert_eq!(ending(world, alice), Ending::Cancelled);
        // Nothing may be cancelled that has not been answered provisionally (RFC 3261 §9.1).
        world.at_mut(bob).manner().reply = Reply::Never;
        world.run(secs(40));
    });
}

#[test]
fn a_callee_that_picks_up_too_late_is_hung_up() {
    calm(|world| {
        let alice = registered(world, "1001", Manner::default());
        let late = Manner {
            answers_too_late: true,
            ..Manner::replying(Reply::Never)
        };
        let bob = registered(world, "1002", late);
        dial(world, alice, "1002");
        world.run(secs(1));
        world.tell(alice, Command::HangUp);
        world.run(secs(1));
        assert_eq!(ending(world, alice), Ending::Cancelled);
        assert_eq!(ending(world, bob), Ending::PeerHungUp);
    });
}

#[test]
fn all_phones_of_a_user_ring_and_the_first_to_answer_wins() {
    let story = |world: &mut World| {
        let alice = registered(world, "1001", Manner::default());
        let bobs = [8, 4, 6].map(|seconds| {
            let manner = Manner::replying(Reply::Answer(secs(seconds)));
            registered(world, "1002", manner)
        });
        dial(world, alice, "1002");
        world.run(secs(2));
        let ringing = bobs
            .iter()
            .filter(|bob| world.at(**bob).calls() == 1)
            .count();
        assert!(ringing >= 2, "{ringing}");
        up(world, &[alice]);
        world.run(secs(30));
        let talking: Vec<_> = bobs
            .iter()
            .filter(|bob| world.at(**bob).lines().iter().any(|line| line.up))
            .collect();
        assert_eq!(talking.len(), 1);
        assert_joined(world, alice, *talking[0]);
    };
    calm(story);
    in_rough_weather(story);
}

#[test]
fn two_phones_answer_at_once() {
    calm(|world| {
        let alice = registered(world, "1001", Manner::default());
        let bobs = [0, 5].map(|wait| {
            let manner = Manner::replying(Reply::Answer(secs(2) + millis(wait)));
            registered(world, "1002", manner)
        });
        dial(world, alice, "1002");
        world.run(secs(5));
        assert_joined(world, alice, bobs[0]);
        assert_eq!(ending(world, bobs[1]), Ending::PeerHungUp);
    });
}

#[test]
fn a_phone_behind_a_forking_proxy_is_followed_and_a_second_one_hung_up() {
    for both_answer in [false, true] {
        for reliable in [false, true] {
            calm(|world| {
                let forking = Manner {
                    forks: true,
                    both_answer,
                    ..Manner::default()
                };
                let caller = Manner {
                    reliable,
                    demands_reliable: reliable,
                    ..Manner::default()
                };
                let (alice, bob) = talking(world, caller, forking);
                assert_joined(world, alice, bob);
                let byes = world.tap().all().iter().filter(|sent| sent.name() == "BYE");
                assert_eq!(byes.count(), usize::from(both_answer));
                world.run(secs(40));
                assert!(world.at(alice).lines()[0].up && world.at(bob).lines()[0].up);
            });
        }
    }
}

#[test]
fn one_busy_phone_does_not_end_the_ringing_of_another_but_a_decline_does() {
    for (status, told) in [(486, None), (603, Some(603))] {
        calm(|world| {
            let alice = registered(world, "1001", Manner::default());
            registered(world, "1002", Manner::refusing(status));
            registered(world, "1002", Manner::replying(Reply::Answer(secs(3))));
            dial(world, alice, "1002");
            world.run(secs(5));
            match told {
                Some(told) => assert_eq!(ending(world, alice), Ending::Refused(told)),
                None => assert!(world.at(alice).lines()[0].up),
            }
        });
    }
}

#[test]
fn early_media_is_heard_before_the_answer() {
    for reliable in [false, true] {
        let story = |world: &mut World| {
            let early = Manner {
                early_media: true,
                reliable,
                ..Manner::replying(Reply::Answer(secs(6)))
            };
            let caller = Manner {
                reliable,
                ..Manner::default()
            };
            let alice = registered(world, "1001", caller);
            let bob = registered(world, "1002", early);
            dial(world, alice, "1002");
            up(world, &[alice, bob]);
            world.run(millis(300));
            assert_joined(world, alice, bob);
            if reliable {
                assert!(world.at(alice).lines()[0].early);
            }
        };
        calm(story);
        in_rough_weather(story);
    }
}

#[test]
fn a_caller_that_demands_reliable_ringing_gets_it() {
    let story = |world: &mut World| {
        let caller = Manner {
            reliable: true,
            demands_reliable: true,
            ..Manner::default()
        };
        let alice = registered(world, "1001", caller);
        registered(world, "1002", Manner::default());
        dial(world, alice, "1002");
        up(world, &[alice]);
        let pracks = world
            .tap()
            .all()
            .iter()
            .filter(|sent| sent.name() == "PRACK");
        assert!(pracks.count() > 0);
    };
    calm(story);
    in_rough_weather(story);
}

#[test]
fn a_caller_that_never_sends_prack_is_refused() {
    calm(|world| {
        let caller = Manner {
            reliable: true,
            demands_reliable: true,
            withholds: vec!["PRACK "],
            ..Manner::default()
        };
        let alice = registered(world, "1001", caller);
        registered(world, "1002", Manner::replying(Reply::Never));
        dial(world, alice, "1002");
        world.run(secs(34));
        assert_eq!(ending(world, alice), Ending::Refused(504));
        assert_eq!(cause(world), Cause::NoAck);
    });
}

#[test]
fn an_invite_without_an_offer_is_joined_all_the_same() {
    let story = |world: &mut World| {
        let offerless = Manner {
            offerless: true,
            ..Manner::default()
        };
        let (alice, bob) = talking(world, offerless, Manner::default());
        world.run(secs(10));
        assert_joined(world, alice, bob);
    };
    calm(story);
    in_rough_weather(story);
}

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
