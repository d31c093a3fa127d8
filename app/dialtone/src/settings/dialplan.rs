//! `etc/dialplan.toml`.

use std::path::Path;
use std::sync::Arc;

use media::sound::Unplayable;
use media::{Cadence, Signal};
use pbx::{DialPlan, Extension, RecordStep, Step, TrunkSettings};

use super::conference;
use super::document::{Key, Kind, Table, Value};
use super::reader::{Section, expected, table};
use super::report::{Fault, Report, similar};
use super::sound::Sound;
use super::trunks::check_known;
use super::values::{self, boolean, list, text};

/// What the dial plan may refer to, and where odd things are told.
#[derive(Clone, Copy)]
struct Known<'a> {
    trunks: &'a [TrunkSettings],
    sound: &'a Sound,
    rooms: &'a [conference::Named],
    report: &'a Report,
}

/// Tones of networks by their names.
const SIGNALS: [(&str, Signal); 6] = [
    ("dial", Signal::Dial),
    ("ringback", Signal::Ringback),
    ("busy", Signal::Busy),
    ("congestion", Signal::Congestion),
    ("waiting", Signal::CallWaiting),
    ("special", Signal::SpecialInformation),
];

/// Reads `[[extension]]` tables in order, behind the numbers of `[conference.NAME]` tables.
pub(crate) fn read(
    file: Table,
    trunks: &[TrunkSettings],
    sound: &Sound,
    report: &Report,
) -> DialPlan {
    let mut top = Section::new("", file, report);
    let rooms = top.optional("conference", table);
    let rooms = rooms.map_or(Vec::new(), |rooms| conference::named(rooms, report));
    let known = Known {
        trunks,
        sound,
        rooms: &rooms,
        report,
    };
    let extensions = top.read("extension", Vec::new(), |value| match &value.kind {
        Kind::List(list) => Ok(list.clone()),
        other => {
            let remedy = "begin each extension with [[extension]], in double brackets";
            let message = expected("a list of tables", other).message;
            Err(Fault::new(message, remedy))
        }
    });
    top.finish();
    let read = |value| extension(value, known);
    // A room's own number is no pattern, so it goes before those that are.
    let doors = rooms.iter().filter_map(conference::Named::extension);
    DialPlan {
        extensions: doors.chain(extensions.iter().filter_map(read)).collect(),
    }
}

fn extension(value: &Value, known: Known<'_>) -> Option<Extension> {
    let Known { trunks, report, .. } = known;
    let fields = table(value)
        .map_err(|fault| report.error("extension", &value.origin, fault))
        .ok()?;
    let mut section = Section::new("extension", fields, report);
    let remedy = "say what is dialled: number = \"600\", or a pattern such as \"10XX\"";
    let number = section.required("number", remedy, |value| {
        let number = text(value)?;
        check_pattern(number).map(|()| number.to_owned())
    });
    let remedy = "say what happens: steps = [\"echo\"] or [{ dial = \"{number}\" }]";
    let strip = section.read("strip", 0, |value| {
        values::number(0..=63)(value).map(|n| n as usize)
    });
    let steps = section.required("steps", remedy, |value| steps(value, known));
    let from = section.read("from", Vec::new(), list(1, |value| from(value, trunks)));
    let transit = section.read("transit", false, boolean);
    section.finish();
    Some(Extension {
        strip,
        number: number?,
        steps: steps?,
        from,
        transit,
    })
}

pub(super) fn check_pattern(pattern: &str) -> Result<(), Fault> {
    if pattern.is_empty() || pattern.len() > 64 {
        return Err(Fault::new("is empty or too long", "use 1 to 64 characters"));
    }
    if let Some(place) = pattern.find('.')
        && place + 1 != pattern.len()
    {
        let remedy = "leave out what follows the point, or the point";
        return Err(Fault::new(
            "has a “.” that is not its last character",
            remedy,
        ));
    }
    if let Some(strange) = pattern.chars().find(|c| !legal(*c)) {
        let message = format!("“{strange}” can't be dialled");
        let remedy = "use digits, letters, + * # - _, X for 0–9, Z for 1–9, N for 2–9";
        return Err(Fault::new(message, remedy));
    }
    Ok(())
}

