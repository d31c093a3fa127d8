//! One side of one stream: its sockets, whom it talks to, what it has received.

use std::net::SocketAddr;
use std::time::Instant;

use rtp::{Arrival, Header, Sequence, rtcp};
use srtp::Profile;

use crate::certificate::Certificate;
use crate::checks::Checks;
use crate::convert::{Converter, Own, Scratch, Way};
use crate::dtls::{self, Endpoint, Output};
use crate::latch::{Latch, Verdict};
use crate::protection::Protection;
use crate::relay::{Buffer, MAX_DATAGRAM, SIZE};
use crate::report::Reporter;
use crate::serve::{Server, Tick};
use crate::socket::Pair;
use crate::{Insecurity, Payload, Remote, SessionId, SideStats};

/// A pair of sockets and, while a session uses it, the state of that side of the stream.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) pair: Pair,
    /// `None` while the pair is idle.
    pub(crate) session: Option<SessionId>,
    /// The leg on the other side of the stream.
    pub(crate) other: Option<usize>,
    remote: Option<Box<Remote>>,
    protection: Option<Box<Protection>>,
    /// Of a party that does ICE: where it is reached.
    pub(crate) checks: Option<Box<Checks>>,
    latch: Latch,
    /// Where RTCP comes from, on its own port.
    rtcp_source: Option<SocketAddr>,
    /// Where DTLS comes from, which is where it is answered until RTP comes.
    dtls_source: Option<SocketAddr>,
    /// When the handshake wants to be looked at, in milliseconds.
    pub(crate) alarm: Option<u64>,
    /// The RTP socket takes packets only from the locked source. Strangers' packets may still be
    /// queued from before, so the address is checked nevertheless.
    connected: bool,
    received: Received,
    /// What this side hears, if that comes from us and not from the other side.
    pub(crate) server: Option<Box<Server>>,
    /// What becomes of payloads on their way to the other side, if they are not passed on untouched.
    pub(crate) converter: Option<Box<Converter>>,
    /// The stream to this side, if it is not the other party's.
    pub(crate) own: Option<Box<Own>>,
}

impl Leg {
    pub(crate) fn idle(pair: Pair) -> Self {
        Self {
            pair,
            session: None,
            other: None,
            remote: None,
            protection: None,
            checks: None,
            latch: Latch::default(),
            rtcp_source: None,
            dtls_source: None,
            alarm: None,
            connected: false,
            received: Received::default(),
            server: None,
            converter: None,
            own: None,
        }
    }

    /// Gives an idle leg to a session; what has arrived for the one before is thrown away.
    pub(crate) fn occupy(&mut self, session: SessionId) {
        self.pair.rtp.drain();
        self.pair.rtcp.drain();
        self.session = Some(session);
    }

    /// Takes the leg from its session.
    pub(crate) fn vacate(&mut self) {
        self.disconnect();
        self.session = None;
        self.other = None;
        self.remote = None;
        self.protection = None;
        self.checks = None;
        self.latch = Latch::default();
        self.rtcp_source = None;
        self.dtls_source = None;
        self.received = Received::default();
        self.server = None;
        self.converter = None;
        self.own = None;
    }

    /// Takes what signalling tells.
    ///
    /// # Errors
    /// Packets cannot be protected as agreed.
    pub(crate) fn signal(
        &mut self,
        mut remote: Option<Box<Remote>>,
        certificate: &Certificate,
        now: Instant,
    ) -> Result<(), Insecurity> {
        let before = self.latch.source();
        self.latch.signal(remote.as_ref().map(|r| r.rtp));
        if self.latch.source() != before {
            self.disconnect();
        }
        if self.remote.as_ref().map(|r| r.rtcp) != remote.as_ref().map(|r| r.rtcp) {
            self.rtcp_source = None;
        }
        if self.remote.as_ref().map(|r| r.rtp) != remote.as_ref().map(|r| r.rtp) {
            self.dtls_source = None;
        }
        if let Some(remote) = &mut remote {
            Checks::agree(&mut self.checks, remote.ice.take());
        }
        let security = remote.as_mut().map(|r| std::mem::take(&mut r.security));
        self.remote = remote;
        // A stream that is withdrawn may come back and go on.
        security.map_or(Ok(()), |security| {
            Protection::agree(&mut self.protection, security, certificate, now)
        })
    }

