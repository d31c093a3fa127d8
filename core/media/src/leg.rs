//! One side of one stream: its sockets, whom it talks to, what it has received.

mod carried;
mod fetch;
mod gist;
mod keyframe;
mod received;
mod shortcut;

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use base::Mint;
use rtp::rtcp::{self, Writer};
use rtp::{Arrival, Header};
use srtp::Profile;

use crate::alarms::{Alarm, Watch};
use crate::broadcast::Broadcasts;
use crate::bundle::{Bundle, Carried};
use crate::certificate::Certificates;
use crate::checks::{Checks, Place};
use crate::convert::{Converter, Own, Scratch, Way};
use crate::dialing::Dialing;
use crate::digits::{Digit, Digits};
use crate::dtls::{self, Endpoint, Output};
use crate::ear::Ear;
use crate::latch::{Latch, Verdict};
use crate::protection::Protection;
use crate::quality::Quality;
use crate::record::Tap;
use crate::relay::{Buffer, MAX_DATAGRAM, SIZE};
use crate::report::Reporter;
use crate::room::{Screen, Seat};
use crate::serve::{Server, Tick};
use crate::transport::Transport;
pub(crate) use fetch::{AHEAD, fetch};
use gist::Gist;
use keyframe::Keyframes;
use received::Received;
pub(crate) use shortcut::Shortcut;

use crate::{Insecurity, Latching, Payload, PayloadKind, Remote, SessionId, SideStats};

/// A way to the network and, while a session uses it, the state of that side of the stream.
///
/// Thousands of legs do not fit a processor's cache, so what each packet needs lies together, in the order in
/// which it is asked for: first what sending needs, then what receiving needs, then what changes with each packet.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Leg {
    pub(crate) transport: Transport,
    protection: Option<Box<Protection>>,
    /// The way to the leg whose transport this stream uses, if not its own.
    pub(crate) carried: Option<Box<Carried>>,
    /// The stream to this side, if it is not the other party's: always when it is served or was.
    pub(crate) own: Option<Box<Own>>,
    /// Keys that we press towards this side.
    pub(crate) dialing: Option<Box<Dialing>>,

    /// What this side hears, if that comes from us and not from the other side.
    pub(crate) server: Option<Box<Server>>,
    /// Its place in a room, if it is in one.
    pub(crate) seat: Option<Box<Seat>>,
    /// The RTP socket takes packets only from the locked source. Strangers' packets may still be
    /// queued from before, so the address is checked nevertheless.
    connected: bool,
    /// Digits of this side do not pass to the other one.
    pub(crate) blocks_digits: bool,
    pub(crate) gist: Gist,
    /// Of a party that does ICE: where it is reached.
    pub(crate) checks: Option<Box<Checks>>,
    /// `None` while the ports are idle.
    pub(crate) session: Option<SessionId>,
    /// The leg on the other side of the stream.
    pub(crate) other: Option<usize>,

    /// Other streams of this side that go over this one's transport.
    pub(crate) bundle: Option<Box<Bundle>>,
    /// The same as [`seat`](Self::seat) of a stream of pictures.
    pub(crate) screen: Option<Box<Screen>>,
    /// What becomes of payloads on their way to the other side, if they are not passed on untouched.
    pub(crate) converter: Option<Box<Converter>>,
    /// What records this side.
    pub(crate) tap: Option<Box<Tap>>,
    /// Listens for keys in the sound of this side, once somebody wants them.
    pub(crate) ear: Option<Box<Ear>>,
    /// Who asks this side for pictures that stand alone.
    pub(crate) keyframes: Option<Box<Keyframes>>,
    digits: Digits,
    received: Received,
    pub(crate) watch: Watch,
    pub(crate) quality: Quality,
    latch: Latch,

    pub(crate) remote: Option<Box<Remote>>,
    /// Where RTCP comes from, on its own port.
    pub(crate) rtcp_source: Option<SocketAddr>,
    /// Where DTLS comes from, which is where it is answered until RTP comes.
    dtls_source: Option<SocketAddr>,
    /// When the handshake wants to be looked at, in milliseconds.
    pub(crate) alarm: Option<u64>,
    /// What our packets are marked with, if not as all are.
    tos: Option<u8>,
    /// Its packets' way through the kernel.
    pub(crate) shortcut: Shortcut,
}

