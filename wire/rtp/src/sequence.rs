//! Extended sequence numbers, loss and jitter of one source.

/// Follows the sequence numbers of one receiving direction and counts what is missing.
///
/// A source that starts again (a new SSRC, or sequence numbers that jump and then go on from
/// there) begins a new run; losses of earlier runs are kept.
///
/// # Source
/// RFC 3550 appendix A.1, A.3. Probation is left to the code that decides whom to listen to.
#[derive(Clone, Copy, Debug)]
pub struct Sequence {
    /// First extended sequence number of this run.
    base: u64,
    /// Highest extended sequence number of this run.
    highest: u64,
    /// Packets received in this run.
    received: u64,
    /// Losses of earlier runs.
    lost_before: u64,
    /// Where the sequence would continue if the last jump was a restart.
    restart: Option<u16>,
    /// `expected` and `received` when [`fraction_lost`](Self::fraction_lost) was last asked.
    prior: (u64, u64),
}

impl Sequence {
    /// Starts with `first` as the next number to come.
    #[must_use]
    pub const fn new(first: u16) -> Self {
        // One cycle up, so that a packet from before the first has a place below it.
        let base = CYCLE + first as u64;
        Self {
            base,
            highest: base - 1,
            received: 0,
            lost_before: 0,
            restart: None,
            prior: (0, 0),
        }
    }

    /// Counts a packet with sequence number `sequence` in.
    pub fn update(&mut self, sequence: u16) -> Arrival {
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead == 0 || ahead > u16::MAX - MAX_MISORDER {
            self.received += 1;
            return Arrival::Late;
        }
        if ahead >= MAX_DROPOUT {
            return self.jump(sequence);
        }
        self.restart = None;
        self.highest += u64::from(ahead);
        self.received += 1;
        match ahead {
            1 => Arrival::InOrder,
            _ => Arrival::Gap(ahead - 1),
        }
    }

    /// Somebody else has counted `received` packets in, up to the extended number `highest`.
    pub fn advance(&mut self, highest: u64, received: u64) {
        self.highest = self.highest.max(highest);
        self.received += received;
        self.restart = None;
    }

    /// The highest number of this run, extended by the count of cycles: what [`advance`](Self::advance) goes on
    /// from.
    #[must_use]
    pub const fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether a packet with this number would be a [`Jump`](Arrival::Jump).
    #[must_use]
    pub const fn is_far(&self, sequence: u16) -> bool {
        let ahead = sequence.wrapping_sub(self.highest as u16);
        ahead >= MAX_DROPOUT && ahead <= u16::MAX - MAX_MISORDER
    }

    /// Begins a new run whose next number is `first`: the source has another SSRC.
    pub fn restart(&mut self, first: u16) {
        let lost_before = self.lost();
        *self = Self {
            lost_before,
            ..Self::new(first)
        };
    }

    /// Packets missing so far, late ones subtracted, over all runs.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost_before + self.expected().saturating_sub(self.received)
    }

    /// Highest sequence number of this run, extended by the count of cycles, as reports carry it.
    #[must_use]
    pub fn extended_highest(&self) -> u32 {
        self.highest.wrapping_sub(CYCLE) as u32
    }

    /// The share of packets lost since the last call, in 1/256.
    pub fn fraction_lost(&mut self) -> u8 {
        let expected = self.expected() - self.prior.0;
        let received = self.received - self.prior.1;
        self.prior = (self.expected(), self.received);
        match expected.saturating_sub(received) {
            0 => 0,
            lost => (lost * 256 / expected).min(255) as u8,
        }
    }

    fn expected(&self) -> u64 {
        self.highest + 1 - self.base
    }

    /// A large jump is noise, unless the next packet continues from it.
    fn jump(&mut self, sequence: u16) -> Arrival {
        if self.restart == Some(sequence) {
            self.restart(sequence.wrapping_sub(1));
            self.highest += 2;
            self.received = 2;
            return Arrival::Restart;
        }
        self.restart = Some(sequence.wrapping_add(1));
        Arrival::Jump
    }
}

/// How a packet relates to those before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// The next one.
    InOrder,
    /// This many are missing before it.
    Gap(u16),
    /// Older than the newest: out of order or a duplicate.
    Late,
    /// Far off; not counted unless the next one goes on from here.
    Jump,
    /// The second packet after a jump: the source has started again.
    Restart,
}

/// Interarrival jitter of one source.
///
/// # Source
/// RFC 3550 §6.4.1, appendix A.8
#[derive(Clone, Copy, Debug, Default)]
pub struct Jitter {
    transit: Option<u32>,
    /// Sixteen times the estimate.
    scaled: u32,
}

