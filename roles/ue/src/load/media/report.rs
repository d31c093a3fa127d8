//! What the RTP streams saw.

use std::fmt;
use std::time::Duration;

use crate::load::Percentiles;

/// What the RTP streams saw.
#[derive(Clone, Copy, Debug)]
pub struct MediaReport {
    /// Streams, two for each call.
    pub legs: usize,
    /// Packets sent.
    pub sent: u64,
    /// Different packets that arrived where they should.
    pub received: u64,
    /// Packets that did not.
    pub lost: u64,
    /// Packets that came after one sent later.
    pub reordered: u64,
    /// Packets that came again.
    pub duplicated: u64,
    /// Packets that were not the partner's.
    pub foreign: u64,
    /// Packets that the network refused because nobody listens.
    pub refused: u64,
    /// Streams of which nothing arrived.
    pub silent: usize,
    /// From sending to arrival, the generator's own waiting included.
    pub delay: Percentiles,
    /// How late packets without stamps came, compared with the one of their stream that kept its time best; all zero if
    /// there were none.
    pub pace: Percentiles,
    /// The most that the generator was late; seconds of it mean that the pace was not real.
    pub lateness: Duration,
}

impl MediaReport {
    /// Whether everything arrived, once and in order.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost + self.reordered + self.duplicated + self.foreign + self.refused == 0
    }

    pub(in crate::load) fn to_json(self) -> String {
        let Self {
            legs,
            sent,
            received,
            lost,
            reordered,
            duplicated,
            foreign,
            refused,
            silent,
            delay,
            pace: _,
            lateness,
        } = self;
        format!(
            r#"{{"legs":{legs},"sent":{sent},"received":{received},"lost":{lost},"reordered":{reordered},"duplicated":{duplicated},"foreign":{foreign},"refused":{refused},"silent":{silent},"delay_us":{},"late_us":{}}}"#,
            delay.to_json(),
            lateness.as_micros()
        )
    }
}

impl fmt::Display for MediaReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = 100.0 * self.lost as f64 / (self.sent as f64).max(1.0);
        writeln!(
            f,
            "{:<16}{} streams, {} of them silent",
            "RTP", self.legs, self.silent
        )?;
        writeln!(
            f,
            "{:<16}{} sent, {} received",
            "packets", self.sent, self.received
        )?;
        writeln!(f, "{:<16}{} ({share:.3} %)", "lost", self.lost)?;
        writeln!(
            f,
            "{:<16}{} out of order, {} repeated, {} foreign, {} refused",
            "", self.reordered, self.duplicated, self.foreign, self.refused
        )?;
        writeln!(f, "{:<16}{}", "delay", self.delay)?;
        writeln!(
            f,
            "{:<16}{} µs at most",
            "generator late",
            self.lateness.as_micros()
        )
    }
}
