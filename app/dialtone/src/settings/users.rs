//! `etc/users.toml`.

use std::collections::HashMap;

use pbx::config::Forward;

use super::document::{Key, Origin, Table, Value};
use super::reader::{Section, join, table};
use super::report::{Fault, Report};
use super::server;
use super::trunks::{dtmf, sound};
use super::values::{boolean, duration, printable, text};

/// Reads `[user.NAME]` tables; users whose phones are not limited get `max_contacts`.
pub(crate) fn read(file: Table, max_contacts: usize, report: &Report) -> Vec<pbx::User> {
    let mut top = Section::new("", file, report);
    let entries = top
        .optional("user", table)
        .map_or(Vec::new(), |users| users.entries);
    top.finish();
    let mut users = Vec::with_capacity(entries.len());
    let mut numbers = HashMap::new();
    let mut weak = Vec::new();
    for (key, value) in entries {
        if let Some((user, number)) = user(&key, &value, max_contacts, &mut weak, report) {
            let path = join(&join("user", &key.name), "number");
            if let Some(other) = numbers.insert(user.number.clone(), user.name.clone()) {
                let message = format!("{} is already the number of {other}", user.number);
                report.error(
                    &path,
                    &number,
                    Fault::new(message, "give each user its own number"),
                );
            }
            users.push(user);
        }
    }
    warn_of_weak(&weak, report);
    users
}

fn user(
    key: &Key,
    value: &Value,
    max_contacts: usize,
    weak: &mut Vec<(String, Origin)>,
    report: &Report,
) -> Option<(pbx::User, Origin)> {
    let path = join("user", &key.name);
    let found = check_name(&key.name).and_then(|()| table(value));
    let table = match found {
        Ok(table) => table,
        Err(fault) => {
            report.error(&path, &key.origin, fault);
            return None;
        }
    };
    let mut number_origin = key.origin.clone();
    let mut section = Section::new(path, table, report);
    let remedy = format!("set one with `dialtone user passwd {}`", key.name);
    let password = section.required("password", &remedy, |value| {
        let password = password(value)?;
        if is_weak(&password, &key.name) {
            weak.push((key.name.clone(), value.origin.clone()));
        }
        Ok(password)
    });
    let number = section.read("number", key.name.clone(), |value| {
        number_origin = value.origin.clone();
        let number = text(value)?;
        check_number(number).map(|()| number.to_owned())
    });
    let dtmf = dtmf(&mut section);
    let user = pbx::User {
        name: key.name.clone(),
        number,
        password: password.unwrap_or_default(),
        display_name: section.read("display_name", String::new(), printable(128)),
        max_contacts: section.read("max_contacts", max_contacts, server::max_contacts),
        do_not_disturb: section.read("do_not_disturb", false, boolean),
        call_waiting: section.read("call_waiting", true, boolean),
        forward: forward(section.section("forward")),
        media: sound(&mut section, dtmf),
        webrtc: section.read("webrtc", None, |value| boolean(value).map(Some)),
        dtmf,
    };
    section.finish();
    Some((user, number_origin))
}

fn forward(mut forward: Section<'_>) -> Forward {
    let number = |value: &Value| {
        let number = text(value)?;
        check_number(number).map(|()| Some(number.to_owned()))
    };
    let read = Forward {
        always: forward.read("always", None, number),
        busy: forward.read("busy", None, number),
        no_answer: forward.read("no_answer", None, number),
        unreachable: forward.read("unreachable", None, number),
        after: forward.read("after", None, |value| duration(1..=600)(value).map(Some)),
    };
    forward.finish();
    read
}

/// A name is the user part of an address, so it must be legal there and easy to dial or type.
pub(crate) fn check_name(name: &str) -> Result<(), Fault> {
    check_word(name, "._+-", "a user's name")
}

/// A number is what people dial: digits, or a word.
pub(crate) fn check_number(number: &str) -> Result<(), Fault> {
    check_word(number, "._+-*#", "a number")
}

/// A password has 1 to 128 visible characters.
pub(crate) fn check_password(password: &str) -> Result<(), Fault> {
    if password.is_empty() {
        return Err(Fault::new(
            "the password is empty",
            "choose one with at least 12 characters",
        ));
    }
    if password.len() > 128 || password.chars().any(char::is_control) {
        let message = "the password is too long or has control characters";
        return Err(Fault::new(message, "use at most 128 visible characters"));
    }
    Ok(())
}

fn check_word(word: &str, marks: &str, what: &str) -> Result<(), Fault> {
    let legal = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
    if (1..=64).contains(&word.len()) && word.chars().all(legal) {
        return Ok(());
    }
    let spaced: Vec<_> = marks.chars().map(String::from).collect();
    Err(Fault::new(
        format!("“{word}” can't be {what}"),
        format!("use 1 to 64 letters, digits and {}", spaced.join(" ")),
    ))
}

fn password(value: &Value) -> Result<String, Fault> {
    let password = text(value)?;
    check_password(password).map(|()| password.to_owned())
}

/// A password that scanners try early.
fn is_weak(password: &str, name: &str) -> bool {
    password.len() < 8 || password == name
}

/// Warns of the first weak passwords one by one and of the others together.
fn warn_of_weak(weak: &[(String, Origin)], report: &Report) {
    for (place, (name, origin)) in weak.iter().enumerate().take(MOST_WARNINGS + 1) {
        let rest = weak.len() - place;
        let message = if place == MOST_WARNINGS && rest > 1 {
            format!("and those of {} more users are easy to guess", rest - 1)
        } else {
            "is easy to guess; scanners on the Internet try such passwords all day".to_owned()
        };
        let remedy = format!("choose a longer one: `dialtone user passwd {name}` makes one");
        let key = join(&join("user", name), "password");
        report.warning(&key, origin, Fault::new(message, remedy));
    }
}

/// So many weak passwords are named.
const MOST_WARNINGS: usize = 3;
