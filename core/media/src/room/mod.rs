//! Conference rooms: each participant hears all others and not itself.
//!
//! A room is spread over the workers that its participants' sessions live in. Each worker has a
//! [`mixer::Mixer`] with its own participants and a turn of the clock each 20 ms:
//!
//! 1. Each [`seat::Seat`] takes from its jitter buffer what is due and decodes it, unless it is
//!    muted.
//! 2. Those who speak, at most the [`MOST_SPEAKERS`] loudest of the worker, are added up at the rate
//!    of the best codec in the room. Who begins or ends is faded.
//! 3. The sum goes to the other workers by the [`exchange`], and theirs of the turn before are added.
//!    Nobody waits for anybody.
//! 4. Who did not speak hears the sum: it is encoded once for each codec and packet length
//!    ([`line`](mod@line)). Who spoke gets a stream of its own, without its voice.
//!
//! Who comes or goes is announced ([`herald`]), by the name that it has said ([`name`]) if that is wanted.
//!
//! Pictures are passed on as they are: [`video`].
//!
//! So a listener costs the receiving, decoding and sending of a packet, and a hundred participants
//! cost little more than a hundred calls.

mod chime;
mod claims;
mod control;
mod exchange;
mod herald;
mod line;
mod mixer;
mod name;
mod seat;
mod tape;
mod video;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use exchange::Exchange;
pub(crate) use mixer::Mixer;
pub(crate) use seat::Seat;
pub(crate) use video::Screen;
pub use video::{VideoCodec, VideoFormat};

use crate::mailbox::Mailbox;

/// Names a conference room. It exists while somebody is in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RoomId(pub u64);

/// What a participant may say and hear.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Participant {
    /// The others do not hear it.
    pub muted: bool,
    /// It does not hear the others, but silence.
    pub deaf: bool,
    /// How much louder it is for the others, in decibels; −40 to 20 count.
    pub gain: i8,
    /// A sound tells the others when it comes and goes.
    pub announced: bool,
    /// It says its name: nobody hears it, and it is announced with that name when this is over. At most five
    /// seconds count.
    pub naming: bool,
}

/// What the parts of all rooms tell each other by.
#[derive(Debug)]
pub(crate) struct Rooms {
    /// Locked when the first participant of a worker comes, never for a packet.
    open: Mutex<HashMap<RoomId, Weak<Exchange>>>,
    workers: usize,
    bells: Arc<Bells>,
}

/// How workers are told that there are pictures for them.
pub(crate) type Bells = OnceLock<Arc<[Arc<Mailbox>]>>;

impl Rooms {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            open: Mutex::default(),
            workers,
            bells: Arc::default(),
        }
    }

    /// Tells how to reach the workers, once they are there.
    pub(crate) fn connect(&self, workers: &Arc<[Arc<Mailbox>]>) {
        // There is one set of workers.
        let _ = self.bells.set(Arc::clone(workers));
    }

    /// The room's exchange, which is made if nobody is there yet.
    fn enter(&self, id: RoomId) -> Arc<Exchange> {
        // Each statement leaves the map whole.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, exchange| exchange.strong_count() > 0);
        if let Some(exchange) = open.get(&id).and_then(Weak::upgrade) {
            return exchange;
        }
        let exchange = Arc::new(Exchange::new(self.workers, Arc::clone(&self.bells)));
        open.insert(id, Arc::downgrade(&exchange));
        exchange
    }
}

/// Voices of one worker that are heard at once; of more, the loudest.
const MOST_SPEAKERS: usize = 8;
/// Turns of a room in a second.
const TURNS: u32 = 50;
/// Milliseconds of a turn.
const TURN_MS: u8 = 20;
/// Samples of a turn at the highest rate.
const MOST_SAMPLES: usize = 960;
