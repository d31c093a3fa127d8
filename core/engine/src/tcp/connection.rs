//! One connection.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use sip::Flow;
use sip::framing::{self, Framer};
use socket2::{Domain, Socket, TcpKeepalive, Type};

use super::alarm::Alarm;
use super::directory::Target;
use super::session::Session;
use super::websocket::WebSocket;
use crate::config::Limits;
use crate::slot_set::SlotSet;

/// A connection and what is unfinished on it.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Socket,
    /// None on a plain connection.
    session: Option<Box<Session>>,
    pub(crate) flow: Flow,
    pub(crate) stage: Stage,
    pub(crate) framing: Framing,
    unsent: Vec<u8>,
    /// How much at the front of `unsent` has been sent.
    sent: usize,
    /// Slots whose messages went this way.
    pub(crate) users: SlotSet,
    /// Whether it has carried a valid message.
    pub(crate) proven: bool,
    /// When the unfinished message was begun.
    begun: Option<Instant>,
    /// When the peer was last heard, or the present stage began.
    heard: Instant,
    pub(crate) alarm: Alarm,
    /// Another address by which the peer may be found (RFC 5923 §5).
    pub(crate) alias: Option<Target>,
    /// Whether the thread waits for the socket to be writable.
    watched: bool,
}

/// How messages are cut out of what a connection brings.
#[derive(Debug)]
pub(crate) enum Framing {
    /// By their own length (RFC 3261 §18.3).
    Stream(Framer),
    /// Each in a WebSocket message (RFC 7118 §4.2).
    WebSocket(Box<WebSocket>),
}

/// What a connection has brought.
#[derive(Debug)]
pub(crate) enum Received {
    /// This many octets; with `last`, nothing more will come.
    Octets { count: usize, last: bool },
    /// Nothing for us, but perhaps progress in the handshake.
    Nothing,
    /// Nothing more will come.
    End,
    /// What no TLS session can go on from; the peer is told with what waits to be sent.
    Fault(rustls::Error),
}

/// How far a connection is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// It is being made.
    Connecting,
    /// It is made, and the keys are being agreed on.
    Handshaking,
    /// Messages come and go.
    Open,
    /// Nothing is read any more; the last answer is on its way.
    Draining,
}

impl Connection {
    /// A connection that a peer has made, `flow.connection` its id.
    pub(crate) fn accepted(
        socket: Socket,
        session: Option<Session>,
        flow: Flow,
        limits: &Limits,
        now: Instant,
    ) -> Self {
        tune(&socket);
        let stage = match &session {
            Some(session) if !session.is_open() => Stage::Handshaking,
            _ => Stage::Open,
        };
        Self::new(socket, session, flow, stage, limits, now)
    }

