//! Parties that are sent elsewhere: by REFER, by an operator, into an orbit and out of it.

use super::*;
use testkit::Referral;

/// Alice and Bob talk, and Carol is there.
fn three(world: &mut World, alice: Manner) -> [PhoneId; 3] {
    let others = Manner {
        session: alice.session,
        ..Manner::default()
    };
    let carol = registered(world, "1003", others.clone());
    let (alice, bob) = talking(world, alice, others);
    [alice, bob, carol]
}

/// Alice talks to Bob, and then to Carol as well.
fn two_calls(world: &mut World, alice: Manner) -> [PhoneId; 3] {
    let phones = three(world, alice);
    let [alice, _, carol] = phones;
    dial(world, alice, "1003");
    let done = world.run_until(secs(60), |world| {
        let lines = world.at(alice).lines();
        lines.len() == 2 && lines.iter().all(|line| line.up) && world.at(carol).calls() == 1
    });
    assert!(done, "the second call is not answered");
    world.run(secs(1));
    phones
}

fn send_to(world: &mut World, phone: PhoneId, number: &str) {
    world.tell(phone, Command::Transfer(number.to_owned()));
}

/// Bob and Carol hear each other, and Alice has nothing to do with it any more.
fn assert_put_together(world: &World, [alice, bob, carol]: [PhoneId; 3]) {
    assert_eq!(world.at(alice).calls(), 0, "the transferor is still there");
    assert_hear_each_other(world, bob, carol);
}

/// What either phone sends reaches the other one's RTP address, through however many calls of ours.
fn assert_hear_each_other(world: &World, a: PhoneId, b: PhoneId) {
    let lines = [a, b].map(|phone| world.at(phone).lines().remove(0));
    for side in [0, 1] {
        let port = lines[side].remote.expect("a description was heard").port();
        let heard = world.server.media.reaches(port);
        assert_eq!(heard, Some(lines[1 - side].rtp), "side {side}");
    }
}

fn hasty() -> Manner {
    Manner {
        leaves_when_referred: true,
        ..Manner::default()
    }
}

fn silent() -> Manner {
    Manner {
        refers_silently: true,
        ..Manner::default()
    }
}

/// RFC 5057 §4, RFC 5589 §5: the subscription that a REFER makes outlives the call of whoever sent it,
/// and lasts longer than phones ring.
#[test]
fn rfc3515_2_4_7_who_has_hung_up_hears_what_came_of_the_transfer() {
    calm(|world| {
        let phones = three(world, hasty());
        send_to(world, phones[0], "1003");
        world.run(secs(60));
        assert_put_together(world, phones);
        let sent: Vec<_> = world.tap().all().iter().collect();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let bye = sent
            .iter()
            .position(|sent| !sent.by_server && sent.name() == "BYE");
        let later = &sent[bye.expect("the transferor hangs up")..];
        let told: Vec<_> = later
            .iter()
            .filter(|sent| sent.by_server && sent.name() == "NOTIFY")
            .map(|sent| text(&sent.bytes))
            .collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].contains("Subscription-State: terminated"),
            "{told:?}"
        );
        assert!(told[0].contains("SIP/2.0 200 OK"), "{told:?}");
        let mut earlier = sent.iter().map(|sent| text(&sent.bytes));
        assert!(earlier.any(|text| text.contains("Subscription-State: active;expires=180")));
        world.tell(phones[1], Command::HangUp);
        world.run(secs(5));
    });
}

/// RFC 5589 §6, RFC 3515 §2.4.4, RFC 4488 §4.
#[test]
fn rfc5589_6_a_blind_transfer_puts_the_other_two_together() {
    for manner in [Manner::default(), hasty(), silent()] {
        let story = |world: &mut World| {
            let phones = three(world, manner.clone());
            send_to(world, phones[0], "1003");
            world.run(secs(60));
            assert_put_together(world, phones);
            world.tell(phones[1], Command::HangUp);
            world.run(secs(40));
            assert_eq!(world.at(phones[2]).calls(), 0);
            assert_eq!(world.server.ledger().records.len(), 1);
        };
        calm(story);
        in_rough_weather(story);
    }
}

