//! The sessions of one worker and the legs that they own.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use base::Mint;
use rustix::event::epoll;
use slab::Slab;

use crate::alarms;
use crate::broadcast::Broadcasts;
use crate::certificate::Certificates;
use crate::clock::{Clock, Due};
use crate::convert::{self, Converter, Own, Scratch};
use crate::dialing::Press;
use crate::handshakes::Alarms;
use crate::hub::Expected;
use crate::hubs::{Hubs, SOCKETS};
use crate::leg::Leg;
use crate::ports::{self, Acquired, Ports};
use crate::record::Recorder;
use crate::relay::Buffer;
use crate::room::{Mixer, Rooms};
use crate::serve::{Server, Tick};
use crate::shortcuts::Shortcuts;
use crate::socket::Pair;
use crate::sound::Library;
use crate::transport::Transport;
use crate::worker::Common;
use crate::{
    Config, Event, Format, Key, Mos, Refusal, Remote, SessionId, Side, SideStats, Source,
    StreamPorts,
};

#[derive(Debug)]
pub(crate) struct Sessions {
    pub(crate) legs: Slab<Leg>,
    table: HashMap<SessionId, Session>,
    ports: Ports,
    /// The ports of all legs, if those are shared.
    pub(crate) hubs: Hubs,
    shared: bool,
    epoll: OwnedFd,
    /// Silence to report, in milliseconds.
    timeout: u64,
    clock: Clock,
    /// The streams, or rooms, of one turn of the clock.
    pub(crate) due: Vec<Due>,
    /// Packets of late that went on at once, and not into a room.
    pub(crate) urgent: u32,
    /// Tickets given out for turns of the clock.
    pub(crate) tickets: u64,
    pub(crate) mint: Mint,
    library: Library,
    pub(crate) recorder: Recorder,
    /// Which worker this is.
    pub(crate) worker: usize,
    pub(crate) rooms: Arc<Rooms>,
    /// This worker's parts of rooms, and when their turns are due.
    pub(crate) mixers: Slab<Mixer>,
    pub(crate) room_clock: Clock,
    broadcasts: Broadcasts,
    pub(crate) scratch: Box<Scratch>,
    certificates: Certificates,
    /// When time was 0.
    pub(crate) epoch: Instant,
    pub(crate) alarms: Alarms,
    pub(crate) shortcuts: Shortcuts,
    /// Packets on their way to the transports that they share.
    pub(crate) bundles: Rc<crate::bundle::Queue>,
}

