//! What the API answers. Times are seconds since 1970-01-01 00:00 UTC.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Problem;

/// The server as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Release.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// The data folder.
    pub data: String,
    /// When it started.
    pub started: u64,
    /// Addresses that it listens on: `udp:0.0.0.0:5060`.
    pub listen: Vec<String>,
    /// Configured users.
    pub users: usize,
    /// Users with at least one phone.
    pub registered_users: usize,
    /// Registered phones.
    pub phones: usize,
    /// Calls in progress.
    pub calls: usize,
    /// Calls since the start.
    pub calls_total: u64,
    /// Registrations and calls that failed to authenticate since the start.
    pub authentication_failures: u64,
    /// Whether it does all that it should.
    pub health: Health,
    /// What the signalling threads counted since the start.
    pub counters: BTreeMap<String, u64>,
}

/// Whether the server can do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// It can.
    pub healthy: bool,
    /// If not, why.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub faults: Vec<String>,
}

/// A registered phone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phone {
    /// The user.
    pub user: String,
    /// Its Contact URI.
    pub contact: String,
    /// How it is reached: `udp:192.0.2.7:5060`.
    pub address: String,
    /// What it calls itself.
    pub user_agent: String,
    /// When its registration ends.
    pub expires: u64,
    /// Whether it answers.
    pub reachability: Reachability,
    /// How long its last answer took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rtt_ms: Option<u64>,
}

/// A trunk: a provider or another switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trunk {
    /// Its name in the dial plan.
    pub name: String,
    /// Whether calls can be expected to get through.
    pub up: bool,
    /// How far our registration there is.
    pub registration: TrunkRegistration,
    /// When it ends, unless it is refreshed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub registered_until: Option<u64>,
    /// Ways to its servers, in the order in which they are tried.
    pub ways: Vec<TrunkWay>,
    /// Calls in progress through it.
    pub channels: usize,
    /// Most calls at once; none: no limit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub most_channels: Option<usize>,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}

/// How far a registration of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrunkRegistration {
    /// We don't register there.
    None,
    /// Not yet, or not any more.
    Trying,
    /// The provider knows us.
    Registered,
}

/// A way to a trunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrunkWay {
    /// `udp:192.0.2.7:5060`.
    pub address: String,
    /// Whether it answers.
    pub reachability: Reachability,
    /// How long its last answer took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rtt_ms: Option<u64>,
}

/// Whether a phone answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reachability {
    /// It has not been asked yet.
    Unknown,
    /// It does.
    Reachable,
    /// It doesn't.
    Unreachable,
}

/// A call in progress.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Names the call, as long as it lasts.
    pub id: String,
    /// Who calls.
    pub caller: String,
    /// What was dialled.
    pub callee: String,
    /// How far it is.
    pub state: CallState,
    /// When it began.
    pub started: u64,
    /// When it was answered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub answered: Option<u64>,
    /// It is forwarded: once it is answered, its phones alone can end or move it.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub proxied: bool,
    /// How what the caller sends sounds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from_caller: Option<Sound>,
    /// How what the callee sends sounds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from_callee: Option<Sound>,
    /// What is wrong with the sound, in words.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub alarms: Vec<String>,
}

/// How what one party sends sounds where we hear it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sound {
    /// RTP packets received.
    pub packets: u64,
    /// Packets that are missing.
    pub lost: u64,
    /// Interarrival jitter in milliseconds.
    pub jitter_ms: f64,
    /// From here to the party and back, in milliseconds, if its RTCP tells.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub round_trip_ms: Option<u32>,
    /// What listeners would say of it on average: 1 is bad, 4.4 is as good as a telephone gets.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mos: Option<f64>,
    /// The same in the worst 5 seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub worst_mos: Option<f64>,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallState {
    /// On its way.
    #[default]
    Calling,
    /// A phone rings.
    Ringing,
    /// People talk.
    Answered,
}

/// What waits for a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The user.
    pub user: String,
    /// Instant messages that no phone has taken yet.
    pub messages: usize,
    /// Voice messages.
    pub voice: VoiceMessages,
}

