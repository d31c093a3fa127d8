//! The connections of one thread.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use base::{Deadlines, Slot};
use sip::{ConnectionId, Flow, Protocol};
use socket2::Socket;

use super::connection::{Connection, Stage, local_address};
use super::directory::{Directory, Limit, Target, thread_of, was_accepted};
use super::session::Session;
use super::upgraded::Upgraded;
use crate::config::Limits;
use crate::poll::Poll;
use crate::stats::{Counter, Tally};
use crate::tls::Current;

/// Connections that one thread owns, whoever made them.
pub(crate) struct Connections {
    thread: usize,
    threads: usize,
    limits: Limits,
    directory: Arc<Directory>,
    tls: Arc<Current>,
    open: HashMap<ConnectionId, Connection>,
    /// Accepted ones that have not carried a valid message, oldest first.
    unproven: BTreeSet<ConnectionId>,
    deadlines: Deadlines<ConnectionId>,
    /// Connections with octets to send that were queued since the last flush.
    queued: Vec<ConnectionId>,
    /// Messages that did not arrive, with the slots that sent them.
    failed: Vec<(Slot, Flow)>,
}

/// Where a message for a flow has to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// To this connection of this thread.
    Here(ConnectionId),
    /// To a connection of another thread.
    There(usize, ConnectionId),
    /// Nowhere: the peer's connection has ended, or no other may be made.
    Nowhere,
}

