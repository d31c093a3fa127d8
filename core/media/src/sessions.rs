//! The sessions of one worker and the legs that they own.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Instant;

use base::Mint;
use rustix::event::epoll;
use slab::Slab;

use crate::certificate::Certificate;
use crate::clock::{Clock, Due};
use crate::convert::{self, Converter, Own, Scratch};
use crate::handshakes::Alarms;
use crate::leg::Leg;
use crate::ports::{Acquired, Ports};
use crate::relay::Buffer;
use crate::serve::{Server, Tick};
use crate::{
    Config, Event, Format, Refusal, Remote, SessionId, Side, SideStats, Source, StreamPorts,
};

#[derive(Debug)]
pub(crate) struct Sessions {
    pub(crate) legs: Slab<Leg>,
    table: HashMap<SessionId, Session>,
    ports: Ports,
    epoll: OwnedFd,
    /// Silence to report, in milliseconds.
    timeout: u64,
    clock: Clock,
    /// The streams of one turn of the clock.
    due: Vec<Due>,
    /// Tickets given out for turns of the clock.
    tickets: u64,
    mint: Mint,
    pub(crate) scratch: Box<Scratch>,
    certificate: Certificate,
    /// When time was 0.
    pub(crate) epoch: Instant,
    pub(crate) alarms: Alarms,
}

