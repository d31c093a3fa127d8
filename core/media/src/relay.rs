//! What becomes of a datagram: the packet path.

use crate::Event;
use crate::hub;
use crate::leg::{self, Leg};
use crate::sessions::{Port, Readable, Sessions, Token};
use crate::transport::Transport;
use std::net::SocketAddr;

use rtp::{Arrival, Header, Kind};
use slab::Slab;
use udp::Inbox;

/// The largest datagram that is taken for media; a longer one is dropped.
pub(crate) const MAX_DATAGRAM: usize = 4095;

/// The space behind the largest datagram: one byte, so that a cut one shows, and what protection
/// adds.
pub(crate) const ROOM: usize = 64;

/// The length of a [`Buffer`].
pub(crate) const SIZE: usize = MAX_DATAGRAM + ROOM;

/// A datagram that has come.
#[derive(Clone, Copy)]
struct Arrived {
    token: Token,
    kind: Kind,
    from: SocketAddr,
    len: usize,
}

/// The space that datagrams are received into and sent from.
pub(crate) type Buffer = [u8; SIZE];

impl Sessions {
    /// Fetches from memory what the datagrams need that are to be read for these tokens.
    pub(crate) fn fetch(&self, tokens: impl Iterator<Item = u64> + Clone) {
        let key = |token| match Readable::decode(token) {
            Readable::Port(token) => Some(token.leg),
            Readable::Hub { .. } => None,
        };
        leg::fetch(&self.legs, tokens.filter_map(key));
    }

    /// Takes one datagram from a readable socket and passes it on. `now` is in milliseconds.
    pub(crate) fn readable(
        &mut self,
        token: Token,
        buffer: &mut Buffer,
        now: u64,
        deliver: &dyn Fn(Event),
    ) {
        let Some(leg) = self.legs.get_mut(token.leg) else {
            return;
        };
        let Transport::Own(pair) = &leg.transport else {
            return;
        };
        let received = match token.port {
            Port::Rtp => pair.rtp.receive(&mut buffer[..=MAX_DATAGRAM]),
            Port::Rtcp => pair.rtcp.receive(&mut buffer[..=MAX_DATAGRAM]),
        };
        let (len, from) = match received {
            Ok(received) => received,
            // Gone, or the peer's refusal of something that we have sent.
            Err(_) => return,
        };
        if len <= MAX_DATAGRAM && leg.session.is_some() {
            let kind = Kind::of(&buffer[..len]);
            let arrived = Arrived {
                token,
                kind,
                from,
                len,
            };
            self.take(arrived, buffer, now, deliver);
        }
    }

    /// Takes the datagrams that wait at a socket of a shared port, at most one batch, and passes them on. Returns
    /// how many there were.
    pub(crate) fn readable_hub(
        &mut self,
        (hub, socket): (usize, usize),
        inbox: &mut Inbox,
        now: u64,
        deliver: &dyn Fn(Event),
    ) -> usize {
        let count = inbox.receive(&self.hubs[hub].outlet.sockets[socket]);
        for index in 0..count {
            let Some(incoming) = inbox.datagram(index) else {
                continue;
            };
            let (from, len) = (incoming.remote, incoming.len);
            if len <= MAX_DATAGRAM
                && let Ok(buffer) = incoming.buffer.try_into()
            {
                self.sort(hub, from, buffer, len, now, deliver);
            }
        }
        count
    }

    /// Finds out whose a datagram is that came to a shared port.
    fn sort(
        &mut self,
        hub: usize,
        from: SocketAddr,
        buffer: &mut Buffer,
        len: usize,
        now: u64,
        deliver: &dyn Fn(Event),
    ) {
        let datagram = &buffer[..len];
        let kind = Kind::of(datagram);
        let ssrc = hub::ssrc(kind, datagram);
        let Some(key) = self.hubs[hub].whose(kind, from, datagram, &self.legs) else {
            return;
        };
        let port = match kind {
            Kind::Rtcp if !self.legs[key].is_muxed() => Port::Rtcp,
            _ => Port::Rtp,
        };
        let token = Token { leg: key, port };
        let arrived = Arrived {
            token,
            kind,
            from,
            len,
        };
        self.take(arrived, buffer, now, deliver);
        let media = ssrc.filter(|_| kind == Kind::Rtp);
        if !self.hubs[hub].knows(key, from, media) && self.legs[key].is_from(from) {
            self.hubs[hub].accepted(key, from, media);
        }
    }

    fn take(&mut self, arrived: Arrived, buffer: &mut Buffer, now: u64, deliver: &dyn Fn(Event)) {
        let Arrived {
            token,
            kind,
            from,
            len,
        } = arrived;
        match (kind, token.port) {
            (Kind::Rtp, Port::Rtp) => self.rtp(token.leg, from, buffer, len, now, deliver),
            (Kind::Stun, port) => {
                let check = (port, from, &buffer[..len]);
                self.check(token.leg, check, now, deliver);
            }
            (Kind::Dtls, Port::Rtp) => self.dtls(token.leg, from, &buffer[..len], now, deliver),
            (Kind::Rtcp, port) => self.rtcp(token.leg, (port, from), buffer, len, now, deliver),
            _ => {}
        }
    }

