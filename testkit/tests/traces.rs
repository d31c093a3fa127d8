//! Exact traces of the most important flows.

use std::time::Duration;

use testkit::{Command, Manner, PhoneId, Place, Reply, Settings, World, simulate};

fn calm(story: impl FnOnce(&mut World)) {
    let again = "cargo test -p dialtone-testkit --test traces";
    simulate(Settings::calm(1), again, story);
}

fn phone(world: &mut World, user: &str, manner: Manner) -> PhoneId {
    let phone = world.phone(user, Place::Udp, manner);
    world.tell(phone, Command::Register);
    world.run(Duration::from_secs(1));
    phone
}

/// What is sent while `act` happens and in the seconds after it.
fn trace(world: &mut World, seconds: u64, act: impl FnOnce(&mut World)) -> Vec<String> {
    let before = world.tap().short().len();
    act(world);
    world.run(Duration::from_secs(seconds));
    world.tap().short().split_off(before)
}

#[test]
fn registration() {
    calm(|world| {
        let phone = world.phone("1001", Place::Udp, Manner::default());
        let sent = trace(world, 1, |world| world.tell(phone, Command::Register));
        assert_eq!(
            sent,
            [
                "10.0.0.1 > REGISTER 1",
                "10.0.0.1 < 401 REGISTER 1",
                "10.0.0.1 > REGISTER 2",
                "10.0.0.1 < 200 REGISTER 2",
            ]
        );
    });
}

#[test]
fn call() {
    calm(|world| {
        let alice = phone(world, "1001", Manner::default());
        phone(world, "1002", Manner::default());
        let sent = trace(world, 3, |world| {
            world.tell(alice, Command::Dial("1002".to_owned()));
        });
        assert_eq!(
            sent,
            [
                "10.0.0.1 > INVITE 1",
                "10.0.0.1 < 401 INVITE 1",
                "10.0.0.1 > ACK 1",
                "10.0.0.1 > INVITE 2",
                "10.0.0.1 < 100 INVITE 2",
                "10.0.0.2 < INVITE 1",
                "10.0.0.2 > 180 INVITE 1",
                "10.0.0.1 < 180 INVITE 2",
                "10.0.0.2 > 200 INVITE 1",
                "10.0.0.2 < ACK 1",
                "10.0.0.1 < 200 INVITE 2",
                "10.0.0.1 > ACK 2",
            ]
        );
        let sent = trace(world, 1, |world| world.tell(alice, Command::HangUp));
        assert_eq!(
            sent,
            [
                "10.0.0.1 > BYE 3",
                "10.0.0.1 < 200 BYE 3",
                "10.0.0.2 < BYE 2",
                "10.0.0.2 > 200 BYE 2",
            ]
        );
    });
}

/// RFC 3326.
#[test]
fn the_phones_that_did_not_answer_learn_that_another_did() {
    calm(|world| {
        let alice = phone(world, "1001", Manner::default());
        phone(world, "1002", Manner::replying(Reply::Never));
        phone(world, "1002", Manner::default());
        let sent = trace(world, 4, |world| {
            world.tell(alice, Command::Dial("1002".to_owned()));
        });
        let told: Vec<_> = sent
            .iter()
            .filter(|line| line.starts_with("10.0.0.2"))
            .collect();
        assert_eq!(
            told,
            [
                "10.0.0.2 < INVITE 1",
                "10.0.0.2 > 180 INVITE 1",
                "10.0.0.2 < CANCEL 1 (SIP;cause=200;text=\"Call completed elsewhere\")",
                "10.0.0.2 > 200 CANCEL 1",
                "10.0.0.2 > 487 INVITE 1",
                "10.0.0.2 < ACK 1",
            ]
        );
        assert!(!sent.iter().any(|line| line.contains("10.0.0.3 < CANCEL")));
    });
}

#[test]
fn cancel() {
    calm(|world| {
        let alice = phone(world, "1001", Manner::default());
        phone(world, "1002", Manner::replying(Reply::Never));
        world.tell(alice, Command::Dial("1002".to_owned()));
        world.run(Duration::from_secs(2));
        let sent = trace(world, 2, |world| world.tell(alice, Command::HangUp));
        assert_eq!(
            sent,
            [
                "10.0.0.1 > CANCEL 2",
                "10.0.0.1 < 200 CANCEL 2",
                "10.0.0.1 < 487 INVITE 2",
                "10.0.0.2 < CANCEL 1 (SIP;cause=487;text=\"Request Terminated\")",
                "10.0.0.1 > ACK 2",
                "10.0.0.2 > 200 CANCEL 1",
                "10.0.0.2 > 487 INVITE 1",
                "10.0.0.2 < ACK 1",
            ]
        );
    });
}

