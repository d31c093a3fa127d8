//! Conference rooms.

use super::*;
use media::{Participant, RoomId};
use pbx::{Moderation, RecordAction};

/// Where the phone's media go to in the media workers.
fn seat(world: &World, phone: PhoneId) -> Option<(RoomId, Participant)> {
    let port = world.at(phone).lines()[0].remote?.port();
    world.server.media.seat(port)
}

fn moderate(world: &mut World, moderation: Moderation) {
    let slots = world.server.rooms().moderate("650", moderation, None);
    assert!(slots.is_some());
    world.operate(&pbx::Command::Look);
    world.run(secs(1));
}

fn both(world: &mut World) -> [PhoneId; 2] {
    let phones = ["1001", "1002"].map(|user| {
        let phone = registered(world, user, Manner::default());
        dial(world, phone, "650");
        phone
    });
    up(world, &phones);
    world.run(secs(5));
    phones
}

#[test]
fn whoever_dials_a_room_is_in_it_until_hanging_up() {
    let story = |world: &mut World| {
        let [alice, bob] = both(world);
        let (room, allowed) = seat(world, alice).unwrap();
        assert_eq!(seat(world, bob).unwrap().0, room);
        assert!(!allowed.muted && !allowed.deaf && allowed.announced);
        let rooms = world.server.rooms().list();
        let names: Vec<_> = rooms[0].1.seats.iter().map(|seat| &*seat.name).collect();
        assert_eq!((&*rooms[0].0, rooms.len(), names.len()), ("650", 1, 2));
        assert!(names.contains(&"1001") && names.contains(&"1002"));

        // Two find room.
        let carol = registered(world, "1003", Manner::default());
        dial(world, carol, "650");
        world.run(secs(40));
        assert_eq!(ending(world, carol), Ending::Refused(486));
        world.tell(alice, Command::HangUp);
        world.run(secs(40));
        assert_eq!(world.server.rooms().list()[0].1.seats.len(), 1);
        world.tell(bob, Command::HangUp);
        world.run(secs(40));
        assert!(world.server.rooms().is_empty());
        let records = &world.server.ledger().records;
        let named = |record: &pbx::CallRecord| record.room.as_deref() == Some("650");
        assert_eq!(records.iter().filter(|record| named(record)).count(), 2);
    };
    calm(story);
    in_rough_weather(story);
}

#[test]
fn a_room_is_moderated() {
    calm(|world| {
        let [alice, bob] = both(world);
        moderate(world, Moderation::Mute(true));
        for phone in [alice, bob] {
            assert!(seat(world, phone).unwrap().1.muted);
        }
        moderate(world, Moderation::Mute(false));
        moderate(world, Moderation::Deafen(true));
        for phone in [alice, bob] {
            let allowed = seat(world, phone).unwrap().1;
            assert!(!allowed.muted && allowed.deaf);
        }
        moderate(world, Moderation::Kick);
        world.run(secs(40));
        assert_eq!(ending(world, alice), Ending::PeerHungUp);
        assert_eq!(cause(world), Cause::Operator);
        assert!(world.server.rooms().is_empty());
    });
}

#[test]
fn whoever_puts_a_room_on_hold_is_not_heard() {
    let story = |world: &mut World| {
        let [alice, bob] = both(world);
        for hold in [true, false] {
            world.tell(
                alice,
                Command::Hold {
                    hold,
                    update: false,
                },
            );
            world.run(secs(30));
            let allowed = seat(world, alice).unwrap().1;
            assert_eq!((allowed.muted, allowed.deaf), (hold, hold));
            assert!(!seat(world, bob).unwrap().1.muted);
        }
    };
    calm(story);
    in_rough_weather(story);
}

/// The phones' keys are all the same: 5.
#[test]
fn a_pin_opens_the_door_and_another_one_closes_the_call() {
    calm(|world| {
        let alice = registered(world, "1001", Manner::default());
        dial(world, alice, "651");
        up(world, &[alice]);
        // The prompt ends, and there is time.
        world.run(secs(15));
        assert_eq!(seat(world, alice), None);
        world.tell(alice, Command::Key('5'));
        world.run(secs(2));
        assert!(seat(world, alice).is_some());
        let rooms = world.server.rooms().list();
        assert!(rooms[0].1.seats[0].moderator);

        let bob = registered(world, "1002", Manner::default());
        dial(world, bob, "652");
        up(world, &[bob]);
        (0..6).for_each(|_| world.tell(bob, Command::Key('5')));
        world.run(secs(40));
        assert_eq!(ending(world, bob), Ending::PeerHungUp);

        dial(world, bob, "652");
        up(world, &[bob]);
        world.run(secs(60));
        assert_eq!(ending(world, bob), Ending::PeerHungUp);
        assert_eq!(seat(world, alice).map(|seat| seat.1.muted), Some(false));
    });
}

