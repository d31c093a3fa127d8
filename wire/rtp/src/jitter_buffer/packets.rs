//! Packets by their sequence numbers, in memory that never grows.

use crate::Header;

/// Sixty-four places for packets, and a ring of octets for their payloads.
#[derive(Clone, Debug)]
pub(super) struct Packets {
    slots: Box<[Option<Slot>; SLOTS]>,
    count: u8,
    octets: Box<[u8]>,
    /// Octets ever written, the gaps at the ring's end counted in.
    written: u64,
    /// No payload that is kept begins before this, counted like `written`.
    floor: u64,
}

/// A packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    sequence: u16,
    pub(super) timestamp: u32,
    pub(super) payload_type: u8,
    /// Where the payload begins, counted like `written`.
    start: u64,
    len: u16,
}

impl Packets {
    pub(super) fn new(octets: usize) -> Self {
        Self {
            slots: Box::new([None; SLOTS]),
            count: 0,
            octets: vec![0; octets.max(1)].into(),
            written: 0,
            floor: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Forgets all and returns how many there were.
    pub(super) fn clear(&mut self) -> u8 {
        self.slots.fill(None);
        std::mem::take(&mut self.count)
    }

    pub(super) fn holds(&self, sequence: u16) -> bool {
        self.slots[place(sequence)].is_some_and(|slot| slot.sequence == sequence)
    }

    /// Takes a packet whose place is free and returns how many others it has pushed out; `None` if
    /// it is larger than all the room there is.
    pub(super) fn put(&mut self, header: &Header, payload: &[u8]) -> Option<u8> {
        let len = u16::try_from(payload.len()).ok()?;
        let size = self.octets.len();
        if payload.len() > size {
            return None;
        }
        let mut at = (self.written % size as u64) as usize;
        if at + payload.len() > size {
            // A payload is in one piece.
            self.written += (size - at) as u64;
            at = 0;
        }
        self.octets[at..at + payload.len()].copy_from_slice(payload);
        let slot = Slot {
            sequence: header.sequence,
            timestamp: header.timestamp,
            payload_type: header.payload_type,
            start: self.written,
            len,
        };
        self.written += payload.len() as u64;
        if self.count == 0 {
            self.floor = slot.start;
        }
        let before = self.count;
        self.forget_overwritten(slot.start);
        let pushed_out = before - self.count;
        if self.slots[place(header.sequence)].replace(slot).is_none() {
            self.count += 1;
        }
        Some(pushed_out)
    }

    /// Forgets a packet; false if it was not there.
    pub(super) fn forget(&mut self, sequence: u16) -> bool {
        let held = self.holds(sequence);
        if held {
            self.slots[place(sequence)] = None;
            self.count -= 1;
        }
        held
    }

    /// The earliest packet from `next` on, and how many are missing before it.
    pub(super) fn first(&self, next: u16) -> Option<(u16, Slot)> {
        if self.count == 0 {
            return None;
        }
        (0..SLOTS as u16).find_map(|ahead| {
            let sequence = next.wrapping_add(ahead);
            let slot = self.slots[place(sequence)]?;
            (slot.sequence == sequence).then_some((ahead, slot))
        })
    }

    /// Whether all that is here still finds its place if the first is `behind` before `next`.
    pub(super) fn reaches(&self, next: u16, behind: u16) -> bool {
        let farthest = self.slots.iter().flatten();
        let farthest = farthest.map(|slot| slot.sequence.wrapping_sub(next)).max();
        u32::from(behind) + u32::from(farthest.unwrap_or(0)) < SLOTS as u32
    }

    pub(super) fn payload(&self, slot: &Slot) -> &[u8] {
        let at = (slot.start % self.octets.len() as u64) as usize;
        &self.octets[at..at + usize::from(slot.len)]
    }

    /// Forgets what the payload that begins at `newest` has been written over.
    fn forget_overwritten(&mut self, newest: u64) {
        let oldest = self.written.saturating_sub(self.octets.len() as u64);
        if self.floor >= oldest {
            return;
        }
        self.floor = newest;
        for slot in self.slots.iter_mut() {
            match slot {
                Some(kept) if kept.start < oldest => {
                    *slot = None;
                    self.count -= 1;
                }
                Some(kept) => self.floor = self.floor.min(kept.start),
                None => {}
            }
        }
    }
}

fn place(sequence: u16) -> usize {
    usize::from(sequence) % SLOTS
}

/// Packets that may wait; a newer one pushes out the oldest.
pub(super) const SLOTS: usize = 64;