impl Sessions {
    /// No sessions yet; sockets will be registered with `epoll`.
    pub(crate) fn new(
        config: &Config,
        number: usize,
        epoll: OwnedFd,
        mint: Mint,
        epoch: Instant,
        common: Common,
    ) -> Self {
        let Common {
            certificates,
            library,
            recorder,
            rooms,
            way,
        } = common;
        Self {
            legs: Slab::new(),
            table: HashMap::new(),
            ports: Ports::new(config, number),
            hubs: Hubs::new(
                ports::shared(&config.ports, config.workers, number),
                config.dscp.min(63),
            ),
            shared: config.shared,
            epoll,
            timeout: config.timeout.as_millis().max(1) as u64,
            clock: Clock::new(),
            due: Vec::new(),
            urgent: 0,
            tickets: 0,
            mint,
            broadcasts: Broadcasts::new(Arc::clone(library.radio())),
            library,
            recorder,
            worker: number,
            rooms,
            mixers: Slab::new(),
            room_clock: Clock::new(),
            scratch: Scratch::new(),
            certificates,
            epoch,
            alarms: Alarms::default(),
            shortcuts: Shortcuts::new(way, config.dscp.min(63)),
            bundles: crate::bundle::Queue::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// What the sockets are registered with.
    pub(crate) fn epoll(&self) -> &OwnedFd {
        &self.epoll
    }

    /// [`Command::Allocate`](crate::Command::Allocate).
    pub(crate) fn allocate(
        &mut self,
        id: SessionId,
        local: [Option<IpAddr>; 2],
        streams: u8,
        now: u64,
    ) -> Event {
        let mut session = self.table.remove(&id).unwrap_or_else(|| Session::new(now));
        let before = session.streams.clone();
        let refusal = self.extend(&mut session, id, local, streams, now).err();
        // Of two generations of legs, one goes: the replaced ones, or those that were in vain.
        let (keep, drop) = match refusal {
            None => (&session.streams, &before),
            Some(_) => (&before, &session.streams),
        };
        let leaving: Vec<usize> = legs_of(drop)
            .filter(|k| !legs_of(keep).any(|l| l == *k))
            .collect();
        leaving.into_iter().for_each(|key| self.vacate(key, now));
        if refusal.is_some() {
            session.streams = before;
        }
        let event = match refusal {
            Some(refusal) => Event::Refused {
                session: id,
                refusal,
            },
            None => Event::Allocated {
                session: id,
                streams: self.ports_of(&session),
            },
        };
        if !session.streams.is_empty() {
            self.pair_up(&session);
            self.table.insert(id, session);
        }
        event
    }

    /// [`Command::Connect`](crate::Command::Connect).
    pub(crate) fn connect(
        &mut self,
        id: SessionId,
        stream: u8,
        side: Side,
        remote: Option<Box<Remote>>,
        now: u64,
        deliver: &dyn Fn(Event),
    ) {
        let at = self.instant(now);
        let Some(session) = self.table.get_mut(&id) else {
            return;
        };
        let Some(&legs) = session.streams.get(usize::from(stream)) else {
            return;
        };
        let Some(key) = legs[side.index()] else {
            return;
        };
        let seed = seed(&mut self.mint);
        let agreed = self.legs[key].signal(remote, (key, seed), &self.certificates, at);
        self.bundle(id, side, key);
        let Some(session) = self.table.get_mut(&id) else {
            return;
        };
        session.armed |= is_complete(&self.legs, &legs);
        session.heard = now;
        for key in legs.into_iter().flatten() {
            self.legs[key].expect(now);
        }
        self.introduce(key);
        self.tell_recorder(id, (stream, side));
        if let [Some(caller), Some(callee)] = legs {
            self.bridge(caller, callee, now);
        }
        if let Err(reason) = agreed {
            deliver(Event::SecurityFailed {
                session: id,
                stream,
                side,
                reason,
            });
        }
        self.attend(key, now, deliver);
    }

    /// The legs of each stream.
    pub(crate) fn streams(&self, id: SessionId) -> Option<&[[Option<usize>; 2]]> {
        self.table.get(&id).map(|session| &session.streams[..])
    }

    /// The leg of a stream of a session on one side.
    pub(crate) fn leg_at(&self, id: SessionId, (stream, side): (u8, Side)) -> Option<usize> {
        self.streams(id)?.get(usize::from(stream))?[side.index()]
    }

    /// From now on packets are due, if somebody is there to talk and somebody to hear.
    pub(crate) fn arm(&mut self, id: SessionId, stream: u8, now: u64) {
        if let Some(session) = self.table.get_mut(&id)
            && let Some(legs) = session.streams.get(usize::from(stream))
        {
            session.armed |= is_complete(&self.legs, legs);
            session.heard = now;
        }
    }

    /// Makes what two legs need that have agreed to different payload types.
    fn bridge(&mut self, one: usize, other: usize, now: u64) {
        let Some((one, other)) = self.legs.get2_mut(one, other) else {
            return;
        };
        let routes = convert::routes(one.wanted(), other.wanted());
        let transcoded = routes.as_ref().is_some_and(convert::is_transcoded);
        // Once a side knows a stream of ours, it is not bothered with another one.
        if transcoded {
            one.own
                .get_or_insert_with(|| Box::new(Own::minted(&mut self.mint, now)));
            other
                .own
                .get_or_insert_with(|| Box::new(Own::minted(&mut self.mint, now)));
        }
        match routes {
            None => (one.converter, other.converter) = (None, None),
            Some([there, back]) => {
                Converter::set(&mut one.converter, there);
                Converter::set(&mut other.converter, back);
            }
        }
    }

    /// [`Command::Serve`](crate::Command::Serve).
    pub(crate) fn serve(
        &mut self,
        id: SessionId,
        place: (u8, Side),
        (source, number): (&Source, u32),
        format: Format,
        now: u64,
    ) -> Option<Event> {
        let (stream, side) = place;
        let session = self.table.get_mut(&id)?;
        let legs = session.streams.get(usize::from(stream))?;
        let key = legs[side.index()]?;
        self.tickets += 1;
        let ticket = self.tickets;
        let leg = &mut self.legs[key];
        let wanted = (format, leg.payloads());
        let order = (number, ticket);
        let server = Server::new(source, wanted, order, &self.library, &mut self.broadcasts);
        let plays = server.plays();
        leg.server = Some(Box::new(server));
        let own = leg
            .own
            .get_or_insert_with(|| Box::new(Own::minted(&mut self.mint, now)));
        own.marker = true;
        session.armed |= is_complete(&self.legs, legs);
        session.heard = now;
        if plays {
            self.clock.start(Due { leg: key, ticket }, now);
        }
        let ends = matches!(
            source,
            Source::Prompt(_) | Source::Sound(_) | Source::File(_)
        );
        let unplayable = !plays && ends;
        unplayable.then_some(Event::Finished {
            session: id,
            stream,
            side,
            number,
        })
    }

    /// [`Command::Unserve`](crate::Command::Unserve).
    pub(crate) fn unserve(&mut self, id: SessionId, stream: u8, side: Side, now: u64) {
        let Some(session) = self.table.get_mut(&id) else {
            return;
        };
        let Some(&legs) = session.streams.get(usize::from(stream)) else {
            return;
        };
        let [key, other] = [side, side.other()].map(|side| legs[side.index()]);
        if key.and_then(|key| self.legs[key].server.take()).is_none() {
            return;
        }
        session.heard = now;
        if let Some(converter) = other.and_then(|other| self.legs[other].converter.as_mut()) {
            converter.interrupt();
        }
    }

    /// [`Command::Digits`](crate::Command::Digits). `lengths` are those of a key and of the pause
    /// behind it.
    pub(crate) fn dial(
        &mut self,
        id: SessionId,
        place: (u8, Side),
        keys: &[Key],
        lengths: (u16, u16),
        now: u64,
    ) {
        let (stream, side) = place;
        let legs = self.table.get(&id).map(|session| &session.streams[..]);
        let legs = legs.and_then(|streams| streams.get(usize::from(stream)));
        let Some([Some(key), other]) = legs.map(|l| [l[side.index()], l[side.other().index()]])
        else {
            return;
        };
        self.tickets += 1;
        let due = Due {
            leg: key,
            ticket: self.tickets,
        };
        let leg = &mut self.legs[key];
        let fresh = leg.dialing.is_none();
        if fresh && !leg.take_dialing(due.ticket, &mut self.mint, now) {
            return;
        }
        if let Some(dialing) = &mut leg.dialing {
            let (on, off) = (lengths.0.clamp(40, 6000), lengths.1.clamp(40, 1000));
            let presses = keys.iter().map(|key| Press { key: *key, on, off });
            presses.for_each(|press| dialing.press(press));
        }
        if let Some(converter) = other.and_then(|other| self.legs[other].converter.as_mut()) {
            converter.interrupt();
        }
        if fresh {
            self.clock.start(due, now);
        }
    }

    /// [`Command::BlockDigits`](crate::Command::BlockDigits).
    pub(crate) fn block_digits(&mut self, id: SessionId, place: (u8, Side), blocked: bool) {
        if let Some(key) = self.leg_at(id, place) {
            self.legs[key].blocks_digits = blocked;
        }
    }

    /// [`Command::Count`](crate::Command::Count).
    pub(crate) fn count(&self, id: SessionId) -> Event {
        let streams = self.streams(id).unwrap_or_default();
        let stats = Box::new(counted(&self.legs, streams));
        Event::Counted { session: id, stats }
    }

    /// [`Command::Close`](crate::Command::Close).
    pub(crate) fn close(&mut self, id: SessionId, now: u64) -> Event {
        let mut stats = Box::new([SideStats::default(); 2]);
        if let Some(session) = self.table.remove(&id) {
            for legs in &session.streams {
                for (total, key) in stats.iter_mut().zip(legs) {
                    if let Some(key) = *key {
                        let leg = &mut self.legs[key];
                        leg.report(true, now);
                        leg.judge(true, now);
                        add(total, &leg.judged());
                        self.vacate(key, now);
                    }
                }
            }
        }
        Event::Closed { session: id, stats }
    }

    /// What is done once in a while: sockets of certain peers are connected and silence is told.
    pub(crate) fn sweep(&mut self, now: u64, deliver: &dyn Fn(Event)) {
        self.tend_shortcuts(now);
        let mut digits = Vec::new();
        for (id, session) in &mut self.table {
            for (stream, legs) in (0..).zip(&session.streams) {
                if let Some((side, alarm)) = alarms::find(&mut self.legs, stream, *legs, now) {
                    deliver(Event::Alarm {
                        session: *id,
                        stream,
                        side,
                        alarm,
                    });
                }
            }
            for key in legs_of(&session.streams) {
                let leg = &mut self.legs[key];
                digits.extend(leg.end_digit(now).map(|digit| (key, digit)));
                digits.extend(leg.end_tone(now).map(|digit| (key, digit)));
                leg.tend(now);
                leg.report(false, now);
                leg.judge(false, now);
                session.heard = session.heard.max(leg.heard());
            }
            if session.armed && now.saturating_sub(session.told) >= QUALITY_MS {
                session.told = now;
                let stats = Box::new(counted(&self.legs, &session.streams));
                deliver(Event::Quality {
                    session: *id,
                    stats,
                });
            }
            if session.armed && now.saturating_sub(session.heard) >= self.timeout {
                session.heard = now;
                deliver(Event::Silent { session: *id });
            }
        }
        for (key, digit) in digits {
            self.tell_digit(key, digit, deliver);
            self.pass_key(key, digit, now);
        }
    }

    /// When the next packet of our own making, or of a handshake, is due, in milliseconds.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let all = [
            self.clock.deadline(),
            self.room_clock.deadline(),
            self.alarms.first(),
        ];
        all.into_iter().flatten().min()
    }