#[test]
fn a_party_can_be_sent_into_a_room() {
    calm(|world| {
        let (_, bob) = talking(world, Manner::default(), Manner::default());
        let call = world.server.ledger().open()[0];
        let number = "650".to_owned();
        let who = media::Side::Callee;
        world.operate(&pbx::Command::Transfer { call, who, number });
        world.run(secs(20));
        assert!(world.at(bob).lines()[0].up);
        assert!(seat(world, bob).is_some());
        let rooms = world.server.rooms().list();
        assert_eq!(&*rooms[0].1.seats[0].name, "1002");
    });
}

/// Who sits in the room, by name.
fn names(world: &World) -> Vec<String> {
    let rooms = world.server.rooms().list();
    let seats = rooms.iter().flat_map(|(_, room)| &room.seats);
    let mut names: Vec<_> = seats.map(|seat| seat.name.to_string()).collect();
    names.sort();
    names
}

/// Bob and Carol are in the room where Alice has been, and she is free.
fn assert_place_given(world: &World, [alice, bob, carol]: [PhoneId; 3]) {
    assert_eq!(world.at(alice).calls(), 0, "the transferor is still there");
    let [bobs, carols] = [bob, carol].map(|phone| seat(world, phone));
    let (place, allowed) = carols.expect("Carol sits nowhere");
    assert_eq!(bobs.map(|seat| seat.0), Some(place));
    assert!(!allowed.muted && !allowed.deaf);
    assert_eq!(names(world), ["1002", "1003"]);
}

/// What a phone does that transfers: waits for what comes of it, hangs up at once, wants to hear nothing.
fn manners() -> [Manner; 3] {
    let hasty = Manner {
        leaves_when_referred: true,
        ..Manner::default()
    };
    let silent = Manner {
        refers_silently: true,
        ..Manner::default()
    };
    [Manner::default(), hasty, silent]
}

fn alice_and_bob(world: &mut World, manner: &Manner) -> [PhoneId; 3] {
    let carol = registered(world, "1003", Manner::default());
    let [alice, bob] = [("1001", manner.clone()), ("1002", Manner::default())].map(|one| {
        let phone = registered(world, one.0, one.1);
        dial(world, phone, "650");
        phone
    });
    up(world, &[alice, bob]);
    world.run(secs(5));
    [alice, bob, carol]
}

/// RFC 5589 §6, RFC 4579 §5.5: the room is the other party of the phone's call.
#[test]
fn rfc5589_6_a_phone_in_a_room_gives_its_place_to_a_number() {
    for manner in manners() {
        let story = |world: &mut World| {
            let phones = alice_and_bob(world, &manner);
            world.tell(phones[0], Command::Transfer("1003".into()));
            world.run(secs(60));
            assert_place_given(world, phones);
            world.tell(phones[1], Command::HangUp);
            world.tell(phones[2], Command::HangUp);
            world.run(secs(40));
            assert!(world.server.rooms().is_empty());
            assert_eq!(world.server.ledger().records.len(), 2);
        };
        calm(story);
        in_rough_weather(story);
    }
}

/// RFC 3515 §2.4.5: a phone keeps its place in the room if nobody takes it. Another room or a sound can't.
#[test]
fn rfc3515_2_4_5_a_place_in_a_room_that_nobody_takes_is_kept() {
    for number in ["1005", "1099", "651", "600"] {
        let story = |world: &mut World| {
            let [alice, bob, _] = alice_and_bob(world, &Manner::default());
            world.tell(alice, Command::Transfer(number.into()));
            world.run(secs(90));
            let room = seat(world, bob).unwrap().0;
            assert_eq!(
                seat(world, alice).map(|seat| seat.0),
                Some(room),
                "{number}"
            );
            assert_eq!(names(world), ["1001", "1002"]);
            // It may try again.
            let carol = world.at(alice).calls();
            assert_eq!(carol, 1);
            world.tell(alice, Command::Transfer("1003".into()));
            world.run(secs(60));
            assert_eq!(names(world), ["1002", "1003"]);
        };
        calm(story);
        in_rough_weather(story);
    }
}

