//! What a run found.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::callee::Seen;
use super::media::MediaReport;
use super::{Job, Percentiles, Tally};

/// What a run found.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was done.
    pub job: Job,
    /// How long it took, registrations at the start left out.
    pub elapsed: Duration,
    /// Operations started.
    pub started: u64,
    /// Operations that came to their good end.
    pub ok: u64,
    /// Operations that failed.
    pub failed: u64,
    /// Failures by reason, with their number.
    pub failures: Vec<(String, u64)>,
    /// Requests sent again because no answer came in time.
    pub retransmissions: u64,
    /// Messages that belong to nothing of ours.
    pub strays: u64,
    /// From an operation's first request to its end, the time that a call was held left out.
    pub latency: Percentiles,
    /// From INVITE to 200; calls only.
    pub answer: Option<Percentiles>,
    /// What the called party saw; calls only.
    pub callee: Option<Seen>,
    /// What the RTP streams saw.
    pub media: Option<MediaReport>,
}

impl Report {
    pub(super) fn new(job: Job, tally: &Tally, elapsed: Duration, callee: Option<Seen>) -> Self {
        let failures = tally.failures.iter();
        Self {
            job,
            elapsed,
            started: tally.started,
            ok: tally.ok,
            failed: tally.failed(),
            failures: failures
                .map(|(failure, count)| (failure.to_string(), *count))
                .collect(),
            retransmissions: tally.retransmissions,
            strays: tally.strays,
            latency: tally.latency.percentiles(),
            answer: (tally.answer.count() > 0).then(|| tally.answer.percentiles()),
            callee,
            media: None,
        }
    }

    /// Operations that neither succeeded nor failed before the run ended.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.started - self.ok - self.failed
    }

    /// Good operations in a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.ok as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Whether everything that was started came to its good end, and no packet was lost.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.started == self.ok && self.media.as_ref().is_none_or(MediaReport::is_clean)
    }

    /// The report as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = format!(
            r#"{{"job":"{}","seconds":{:.3},"rate":{:.1},"started":{},"ok":{},"failed":{},"unfinished":{},"retransmissions":{},"strays":{}"#,
            self.job,
            self.elapsed.as_secs_f64(),
            self.rate(),
            self.started,
            self.ok,
            self.failed,
            self.unfinished(),
            self.retransmissions,
            self.strays
        );
        let failures = self.failures.iter();
        // Reasons are our own words and standard phrases: nothing to escape.
        let failures: Vec<String> = failures
            .map(|(reason, count)| format!(r#""{reason}":{count}"#))
            .collect();
        // Writing to a string does not fail.
        let _ = write!(
            json,
            r#","failures":{{{}}},"latency_us":{}"#,
            failures.join(","),
            self.latency.to_json()
        );
        if let Some(answer) = &self.answer {
            let _ = write!(json, r#","answer_us":{}"#, answer.to_json());
        }
        if let Some(seen) = &self.callee {
            let _ = write!(json, r#","callee":{}"#, seen.to_json());
        }
        if let Some(media) = &self.media {
            let _ = write!(json, r#","media":{}"#, media.to_json());
        }
        json.push('}');
        json
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed = self.elapsed.as_secs_f64();
        writeln!(f, "{:<16}{}", "job", self.job)?;
        writeln!(f, "{:<16}{elapsed:.3} s", "time")?;
        writeln!(f, "{:<16}{} ({:.1}/s)", "ok", self.ok, self.rate())?;
        writeln!(f, "{:<16}{}", "failed", self.failed)?;
        for (reason, count) in &self.failures {
            writeln!(f, "{:<16}  {count} × {reason}", "")?;
        }
        writeln!(f, "{:<16}{}", "unfinished", self.unfinished())?;
        writeln!(f, "{:<16}{}", "retransmissions", self.retransmissions)?;
        writeln!(f, "{:<16}{}", "strays", self.strays)?;
        writeln!(f, "{:<16}{}", "latency", self.latency)?;
        if let Some(answer) = &self.answer {
            writeln!(f, "{:<16}{answer}", "answer delay")?;
        }
        if let Some(seen) = &self.callee {
            writeln!(f, "{:<16}{seen}", "callee")?;
        }
        match &self.media {
            Some(media) => write!(f, "{media}"),
            None => Ok(()),
        }
    }
}

impl Seen {
    fn to_json(self) -> String {
        let Self {
            invites,
            acks,
            byes,
            retransmissions,
            unconfirmed,
        } = self;
        format!(
            r#"{{"invites":{invites},"acks":{acks},"byes":{byes},"retransmissions":{retransmissions},"unconfirmed":{unconfirmed}}}"#
        )
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} INVITE, {} ACK, {} BYE, {} × 200 sent again, {} never confirmed",
            self.invites, self.acks, self.byes, self.retransmissions, self.unconfirmed
        )
    }
}
