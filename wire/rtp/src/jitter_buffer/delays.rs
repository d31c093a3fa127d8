//! How much later than the fastest packets come, and how long to wait for them.

use super::{Config, Pace};

/// The delays of the last packets, the newest counting most.
#[derive(Clone, Debug)]
pub(super) struct Delays {
    bounds: (u16, u16),
    /// The share of packets with a delay of so many [`WIDTH_MS`]; all shares make 1.
    shares: Box<[f32; BUCKETS]>,
    /// Buckets from here on are empty.
    used: usize,
    target_ms: u16,
    /// The least transit of this window and of the one before, in ticks.
    least: u32,
    before: u32,
    /// When the window ends, in milliseconds.
    ends: u64,
}

impl Delays {
    pub(super) fn new(config: &Config) -> Self {
        let most = config.max_ms.min(MAX_MS);
        let bounds = (config.min_ms.min(most), most);
        let mut shares = Box::new([0.0; BUCKETS]);
        let initial = config.initial_ms.clamp(bounds.0, bounds.1);
        let bucket = usize::from(initial / WIDTH_MS).min(BUCKETS - 1);
        shares[bucket] = 1.0;
        Self {
            bounds,
            shares,
            used: bucket + 1,
            target_ms: initial,
            least: 0,
            before: 0,
            ends: 0,
        }
    }

    /// The transit of the fastest packets, in ticks.
    pub(super) fn base(&self) -> u32 {
        earlier(self.least, self.before)
    }

    /// Begins with another source; what is known of the network stays.
    pub(super) fn restart(&mut self, transit: u32, now: u64) {
        self.least = transit;
        self.before = transit;
        self.ends = now + WINDOW_MS;
    }

    /// Counts a packet in.
    pub(super) fn note(&mut self, transit: u32, clock: u32, now: u64) {
        self.turn(transit, clock, now);
        self.least = earlier(self.least, transit);
        let late = self.delay_ms(transit, clock);
        let bucket = (late.max(0) as usize / usize::from(WIDTH_MS)).min(BUCKETS - 1);
        self.used = self.used.max(bucket + 1);
        let used = &mut self.shares[..self.used];
        used.iter_mut().for_each(|s| *s *= 1.0 - NEWEST);
        used[bucket] += NEWEST;
        if let Some(last) = used.last_mut().filter(|share| **share < FORGOTTEN) {
            *last = 0.0;
            self.used -= 1;
        }
        self.aim();
    }

    pub(super) fn target_ms(&self) -> u16 {
        self.target_ms
    }

    pub(super) fn worst_ms(&self) -> u16 {
        let worst = self.shares.iter().rposition(|share| *share >= NEWEST / 2.0);
        upper(worst.unwrap_or(0)).min(self.bounds.1)
    }

    /// Whether a packet that is played now has waited for as long as it should.
    pub(super) fn is_due(&self, transit: u32, clock: u32) -> bool {
        self.delay_ms(transit, clock) >= i32::from(self.target_ms)
    }

    /// Whether a packet that is played now has waited too long whatever comes.
    pub(super) fn is_excessive(&self, transit: u32, clock: u32) -> bool {
        let delay = self.delay_ms(transit, clock);
        delay > i32::from(self.bounds.1.max(self.target_ms)) + SLACK_MS
    }

    /// How a packet of `step` ticks that is played now is best played.
    pub(super) fn pace(&self, transit: u32, clock: u32, step: u32) -> Pace {
        let surplus = self.delay_ms(transit, clock) - i32::from(self.target_ms);
        // Turns come when they come: up to a packet's length later than need be is no fault.
        let slack = (step / clock) as i32 + i32::from(WIDTH_MS);
        match surplus {
            ..-5 => Pace::Slower,
            _ if surplus > slack => Pace::Faster,
            _ => Pace::Steady,
        }
    }

    /// By how much later than the fastest packets this transit is.
    fn delay_ms(&self, transit: u32, clock: u32) -> i32 {
        transit.wrapping_sub(self.base()) as i32 / clock as i32
    }

    /// Begins a new window if it is time. If the fastest way has become longer, delays are counted
    /// from there.
    fn turn(&mut self, transit: u32, clock: u32, now: u64) {
        if now < self.ends {
            return;
        }
        let base = self.base();
        self.before = self.least;
        self.least = transit;
        self.ends = now + WINDOW_MS;
        let longer = self.delay_of(base, clock);
        self.shift(longer / usize::from(WIDTH_MS));
    }

    fn delay_of(&self, base: u32, clock: u32) -> usize {
        let longer = self.base().wrapping_sub(base) as i32 / clock as i32;
        longer.max(0) as usize
    }

    /// Makes all delays shorter by so many buckets.
    fn shift(&mut self, buckets: usize) {
        let buckets = buckets.min(BUCKETS - 1);
        if buckets > 0 {
            let gone: f32 = self.shares[..buckets].iter().sum();
            self.shares.copy_within(buckets.., 0);
            self.shares[BUCKETS - buckets..].fill(0.0);
            self.shares[0] += gone;
            self.used = self.used.saturating_sub(buckets).max(1);
        }
    }

    /// Finds the delay that saves all but a few.
    fn aim(&mut self) {
        let mut late = 0.0;
        let used = &self.shares[..self.used];
        let enough = used.iter().rposition(|share| {
            late += share;
            late > TOO_LATE
        });
        let target = match enough {
            None | Some(0) => 0,
            Some(bucket) => upper(bucket),
        };
        self.target_ms = target.clamp(self.bounds.0, self.bounds.1);
    }
}

/// The longest delay that falls into a bucket.
fn upper(bucket: usize) -> u16 {
    (bucket as u16 + 1) * WIDTH_MS
}

/// The earlier of two moments.
fn earlier(one: u32, other: u32) -> u32 {
    match (one.wrapping_sub(other) as i32) < 0 {
        true => one,
        false => other,
    }
}

/// Milliseconds of a bucket.
const WIDTH_MS: u16 = 5;
const BUCKETS: usize = 100;
/// The longest delay, in milliseconds.
const MAX_MS: u16 = 480;
/// The weight of the newest packet: the last 128 count most, 2.5 s of the usual ones.
const NEWEST: f32 = 1.0 / 128.0;
/// A share so small counts for nothing any more.
const FORGOTTEN: f32 = 1e-6;
/// The share of packets that may come too late.
const TOO_LATE: f32 = 0.02;
/// How long the fastest packet is remembered at least; twice that at most.
const WINDOW_MS: u64 = 2000;
/// By how much the longest delay may be exceeded before packets are dropped.
const SLACK_MS: i32 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_past_is_looked_at_no_more() {
        let mut delays = Delays::new(&Config::default());
        delays.restart(0, 0);
        delays.note(400 * 8, 8, 0);
        assert_eq!((delays.used, delays.worst_ms()), (81, 300));
        (1..3000).for_each(|n| delays.note(0, 8, 20 * n));
        assert_eq!((delays.used, delays.worst_ms()), (1, 5));
        delays.note(60 * 8, 8, 60_000);
        assert_eq!((delays.used, delays.worst_ms()), (13, 65));
    }
}
