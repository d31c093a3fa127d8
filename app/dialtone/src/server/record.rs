//! Call records as lines of JSON.

use std::sync::Arc;

use api::{Call, Sound};
use base::UnixTime;
use pbx::CallRecord;
use serde::{Serialize, Serializer};
use store::calendar::Date;

/// The line of `cdr/YYYY-MM.jsonl` for a call that ended.
pub(super) fn line(record: &CallRecord) -> String {
    let side = |side: media::Side| record.media[side.index()].into();
    write(&Line {
        call: record.call.as_str(),
        call_id: Some(&record.call_id),
        caller: &record.caller,
        number: &record.number,
        answered_by: record.answered_by.as_deref(),
        trunk_in: record.trunk_in.as_deref(),
        trunk_out: record.trunk_out.as_deref(),
        room: record.room.as_deref(),
        recordings: record.recordings.iter().map(|name| &**name).collect(),
        verstat: record.verstat.map(pbx::stir::Verstat::name),
        started: time(record.started),
        answered: record.answered.map(time),
        ended: time(record.ended),
        duration_ms: record.duration_ms,
        cause: record.cause.as_str(),
        status: Some(record.status.0),
        from_caller: Some(side(media::Side::Caller)),
        from_callee: Some(side(media::Side::Callee)),
        alarms: &record.alarms,
    })
}

/// The line for a call that a fault of ours ended: what was known of it before.
pub(super) fn line_of_lost(call: &Call, ended: UnixTime) -> String {
    let answered = call.answered.map(UnixTime);
    let seconds = answered.map_or(0, |answered| ended.0.saturating_sub(answered.0));
    write(&Line {
        call: &call.id,
        call_id: None,
        caller: &call.caller,
        number: &call.callee,
        answered_by: None,
        trunk_in: None,
        trunk_out: None,
        room: None,
        recordings: Vec::new(),
        verstat: None,
        started: time(UnixTime(call.started)),
        answered: answered.map(time),
        ended: time(ended),
        duration_ms: seconds * 1000,
        cause: "server-fault",
        status: None,
        from_caller: None,
        from_callee: None,
        alarms: &[],
    })
}

fn time(time: UnixTime) -> String {
    Date::from(time).to_string()
}

fn write(line: &Line<'_>) -> String {
    // Strings and numbers can always be written as JSON.
    serde_json::to_string(line).unwrap_or_default()
}

#[derive(Serialize)]
struct Line<'a> {
    call: &'a str,
    call_id: Option<&'a str>,
    caller: &'a str,
    number: &'a str,
    answered_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trunk_in: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trunk_out: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    recordings: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verstat: Option<&'static str>,
    started: String,
    answered: Option<String>,
    ended: String,
    duration_ms: u64,
    cause: &'a str,
    status: Option<u16>,
    from_caller: Option<Side>,
    from_callee: Option<Side>,
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "texts")]
    alarms: &'a [Arc<str>],
}

fn texts<S: Serializer>(texts: &[Arc<str>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(texts.iter().map(|text| &**text))
}

#[derive(Serialize)]
struct Side {
    octets: u64,
    rejected: u64,
    /// Packets that the party says it misses of those that it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    missed: Option<i32>,
    worst_jitter_ms: f64,
    #[serde(flatten)]
    sound: Sound,
}

/// How what a party sends sounds, in numbers that people read.
pub(super) fn sound(stats: media::SideStats) -> Sound {
    let opinion = |mos: media::Mos| f64::from(mos.hundredths()) / 100.0;
    Sound {
        packets: stats.packets,
        lost: stats.lost,
        jitter_ms: milliseconds(stats.jitter_us),
        round_trip_ms: stats.round_trip_ms,
        mos: stats.mos.map(opinion),
        worst_mos: stats.worst_mos.map(opinion),
    }
}

/// To tenths.
fn milliseconds(us: u32) -> f64 {
    f64::from(us / 100) / 10.0
}

impl From<media::SideStats> for Side {
    fn from(stats: media::SideStats) -> Self {
        Self {
            octets: stats.octets,
            rejected: stats.rejected,
            missed: stats.reported.map(|reported| reported.lost),
            worst_jitter_ms: milliseconds(stats.worst_jitter_us),
            sound: sound(stats),
        }
    }
}