    /// Sends the packets of our own making that are due, using `buffer`.
    pub(crate) fn tick(&mut self, buffer: &mut Buffer, now: u64, deliver: &dyn Fn(Event)) {
        while let Some(at) = self.clock.take(now, &mut self.due) {
            for due in self.due.drain(..) {
                let Some(leg) = self.legs.get_mut(due.leg) else {
                    continue;
                };
                match leg.play(due.ticket, &mut self.broadcasts, buffer, now) {
                    Tick::Packet(_, interval) | Tick::Later(interval) => {
                        self.clock.again(due, at, interval);
                    }
                    Tick::Finished(number) => {
                        let session = leg.session.and_then(|id| Some((id, self.table.get(&id)?)));
                        if let Some((id, session)) = session
                            && let Some(event) = session.finished(id, due.leg, number)
                        {
                            deliver(event);
                        }
                    }
                    Tick::Gone => {}
                }
            }
        }
    }

    /// Gives `session` a leg for each stream of each side that has an address, where it has none
    /// on that address yet.
    fn extend(
        &mut self,
        session: &mut Session,
        id: SessionId,
        local: [Option<IpAddr>; 2],
        streams: u8,
        now: u64,
    ) -> Result<(), Refusal> {
        let count = session.streams.len().max(streams.into());
        session.streams.resize(count, [None; 2]);
        for legs in &mut session.streams {
            for (place, ip) in legs.iter_mut().zip(local) {
                let Some(ip) = ip else { continue };
                if place.is_none_or(|key| self.legs[key].transport.address().ip() != ip) {
                    *place = Some(self.acquire(ip, id, now)?);
                }
            }
        }
        Ok(())
    }

