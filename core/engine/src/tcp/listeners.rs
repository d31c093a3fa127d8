//! Accepting connections.

use std::io;
use std::time::{Duration, Instant};

use sip::Protocol;
use socket2::Socket;

use super::connections::Connections;
use crate::poll::Poll;
use crate::seldom::Seldom;
use crate::stats::{Counter, Tally};
use crate::transports::Key;

/// The listening sockets of one thread.
pub(crate) struct Listeners {
    sockets: Vec<(Protocol, Socket)>,
    /// When to listen again, after descriptors or memory ran out.
    paused_until: Option<Instant>,
    log: Seldom,
}

impl Listeners {
    pub(crate) fn new(sockets: Vec<(Protocol, Socket)>) -> Self {
        Self {
            sockets,
            paused_until: None,
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
            let (protocol, listener) = &self.sockets[index];
            match listener.accept() {
                Ok((socket, _)) => self.enter(now, *protocol, socket, connections, poll, tally),
                Err(error) if is_passing(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tally.one(Counter::ConnectionsRefused);
                    self.log(now, &error.to_string());
                    // A socket that is ready and cannot be served would keep the thread busy.
                    if !connections.evict(poll, tally) {
                        self.pause(now, poll);
                    }
                    return;
                }
            }
        }
    }

    /// When to listen again.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Listens again if the pause is over.
    pub(crate) fn resume(&mut self, now: Instant, poll: &Poll) {
        if self.paused_until.is_none_or(|until| now < until) {
            return;
        }
        self.paused_until = None;
        for (index, (_, socket)) in self.sockets.iter().enumerate() {
            if poll
                .add(socket, Key::Listener(index).number(), false)
                .is_err()
            {
                self.paused_until = Some(now + PAUSE);
            }
        }
    }

    fn enter(
        &mut self,
        now: Instant,
        protocol: Protocol,
        socket: Socket,
        connections: &mut Connections,
        poll: &Poll,
        tally: &Tally,
    ) {
        match connections.accept(now, protocol, socket, poll, tally) {
            Ok(Ok(())) => {}
            Ok(Err(limit)) => {
                tally.one(Counter::ConnectionsRefused);
                self.log(now, limit.as_str());
            }
            // The peer is gone already.
            Err(_) => tally.one(Counter::ConnectionsRefused),
        }
    }

    fn pause(&mut self, now: Instant, poll: &Poll) {
        self.paused_until = Some(now + PAUSE);
        for (_, socket) in &self.sockets {
            // It may be paused already.
            let _ = poll.remove(socket);
        }
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

/// How long nothing is accepted after descriptors or memory ran out.
const PAUSE: Duration = Duration::from_secs(1);