impl Sessions {
    /// No sessions yet; sockets will be registered with `epoll`.
    pub(crate) fn new(
        config: &Config,
        number: usize,
        epoll: OwnedFd,
        mint: Mint,
        certificate: Certificate,
        epoch: Instant,
    ) -> Self {
        Self {
            legs: Slab::new(),
            table: HashMap::new(),
            ports: Ports::new(config, number),
            epoll,
            timeout: config.timeout.as_millis().max(1) as u64,
            clock: Clock::new(),
            due: Vec::new(),
            tickets: 0,
            mint,
            scratch: Scratch::new(),
            certificate,
            epoch,
            alarms: Alarms::default(),
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
        let agreed = self.legs[key].signal(remote, &self.certificate, at);
        session.armed |= is_complete(&self.legs, &legs);
        session.heard = now;
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

    /// Makes what two legs need that have agreed to different payload types.
    fn bridge(&mut self, one: usize, other: usize, now: u64) {
        let Some((one, other)) = self.legs.get2_mut(one, other) else {
            return;
        };
        let routes = convert::routes(one.payloads(), other.payloads());
        let transcoded = routes.as_ref().is_some_and(convert::is_transcoded);
        for leg in [&mut *one, &mut *other] {
            match transcoded {
                false => leg.own = None,
                true if leg.own.is_none() => {
                    let mint = &mut self.mint;
                    let random = [mint.number(), mint.number(), mint.number()];
                    leg.own = Some(Box::new(Own::new(random, mint.token(), now)));
                }
                true => {}
            }
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
        stream: u8,
        source: &Source,
        format: Format,
        now: u64,
    ) -> Option<Event> {
        let session = self.table.get_mut(&id)?;
        let legs = session.streams.get(usize::from(stream))?;
        let key = legs[Side::Caller.index()]?;
        let mint = &mut self.mint;
        let server = self.legs[key].server.get_or_insert_with(|| {
            let random = [mint.number(), mint.number(), mint.number()];
            Box::new(Server::new(format, random, mint.token(), now))
        });
        self.tickets += 1;
        let ticket = self.tickets;
        let plays = server.serve(source, format, ticket);
        session.armed |= is_complete(&self.legs, legs);
        session.heard = now;
        if plays {
            self.clock.start(Due { leg: key, ticket }, now);
        }
        let unplayable = !plays && matches!(source, Source::Prompt(_));
        unplayable.then_some(Event::Finished { session: id })
    }

    /// [`Command::Close`](crate::Command::Close).
    pub(crate) fn close(&mut self, id: SessionId, now: u64) -> Event {
        let mut stats = Box::new([SideStats::default(); 2]);
        if let Some(session) = self.table.remove(&id) {
            for legs in &session.streams {
                for (total, key) in stats.iter_mut().zip(legs) {
                    if let Some(key) = *key {
                        self.legs[key].report(true, now);
                        add(total, &self.legs[key].stats());
                        self.vacate(key, now);
                    }
                }
            }
        }
        Event::Closed { session: id, stats }
    }

    /// What is done once in a while: sockets of certain peers are connected and silence is told.
    pub(crate) fn sweep(&mut self, now: u64, deliver: &dyn Fn(Event)) {
        let at = self.instant(now);
        for (id, session) in &mut self.table {
            for key in legs_of(&session.streams) {
                let leg = &mut self.legs[key];
                leg.tend(now);
                leg.lapse(at);
                leg.report(false, now);
                session.heard = session.heard.max(leg.heard());
            }
            if session.armed && now.saturating_sub(session.heard) >= self.timeout {
                session.heard = now;
                deliver(Event::Silent { session: *id });
            }
        }
    }

    /// When the next packet of our own making, or of a handshake, is due, in milliseconds.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let both = [self.clock.deadline(), self.alarms.first()];
        both.into_iter().flatten().min()
    }

    /// Sends the packets of our own making that are due, using `buffer`.
    pub(crate) fn tick(&mut self, buffer: &mut Buffer, now: u64, deliver: &dyn Fn(Event)) {
        while let Some(at) = self.clock.take(now, &mut self.due) {
            for due in self.due.drain(..) {
                let Some(leg) = self.legs.get_mut(due.leg) else {
                    continue;
                };
                match leg.play(due.ticket, buffer, now) {
                    Tick::Packet(_, interval) | Tick::Later(interval) => {
                        self.clock.again(due, at, interval);
                    }
                    Tick::Finished => {
                        if let Some(session) = leg.session {
                            deliver(Event::Finished { session });
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
                if place.is_none_or(|key| self.legs[key].pair.ip != ip) {
                    *place = Some(self.acquire(ip, id, now)?);
                }
            }
        }
        Ok(())
    }

    fn acquire(&mut self, ip: IpAddr, id: SessionId, now: u64) -> Result<usize, Refusal> {
        let key = match self.ports.acquire(ip, now)? {
            Acquired::Idle(key) => key,
            Acquired::Fresh(pair) => {
                let key = self.legs.insert(Leg::idle(pair));
                if self.register(key).is_err() {
                    let port = self.legs.remove(key).pair.port;
                    self.ports.give_up(ip, port);
                    return Err(Refusal::Overload);
                }
                key
            }
        };
        self.legs[key].occupy(id);
        Ok(key)
    }

    fn register(&self, key: usize) -> rustix::io::Result<()> {
        let pair = &self.legs[key].pair;
        for (socket, port) in [(&pair.rtp, Port::Rtp), (&pair.rtcp, Port::Rtcp)] {
            let token = epoll::EventData::new_u64(Token { leg: key, port }.encode());
            epoll::add(&self.epoll, socket, token, epoll::EventFlags::IN)?;
        }
        Ok(())
    }

    fn vacate(&mut self, key: usize, now: u64) {
        let leg = &mut self.legs[key];
        self.alarms.set(key, leg.alarm.take(), None);
        leg.vacate();
        if !self.ports.release(leg.pair.ip, leg.pair.port, key, now) {
            // Closing the sockets takes them out of epoll.
            self.legs.remove(key);
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
        let port = |key: Option<usize>| key.map_or(0, |key| self.legs[key].pair.port);
        let streams = session.streams.iter();
        streams
            .map(|legs| StreamPorts {
                rtp: legs.map(port),
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
}

impl Session {
    fn new(now: u64) -> Self {
        Self {
            streams: Vec::new(),
            heard: now,
            armed: false,
        }
    }
}

/// Tells which socket is readable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    pub(crate) leg: usize,
    pub(crate) port: Port,
}

impl Token {
    pub(crate) fn encode(self) -> u64 {
        (self.leg as u64) << 1 | u64::from(self.port == Port::Rtcp)
    }

    pub(crate) fn decode(token: u64) -> Self {
        Self {
            leg: (token >> 1) as usize,
            port: if token & 1 == 0 {
                Port::Rtp
            } else {
                Port::Rtcp
            },
        }
    }
}

/// A socket of a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Port {
    Rtp,
    Rtcp,
}

/// Whether packets are due on a stream with these legs: someone is to talk, and someone to hear it.
fn is_complete(legs: &Slab<Leg>, stream: &[Option<usize>; 2]) -> bool {
    let open = stream.map(|key| key.is_some_and(|key| legs[key].is_open()));
    let served = stream[0].is_some_and(|key| legs[key].server.is_some());
    open[0] && (open[1] || served)
}

fn legs_of(streams: &[[Option<usize>; 2]]) -> impl Iterator<Item = usize> {
    streams.iter().flatten().filter_map(|key| *key)
}

fn add(total: &mut SideStats, stats: &SideStats) {
    total.packets += stats.packets;
    total.octets += stats.octets;
    total.lost += stats.lost;
    total.rejected += stats.rejected;
    total.unexpected += stats.unexpected;
    total.forged += stats.forged;
    total.replayed += stats.replayed;
}
