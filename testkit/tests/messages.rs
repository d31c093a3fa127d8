//! Instant messages reach phones that are there, and wait for those that are not.

use std::time::Duration;

use testkit::{Peer, Settings, World, simulate};

fn calm(story: impl FnOnce(&mut World)) {
    let again = "cargo test -p dialtone-testkit --test messages";
    simulate(Settings::calm(1), again, story);
}

/// A phone that takes messages.
struct Reader {
    peer: Peer,
    user: &'static str,
    /// What it answers; 0: nothing.
    status: u16,
    /// Messages that have come.
    read: Vec<String>,
}

impl Reader {
    fn new(user: &'static str, last: u8) -> Self {
        Self {
            peer: Peer::new(user).at(([198, 51, 100, last], 5062).into()),
            user,
            status: 200,
            read: Vec::new(),
        }
    }

    fn register(&mut self, world: &mut World) {
        let to = format!("To: <sip:{}@192.0.2.1>", self.user);
        let fields = [to.as_str(), "Expires: 600"];
        let answers = self
            .peer
            .ask_as_user(world, "REGISTER", "sip:192.0.2.1", &fields, "");
        self.sort(world, answers);
    }

    /// Lets time pass and answers what comes.
    fn listen(&mut self, world: &mut World, seconds: u64) {
        for _ in 0..seconds * 10 {
            world.run(Duration::from_millis(100));
            let heard = self.peer.heard(world);
            self.sort(world, heard);
        }
    }

    fn sort(&mut self, world: &mut World, mut open: Vec<String>) {
        while !open.is_empty() {
            let message = open.remove(0);
            if message.starts_with("OPTIONS ") {
                open.extend(self.peer.answer(world, &message, 200));
            } else if message.starts_with("MESSAGE ") {
                self.read.push(message.clone());
                if self.status > 0 {
                    open.extend(self.peer.answer(world, &message, self.status));
                }
            }
        }
    }

    fn bodies(&self) -> Vec<&str> {
        let bodies = self
            .read
            .iter()
            .filter_map(|text| text.split_once("\r\n\r\n"));
        bodies.map(|(_, body)| body).collect()
    }
}

const TEXT: &str = "Content-Type: text/plain;charset=utf-8";

/// Sends a message from 1001 to 1002 and returns the answers.
fn write(world: &mut World, peer: &mut Peer, fields: &[&str], body: &str) -> Vec<String> {
    peer.ask_as_user(world, "MESSAGE", "sip:1002@192.0.2.1", fields, body)
}

fn status(answers: &[String]) -> &str {
    let last = answers.last().map_or("", String::as_str);
    last.split(' ').nth(1).unwrap_or("none")
}

fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = message.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn rfc3428_7_a_message_reaches_all_phones_and_its_sender_hears_200() {
    calm(|world| {
        let (mut one, mut two) = (Reader::new("1002", 8), Reader::new("1002", 9));
        one.register(world);
        two.register(world);
        let mut sender = Peer::new("1001");
        let fields = [TEXT, "Subject: lunch"];
        let mut answers = write(world, &mut sender, &fields, "Hello, 日本");
        let (heard, other) = (one.peer.heard(world), two.peer.heard(world));
        one.sort(world, heard);
        two.sort(world, other);
        answers.extend(sender.heard(world));
        assert_eq!(status(&answers), "200", "{answers:?}");
        for reader in [&one, &two] {
            assert_eq!(reader.bodies(), ["Hello, 日本"]);
            let message = &reader.read[0];
            assert_eq!(
                field(message, "Content-Type"),
                TEXT.strip_prefix("Content-Type: ")
            );
            assert_eq!(field(message, "Subject"), Some("lunch"));
            assert!(
                field(message, "From")
                    .unwrap()
                    .starts_with("<sip:1001@192.0.2.1>;tag=")
            );
            assert!(field(message, "Date").unwrap().ends_with(" GMT"));
            assert_eq!(field(message, "Contact"), None, "RFC 3428 §4");
        }
        assert_eq!(world.server.load().messages, 0);
    });
}

#[test]
fn rfc3428_8_a_message_waits_for_a_phone_that_is_away() {
    calm(|world| {
        let mut sender = Peer::new("1001");
        for body in ["one", "two", "three"] {
            let answers = write(world, &mut sender, &[TEXT], body);
            assert_eq!(status(&answers), "202", "{answers:?}");
        }
        assert_eq!(
            world.server.messages().counts(),
            [("1002".to_owned(), 3)].into()
        );
        world.run(Duration::from_secs(3600));
        let mut reader = Reader::new("1002", 8);
        reader.register(world);
        reader.listen(world, 2);
        assert_eq!(reader.bodies(), ["one", "two", "three"]);
        assert!(world.server.messages().is_empty());
        let date = field(&reader.read[0], "Date").unwrap();
        assert_eq!(date, "Fri, 15 Jan 2027 08:00:00 GMT", "when it was written");
    });
}