impl Leg {
    pub(crate) fn idle(transport: Transport) -> Self {
        Self {
            transport,
            session: None,
            other: None,
            remote: None,
            gist: Gist::default(),
            protection: None,
            checks: None,
            latch: Latch::default(),
            rtcp_source: None,
            dtls_source: None,
            alarm: None,
            connected: false,
            tos: None,
            blocks_digits: false,
            received: Received::default(),
            quality: Quality::default(),
            watch: Watch::default(),
            digits: Digits::default(),
            ear: None,
            dialing: None,
            server: None,
            seat: None,
            screen: None,
            converter: None,
            own: None,
            tap: None,
            shortcut: Shortcut::default(),
            bundle: None,
            carried: None,
            keyframes: None,
        }
    }

    /// Gives an idle leg to a session; what has arrived for the one before is thrown away.
    pub(crate) fn occupy(&mut self, session: SessionId) {
        self.transport.drain();
        self.session = Some(session);
    }

    /// Takes the leg from its session.
    pub(crate) fn vacate(&mut self) {
        self.disconnect();
        self.mark(None);
        self.blocks_digits = false;
        self.session = None;
        self.other = None;
        self.remote = None;
        self.gist = Gist::default();
        self.protection = None;
        self.checks = None;
        self.latch = Latch::default();
        self.rtcp_source = None;
        self.dtls_source = None;
        self.received = Received::default();
        self.quality = Quality::default();
        self.watch = Watch::default();
        self.digits = Digits::default();
        self.ear = None;
        self.dialing = None;
        self.server = None;
        self.seat = None;
        self.screen = None;
        self.converter = None;
        self.own = None;
        self.tap = None;
        self.shortcut = Shortcut::default();
        self.bundle = None;
        self.carried = None;
        self.keyframes = None;
    }