/// A phone that has left, and nobody takes its place: the place is free.
#[test]
fn a_place_that_is_left_and_not_taken_is_free() {
    let story = |world: &mut World| {
        let [alice, _, _] = alice_and_bob(world, &manners()[1]);
        world.tell(alice, Command::Transfer("1005".into()));
        world.run(secs(90));
        assert_eq!(world.at(alice).calls(), 0);
        assert_eq!(names(world), ["1002"]);
    };
    calm(story);
    in_rough_weather(story);
}

/// RFC 5589 §7, RFC 3891 §3: whichever of the two calls the REFER comes in.
#[test]
fn rfc5589_7_a_phone_puts_somebody_into_its_place_in_a_room() {
    for manner in manners() {
        for room_first in [true, false] {
            let story = |world: &mut World| {
                let carol = registered(world, "1003", Manner::default());
                let bob = registered(world, "1002", Manner::default());
                let alice = registered(world, "1001", manner.clone());
                dial(world, bob, "650");
                up(world, &[bob]);
                let [first, second] = match room_first {
                    true => ["650", "1003"],
                    false => ["1003", "650"],
                };
                for (calls, number) in [(1, first), (2, second)] {
                    dial(world, alice, number);
                    let done = world.run_until(secs(60), |world| {
                        let lines = world.at(alice).lines();
                        lines.len() == calls && lines.iter().all(|line| line.up)
                    });
                    assert!(done, "{number} does not answer");
                    world.run(secs(2));
                }
                world.tell(alice, Command::TransferAttended);
                world.run(secs(60));
                assert_eq!(world.at(alice).calls(), 0, "the transferor is still there");
                assert_eq!(names(world), ["1002", "1003"]);
                assert!(world.at(carol).lines()[0].up);
                world.tell(carol, Command::HangUp);
                world.run(secs(40));
                assert_eq!(names(world), ["1002"]);
            };
            calm(story);
            in_rough_weather(story);
        }
    }
}

/// What observers were told of rooms, in their order.
fn told(world: &World) -> Vec<String> {
    let events = world.server.ledger().events.iter();
    let rooms = events.filter_map(|event| event.strip_prefix("Room(RoomEvent "));
    rooms.map(ToOwned::to_owned).collect()
}

/// How often observers were told `what` of `who`; empty: of the room.
fn told_of(world: &World, who: &str, what: &str) -> usize {
    let told = told(world);
    let about = |event: &&String| match who {
        "" => event.contains("participant: None"),
        who => event.contains(&format!("\"{who}\"))")),
    };
    let told = told.iter().filter(about);
    told.filter(|event| event.contains(&format!("change: {what}")))
        .count()
}

#[test]
fn observers_are_told_what_happens_in_a_room() {
    let story = |world: &mut World| {
        let [alice, bob] = both(world);
        for (moderation, who, what) in [
            (Moderation::Mute(true), "1001", "Muted(true)"),
            (Moderation::Mute(false), "1001", "Muted(false)"),
            (Moderation::Deafen(true), "1002", "Deafened(true)"),
            (Moderation::Deafen(false), "1002", "Deafened(false)"),
            (Moderation::Lecture(true), "", "Lecture(true)"),
            (Moderation::Lecture(false), "", "Lecture(false)"),
            (Moderation::Lock(true), "", "Locked(true)"),
            (Moderation::Lock(false), "", "Locked(false)"),
            (start(), "", "RecordingBegun("),
            (
                Moderation::Record(RecordAction::Pause),
                "",
                "RecordingPaused(",
            ),
            (
                Moderation::Record(RecordAction::Stop),
                "",
                "RecordingEnded(",
            ),
            (start(), "", "RecordingBegun("),
        ] {
            let before = told_of(world, who, what);
            moderate(world, moderation);
            assert_eq!(told_of(world, who, what), before + 1, "{who} {what}");
        }
        world.tell(alice, Command::HangUp);
        world.run(secs(40));
        moderate(world, Moderation::Kick);
        world.run(secs(40));
        assert_eq!(ending(world, bob), Ending::PeerHungUp);
        for (who, what) in [("1001", "Joined"), ("1002", "Joined"), ("1001", "Left")] {
            assert_eq!(told_of(world, who, what), 1, "{who} {what}");
        }
        // The recording is complete before the last one has gone.
        let told = told(world);
        let tail: Vec<_> = ["Kicked", "RecordingEnded", "Left"]
            .iter()
            .map(|what| told.iter().rposition(|event| event.contains(what)))
            .collect();
        assert!(tail.is_sorted() && tail[0].is_some(), "{told:?}");
        assert_eq!(told_of(world, "", "RecordingEnded("), 2);
    };
    calm(story);
    in_rough_weather(story);
}

