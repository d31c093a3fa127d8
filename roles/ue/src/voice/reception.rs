//! What the network does to what is heard.

use rtp::{Header, Jitter, Sequence};

/// Loss and jitter of the stream that comes; of several, one after the other, all losses and the jitter of the last.
///
/// # Source
/// RFC 3550 §6.4.1
#[derive(Debug)]
pub struct Reception {
    /// Ticks of the RTP clock in a millisecond.
    clock: u32,
    stream: Option<(u32, Sequence)>,
    jitter: Jitter,
    worst: u32,
    packets: u64,
    /// Of streams that are over.
    lost_before: u64,
}

impl Reception {
    pub(super) fn new(clock: u32) -> Self {
        Self {
            clock: (clock / 1000).max(1),
            stream: None,
            jitter: Jitter::default(),
            worst: 0,
            packets: 0,
            lost_before: 0,
        }
    }

    /// Counts a packet that came after so many milliseconds. Only one of sound tells of the jitter: a telephone
    /// event keeps its timestamp.
    pub(super) fn note(&mut self, header: &Header, is_sound: bool, now_ms: u64) {
        let (ssrc, first) = (header.ssrc, header.sequence);
        if self.stream.is_none_or(|(known, _)| known != ssrc) {
            self.lost_before = self.lost();
            self.stream = Some((ssrc, Sequence::new(first)));
            self.jitter = Jitter::default();
        }
        if let Some((_, sequence)) = &mut self.stream {
            sequence.update(header.sequence);
        }
        self.packets += 1;
        if is_sound {
            let arrival = (now_ms as u32).wrapping_mul(self.clock);
            self.jitter.update(arrival, header.timestamp);
            self.worst = self.worst.max(self.jitter.estimate());
        }
    }

    /// Packets that came.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Packets that did not.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let current = self.stream.map_or(0, |(_, sequence)| sequence.lost());
        self.lost_before + current
    }

    /// The share of packets that did not come, 0 to 1.
    #[must_use]
    pub fn loss(&self) -> f32 {
        let (lost, all) = (self.lost(), self.lost() + self.packets);
        lost as f32 / all.max(1) as f32
    }

    /// Interarrival jitter in milliseconds: the last estimate, and the worst.
    #[must_use]
    pub fn jitter_ms(&self) -> (f32, f32) {
        let clock = self.clock as f32;
        (
            self.jitter.estimate() as f32 / clock,
            self.worst as f32 / clock,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(n: u32, ssrc: u32) -> Header {
        Header {
            ssrc,
            sequence: n as u16,
            timestamp: n * 160,
            ..Header::default()
        }
    }

    /// RFC 3550 §6.4.1: what is missing is lost, and what comes unevenly has jitter.
    #[test]
    fn rfc3550_6_4_1_losses_and_jitter_of_what_is_heard() {
        let mut reception = Reception::new(8000);
        (0..100).for_each(|n| reception.note(&header(n, 7), true, u64::from(n) * 20));
        assert_eq!((reception.packets(), reception.lost()), (100, 0));
        assert_eq!(reception.jitter_ms(), (0.0, 0.0));
        let late = |n: u32| u64::from(n) * 20 + u64::from(n % 2) * 10;
        (105..200).for_each(|n| reception.note(&header(n, 7), true, late(n)));
        assert_eq!((reception.packets(), reception.lost()), (195, 5));
        assert!((reception.loss() - 0.025).abs() < 1e-6);
        let (jitter, worst) = reception.jitter_ms();
        assert!(
            (8.0..=10.5).contains(&jitter) && worst >= jitter,
            "{jitter} {worst}"
        );
        // Another source begins anew, and what the first has lost stays lost.
        reception.note(&header(9000, 8), true, 0);
        assert_eq!((reception.lost(), reception.jitter_ms().0), (5, 0.0));
    }
}
