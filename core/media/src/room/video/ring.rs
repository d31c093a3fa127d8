//! How the packets of who is seen reach the other workers, without a lock and without waiting.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use rtp::Header;

/// The latest packets of pictures of one worker. One thread writes, all read; a packet that is
/// overwritten while it is read is noticed and left out.
#[derive(Debug)]
pub(in crate::room) struct Ring {
    /// Packets written so far.
    head: AtomicU64,
    slots: Box<[Slot]>,
}

#[derive(Debug)]
struct Slot {
    /// The packet's number, counted from 1; 0 while it is written.
    number: AtomicU64,
    /// The session that it is of.
    source: AtomicU64,
    /// Its timestamp, sequence number, marker and length.
    head: AtomicU64,
    payload: [AtomicU64; WORDS],
}

/// A packet of pictures, but for its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shot {
    /// The session that it is of.
    pub(super) source: u64,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    /// Octets of its payload.
    pub(super) len: usize,
}

/// A packet's payload.
pub(super) type Payload = [u8; MAX_PAYLOAD];

impl Ring {
    pub(in crate::room) fn new() -> Self {
        Self {
            head: AtomicU64::new(0),
            slots: (0..SLOTS).map(|_| Slot::new()).collect(),
        }
    }

    /// Where to begin to read.
    pub(super) fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// Writes a packet of `source`; a longer one than the network takes is left out.
    pub(in crate::room) fn write(&self, source: u64, header: &Header, payload: &[u8]) {
        if payload.len() > MAX_PAYLOAD {
            return;
        }
        let shot = Shot {
            source,
            sequence: header.sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            len: payload.len(),
        };
        let number = self.head.load(Ordering::Relaxed) + 1;
        self.slots[number as usize % SLOTS].write(number, &shot, payload);
        self.head.store(number, Ordering::Release);
    }

    /// The next packet after `cursor`, which moves on; `None`: there is none. Who has fallen behind
    /// goes on with what is still there.
    pub(super) fn read(&self, cursor: &mut u64, payload: &mut Payload) -> Option<Shot> {
        loop {
            let head = self.head();
            if head <= *cursor {
                return None;
            }
            *cursor = (*cursor).max(head.saturating_sub(SLOTS as u64 - MARGIN)) + 1;
            if let Some(shot) = self.slots[*cursor as usize % SLOTS].read(*cursor, payload) {
                return Some(shot);
            }
        }
    }

    /// A packet of `source` once more, if it is still there.
    pub(super) fn find(&self, source: u64, sequence: u16, payload: &mut Payload) -> Option<Shot> {
        let head = self.head();
        let oldest = head.saturating_sub(SLOTS as u64 - MARGIN);
        let mut numbers = (oldest + 1..=head).rev();
        numbers.find_map(|number| {
            let slot = &self.slots[number as usize % SLOTS];
            let wanted = slot.source.load(Ordering::Relaxed) == source
                && Shot::decode(source, slot.head.load(Ordering::Relaxed)).sequence == sequence;
            let shot = wanted.then(|| slot.read(number, payload))??;
            (shot.source == source && shot.sequence == sequence).then_some(shot)
        })
    }
}

impl Slot {
    fn new() -> Self {
        Self {
            number: AtomicU64::new(0),
            source: AtomicU64::new(0),
            head: AtomicU64::new(0),
            payload: [const { AtomicU64::new(0) }; WORDS],
        }
    }

    fn write(&self, number: u64, shot: &Shot, payload: &[u8]) {
        // Whoever reads meanwhile sees by the number that what it has read is worth nothing.
        self.number.store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        self.source.store(shot.source, Ordering::Relaxed);
        self.head.store(shot.encode(), Ordering::Relaxed);
        for (place, octets) in self.payload.iter().zip(payload.chunks(8)) {
            let mut word = [0; 8];
            word[..octets.len()].copy_from_slice(octets);
            place.store(u64::from_ne_bytes(word), Ordering::Relaxed);
        }
        self.number.store(number, Ordering::Release);
    }

