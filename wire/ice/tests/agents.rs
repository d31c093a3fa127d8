//! Two agents in a network that loses, delays and translates addresses.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use ice::{Agent, Candidate, Event, Lite, Pair, Role};
use world::{Host, Nat, World, secret};

const SECOND: Duration = Duration::from_secs(1);

fn pair(local: &str, remote: &str) -> Option<Pair> {
    Some(Pair {
        local: local.parse().unwrap(),
        remote: remote.parse().unwrap(),
    })
}

fn full(loss: u32, seed: u8) -> World {
    let offerer = Host::full("192.0.2.1:5000", Role::Controlling, 1);
    let answerer = Host::full("192.0.2.2:5000", Role::Controlled, 2);
    World::new([offerer, answerer], loss, seed)
}

fn assert_joined(world: &World) {
    let [one, other] = world.hosts.each_ref().map(Host::selected);
    let (one, other) = (one.expect("selected"), other.expect("selected"));
    let [first, second] = world.hosts.each_ref().map(|host| host.nat.is_none());
    // Where no NAT is between them, they see each other as they are.
    if first && second {
        assert_eq!((one.local, one.remote), (other.remote, other.local));
    }
}

#[test]
fn rfc8445_7_2_two_full_agents_find_each_other() {
    let mut world = full(0, 1);
    world.introduce();
    world.run(SECOND);
    assert_eq!(
        world.hosts[0].selected(),
        pair("192.0.2.1:5000", "192.0.2.2:5000")
    );
    assert_joined(&world);
    assert_eq!(world.hosts[0].events.len(), 1);
    assert_eq!(world.hosts[1].events.len(), 1);
}

#[test]
fn rfc8489_6_2_1_they_find_each_other_though_every_third_message_is_lost() {
    for seed in 0..50 {
        let mut world = full(333, seed);
        world.introduce();
        let mut seconds = 0;
        while world.hosts.iter().any(|host| host.selected().is_none()) {
            world.run(SECOND);
            seconds += 1;
            let seen = world
                .hosts
                .each_ref()
                .map(|host| (host.selected(), host.events.clone()));
            // A check is given up after 40 seconds; the peer's next brings another.
            assert!(seconds < 90, "seed {seed}: {seen:?}");
        }
        assert_joined(&world);
    }
}

#[test]
fn rfc8445_5_1_1_2_two_nats_are_opened_from_both_sides() {
    for (symmetric, seed) in [(false, 1), (false, 2), (true, 3), (true, 4)] {
        let offerer = Host::full("10.0.0.1:5000", Role::Controlling, 1)
            .behind(Nat::new("198.51.100.1", symmetric));
        let answerer =
            Host::full("10.1.0.1:5000", Role::Controlled, 2).behind(Nat::new("203.0.113.1", false));
        let mut world = World::new([offerer, answerer], 100, seed);
        world.introduce();
        world.run(20 * SECOND);
        // A symmetric NAT before an address-restricted one can't be opened without a relay, but the other
        // way round works by a peer-reflexive candidate only if the filter lets it in: here it does not.
        let expected = !symmetric;
        assert_eq!(world.hosts[0].selected().is_some(), expected, "{symmetric}");
        assert_eq!(world.hosts[1].selected().is_some(), expected, "{symmetric}");
    }
}

#[test]
fn rfc8445_7_3_1_3_a_peer_behind_a_symmetric_nat_is_learnt_from_its_checks() {
    let offerer =
        Host::full("10.0.0.1:5000", Role::Controlling, 1).behind(Nat::new("198.51.100.1", true));
    let answerer = Host::full("192.0.2.2:5000", Role::Controlled, 2);
    let mut world = World::new([offerer, answerer], 100, 1);
    world.introduce();
    world.run(10 * SECOND);
    let seen = world.hosts[1].selected().unwrap().remote;
    assert_eq!(seen.ip().to_string(), "198.51.100.1");
    // Not what a STUN server was shown.
    assert_ne!(seen.port(), 40_000);
}

#[test]
fn rfc8445_2_5_a_full_agent_behind_a_nat_finds_a_lite_one() {
    for seed in 0..20 {
        let browser =
            Host::full("10.0.0.1:5000", Role::Controlled, 1).behind(Nat::new("198.51.100.1", true));
        let server = Host::lite("192.0.2.2:5000", 2);
        let mut world = World::new([browser, server], 100, seed);
        world.introduce();
        assert_eq!(world.hosts[0].agent().role(), Role::Controlling);
        world.run(15 * SECOND);
        assert_eq!(
            world.hosts[0].selected(),
            pair("10.0.0.1:5000", "192.0.2.2:5000")
        );
        let seen = world.hosts[1].selected().unwrap();
        assert_eq!(seen.remote.ip().to_string(), "198.51.100.1");
        assert_eq!(world.hosts[1].events, [Event::Selected(seen)]);
        // Consent is asked for and given, for as long as both live.
        world.run(300 * SECOND);
        assert_eq!(world.hosts[1].selected(), Some(seen));
        assert!(world.hosts[0].selected().is_some());
    }
}