impl Connections {
    pub(crate) fn new(
        thread: usize,
        threads: usize,
        limits: Limits,
        directory: Arc<Directory>,
        tls: Arc<Current>,
    ) -> Self {
        Self {
            thread,
            threads,
            limits,
            directory,
            tls,
            open: HashMap::new(),
            unproven: BTreeSet::new(),
            deadlines: Deadlines::new(),
            queued: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// Takes in a connection that a peer has made.
    pub(crate) fn accept(
        &mut self,
        now: Instant,
        protocol: Protocol,
        socket: Socket,
        poll: &Poll,
        tally: &Tally,
    ) -> io::Result<Result<(), Limit>> {
        let session = self.answering(protocol)?;
        let flow = flow_of(protocol, &socket)?;
        let admitted = self.admit(now, flow, socket, session, poll, tally)?;
        Ok(admitted.map(drop))
    }

    /// Takes in a WebSocket that a web server has opened.
    pub(crate) fn adopt(
        &mut self,
        now: Instant,
        upgraded: Upgraded,
        poll: &Poll,
        tally: &Tally,
    ) -> io::Result<Result<ConnectionId, Limit>> {
        let (protocol, session) = match upgraded.session {
            Some(session) => (Protocol::Wss, Some(Session::new(*session))),
            None => (Protocol::Ws, None),
        };
        let socket = Socket::from(upgraded.socket);
        let mut flow = flow_of(protocol, &socket)?;
        if let Some(proxied) = upgraded.proxied {
            flow.remote = proxied.client;
            flow.local.set_ip(proxied.local);
        }
        self.admit(now, flow, socket, session, poll, tally)
    }

    fn admit(
        &mut self,
        now: Instant,
        mut flow: Flow,
        socket: Socket,
        session: Option<Session>,
        poll: &Poll,
        tally: &Tally,
    ) -> io::Result<Result<ConnectionId, Limit>> {
        socket.set_nonblocking(true)?;
        let target = Target::of(&flow);
        let id = match self.directory.admit(target, self.thread) {
            Err(Limit::Total) if self.evict(poll, tally) => {
                self.directory.admit(target, self.thread)
            }
            result => result,
        };
        let id = match id {
            Ok(id) => id,
            Err(limit) => return Ok(Err(limit)),
        };
        flow.connection = Some(id);
        let connection = Connection::accepted(socket, session, flow, &self.limits, now);
        tally.one(Counter::Accepted);
        self.unproven.insert(id);
        self.enter(id, connection, poll, tally);
        Ok(Ok(id))
    }

    /// Our side of the encryption of a connection that a peer has made.
    fn answering(&self, protocol: Protocol) -> io::Result<Option<Session>> {
        if protocol != Protocol::Tls {
            return Ok(None);
        }
        let tls = self.tls.load().ok_or(io::ErrorKind::NotConnected)?;
        let session = tls.accept().map_err(io::Error::other)?;
        Ok(Some(Session::new(session)))
    }

    /// Finds the connection for a message, or begins to make one.
    pub(crate) fn place(&mut self, now: Instant, flow: &Flow, poll: &Poll, tally: &Tally) -> Place {
        // An id may come out of a record that an earlier process wrote, with more threads.
        if let Some(id) = flow.connection.filter(|id| thread_of(*id) < self.threads) {
            if thread_of(id) != self.thread {
                return Place::There(thread_of(id), id);
            }
            let open = self.open.get(&id);
            if open.is_some_and(|open| open.flow.same_peer(flow)) {
                return Place::Here(id);
            }
            if was_accepted(id) && self.directory.find(Target::of(flow)).is_none() {
                return Place::Nowhere;
            }
        }
        if !can_connect(flow) {
            let open = self.directory.find(Target::of(flow));
            return open.map_or(Place::Nowhere, |id| self.place_of(id));
        }
        match self.directory.reach(Target::of(flow), self.thread) {
            Ok((id, true)) => self.connect(now, id, flow, poll, tally),
            Ok((id, false)) => self.place_of(id),
            Err(_) => Place::Nowhere,
        }
    }

    fn place_of(&self, id: ConnectionId) -> Place {
        match thread_of(id) {
            thread if thread == self.thread => Place::Here(id),
            thread => Place::There(thread, id),
        }
    }

    /// Has a message of `slot` sent with the next [`flush`](Self::flush).
    pub(crate) fn queue(
        &mut self,
        id: ConnectionId,
        slot: Slot,
        bytes: &[u8],
        poll: &Poll,
        tally: &Tally,
    ) {
        let Some(connection) = self.open.get_mut(&id) else {
            return;
        };
        connection.users.insert(slot);
        if connection.queue(bytes, self.limits.unsent) {
            self.queued.push(id);
        } else {
            self.close_slow(id, poll, tally);
        }
    }

    fn close_slow(&mut self, id: ConnectionId, poll: &Poll, tally: &Tally) {
        if let Some(connection) = self.open.get(&id) {
            let peer = base::Pii(connection.flow);
            tracing::info!(%peer, "closed: the peer does not read what it is sent");
        }
        tally.one(Counter::TimedOut);
        self.close(id, poll, tally);
    }

    /// Sends what was queued.
    pub(crate) fn flush(&mut self, poll: &Poll, tally: &Tally) {
        while let Some(id) = self.queued.pop() {
            self.write(id, poll, tally);
        }
    }

    /// The connection with this id, if it is open.
    pub(crate) fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.open.get_mut(&id)
    }

    /// The socket of a connection can be written to, or has failed.
    pub(crate) fn writable(&mut self, now: Instant, id: ConnectionId, poll: &Poll, tally: &Tally) {
        let Some(connection) = self.open.get_mut(&id) else {
            return;
        };
        if connection.stage == Stage::Connecting {
            if connection.finish_connecting(now).is_err() {
                self.close(id, poll, tally);
                return;
            }
            tally.one(Counter::Connected);
            self.arm(id);
        }
        self.write(id, poll, tally);
    }

    /// The keys of a connection may have been agreed on: finds out who the peer is.
    pub(crate) fn was_secured(&mut self, now: Instant, id: ConnectionId, tally: &Tally) {
        let Some(connection) = self.open.get_mut(&id) else {
            return;
        };
        if !connection.finish_handshake(now) {
            return;
        }
        tally.one(Counter::Secured);
        let shown = connection.certificate().zip(self.tls.load());
        if let Some((certificate, tls)) = shown.filter(|_| was_accepted(id)) {
            let old = Target::of(&connection.flow);
            connection.flow.tls = tls.recognise(certificate);
            let new = Target::of(&connection.flow);
            self.directory.name(id, Some(old), new);
        }
    }

    /// A peer that has proved who it is may be reached over its connection by the address that its own
    /// requests name.
    ///
    /// # Source
    /// RFC 5923 §5, §6.
    pub(crate) fn add_alias(&mut self, id: ConnectionId, alias: Target) {
        if let Some(connection) = self.open.get_mut(&id) {
            connection.alias = Some(alias);
            self.directory.name(id, None, alias);
        }
    }

    /// Octets were read from a connection: sends answers to keep-alives and moves its deadline.
    pub(crate) fn was_read(&mut self, id: ConnectionId, poll: &Poll, tally: &Tally) {
        let Some(connection) = self.open.get(&id) else {
            return;
        };
        if connection.proven {
            self.unproven.remove(&id);
        }
        // Who pings and does not read the answers.
        if connection.waiting() > self.limits.unsent + SLACK {
            return self.close_slow(id, poll, tally);
        }
        if connection.wants_to_write() {
            self.write(id, poll, tally);
        }
        self.arm(id);
    }

    /// Ends a connection after what waits has been sent.
    pub(crate) fn drain(&mut self, now: Instant, id: ConnectionId, poll: &Poll, tally: &Tally) {
        if let Some(connection) = self.open.get_mut(&id) {
            connection.drain(now);
            self.write(id, poll, tally);
            self.arm(id);
        }
    }

    /// Ends a connection and reports it to the slots that used it.
    pub(crate) fn close(&mut self, id: ConnectionId, poll: &Poll, tally: &Tally) {
        let Some(connection) = self.open.remove(&id) else {
            return;
        };
        // Closing the descriptor removes it as well; this is for clarity in case of a duplicate.
        let _ = poll.remove(&connection);
        self.unproven.remove(&id);
        self.directory
            .remove(id, Target::of(&connection.flow), connection.alias);
        if connection.stage == Stage::Connecting {
            tally.one(Counter::NotSent);
        } else {
            tally.one(Counter::Closed);
        }
        let users = connection.users.iter();
        self.failed
            .extend(users.map(|slot| (slot, connection.flow)));
    }

    /// When the next connection must be looked at, or earlier.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// A connection whose time is over.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Option<ConnectionId> {
        while let Some(id) = self.deadlines.pop_due(now) {
            let Some(connection) = self.open.get_mut(&id) else {
                continue;
            };
            connection.alarm.rang(now);
            if connection.deadline(&self.limits) <= now {
                return Some(id);
            }
            self.arm(id);
        }
        None
    }