    fn read(&self, number: u64, payload: &mut Payload) -> Option<Shot> {
        if self.number.load(Ordering::Acquire) != number {
            return None;
        }
        let source = self.source.load(Ordering::Relaxed);
        let shot = Shot::decode(source, self.head.load(Ordering::Relaxed));
        let (words, _) = payload[..].as_chunks_mut();
        let words = words.iter_mut().take(shot.len.div_ceil(8));
        for (word, place) in words.zip(&self.payload) {
            *word = place.load(Ordering::Relaxed).to_ne_bytes();
        }
        fence(Ordering::Acquire);
        (self.number.load(Ordering::Relaxed) == number).then_some(shot)
    }
}

impl Shot {
    fn encode(&self) -> u64 {
        u64::from(self.timestamp) << 32
            | u64::from(self.sequence) << 16
            | u64::from(self.marker) << 15
            | self.len as u64
    }

    fn decode(source: u64, head: u64) -> Self {
        Self {
            source,
            sequence: (head >> 16) as u16,
            timestamp: (head >> 32) as u32,
            marker: head & 0x8000 != 0,
            // What is torn may say anything.
            len: (head as usize & 0x7fff).min(MAX_PAYLOAD),
        }
    }
}

/// Packets of a ring: a fifth of a second at 15 Mbit/s.
const SLOTS: usize = 256;
/// How near to being overwritten nothing is read any more.
const MARGIN: u64 = 8;
/// Octets that a packet on an Ethernet holds behind an RTP header.
const MAX_PAYLOAD: usize = 1472;
const WORDS: usize = MAX_PAYLOAD / 8;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn header(sequence: u16) -> Header {
        Header {
            sequence,
            timestamp: u32::from(sequence) * 3000,
            marker: sequence % 2 == 1,
            ..Header::default()
        }
    }

    #[test]
    fn packets_come_out_as_they_went_in() {
        let ring = Ring::new();
        let mut cursor = ring.head();
        let mut payload = [0; MAX_PAYLOAD];
        for (sequence, len) in (1..).zip([0, 1, 7, 8, 9, 1200, MAX_PAYLOAD]) {
            let sent: Vec<u8> = (0..len).map(|n| n as u8).collect();
            ring.write(5, &header(sequence), &sent);
            let shot = ring.read(&mut cursor, &mut payload).unwrap();
            assert_eq!((shot.source, shot.sequence), (5, sequence));
            assert_eq!(shot.timestamp, u32::from(sequence) * 3000);
            assert_eq!(shot.marker, sequence % 2 == 1);
            assert_eq!(payload[..shot.len], sent);
            assert_eq!(ring.read(&mut cursor, &mut payload), None);
        }
        ring.write(5, &header(100), &[0; MAX_PAYLOAD + 1]);
        assert_eq!(ring.read(&mut cursor, &mut payload), None);
    }

    #[test]
    fn what_is_still_there_is_found_again() {
        let ring = Ring::new();
        let mut payload = [0; MAX_PAYLOAD];
        (0..600).for_each(|n| ring.write(1 + u64::from(n % 2), &header(n), &[n as u8]));
        let shot = ring.find(2, 599, &mut payload).unwrap();
        assert_eq!((shot.sequence, payload[0]), (599, 599_u16 as u8));
        assert!(ring.find(1, 599, &mut payload).is_none());
        assert!(ring.find(2, 401, &mut payload).is_some());
        assert!(ring.find(2, 301, &mut payload).is_none());
        // Who was away goes on with the oldest that is left.
        let first = ring.read(&mut 0, &mut payload).unwrap();
        assert_eq!(first.sequence, 600 - (SLOTS as u16 - MARGIN as u16));
    }

    /// What is read while it is written is noticed.
    #[test]
    fn no_packet_is_torn() {
        let ring = Arc::new(Ring::new());
        let writer = Arc::clone(&ring);
        let thread = std::thread::spawn(move || {
            for n in 0..60_000u32 {
                writer.write(1, &header(n as u16), &[n as u8; 1200]);
            }
        });
        let (mut cursor, mut read) = (0, 0);
        let mut payload = [0; MAX_PAYLOAD];
        while !thread.is_finished() {
            while let Some(shot) = ring.read(&mut cursor, &mut payload) {
                let expected = shot.sequence as u8;
                assert!(payload[..shot.len].iter().all(|octet| *octet == expected));
                assert_eq!(shot.timestamp, u32::from(shot.sequence) * 3000);
                read += 1;
            }
        }
        thread.join().unwrap();
        assert!(read > 0);
    }
}