#[test]
fn rfc8445_7_3_1_1_both_want_to_control_or_neither() {
    for role in [Role::Controlling, Role::Controlled] {
        for seed in 0..20 {
            let one = Host::full("192.0.2.1:5000", role, seed);
            let other = Host::full("192.0.2.2:5000", role, 100 + seed);
            let mut world = World::new([one, other], 50, seed);
            world.introduce();
            world.run(20 * SECOND);
            assert_joined(&world);
            let roles = [0, 1].map(|host| world.hosts[host].agent().role());
            assert_ne!(roles[0], roles[1]);
        }
    }
}

#[test]
fn rfc8445_7_3_1_1_a_lite_agent_never_controls() {
    let mut lite = Lite::new(secret(1));
    let mut asked = Host::full("192.0.2.1:5000", Role::Controlled, 2);
    let now = world::any_time();
    asked.candidates(now);
    // It does not know that its peer is lite, and that it has to control therefore.
    asked.agent().set_remote(now, secret(1), false);
    asked.agent().add_remote(
        now,
        &Candidate::host("192.0.2.9:5000".parse().unwrap(), 65535),
    );
    asked.agent().wake(now);
    let mut datagram = Vec::new();
    let path = asked.agent().poll_transmit(&mut datagram).unwrap();
    let mut answer = Vec::new();
    assert_eq!(
        lite.handle(now, &datagram, path.local, path.remote, &mut answer),
        None
    );
    let message = ice::stun::Message::parse(&answer).unwrap();
    assert_eq!(message.error_code(), Some(487));
    asked.agent().handle(now, &answer, path.remote, path.local);
    assert_eq!(asked.agent().role(), Role::Controlling);
}

#[test]
fn rfc8445_9_a_restart_moves_media_to_another_network_without_a_gap() {
    let browser =
        Host::full("10.0.0.1:5000", Role::Controlling, 1).behind(Nat::new("198.51.100.1", false));
    let server = Host::full("192.0.2.2:5000", Role::Controlled, 2);
    let mut world = World::new([browser, server], 0, 1);
    world.introduce();
    world.run(2 * SECOND);
    let before = world.hosts[1].selected().unwrap();
    world.hosts[0].nat.as_mut().unwrap().forget("203.0.113.9");
    world.hosts[0].agent().restart(secret(11));
    world.hosts[1].agent().restart(secret(12));
    assert_eq!(world.hosts[1].selected(), Some(before), "media go on");
    world.introduce();
    world.run(2 * SECOND);
    let after = world.hosts[1].selected().unwrap();
    assert_eq!(after.remote.ip().to_string(), "203.0.113.9");
    assert!(!world.hosts[1].events.contains(&Event::Disconnected));
    // And it holds.
    world.run(100 * SECOND);
    assert_eq!(world.hosts[1].selected(), Some(after));
    assert!(world.hosts[0].selected().is_some());
}

#[test]
fn rfc7675_5_1_who_stops_answering_gets_nothing_after_30_seconds() {
    let browser = Host::full("192.0.2.1:5000", Role::Controlling, 1);
    let mut world = World::new([browser, Host::lite("192.0.2.2:5000", 2)], 0, 1);
    world.introduce();
    world.run(60 * SECOND);
    assert!(world.hosts[0].selected().is_some() && world.hosts[1].selected().is_some());
    world.cut = true;
    world.run(23 * SECOND);
    assert!(world.hosts[0].selected().is_some() && world.hosts[1].selected().is_some());
    world.run(8 * SECOND);
    for host in &world.hosts {
        assert_eq!(host.selected(), None);
        assert_eq!(host.events.last(), Some(&Event::Disconnected));
    }
}

#[test]
fn rfc8838_11_candidates_may_come_late_and_checks_early() {
    let mut world = full(0, 1);
    let now = world.now;
    let [first, second] = [0, 1].map(|host| world.hosts[host].local());
    let candidates = [0, 1].map(|host| world.hosts[host].candidates(now));
    // The offerer does not know the answer yet when the answerer's checks come.
    world.hosts[1].agent().set_remote(now, first, false);
    world.run(SECOND);
    for candidate in &candidates[0] {
        let now = world.now;
        world.hosts[1].agent().add_remote(now, candidate);
    }
    world.run(SECOND);
    assert_eq!(world.hosts[0].selected(), None);
    let now = world.now;
    world.hosts[0].agent().set_remote(now, second, false);
    world.run(SECOND);
    assert_joined(&world);
}