    /// What agrees on keys in the media path.
    pub(crate) fn endpoint(&mut self) -> Option<&mut Endpoint> {
        self.protection.as_mut()?.endpoint()
    }

    /// Takes a datagram of DTLS; false if there is no one to take it. Whom it comes from is for the
    /// handshake to find out, so it may come from anywhere.
    pub(crate) fn shake(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) -> bool {
        if !self.is_open() {
            return false;
        }
        let Some(endpoint) = self.endpoint() else {
            return false;
        };
        endpoint.handle(datagram, now);
        self.dtls_source = Some(from);
        true
    }

    /// Does what the handshake wants done, until there is something to tell.
    pub(crate) fn converse(&mut self) -> Option<News> {
        loop {
            match self.endpoint()?.poll()? {
                Output::Packet(packet) => self.send(&packet),
                Output::Keys(keys) => {
                    let taken = self.protection.as_mut().is_some_and(|p| p.take(&keys));
                    return taken.then_some(News::Secured(keys.profile));
                }
                Output::Failed(error) => return Some(News::Failed(error)),
                // Whoever says goodbye may say so in SIP too; that is what counts.
                Output::Closed => {}
            }
        }
    }

    /// Whether signalling has told an address.
    pub(crate) fn is_open(&self) -> bool {
        self.remote.is_some()
    }

    /// What has been received so far.
    pub(crate) fn stats(&self) -> SideStats {
        SideStats {
            lost: self.received.sequence.map_or(0, |s| s.lost()),
            ..self.received.stats
        }
    }

    /// When the last valid packet came, in milliseconds.
    pub(crate) fn heard(&self) -> u64 {
        self.received.at
    }

    /// What has been agreed about payload types.
    pub(crate) fn payloads(&self) -> &[Payload] {
        self.remote.as_ref().map_or(&[], |remote| &remote.payloads)
    }

    /// Counts an RTP datagram of `len` bytes that came from `from`; `None` if it does not belong to
    /// the stream.
    pub(crate) fn admit_rtp(
        &mut self,
        from: SocketAddr,
        header: &Header,
        len: usize,
        now: u64,
    ) -> Option<Arrival> {
        match self
            .latch
            .judge(from, header, self.protection.is_some(), now)
        {
            Verdict::Accept | Verdict::Moved => Some(self.received.count(header, len, now)),
            Verdict::Probation => None,
            Verdict::Reject => {
                self.received.stats.rejected += 1;
                None
            }
        }
    }

    /// Checks and decrypts an RTP packet in place and returns its length; `None` if it is nobody's.
    pub(crate) fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Option<usize> {
        match &mut self.protection {
            None => Some(packet.len()),
            Some(protection) => self.received.opened(protection.unprotect_rtp(packet)),
        }
    }

    /// Checks and decrypts an RTCP datagram in place and returns its length; `None` if it is
    /// nobody's.
    pub(crate) fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Option<usize> {
        match &mut self.protection {
            None => Some(packet.len()),
            Some(protection) => self.received.opened(protection.unprotect_rtcp(packet)),
        }
    }

    /// Whether an RTCP datagram on the RTP port belongs to the stream.
    pub(crate) fn admit_muxed_rtcp(&mut self, from: SocketAddr, datagram: &[u8], now: u64) -> bool {
        let known = self.latch.knows(from) || self.is_open() && self.protection.is_some();
        self.note_rtcp(known && rtcp::sender(datagram).is_ok(), now)
    }

