//! Who watches is told: lamps, voice mail, presence, registrations.

use std::time::Duration;

use store::MailboxCounts;
use testkit::{Command, Manner, Peer, PhoneId, Place, Settings, World, simulate};

fn calm(story: impl FnOnce(&mut World)) {
    let again = "cargo test -p dialtone-testkit --test events";
    simulate(Settings::calm(1), again, story);
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn phone(world: &mut World, user: &str) -> PhoneId {
    let phone = world.phone(user, Place::Udp, Manner::default());
    world.tell(phone, Command::Register);
    world.run(secs(1));
    phone
}

/// Somebody who subscribes, and answers each NOTIFY.
struct Watcher {
    peer: Peer,
    /// To with our tag, once there is one.
    to: String,
    /// NOTIFYs that have come.
    told: Vec<String>,
    status: u16,
}

impl Watcher {
    fn new(user: &str) -> Self {
        Self {
            peer: Peer::new(user),
            to: String::new(),
            told: Vec::new(),
            status: 200,
        }
    }

    /// Subscribes to `uri`; returns the answer.
    fn subscribe(&mut self, world: &mut World, uri: &str, fields: &[&str]) -> String {
        let answers = self.peer.ask_as_user(world, "SUBSCRIBE", uri, fields, "");
        self.sort(world, answers)
    }

    /// Refreshes, or ends, the subscription.
    fn refresh(&mut self, world: &mut World, uri: &str, fields: &[&str]) -> String {
        let to = self.to.clone();
        let fields: Vec<&str> = [to.as_str()]
            .into_iter()
            .chain(fields.iter().copied())
            .collect();
        let answers = self.peer.ask(world, "SUBSCRIBE", uri, &fields, "");
        self.sort(world, answers)
    }

    /// Lets time pass and answers what comes.
    fn listen(&mut self, world: &mut World, seconds: u64) {
        for _ in 0..seconds * 10 {
            world.run(Duration::from_millis(100));
            let heard = self.peer.heard(world);
            self.sort(world, heard);
        }
    }

    /// Answers NOTIFYs, and returns the last answer of the server.
    fn sort(&mut self, world: &mut World, heard: Vec<String>) -> String {
        let mut last = String::new();
        let mut open = heard;
        while !open.is_empty() {
            let message = open.remove(0);
            if message.starts_with("NOTIFY ") {
                open.extend(self.peer.answer(world, &message, self.status));
                self.told.push(message);
            } else {
                if let Some(to) = field(&message, "To").filter(|to| to.contains("tag=")) {
                    self.to = format!("To: {to}");
                }
                last = message;
            }
        }
        last
    }

    fn last(&self) -> &str {
        self.told.last().map_or("", String::as_str)
    }

    /// States of all dialogs in all NOTIFYs, in order.
    fn states(&self) -> Vec<&str> {
        let bodies = self
            .told
            .iter()
            .flat_map(|text| text.split("<state>").skip(1));
        bodies
            .filter_map(|rest| rest.split_once('<'))
            .map(|(state, _)| state)
            .collect()
    }
}

fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = message.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

/// Number, fields, status, and a header field that explains it.
type Case<'a> = (&'a str, &'a [&'a str], &'a str, Option<(&'a str, &'a str)>);

const DIALOG: &str = "Event: dialog";

#[test]
fn rfc4235_3_a_lamp_follows_a_call() {
    calm(|world| {
        let (alice, bob) = (phone(world, "1001"), phone(world, "1002"));
        let mut watcher = Watcher::new("1003");
        let answer = watcher.subscribe(world, "sip:1002@192.0.2.1", &[DIALOG, "Expires: 600"]);
        assert_eq!(status(&answer), "200", "{answer}");
        assert_eq!(field(&answer, "Expires"), Some("600"));
        assert_eq!(watcher.told.len(), 1);
        let first = watcher.last();
        assert_eq!(field(first, "Event"), Some("dialog"));
        assert!(
            field(first, "Subscription-State")
                .unwrap()
                .starts_with("active;expires=")
        );
        assert_eq!(
            field(first, "Content-Type"),
            Some("application/dialog-info+xml")
        );
        assert!(first.contains("version=\"0\" state=\"full\" entity=\"sip:1002@192.0.2.1\""));
        world.tell(alice, Command::Dial("1002".to_owned()));
        watcher.listen(world, 10);
        assert!(
            watcher.last().contains("direction=\"recipient\""),
            "{}",
            watcher.last()
        );
        assert!(watcher.last().contains(">sip:1001@192.0.2.1</identity>"));
        world.tell(bob, Command::HangUp);
        watcher.listen(world, 2);
        let states = watcher.states();
        assert_eq!(states.last(), Some(&"terminated"), "{states:?}");
        let place = |state| states.iter().position(|seen| *seen == state);
        assert!(place("early") < place("confirmed"), "{states:?}");
        assert!(place("early").is_some(), "{states:?}");
        for (number, told) in watcher.told.iter().enumerate() {
            assert!(told.contains(&format!("version=\"{number}\"")), "{told}");
        }
    });
}