fn legal(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+*#-_.".contains(c)
}

/// Whose calls an extension is for.
fn from(value: &Value, trunks: &[TrunkSettings]) -> Result<String, Fault> {
    let name = text(value)?;
    if name != pbx::dialplan::USERS {
        check_known(name, trunks)?;
    }
    Ok(name.to_owned())
}

fn steps(value: &Value, known: Known<'_>) -> Result<Vec<Step>, Fault> {
    let Kind::List(list) = &value.kind else {
        return Err(expected("a list of steps", &value.kind));
    };
    if list.is_empty() {
        return Err(Fault::new(
            "is empty",
            "name at least one step, for example “echo”",
        ));
    }
    let mut steps = Vec::with_capacity(list.len());
    let alone = list.len() == 1;
    for (place, value) in list.iter().enumerate() {
        let step = step(value, known).map_err(|fault| fault.at(&value.origin))?;
        if matches!(step, Step::Proxy(_)) && !alone {
            let message = "hands the whole call over, so nothing can happen before or after it";
            let remedy = "make it the only step, or use { dial = … }";
            return Err(Fault::new(message, remedy).at(&value.origin));
        }
        let before = steps
            .last()
            .is_some_and(|step| matches!(step, Step::Early(_)));
        if before && !matches!(step, Step::Early(_) | Step::Hangup(_)) {
            let message = "comes after something that is heard before the call is answered";
            let remedy = "end with { hangup = … }, or leave out answer = false";
            return Err(Fault::new(message, remedy).at(&value.origin));
        }
        let last = place + 1 == list.len();
        if !last && never_ends(&step) {
            let message = "is never over, so the steps after it never happen";
            let fault = Fault::new(message, "make it the last step");
            return Err(fault.at(&value.origin));
        }
        steps.push(step);
    }
    Ok(steps)
}

fn never_ends(step: &Step) -> bool {
    matches!(
        step,
        Step::Echo | Step::Tone(_) | Step::Cadence(_) | Step::Conference(_) | Step::Hangup(_)
    )
}

fn step(value: &Value, known: Known<'_>) -> Result<Step, Fault> {
    match &value.kind {
        Kind::Text(word) if word == "echo" => Ok(Step::Echo),
        Kind::Text(word) => Err(unknown_step(word)),
        Kind::Table(table) => match table.entries.as_slice() {
            entries if entries.iter().any(|(key, _)| key.name == "trunk") => {
                trunk(entries, known.trunks)
            }
            entries if entries.iter().any(|(key, _)| key.name == "answer") => early(entries, known),
            entries if entries.iter().any(|(key, _)| key.name == "conference") => {
                conference::step(entries, known.rooms)
            }
            [(key, value)] => parameter(&key.name, value, known).map_err(|f| f.at(&value.origin)),
            _ => Err(Fault::new(
                "a step is one thing",
                "put each step in its own braces",
            )),
        },
        other => Err(expected("a step", other)),
    }
}

/// `{ tone = "busy", answer = false }`.
fn early(entries: &[(Key, Value)], known: Known<'_>) -> Result<Step, Fault> {
    let mut answer = true;
    let mut steps = Vec::new();
    for (key, value) in entries {
        if key.name == "answer" {
            answer = boolean(value).map_err(|fault| fault.at(&value.origin))?;
        } else {
            let step = parameter(&key.name, value, known).map_err(|f| f.at(&value.origin))?;
            steps.push(step);
        }
    }
    match (steps.pop(), steps.is_empty()) {
        (Some(step @ (Step::Tone(_) | Step::Cadence(_) | Step::Play(_))), true) => match answer {
            true => Ok(step),
            false => Ok(Step::Early(Box::new(step))),
        },
        _ => Err(Fault::new(
            "nothing can be heard of it before the call is answered",
            "use answer beside tone or play",
        )),
    }
}

