//! What a stream's packets carry, and what their arrival tells.

use std::time::Duration;

/// Octets of one packet: RTP header and 20 ms of G.711.
pub(super) const PACKET: usize = HEADER + 160;

const HEADER: usize = 12;

/// Says that a payload is ours.
const MAGIC: [u8; 4] = *b"dtRT";

/// A-law silence.
const SILENCE: u8 = 0xd5;

/// PCMA (RFC 3551 §6).
const PAYLOAD_TYPE: u8 = 8;

/// Sends numbered, dated packets, and judges those of its partner.
#[derive(Debug)]
pub(super) struct Stream {
    /// Its number; that of its partner differs in the lowest bit.
    number: u32,
    packet: [u8; PACKET],
    pub(super) sent: u32,
    pub(super) seen: Arrivals,
}

/// What has arrived of a stream.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Arrivals {
    /// Different packets.
    pub(super) received: u64,
    /// Packets that came after one sent later.
    pub(super) reordered: u64,
    /// Packets that came again.
    pub(super) duplicated: u64,
    /// Packets that are not our partner's.
    pub(super) foreign: u64,
    /// The number behind the highest that has come.
    next: u32,
    /// Which of the 64 packets before `next` have come, the latest in the lowest bit.
    recent: u64,
}

impl Stream {
    pub(super) fn new(number: u32) -> Self {
        let mut packet = [SILENCE; PACKET];
        packet[0] = 0x80;
        packet[1] = PAYLOAD_TYPE;
        packet[8..12].copy_from_slice(&(0x6c6f_0000 ^ number).to_be_bytes());
        packet[12..16].copy_from_slice(&MAGIC);
        packet[16..20].copy_from_slice(&number.to_be_bytes());
        Self {
            number,
            packet,
            sent: 0,
            seen: Arrivals::default(),
        }
    }

    /// The next packet, sent at `at` since the run began.
    pub(super) fn next(&mut self, at: Duration) -> &[u8] {
        let number = self.sent;
        self.sent += 1;
        self.packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
        self.packet[4..8].copy_from_slice(&number.wrapping_mul(160).to_be_bytes());
        self.packet[20..24].copy_from_slice(&number.to_be_bytes());
        self.packet[24..32].copy_from_slice(&(at.as_nanos() as u64).to_be_bytes());
        &self.packet
    }

    /// Takes a packet that came at `at`; returns how long it took if it is a good one.
    pub(super) fn receive(&mut self, packet: &[u8], at: Duration) -> Option<Duration> {
        let Some((number, sent)) = read(packet, self.number ^ 1) else {
            self.seen.foreign += 1;
            return None;
        };
        self.seen.count(number).then(|| at.saturating_sub(sent))
    }
}

impl Arrivals {
    /// Counts packet `number`; `false` if it has come before.
    fn count(&mut self, number: u32) -> bool {
        if number >= self.next {
            let ahead = number - self.next + 1;
            self.recent = self.recent.checked_shl(ahead).unwrap_or(0) | 1;
            self.next = number + 1;
            self.received += 1;
            return true;
        }
        let bit = 1u64.checked_shl(self.next - 1 - number).unwrap_or(0);
        // One that is too late to be remembered counts as late, not as repeated.
        if self.recent & bit != 0 {
            self.duplicated += 1;
            return false;
        }
        self.recent |= bit;
        self.reordered += 1;
        self.received += 1;
        true
    }
}

/// Number and time of sending, if the packet is one of `sender`'s.
fn read(packet: &[u8], sender: u32) -> Option<(u32, Duration)> {
    let word = |at: usize| Some(u32::from_be_bytes(packet.get(at..at + 4)?.try_into().ok()?));
    let is_ours = packet.len() == PACKET
        && packet[0] >> 6 == 2
        && packet[1] & 0x7f == PAYLOAD_TYPE
        && packet[12..16] == MAGIC
        && word(16)? == sender;
    let nanos = u64::from_be_bytes(packet.get(24..32)?.try_into().ok()?);
    is_ours.then_some((word(20)?, Duration::from_nanos(nanos)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn pair() -> (Stream, Stream) {
        (Stream::new(6), Stream::new(7))
    }

    #[test]
    fn a_packet_tells_how_long_it_took() {
        let (mut a, mut b) = pair();
        let packet = a.next(10 * MS).to_vec();
        assert_eq!(packet.len(), 172);
        assert_eq!(b.receive(&packet, 13 * MS), Some(3 * MS));
        assert_eq!(b.seen.received, 1);
    }

    #[test]
    fn loss_repetition_and_disorder_are_told_apart() {
        let (mut a, mut b) = pair();
        let packets: Vec<Vec<u8>> = (0..5).map(|_| a.next(MS).to_vec()).collect();
        for index in [0, 2, 1, 2, 4] {
            b.receive(&packets[index], MS);
        }
        let seen = b.seen;
        assert_eq!((seen.received, seen.reordered, seen.duplicated), (4, 1, 1));
        assert_eq!(u64::from(a.sent) - seen.received, 1);
    }

    #[test]
    fn a_packet_of_another_call_is_foreign() {
        let (mut a, _) = pair();
        let mut stranger = Stream::new(9);
        assert_eq!(stranger.receive(a.next(MS), MS), None);
        assert_eq!(stranger.receive(b"short", MS), None);
        assert_eq!(stranger.seen.foreign, 2);
    }

    #[test]
    fn a_gap_of_more_than_the_memory_is_only_loss() {
        let mut seen = Arrivals::default();
        assert!(seen.count(0));
        assert!(seen.count(1000));
        assert!(seen.count(1));
        assert_eq!((seen.received, seen.reordered), (3, 1));
    }
}
