//! The dial plan: what happens to a dialled number. Data that a call steps through.

use std::sync::Arc;

use media::Cadence;
use serde::Deserialize;

use crate::RecordStep;

/// An ordered list of extensions; the first that matches wins.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DialPlan {
    /// The extensions in order.
    #[serde(default, rename = "extension")]
    pub extensions: Vec<Extension>,
}

impl DialPlan {
    /// Where a call to `number` that came by this trunk, if by any, is forwarded to, if that is what
    /// happens.
    #[must_use]
    pub fn proxy(&self, number: &str, trunk: Option<&str>) -> Option<String> {
        let extension = self.extension(number, trunk)?;
        let mut steps = extension.steps.iter();
        let step = steps.next().filter(|step| !extension.bars(step, trunk))?;
        match step {
            Step::Proxy(target) => Some(forwarded_to(target, extension.rest(number))),
            _ => None,
        }
    }

    /// What happens when `number` is dialled, with `{number}` filled in; nothing if no extension
    /// matches.
    #[must_use]
    pub fn steps(&self, number: &str) -> Vec<Step> {
        self.steps_for(number, None)
    }

    /// [`steps`](Self::steps) for a call that came by this trunk, if by any. Who calls from outside gets
    /// out again only where the extension allows transit: otherwise anybody could call abroad at our
    /// expense.
    #[must_use]
    pub fn steps_for(&self, number: &str, trunk: Option<&str>) -> Vec<Step> {
        let Some(extension) = self.extension(number, trunk) else {
            return Vec::new();
        };
        let step = |step: &Step| {
            if extension.bars(step, trunk) {
                Step::Hangup(403)
            } else {
                step.filled_in(extension.rest(number))
            }
        };
        extension.steps.iter().map(step).collect()
    }

    fn extension(&self, number: &str, trunk: Option<&str>) -> Option<&Extension> {
        let mut extensions = self.extensions.iter();
        extensions.find(|extension| extension.is_for(trunk) && extension.matches(number))
    }
}

/// The target of [`Step::Proxy`] with `{number}` filled in.
fn forwarded_to(target: &str, number: &str) -> String {
    if is_uri(target) {
        target.replace("{number}", &sip::uri::escape_user(number))
    } else {
        target.replace("{number}", number)
    }
}

/// Whether the target of [`Step::Proxy`] is a URI, not a number.
#[must_use]
pub fn is_uri(target: &str) -> bool {
    let scheme = target.split_once(':').map_or("", |(scheme, _)| scheme);
    ["sip", "sips"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
}

/// A number or pattern and what happens when it is dialled.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extension {
    /// Digits, or a pattern: `X` is 0–9, `Z` 1–9, `N` 2–9, a trailing `.` one or more characters of
    /// any kind.
    pub number: String,
    /// How many leading characters of what was dialled are no part of `{number}`.
    #[serde(default)]
    pub strip: usize,
    /// Steps in order; a call that has gone through all of them is hung up.
    pub steps: Vec<Step>,
    /// Whose calls it is for: names of trunks, `users` for our own; empty: everybody's.
    #[serde(default)]
    pub from: Vec<String>,
    /// Calls from trunks may leave by trunks again.
    #[serde(default)]
    pub transit: bool,
}

impl Extension {
    /// What `{number}` stands for.
    fn rest<'a>(&self, number: &'a str) -> &'a str {
        let start = number.char_indices().nth(self.strip);
        start.map_or("", |(start, _)| &number[start..])
    }

    /// Whether a call that came by this trunk, if by any, may not take a step: those that leave the house
    /// are for our own users.
    fn bars(&self, step: &Step, trunk: Option<&str>) -> bool {
        let leaves = match step {
            Step::Trunk { .. } => true,
            Step::Proxy(target) => is_uri(target),
            _ => false,
        };
        trunk.is_some() && !self.transit && leaves
    }

    /// Whether the extension is for calls that came by this trunk, or for those of users.
    fn is_for(&self, trunk: Option<&str>) -> bool {
        let from = trunk.unwrap_or(USERS);
        self.from.is_empty() || self.from.iter().any(|name| name == from)
    }

    /// Whether the extension is for `number`.
    #[must_use]
    pub fn matches(&self, number: &str) -> bool {
        let mut digits = number.chars();
        let mut pattern = self.number.chars().peekable();
        while let Some(sign) = pattern.next() {
            let Some(digit) = digits.next() else {
                return false;
            };
            if sign == '.' && pattern.peek().is_none() {
                return true;
            }
            let fits = match sign {
                'X' => digit.is_ascii_digit(),
                'Z' => matches!(digit, '1'..='9'),
                'N' => matches!(digit, '2'..='9'),
                literal => digit == literal,
            };
            if !fits {
                return false;
            }
        }
        digits.next().is_none()
    }
}

