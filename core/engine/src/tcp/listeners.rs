//! Accepting connections.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sip::Protocol;
use socket2::{SockAddr, Socket};

use super::connections::Connections;
use crate::admission::Admission;
use crate::config::Limits;
use crate::poll::Poll;
use crate::rates::Rate;
use crate::seldom::Seldom;
use crate::stats::{Counter, Tally};
use crate::transports::Key;

/// The listening sockets of one thread.
pub(crate) struct Listeners {
    sockets: Vec<Listener>,
    handshakes: Handshakes,
    log: Seldom,
}

struct Listener {
    protocol: Protocol,
    socket: Socket,
    /// When to listen again; none: it listens.
    paused_until: Option<Instant>,
}

/// How many TLS handshakes may begin: a flood of them would leave a thread no time for anything else.
struct Handshakes {
    /// For all threads together, by source.
    sources: Arc<Admission>,
    /// On this thread; none: as many as come.
    rate: Option<Rate>,
    since: Instant,
    /// When the thread's bucket is full, in nanoseconds.
    full_at: u64,
}

impl Handshakes {
    /// Whether this thread has time for one, and when the one after it is taken from its bucket.
    fn next(&self, now: Instant) -> Option<u64> {
        let nanos = now.saturating_duration_since(self.since).as_nanos() as u64;
        self.rate
            .map_or(Some(0), |rate| rate.take(self.full_at, nanos))
    }
}

impl Listeners {
    pub(crate) fn new(
        sockets: Vec<(Protocol, Socket)>,
        limits: &Limits,
        sources: Arc<Admission>,
    ) -> Self {
        let listening = |(protocol, socket)| Listener {
            protocol,
            socket,
            paused_until: None,
        };
        Self {
            sockets: sockets.into_iter().map(listening).collect(),
            handshakes: Handshakes {
                sources,
                rate: Rate::of(limits.handshakes, BURST),
                since: Instant::now(),
                full_at: 0,
            },
            log: Seldom::default(),
        }
    }

    /// Accepts what waits at one listener, but not so many that others starve.
    pub(crate) fn accept(
        &mut self,
        now: Instant,
        index: usize,
        connections: &mut Connections,
        poll: &Poll,
        tally: &Tally,
    ) {
        for _ in 0..ACCEPTS {
            let listener = &self.sockets[index];
            let secure = listener.protocol == Protocol::Tls;
            let next = self.handshakes.next(now).filter(|_| secure);
            if secure && next.is_none() {
                return self.pause(index, now + BREATH, poll);
            }
            match listener.socket.accept() {
                Ok((socket, peer)) => {
                    if secure && !self.may_shake_hands(now, &peer) {
                        self.refuse(now, "too many TLS handshakes come from one address", tally);
                        continue;
                    }
                    self.handshakes.full_at = next.unwrap_or(self.handshakes.full_at);
                    self.enter(now, index, socket, connections, poll, tally);
                }
                Err(error) if is_passing(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tally.one(Counter::ConnectionsRefused);
                    self.log(now, &error.to_string());
                    // A socket that is ready and cannot be served would keep the thread busy.
                    if !connections.evict(poll, tally) {
                        self.pause_all(now, poll);
                    }
                    return;
                }
            }
        }
    }

    /// When to listen again.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.sockets.iter().filter_map(|one| one.paused_until).min()
    }

    /// Listens again where the pause is over.
    pub(crate) fn resume(&mut self, now: Instant, poll: &Poll) {
        for (index, listener) in self.sockets.iter_mut().enumerate() {
            if listener.paused_until.is_none_or(|until| now < until) {
                continue;
            }
            let key = Key::Listener(index).number();
            let added = poll.add(&listener.socket, key, false);
            listener.paused_until = added.is_err().then(|| now + PAUSE);
        }
    }

    /// Whether somebody at this address may begin a handshake.
    fn may_shake_hands(&self, now: Instant, peer: &SockAddr) -> bool {
        // Whoever has no address is gone, which shows when it enters.
        let peer = peer.as_socket();
        peer.is_none_or(|peer| self.handshakes.sources.admits_handshake(now, peer.ip()))
    }

    fn enter(
        &mut self,
        now: Instant,
        index: usize,
        socket: Socket,
        connections: &mut Connections,
        poll: &Poll,
        tally: &Tally,
    ) {
        let protocol = self.sockets[index].protocol;
        match connections.accept(now, protocol, socket, poll, tally) {
            Ok(Ok(())) => {}
            Ok(Err(limit)) => self.refuse(now, limit.as_str(), tally),
            // The peer is gone already.
            Err(_) => tally.one(Counter::ConnectionsRefused),
        }
    }

    fn refuse(&mut self, now: Instant, reason: &str, tally: &Tally) {
        tally.one(Counter::ConnectionsRefused);
        self.log(now, reason);
    }

    fn pause_all(&mut self, now: Instant, poll: &Poll) {
        for index in 0..self.sockets.len() {
            self.pause(index, now + PAUSE, poll);
        }
    }

    fn pause(&mut self, index: usize, until: Instant, poll: &Poll) {
        let listener = &mut self.sockets[index];
        listener.paused_until = Some(until);
        // It may be paused already.
        let _ = poll.remove(&listener.socket);
    }

    fn log(&mut self, now: Instant, reason: &str) {
        if let Some(suppressed) = self.log.allows(now) {
            tracing::warn!(reason, suppressed, "a connection is refused");
        }
    }
}

/// Whether the next connection may be accepted although this one failed.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

/// Connections that are accepted before the sockets get their turn.
const ACCEPTS: usize = 64;

/// Seconds' worth of handshakes that may begin at once after a rest.
const BURST: u32 = 1;

/// How long nothing is accepted over TLS after a thread has had as many handshakes as it may. Who wants
/// in waits in the system's queue.
const BREATH: Duration = Duration::from_millis(20);

/// How long nothing is accepted after descriptors or memory ran out.
const PAUSE: Duration = Duration::from_secs(1);