#[test]
fn what_waits_survives_a_crash() {
    calm(|world| {
        let mut reader = Reader::new("1002", 8);
        reader.register(world);
        reader.status = 480;
        let mut sender = Peer::new("1001");
        write(world, &mut sender, &[TEXT], "survive");
        reader.listen(world, 1);
        assert_eq!(world.server.messages().counts().len(), 1);
        world.crash(Duration::from_secs(1));
        reader.status = 200;
        reader.read.clear();
        reader.listen(world, 5);
        assert_eq!(
            reader.bodies(),
            ["survive"],
            "the registration has survived too"
        );
        assert!(world.server.messages().is_empty());
    });
}

#[test]
fn what_comes_later_does_not_overtake_what_waits() {
    calm(|world| {
        let mut reader = Reader::new("1002", 8);
        reader.register(world);
        reader.status = 486;
        let mut sender = Peer::new("1001");
        write(world, &mut sender, &[TEXT], "one");
        reader.listen(world, 1);
        assert_eq!(
            status(&sender.heard(world)),
            "202",
            "busy phones get it later"
        );
        reader.read.clear();
        reader.status = 200;
        assert_eq!(status(&write(world, &mut sender, &[TEXT], "two")), "202");
        reader.listen(world, 1);
        assert_eq!(reader.bodies(), ["one", "two"]);
    });
}

#[test]
fn rfc4320_4_a_phone_that_is_silent_does_not_keep_the_sender_waiting() {
    calm(|world| {
        let mut reader = Reader::new("1002", 8);
        reader.register(world);
        reader.status = 0;
        let mut sender = Peer::new("1001");
        write(world, &mut sender, &[TEXT], "hello?");
        reader.listen(world, 8);
        assert_eq!(status(&sender.heard(world)), "202");
        assert_eq!(world.server.messages().counts().len(), 1);
        let late = reader.read[0].clone();
        reader.peer.answer(world, &late, 200);
        assert!(world.server.messages().is_empty(), "it has it after all");
    });
}

#[test]
fn what_phones_refuse_for_good_is_refused() {
    calm(|world| {
        let mut reader = Reader::new("1002", 8);
        reader.register(world);
        reader.status = 415;
        let mut sender = Peer::new("1001");
        write(world, &mut sender, &[TEXT], "x");
        reader.listen(world, 1);
        assert_eq!(status(&sender.heard(world)), "415");
        assert!(world.server.messages().is_empty());
    });
}

#[test]
fn rfc3994_3_who_is_typing_is_passed_on_and_not_kept() {
    calm(|world| {
        let typing = ["Content-Type: application/im-iscomposing+xml"];
        let mut sender = Peer::new("1001");
        let answers = write(world, &mut sender, &typing, "<isComposing/>");
        assert_eq!(status(&answers), "480");
        assert!(world.server.messages().is_empty());
        let mut reader = Reader::new("1002", 8);
        reader.register(world);
        write(world, &mut sender, &typing, "<isComposing/>");
        reader.listen(world, 1);
        assert_eq!(reader.bodies(), ["<isComposing/>"]);
    });
}

#[test]
fn rfc3428_7_what_cannot_be_delivered_is_refused() {
    calm(|world| {
        let large = "x".repeat(33_000);
        let cases: &[(&str, &[&str], &str, &str)] = &[
            ("9999", &[TEXT], "x", "404"),
            ("1002", &[TEXT], "", "400"),
            ("1002", &[TEXT], &large, "413"),
            ("1002", &[TEXT, "Max-Forwards: 0"], "x", "483"),
            ("1002", &[TEXT, "Require: teleport"], "x", "420"),
        ];
        let mut sender = Peer::new("1001");
        for (number, fields, body, wanted) in cases {
            let uri = format!("sip:{number}@192.0.2.1");
            let answers = sender.ask_as_user(world, "MESSAGE", &uri, fields, body);
            assert_eq!(status(&answers), *wanted, "{fields:?}");
        }
        let answers = sender.ask(world, "MESSAGE", "sip:1002@192.0.2.1", &[TEXT], "spam");
        assert_eq!(status(&answers), "401", "strangers write to nobody");
        assert!(world.server.messages().is_empty());
    });
}

#[test]
fn one_user_does_not_fill_the_disk() {
    calm(|world| {
        let mut sender = Peer::new("1001");
        let mut last = String::new();
        for number in 0..201 {
            let body = number.to_string();
            last = status(&write(world, &mut sender, &[TEXT], &body)).to_owned();
            assert!(number == 200 || last == "202", "{number}: {last}");
        }
        assert_eq!(last, "480");
    });
}

#[test]
fn a_phone_that_was_busy_is_tried_again() {
    calm(|world| {
        let mut sender = Peer::new("1001");
        write(world, &mut sender, &[TEXT], "later");
        let mut reader = Reader::new("1002", 8);
        reader.status = 486;
        reader.register(world);
        reader.listen(world, 1);
        assert_eq!(reader.bodies(), ["later"]);
        reader.listen(world, 60);
        let tries = reader.read.len();
        assert!(
            (4..=7).contains(&tries),
            "{tries} tries, further and further apart"
        );
        reader.status = 200;
        reader.read.clear();
        reader.listen(world, 70);
        assert_eq!(reader.bodies(), ["later"]);
        assert!(world.server.messages().is_empty());
    });
}