/// RFC 5589 §7, RFC 3891 §3.
#[test]
fn rfc5589_7_an_attended_transfer_joins_two_calls() {
    for manner in [Manner::default(), hasty(), silent()] {
        let story = |world: &mut World| {
            let phones = two_calls(world, manner.clone());
            world.tell(phones[0], Command::TransferAttended);
            world.run(secs(60));
            assert_put_together(world, phones);
            world.tell(phones[2], Command::HangUp);
            world.run(secs(40));
            assert_eq!(world.at(phones[1]).calls(), 0);
            assert_eq!(world.server.ledger().open_calls(), 0);
        };
        calm(story);
        in_rough_weather(story);
    }
}

/// RFC 3515 §2.4.5: the transferor hears what came of it, and keeps its call if nothing did.
#[test]
fn rfc3515_2_4_5_a_transfer_that_fails_leaves_the_call_as_it_was() {
    for (number, status) in [("1005", 480), ("1099", 404), ("700", 486)] {
        let story = |world: &mut World| {
            let [alice, bob, _] = three(world, Manner::default());
            send_to(world, alice, number);
            world.run(secs(50));
            let told = world.at(alice).lines()[0].referral;
            assert_eq!(told, Some(Referral::Told(status)), "{number}");
            assert_joined(world, alice, bob);
        };
        calm(story);
        in_rough_weather(story);
    }
}

#[test]
fn a_transfer_that_fails_after_the_transferor_has_left_ends_the_call() {
    let story = |world: &mut World| {
        let [alice, bob, _] = three(world, hasty());
        send_to(world, alice, "1005");
        world.run(secs(60));
        assert_eq!((world.at(alice).calls(), world.at(bob).calls()), (0, 0));
        assert_eq!(world.server.ledger().records.len(), 1);
    };
    calm(story);
    in_rough_weather(story);
}

#[test]
fn an_operator_sends_a_party_elsewhere() {
    for who in [media::Side::Caller, media::Side::Callee] {
        calm(|world| {
            let [alice, bob, carol] = three(world, Manner::default());
            let call = world.server.ledger().open()[0];
            let number = "1003".to_owned();
            world.operate(&pbx::Command::Transfer { call, who, number });
            world.run(secs(10));
            let (goes, stays) = match who {
                media::Side::Caller => (alice, bob),
                media::Side::Callee => (bob, alice),
            };
            assert_put_together(world, [stays, goes, carol]);
        });
    }
}

#[test]
fn a_parked_call_is_fetched_by_whoever_dials_the_orbit() {
    let story = |world: &mut World| {
        let phones = three(world, Manner::default());
        let [alice, bob, carol] = phones;
        send_to(world, alice, "711");
        world.run(secs(40));
        assert_eq!(world.at(alice).calls(), 0);
        assert!(!world.server.orbits().is_empty());
        dial(world, carol, "711");
        up(world, &[bob, carol]);
        world.run(secs(40));
        assert_put_together(world, phones);
        assert!(world.server.orbits().is_empty());
    };
    calm(story);
    in_rough_weather(story);
}

#[test]
fn a_parked_call_that_nobody_fetches_comes_back_to_whoever_parked_it() {
    calm(|world| {
        let [alice, bob, _] = three(world, Manner::default());
        send_to(world, alice, "711");
        world.run(secs(30));
        assert_eq!(world.at(alice).calls(), 0);
        world.run(secs(100));
        up(world, &[alice, bob]);
        assert_hear_each_other(world, alice, bob);
        assert!(world.server.orbits().is_empty());
    });
}

#[test]
fn a_colleague_picks_up_what_rings() {
    let story = |world: &mut World| {
        let alice = registered(world, "1001", Manner::default());
        let bob = registered(world, "1002", Manner::replying(Reply::Never));
        let carol = registered(world, "1003", Manner::default());
        dial(world, alice, "1002");
        let rings = world.run_until(secs(30), |world| world.at(bob).calls() == 1);
        assert!(rings);
        world.run(secs(2));
        dial(world, carol, "*81002");
        up(world, &[alice, carol]);
        world.run(secs(40));
        assert_eq!(world.at(bob).calls(), 0);
        assert_hear_each_other(world, alice, carol);
    };
    calm(story);
    in_rough_weather(story);
}

