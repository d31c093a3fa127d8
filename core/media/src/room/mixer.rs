//! One worker's part of a room.

use std::sync::Arc;

use codec::mix::{self, Limiter};
use rtp::{Contributor, Contributors, LevelNumbers};
use slab::Slab;

use super::exchange::Exchange;
use super::herald::Herald;
use super::line::{Feed, Line, Solo};
use super::seat::Seat;
use super::tape::Reel;
use super::video::View;
use super::{MOST_SAMPLES, MOST_SPEAKERS, RoomId};
use crate::Event;
use crate::encoder::Manner;
use crate::leg::Leg;
use crate::relay::Buffer;

/// The participants of one worker, and what they hear.
#[derive(Debug)]
pub(crate) struct Mixer {
    pub(super) id: RoomId,
    /// Tells its turns from those of a room that was here before.
    pub(super) ticket: u64,
    pub(super) worker: usize,
    pub(super) exchange: Arc<Exchange>,
    /// Where to read on, for each worker.
    cursors: Vec<u64>,
    /// The legs of its participants.
    pub(super) members: Vec<usize>,
    lines: Slab<Shared>,
    feeds: Vec<Feed>,
    rate: u32,
    sum: Vec<i32>,
    limiter: Limiter,
    /// What everybody hears who does not speak.
    pub(super) whole: Vec<i16>,
    without: Vec<i32>,
    /// Who is in the sum: those of this worker first. No longer than what all workers publish.
    sources: Vec<Contributor>,
    scratch: Vec<i16>,
    /// Those who speak: how loud, and which leg.
    speakers: Vec<(f32, usize)>,
    herald: Herald,
    pub(super) view: View,
    pub(super) reel: Reel,
    /// Who has been loudest for how many turns.
    lead: (usize, u8),
}

/// A line for all who take the same.
#[derive(Debug)]
struct Shared {
    manner: Manner,
    /// For those who hear silence.
    deaf: bool,
    members: usize,
    /// How many hear it in this turn.
    hearers: usize,
    line: Line,
}

impl Mixer {
    pub(super) fn new(id: RoomId, ticket: u64, worker: usize, exchange: Arc<Exchange>) -> Self {
        let heads = (0..exchange.workers()).map(|other| exchange.head(other));
        Self {
            id,
            ticket,
            worker,
            cursors: heads.collect(),
            view: View::new(exchange.workers()),
            sources: Vec::with_capacity(exchange.workers() * MOST_SPEAKERS),
            exchange,
            reel: Reel::new(),
            members: Vec::new(),
            lines: Slab::new(),
            feeds: Vec::new(),
            rate: 0,
            sum: Vec::with_capacity(MOST_SAMPLES),
            limiter: Limiter::new(),
            whole: Vec::with_capacity(MOST_SAMPLES),
            without: Vec::with_capacity(MOST_SAMPLES),
            scratch: Vec::with_capacity(MOST_SAMPLES),
            speakers: Vec::new(),
            herald: Herald::new(),
            lead: (usize::MAX, 0),
        }
    }

    /// Whether nobody is here and nothing is to be heard any more.
    pub(super) fn is_over(&self) -> bool {
        self.members.is_empty() && self.view.is_empty() && self.herald.is_silent()
    }

    /// Takes a participant in.
    ///
    /// # Errors
    /// Nothing can be encoded for it.
    pub(super) fn join(&mut self, key: usize, seat: &mut Seat) -> Result<(), codec::Error> {
        seat.line = self.line(&seat.manner, seat.participant.deaf)?;
        self.members.push(key);
        if seat.participant.naming {
            Herald::expect_names();
        } else if seat.participant.announced {
            self.herald.coming(None);
        }
        Ok(())
    }

    /// A participant has said its name.
    pub(super) fn named(&mut self, seat: &mut Seat) {
        seat.is_named();
        if seat.participant.announced {
            self.herald.coming(seat.name.clone());
        }
    }

    /// Lets a participant go.
    pub(super) fn leave(&mut self, key: usize, seat: &Seat) {
        self.members.retain(|member| *member != key);
        self.release(seat.line);
        if seat.participant.announced && !seat.participant.naming {
            self.herald.going(seat.name.clone());
        }
    }

    /// Changes whether a participant hears the others.
    pub(super) fn deafen(&mut self, seat: &mut Seat) {
        if let Ok(line) = self.line(&seat.manner, seat.participant.deaf) {
            let before = std::mem::replace(&mut seat.line, line);
            self.release(before);
        }
    }

    /// Says what the participants here need.
    pub(super) fn declare(&self, legs: &Slab<Leg>) {
        let seats = self.members.iter().filter_map(|key| legs.get(*key));
        let needs = seats.filter_map(|leg| leg.seat.as_ref().map(|seat| seat.needs()));
        self.exchange.need(self.worker, needs.max().unwrap_or(0));
    }