    /// Takes a failure that its slot must be told of.
    pub(crate) fn take_failed(&mut self) -> Option<(Slot, Flow)> {
        self.failed.pop()
    }

    /// Whether slots must be told of failures.
    pub(crate) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Makes room by ending the oldest connection that never carried a valid message.
    pub(crate) fn evict(&mut self, poll: &Poll, tally: &Tally) -> bool {
        let Some(&oldest) = self.unproven.first() else {
            return false;
        };
        tally.one(Counter::ConnectionsRefused);
        self.close(oldest, poll, tally);
        true
    }

    fn connect(
        &mut self,
        now: Instant,
        id: ConnectionId,
        flow: &Flow,
        poll: &Poll,
        tally: &Tally,
    ) -> Place {
        let connection = self.begin(now, id, flow);
        let Ok(connection) = connection else {
            self.directory.remove(id, Target::of(flow), None);
            return Place::Nowhere;
        };
        if self.enter(id, connection, poll, tally) {
            Place::Here(id)
        } else {
            Place::Nowhere
        }
    }

    fn begin(&self, now: Instant, id: ConnectionId, flow: &Flow) -> io::Result<Connection> {
        let flow = Flow {
            connection: Some(id),
            ..*flow
        };
        let session = match flow.protocol {
            Protocol::Tls => {
                let session = self.tls.load().and_then(|tls| tls.connect(flow.tls));
                // Without a name nobody could tell whether it is the right one.
                Some(Session::new(session.ok_or(io::ErrorKind::NotConnected)?))
            }
            _ => None,
        };
        Connection::connect(session, flow, &self.limits, now)
    }

    fn enter(
        &mut self,
        id: ConnectionId,
        connection: Connection,
        poll: &Poll,
        tally: &Tally,
    ) -> bool {
        let added = poll.add(&connection, id.0, connection.wants_to_write());
        self.open.insert(id, connection);
        if added.is_err() {
            self.close(id, poll, tally);
            return false;
        }
        self.arm(id);
        true
    }

    fn write(&mut self, id: ConnectionId, poll: &Poll, tally: &Tally) {
        let Some(connection) = self.open.get_mut(&id) else {
            return;
        };
        if connection.flush().is_err() {
            self.close(id, poll, tally);
            return;
        }
        if connection.stage == Stage::Draining && !connection.wants_to_write() {
            connection.shut_down();
        }
        if connection.watch_changes()
            && poll
                .change(connection, id.0, connection.wants_to_write())
                .is_err()
        {
            self.close(id, poll, tally);
        }
    }

    fn arm(&mut self, id: ConnectionId) {
        let Some(connection) = self.open.get_mut(&id) else {
            return;
        };
        let deadline = connection.deadline(&self.limits);
        if connection.alarm.needs(deadline) {
            self.deadlines.arm(deadline, id);
        }
    }
}

/// What a limit of unsent octets may be overstepped by: a long message with its frame and encryption.
const SLACK: usize = 256 * 1024;

/// Whether we make connections of this kind; a browser makes its own.
fn can_connect(flow: &Flow) -> bool {
    matches!(flow.protocol, Protocol::Tcp | Protocol::Tls)
}

/// The way over a connection that a peer has made.
fn flow_of(protocol: Protocol, socket: &Socket) -> io::Result<Flow> {
    let remote = socket.peer_addr()?.as_socket();
    let (Some(remote), Some(local)) = (remote, local_address(socket)) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    Ok(Flow {
        protocol,
        local,
        remote,
        connection: None,
        tls: sip::TlsPeer::ANY,
    })
}