/// Voice messages of a user, as the message lamp tells them (RFC 3842 §5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VoiceMessages {
    /// Not heard yet.
    pub new: u32,
    /// Heard and kept.
    pub old: u32,
    /// Urgent ones among the new.
    pub urgent_new: u32,
    /// Urgent ones among the old.
    pub urgent_old: u32,
}

/// Where a party of a call is to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// The number.
    pub to: String,
    /// The party that is sent.
    #[serde(default)]
    pub who: Party,
}

/// What is to be done about the recording of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordAction {
    /// Begin, if that has not been done.
    Start,
    /// Leave out what is said from now on.
    Pause,
    /// Go on.
    Resume,
    /// Complete the file.
    Stop,
}

/// As [`RecordAction`], in a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What is to be done.
    pub action: RecordAction,
}

/// A party of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Party {
    /// Who called.
    #[default]
    Caller,
    /// Who was called.
    Callee,
}

/// A conference room in which somebody is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Its name.
    pub name: String,
    /// Nobody but moderators may come.
    pub locked: bool,
    /// Only moderators are heard.
    pub lecture: bool,
    /// Since when somebody is there, in seconds since 1970.
    pub since: u64,
    /// What is said is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<RoomRecording>,
    /// Who is there, in the order of their coming.
    pub participants: Vec<RoomParticipant>,
}

/// The recording of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomRecording {
    /// The file, in the folder of recordings.
    pub name: String,
    /// What is said is left out just now.
    pub paused: bool,
}

/// Somebody in a conference room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says one thing of its own"
)]
pub struct RoomParticipant {
    /// The call, as `dialtone calls` names it.
    pub call: String,
    /// The party's name.
    pub name: String,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// It came with the moderators' PIN.
    pub moderator: bool,
    /// It is not heard, for whatever reason.
    pub muted: bool,
    /// It does not hear the others.
    pub deaf: bool,
    /// It speaks.
    pub talking: bool,
    /// What the packets that the others get call it (CSRC), once it has been heard: a browser's
    /// `getContributingSources()` has it as `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssrc: Option<u32>,
    /// It sees who speaks, or is seen when it speaks.
    #[serde(default)]
    pub video: bool,
    /// It speaks loudest, or was the last who did.
    pub active: bool,
}

/// What may be done in a conference room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Moderation {
    /// Somebody, or all who are no moderators, are not heard.
    Mute,
    /// They are heard again.
    Unmute,
    /// They do not hear the others.
    Deafen,
    /// They hear them again.
    Undeafen,
    /// They are thrown out.
    Kick,
    /// Nobody but moderators may come.
    Lock,
    /// Everybody may come.
    Unlock,
    /// Only moderators are heard.
    Lecture,
    /// Everybody is heard.
    Discuss,
    /// What is said in the room is recorded.
    Record,
    /// What is said is left out of the recording.
    Pause,
    /// It is recorded again.
    Resume,
    /// The recording is complete.
    Stop,
}

/// Who is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Concerned {
    /// The call; none: all who are no moderators.
    pub call: Option<String>,
}

/// The configuration was read again and is in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// How many users there are now.
    pub users: usize,
    /// What works but is odd.
    pub warnings: Vec<Problem>,
    /// Changed settings that need a new start to take effect.
    pub restart: Vec<String>,
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// In one sentence.
    pub error: String,
    /// In detail, if a configuration was at fault. What ran before still runs.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub problems: Vec<Problem>,
    /// What is meant is there, but its state forbids the request (RFC 9110 §15.5.10).
    #[serde(skip)]
    pub conflict: bool,
}

impl Refusal {
    /// A refusal without details.
    #[must_use]
    pub fn new(error: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            problems: Vec::new(),
            conflict: false,
        }
    }

    /// A refusal because of the state of what is meant.
    #[must_use]
    pub fn conflict(error: impl Into<String>) -> Self {
        Self {
            conflict: true,
            ..Self::new(error)
        }
    }
}