    /// Whether an RTCP datagram on the RTCP port belongs to the stream: it comes from where
    /// signalling said, or from the host that the RTP has been learnt to come from. A learnt port
    /// changes only for the sender of the RTP.
    pub(crate) fn admit_rtcp(&mut self, from: SocketAddr, datagram: &[u8], now: u64) -> bool {
        let known = match (&self.remote, rtcp::sender(datagram)) {
            (Some(remote), Ok(ssrc)) => {
                let host = self.latch.source().map(|source| source.ip());
                let free = self.rtcp_source.is_none_or(|source| source == from);
                from == remote.rtcp
                    || self.protection.is_some()
                    || host == Some(from.ip()) && (free || self.received.ssrc == Some(ssrc))
            }
            _ => false,
        };
        if known {
            self.rtcp_source = Some(from);
        }
        self.note_rtcp(known, now)
    }

    /// Passes an accepted packet on to the `other` side.
    #[expect(clippy::too_many_arguments, reason = "all that is known of a packet")]
    pub(crate) fn pass_rtp(
        &mut self,
        other: &mut Self,
        buffer: &mut Buffer,
        len: usize,
        header: &Header,
        arrival: Arrival,
        scratch: &mut Scratch,
        now: u64,
    ) {
        if arrival == Arrival::Restart
            && other.own.is_none()
            && let Some(protection) = &mut other.protection
        {
            protection.source_restarted();
        }
        let Some(converter) = &mut self.converter else {
            other.send_rtp(buffer, len);
            return;
        };
        let Some(clock) = converter.clock(header.payload_type) else {
            self.received.stats.unexpected += 1;
            return;
        };
        if let Some(own) = &mut self.own {
            own.reporter.received(header, clock, now);
        }
        // It is put back below; nothing in between returns.
        match other.own.take() {
            None if converter.renumber(&mut buffer[..len], header) => other.send_rtp(buffer, len),
            None => self.received.stats.unexpected += 1,
            Some(mut own) => {
                let mut way = Way {
                    own: &mut own,
                    scratch,
                    send: &mut |buffer, len| other.send_rtp(buffer, len),
                    now,
                };
                converter.convert(buffer, len, header, arrival, &mut way);
                other.own = Some(own);
            }
        }
    }

    /// Sends the RTP packet of `len` bytes at the start of `buffer` to this side, protected as
    /// agreed.
    pub(crate) fn send_rtp(&mut self, buffer: &mut Buffer, len: usize) {
        let len = match &mut self.protection {
            None => Some(len),
            Some(protection) => protection.protect_rtp(buffer, len),
        };
        if let Some(len) = len {
            self.send(&buffer[..len]);
        }
    }

    /// Sends the RTCP datagram of `len` bytes at the start of `buffer` to this side, protected as
    /// agreed, on the port that it agreed to.
    pub(crate) fn send_rtcp(&mut self, buffer: &mut Buffer, len: usize) {
        let len = match &mut self.protection {
            None => Some(len),
            Some(protection) => protection.protect_rtcp(buffer, len),
        };
        match (len, &self.remote) {
            (Some(len), Some(remote)) if remote.mux => self.send(&buffer[..len]),
            (Some(len), Some(remote)) => {
                let to = self.rtcp_source.unwrap_or(remote.rtcp);
                self.pair.rtcp.send_to(&buffer[..len], to);
            }
            _ => {}
        }
    }

    fn target(&self) -> Option<SocketAddr> {
        if let Some(checks) = &self.checks {
            return checks.target();
        }
        let source = self.latch.source().or(self.dtls_source);
        source.or(self.latch.target())
    }

    fn send(&self, datagram: &[u8]) {
        if self.connected {
            self.pair.rtp.send(datagram);
        } else if let Some(to) = self.target() {
            self.pair.rtp.send_to(datagram, to);
        }
    }

    /// Handles RTP of the stream that we serve: sends it back if it is to be echoed.
    pub(crate) fn answer_rtp(
        &mut self,
        buffer: &mut Buffer,
        len: usize,
        header: &Header,
        now: u64,
    ) {
        if let Some(server) = &mut self.server {
            let clock = server.reporter.clock;
            server.reporter.received(header, clock, now);
            if server.echo(&mut buffer[..len], header, now) {
                self.send_rtp(buffer, len);
            }
        }
    }

