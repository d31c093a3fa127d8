//! One worker's part of the pictures of a room.

use rtp::{Header, Packet};
use slab::Slab;

use super::super::Mixer;
use super::ring::{Payload, Shot};
use super::{Screen, Stage, picture::Picture};
use crate::leg::Leg;
use crate::relay::Buffer;

/// Who here sees pictures, and what is still to be shown to them.
#[derive(Debug)]
pub(in crate::room) struct View {
    /// The legs of their streams.
    screens: Vec<usize>,
    /// Where to read on, for each worker.
    cursors: Vec<u64>,
    payload: Box<Payload>,
}

impl View {
    pub(in crate::room) fn new(workers: usize) -> Self {
        Self {
            screens: Vec::new(),
            cursors: vec![0; workers],
            payload: Box::new([0; size_of::<Payload>()]),
        }
    }

    pub(in crate::room) fn is_empty(&self) -> bool {
        self.screens.is_empty()
    }
}

impl Mixer {
    /// Takes a stream of pictures in.
    pub(super) fn look_on(&mut self, key: usize, screen: &Screen) {
        if self.view.is_empty() {
            let heads = (0..self.exchange.workers()).map(|w| self.exchange.ring(w));
            self.view.cursors = heads.map(|ring| ring.map_or(0, |r| r.head())).collect();
        }
        self.view.screens.push(key);
        self.exchange.watch(self.worker, true);
        if screen.format.sends {
            self.exchange.stage.enter(screen.session);
        }
    }

    /// Lets a stream of pictures go.
    pub(super) fn look_away(&mut self, key: usize, screen: &Screen) {
        self.view.screens.retain(|one| *one != key);
        self.exchange.watch(self.worker, !self.view.is_empty());
        if screen.format.sends {
            self.exchange.stage.leave(screen.session);
        }
    }

    /// A participant begins to send pictures, or ends it.
    pub(super) fn turn_camera(&self, screen: &Screen) {
        match screen.format.sends {
            true => self.exchange.stage.enter(screen.session),
            false => self.exchange.stage.leave(screen.session),
        }
    }

    /// Takes a packet of pictures of the leg `key`, from the start of `buffer`, and shows it to all who
    /// see its participant.
    pub(crate) fn film(
        &mut self,
        legs: &mut Slab<Leg>,
        key: usize,
        (buffer, len): (&mut Buffer, usize),
        header: &Header,
        now: u64,
    ) {
        let Some(leg) = legs.get_mut(key) else { return };
        let Some(screen) = &mut leg.screen else {
            return;
        };
        let format = screen.format;
        if header.payload_type != format.payload_type || !format.sends {
            return leg.count_unexpected();
        }
        let Ok(packet) = Packet::parse(&buffer[..len]) else {
            return;
        };
        if !self.exchange.stage.shows(screen.session) {
            return;
        }
        let payload = packet.payload();
        let picture = Picture::of(format.codec, payload);
        let missing = screen.camera.note(header.sequence, picture.keyframe);
        let source = screen.session.raw();
        self.exchange
            .publish_shot(self.worker, source, header, payload);
        if let Some((first, count)) = missing.filter(|_| format.repeats) {
            leg.send_feedback(|writer, ours, theirs| writer.missing(ours, theirs, first, count));
        }
        self.show(legs, buffer, now);
    }

    /// Shows what has come since the last time, here and at other workers, but not so much at once that it
    /// would not be sent; true if there is more.
    pub(crate) fn show(&mut self, legs: &mut Slab<Leg>, buffer: &mut Buffer, now: u64) -> bool {
        let View {
            screens,
            cursors,
            payload,
        } = &mut self.view;
        if screens.is_empty() {
            return false;
        }
        let stage = &self.exchange.stage;
        let mut left = (MOST_PACKETS / screens.len()).max(1);
        for (worker, cursor) in cursors.iter_mut().enumerate() {
            let Some(ring) = self.exchange.ring(worker) else {
                continue;
            };
            while left > 0
                && let Some(shot) = ring.read(cursor, payload)
            {
                left -= 1;
                for key in &*screens {
                    let sent = (&shot, &payload[..shot.len]);
                    show(legs, *key, stage, sent, buffer, now);
                }
            }
        }
        left == 0
    }

    /// Shows what other workers have, and asks those here for keyframes that are wanted. Once in a turn.
    pub(in crate::room) fn direct(&mut self, legs: &mut Slab<Leg>, buffer: &mut Buffer, now: u64) {
        if self.view.is_empty() {
            return;
        }
        self.show(legs, buffer, now);
        let stage = &self.exchange.stage;
        for key in &self.view.screens {
            let Some(leg) = legs.get_mut(*key) else {
                continue;
            };
            let Some(screen) = &mut leg.screen else {
                continue;
            };
            screen.look(stage, now);
            let wishes = stage.wishes(screen.session);
            if screen.camera.asks(wishes, now) {
                let (intra, number) = (screen.format.intra, screen.camera.requests);
                if !leg.wish_aside() {
                    leg.send_feedback(|writer, ours, theirs| match intra {
                        true => writer.full_intra(ours, theirs, number),
                        false => writer.picture_loss(ours, theirs),
                    });
                }
            }
        }
    }

    /// A participant wants a keyframe of whom it sees.
    pub(super) fn wish(&self, screen: &Screen) {
        self.exchange.stage.wish(screen.shown());
    }

    /// Sends a participant once more what was sent to it as `sequence`, if it is still there.
    pub(super) fn repeat(&mut self, leg: &mut Leg, sequence: u16, buffer: &mut Buffer, now: u64) {
        let (Some(screen), Some(own)) = (&mut leg.screen, &mut leg.own) else {
            return;
        };
        let Some(original) = screen.original(sequence) else {
            return;
        };
        let mut rings = (0..self.exchange.workers()).filter_map(|w| self.exchange.ring(w));
        let payload = &mut self.view.payload;
        let found = rings.find_map(|ring| ring.find(screen.shown(), original, payload));
        if let Some(shot) = found
            && let Some(len) =
                screen.repeat(own, (&shot, &payload[..shot.len]), &mut buffer[..], now)
        {
            leg.send_rtp(buffer, len);
        }
    }
}

/// Packets that are made before they are sent: streams that share a transport wait for each other.
const MOST_PACKETS: usize = 256;

/// Shows a packet to one participant, if it is to see it.
fn show(
    legs: &mut Slab<Leg>,
    key: usize,
    stage: &Stage,
    sent: (&Shot, &[u8]),
    buffer: &mut Buffer,
    now: u64,
) {
    let Some(leg) = legs.get_mut(key).filter(|leg| leg.is_open()) else {
        return;
    };
    let (Some(screen), Some(own)) = (&mut leg.screen, &mut leg.own) else {
        return;
    };
    screen.look(stage, now);
    if let Some(len) = screen.show(own, sent, &mut buffer[..], now) {
        leg.send_rtp(buffer, len);
    }
}
