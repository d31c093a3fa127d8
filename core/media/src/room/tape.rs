//! What is said in a room, for a file.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use codec::{Codec, Parameters};
use rtp::{HEADER_LEN, Header};

use super::{MOST_SAMPLES, Mixer, RoomId};
use crate::record::{Recording, Start, Tap};
use crate::sessions::Sessions;
use crate::{Event, Payload, PayloadKind, SessionId};

/// The recording of a room. Whichever worker is there first records, and another one when it leaves;
/// the file is complete when nobody is there any more.
#[derive(Debug, Default)]
pub(super) struct Taping {
    /// Locked when the recording begins, pauses or ends, never in a turn.
    tap: Mutex<Option<Tap>>,
    /// How often that has changed.
    changes: AtomicU64,
    /// The worker that records, counted from 1; 0: none.
    by: AtomicUsize,
}

impl Taping {
    /// Records by `tap` from now on, or no more.
    fn set(&self, tap: Option<Tap>) {
        *self.tap.lock().unwrap_or_else(PoisonError::into_inner) = tap;
        self.changes.fetch_add(1, Ordering::Release);
    }

    fn tap(&self) -> Option<Tap> {
        let tap = self.tap.lock().unwrap_or_else(PoisonError::into_inner);
        tap.clone()
    }

    /// Whether it is `worker` that records; it is, if nobody else does.
    fn is_by(&self, worker: usize) -> bool {
        let (now, ours) = (self.by.load(Ordering::Relaxed), worker + 1);
        let claim = || {
            let claimed = self
                .by
                .compare_exchange(0, ours, Ordering::Relaxed, Ordering::Relaxed);
            claimed.is_ok()
        };
        now == ours || now == 0 && claim()
    }

    /// `worker` has left the room.
    pub(super) fn leave(&self, worker: usize) {
        let _ = self
            .by
            .compare_exchange(worker + 1, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// How a worker records a room.
#[derive(Debug)]
pub(super) struct Reel {
    /// Changes that it has seen.
    changes: u64,
    tap: Option<Tap>,
    header: Header,
    packet: Box<[u8]>,
}

impl Reel {
    pub(super) fn new() -> Self {
        Self {
            changes: 0,
            tap: None,
            header: Header::default(),
            packet: vec![0; HEADER_LEN + 2 * MOST_SAMPLES].into(),
        }
    }

    /// Records what was said in a turn, if that is this worker's task.
    pub(super) fn turn(&mut self, taping: &Taping, worker: usize, pcm: &[i16], now: u64) {
        if !taping.is_by(worker) {
            (self.changes, self.tap) = (0, None);
            return;
        }
        let changes = taping.changes.load(Ordering::Acquire);
        if std::mem::replace(&mut self.changes, changes) != changes {
            self.tap = taping.tap();
            self.header.ssrc = worker as u32 + 1;
        }
        let Some(tap) = &self.tap else { return };
        let samples = pcm.len();
        let rate = samples as u32 * super::TURNS;
        let number = RATES.iter().find(|(_, known)| *known == rate);
        let Some((number, _)) = number else { return };
        self.header.payload_type = *number;
        let packet = &mut self.packet[..HEADER_LEN + 2 * samples];
        self.header.encode(packet);
        let (octets, _) = packet[HEADER_LEN..].as_chunks_mut();
        for (octets, sample) in octets.iter_mut().zip(pcm) {
            *octets = sample.to_be_bytes();
        }
        tap.copy(packet, true, now);
        self.header.sequence = self.header.sequence.wrapping_add(1);
        self.header.timestamp = self.header.timestamp.wrapping_add(samples as u32);
    }
}

impl Sessions {
    /// [`Command::RecordRoom`](crate::Command::RecordRoom).
    pub(crate) fn record_room(
        &mut self,
        session: SessionId,
        room: RoomId,
        recording: Option<Recording>,
        now: u64,
    ) -> Option<Event> {
        let mixer = self.mixers.iter().find(|(_, mixer)| mixer.id == room);
        let taping = mixer.map(|(_, mixer)| &mixer.exchange.taping);
        let Some(recording) = recording else {
            taping?.set(None);
            return None;
        };
        let name = recording.name.clone();
        let failed = |error: &str| {
            Some(Event::Recorded {
                session,
                name,
                milliseconds: 0,
                error: Some(error.into()),
            })
        };
        let Some(taping) = taping else {
            return failed("nobody is in the room");
        };
        let start = Start {
            session,
            recording: Recording {
                mono: true,
                sides: [true, false],
                ..recording
            },
            payloads: [RATES.map(sound).to_vec(), Vec::new()],
            epoch: self.epoch,
            now,
        };
        match self.recorder.record(start) {
            None => failed("too many recordings begin at once"),
            some => {
                taping.set(some);
                None
            }
        }
    }

    /// [`Command::PauseRoom`](crate::Command::PauseRoom).
    pub(crate) fn pause_room(&self, room: RoomId, paused: bool) {
        let mixer = self.mixers.iter().find(|(_, mixer)| mixer.id == room);
        let tap = mixer.and_then(|(_, mixer)| mixer.exchange.taping.tap());
        if let Some(tap) = tap {
            tap.pause(paused);
        }
    }
}

impl Mixer {
    /// Records what everybody hears who does not speak.
    pub(super) fn record(&mut self, now: u64) {
        let taping = &self.exchange.taping;
        self.reel.turn(taping, self.worker, &self.whole, now);
    }
}

/// The sound of a room as the recorder knows it.
fn sound((number, rate): (u8, u32)) -> Payload {
    let codec = Codec::L16 { rate, channels: 1 };
    Payload {
        number,
        kind: PayloadKind::Codec(codec, Parameters::default()),
        ptime: super::TURN_MS,
    }
}

/// Payload types of the rates at which a room is mixed. The file has that of the first.
const RATES: [(u8, u32); 3] = [(97, 16_000), (96, 8000), (98, 48_000)];