    /// What reports about the stream to this side, if that is ours.
    pub(crate) fn reporter(&mut self) -> Option<&mut Reporter> {
        match (&mut self.server, &mut self.own) {
            (Some(server), _) => Some(&mut server.reporter),
            (_, Some(own)) => Some(&mut own.reporter),
            _ => None,
        }
    }

    /// Sends the packet that is due, if the sound with this `ticket` still plays. It stands still
    /// while there is no one to send it to.
    pub(crate) fn play(&mut self, ticket: u64, buffer: &mut Buffer, now: u64) -> Tick {
        let open = self.is_open();
        let Some(server) = &mut self.server else {
            return Tick::Gone;
        };
        if !open {
            return server.hold(ticket);
        }
        let tick = server.tick(ticket, &mut buffer[..MAX_DATAGRAM], now);
        if let Tick::Packet(len, _) = tick {
            self.send_rtp(buffer, len);
        }
        tick
    }

    /// Sends RTCP about a stream of our own if that is due, or if it is the `last`.
    pub(crate) fn report(&mut self, last: bool, now: u64) {
        let is_open = self.is_open();
        let received = &mut self.received;
        let peer = received.ssrc.zip(received.sequence.as_mut());
        let Some(reporter) = (match (&mut self.server, &mut self.own) {
            (Some(server), _) => Some(&mut server.reporter),
            (_, own) => own.as_mut().map(|own| &mut own.reporter),
        }) else {
            return;
        };
        if is_open && (last || reporter.is_due(now)) {
            let mut buffer = [0; SIZE];
            let len = reporter
                .write(peer, last, now, &mut buffer[..MAX_REPORT])
                .len();
            self.send_rtcp(&mut buffer, len);
        }
    }

    /// Connects the RTP socket once its peer is certain, which makes packets cheaper and lets the
    /// kernel keep strangers out, and disconnects it when the peer is silent, so that a new source
    /// can prove itself.
    pub(crate) fn tend(&mut self, now: u64) {
        if self.checks.is_some() {
            // Checks may come from anywhere.
            self.disconnect();
        } else if self.connected {
            if self.latch.is_silent(now) {
                self.disconnect();
            }
        } else if !self.latch.is_silent(now)
            && let Some(peer) = self.latch.settled(now, SETTLED_MS)
        {
            self.connected = self.pair.rtp.connect(peer);
        }
    }

    fn disconnect(&mut self) {
        if self.connected {
            self.pair.rtp.disconnect();
            self.connected = false;
        }
    }

    fn note_rtcp(&mut self, known: bool, now: u64) -> bool {
        if known {
            self.received.at = now;
        } else {
            self.received.stats.rejected += 1;
        }
        known
    }
}

/// What came of a handshake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum News {
    Secured(Profile),
    Failed(dtls::Error),
}

#[derive(Debug, Default)]
struct Received {
    stats: SideStats,
    at: u64,
    ssrc: Option<u32>,
    sequence: Option<Sequence>,
}

impl Received {
    /// Counts what could not be opened.
    fn opened(&mut self, result: Option<Result<usize, srtp::Error>>) -> Option<usize> {
        match result? {
            Ok(len) => return Some(len),
            Err(srtp::Error::Replayed) => self.stats.replayed += 1,
            Err(_) => self.stats.forged += 1,
        }
        None
    }

    fn count(&mut self, header: &Header, len: usize, now: u64) -> Arrival {
        self.stats.packets += 1;
        self.stats.octets += len as u64;
        self.at = now;
        let sequence = self
            .sequence
            .get_or_insert_with(|| Sequence::new(header.sequence));
        if self
            .ssrc
            .replace(header.ssrc)
            .is_some_and(|ssrc| ssrc != header.ssrc)
        {
            sequence.restart(header.sequence);
        }
        sequence.update(header.sequence)
    }
}

/// How long a source learnt by probation leaves room for the signalled one to appear.
const SETTLED_MS: u64 = 3000;
/// A report with a name and a goodbye is shorter.
const MAX_REPORT: usize = 256;