/// Whoever of the three dies, and after whichever message: nothing may be left.
#[test]
fn each_of_the_three_dies_at_each_step_of_a_transfer() {
    for attended in [false, true] {
        for who in 0..3 {
            for step in 0..26 {
                let again =
                    format!("{AGAIN} each_of (attended {attended}, who {who}, step {step})");
                let mut settings = Settings::calm(1);
                // A party who has gone without a word is missed when the session is refreshed.
                settings.config.calls.session_expires = secs(90);
                simulate(settings, &again, |world| die_at(world, attended, who, step));
            }
        }
    }
}

fn die_at(world: &mut World, attended: bool, who: usize, step: usize) {
    let careful = Manner {
        session: Some(90),
        ..Manner::default()
    };
    let phones = if attended {
        two_calls(world, careful)
    } else {
        three(world, careful)
    };
    let before = world.tap().all().len();
    match attended {
        true => world.tell(phones[0], Command::TransferAttended),
        false => send_to(world, phones[0], "1003"),
    }
    world.run_until(secs(30), |world| world.tap().all().len() > before + step);
    world.kill(phones[who], step.is_multiple_of(2));
    world.run(secs(300));
    let left: Vec<_> = phones
        .into_iter()
        .filter(|phone| *phone != phones[who])
        .collect();
    let talking = left.iter().filter(|phone| world.at(**phone).calls() > 0);
    // Two who are left may have been put together; one alone has nobody to talk to.
    match talking.count() {
        0 => {}
        2 if who == 0 => assert_hear_each_other(world, left[0], left[1]),
        2 if world.at(phones[0]).calls() == 1 => assert_hear_each_other(world, left[0], left[1]),
        count => panic!("{count} phones talk to nobody"),
    }
}

#[test]
fn forwarding_leads_to_the_phone_that_is_wanted() {
    for when in 0..4 {
        let mut settings = Settings::calm(1);
        let mut user = pbx::User::clone(&settings.config.users["1002"]);
        let target = Some("1003".to_owned());
        match when {
            0 => user.forward.always = target,
            1 => user.forward.busy = target,
            2 => {
                user.forward.no_answer = target;
                user.forward.after = Some(secs(5));
            }
            _ => user.forward.unreachable = target,
        }
        let user = std::sync::Arc::new(user);
        settings
            .config
            .users
            .insert("1002".to_owned(), user.clone());
        settings.config.numbers.insert("1002".to_owned(), user);
        simulate(settings, AGAIN, |world| {
            let alice = registered(world, "1001", Manner::default());
            let carol = registered(world, "1003", Manner::default());
            match when {
                0 => drop(registered(world, "1002", Manner::default())),
                1 => drop(registered(world, "1002", Manner::refusing(486))),
                2 => drop(registered(world, "1002", Manner::replying(Reply::Never))),
                _ => {}
            }
            dial(world, alice, "1002");
            up(world, &[alice, carol]);
            world.run(secs(1));
            assert_joined(world, alice, carol);
        });
    }
}

/// RFC 3261 §8.1.3.4: a redirection to another user is followed, in a circle only once.
#[test]
fn rfc3261_8_1_3_4_a_phone_redirects_its_calls() {
    for (back, expected) in [(false, None), (true, Some(482))] {
        calm(|world| {
            let redirecting = |to: &'static str| Manner {
                redirects_to: to,
                ..Manner::refusing(302)
            };
            let alice = registered(world, "1001", Manner::default());
            registered(world, "1002", redirecting("1003"));
            let carol = if back {
                redirecting("1002")
            } else {
                Manner::default()
            };
            let carol = registered(world, "1003", carol);
            dial(world, alice, "1002");
            world.run(secs(10));
            match expected {
                None => assert_joined(world, alice, carol),
                Some(status) => assert_eq!(ending(world, alice), Ending::Refused(status)),
            }
        });
    }
}
