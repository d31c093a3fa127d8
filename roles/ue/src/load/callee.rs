//! The party that is called, and answers to whatever else a server asks a phone.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip::{Flow, HeaderName, Message, Method, StatusCode, Writer};

use super::Transport;
use super::outbox::{Outbox, Way};
use super::request::{ALLOW, answer, rtp_address};
use super::window::T1;

/// Answers every call with 180 and 200 at once, and every BYE.
///
/// It keeps state only between a 200 and its ACK, to send the 200 again (RFC 3261 §13.3.1.4).
#[derive(Debug)]
pub(super) struct Callee {
    local: SocketAddr,
    transport: Transport,
    /// Where it says that it takes RTP.
    pub(super) rtp_port: u16,
    /// Where the last new call's offer wants its RTP.
    pub(super) offered: Option<SocketAddr>,
    pending: HashMap<u64, Pending>,
    /// What it saw.
    pub(super) seen: Seen,
}

/// What a callee saw.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Seen {
    /// INVITEs, retransmissions left out.
    pub invites: u64,
    /// Calls that were confirmed by ACK.
    pub acks: u64,
    /// BYEs.
    pub byes: u64,
    /// 200s sent again because no ACK came in time.
    pub retransmissions: u64,
    /// Calls whose ACK never came.
    pub unconfirmed: u64,
}

#[derive(Debug)]
struct Pending {
    to: Way,
    success: Vec<u8>,
    began: Instant,
    due: Instant,
    interval: Duration,
}

impl Callee {
    pub(super) fn new(local: SocketAddr, transport: Transport, rtp_port: u16) -> Self {
        Self {
            local,
            transport,
            rtp_port,
            offered: None,
            pending: HashMap::new(),
            seen: Seen::default(),
        }
    }

    /// Takes a request that came this way; responses are ignored.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        from: Way,
        request: &Message<'_>,
        out: &mut Outbox,
    ) {
        match request.method() {
            Some(Method::Invite) => self.invite(now, from, request, out),
            Some(Method::Ack) => self.ack(request),
            Some(Method::Bye) => {
                self.seen.byes += 1;
                self.respond(from, request, StatusCode(200), out);
            }
            Some(
                Method::Options
                | Method::Cancel
                | Method::Info
                | Method::Notify
                | Method::Message
                | Method::Update
                | Method::Prack,
            ) => self.respond(from, request, StatusCode(200), out),
            Some(_) => self.respond(from, request, StatusCode(405), out),
            None => {}
        }
    }

    /// Sends again each 200 without ACK that is due.
    pub(super) fn sweep(&mut self, now: Instant, out: &mut Outbox) {
        let Seen {
            mut retransmissions,
            mut unconfirmed,
            ..
        } = self.seen;
        self.pending.retain(|_, pending| {
            if pending.due > now {
                return true;
            }
            if now.duration_since(pending.began) >= GIVE_UP {
                unconfirmed += 1;
                return false;
            }
            retransmissions += 1;
            out.send(pending.to, &pending.success);
            pending.interval = (pending.interval * 2).min(Duration::from_secs(4));
            pending.due = now + pending.interval;
            true
        });
        self.seen.retransmissions = retransmissions;
        self.seen.unconfirmed = unconfirmed;
    }

    fn invite(&mut self, now: Instant, from: Way, request: &Message<'_>, out: &mut Outbox) {
        let key = key(request);
        if let Some(pending) = self.pending.get(&key) {
            out.send(pending.to, &pending.success);
            return;
        }
        let is_new = request.to().is_ok_and(|to| to.tag().is_none());
        if is_new {
            self.seen.invites += 1;
            self.offered = rtp_address(request);
            self.respond(from, request, StatusCode(180), out);
        }
        let mut success = Vec::with_capacity(1024);
        let writer = self.response(&mut success, from, request, StatusCode(200));
        let description = answer(self.local, self.rtp_port, key as u32);
        writer.body("application/sdp", description.as_bytes());
        out.send(from, &success);
        self.pending.insert(
            key,
            Pending {
                to: from,
                success,
                began: now,
                due: now + T1,
                interval: T1,
            },
        );
    }

    fn ack(&mut self, request: &Message<'_>) {
        if self.pending.remove(&key(request)).is_some() {
            self.seen.acks += 1;
        }
    }

    fn respond(&self, from: Way, request: &Message<'_>, status: StatusCode, out: &mut Outbox) {
        out.send_with(from, |bytes| {
            self.response(bytes, from, request, status).finish();
        });
    }

    fn response<'b>(
        &self,
        bytes: &'b mut Vec<u8>,
        from: Way,
        request: &Message<'_>,
        status: StatusCode,
    ) -> Writer<'b> {
        let flow = Flow {
            protocol: self.transport.protocol(),
            local: self.local,
            remote: from.address.unwrap_or(self.local),
            connection: None,
            tls: sip::TlsPeer::ANY,
        };
        let tag = format!("c{:x}", key(request));
        let mut writer = Writer::response_to(bytes, request, &flow, status, &tag);
        if request.method() == Some(Method::Invite) {
            writer.copy(request, HeaderName::RecordRoute);
            writer.header(
                HeaderName::Contact,
                format_args!("<sip:callee@{}{}>", self.local, self.transport.in_uri()),
            );
        }
        writer.header(HeaderName::Allow, ALLOW);
        writer
    }
}

/// RFC 3261 §13.3.1.4: 64×T1 without ACK.
const GIVE_UP: Duration = Duration::from_secs(32);

/// What INVITE and ACK of one transaction have in common: Call-ID and the number of CSeq (FNV-1a).
fn key(request: &Message<'_>) -> u64 {
    let number = request.cseq().map_or(0, |cseq| cseq.number);
    let bytes = request.call_id().bytes().chain(number.to_be_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