fn start() -> Moderation {
    Moderation::Record(RecordAction::Start)
}

/// Who speaks is told at once, at most once a second of each, and in the end what holds.
#[test]
fn observers_are_told_who_speaks_but_not_of_each_word() {
    calm(|world| {
        both(world);
        world.run(secs(10));
        for who in ["1001", "1002"] {
            let talks = told_of(world, who, "Talking(true)");
            let silent = told_of(world, who, "Talking(false)");
            // Ten words in four seconds.
            assert!((1..=5).contains(&(talks + silent)), "{talks} {silent}");
            assert_eq!(talks, silent, "the last word is that it is silent");
            assert!(told_of(world, who, "ActiveSpeaker") <= 5);
        }
        let speaker = world.server.rooms().list()[0].1.speaker.unwrap();
        let told = told(world);
        for seat in &world.server.rooms().list()[0].1.seats {
            assert_eq!(seat.ssrc, Some(0x5eed), "{}", seat.name);
        }
        let last = told.iter().rfind(|event| event.contains("ActiveSpeaker"));
        assert!(last.unwrap().contains(speaker.as_str()), "{last:?}");
    });
}

/// Who has given its place away has left, and who has got it has come.
#[test]
fn observers_are_told_who_sits_in_a_place_that_was_given_away() {
    calm(|world| {
        let [alice, _, _] = alice_and_bob(world, &Manner::default());
        world.tell(alice, Command::Transfer("1003".into()));
        world.run(secs(30));
        for (who, joined, left) in [("1001", 1, 1), ("1002", 1, 0), ("1003", 1, 0)] {
            assert_eq!(told_of(world, who, "Joined"), joined, "{who}");
            assert_eq!(told_of(world, who, "Left"), left, "{who}");
        }
    });
}

/// The phones' keys are all the same, and not the hash: the name ends after five seconds.
#[test]
fn who_comes_into_a_room_says_its_name_first() {
    let story = |world: &mut World| {
        let [alice, bob] = ["1001", "1002"].map(|user| {
            let phone = registered(world, user, Manner::default());
            dial(world, phone, "653");
            phone
        });
        up(world, &[alice, bob]);
        let naming = |world: &World| seat(world, alice).map(|seat| seat.1.naming);
        // It is asked, then it says its name, and then it is there.
        let begun = world.run_until(secs(60), |world| naming(world) == Some(true));
        assert!(begun, "nobody waits for its name");
        let allowed = seat(world, alice).unwrap().1;
        assert!(allowed.deaf && allowed.announced);
        let done = world.run_until(secs(60), |world| naming(world) == Some(false));
        assert!(done, "its name has no end");
        let allowed = seat(world, alice).unwrap().1;
        assert!(!allowed.deaf && !allowed.muted && allowed.announced);
        world.run(secs(20));
        assert_eq!(seat(world, bob).map(|seat| seat.1.naming), Some(false));
        // Its place is somebody's who need not say a name.
        let carol = registered(world, "1003", Manner::default());
        world.tell(alice, Command::Transfer("1003".into()));
        world.run(secs(60));
        assert_eq!(seat(world, carol).map(|seat| seat.1.naming), Some(false));
        assert_eq!(names(world), ["1002", "1003"]);
    };
    calm(story);
    in_rough_weather(story);
}

/// Whether the phone says its name; none: it is in no room.
fn says_name(world: &World, phone: PhoneId) -> Option<bool> {
    seat(world, phone).map(|seat| seat.1.naming)
}

