//! What becomes of a datagram: the packet path.

use crate::leg::Leg;
use crate::sessions::{Port, Sessions, Token};
use std::net::SocketAddr;

use rtp::{Header, Kind};
use slab::Slab;

/// The largest datagram that is taken for media; a longer one is dropped.
pub(crate) const MAX_DATAGRAM: usize = 4095;

/// The space that datagrams are received into, one byte longer than the largest, so that a cut one
/// shows.
pub(crate) type Buffer = [u8; MAX_DATAGRAM + 1];

impl Sessions {
    /// Takes one datagram from a readable socket and passes it on. `now` is in milliseconds.
    pub(crate) fn readable(&mut self, token: Token, buffer: &mut Buffer, now: u64) {
        let Some(leg) = self.legs.get_mut(token.leg) else {
            return;
        };
        let received = match token.port {
            Port::Rtp => leg.pair.rtp.receive(buffer),
            Port::Rtcp => leg.pair.rtcp.receive(buffer),
        };
        let (len, from) = match received {
            Ok(received) => received,
            // Gone, or the peer's refusal of something that we have sent.
            Err(_) => return,
        };
        if len > MAX_DATAGRAM || leg.session.is_none() {
            return;
        }
        let datagram = &mut buffer[..len];
        match (Kind::of(datagram), token.port) {
            (Kind::Rtp, Port::Rtp) => self.rtp(token.leg, from, datagram, now),
            (Kind::Rtcp, port) => self.rtcp(token.leg, port, from, datagram, now),
            _ => {}
        }
    }

    fn rtp(&mut self, key: usize, from: SocketAddr, datagram: &mut [u8], now: u64) {
        let Ok(header) = Header::parse(datagram) else {
            return;
        };
        let leg = &mut self.legs[key];
        if !leg.admit_rtp(from, &header, datagram.len(), now) {
            return;
        }
        if leg.server.is_some() {
            leg.answer_rtp(datagram, &header, now);
        } else if let Some(other) = listener(&self.legs, key) {
            self.legs[other].send_rtp(datagram);
        }
    }

    fn rtcp(&mut self, key: usize, port: Port, from: SocketAddr, datagram: &[u8], now: u64) {
        let leg = &mut self.legs[key];
        let admitted = match port {
            Port::Rtp => leg.admit_muxed_rtcp(from, datagram, now),
            Port::Rtcp => leg.admit_rtcp(from, datagram, now),
        };
        if !admitted {
            return;
        }
        if leg.server.is_some() {
            leg.answer_rtcp(datagram, now);
        } else if let Some(other) = listener(&self.legs, key) {
            self.legs[other].send_rtcp(datagram);
        }
    }
}

/// The leg that hears what `key` says: the other one, unless it is served by us.
fn listener(legs: &Slab<Leg>, key: usize) -> Option<usize> {
    let other = legs[key].other?;
    legs[other].server.is_none().then_some(other)
}