    /// A stream of whose packets nothing here wants to know takes the short way, if `Leg::flow` says so.
    fn rtp(
        &mut self,
        key: usize,
        from: SocketAddr,
        buffer: &mut Buffer,
        len: usize,
        now: u64,
        deliver: &dyn Fn(Event),
    ) {
        let leg = &mut self.legs[key];
        let Some(len) = leg.unprotect_rtp(&mut buffer[..len]) else {
            return;
        };
        let Ok(header) = Header::parse(&buffer[..len]) else {
            return;
        };
        if let Some(path) = self.shortcuts.path() {
            leg.rejoin(path, from, &header, now);
        }
        let carrier = key;
        let key = self.member_of(carrier, &buffer[..len], &header);
        let Some(arrival) = self.admit_rtp((key, carrier), from, &header, len, now) else {
            return;
        };
        let leg = &mut self.legs[key];
        leg.note_rtp(&header, now);
        let aside = leg.ask_for_keyframe(now);
        leg.look(&buffer[..len], &header, now);
        if let Some(aside) = aside {
            self.tell_wish(key, &aside, deliver);
        }
        self.tape(key, &buffer[..len], now);
        let leg = &mut self.legs[key];
        if let Some(digit) = leg.hear_digit(&buffer[..len], &header, now) {
            self.tell_digit(key, digit, deliver);
        }
        let (digit, hushed) = self.listen(key, &buffer[..len], &header, arrival, now);
        if let Some(digit) = digit {
            self.tell_digit(key, digit, deliver);
            self.pass_key(key, digit, now);
        }
        let leg = &mut self.legs[key];
        if leg.keeps(&header) {
            return;
        }
        self.urgent += u32::from(leg.seat.is_none());
        if let Some(screen) = &leg.screen {
            let mixer = &mut self.mixers[screen.mixer()];
            mixer.film(&mut self.legs, key, (buffer, len), &header, now);
        } else if leg.seat.is_some() {
            leg.seat_rtp(&buffer[..len], &header, now);
        } else if leg.echoes() {
            leg.echo_rtp(buffer, len, &header, arrival, now);
        } else if let Some(other) = listener(&self.legs, key).filter(|_| !hushed)
            && let Some((leg, other)) = self.legs.get2_mut(key, other)
        {
            let scratch = &mut self.scratch;
            leg.pass_rtp(other, buffer, len, &header, arrival, scratch, now);
        }
    }

    /// Counts an RTP datagram of `len` bytes for the leg `key` that has come to `carrier`; `None` if it does not
    /// belong to the stream.
    fn admit_rtp(
        &mut self,
        (key, carrier): (usize, usize),
        from: SocketAddr,
        header: &Header,
        len: usize,
        now: u64,
    ) -> Option<Arrival> {
        if key == carrier {
            self.legs[key].admit_rtp(from, header, len, now)
        } else if self.legs[carrier].vouches(from) {
            Some(self.legs[key].admit_carried_rtp(header, len, now))
        } else {
            None
        }
    }

    /// Records a packet that a side says, unless the other one hears our music instead.
    fn tape(&self, key: usize, packet: &[u8], now: u64) {
        let leg = &self.legs[key];
        let Some(tap) = &leg.tap else { return };
        let other = leg.other.and_then(|other| self.legs.get(other));
        let server = other.and_then(|other| other.server.as_ref());
        if !server.is_some_and(|server| server.plays()) {
            tap.copy(packet, true, now);
        }
    }

    fn rtcp(
        &mut self,
        key: usize,
        (port, from): (Port, SocketAddr),
        buffer: &mut Buffer,
        len: usize,
        now: u64,
        deliver: &dyn Fn(Event),
    ) {
        let leg = &mut self.legs[key];
        let Some(len) = leg.unprotect_rtcp(&mut buffer[..len]) else {
            return;
        };
        let datagram = &buffer[..len];
        let carrier = key;
        let key = self.member_about(carrier, datagram);
        let vouched = self.legs[carrier].vouches(from);
        let leg = &mut self.legs[key];
        let admitted = match port {
            _ if key != carrier => leg.admit_carried_rtcp(vouched, len, now),
            Port::Rtp => leg.admit_muxed_rtcp(from, datagram, now),
            Port::Rtcp => leg.admit_rtcp(from, datagram, now),
        };
        if !admitted {
            return;
        }
        leg.quality.hear(datagram, now);
        self.expect_loss(key);
        let leg = &mut self.legs[key];
        let echoes = leg.echoes();
        if let Some(reporter) = leg.reporter() {
            reporter.hear(datagram, now);
        }
        if leg.screen.is_some() {
            return self.hear_viewer(key, buffer, len, now);
        }
        // A stream of our own has reports of our own.
        if let Some(other) = listener(&self.legs, key).filter(|_| !echoes)
            && self.legs[other].own.is_none()
        {
            self.hear_wishes(other, &buffer[..len], now, deliver);
            let other = &mut self.legs[other];
            other.quality.told(datagram, now);
            other.send_rtcp(buffer, len);
        }
    }
}

impl Sessions {
    /// What a party misses, the encoder of what it hears is told: it may repeat something (RFC 7587 §6.1:
    /// `useinbandfec`).
    fn expect_loss(&mut self, key: usize) {
        let leg = &mut self.legs[key];
        let Some(missed) = leg.quality.missed() else {
            return;
        };
        if let Some(server) = &mut leg.server {
            server.expect_loss(missed);
        }
        let other = leg.other;
        self.prepare_seat(key, missed);
        if let Some(other) = other
            && let Some(converter) = &mut self.legs[other].converter
        {
            converter.expect_loss(missed);
        }
    }
}

/// The leg that hears what `key` says: the other one, unless it is served by us or either is in a
/// room.
pub(crate) fn listener(legs: &Slab<Leg>, key: usize) -> Option<usize> {
    let other = legs[key].other?;
    let apart = legs[key].seat.is_some() || legs[other].is_served();
    (!apart).then_some(other)
}