#[test]
fn rfc8445_8_nobody_there_is_a_failure_that_ends_when_somebody_comes() {
    let mut world = full(0, 1);
    world.cut = true;
    world.introduce();
    world.run(60 * SECOND);
    assert_eq!(world.hosts[0].events, [Event::Failed]);
    assert_eq!(
        world.hosts[0].agent().deadline(),
        None,
        "it has come to rest"
    );
    world.cut = false;
    for host in 0..2 {
        world.hosts[host].agent().restart(secret(20 + host as u8));
    }
    world.introduce();
    world.run(2 * SECOND);
    assert_joined(&world);
}

#[test]
fn what_is_no_use_is_passed_over() {
    let mut world = full(0, 1);
    let now = world.now;
    let credentials = world.hosts[1].local();
    world.hosts[0].candidates(now);
    let agent = world.hosts[0].agent();
    agent.set_remote(now, credentials, false);
    for line in [
        "1 1 udp 1 0c7c2b4e.local 5000 typ host",
        "1 1 tcp 1 192.0.2.7 9 typ host tcptype active",
        "1 2 udp 1 192.0.2.7 5001 typ host",
        "1 1 udp 1 0.0.0.0 5001 typ host",
        "1 1 udp 1 192.0.2.7 0 typ host",
        "1 1 udp 1 192.0.2.7 5000 typ host ufrag other",
        "1 1 udp 1 2001:db8::1 5000 typ host",
    ] {
        agent.add_remote(now, &Candidate::parse(line).unwrap());
    }
    agent.wake(now);
    assert_eq!(agent.poll_transmit(&mut Vec::new()), None);
    // A flood of candidates is bounded, and ends.
    for port in 1000..2000 {
        let candidate = Candidate::host(format!("192.0.2.7:{port}").parse().unwrap(), port);
        agent.add_remote(now, &candidate);
    }
    let mut at = now;
    let mut checks = 0;
    while let Some(deadline) = agent.deadline() {
        at = deadline.max(at);
        agent.wake(at);
        while agent.poll_transmit(&mut Vec::new()).is_some() {
            checks += 1;
        }
    }
    assert_eq!(checks, 31 * 7);
}

#[test]
fn rfc8445_7_2_5_nobody_but_the_peer_moves_an_agent() {
    let mut world = full(0, 1);
    world.introduce();
    world.run(SECOND);
    let selected = world.hosts[0].selected();
    let now = world.now;
    let (here, stranger) = (
        "192.0.2.1:5000".parse().unwrap(),
        "192.0.2.66:1".parse().unwrap(),
    );
    // Right user, wrong password.
    let mut forged = Vec::new();
    let user = [world.hosts[0].local().ufrag(), ":x"].concat();
    let (class, id) = (ice::stun::Class::Request, ice::stun::TransactionId([1; 12]));
    ice::stun::Writer::new(&mut forged, class, ice::stun::BINDING, id)
        .put(ice::stun::attribute::USERNAME, user.as_bytes())
        .number(ice::stun::attribute::PRIORITY, u32::MAX)
        .put(ice::stun::attribute::USE_CANDIDATE, &[])
        .sign(&ice::stun::Key::short_term("0123456789012345678901"))
        .fingerprint();
    let agent = world.hosts[0].agent();
    agent.handle(now, &forged, stranger, here);
    let mut answer = Vec::new();
    agent.poll_transmit(&mut answer).unwrap();
    assert_eq!(
        ice::stun::Message::parse(&answer).unwrap().error_code(),
        Some(401)
    );
    assert!(answer.len() <= forged.len(), "an amplifier");
    assert_eq!(agent.selected(), selected);
    assert_eq!(agent.poll_transmit(&mut answer), None);
}

#[test]
fn rfc8445_4_each_component_has_its_own_candidates_and_tag() {
    let now = world::any_time();
    let here = |port: u16| SocketAddr::from(([192, 0, 2, 1], port));
    let mut agent = Agent::new(Role::Controlling, secret(1), [1; 32])
        .for_component(2)
        .tagged(0x0102_0304);
    agent.add_local(now, Candidate::host(here(5001), 65_535).for_component(2));
    agent.set_remote(now, secret(2), false);
    agent.add_remote(now, &Candidate::host(here(6000), 65_535));
    assert_eq!(agent.deadline(), Some(now + Duration::from_secs(30)));
    agent.add_remote(now, &Candidate::host(here(6001), 65_535).for_component(2));
    agent.wake(now);
    let mut check = Vec::new();
    let path = agent.poll_transmit(&mut check).unwrap();
    assert_eq!((path.local, path.remote), (here(5001), here(6001)));
    assert_eq!(ice::agent::answered(&check), None, "it is a question");

    let mut peer = Lite::new(secret(2));
    let mut answer = Vec::new();
    peer.handle(now, &check, here(5001), here(6001), &mut answer);
    assert_eq!(ice::agent::answered(&answer), Some(0x0102_0304));
    assert_eq!(ice::agent::answered(&answer[..9]), None);
}