fn parameter(name: &str, value: &Value, known: Known<'_>) -> Result<Step, Fault> {
    match name {
        "dial" => target(value).map(Step::Dial),
        "intercom" => target(value).map(Step::Intercom),
        "pickup" => target(value).map(Step::Pickup),
        "proxy" => proxy(value),
        "park" => target(value).map(Step::Park),
        "record" => record(value),
        "tone" => tone(value, known.sound),
        "play" => play(value, known),
        "hangup" => hangup(value),
        "echo" => Err(Fault::new(
            "echo takes no value",
            "write “echo” in quotes, without braces",
        )),
        other => Err(unknown_step(other)),
    }
}

fn unknown_step(word: &str) -> Fault {
    const STEPS: &[&str] = &[
        "dial",
        "trunk",
        "intercom",
        "pickup",
        "park",
        "proxy",
        "conference",
        "echo",
        "tone",
        "play",
        "hangup",
        "record",
    ];
    let remedy = match similar(word, STEPS) {
        Some("echo") => "did you mean “echo”?".to_owned(),
        Some(meant) => format!("did you mean {{ {meant} = … }}?"),
        None => format!("there are {}", STEPS.join(", ")),
    };
    Fault::new(format!("“{word}” is no step"), remedy)
}

/// A number, or what was dialled.
fn target(value: &Value) -> Result<String, Fault> {
    let target = text(value)?;
    let plain = target.replace("{number}", "");
    let legal = plain.chars().all(legal);
    if target.is_empty() || !legal {
        let message = format!("“{target}” can't be dialled");
        return Err(Fault::new(
            message,
            "use a number, or “{number}” for what was dialled",
        ));
    }
    Ok(target.to_owned())
}

fn proxy(value: &Value) -> Result<Step, Fault> {
    let uri = text(value)?;
    if !pbx::dialplan::is_uri(uri) {
        let remedy = "use a number, “{number}” for what was dialled, or a URI such as \
                      “sip:{number}@192.0.2.1”";
        return match target(value) {
            Ok(number) => Ok(Step::Proxy(number)),
            Err(fault) => Err(Fault::new(fault.message, remedy)),
        };
    }
    let filled_in = uri.replace("{number}", "1");
    match sip::Uri::parse(&filled_in) {
        Ok(parsed) if parsed.headers.is_empty() => Ok(Step::Proxy(uri.to_owned())),
        Ok(_) => Err(Fault::new(
            format!("“{uri}” has header fields"),
            "leave out the question mark and what follows it",
        )),
        Err(_) => Err(Fault::new(
            format!("“{uri}” is no SIP URI"),
            "write it like “sip:{number}@192.0.2.1:5060;transport=tcp”",
        )),
    }
}

/// `{ trunk = "provider" }`, with `number = "…"` if another number is called than was dialled.
fn trunk(entries: &[(Key, Value)], trunks: &[TrunkSettings]) -> Result<Step, Fault> {
    let (mut names, mut number) = (Vec::new(), "{number}".to_owned());
    for (key, value) in entries {
        let read = match &*key.name {
            "trunk" => list(1, |value| from_trunk(value, trunks))(value).map(|list| names = list),
            "number" => target(value).map(|target| number = target),
            other => {
                let message = format!("a trunk step has no “{other}”");
                return Err(Fault::new(message, "there are trunk and number").at(&key.origin));
            }
        };
        read.map_err(|fault| fault.at(&value.origin))?;
    }
    Ok(Step::Trunk {
        trunks: names,
        number,
    })
}

fn from_trunk(value: &Value, trunks: &[TrunkSettings]) -> Result<String, Fault> {
    let name = text(value)?;
    check_known(name, trunks).map(|()| name.to_owned())
}

