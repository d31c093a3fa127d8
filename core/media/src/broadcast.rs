//! Music on hold as a worker sends it: encoded once for all who hear it in the same format.

use std::sync::Arc;

use codec::Encoder;

use crate::encoder::Manner;
use crate::player::Turn;
use crate::sound::{Listening, Radio};

/// The music in every manner that somebody of this worker has asked for, up to [`MAX_CHANNELS`] at once.
#[derive(Debug)]
pub(crate) struct Broadcasts {
    radio: Arc<Radio>,
    channels: Vec<Channel>,
}

/// One who hears it.
#[derive(Debug)]
pub(crate) struct Listener {
    _listening: Listening,
    manner: Manner,
    /// The frame that comes next; `None` before the first one.
    next: Option<u64>,
}

impl Broadcasts {
    pub(crate) fn new(radio: Arc<Radio>) -> Self {
        Self {
            radio,
            channels: Vec::new(),
        }
    }

    /// Somebody begins to listen; `None` if that cannot be in this manner, or too many others are in use.
    pub(crate) fn listen(&mut self, manner: Manner) -> Option<Listener> {
        self.channel(&manner)?;
        Some(Listener {
            _listening: self.radio.listen(),
            manner,
            next: None,
        })
    }

    /// Writes the next packet's worth for a listener into the start of `payload`.
    pub(crate) fn next(&mut self, listener: &mut Listener, payload: &mut [u8]) -> Turn {
        let interval = u64::from(listener.manner.ptime);
        let now = self.radio.now() / interval;
        // Clocks that have drifted apart, or a worker that was held up.
        let number = listener.next.filter(|n| n.abs_diff(now) <= DRIFT);
        let number = number.unwrap_or(now);
        let radio = Arc::clone(&self.radio);
        let Some(channel) = self.channel(&listener.manner) else {
            // Others may go.
            return Turn::Wait;
        };
        let len = channel.payload(number, &radio, payload);
        if len.is_some() {
            listener.next = Some(number + 1);
        }
        len.map_or(Turn::Wait, Turn::Payload)
    }

    fn channel(&mut self, manner: &Manner) -> Option<&mut Channel> {
        let known = self.channels.iter().position(|it| it.manner == *manner);
        let at = match known {
            Some(at) => at,
            None => {
                self.make_room();
                let channel = Channel::new(manner)?;
                let free = self.channels.len() < MAX_CHANNELS;
                free.then(|| self.channels.push(channel))?;
                self.channels.len() - 1
            }
        };
        self.channels.get_mut(at)
    }

    /// Forgets what nobody has listened to for a while, if there is no place for more.
    fn make_room(&mut self) {
        if self.channels.len() >= MAX_CHANNELS {
            let now = self.radio.now();
            self.channels.retain(|channel| {
                let end = channel.next * u64::from(channel.manner.ptime);
                now.saturating_sub(end) < IDLE_MS
            });
        }
    }
}

impl Listener {
    /// Is told that so many of a hundred packets are lost on the way to it.
    pub(crate) fn expect_loss(&mut self, missed: u8) {
        if let Some(manner) = self.manner.against(missed) {
            self.manner = manner;
        }
    }
}

/// The music in one manner.
#[derive(Debug)]
struct Channel {
    manner: Manner,
    encoder: Encoder,
    pcm: Vec<i16>,
    /// The frame to encode next, and the last ones, by their numbers.
    next: u64,
    frames: [Frame; KEPT as usize],
}

#[derive(Clone, Debug, Default)]
struct Frame {
    number: Option<u64>,
    payload: Vec<u8>,
}

impl Channel {
    fn new(manner: &Manner) -> Option<Self> {
        let encoder = manner.prompter().ok()?;
        let samples = encoder.sample_rate() / 1000 * u32::from(manner.ptime);
        Some(Self {
            manner: manner.clone(),
            encoder,
            pcm: vec![0; samples as usize],
            next: 0,
            frames: Default::default(),
        })
    }

    /// Copies the frame of this number and returns its length; `None` if it is not to be had.
    fn payload(&mut self, number: u64, radio: &Radio, out: &mut [u8]) -> Option<usize> {
        if number >= self.next {
            // After a pause the encoder begins anew where the music is.
            self.next = self.next.max(number.saturating_sub(KEPT - 1));
            while self.next <= number && self.encode(radio) {}
        }
        let frame = &self.frames[(number % KEPT) as usize];
        let payload = Some(&frame.payload).filter(|_| frame.number == Some(number))?;
        out.get_mut(..payload.len())?.copy_from_slice(payload);
        Some(payload.len())
    }

    fn encode(&mut self, radio: &Radio) -> bool {
        let per_ms = (self.encoder.sample_rate() / 1000) as usize;
        let at = self.next * u64::from(self.manner.ptime);
        if !radio.read(at, per_ms, &mut self.pcm) {
            return false;
        }
        let frame = &mut self.frames[(self.next % KEPT) as usize];
        // The first time round; a packet of any codec is shorter.
        frame.payload.resize(MAX_PAYLOAD, 0);
        let len = self.encoder.encode(&self.pcm, &mut frame.payload);
        frame.number = len.is_ok().then_some(self.next);
        frame.payload.truncate(len.unwrap_or(0));
        self.next += 1;
        true
    }
}

/// Frames that are kept for listeners who are behind.
const KEPT: u64 = 16;
/// How many frames a listener may be off before it is brought back.
const DRIFT: u64 = 6;
const MAX_PAYLOAD: usize = 2048;
/// Manners in which music is encoded at once. Whoever wishes for one more hears nothing until another is free.
const MAX_CHANNELS: usize = 64;
/// How long nobody must have listened before a channel is given up, in milliseconds.
const IDLE_MS: u64 = 1000;
