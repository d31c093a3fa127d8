//! What becomes of a datagram: the packet path.

use crate::Event;
use crate::leg::Leg;
use crate::sessions::{Port, Sessions, Token};
use std::net::SocketAddr;

use rtp::{Header, Kind};
use slab::Slab;

/// The largest datagram that is taken for media; a longer one is dropped.
pub(crate) const MAX_DATAGRAM: usize = 4095;

/// The space behind the largest datagram: one byte, so that a cut one shows, and what protection
/// adds.
pub(crate) const ROOM: usize = 64;

/// The length of a [`Buffer`].
pub(crate) const SIZE: usize = MAX_DATAGRAM + ROOM;

/// The space that datagrams are received into and sent from.
pub(crate) type Buffer = [u8; SIZE];

impl Sessions {
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
        let received = match token.port {
            Port::Rtp => leg.pair.rtp.receive(&mut buffer[..=MAX_DATAGRAM]),
            Port::Rtcp => leg.pair.rtcp.receive(&mut buffer[..=MAX_DATAGRAM]),
        };
        let (len, from) = match received {
            Ok(received) => received,
            // Gone, or the peer's refusal of something that we have sent.
            Err(_) => return,
        };
        if len > MAX_DATAGRAM || leg.session.is_none() {
            return;
        }
        match (Kind::of(&buffer[..len]), token.port) {
            (Kind::Rtp, Port::Rtp) => self.rtp(token.leg, from, buffer, len, now),
            (Kind::Stun, Port::Rtp) => self.check(token.leg, from, &buffer[..len], now),
            (Kind::Dtls, Port::Rtp) => self.dtls(token.leg, from, &buffer[..len], now, deliver),
            (Kind::Rtcp, port) => self.rtcp(token.leg, port, from, buffer, len, now),
            _ => {}
        }
    }

    fn rtp(&mut self, key: usize, from: SocketAddr, buffer: &mut Buffer, len: usize, now: u64) {
        let leg = &mut self.legs[key];
        let Some(len) = leg.unprotect_rtp(&mut buffer[..len]) else {
            return;
        };
        let Ok(header) = Header::parse(&buffer[..len]) else {
            return;
        };
        let Some(arrival) = leg.admit_rtp(from, &header, len, now) else {
            return;
        };
        if leg.server.is_some() {
            leg.answer_rtp(buffer, len, &header, now);
        } else if let Some(other) = listener(&self.legs, key)
            && let Some((leg, other)) = self.legs.get2_mut(key, other)
        {
            let scratch = &mut self.scratch;
            leg.pass_rtp(other, buffer, len, &header, arrival, scratch, now);
        }
    }

    fn rtcp(
        &mut self,
        key: usize,
        port: Port,
        from: SocketAddr,
        buffer: &mut Buffer,
        len: usize,
        now: u64,
    ) {
        let leg = &mut self.legs[key];
        let Some(len) = leg.unprotect_rtcp(&mut buffer[..len]) else {
            return;
        };
        let datagram = &buffer[..len];
        let admitted = match port {
            Port::Rtp => leg.admit_muxed_rtcp(from, datagram, now),
            Port::Rtcp => leg.admit_rtcp(from, datagram, now),
        };
        if !admitted {
            return;
        }
        if let Some(reporter) = leg.reporter() {
            reporter.hear(datagram, now);
        } else if let Some(other) = listener(&self.legs, key) {
            self.legs[other].send_rtcp(buffer, len);
        }
    }
}

/// The leg that hears what `key` says: the other one, unless it is served by us.
fn listener(legs: &Slab<Leg>, key: usize) -> Option<usize> {
    let other = legs[key].other?;
    legs[other].server.is_none().then_some(other)
}