fn tone(value: &Value, sound: &Sound) -> Result<Step, Fault> {
    let hertz = match &value.kind {
        Kind::Float(hertz) => *hertz,
        Kind::Integer(hertz) => *hertz as f64,
        Kind::Text(name) => return cadence(name, sound),
        other => {
            return Err(expected(
                "a frequency in hertz, or the name of a tone",
                other,
            ));
        }
    };
    if (20.0..=3900.0).contains(&hertz) {
        return Ok(Step::Tone(hertz as f32));
    }
    Err(Fault::new(
        format!("a tone of {hertz} Hz doesn't get through a telephone"),
        "use 20 to 3900",
    ))
}

/// `{ record = "wav" }`, or `"wav mono"`, `"opus caller"`, …
fn record(value: &Value) -> Result<Step, Fault> {
    let mut step = RecordStep::default();
    for word in text(value)?.split_whitespace() {
        match word {
            "wav" => step.opus = false,
            "opus" => step.opus = true,
            "stereo" => step.mono = false,
            "mono" => step.mono = true,
            "caller" => (step.mono, step.sides) = (true, [true, false]),
            "callee" => (step.mono, step.sides) = (true, [false, true]),
            other => {
                let message = format!("a recording is not “{other}”");
                let remedy = "use wav or opus, and stereo, mono, caller or callee: “opus mono”";
                return Err(Fault::new(message, remedy));
            }
        }
    }
    Ok(Step::Record(step))
}

/// A tone of the country, or one that is spelt out.
fn cadence(text: &str, sound: &Sound) -> Result<Step, Fault> {
    let named = SIGNALS.iter().find(|(name, _)| *name == text);
    let cadence = match named {
        Some((_, signal)) => Cadence::of(&sound.country, *signal),
        None => text.parse().ok(),
    };
    if let Some(cadence) = cadence {
        return Ok(Step::Cadence(Arc::new(cadence)));
    }
    let names = SIGNALS.map(|(name, _)| name);
    let remedy = match similar(text, &names) {
        Some(meant) => format!("did you mean “{meant}”?"),
        None => format!(
            "there are {}; or write frequencies and milliseconds: “425/480,0/480”",
            names.join(", ")
        ),
    };
    Err(Fault::new(format!("there is no tone “{text}”"), remedy))
}

fn play(value: &Value, known: Known<'_>) -> Result<Step, Fault> {
    let name = text(value)?;
    let step = || Ok(Step::Play(name.to_owned()));
    if media::prompt(name).is_some() || media::sound::is_url(name) {
        return step();
    }
    let folder = &known.sound.folder;
    match media::sound::find(folder, name) {
        Ok(_) => step(),
        Err(Unplayable::Outside) => Err(Fault::new(
            format!("“{name}” leads out of the folder of sounds"),
            format!("put the file into {}", folder.display()),
        )),
        // It may come later.
        Err(error) if Path::new(name).extension().is_some() => {
            let remedy = format!("put it into {}", folder.display());
            let fault = Fault::new(format!("“{name}” can't be played: {error}"), remedy);
            known.report.warning("play", &value.origin, fault);
            step()
        }
        Err(_) => Err(unknown_prompt(name)),
    }
}

fn unknown_prompt(name: &str) -> Fault {
    let known: Vec<_> = media::prompts().collect();
    let remedy = match similar(name, &known) {
        Some(meant) => format!("did you mean “{meant}”?"),
        None => format!(
            "there are {}; or name a file such as “hello.wav”, or a URL",
            known.join(", ")
        ),
    };
    Fault::new(format!("there is no prompt “{name}”"), remedy)
}

fn hangup(value: &Value) -> Result<Step, Fault> {
    match value.kind {
        Kind::Integer(status @ 400..=699) => Ok(Step::Hangup(status as u16)),
        Kind::Integer(status) => Err(Fault::new(
            format!("{status} is no refusal"),
            "use a SIP status from 400 to 699, for example 486 for busy",
        )),
        ref other => Err(expected("a SIP status", other)),
    }
}