#[test]
fn rfc6665_4_2_1_what_cannot_be_watched_is_refused() {
    calm(|world| {
        let cases: &[Case<'_>] = &[
            (
                "1002",
                &["Event: weather"],
                "489",
                Some((
                    "Allow-Events",
                    "dialog, message-summary, presence, reg, refer",
                )),
            ),
            ("1002", &[], "489", None),
            (
                "1002",
                &[DIALOG, "Expires: 5"],
                "423",
                Some(("Min-Expires", "60")),
            ),
            ("1002", &[DIALOG, "Expires: soon"], "400", None),
            ("9999", &[DIALOG], "404", None),
            ("1002", &["Event: reg"], "403", None),
            ("1002", &["Event: message-summary"], "403", None),
            (
                "1002",
                &[DIALOG, "Accept: text/plain"],
                "406",
                Some(("Accept", "application/dialog-info+xml")),
            ),
            ("1002", &[DIALOG, "Contact: -"], "400", None),
            (
                "1002",
                &[DIALOG, "Require: eventlist"],
                "420",
                Some(("Unsupported", "eventlist")),
            ),
        ];
        for (port, (number, fields, wanted, explained)) in (7000..).zip(cases) {
            let mut watcher = Watcher::new("1001");
            watcher.peer = watcher.peer.at(([198, 51, 100, 7], port).into());
            let uri = format!("sip:{number}@192.0.2.1");
            let answer = watcher.subscribe(world, &uri, fields);
            assert_eq!(status(&answer), *wanted, "{fields:?}: {answer}");
            if let Some((name, value)) = explained {
                assert_eq!(field(&answer, name), Some(*value));
            }
            assert!(watcher.told.is_empty());
            world.run(secs(40));
        }
        assert_eq!(world.server.load().subscriptions, 0);
    });
}

#[test]
fn rfc6665_3_1_a_stranger_is_challenged_and_costs_no_memory() {
    calm(|world| {
        let answers =
            Peer::new("1001").ask(world, "SUBSCRIBE", "sip:1002@192.0.2.1", &[DIALOG], "");
        assert_eq!(status(&answers[0]), "401");
        assert_eq!(world.server.load(), pbx::Load::default());
    });
}

#[test]
fn rfc6665_4_4_3_a_look_without_a_subscription() {
    calm(|world| {
        let mut watcher = Watcher::new("1001");
        let answer = watcher.subscribe(world, "sip:1002@192.0.2.1", &[DIALOG, "Expires: 0"]);
        assert_eq!(
            (status(&answer), field(&answer, "Expires")),
            ("200", Some("0"))
        );
        let state = field(watcher.last(), "Subscription-State");
        assert_eq!(state, Some("terminated;reason=timeout"));
        assert!(watcher.last().contains("state=\"full\""));
        assert_eq!(world.server.load().subscriptions, 0);
    });
}

#[test]
fn rfc6665_4_2_1_4_a_refresh_tells_all_and_an_end_ends() {
    calm(|world| {
        let uri = "sip:1002@192.0.2.1";
        let mut watcher = Watcher::new("1001");
        watcher.subscribe(world, uri, &["Event: dialog;id=7", "Expires: 100"]);
        assert_eq!(field(watcher.last(), "Event"), Some("dialog;id=7"));
        watcher.listen(world, 50);
        let answer = watcher.refresh(world, uri, &["Event: dialog;id=7", "Expires: 100"]);
        assert_eq!(status(&answer), "200", "{answer}");
        assert!(watcher.last().contains("version=\"1\" state=\"full\""));
        let answer = watcher.refresh(world, uri, &["Event: dialog;id=8"]);
        assert_eq!(status(&answer), "481", "another subscription");
        let answer = watcher.refresh(world, uri, &["Event: dialog;id=7", "CSeq: 1 SUBSCRIBE"]);
        assert_eq!(status(&answer), "500", "older than the last");
        watcher.listen(world, 80);
        assert_eq!(world.server.load().subscriptions, 1);
        let answer = watcher.refresh(world, uri, &["Event: dialog;id=7", "Expires: 0"]);
        assert_eq!(status(&answer), "200");
        let state = field(watcher.last(), "Subscription-State");
        assert_eq!(state, Some("terminated;reason=timeout"));
        let answer = watcher.refresh(world, uri, &["Event: dialog;id=7"]);
        assert_eq!(status(&answer), "481");
    });
}