/// One thing that a call does.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// `{ dial = "1002" }`: every phone of the user with this number rings; `{number}` stands for
    /// what was dialled.
    Dial(String),
    /// `{ intercom = "{number}" }`: as `dial`, and the phone is asked to answer by itself (RFC 5373).
    Intercom(String),
    /// `{ pickup = "{number}" }`: answers a call that rings at this number.
    Pickup(String),
    /// `{ trunk = "provider" }`: the call leaves by the first of these trunks that takes it.
    Trunk {
        /// Names of trunks, in the order in which they are tried.
        trunks: Vec<String>,
        /// The number that is called there; `{number}` stands for what was dialled.
        number: String,
    },
    /// `"echo"`: what the caller says comes back.
    Echo,
    /// `{ tone = 1004.0 }`: a steady tone of so many hertz.
    Tone(f32),
    /// `{ tone = "busy" }`: a tone of the country's networks, or of one's own.
    #[serde(skip)]
    Cadence(Arc<Cadence>),
    /// `{ play = "welcome" }`: a built-in prompt, a file among the sounds, or one of the web.
    Play(String),
    /// `{ tone = "busy", answer = false }`: what a step that is served sends is heard before the call is
    /// answered, for as long as a phone would ring. What follows is another such step or a refusal.
    Early(Box<Step>),
    /// `{ record = "wav" }`: from its answer on the call is recorded.
    Record(RecordStep),
    /// `{ park = "{number}" }`: a call that is transferred here waits in this orbit; whoever dials it
    /// fetches the call.
    Park(String),
    /// `{ conference = "sales" }`: the caller joins a conference room.
    Conference(Conference),
    /// `{ proxy = "{number}" }`: the call is forwarded to the phones of the user with this number, or to
    /// a `sip:` URI, and media does not go through the server. Stands alone. A call that the server is in
    /// already, because somebody is transferred or its caller was to be verified, is joined to the phones.
    Proxy(String),
    /// `{ hangup = 486 }`: refuses the call with this status, or ends it if it has been answered.
    Hangup(u16),
}

impl Step {
    fn filled_in(&self, number: &str) -> Self {
        match self {
            Self::Dial(target) => Self::Dial(target.replace("{number}", number)),
            Self::Intercom(target) => Self::Intercom(target.replace("{number}", number)),
            Self::Pickup(target) => Self::Pickup(target.replace("{number}", number)),
            Self::Conference(rules) => Self::Conference(Conference {
                room: rules.room.replace("{number}", number),
                ..rules.clone()
            }),
            Self::Park(orbit) => Self::Park(orbit.replace("{number}", number)),
            Self::Proxy(target) => Self::Proxy(forwarded_to(target, number)),
            Self::Trunk {
                trunks,
                number: target,
            } => Self::Trunk {
                trunks: trunks.clone(),
                number: target.replace("{number}", number),
            },
            other => other.clone(),
        }
    }
}

/// A conference room and who may come in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conference {
    /// Its name; `{number}` stands for what was dialled.
    pub room: String,
    /// What callers have to dial; none: nothing.
    pub pin: Option<String>,
    /// What moderators dial.
    pub moderator_pin: Option<String>,
    /// A sound tells who is there when somebody comes or goes.
    pub announce: bool,
    /// Who comes is asked for its name, by which it is announced.
    pub names: bool,
    /// Only moderators are heard.
    pub lecture: bool,
    /// How many find room.
    pub max: usize,
    /// Pictures of who speaks are passed on.
    pub video: bool,
    /// Nobody but moderators may come, until one of them opens the room.
    pub locked: bool,
    /// What is said is recorded; of a room only whether it is compressed counts.
    pub record: Option<RecordStep>,
}

