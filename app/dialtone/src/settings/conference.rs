//! Conference rooms: tables of their own, and the dial plan's step into them.

use pbx::{Conference, Extension, RecordStep, Step};

use super::dialplan::check_pattern;
use super::document::{Key, Kind, Table, Value};
use super::reader::{join, table};
use super::report::{Fault, Report};
use super::values::{boolean, number, text};

/// A room of the file, by a table of its own.
#[derive(Clone, Debug)]
pub(super) struct Named {
    rules: Conference,
    /// What is dialled to come in, if that is said here.
    number: Option<String>,
}

impl Named {
    /// The extension that leads into the room, if it has a number.
    pub(super) fn extension(&self) -> Option<Extension> {
        Some(Extension {
            number: self.number.clone()?,
            steps: vec![Step::Conference(self.rules.clone())],
            ..Extension::default()
        })
    }
}

/// `[conference.sales]`, with `number` and what a step may have beside it.
pub(super) fn named(file: Table, report: &Report) -> Vec<Named> {
    let mut rooms = Vec::new();
    for (name, value) in file.entries {
        let path = join("conference", &name.name);
        let read = table(&value).and_then(|table| one(&name, &table));
        match read {
            Ok(room) => rooms.push(room),
            Err(fault) => report.error(&path, &value.origin, fault),
        }
    }
    rooms
}

fn one(name: &Key, table: &Table) -> Result<Named, Fault> {
    let mut named = Named {
        rules: Conference {
            room: legal(&name.name).map_err(|fault| fault.at(&name.origin))?,
            ..Conference::default()
        },
        number: None,
    };
    for (key, value) in &table.entries {
        if key.name == "number" {
            let number = number_of(value).map_err(|fault| fault.at(&value.origin))?;
            named.number = Some(number);
            continue;
        }
        rule(&mut named.rules, key, value, "number, ")?;
    }
    check(&named.rules)?;
    Ok(named)
}

fn number_of(value: &Value) -> Result<String, Fault> {
    let number = text(value)?;
    check_pattern(number).map(|()| number.to_owned())
}

/// `{ conference = "sales" }`, with the rules of the room beside it: they count more than those of a table
/// of that name.
pub(super) fn step(entries: &[(Key, Value)], known: &[Named]) -> Result<Step, Fault> {
    let mut rules = Conference::default();
    for (_, value) in entries.iter().filter(|(key, _)| key.name == "conference") {
        let name = room(value).map_err(|fault| fault.at(&value.origin))?;
        let named = known.iter().find(|named| named.rules.room == name);
        rules = named.map(|named| named.rules.clone()).unwrap_or_default();
        rules.room = name;
    }
    for (key, value) in entries.iter().filter(|(key, _)| key.name != "conference") {
        rule(&mut rules, key, value, "conference, ")?;
    }
    check(&rules)?;
    Ok(Step::Conference(rules))
}

/// One rule of a room.
fn rule(rules: &mut Conference, key: &Key, value: &Value, more: &str) -> Result<(), Fault> {
    let read = match &*key.name {
        "pin" => pin(value).map(|pin| rules.pin = Some(pin)),
        "moderator_pin" => pin(value).map(|pin| rules.moderator_pin = Some(pin)),
        "announce" => announce(value).map(|how| (rules.announce, rules.names) = how),
        "video" => boolean(value).map(|on| rules.video = on),
        "lecture" => boolean(value).map(|on| rules.lecture = on),
        "locked" => boolean(value).map(|on| rules.locked = on),
        "record" => record(value).map(|record| rules.record = record),
        "max" => number(2..=MOST)(value).map(|most| rules.max = most as usize),
        other => {
            let message = format!("a conference has no “{other}”");
            let remedy = format!(
                "there are {more}pin, moderator_pin, announce, lecture, locked, record, video and max"
            );
            return Err(Fault::new(message, remedy).at(&key.origin));
        }
    };
    read.map_err(|fault| fault.at(&value.origin))
}

fn check(rules: &Conference) -> Result<(), Fault> {
    let remedy = "add moderator_pin = \"…\"";
    if rules.lecture && rules.moderator_pin.is_none() {
        return Err(Fault::new("a lecture has nobody who may speak", remedy));
    }
    if rules.locked && rules.moderator_pin.is_none() {
        return Err(Fault::new("nobody may come in and open the room", remedy));
    }
    if rules.pin.is_some() && rules.pin == rules.moderator_pin {
        let message = "both PINs are the same";
        return Err(Fault::new(message, "choose another one for moderators"));
    }
    Ok(())
}

/// Whether it is told who comes and goes, and by name.
fn announce(value: &Value) -> Result<(bool, bool), Fault> {
    match &value.kind {
        Kind::Text(word) if word == "tone" => Ok((true, false)),
        Kind::Text(word) if word == "name" => Ok((true, true)),
        Kind::Text(word) if word == "none" => Ok((false, false)),
        Kind::Text(word) => {
            let message = format!("“{word}” is no announcement");
            Err(Fault::new(message, "use “tone”, “name” or “none”"))
        }
        _ => boolean(value).map(|on| (on, false)),
    }
}

/// Whether and how the room is recorded.
fn record(value: &Value) -> Result<Option<RecordStep>, Fault> {
    let step = |opus| RecordStep {
        opus,
        ..RecordStep::default()
    };
    match &value.kind {
        Kind::Text(word) if word == "wav" => Ok(Some(step(false))),
        Kind::Text(word) if word == "opus" => Ok(Some(step(true))),
        Kind::Text(word) => {
            let message = format!("“{word}” is no format of a recording");
            Err(Fault::new(message, "use “wav” or “opus”"))
        }
        _ => Ok(boolean(value)?.then(RecordStep::default)),
    }
}

fn room(value: &Value) -> Result<String, Fault> {
    legal(text(value)?)
}

fn legal(room: &str) -> Result<String, Fault> {
    let plain = room.replace("{number}", "");
    let legal = |c: char| c.is_alphanumeric() || "-_.+".contains(c);
    if room.is_empty() || room.len() > LONGEST || !plain.chars().all(legal) {
        let remedy = "use letters, digits and - _ . + or “{number}” for what was dialled";
        return Err(Fault::new(format!("“{room}” is no name of a room"), remedy));
    }
    Ok(room.to_owned())
}

fn pin(value: &Value) -> Result<String, Fault> {
    let pin = text(value)?;
    let digits = pin.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || !(1..=16).contains(&pin.len()) {
        return Err(Fault::new("is no PIN", "use 1 to 16 digits in quotes"));
    }
    Ok(pin.to_owned())
}

/// Participants of one room.
const MOST: u64 = 10_000;
const LONGEST: usize = 64;