    fn acquire(&mut self, ip: IpAddr, id: SessionId, now: u64) -> Result<usize, Refusal> {
        let key = match self.shared {
            true => self.share(ip)?,
            false => self.own(ip, now)?,
        };
        self.legs[key].occupy(id);
        Ok(key)
    }

    /// A leg with ports of its own.
    fn own(&mut self, ip: IpAddr, now: u64) -> Result<usize, Refusal> {
        match self.ports.acquire(ip, now)? {
            Acquired::Idle(key) => Ok(key),
            Acquired::Fresh(pair) => {
                let port = pair.port;
                let key = self.legs.vacant_key();
                if self.register(key, &pair).is_err() {
                    self.ports.give_up(ip, port);
                    return Err(Refusal::Overload);
                }
                Ok(self.legs.insert(Leg::idle(Transport::Own(pair))))
            }
        }
    }

    /// A leg at a port that it shares.
    fn share(&mut self, ip: IpAddr) -> Result<usize, Refusal> {
        let (hub, fresh) = self.hubs.acquire(ip)?;
        let outlet = Rc::clone(&self.hubs[hub].outlet);
        if fresh {
            for (socket, fd) in outlet.sockets.iter().enumerate() {
                let token = Readable::Hub { hub, socket };
                let token = epoll::EventData::new_u64(token.encode());
                if epoll::add(&self.epoll, fd, token, epoll::EventFlags::IN).is_err() {
                    self.hubs.give_up();
                    return Err(Refusal::Overload);
                }
            }
        }
        let transport = Transport::Shared { hub, outlet };
        let key = self.legs.insert(Leg::idle(transport));
        self.hubs[hub].enter(key);
        Ok(key)
    }