    /// Is told that a participant misses so many of a hundred packets.
    pub(super) fn expect_loss(&mut self, seat: &mut Seat, missed: u8) {
        let Some(manner) = seat.manner.against(missed) else {
            return;
        };
        if let Ok(line) = self.line(&manner, seat.participant.deaf) {
            let before = std::mem::replace(&mut seat.line, line);
            self.release(before);
            (seat.manner, seat.solo) = (manner, None);
        }
    }

    /// A turn of 20 ms.
    pub(super) fn turn(
        &mut self,
        legs: &mut Slab<Leg>,
        buffer: &mut Buffer,
        now: u64,
        deliver: &dyn Fn(Event),
    ) {
        self.tune();
        self.listen(legs, now, deliver);
        self.choose();
        self.gather(legs);
        self.exchange();
        self.lead(legs, deliver);
        self.prepare(legs);
        self.send(legs, buffer, now);
        self.record(now);
        self.direct(legs, buffer, now);
    }

    /// Mixes at the rate that the room needs now.
    fn tune(&mut self) {
        let rate = self.exchange.rate().max(8000);
        if rate != self.rate {
            self.rate = rate;
            self.feeds.clear();
        }
        let samples = (rate / super::TURNS) as usize;
        self.sum.clear();
        self.sum.resize(samples, 0);
        self.whole.resize(samples, 0);
        self.without.resize(samples, 0);
        self.scratch.resize(samples, 0);
    }

    /// Finds out who speaks.
    fn listen(&mut self, legs: &mut Slab<Leg>, now: u64, deliver: &dyn Fn(Event)) {
        self.speakers.clear();
        for &key in &self.members {
            let Some((seat, session)) = seated(legs, key) else {
                continue;
            };
            let talking = seat.listen(now);
            if talking {
                self.speakers.push((seat.loudness(), key));
            }
            if seat.has_news(talking, now) {
                let ssrc = seat.known_as();
                deliver(Event::Talking {
                    session,
                    talking,
                    ssrc,
                });
            }
        }
    }

    /// Leaves the loudest.
    fn choose(&mut self) {
        self.speakers
            .sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
        self.speakers.truncate(MOST_SPEAKERS);
    }

    /// Adds up those who speak here.
    fn gather(&mut self, legs: &mut Slab<Leg>) {
        self.sources.clear();
        for &key in &self.members {
            let Some((seat, _)) = seated(legs, key) else {
                continue;
            };
            let speaks = self.speakers.iter().any(|(_, speaker)| *speaker == key);
            seat.speak(speaks, self.rate);
            mix::add(&mut self.sum, &seat.voice);
            if self.sources.len() < MOST_SPEAKERS {
                // While voices fade there may be more for a turn, who are not told of.
                self.sources.extend(seat.contributor());
            }
        }
        self.herald
            .play(self.rate, &mut self.sum, &mut self.scratch);
    }

    /// Gives the sum to the other workers, and adds theirs.
    fn exchange(&mut self) {
        let sounds = self.sum.iter().any(|sample| *sample != 0);
        let sum = sounds.then_some(&self.sum[..]);
        self.exchange
            .publish(self.worker, self.rate, sum, &self.sources);
        for (worker, cursor) in self.cursors.iter_mut().enumerate() {
            if worker != self.worker {
                let into = (&mut self.sum[..], &mut self.sources);
                self.exchange.read(worker, cursor, self.rate, into);
            }
        }
        if self.sources.len() > Contributors::MOST {
            self.sources
                .sort_unstable_by_key(|source| source.level.below());
        }
    }

    /// Tells who dominates the conversation, once it has for a while.
    fn lead(&mut self, legs: &mut Slab<Leg>, deliver: &dyn Fn(Event)) {
        let Some(&(level, key)) = self.speakers.first() else {
            self.lead = (usize::MAX, 0);
            self.exchange.hush(self.worker);
            return;
        };
        self.lead = match self.lead {
            (leader, turns) if leader == key => (key, turns.saturating_add(1)),
            _ => (key, 0),
        };
        if self.lead.1 < LEAD_TURNS {
            return;
        }
        if let Some((_, session)) = seated(legs, key)
            && self.exchange.rank(self.worker, session, level)
        {
            self.exchange.stage.speaks(session);
            deliver(Event::ActiveSpeaker { session });
        }
    }

    /// Encodes what more than one may hear.
    fn prepare(&mut self, legs: &mut Slab<Leg>) {
        self.limiter.process(&self.sum, &mut self.whole);
        self.lines.iter_mut().for_each(|(_, s)| s.hearers = 0);
        for &key in &self.members {
            if let Some(leg) = legs.get(key)
                && let Some(seat) = &leg.seat
                && leg.is_open()
                && (seat.participant.deaf || !seat.is_heard())
                && let Some(shared) = self.lines.get_mut(seat.line)
            {
                shared.hearers += 1;
            }
        }
        self.feeds.iter_mut().for_each(|feed| feed.pcm.clear());
        for (_, shared) in &mut self.lines {
            let rate = shared.line.rate();
            let at = self.feeds.iter().position(|feed| feed.rate == rate);
            let at = at.unwrap_or_else(|| {
                self.feeds.push(Feed::new(self.rate, rate));
                self.feeds.len() - 1
            });
            let feed = &mut self.feeds[at];
            if feed.pcm.is_empty() {
                feed.fill(&self.whole);
            }
            match (shared.hearers, shared.deaf) {
                (0, _) => shared.line.skip(&feed.pcm),
                (_, false) => shared.line.push(&feed.pcm),
                (_, true) => shared.line.push(&SILENCE[..feed.pcm.len()]),
            }
        }
    }

