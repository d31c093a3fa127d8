//! How a phone is reached: by connections that break, and by names that somebody has to look up.

use super::*;

fn at(world: &mut World, user: &str, place: Place, manner: Manner) -> PhoneId {
    let phone = world.phone(user, place, manner);
    world.tell(phone, Command::Register);
    world.run(secs(2));
    assert_eq!(world.at(phone).registration_status(), Some(200));
    phone
}

#[test]
fn a_call_outlives_its_connection() {
    for place in [Place::Tcp, Place::Tls, Place::Wss] {
        for caller_hangs_up in [false, true] {
            calm(|world| {
                let alice = at(world, "1001", Place::Udp, Manner::default());
                let bob = at(world, "1002", place, Manner::default());
                dial(world, alice, "1002");
                up(world, &[alice, bob]);
                world.run(secs(1));
                world.break_connections(bob);
                world.run(secs(5));
                assert_joined(world, alice, bob);
                let who = if caller_hangs_up { alice } else { bob };
                world.tell(who, Command::HangUp);
                world.run(secs(2));
                assert_eq!(world.at(alice).calls(), 0);
            });
        }
    }
}

/// RFC 7118 §5: a browser is reached by the connection that it made, and by no other.
#[test]
fn rfc7118_5_a_browser_is_reached_once_it_is_back() {
    calm(|world| {
        let alice = at(world, "1001", Place::Udp, Manner::default());
        let bob = at(world, "1002", Place::Wss, Manner::default());
        world.crash(secs(2));
        world.run(millis(2001));
        dial(world, alice, "1002");
        world.run(millis(150));
        assert_eq!(ending(world, alice), Ending::Refused(480));
        world.run(secs(2));
        dial(world, alice, "1002");
        up(world, &[alice, bob]);
    });
}

/// RFC 3263 §4: a host name is looked up; RFC 3327 §5.3: the first of the Path is where requests go.
#[test]
fn rfc3263_4_a_phone_behind_a_named_proxy_is_reached_however_name_servers_feel() {
    let named = || Manner {
        named: true,
        ..Manner::default()
    };
    let perhaps = |silent: u32, empty: u32, delay: u32| Names {
        delay: delay..delay,
        silent,
        empty,
        misleading: 0,
    };
    for names in [
        Names::good(),
        perhaps(0, 0, 3000),
        perhaps(100, 0, 20),
        perhaps(0, 100, 20),
        // Later than anybody waits.
        perhaps(0, 0, 60_000),
    ] {
        calm(|world| {
            let alice = at(world, "1001", Place::Udp, Manner::default());
            let bob = at(world, "1002", Place::Udp, named());
            world.set_names(names);
            dial(world, alice, "1002");
            up(world, &[alice, bob]);
            world.run(secs(1));
            assert_joined(world, alice, bob);
            assert_eq!(world.server.load().searches, 0);
        });
    }
}

#[test]
fn a_caller_who_gives_up_while_a_name_is_looked_up_leaves_nothing() {
    calm(|world| {
        let alice = at(world, "1001", Place::Udp, Manner::default());
        let named = Manner {
            named: true,
            ..Manner::default()
        };
        at(world, "1002", Place::Udp, named);
        world.set_names(Names {
            silent: 100,
            ..Names::good()
        });
        dial(world, alice, "1002");
        world.run(secs(1));
        world.tell(alice, Command::HangUp);
        world.run(secs(1));
        assert_eq!(ending(world, alice), Ending::Cancelled);
        assert_eq!(cause(world), Cause::Cancelled);
    });
}