#[test]
fn rfc6665_4_2_2_a_subscription_runs_out() {
    calm(|world| {
        let mut watcher = Watcher::new("1001");
        watcher.subscribe(world, "sip:1002@192.0.2.1", &[DIALOG, "Expires: 60"]);
        watcher.listen(world, 61);
        let state = field(watcher.last(), "Subscription-State");
        assert_eq!(state, Some("terminated;reason=timeout"));
        assert_eq!(world.server.load().subscriptions, 0);
    });
}

#[test]
fn rfc6665_4_2_2_a_watcher_who_is_gone_is_forgotten() {
    calm(|world| {
        let mut refuses = Watcher::new("1001");
        refuses.status = 481;
        refuses.subscribe(world, "sip:1002@192.0.2.1", &[DIALOG]);
        assert_eq!(world.server.load().subscriptions, 0, "it has answered 481");
        let mut silent = Peer::new("1003").at(([198, 51, 100, 8], 5062).into());
        silent.ask_as_user(world, "SUBSCRIBE", "sip:1002@192.0.2.1", &[DIALOG], "");
        assert_eq!(world.server.load().subscriptions, 1);
        world.run(secs(33));
        assert_eq!(world.server.load().subscriptions, 0, "it has not answered");
    });
}

#[test]
fn changes_in_quick_succession_are_told_together() {
    calm(|world| {
        let alice = phone(world, "1001");
        let mut watcher = Watcher::new("1003");
        watcher.subscribe(world, "sip:1001@192.0.2.1", &[DIALOG]);
        for _ in 0..10 {
            world.tell(alice, Command::Dial("600".to_owned()));
            world.tell_after(Duration::from_millis(400), alice, Command::HangUp);
            watcher.listen(world, 1);
        }
        let told = watcher.told.len();
        assert!(told <= 1 + 10 * 5, "{told} messages in ten seconds");
        assert!(told > 1, "something has happened");
    });
}

#[test]
fn rfc3842_5_the_message_lamp_follows_the_counts() {
    calm(|world| {
        let mut watcher = Watcher::new("1001");
        let fields = [
            "Event: message-summary",
            "Accept: application/simple-message-summary",
        ];
        let answer = watcher.subscribe(world, "sip:*97@192.0.2.1", &fields);
        assert_eq!(status(&answer), "200", "{answer}");
        assert!(watcher.last().contains("Messages-Waiting: no\r\n"));
        let counts = MailboxCounts {
            new: 3,
            old: 1,
            ..MailboxCounts::default()
        };
        world.server.mailboxes().set("1001", counts).unwrap();
        world.server.watchers().changed("1001", |_| {});
        world.operate(&pbx::Command::Look);
        watcher.listen(world, 1);
        assert!(watcher.last().contains("Messages-Waiting: yes\r\n"));
        assert!(watcher.last().contains("Voice-Message: 3/1 (0/0)\r\n"));
    });
}

#[test]
fn rfc3680_5_phones_come_and_go() {
    calm(|world| {
        let mut watcher = Watcher::new("1001");
        watcher.subscribe(world, "sip:1001@192.0.2.1", &["Event: reg"]);
        assert!(
            watcher.last().contains("state=\"init\""),
            "{}",
            watcher.last()
        );
        let phone = world.phone("1001", Place::Udp, Manner::default());
        world.tell(phone, Command::Register);
        watcher.listen(world, 2);
        assert!(
            watcher.last().contains("event=\"registered\""),
            "{}",
            watcher.last()
        );
        world.tell(phone, Command::Retire);
        watcher.listen(world, 1000);
        let text = watcher.last();
        assert!(text.contains("event=\"expired\""), "{text}");
    });
}

const PIDF: &str = "<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='sip:1001@192.0.2.1'>\
    <tuple id='a'><status><basic>open</basic></status><note>at lunch</note></tuple></presence>";

fn publish(world: &mut World, peer: &mut Peer, fields: &[&str], body: &str) -> String {
    let all = ["Event: presence", "Content-Type: application/pidf+xml"];
    let fields: Vec<&str> = all.iter().chain(fields).copied().collect();
    let answers = peer.ask_as_user(world, "PUBLISH", "sip:1001@192.0.2.1", &fields, body);
    answers.last().cloned().unwrap_or_default()
}

