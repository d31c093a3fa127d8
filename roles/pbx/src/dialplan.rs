//! The dial plan: what happens to a dialled number. Data that a call steps through.

use serde::Deserialize;

/// An ordered list of extensions; the first that matches wins.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DialPlan {
    /// The extensions in order.
    #[serde(default, rename = "extension")]
    pub extensions: Vec<Extension>,
}

impl DialPlan {
    /// Where a call to `number` is forwarded to, if that is what happens, and what `{number}` in it stands
    /// for.
    #[must_use]
    pub fn proxy<'n>(&self, number: &'n str) -> Option<(&str, &'n str)> {
        let extension = self.extension(number)?;
        match extension.steps.first()? {
            Step::Proxy(target) => Some((target, extension.rest(number))),
            _ => None,
        }
    }

    /// What happens when `number` is dialled, with `{number}` filled in; nothing if no extension
    /// matches.
    #[must_use]
    pub fn steps(&self, number: &str) -> Vec<Step> {
        self.extension(number)
            .map(|extension| {
                extension
                    .steps
                    .iter()
                    .map(|step| step.filled_in(extension.rest(number)))
                    .collect()
            })
            .unwrap_or_default()
    }

    fn extension(&self, number: &str) -> Option<&Extension> {
        let mut extensions = self.extensions.iter();
        extensions.find(|extension| extension.matches(number))
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
#[derive(Clone, Debug, PartialEq, Deserialize)]
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
}

impl Extension {
    /// What `{number}` stands for.
    fn rest<'a>(&self, number: &'a str) -> &'a str {
        let start = number.char_indices().nth(self.strip);
        start.map_or("", |(start, _)| &number[start..])
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
    /// `"echo"`: what the caller says comes back.
    Echo,
    /// `{ tone = 1004.0 }`: a steady tone of so many hertz.
    Tone(f32),
    /// `{ play = "welcome" }`: a built-in prompt.
    Play(String),
    /// `{ park = "{number}" }`: a call that is transferred here waits in this orbit; whoever dials it
    /// fetches the call.
    Park(String),
    /// `{ proxy = "{number}" }`: the call is forwarded to the phones of the user with this number, or to
    /// a `sip:` URI, and media does not go through the server. Stands alone.
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
            Self::Park(orbit) => Self::Park(orbit.replace("{number}", number)),
            other => other.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, number: &str) -> bool {
        Extension {
            number: pattern.to_owned(),
            strip: 0,
            steps: Vec::new(),
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
            strip: 0,
            steps: vec![step],
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
}