    /// Begins to make a connection.
    pub(crate) fn connect(
        session: Option<Session>,
        flow: Flow,
        limits: &Limits,
        now: Instant,
    ) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(flow.remote),
            Type::STREAM.nonblocking(),
            None,
        )?;
        tune(&socket);
        let mut local = flow.local;
        local.set_port(0);
        if !local.ip().is_unspecified() && local.is_ipv4() == flow.remote.is_ipv4() {
            socket.bind(&local.into())?;
        }
        match socket.connect(&flow.remote.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        // `flow.local` stays what the peer is told in Via and Contact: where we listen, not the port
        // of this socket.
        Ok(Self::new(
            socket,
            session,
            flow,
            Stage::Connecting,
            limits,
            now,
        ))
    }

    fn new(
        socket: Socket,
        session: Option<Session>,
        flow: Flow,
        stage: Stage,
        limits: &Limits,
        now: Instant,
    ) -> Self {
        let framing = match flow.protocol.is_websocket() {
            true => Framing::WebSocket(Box::new(WebSocket::new(2 * limits.message))),
            false => Framing::Stream(Framer::new(framing::Limits {
                head: limits.message,
                body: limits.message,
            })),
        };
        Self {
            socket,
            session: session.map(Box::new),
            flow,
            stage,
            framing,
            unsent: Vec::new(),
            sent: 0,
            users: SlotSet::default(),
            proven: false,
            begun: None,
            heard: now,
            alarm: Alarm::default(),
            alias: None,
            watched: stage == Stage::Connecting,
        }
    }

    /// Whether the connection is made, now that its socket can be written to.
    pub(crate) fn finish_connecting(&mut self, now: Instant) -> io::Result<()> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        self.heard = now;
        self.stage = Stage::Open;
        if let Some(session) = &mut self.session {
            self.stage = Stage::Handshaking;
            session.put_out(&mut self.unsent);
        }
        Ok(())
    }

    /// Takes octets from the socket.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        use std::io::Read as _;
        if let Some(session) = &mut self.session {
            return session.receive(&self.socket, buffer, &mut self.unsent);
        }
        Ok(match (&self.socket).read(buffer)? {
            0 => Received::End,
            count => Received::Octets { count, last: false },
        })
    }

    /// Takes octets that were decrypted before the connection came here.
    pub(crate) fn receive_early(&mut self, buffer: &mut [u8]) -> usize {
        let session = self.session.as_mut();
        session.map_or(0, |session| session.take(buffer))
    }

    /// Whether the handshake has just come to its end. Until then the peer's octets don't prolong the
    /// time that it has for it.
    pub(crate) fn finish_handshake(&mut self, now: Instant) -> bool {
        let done = self
            .session
            .as_ref()
            .is_some_and(|session| session.is_open());
        if self.stage != Stage::Handshaking || !done {
            return false;
        }
        self.stage = Stage::Open;
        self.heard = now;
        true
    }

    /// The certificate that the peer has shown, verified.
    pub(crate) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.session.as_ref()?.certificate()
    }

    /// Octets were read: whether messages were finished among them, and whether one is unfinished.
    pub(crate) fn heard(&mut self, now: Instant, finished: bool) {
        self.heard = now;
        self.begun = match self.begun {
            _ if self.is_between_messages(finished) => None,
            Some(begun) if !finished => Some(begun),
            _ => Some(now),
        };
    }

    /// A WebSocket does not tell whether it has a part of a message. So it is taken for that if octets
    /// came that finished nothing; a part that follows a message is noticed with its next octets.
    fn is_between_messages(&self, finished: bool) -> bool {
        match &self.framing {
            Framing::Stream(framer) => framer.is_idle(),
            Framing::WebSocket(_) => finished,
        }
    }

    /// What has come of an unfinished request, as far as it could be answered.
    pub(crate) fn unfinished(&self) -> &[u8] {
        match &self.framing {
            Framing::Stream(framer) => framer.unfinished(),
            Framing::WebSocket(_) => &[],
        }
    }

    /// Has octets sent with the next [`flush`](Self::flush); `false` if too many wait already.
    pub(crate) fn queue(&mut self, bytes: &[u8], most: usize) -> bool {
        let waiting = self.waiting();
        if waiting > 0 && waiting + bytes.len() > most {
            return false;
        }
        match &mut self.framing {
            Framing::Stream(_) => self.put(bytes),
            Framing::WebSocket(socket) => {
                let mut framed = Vec::with_capacity(bytes.len() + FRAME);
                socket.write(bytes, &mut framed);
                self.put(&framed);
            }
        }
        true
    }

    /// Octets that wait for the peer to take them.
    pub(crate) fn waiting(&self) -> usize {
        let inside = self.session.as_ref().map_or(0, |session| session.waiting());
        self.unsent.len() - self.sent + inside
    }

    /// Has octets sent as they are, but for the encryption.
    pub(crate) fn put(&mut self, octets: &[u8]) {
        match &mut self.session {
            Some(session) => session.write(octets, &mut self.unsent),
            None => self.unsent.extend_from_slice(octets),
        }
    }

    /// Sends what waits, as far as the peer takes it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.stage != Stage::Connecting && self.sent < self.unsent.len() {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            match self
                .socket
                .send_with_flags(&self.unsent[self.sent..], flags)
            {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.sent == self.unsent.len() {
            self.sent = 0;
            self.unsent.clear();
            self.unsent.shrink_to(KEPT);
        }
        Ok(())
    }

    /// Whether octets wait that the peer does not take, or the connection is being made.
    pub(crate) fn wants_to_write(&self) -> bool {
        self.stage == Stage::Connecting || !self.unsent.is_empty()
    }

    /// Whether what the thread must wait for has changed since the last call.
    pub(crate) fn watch_changes(&mut self) -> bool {
        let wanted = self.wants_to_write();
        std::mem::replace(&mut self.watched, wanted) != wanted
    }

    /// Ends our side after all that waits has been sent, and reads nothing more.
    pub(crate) fn drain(&mut self, now: Instant) {
        self.stage = Stage::Draining;
        self.heard = now;
        if let Framing::WebSocket(socket) = &mut self.framing {
            let mut farewell = Vec::new();
            socket.close(&mut farewell);
            self.put(&farewell);
        }
        if let Some(session) = &mut self.session {
            session.close(&mut self.unsent);
        }
    }

    /// Tells the peer that nothing more will come.
    pub(crate) fn shut_down(&self) {
        // If it fails, the connection has ended already.
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }

    /// When the connection ends unless something happens.
    pub(crate) fn deadline(&self, limits: &Limits) -> Instant {
        match (self.stage, self.begun) {
            (Stage::Connecting, _) => self.heard + limits.connect,
            (Stage::Handshaking, _) => self.heard + limits.handshake,
            (Stage::Draining, _) => self.heard + DRAIN,
            (Stage::Open, Some(begun)) => begun + limits.unfinished,
            (Stage::Open, None) if self.proven => self.heard + limits.idle,
            (Stage::Open, None) => self.heard + limits.unproven,
        }
    }

    /// Whether a message has been begun.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.begun.is_some()
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Our address on a connected socket.
pub(crate) fn local_address(socket: &Socket) -> Option<std::net::SocketAddr> {
    socket.local_addr().ok()?.as_socket()
}

/// Finds out in useful time that a peer is gone. A kernel that refuses one of these does so for all
/// connections, and they work without.
fn tune(socket: &Socket) {
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(120))
        .with_interval(Duration::from_secs(30));
    let _ = socket.set_tcp_keepalive(&probes);
}

/// How long sent octets may stay unacknowledged: as long as a transaction lasts (64×T1).
const UNACKNOWLEDGED: Duration = Duration::from_secs(32);

/// How long the peer may take to read the last answer.
const DRAIN: Duration = Duration::from_secs(5);

/// Memory that a connection without unsent octets may hold on to, in octets.
const KEPT: usize = 2048;

/// Octets that a WebSocket frame adds to what is in it, at most.
const FRAME: usize = 14;