impl Jitter {
    /// Goes on from sixteen times an estimate, as [`scaled`](Self::scaled) tells it. The next packet is compared with
    /// none.
    #[must_use]
    pub const fn resumed(scaled: u32) -> Self {
        Self {
            transit: None,
            scaled,
        }
    }

    /// Sixteen times the estimate.
    #[must_use]
    pub const fn scaled(&self) -> u32 {
        self.scaled
    }

    /// Counts a packet in. `arrival` and `timestamp` are in units of the RTP clock.
    pub fn update(&mut self, arrival: u32, timestamp: u32) {
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(last) = self.transit.replace(transit) {
            let distance = (transit.wrapping_sub(last) as i32).unsigned_abs();
            // A clock that was set anew is no jitter.
            if distance < 1 << 20 {
                self.scaled = self.scaled + distance - ((self.scaled + 8) >> 4);
            }
        }
    }

    /// The estimate, in units of the RTP clock.
    #[must_use]
    pub fn estimate(&self) -> u32 {
        self.scaled >> 4
    }
}

/// A step forward of this size or more is not loss.
const MAX_DROPOUT: u16 = 3000;
/// A step back of up to this size is misordering.
const MAX_MISORDER: u16 = 100;
const CYCLE: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 3550 appendix A.1, A.3.
    #[test]
    fn gaps_count_as_lost_until_the_late_ones_come() {
        let mut sequence = Sequence::new(65534);
        assert_eq!(sequence.update(65534), Arrival::InOrder);
        assert_eq!(sequence.update(2), Arrival::Gap(3));
        assert_eq!(sequence.lost(), 3);
        assert_eq!(sequence.update(0), Arrival::Late);
        assert_eq!(sequence.lost(), 2);
        assert_eq!(sequence.extended_highest(), 65536 + 2);
    }

    /// RFC 3550 appendix A.1.
    #[test]
    fn a_lone_jump_is_ignored_and_a_restart_followed() {
        let mut sequence = Sequence::new(100);
        sequence.update(100);
        assert_eq!(sequence.update(40_000), Arrival::Jump);
        assert_eq!(sequence.update(101), Arrival::InOrder);
        assert_eq!(sequence.update(40_000), Arrival::Jump);
        assert_eq!(sequence.update(40_001), Arrival::Restart);
        assert_eq!(sequence.update(40_002), Arrival::InOrder);
        assert_eq!(sequence.lost(), 0);
    }

    #[test]
    fn losses_survive_a_restart() {
        let mut sequence = Sequence::new(1);
        sequence.update(1);
        sequence.update(5);
        sequence.restart(9000);
        sequence.update(9000);
        assert_eq!(sequence.lost(), 3);
    }

    /// RFC 3550 appendix A.3.
    #[test]
    fn the_fraction_is_of_the_interval() {
        let mut sequence = Sequence::new(0);
        (0..50).for_each(|n| _ = sequence.update(n * 2));
        // The run ends at 98: 99 expected, 50 received.
        assert_eq!(sequence.fraction_lost(), (49 * 256 / 99) as u8);
        (99..120).for_each(|n| _ = sequence.update(n));
        assert_eq!(sequence.fraction_lost(), 0);
    }

    /// RFC 3550 appendix A.8.
    #[test]
    fn steady_transit_is_no_jitter() {
        let mut jitter = Jitter::default();
        (0..100u32).for_each(|n| jitter.update(n * 160 + 7, n * 160));
        assert_eq!(jitter.estimate(), 0);
        (100..400u32).for_each(|n| jitter.update(n * 160 + 80 * (n & 1), n * 160));
        assert!((70..=80).contains(&jitter.estimate()), "{jitter:?}");
    }

    proptest! {
        #[test]
        fn lost_is_what_was_dropped(first: u16, kept in prop::collection::vec(prop::bool::weighted(0.8), 1..2000)) {
            let mut sequence = Sequence::new(first);
            let mut last = 0;
            sequence.update(first);
            for (n, _) in kept.iter().enumerate().filter(|(_, kept)| **kept) {
                last = n + 1;
                sequence.update(first.wrapping_add(last as u16));
            }
            let dropped = kept[..last].iter().filter(|kept| !**kept).count();
            prop_assert_eq!(sequence.lost(), dropped as u64);
        }

        #[test]
        fn any_order_keeps_its_sums(first: u16, numbers in prop::collection::vec(any::<u16>(), 0..500)) {
            let mut sequence = Sequence::new(first);
            for number in numbers {
                sequence.update(number);
                let _ = (sequence.lost(), sequence.fraction_lost(), sequence.extended_highest());
            }
        }
    }
}