#[test]
fn rfc3903_4_a_publication_lives_by_its_entity_tags() {
    calm(|world| {
        let mut watcher = Watcher::new("1003");
        watcher.subscribe(world, "sip:1001@192.0.2.1", &["Event: presence"]);
        assert!(
            watcher.last().contains("<basic>closed</basic>"),
            "{}",
            watcher.last()
        );
        let mut peer = Peer::new("1001").at(([198, 51, 100, 9], 5062).into());
        let answer = publish(world, &mut peer, &["Expires: 120"], PIDF);
        assert_eq!(status(&answer), "200", "{answer}");
        let first = format!("SIP-If-Match: {}", field(&answer, "SIP-ETag").unwrap());
        watcher.listen(world, 1);
        assert!(
            watcher.last().contains("<basic>open</basic>"),
            "{}",
            watcher.last()
        );
        assert!(watcher.last().contains("<note>at lunch</note>"));
        let told = watcher.told.len();
        let answer = publish(world, &mut peer, &[&first, "Expires: 120"], "");
        assert_eq!(status(&answer), "200", "refreshed");
        let second = format!("SIP-If-Match: {}", field(&answer, "SIP-ETag").unwrap());
        assert_eq!(status(&publish(world, &mut peer, &[&first], "")), "412");
        watcher.listen(world, 1);
        assert_eq!(watcher.told.len(), told, "a refresh is no news");
        let answer = publish(
            world,
            &mut peer,
            &[&second, "Expires: 120"],
            &PIDF.replace("lunch", "home"),
        );
        watcher.listen(world, 1);
        assert!(watcher.last().contains("<note>at home</note>"));
        let third = format!("SIP-If-Match: {}", field(&answer, "SIP-ETag").unwrap());
        assert_eq!(
            status(&publish(world, &mut peer, &[&third, "Expires: 0"], "")),
            "200"
        );
        watcher.listen(world, 1);
        assert!(watcher.last().contains("<basic>closed</basic>"));
        publish(world, &mut peer, &["Expires: 60"], PIDF);
        watcher.listen(world, 1);
        assert!(watcher.last().contains("<basic>open</basic>"));
        watcher.listen(world, 61);
        assert!(
            watcher.last().contains("<basic>closed</basic>"),
            "it has run out"
        );
    });
}

#[test]
fn rfc3903_6_what_cannot_be_published_is_refused() {
    calm(|world| {
        let mut peer = Peer::new("1001");
        let mut refused = |fields: &[&str], body: &str| {
            status(&publish(world, &mut peer, fields, body)).to_owned()
        };
        assert_eq!(refused(&[], ""), "400", "nothing to say");
        assert_eq!(refused(&[], "hello"), "400");
        assert_eq!(refused(&["Expires: 1"], PIDF), "423");
        assert_eq!(refused(&["SIP-If-Match: what"], PIDF), "412");
        assert_eq!(refused(&[], &"x".repeat(17_000)), "413");
        let wrong = ["Event: dialog", "Content-Type: application/pidf+xml"];
        let answers = peer.ask_as_user(world, "PUBLISH", "sip:1001@192.0.2.1", &wrong, PIDF);
        assert_eq!(status(answers.last().unwrap()), "489");
        let fields = ["Event: presence", "Content-Type: text/plain"];
        let answers = peer.ask_as_user(world, "PUBLISH", "sip:1001@192.0.2.1", &fields, PIDF);
        assert_eq!(status(answers.last().unwrap()), "415");
        let fields = ["Event: presence", "Content-Type: application/pidf+xml"];
        let answers = peer.ask_as_user(world, "PUBLISH", "sip:1002@192.0.2.1", &fields, PIDF);
        assert_eq!(status(answers.last().unwrap()), "403", "somebody else");
    });
}

#[test]
fn rfc3856_6_presence_follows_registration_and_calls() {
    calm(|world| {
        let mut watcher = Watcher::new("1003");
        watcher.subscribe(world, "sip:1001@192.0.2.1", &["Event: presence"]);
        let alice = phone(world, "1001");
        watcher.listen(world, 1);
        assert!(
            watcher.last().contains("<basic>open</basic>"),
            "{}",
            watcher.last()
        );
        world.tell(alice, Command::Dial("600".to_owned()));
        watcher.listen(world, 3);
        assert!(
            watcher.last().contains("<rpid:on-the-phone/>"),
            "{}",
            watcher.last()
        );
        world.tell(alice, Command::HangUp);
        watcher.listen(world, 3);
        assert!(
            !watcher.last().contains("on-the-phone"),
            "{}",
            watcher.last()
        );
    });
}

#[test]
fn a_server_that_stops_asks_its_watchers_to_come_back() {
    calm(|world| {
        let mut watcher = Watcher::new("1001");
        watcher.subscribe(world, "sip:1002@192.0.2.1", &[DIALOG]);
        world.operate(&pbx::Command::HangupAll);
        watcher.listen(world, 1);
        let state = field(watcher.last(), "Subscription-State");
        assert_eq!(state, Some("terminated;reason=probation;retry-after=10"));
    });
}