    /// Sends everybody its packets.
    fn send(&mut self, legs: &mut Slab<Leg>, buffer: &mut Buffer, now: u64) {
        let whole: Contributors = self.sources.iter().copied().collect();
        for &key in &self.members {
            let Some(leg) = legs.get_mut(key) else {
                continue;
            };
            let Some(mut seat) = leg.seat.take() else {
                continue;
            };
            if let Some(shared) = self.lines.get(seat.line).filter(|_| leg.is_open()) {
                let alone = seat.is_heard() && !seat.participant.deaf;
                let solo = match alone {
                    true => seat.solo(),
                    false => None,
                };
                match solo {
                    None => {
                        let heard = match seat.participant.deaf {
                            true => &Contributors::new(),
                            false => &whole,
                        };
                        send(leg, &seat, (&shared.line, heard), buffer, now);
                    }
                    Some(mut solo) => {
                        for ((less, sum), own) in
                            self.without.iter_mut().zip(&self.sum).zip(&seat.voice)
                        {
                            *less = sum - i32::from(*own);
                        }
                        solo.push(&self.without, self.rate, &shared.line, &mut self.scratch);
                        let others = self.sources.iter().filter(|s| !seat.is_source(s));
                        let heard = others.copied().collect();
                        send(leg, &seat, (&solo.line, &heard), buffer, now);
                        seat.solo = Some(solo);
                    }
                }
                if !alone && let Some(solo) = &mut seat.solo {
                    solo.rest();
                }
            }
            leg.seat = Some(seat);
        }
    }

    /// The line for all who take packets of this manner.
    fn line(&mut self, manner: &Manner, deaf: bool) -> Result<usize, codec::Error> {
        let mut lines = self.lines.iter_mut();
        let known = lines.find(|(_, s)| s.manner == *manner && s.deaf == deaf);
        if let Some((key, shared)) = known {
            shared.members += 1;
            return Ok(key);
        }
        Ok(self.lines.insert(Shared {
            line: Line::new(manner)?,
            manner: manner.clone(),
            deaf,
            members: 1,
            hearers: 0,
        }))
    }

    fn release(&mut self, line: usize) {
        if let Some(shared) = self.lines.get_mut(line) {
            shared.members -= 1;
            if shared.members == 0 {
                self.lines.remove(line);
            }
        }
    }
}

impl Drop for Mixer {
    fn drop(&mut self) {
        self.exchange.need(self.worker, 0);
        self.exchange.hush(self.worker);
        self.exchange.watch(self.worker, false);
        self.exchange.taping.leave(self.worker);
    }
}

impl Seat {
    /// What it hears alone, made when it is first needed; none if nothing can be encoded.
    fn solo(&mut self) -> Option<Box<Solo>> {
        let solo = self.solo.take();
        solo.or_else(|| Solo::new(&self.manner).ok().map(Box::new))
    }
}

/// A participant and its session.
fn seated(legs: &mut Slab<Leg>, key: usize) -> Option<(&mut Seat, crate::SessionId)> {
    let leg = legs.get_mut(key)?;
    Some((leg.seat.as_mut()?, leg.session?))
}

/// Sends a participant what `line` has made in this turn, and who is heard in it, unless it hears something
/// else just now.
///
/// # Source
/// RFC 3550 §7.1
fn send(
    leg: &mut Leg,
    seat: &Seat,
    (line, heard): (&Line, &Contributors),
    buffer: &mut Buffer,
    now: u64,
) {
    if leg.server.as_ref().is_some_and(|server| server.plays()) {
        return;
    }
    let Some(mut own) = leg.own.take() else {
        return;
    };
    let ticks = seat.manner.ticks();
    let levels = leg.remote.as_ref().map(|r| r.levels).unwrap_or_default();
    let levels = LevelNumbers {
        whole: levels.whole,
        each: levels.heard,
    };
    let start = heard.header_len(levels);
    for payload in line.packets() {
        let Some(space) = buffer.get_mut(start..start + payload.len()) else {
            continue;
        };
        space.copy_from_slice(payload);
        if own.marker {
            own.resume(seat.manner.codec.clock() / 1000, now);
        }
        match payload.len() {
            0 => own.rest(ticks, now),
            len => {
                own.make(&mut buffer[..], seat.payload_type, len, ticks, now);
                heard.encode(levels, &mut buffer[..]);
                leg.tape_served(&buffer[..start + len], now);
                leg.send_rtp(buffer, start + len);
            }
        }
    }
    leg.own = Some(own);
}

/// Turns that somebody has to be loudest for.
const LEAD_TURNS: u8 = 15;
static SILENCE: [i16; MOST_SAMPLES] = [0; MOST_SAMPLES];