#[test]
fn reliable_early_media() {
    calm(|world| {
        let caller = Manner {
            reliable: true,
            ..Manner::default()
        };
        let alice = phone(world, "1001", caller.clone());
        let callee = Manner {
            early_media: true,
            ..caller
        };
        phone(world, "1002", callee);
        let sent = trace(world, 4, |world| {
            world.tell(alice, Command::Dial("1002".to_owned()));
        });
        assert_eq!(
            sent[5..],
            [
                "10.0.0.2 < INVITE 1",
                "10.0.0.2 > 183 INVITE 1",
                "10.0.0.2 < PRACK 2",
                "10.0.0.1 < 183 INVITE 2",
                "10.0.0.2 > 200 PRACK 2",
                "10.0.0.1 > PRACK 3",
                "10.0.0.1 < 200 PRACK 3",
                "10.0.0.2 > 180 INVITE 1",
                "10.0.0.2 < PRACK 3",
                "10.0.0.1 < 180 INVITE 2",
                "10.0.0.2 > 200 PRACK 3",
                "10.0.0.2 > 200 INVITE 1",
                "10.0.0.2 < ACK 1",
                "10.0.0.1 < 200 INVITE 2",
                "10.0.0.1 > ACK 2",
            ]
        );
    });
}

#[test]
fn hold() {
    calm(|world| {
        let alice = phone(world, "1001", Manner::default());
        phone(world, "1002", Manner::default());
        world.tell(alice, Command::Dial("1002".to_owned()));
        world.run(Duration::from_secs(3));
        let hold = |update| Command::Hold { hold: true, update };
        let sent = trace(world, 1, |world| world.tell(alice, hold(false)));
        assert_eq!(
            sent,
            [
                "10.0.0.1 > INVITE 3",
                "10.0.0.1 < 100 INVITE 3",
                "10.0.0.2 < INVITE 2",
                "10.0.0.2 > 200 INVITE 2",
                "10.0.0.2 < ACK 2",
                "10.0.0.1 < 200 INVITE 3",
                "10.0.0.1 > ACK 3",
            ]
        );
        let resume = Command::Hold {
            hold: false,
            update: true,
        };
        let sent = trace(world, 1, |world| world.tell(alice, resume));
        assert_eq!(
            sent,
            [
                "10.0.0.1 > UPDATE 4",
                "10.0.0.2 < UPDATE 3",
                "10.0.0.2 > 200 UPDATE 3",
                "10.0.0.1 < 200 UPDATE 4",
            ]
        );
    });
}

#[test]
fn a_late_offer_is_answered_with_the_callers_ack() {
    calm(|world| {
        let caller = Manner {
            offerless: true,
            ..Manner::default()
        };
        let alice = phone(world, "1001", caller);
        phone(world, "1002", Manner::default());
        let sent = trace(world, 3, |world| {
            world.tell(alice, Command::Dial("1002".to_owned()));
        });
        assert_eq!(
            sent[8..],
            [
                "10.0.0.2 > 200 INVITE 1",
                "10.0.0.1 < 200 INVITE 2",
                "10.0.0.1 > ACK 2",
                "10.0.0.2 < ACK 1",
            ]
        );
    });
}

#[test]
fn no_answer() {
    calm(|world| {
        let alice = phone(world, "1001", Manner::default());
        phone(world, "1002", Manner::replying(Reply::Never));
        world.tell(alice, Command::Dial("1002".to_owned()));
        world.run(Duration::from_secs(39));
        let sent = trace(world, 3, |_| {});
        assert_eq!(
            sent,
            [
                "10.0.0.2 < CANCEL 1 (Q.850;cause=19;text=\"No answer\")",
                "10.0.0.1 < 480 INVITE 2",
                "10.0.0.2 > 200 CANCEL 1",
                "10.0.0.2 > 487 INVITE 1",
                "10.0.0.1 > ACK 2",
                "10.0.0.2 < ACK 1",
            ]
        );
    });
}

#[test]
fn an_echo_is_answered_at_once() {
    calm(|world| {
        let alice = phone(world, "1001", Manner::default());
        let sent = trace(world, 3, |world| {
            world.tell(alice, Command::Dial("600".to_owned()));
        });
        assert_eq!(
            sent[3..],
            [
                "10.0.0.1 > INVITE 2",
                "10.0.0.1 < 100 INVITE 2",
                "10.0.0.1 < 200 INVITE 2",
                "10.0.0.1 > ACK 2",
            ]
        );
    });
}