    fn register(&self, key: usize, pair: &Pair) -> rustix::io::Result<()> {
        for (socket, port) in [(&pair.rtp, Port::Rtp), (&pair.rtcp, Port::Rtcp)] {
            let token = Readable::Port(Token { leg: key, port });
            let token = epoll::EventData::new_u64(token.encode());
            epoll::add(&self.epoll, socket, token, epoll::EventFlags::IN)?;
        }
        Ok(())
    }

    fn vacate(&mut self, key: usize, now: u64) {
        self.look_away(key);
        self.unseat(key, false);
        self.unbundle(key);
        let leg = &mut self.legs[key];
        self.alarms.set(key, leg.alarm.take(), None);
        leg.vacate();
        let keep = match &leg.transport {
            Transport::Own(pair) => self.ports.release(pair.ip, pair.port, key, now),
            Transport::Shared { hub, .. } => {
                self.hubs[*hub].leave(key);
                false
            }
        };
        if !keep {
            // Closing the sockets takes them out of epoll.
            self.legs.remove(key);
        }
    }

    /// Tells the shared port of a leg what signalling has told of its party.
    fn introduce(&mut self, key: usize) {
        let leg = &self.legs[key];
        if let Transport::Shared { hub, .. } = &leg.transport {
            let ufrag = leg.checks.as_ref().map(|checks| checks.ufrag());
            let expected = match (ufrag, leg.signalled()) {
                _ if leg.carried.is_some() => Expected::Nobody,
                (Some(ufrag), _) => Expected::Checks(ufrag),
                (None, Some((from, host))) => Expected::At(from, host),
                (None, None) => Expected::Nobody,
            };
            self.hubs[*hub].expect(key, expected);
        }
    }

    fn pair_up(&mut self, session: &Session) {
        for &[caller, callee] in &session.streams {
            for (one, other) in [(caller, callee), (callee, caller)] {
                if let Some(key) = one {
                    self.legs[key].other = other;
                }
            }
        }
    }

    fn ports_of(&self, session: &Session) -> Vec<StreamPorts> {
        let rtp =
            |key: Option<usize>| key.map_or(0, |key| self.legs[key].transport.address().port());
        let rtcp = |key: Option<usize>| match rtp(key) {
            0 => 0,
            port if self.shared => port,
            port => port + 1,
        };
        let streams = session.streams.iter();
        streams
            .map(|legs| StreamPorts {
                rtp: legs.map(rtp),
                rtcp: legs.map(rtcp),
            })
            .collect()
    }
}

#[derive(Debug)]
struct Session {
    /// Legs of each stream, indexed by [`Side::index`].
    streams: Vec<[Option<usize>; 2]>,
    /// When a valid packet came, or signalling changed something, in milliseconds.
    heard: u64,
    /// A stream has once been complete, so packets are due.
    armed: bool,
    /// When the quality was told, in milliseconds.
    told: u64,
}

