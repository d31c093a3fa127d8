//! From dialling to the answer.

use super::*;

/// RFC 3261 §13, §15.
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
    for from in Place::ALL {
        for to in Place::ALL {
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

/// RFC 3261 §9.2.
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

/// RFC 3261 §13.2.2.4.
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
fn a_description_that_was_given_reliably_need_not_come_again() {
    for reliable in [true, false] {
        let story = |world: &mut World| {
            let brief = Manner {
                brief: true,
                early_media: true,
                reliable: true,
                ..Manner::default()
            };
            let caller = Manner {
                reliable,
                ..Manner::default()
            };
            let (alice, bob) = talking(world, caller, brief);
            assert_joined(world, alice, bob);
        };
        calm(story);
        in_rough_weather(story);
    }
}

#[test]
fn an_answer_without_a_description_is_no_answer() {
    calm(|world| {
        let senseless = Manner {
            senseless: true,
            ..Manner::default()
        };
        let alice = registered(world, "1001", Manner::default());
        let bob = registered(world, "1002", senseless);
        dial(world, alice, "1002");
        world.run(secs(5));
        assert_eq!(ending(world, alice), Ending::Refused(502));
        assert_eq!(ending(world, bob), Ending::PeerHungUp);
    });
}

#[test]
fn a_caller_may_give_up_with_bye() {
    calm(|world| {
        let abrupt = Manner {
            byes_early: true,
            ..Manner::default()
        };
        let alice = registered(world, "1001", abrupt);
        let bob = registered(world, "1002", Manner::replying(Reply::Never));
        dial(world, alice, "1002");
        world.run(secs(2));
        world.tell(alice, Command::HangUp);
        world.run(secs(1));
        assert_eq!(ending(world, alice), Ending::Cancelled);
        assert_eq!(ending(world, bob), Ending::Cancelled);
    });
}

#[test]
fn update_before_the_answer_changes_nothing() {
    calm(|world| {
        let alice = registered(world, "1001", Manner::default());
        let bob = registered(world, "1002", Manner::replying(Reply::Answer(secs(4))));
        dial(world, alice, "1002");
        world.run(secs(1));
        world.tell(alice, Command::Poke);
        world.tell(bob, Command::Poke);
        world.run(secs(5));
        assert_joined(world, alice, bob);
    });
}

/// RFC 3261 §18.1.1: an INVITE that is too long for a datagram is tried over TCP, and reaches a phone that
/// takes no connections all the same.
#[test]
fn rfc3261_18_1_1_a_long_invite_reaches_a_phone_that_has_only_udp() {
    let change = |settings: &mut Settings| {
        settings.config.network.local = vec![([10, 0, 0, 0].into(), 8)];
        settings.config.network.long_by_tcp = true;
        // Every request of ours is long.
        settings.config.server = "x".repeat(1300).as_str().into();
    };
    with(change, |world| {
        let (caller, callee) = talking(world, Manner::default(), Manner::default());
        assert_joined(world, caller, callee);
        world.tell(caller, Command::HangUp);
        world.run(secs(2));
        assert_eq!(ending(world, callee), Ending::PeerHungUp);
    });
}

/// Whoever picks a call up and gets no answer of his own leaves it as it was: the phones still ring,
/// and one of them may answer.
#[test]
fn a_pickup_that_fails_leaves_the_phones_ringing() {
    calm(|world| {
        let bob = registered(world, "1002", Manner::replying(Reply::Answer(secs(20))));
        let carol = registered(world, "1003", Manner::default());
        let mut peer = Peer::new("1001");
        let uri = "sip:1002@192.0.2.1";
        peer.ask_as_user(world, "INVITE", uri, &[], OFFER);
        assert_eq!(world.at(bob).calls(), 1);
        dial(world, carol, "*81002");
        world.run(millis(200));
        let answers = peer.heard(world);
        let accepted = answers.iter().find(|text| text.starts_with("SIP/2.0 200"));
        let accepted = accepted.expect("we answer for the newcomer").clone();
        let line = |name: &str| {
            accepted
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap()
        };
        let (to, cseq) = (line("To:"), line("CSeq:").replace("INVITE", "ACK"));
        let heard = peer.ask(world, "ACK", uri, &[to, &cseq], "");
        let asked = heard.iter().find(|text| text.starts_with("INVITE "));
        peer.answer(world, asked.expect("who picks up is offered"), 488);
        world.run(secs(1));
        assert_eq!(ending(world, carol), Ending::Refused(488));
        assert_eq!(world.at(bob).calls(), 1, "the phone still rings");
        up(world, &[bob]);
        world.run(millis(100));
        let heard = peer.heard(world);
        assert!(
            heard.iter().any(|text| text.starts_with("INVITE ")),
            "{heard:?}"
        );
        world.run(secs(90));
    });
}

/// RFC 3891 §3, RFC 3326: once somebody has picked the call up the phones are told why they stop.
#[test]
fn rfc3891_3_phones_stop_ringing_when_a_pickup_stands() {
    in_rough_weather(|world| {
        let alice = registered(world, "1001", Manner::default());
        let bob = registered(world, "1002", Manner::replying(Reply::Never));
        let carol = registered(world, "1003", Manner::default());
        dial(world, alice, "1002");
        world.run(secs(3));
        dial(world, carol, "*81002");
        up(world, &[alice, carol]);
        world.run(secs(3));
        assert_eq!(ending(world, bob), Ending::Cancelled);
        let mut sent = world.tap().all().iter().filter(|sent| sent.by_server);
        let reason = b"Call completed elsewhere";
        assert!(sent.any(|sent| {
            sent.name() == "CANCEL" && sent.bytes.windows(reason.len()).any(|part| part == reason)
        }));
        world.tell(alice, Command::HangUp);
        world.run(secs(5));
        assert_eq!(ending(world, carol), Ending::PeerHungUp);
    });
}

/// RFC 3891 §3, RFC 3262 §3: who has not confirmed what it was told can't be answered yet, and so nobody takes its
/// place, nor that of who has answered it.
#[test]
fn rfc3891_3_nobody_enters_a_call_whose_answer_waits_for_a_confirmation() {
    let starting = |heard: &[String], start: &str| {
        let mut matching = heard.iter().filter(|text| text.starts_with(start));
        matching.next_back().cloned()
    };
    let line = |text: &str, name: &str| {
        let mut lines = text.lines();
        let line = lines.find(|line| line.starts_with(name));
        line.expect("a header field").to_owned()
    };
    let value = |line: String| line.split_once(": ").expect("a value").1.to_owned();
    let tag = |line: &str| line.split_once(";tag=").expect("a tag").1.to_owned();
    calm(|world| {
        let uri = "sip:1002@192.0.2.1";
        let mut caller = Peer::new("1001");
        let mut callee = Peer::new("1002").at(([198, 51, 100, 8], 5062).into());
        let mut newcomer = Peer::new("1003").at(([198, 51, 100, 9], 5062).into());
        let address = "To: <sip:1002@192.0.2.1>";
        callee.ask_as_user(world, "REGISTER", "sip:192.0.2.1", &[address], "");
        caller.ask_as_user(world, "INVITE", uri, &["Supported: 100rel"], OFFER);
        let invite = starting(&callee.heard(world), "INVITE ").expect("a call");
        callee.answer_with(world, &invite, 183, &[], OFFER);
        let told = starting(&caller.heard(world), "SIP/2.0 183").expect("how it goes on");
        callee.answer_with(world, &invite, 200, &[], OFFER);
        let heard = caller.heard(world);
        assert_eq!(starting(&heard, "SIP/2.0 200"), None, "{heard:?}");
        let places = [
            (
                value(line(&told, "Call-ID:")),
                tag(&line(&told, "To:")),
                "peer".to_owned(),
            ),
            (
                value(line(&invite, "Call-ID:")),
                tag(&line(&invite, "From:")),
                "peer".to_owned(),
            ),
        ];
        for (call, ours, theirs) in &places {
            let replaces = format!("Replaces: {call};to-tag={ours};from-tag={theirs}");
            newcomer.begin();
            let answers = newcomer.ask_as_user(world, "INVITE", uri, &[&replaces], OFFER);
            let last = answers.last().expect("an answer");
            assert!(last.starts_with("SIP/2.0 491"), "{last}");
        }
        // What was missing comes, and the call is as if nobody had asked.
        let to = line(&told, "To:");
        let rack = format!(
            "RAck: {} {}",
            value(line(&told, "RSeq:")),
            value(line(&told, "CSeq:"))
        );
        let answers = caller.ask(world, "PRACK", uri, &[&to, &rack], "");
        let accepted = |text: &&String| text.starts_with("SIP/2.0 200") && text.contains(" INVITE");
        let accepted = answers.iter().find(accepted).expect("the answer").clone();
        let cseq = line(&accepted, "CSeq:").replace("INVITE", "ACK");
        caller.ask(world, "ACK", uri, &[&to, &cseq], "");
        caller.ask(world, "BYE", uri, &[&to], "");
        let bye = starting(&callee.heard(world), "BYE ").expect("the end");
        callee.answer(world, &bye, 200);
        world.run(secs(90));
    });
}