    /// Takes what signalling tells. `number` is the leg's own, and `seed` for what nobody can guess.
    ///
    /// # Errors
    /// Packets cannot be protected as agreed.
    pub(crate) fn signal(
        &mut self,
        mut remote: Option<Box<Remote>>,
        (number, seed): (usize, [u8; 32]),
        certificates: &Certificates,
        now: Instant,
    ) -> Result<(), Insecurity> {
        let before = self.latch.source();
        let latching = remote.as_ref().map(|r| r.latching).unwrap_or_default();
        self.latch.signal(remote.as_ref().map(|r| r.rtp), latching);
        if latching != Latching::Learn {
            self.disconnect();
        }
        self.mark(remote.as_ref().and_then(|r| r.tos));
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
            let at = Place {
                rtp: self.transport.address(),
                rtcp: self.transport.rtcp_address().filter(|_| !remote.mux),
                leg: number,
            };
            Checks::agree(&mut self.checks, remote.ice.take(), at, seed, now);
        }
        let security = remote.as_mut().map(|r| std::mem::take(&mut r.security));
        let payloads = remote.as_ref().map_or(&[][..], |r| r.meaning());
        self.digits.agree(payloads);
        self.gist = remote.as_deref().map(Gist::of).unwrap_or_default();
        self.remote = remote;
        // A stream that is withdrawn may come back and go on.
        security.map_or(Ok(()), |security| {
            Protection::agree(&mut self.protection, security, certificates, now)
        })
    }

    /// When its handshake or checks have something to do.
    pub(crate) fn deadline(&mut self) -> Option<Instant> {
        let checks = self.checks.as_ref().and_then(|checks| checks.deadline());
        let handshake = self.endpoint().and_then(|endpoint| endpoint.deadline());
        checks.into_iter().chain(handshake).min()
    }

    /// Marks our packets from now on; none: as all are.
    fn mark(&mut self, tos: Option<u8>) {
        if self.tos != tos {
            self.tos = tos;
            self.transport.mark(tos);
        }
    }

    /// Whether a packet of this side stays here because it is of a digit.
    pub(crate) fn keeps(&self, header: &Header) -> bool {
        self.blocks_digits && self.digits.knows(header.payload_type)
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
        if let Some(alarm) = self.find_way() {
            return Some(News::Wrong(alarm));
        }
        loop {
            match self.endpoint()?.poll()? {
                Output::Packet(packet) => match &mut self.checks {
                    Some(checks) if checks.target().is_none() => checks.hold(&packet),
                    _ => self.send(&packet),
                },
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

    /// Whether nothing has come yet that belongs to the stream.
    pub(crate) fn is_unheard(&self) -> bool {
        self.received.ssrc.is_none()
    }

    /// Whether a datagram from `from` was the party's, as far as one can tell.
    pub(crate) fn is_from(&self, from: SocketAddr) -> bool {
        match &self.checks {
            Some(checks) => checks.trusts(from),
            None => {
                let sources = [self.latch.source(), self.rtcp_source, self.dtls_source];
                sources.contains(&Some(from))
            }
        }
    }

    /// Whether RTCP shares the RTP port.
    pub(crate) fn is_muxed(&self) -> bool {
        self.remote.as_ref().is_some_and(|remote| remote.mux)
    }

    /// Where the party said that it is, and where its signalling comes from.
    pub(crate) fn signalled(&self) -> Option<([SocketAddr; 2], Option<IpAddr>)> {
        let remote = self.remote.as_ref()?;
        Some(([remote.rtp, remote.rtcp], remote.host))
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

    /// What has been received so far, and how it sounds.
    pub(crate) fn judged(&self) -> SideStats {
        let mut stats = self.stats();
        self.quality.report(&mut stats);
        stats
    }

    /// Forms an opinion of what has been received, if it is time, or the `last` time.
    pub(crate) fn judge(&mut self, last: bool, now: u64) {
        let SideStats { packets, lost, .. } = self.stats();
        self.quality.judge(packets, lost, last, now);
    }

    /// When the last valid packet came, in milliseconds.
    pub(crate) fn heard(&self) -> u64 {
        self.received.at
    }

    /// What has been agreed about payload types.
    pub(crate) fn payloads(&self) -> &[Payload] {
        self.remote.as_ref().map_or(&[], |remote| &remote.payloads)
    }

    /// The same, and how long its packets are to be if that is fixed.
    pub(crate) fn wanted(&self) -> (&[Payload], Option<u8>) {
        let ptime = self.remote.as_ref().and_then(|remote| remote.ptime);
        (self.payloads(), ptime)
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
        // The packet shows who it comes from, or a check has.
        let checked = self.checks.as_ref().and_then(|checks| checks.target());
        let proven = self.protection.is_some() || checked == Some(from);
        match self.latch.judge(from, header, proven, now) {
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
        let known = known && rtcp::sender(datagram).is_ok();
        self.note_rtcp(known, datagram.len(), now)
    }

    /// Whether an RTCP datagram on the RTCP port belongs to the stream: it comes from where
    /// signalling said, or from the host that the RTP has been learnt to come from. A learnt port
    /// changes only for the sender of the RTP.
    pub(crate) fn admit_rtcp(&mut self, from: SocketAddr, datagram: &[u8], now: u64) -> bool {
        let known = match (&self.remote, rtcp::sender(datagram)) {
            (Some(remote), Ok(ssrc)) => {
                let host = self.latch.source().map(|source| source.ip());
                let free = self.rtcp_source.is_none_or(|source| source == from);
                let learns = remote.latching != Latching::Signalled;
                let likely = host == Some(from.ip()) && (free || self.received.ssrc == Some(ssrc));
                from == remote.rtcp || self.protection.is_some() || learns && likely
            }
            _ => false,
        };
        if known {
            self.rtcp_source = Some(from);
        }
        self.note_rtcp(known, datagram.len(), now)
    }

    /// The digit that an accepted packet ends, if it is a telephone event.
    pub(crate) fn hear_digit(
        &mut self,
        datagram: &[u8],
        header: &Header,
        now: u64,
    ) -> Option<Digit> {
        if !self.digits.knows(header.payload_type) {
            return None;
        }
        let payloads = self.remote.as_ref()?.meaning();
        self.digits.hear(datagram, header, payloads, now)
    }

    /// The digit that is over because nothing more is heard of it.
    pub(crate) fn end_digit(&mut self, now: u64) -> Option<Digit> {
        self.digits.lapse(now)
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
        if arrival == Arrival::Restart && other.own.is_none() {
            other.source_restarted();
        }
        let known = |converter: &Converter| converter.clock(header.payload_type).is_some();
        if !self.converter.as_deref().is_none_or(known) {
            self.received.stats.unexpected += 1;
            return;
        }
        // A party that is told of keys otherwise is not to hear them too.
        let told = other.own.is_some() && other.is_told();
        if other.dialing.is_some() || told && self.digits.knows(header.payload_type) {
            return;
        }
        let Some(converter) = &mut self.converter else {
            let whole = match &mut other.own {
                None => true,
                Some(own) => own.mirror(&mut buffer[..len], header, arrival, 0, now),
            };
            if whole {
                other.send_rtp(buffer, len);
            }
            return;
        };
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
        if let Some(carried) = &self.carried {
            return carried.send(&mut buffer[..len], false);
        }
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
        if let Some(carried) = &self.carried {
            return carried.send(&mut buffer[..len], true);
        }
        let len = match &mut self.protection {
            None => Some(len),
            Some(protection) => protection.protect_rtcp(buffer, len),
        };
        match (len, &self.remote) {
            (Some(len), Some(remote)) if remote.mux => self.send(&buffer[..len]),
            (Some(len), Some(remote)) => {
                let way = self.checks.as_ref().and_then(|checks| checks.rtcp_target());
                let learnt = self.rtcp_source.filter(|_| !self.latch.is_fixed());
                let to = way.unwrap_or(Some(learnt.unwrap_or(remote.rtcp)));
                if let Some(to) = to {
                    self.transport.send_rtcp(&buffer[..len], to);
                }
            }
            _ => {}
        }
    }

    fn target(&self) -> Option<SocketAddr> {
        if let Some(checks) = &self.checks {
            return checks.target();
        }
        if self.latch.is_fixed() {
            return self.latch.target();
        }
        let source = self.latch.source().or(self.dtls_source);
        source.or(self.latch.target())
    }

    fn send(&self, datagram: &[u8]) {
        if self.connected {
            self.transport.send_connected(datagram);
        } else if let Some(to) = self.target() {
            self.transport.send(datagram, to);
        }
    }

    /// Notes an RTP packet of the stream, for what we report about it.
    pub(crate) fn note_rtp(&mut self, header: &Header, now: u64) {
        let Some(own) = &mut self.own else { return };
        let clock = match &self.converter {
            Some(converter) => converter.clock(header.payload_type),
            None => Some(own.clock()),
        };
        if let Some(clock) = clock {
            own.reporter.received(header, clock, now);
        }
    }

    /// Whether this side hears us and not the other side.
    pub(crate) fn is_served(&self) -> bool {
        self.server.is_some() || self.seat.is_some()
    }

    /// Takes an RTP packet of a participant of a room.
    pub(crate) fn seat_rtp(&mut self, datagram: &[u8], header: &Header, now: u64) {
        let spoken = self.remote.as_ref().and_then(|r| r.levels.spoken);
        if let Some(seat) = &mut self.seat
            && !seat.insert(datagram, header, spoken, now)
        {
            self.received.stats.unexpected += 1;
        }
    }

    /// Whether what this side says comes back to it instead of going to the other side.
    pub(crate) fn echoes(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.echoes())
    }

    /// Sends an RTP packet back.
    pub(crate) fn echo_rtp(
        &mut self,
        buffer: &mut Buffer,
        len: usize,
        header: &Header,
        arrival: Arrival,
        now: u64,
    ) {
        if let (Some(server), Some(own), None) = (&self.server, &mut self.own, &self.dialing)
            && server.echo(own, &mut buffer[..len], header, arrival, now)
        {
            self.tape_served(&buffer[..len], now);
            self.send_rtp(buffer, len);
        }
    }

    /// What reports about the stream to this side, if that is ours.
    pub(crate) fn reporter(&mut self) -> Option<&mut Reporter> {
        self.own.as_mut().map(|own| &mut own.reporter)
    }

    /// Sends the packet that is due, if the sound with this `ticket` still plays. It stands still
    /// while there is no one to send it to.
    pub(crate) fn play(
        &mut self,
        ticket: u64,
        broadcasts: &mut Broadcasts,
        buffer: &mut Buffer,
        now: u64,
    ) -> Tick {
        let open = self.is_open();
        if let Some(dialing) = &self.dialing {
            match (dialing.ticket == ticket, &self.server) {
                (true, _) => return self.dial(buffer, now),
                (false, Some(server)) => return server.hold(ticket),
                (false, None) => return Tick::Gone,
            }
        }
        let (Some(server), Some(own)) = (&mut self.server, &mut self.own) else {
            return Tick::Gone;
        };
        if !open {
            return server.hold(ticket);
        }
        let tick = server.tick(ticket, own, broadcasts, &mut buffer[..MAX_DATAGRAM], now);
        if let Tick::Packet(len, _) = tick {
            self.tape_served(&buffer[..len], now);
            self.send_rtp(buffer, len);
        }
        tick
    }

    /// Records what we send to a side instead of what the other one says.
    pub(crate) fn tape_served(&self, packet: &[u8], now: u64) {
        if let Some(tap) = &self.tap {
            tap.copy(packet, false, now);
        }
    }

    /// Makes ready to press keys, under `ticket`; false if they can't reach the party.
    pub(crate) fn take_dialing(&mut self, ticket: u64, mint: &mut Mint, now: u64) -> bool {
        let payloads = self.meaning();
        let clock = payloads.iter().find_map(|payload| match payload.kind {
            PayloadKind::Codec(codec, _) => Some(codec.clock() / 1000),
            _ => None,
        });
        let clock = self.own.as_ref().map_or(clock, |own| Some(own.clock()));
        let Some(dialing) = Dialing::new(payloads, clock.unwrap_or(0), ticket) else {
            return false;
        };
        let own = self
            .own
            .get_or_insert_with(|| Box::new(Own::minted(mint, now)));
        own.resume(clock.unwrap_or(0), now);
        self.dialing = Some(Box::new(dialing));
        true
    }

    /// Presses the keys that wait.
    fn dial(&mut self, buffer: &mut Buffer, now: u64) -> Tick {
        let open = self.is_open();
        let (Some(dialing), Some(own)) = (&mut self.dialing, &mut self.own) else {
            return Tick::Gone;
        };
        if !open {
            return Dialing::hold();
        }
        let tick = dialing.tick(own, &mut buffer[..MAX_DATAGRAM], now);
        match tick {
            Tick::Packet(len, _) => self.send_rtp(buffer, len),
            Tick::Gone => {
                // What follows begins anew.
                own.resume(0, now);
                self.dialing = None;
            }
            _ => {}
        }
        tick
    }

    /// What the payload types of this side mean, as far as is known.
    pub(crate) fn meaning(&self) -> &[Payload] {
        self.remote.as_ref().map_or(&[], |remote| remote.meaning())
    }

    /// Sends RTCP about a stream of our own if that is due, or if it is the `last`.
    pub(crate) fn report(&mut self, last: bool, now: u64) {
        let is_open = self.is_open();
        let SideStats { packets, lost, .. } = self.stats();
        let received = &mut self.received;
        let peer = received.ssrc.zip(received.sequence.as_mut());
        let Some(reporter) = self.own.as_mut().map(|own| &mut own.reporter) else {
            return;
        };
        if is_open && (last || reporter.is_due(now)) {
            let mut buffer = [0; SIZE];
            let asked = self.remote.as_ref().is_some_and(|remote| remote.metrics);
            let metrics = (asked || reporter.is_extended())
                .then(|| self.quality.metrics(received.ssrc, packets, lost));
            let len = reporter
                .write(peer, metrics.as_ref(), last, now, &mut buffer[..MAX_REPORT])
                .len();
            self.quality.told(&buffer[..len], now);
            self.send_rtcp(&mut buffer, len);
        }
    }

    /// Sends what `write` has to say about the stream that comes from this side: it is told our SSRC and
    /// that of the stream.
    pub(crate) fn send_feedback(&mut self, write: impl FnOnce(&mut Writer<'_>, u32, u32)) {
        if let (Some(theirs), Some(own)) = (self.received.ssrc, &self.own) {
            let mut buffer = [0; SIZE];
            let space = &mut buffer[..MAX_REPORT];
            let len = own.reporter.feedback(theirs, write, space).len();
            self.send_rtcp(&mut buffer, len);
        }
    }

    /// Counts a packet that can't be used.
    pub(crate) fn count_unexpected(&mut self) {
        self.received.stats.unexpected += 1;
    }

    /// Connects the RTP socket once its peer is certain, which makes packets cheaper and lets the
    /// kernel keep strangers out, and disconnects it when the peer is silent, so that a new source
    /// can prove itself.
    pub(crate) fn tend(&mut self, now: u64) {
        if self.checks.is_some() || self.bundle.is_some() {
            // Checks may come from anywhere; other streams' packets tell nothing of this one's silence.
            self.disconnect();
        } else if self.connected {
            if self.latch.is_silent(now) {
                self.disconnect();
            }
        } else if !self.latch.is_silent(now)
            && let Some(peer) = self.latch.settled(now, SETTLED_MS)
        {
            self.connected = self.transport.connect(peer);
        }
    }

    fn disconnect(&mut self) {
        if self.connected {
            self.transport.disconnect();
            self.connected = false;
        }
    }

    fn note_rtcp(&mut self, known: bool, len: usize, now: u64) -> bool {
        if known {
            self.received.at = now;
            self.received.stats.rtcp_packets += 1;
            self.received.stats.rtcp_octets += len as u64;
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
    Wrong(Alarm),
}

/// How long a source learnt by probation leaves room for the signalled one to appear.
const SETTLED_MS: u64 = 3000;
/// A report with a name and a goodbye is shorter.
const MAX_REPORT: usize = 256;

// Were it an even number of cache lines, the first lines of all legs would crowd the same few sets of the cache.
const _: () = assert!(size_of::<Leg>() / 64 % 2 == 1);
