//! What a phone user expects, one scenario at a time, in calm weather and in rough.

mod ends;
mod led;
mod operating;
mod pictures;
mod proxy;
mod reaching;
mod registration;
mod ringing;
mod rooms;
mod serving;
mod talking;
mod transfers;
mod trickle;

use std::time::Duration;

use pbx::Cause;
use sdp::Direction;
use testkit::peer::OFFER;
use testkit::{
    Command, Death, Ending, Manner, Names, Peer, PhoneId, Place, Reply, Settings, Weather, World,
    simulate,
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
