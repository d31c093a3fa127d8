//! `etc/dialplan.toml`.

use pbx::{DialPlan, Extension, Step, TrunkSettings};

use super::document::{Key, Kind, Table, Value};
use super::reader::{Section, expected, table};
use super::report::{Fault, Report, similar};
use super::trunks::check_known;
use super::values::{self, boolean, list, text};

/// Reads `[[extension]]` tables in order.
pub(crate) fn read(file: Table, trunks: &[TrunkSettings], report: &Report) -> DialPlan {
    let mut top = Section::new("", file, report);
    let extensions = top.read("extension", Vec::new(), |value| match &value.kind {
        Kind::List(list) => Ok(list.clone()),
        other => {
            let remedy = "begin each extension with [[extension]], in double brackets";
            let message = expected("a list of tables", other).message;
            Err(Fault::new(message, remedy))
        }
    });
    top.finish();
    let read = |value| extension(value, trunks, report);
    DialPlan {
        extensions: extensions.iter().filter_map(read).collect(),
    }
}

fn extension(value: &Value, trunks: &[TrunkSettings], report: &Report) -> Option<Extension> {
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
    let steps = section.required("steps", remedy, |value| steps(value, trunks));
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

fn check_pattern(pattern: &str) -> Result<(), Fault> {
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

fn steps(value: &Value, trunks: &[TrunkSettings]) -> Result<Vec<Step>, Fault> {
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
        let step = step(value, trunks).map_err(|fault| fault.at(&value.origin))?;
        if matches!(step, Step::Proxy(_)) && !alone {
            let message = "hands the whole call over, so nothing can happen before or after it";
            let remedy = "make it the only step, or use { dial = … }";
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
    matches!(step, Step::Echo | Step::Tone(_) | Step::Hangup(_))
}

fn step(value: &Value, trunks: &[TrunkSettings]) -> Result<Step, Fault> {
    match &value.kind {
        Kind::Text(word) if word == "echo" => Ok(Step::Echo),
        Kind::Text(word) => Err(unknown_step(word)),
        Kind::Table(table) => match table.entries.as_slice() {
            entries if entries.iter().any(|(key, _)| key.name == "trunk") => trunk(entries, trunks),
            [(key, value)] => parameter(&key.name, value).map_err(|f| f.at(&value.origin)),
            _ => Err(Fault::new(
                "a step is one thing",
                "put each step in its own braces",
            )),
        },
        other => Err(expected("a step", other)),
    }
}

fn parameter(name: &str, value: &Value) -> Result<Step, Fault> {
    match name {
        "dial" => target(value).map(Step::Dial),
        "intercom" => target(value).map(Step::Intercom),
        "pickup" => target(value).map(Step::Pickup),
        "proxy" => proxy(value),
        "park" => target(value).map(Step::Park),
        "tone" => tone(value),
        "play" => play(value),
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
        "dial", "trunk", "intercom", "pickup", "park", "proxy", "echo", "tone", "play", "hangup",
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

fn tone(value: &Value) -> Result<Step, Fault> {
    let hertz = match &value.kind {
        Kind::Float(hertz) => *hertz,
        Kind::Integer(hertz) => *hertz as f64,
        other => return Err(expected("a frequency in hertz", other)),
    };
    if (20.0..=3900.0).contains(&hertz) {
        return Ok(Step::Tone(hertz as f32));
    }
    Err(Fault::new(
        format!("a tone of {hertz} Hz doesn't get through a telephone"),
        "use 20 to 3900",
    ))
}

fn play(value: &Value) -> Result<Step, Fault> {
    let prompt = text(value)?;
    if media::prompt(prompt).is_some() {
        return Ok(Step::Play(prompt.to_owned()));
    }
    let known: Vec<_> = media::prompts().collect();
    let remedy = match similar(prompt, &known) {
        Some(meant) => format!("did you mean “{meant}”?"),
        None => format!("there are {}", known.join(", ")),
    };
    Err(Fault::new(format!("there is no prompt “{prompt}”"), remedy))
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