impl Default for Conference {
    fn default() -> Self {
        Self {
            room: String::new(),
            pin: None,
            moderator_pin: None,
            announce: true,
            names: false,
            lecture: false,
            max: 500,
            video: true,
            locked: false,
            record: None,
        }
    }
}

/// Stands for our own users where names of trunks stand.
pub const USERS: &str = "users";

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, number: &str) -> bool {
        Extension {
            number: pattern.to_owned(),
            ..Extension::default()
        }
        .matches(number)
    }

    #[test]
    fn patterns() {
        assert!(matches("600", "600"));
        assert!(!matches("600", "6000"));
        assert!(!matches("600", "60"));
        assert!(matches("1XXX", "1002"));
        assert!(!matches("1XXX", "100"));
        assert!(matches("0ZN.", "0123"));
        assert!(!matches("0ZN.", "012"));
        assert!(matches(".", "alice"));
        assert!(!matches(".", ""));
    }

    #[test]
    fn the_first_match_wins_and_the_number_is_filled_in() {
        let extension = |number: &str, step| Extension {
            number: number.to_owned(),
            steps: vec![step],
            ..Extension::default()
        };
        let plan = DialPlan {
            extensions: vec![
                extension("600", Step::Echo),
                extension(".", Step::Dial("{number}".to_owned())),
            ],
        };
        assert_eq!(plan.steps("600"), [Step::Echo]);
        assert_eq!(plan.steps("1002"), [Step::Dial("1002".to_owned())]);
        let pickup = Extension {
            strip: 2,
            ..extension("*8.", Step::Pickup("{number}".to_owned()))
        };
        let extensions = vec![pickup];
        let plan = DialPlan { extensions };
        assert_eq!(plan.steps("*81002"), [Step::Pickup("1002".to_owned())]);
        assert!(DialPlan::default().steps("1").is_empty());
    }

    #[test]
    fn calls_from_trunks_leave_again_only_where_transit_is_allowed() {
        let out = Step::Trunk {
            trunks: vec!["a".into(), "b".into()],
            number: "+{number}".into(),
        };
        let extension = |number: &str, from: &[&str], transit| Extension {
            number: number.to_owned(),
            steps: vec![out.clone()],
            from: from.iter().map(|&name| name.to_owned()).collect(),
            transit,
            strip: 0,
        };
        let plan = DialPlan {
            extensions: vec![
                extension("49.", &["a"], true),
                extension("1.", &["users"], true),
                extension(".", &[], false),
            ],
        };
        let left = |number: &str, trunk| match &*plan.steps_for(number, trunk) {
            [Step::Trunk { number, .. }] => Some(number.clone()),
            _ => None,
        };
        assert_eq!(left("30", None).as_deref(), Some("+30"));
        assert_eq!(plan.steps_for("30", Some("a")), [Step::Hangup(403)]);
        assert_eq!(left("4930", Some("a")).as_deref(), Some("+4930"));
        assert_eq!(plan.steps_for("4930", Some("b")), [Step::Hangup(403)]);
        assert_eq!(left("11", None).as_deref(), Some("+11"));
        assert_eq!(plan.steps_for("11", Some("a")), [Step::Hangup(403)]);
    }

    #[test]
    fn calls_from_trunks_are_forwarded_to_phones_and_elsewhere_only_in_transit() {
        let extension = |number: &str, target: &str, transit| Extension {
            number: number.to_owned(),
            steps: vec![Step::Proxy(target.to_owned())],
            transit,
            ..Extension::default()
        };
        let plan = DialPlan {
            extensions: vec![
                extension("1.", "{number}", false),
                extension("2.", "sip:{number}@gw.example", false),
                extension("3.", "sip:{number}@gw.example", true),
            ],
        };
        let to = |number, trunk| plan.proxy(number, trunk);
        assert_eq!(to("12", Some("a")).as_deref(), Some("12"));
        assert_eq!(to("2?", None).as_deref(), Some("sip:2%3F@gw.example"));
        assert_eq!(to("22", Some("a")), None);
        assert_eq!(plan.steps_for("22", Some("a")), [Step::Hangup(403)]);
        assert_eq!(to("32", Some("a")).as_deref(), Some("sip:32@gw.example"));
    }
}
