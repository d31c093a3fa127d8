//! Durations in buckets of equal relative width.

use std::fmt;
use std::time::Duration;

/// Counts durations with an error of at most 1/64 of the value, from 1 µs to over an hour, in a fixed
/// memory.
#[derive(Clone)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

impl Histogram {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buckets: vec![0; bucket(MAX_MICROS) + 1],
            count: 0,
            max: 0,
        }
    }

    /// Counts one duration; more than an hour counts as an hour.
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros())
            .unwrap_or(MAX_MICROS)
            .min(MAX_MICROS);
        self.buckets[bucket(micros)] += 1;
        self.count += 1;
        self.max = self.max.max(micros);
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The duration, in µs, that a share `quantile` (0 to 1) of all stays at or below; 0 if there are
    /// none.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> u64 {
        let rank = (quantile * self.count as f64).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank.max(1) {
                return upper(index).min(self.max);
            }
        }
        0
    }

    /// The usual summary.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        Percentiles {
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
            p999: self.quantile(0.999),
            max: self.max,
        }
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} durations, {:?}", self.count, self.percentiles())
    }
}

/// A summary of durations, in µs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Percentiles {
    /// Half of all are at or below.
    pub p50: u64,
    /// Nine of ten are at or below.
    pub p90: u64,
    /// 99 of 100 are at or below.
    pub p99: u64,
    /// 999 of 1000 are at or below.
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

impl Percentiles {
    /// The summary as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        format!(
            r#"{{"p50":{},"p90":{},"p99":{},"p999":{},"max":{}}}"#,
            self.p50, self.p90, self.p99, self.p999, self.max
        )
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p50 {} µs, p90 {} µs, p99 {} µs, p99.9 {} µs, max {} µs",
            self.p50, self.p90, self.p99, self.p999, self.max
        )
    }
}

const MAX_MICROS: u64 = 3600 * 1_000_000;

/// Values that share a power of two are split into this many buckets.
const SPLIT_BITS: u32 = 6;

fn bucket(micros: u64) -> usize {
    let shift = (u64::BITS - micros.leading_zeros()).saturating_sub(SPLIT_BITS + 1);
    ((u64::from(shift) << SPLIT_BITS) + (micros >> shift)) as usize
}

/// The largest value of a bucket.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket >> SPLIT_BITS).saturating_sub(1);
    let base = bucket - (shift << SPLIT_BITS);
    ((base + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_its_bucket() {
        let values = (0..5000).chain((0..42).map(|bit| (1 << bit) - 1));
        for value in values.filter(|value| *value <= MAX_MICROS) {
            let top = upper(bucket(value));
            assert!(top >= value && top - value <= value / 64, "{value} {top}");
            assert_eq!(bucket(top), bucket(value), "{value}");
        }
    }

    #[test]
    fn percentiles_of_a_thousand_values() {
        let mut histogram = Histogram::new();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        let found = histogram.percentiles();
        assert!((500..=508).contains(&found.p50), "{found:?}");
        assert!((990..=1000).contains(&found.p99), "{found:?}");
        assert_eq!(found.max, 1000);
    }

    #[test]
    fn nothing_recorded_is_zero() {
        assert_eq!(Histogram::new().percentiles(), Percentiles::default());
    }

    #[test]
    fn a_day_counts_as_an_hour() {
        let mut histogram = Histogram::new();
        histogram.record(Duration::from_secs(86400));
        assert_eq!(histogram.percentiles().max, MAX_MICROS);
    }
}