/// At the door of a room where names are said.
fn at_the_door(world: &mut World, user: &str, room: &str) -> PhoneId {
    let phone = registered(world, user, Manner::default());
    dial(world, phone, room);
    up(world, &[phone]);
    phone
}

fn press(world: &mut World, phone: PhoneId, keys: &str) {
    for key in keys.chars() {
        world.tell(phone, Command::Key(key));
        world.run(Duration::from_millis(300));
    }
}

#[test]
fn the_hash_key_that_ends_a_pin_does_not_end_the_name() {
    calm(|world| {
        let alice = at_the_door(world, "1001", "654");
        press(world, alice, "77#");
        // The question takes three seconds: until it is over nobody is in the room.
        assert_eq!(says_name(world, alice), None);
        let asked = world.run_until(secs(10), |world| says_name(world, alice).is_some());
        assert!(asked && says_name(world, alice) == Some(true));
        // Now it is the name that it ends, without the five seconds.
        press(world, alice, "#");
        assert_eq!(says_name(world, alice), Some(false));
    });
}

#[test]
fn a_hash_key_while_the_question_is_asked_leaves_the_name_out() {
    calm(|world| {
        let alice = at_the_door(world, "1001", "654");
        press(world, alice, "77#");
        press(world, alice, "#");
        assert_eq!(says_name(world, alice), Some(false));
        // Long after the PIN the first one counts.
        let bob = at_the_door(world, "1002", "654");
        press(world, bob, "77");
        world.run(Duration::from_millis(2900));
        press(world, bob, "#");
        assert_eq!(says_name(world, bob), Some(false));
    });
}

#[test]
fn the_hash_key_of_a_wrong_pin_is_not_another_try() {
    calm(|world| {
        let alice = registered(world, "1001", Manner::default());
        dial(world, alice, "652");
        up(world, &[alice]);
        press(world, alice, "78#");
        press(world, alice, "79#");
        assert!(world.at(alice).lines()[0].remote.is_some());
        press(world, alice, "77#");
        assert!(seat(world, alice).is_some());
    });
}

/// A key may open the door at any moment, also when the end of the question for the PIN is on its way to
/// signalling.
#[test]
fn the_end_of_the_question_for_the_pin_is_not_that_of_the_question_for_the_name() {
    for moment in (2700..3100).step_by(10) {
        calm(|world| {
            let alice = at_the_door(world, "1001", "655");
            world.run(Duration::from_millis(moment));
            world.tell(alice, Command::Key('5'));
            world.run(secs(2));
            assert_eq!(says_name(world, alice), None, "{moment} ms");
            world.run(secs(2));
            assert_eq!(says_name(world, alice), Some(true), "{moment} ms");
        });
    }
}

/// How many offers or answers of the server had both header extensions for audio levels.
fn with_levels(world: &World) -> usize {
    let sent = world.tap().all().iter().filter_map(|sent| sent.message());
    let bodies = sent.map(|message| String::from_utf8_lossy(message.body()).into_owned());
    let both =
        |body: &String| body.contains("ssrc-audio-level") && body.contains("csrc-audio-level");
    bodies.filter(both).count()
}

/// RFC 6464 §4, RFC 6465 §4: who calls a room without an offer, or is led into it, is offered both; who hears an echo
/// is not.
#[test]
fn rfc6464_4_whom_we_invite_into_a_room_is_offered_audio_levels() {
    calm(|world| {
        let offerless = Manner {
            offerless: true,
            ..Manner::default()
        };
        let alice = registered(world, "1001", offerless);
        dial(world, alice, "600");
        up(world, &[alice]);
        assert_eq!(with_levels(world), 0);
        world.tell(alice, Command::HangUp);
        world.run(secs(10));
        dial(world, alice, "650");
        up(world, &[alice]);
        assert_eq!(with_levels(world), 1);

        let [bob, carol] = ["1002", "1003"].map(|user| registered(world, user, Manner::default()));
        dial(world, bob, "1003");
        up(world, &[bob, carol]);
        world.tell(carol, Command::Transfer("650".into()));
        world.run(secs(20));
        assert_eq!(names(world), ["1001", "1002"]);
        assert_eq!(with_levels(world), 2);
    });
}