impl Session {
    fn new(now: u64) -> Self {
        Self {
            streams: Vec::new(),
            heard: now,
            armed: false,
            told: now,
        }
    }

    /// The sound of this number to the leg at `key` is over.
    fn finished(&self, id: SessionId, key: usize, number: u32) -> Option<Event> {
        self.streams.iter().enumerate().find_map(|(stream, legs)| {
            let sides = [Side::Caller, Side::Callee];
            let mut sides = sides.into_iter();
            let side = sides.find(|side| legs[side.index()] == Some(key))?;
            Some(Event::Finished {
                session: id,
                stream: stream as u8,
                side,
                number,
            })
        })
    }
}

/// A port of a leg of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    pub(crate) leg: usize,
    pub(crate) port: Port,
}

/// What there is to read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Readable {
    /// A leg's own port.
    Port(Token),
    /// A socket of a shared port.
    Hub { hub: usize, socket: usize },
}

impl Readable {
    pub(crate) fn encode(self) -> u64 {
        match self {
            Self::Port(token) => (token.leg as u64) << 2 | u64::from(token.port == Port::Rtcp),
            Self::Hub { hub, socket } => ((hub * SOCKETS + socket) as u64) << 2 | 2,
        }
    }

    pub(crate) fn decode(token: u64) -> Self {
        let number = (token >> 2) as usize;
        let port = match token & 3 {
            0 => Port::Rtp,
            1 => Port::Rtcp,
            _ => {
                return Self::Hub {
                    hub: number / SOCKETS,
                    socket: number % SOCKETS,
                };
            }
        };
        Self::Port(Token { leg: number, port })
    }
}

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Port {
    Rtp,
    Rtcp,
}

/// For what nobody can guess.
fn seed(mint: &mut Mint) -> [u8; 32] {
    let mut seed = [0; 32];
    for chunk in seed.chunks_mut(8) {
        chunk.copy_from_slice(&mint.number64().to_le_bytes());
    }
    seed
}

/// Whether packets are due on a stream with these legs: someone is to talk, and someone to hear it.
fn is_complete(legs: &Slab<Leg>, stream: &[Option<usize>; 2]) -> bool {
    let open = stream.map(|key| key.is_some_and(|key| legs[key].is_open()));
    let served = stream.map(|key| key.is_some_and(|key| legs[key].is_served()));
    open[0] && (open[1] || served[0]) || open[1] && served[1]
}

fn legs_of(streams: &[[Option<usize>; 2]]) -> impl Iterator<Item = usize> {
    streams.iter().flatten().filter_map(|key| *key)
}

/// What each side has sent, in all streams together.
fn counted(all: &Slab<Leg>, streams: &[[Option<usize>; 2]]) -> [SideStats; 2] {
    let mut stats = [SideStats::default(); 2];
    for legs in streams {
        for (total, key) in stats.iter_mut().zip(legs) {
            if let Some(key) = *key {
                add(total, &all[key].judged());
            }
        }
    }
    stats
}

fn add(total: &mut SideStats, stats: &SideStats) {
    total.packets += stats.packets;
    total.octets += stats.octets;
    total.rtcp_packets += stats.rtcp_packets;
    total.rtcp_octets += stats.rtcp_octets;
    total.lost += stats.lost;
    total.rejected += stats.rejected;
    total.unexpected += stats.unexpected;
    total.forged += stats.forged;
    total.replayed += stats.replayed;
    total.jitter_us = total.jitter_us.max(stats.jitter_us);
    total.worst_jitter_us = total.worst_jitter_us.max(stats.worst_jitter_us);
    total.round_trip_ms = total.round_trip_ms.max(stats.round_trip_ms);
    total.mos = lower(total.mos, stats.mos);
    total.worst_mos = lower(total.worst_mos, stats.worst_mos);
    total.reported = total.reported.or(stats.reported);
}

fn lower(one: Option<Mos>, other: Option<Mos>) -> Option<Mos> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// How often the quality of a session is told, in milliseconds.
const QUALITY_MS: u64 = 10_000;
