//! Phones that come, stay and go.

use super::*;

/// RFC 3261 §10.2, §10.3.
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

/// RFC 7616 §3.3.
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

/// RFC 3261 §22.
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

/// A phone that has registered as one flow of its user's device.
fn flow(world: &mut World, number: u32, manner: Manner) -> PhoneId {
    let manner = Manner {
        flow: number,
        ..manner
    };
    registered(world, "1001", manner)
}

fn was_invited(world: &World, phone: PhoneId) -> bool {
    let calls = world.at(phone).outcomes().len() + world.at(phone).lines().len();
    calls > 0
}

#[test]
fn rfc5626_6_flows_of_one_phone_are_kept_side_by_side_and_confirmed() {
    calm(|world| {
        flow(world, 1, Manner::default());
        let second = flow(world, 2, Manner::default());
        world.tell(second, Command::RegisterAgain);
        world.run(secs(1));
        let bindings = world.server.bindings().lookup("1001").unwrap();
        let numbers: Vec<_> = bindings.iter().map(|contact| contact.reg_id).collect();
        assert_eq!(numbers, [1, 2], "the second flow has replaced itself");
        let last = world.tap().all().iter().rev().find(|sent| sent.by_server);
        let confirmation = last.unwrap().message().unwrap();
        assert_eq!(
            confirmation.header(sip::HeaderName::Require),
            Some("outbound")
        );
        let mut contacts = confirmation.values(sip::HeaderName::Contact);
        assert!(contacts.any(|contact| contact.ends_with(";reg-id=1")));
    });
}

#[test]
fn rfc5626_5_3_a_call_goes_along_the_latest_flow_and_along_the_next_if_that_fails() {
    calm(|world| {
        let older = flow(world, 1, Manner::default());
        let newer = flow(world, 2, Manner::refusing(430));
        let caller = registered(world, "1002", Manner::default());
        dial(world, caller, "1001");
        up(world, &[caller, older]);
        assert!(was_invited(world, newer));
    });
    calm(|world| {
        let older = flow(world, 1, Manner::default());
        let newer = flow(world, 2, Manner::default());
        let caller = registered(world, "1002", Manner::default());
        dial(world, caller, "1001");
        up(world, &[caller, newer]);
        assert!(!was_invited(world, older), "never both");
        world.tell(caller, Command::HangUp);
        world.run(secs(2));
        world.kill(newer, true);
        dial(world, caller, "1001");
        up(world, &[caller, older]);
    });
}

/// RFC 5626 §5.3.1: what has failed once is not tried first again, until the phone registers by it.
#[test]
fn rfc5626_5_3_1_a_dead_flow_is_tried_once() {
    calm(|world| {
        let older = flow(world, 1, Manner::default());
        let newer = flow(world, 2, Manner::refusing(430));
        let caller = registered(world, "1002", Manner::default());
        let tried = |world: &World| world.at(newer).outcomes().len();
        for _ in 0..3 {
            dial(world, caller, "1001");
            up(world, &[caller, older]);
            assert_eq!(tried(world), 1);
            world.tell(caller, Command::HangUp);
            world.run(secs(2));
        }
        world.at_mut(newer).manner().reply = Reply::Answer(secs(1));
        world.tell(newer, Command::RegisterAgain);
        world.run(secs(1));
        dial(world, caller, "1001");
        up(world, &[caller, newer]);
    });
}

#[test]
fn rfc5626_5_3_when_all_flows_have_failed_the_phone_is_not_reachable() {
    calm(|world| {
        flow(world, 1, Manner::refusing(430));
        flow(world, 2, Manner::refusing(430));
        let caller = registered(world, "1002", Manner::default());
        dial(world, caller, "1001");
        world.run(secs(5));
        assert!(matches!(ending(world, caller), Ending::Refused(_)));
        let invited = world.tap().all().iter().filter(|sent| {
            let method = sent.message().and_then(|message| message.method());
            sent.by_server && method == Some(sip::Method::Invite)
        });
        assert_eq!(invited.count(), 2);
    });
}
