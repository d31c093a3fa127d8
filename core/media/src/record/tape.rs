//! The queue of packets from the workers to the thread that records.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;
use rtp::{Header, Packet};

use crate::Side;

/// Slots that go round: filled by the workers, emptied by the desk. Nobody waits for anybody.
#[derive(Debug)]
pub(super) struct Tape {
    empty: ArrayQueue<Box<Slot>>,
    full: ArrayQueue<Box<Slot>>,
}

/// A packet, copied.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// The number of the recording.
    pub(super) recording: u64,
    pub(super) side: Side,
    /// It is what we play to the other side instead of what this one says.
    pub(super) played: bool,
    /// When it came, in milliseconds of the worker.
    pub(super) at: u64,
    pub(super) header: Header,
    len: usize,
    payload: [u8; MAX_PAYLOAD],
}

impl Slot {
    pub(super) fn payload(&self) -> &[u8] {
        &self.payload[..self.len]
    }
}

impl Tape {
    pub(super) fn new() -> Self {
        let tape = Self {
            empty: ArrayQueue::new(SLOTS),
            full: ArrayQueue::new(SLOTS),
        };
        for _ in 0..SLOTS {
            let _ = tape.empty.push(Box::new(Slot {
                recording: 0,
                side: Side::Caller,
                played: false,
                at: 0,
                header: Header::default(),
                len: 0,
                payload: [0; MAX_PAYLOAD],
            }));
        }
        tape
    }

    /// Hands the packets that wait to `take`.
    pub(super) fn drain(&self, mut take: impl FnMut(&Slot)) {
        while let Some(slot) = self.full.pop() {
            take(&slot);
            let _ = self.empty.push(slot);
        }
    }
}

/// What worker and desk know of a recording. It ends when the worker has let go of it.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) paused: AtomicBool,
    /// Packets that found no slot.
    pub(super) lost: AtomicU64,
}

/// What copies the packets of one side.
#[derive(Clone, Debug)]
pub(crate) struct Tap {
    pub(super) tape: Arc<Tape>,
    pub(super) state: Arc<State>,
    pub(super) recording: u64,
    pub(super) side: Side,
}

impl Tap {
    /// The same for the other side.
    pub(crate) fn across(&self) -> Self {
        Self {
            side: self.side.other(),
            ..self.clone()
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.recording
    }

    pub(crate) fn pause(&self, paused: bool) {
        self.state.paused.store(paused, Ordering::Relaxed);
    }

    /// Copies an RTP packet that its side said, or that we play to it. If there is no slot it is lost,
    /// and counted.
    pub(crate) fn copy(&self, packet: &[u8], said: bool, now: u64) {
        let Ok(packet) = Packet::parse(packet) else {
            return;
        };
        let payload = packet.payload();
        if payload.len() > MAX_PAYLOAD || self.state.paused.load(Ordering::Relaxed) {
            return;
        }
        let Some(mut slot) = self.tape.empty.pop() else {
            self.state.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        slot.recording = self.recording;
        slot.side = if said { self.side } else { self.side.other() };
        slot.played = !said;
        slot.at = now;
        slot.header = packet.header();
        slot.len = payload.len();
        slot.payload[..payload.len()].copy_from_slice(payload);
        // There are no more slots than places.
        let _ = self.tape.full.push(slot);
    }
}

/// Packets that wait for the desk, which looks every 20 ms: 1000 calls' worth.
const SLOTS: usize = 4096;
/// No codec of ours makes more of 20 ms; longer packets of L16 are not recorded.
const MAX_PAYLOAD: usize = 1920;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_tape_loses_and_counts() {
        let tap = Tap {
            tape: Arc::new(Tape::new()),
            state: Arc::default(),
            recording: 7,
            side: Side::Callee,
        };
        let mut packet = [3; 172];
        Header::default().encode(&mut packet);
        for now in 0..SLOTS as u64 + 5 {
            tap.copy(&packet, now % 2 == 0, now);
        }
        assert_eq!(tap.state.lost.load(Ordering::Relaxed), 5);
        let mut next = 0;
        tap.tape.drain(|slot| {
            assert_eq!(
                (slot.at, slot.recording, slot.payload().len()),
                (next, 7, 160)
            );
            assert_eq!(slot.side == Side::Callee, next % 2 == 0);
            next += 1;
        });
        assert_eq!(next, SLOTS as u64);
        tap.pause(true);
        tap.copy(&packet, true, 0);
        tap.tape.drain(|_| panic!("a pause is not recorded"));
    }
}
