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

/// A number or pattern and what happens when it is dialled.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extension {
    /// Digits, or a pattern: `X` is 0–9, `Z` 1–9, `N` 2–9, a trailing `.` one or more characters of
    /// any kind.
    pub number: String,
    /// Steps in order; a call that has gone through all of them is hung up.
    pub steps: Vec<Step>,
}

/// One thing that a call does.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// `{ dial = "1002" }`: every phone of the user with this number rings; `{number}` stands for
    /// what was dialled.
    Dial(String),
    /// `"echo"`: what the caller says comes back.
    Echo,
    /// `{ tone = 1004.0 }`: a steady tone of so many hertz.
    Tone(f32),
    /// `{ play = "welcome" }`: a built-in prompt.
    Play(String),
    /// `{ hangup = 486 }`: refuses the call with this status, or ends it if it has been answered.
    Hangup(u16),
}
