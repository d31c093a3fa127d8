//! The loop of one signalling thread.

use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::Slot;
use ice::stun::answer_binding;
use sip::{ConnectionId, Flow, Protocol, StatusCode, TlsPeer};
use socket2::Socket;

use crate::machine::{Input, Machine};
use crate::mailbox::{Mail, Parcel};
use crate::poll::{Events, Poll, Ready};
use crate::post::Post;
use crate::reception::{Reception, Verdict};
use crate::residents::Residents;
use crate::seldom::Seldom;
use crate::shared::{Ends, Shared};
use crate::stats::{Counter, Tally};
use crate::tcp::{Connections, Listeners, Outcome, Received, Stage, Upgraded, read};
use crate::transports::{Key, Transports};
use crate::udp::UdpSocket;

/// One thread: its slots' machines, its sockets, its mailbox.
pub(crate) struct Thread<M: Machine> {
    index: usize,
    shared: Arc<Shared<M::Command>>,
    mail: std::sync::mpsc::Receiver<Mail<M::Command>>,
    events: Events,
    inbox: udp::Inbox,
    /// Where octets of connections are read to.
    buffer: Vec<u8>,
    residents: Residents<M>,
    transports: Transports,
    post: Post<M::Command>,
    strangers: Seldom,
}

/// What one thread is made of, sent to it when it starts.
pub(crate) struct Parts<M: Machine> {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared<M::Command>>,
    pub(crate) ends: Ends<M::Command>,
    pub(crate) poll: Poll,
    pub(crate) udp: Vec<UdpSocket>,
    pub(crate) listeners: Vec<(Protocol, Socket)>,
    pub(crate) residents: Residents<M>,
}

impl<M: Machine> Thread<M> {
    pub(crate) fn new(parts: Parts<M>) -> Self {
        let directory = Arc::clone(&parts.shared.directory);
        let threads = parts.shared.threads();
        let tls = Arc::clone(&parts.shared.tls);
        let limits = parts.shared.limits;
        let connections = Connections::new(parts.index, threads, limits, directory, tls);
        let sources = Arc::clone(&parts.shared.admission);
        let listeners = Listeners::new(parts.listeners, &limits, sources);
        Self {
            index: parts.index,
            post: Post::new(parts.index, Arc::clone(&parts.shared), parts.ends.returned),
            shared: parts.shared,
            mail: parts.ends.mail,
            events: Events::new(),
            buffer: vec![0; BUFFER],
            inbox: crate::udp::inbox(),
            residents: parts.residents,
            transports: Transports::new(parts.poll, parts.udp, listeners, connections),
            strangers: Seldom::default(),
        }
    }

    /// Works until the thread is told to stop; what it was told before is done, and what the machines
    /// made of it is sent.
    pub(crate) fn run(mut self) {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.turn())) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return self.commit(Instant::now()),
                Err(_) => {
                    tracing::error!(thread = self.index, "an input was lost to a fault of ours");
                    self.residents.abandon();
                    self.tally().one(Counter::Panics);
                }
            }
        }
    }

    /// Deadlines, mail, then sleep until something is ready, and read it.
    fn turn(&mut self) -> ControlFlow<()> {
        let now = Instant::now();
        self.tell_unreachable(now);
        self.keep_deadlines(now);
        self.commit(now);
        self.read_mail(now, MAILS)?;
        let ready = self.sleep(now)?;
        let now = Instant::now();
        for index in 0..ready {
            let ready = self.events.ready(index);
            self.read(now, ready);
        }
        ControlFlow::Continue(())
    }

    /// Sleeps until a socket is ready, mail comes, or a deadline; tells how many sockets are ready.
    fn sleep(&mut self, now: Instant) -> ControlFlow<(), usize> {
        let mailbox = &self.shared.mailboxes[self.index];
        mailbox.falls_asleep();
        // Whoever wrote before the line above did not wake us.
        let late = mailbox.take(&self.mail);
        let lost = self.transports.has_unreachable() || self.post.has_failed();
        let unwoken = self.post.has_unwoken().then(|| now + AGAIN);
        let busy = late.is_some() || lost;
        let next = self.residents.next().into_iter();
        let next = next
            .chain(self.transports.next_deadline())
            .chain(unwoken)
            .min();
        let until = if busy { Some(now) } else { next };
        let timeout = until.map(|at| at.saturating_duration_since(Instant::now()));
        let ready = self.transports.poll.wait(&mut self.events, timeout);
        mailbox.wakes_up();
        if let Some(mail) = late {
            self.open(Instant::now(), mail)?;
            self.commit(now);
        }
        ControlFlow::Continue(ready)
    }

    fn keep_deadlines(&mut self, now: Instant) {
        let tally = &self.shared.tallies[self.index];
        self.residents.handle_deadlines(now, tally);
        self.transports.listeners.resume(now, &self.transports.poll);
        while let Some(id) = self.transports.connections.take_expired(now) {
            self.expire(now, id);
        }
    }

    fn read(&mut self, now: Instant, ready: Ready) {
        let Transports {
            poll,
            connections,
            listeners,
            ..
        } = &mut self.transports;
        let tally = &self.shared.tallies[self.index];
        match Key::of_number(ready.key) {
            Key::Waker => self.shared.mailboxes[self.index].waker().clear(),
            Key::Udp(index) => {
                if ready.failed {
                    self.transports.read_reports(index);
                }
                self.read_datagrams(now, index);
            }
            Key::Listener(index) => listeners.accept(now, index, connections, poll, tally),
            Key::Connection(id) => {
                if ready.writable || ready.failed {
                    connections.writable(now, id, poll, tally);
                }
                if ready.readable || ready.failed {
                    self.read_connection(now, id);
                }
            }
        }
    }

    fn read_connection(&mut self, now: Instant, id: ConnectionId) {
        let Transports {
            poll, connections, ..
        } = &mut self.transports;
        let tally = &self.shared.tallies[self.index];
        let Some(connection) = connections.connection(id) else {
            return;
        };
        let (count, last) = match connection.receive(&mut self.buffer) {
            Err(error) if is_passing(&error) => return,
            Err(_) | Ok(Received::End) => return connections.close(id, poll, tally),
            Ok(Received::Fault(fault)) => return self.fail_session(now, id, &fault),
            Ok(Received::Nothing) => (0, false),
            Ok(Received::Octets { count, last }) => (count, last),
        };
        connections.was_secured(now, id, tally);
        self.read_octets(now, id, count, last);
    }

    /// Reads the first `count` octets of the buffer, which a connection has brought.
    fn read_octets(&mut self, now: Instant, id: ConnectionId, count: usize, last: bool) {
        let Transports {
            poll, connections, ..
        } = &mut self.transports;
        let tally = &self.shared.tallies[self.index];
        let octets = &self.buffer[..count];
        let Some(connection) = connections.connection(id) else {
            return;
        };
        if connection.stage == Stage::Draining || octets.is_empty() {
            return connections.was_read(id, poll, tally);
        }
        let mut reception = Reception {
            now,
            index: self.index,
            threads: self.shared.threads(),
            residents: &mut self.residents,
            post: &mut self.post,
            tally,
        };
        let reading = read(connection, octets, &mut reception);
        let flow = connection.flow;
        if let Some(alias) = reading.alias {
            connections.add_alias(id, alias);
        }
        connections.was_read(id, poll, tally);
        self.commit(now);
        match reading.outcome {
            Outcome::Continue if !last => return,
            Outcome::Continue | Outcome::End => {}
            Outcome::Refuse(fault) => self.log_closed(now, &flow, &fault),
            Outcome::Fault => self.log_closed(now, &flow, &"it breaks the rules of WebSockets"),
        }
        self.drain(now, id);
    }

    /// A WebSocket comes from the web server: what that has read of it already is read first.
    fn adopt(&mut self, now: Instant, mut upgraded: Upgraded) {
        let tally = &self.shared.tallies[self.index];
        let Transports {
            poll, connections, ..
        } = &mut self.transports;
        let early = std::mem::take(&mut upgraded.early);
        let Ok(Ok(id)) = connections.adopt(now, upgraded, poll, tally) else {
            return tally.one(Counter::ConnectionsRefused);
        };
        for octets in early.chunks(BUFFER) {
            self.buffer[..octets.len()].copy_from_slice(octets);
            self.read_octets(now, id, octets.len(), false);
        }
        let connection = self.transports.connections.connection(id);
        let count = connection.map_or(0, |open| open.receive_early(&mut self.buffer));
        self.read_octets(now, id, count, false);
    }

    /// A TLS session cannot go on: the peer is told why, if it listens, and the connection ends.
    fn fail_session(&mut self, now: Instant, id: ConnectionId, fault: &rustls::Error) {
        let tally = &self.shared.tallies[self.index];
        let Transports {
            poll, connections, ..
        } = &mut self.transports;
        let Some(connection) = connections.connection(id) else {
            return;
        };
        let flow = connection.flow;
        if connection.stage == Stage::Handshaking {
            tally.one(Counter::HandshakesFailed);
        }
        connections.was_read(id, poll, tally);
        connections.close(id, poll, tally);
        match self.shared.tls.load() {
            Some(tls) if flow.tls != TlsPeer::ANY => {
                let name = tls.name_of(flow.tls).unwrap_or_default();
                self.log_closed(now, &flow, &format_args!("TLS with {name}: {fault}"));
            }
            _ => self.log_closed(now, &flow, &format_args!("TLS: {fault}")),
        }
    }

    /// The time of a connection is over: an unfinished request is answered, a silent peer is not.
    fn expire(&mut self, now: Instant, id: ConnectionId) {
        let tally = &self.shared.tallies[self.index];
        tally.one(Counter::TimedOut);
        let Transports {
            poll, connections, ..
        } = &mut self.transports;
        let Some(connection) = connections.connection(id) else {
            return;
        };
        if connection.stage != Stage::Open || !connection.is_unfinished() {
            return connections.close(id, poll, tally);
        }
        let mut reception = Reception {
            now,
            index: self.index,
            threads: self.shared.threads(),
            residents: &mut self.residents,
            post: &mut self.post,
            tally,
        };
        let flow = connection.flow;
        reception.refuse(flow, connection.unfinished(), TIMEOUT);
        self.commit(now);
        self.log_closed(now, &flow, &"a message was not finished in time");
        self.drain(now, id);
    }

    fn drain(&mut self, now: Instant, id: ConnectionId) {
        let tally = &self.shared.tallies[self.index];
        let Transports {
            poll, connections, ..
        } = &mut self.transports;
        connections.drain(now, id, poll, tally);
    }

    fn log_closed(&mut self, now: Instant, flow: &Flow, reason: &dyn std::fmt::Display) {
        if let Some(suppressed) = self.strangers.allows(now) {
            let peer = base::Pii(flow);
            tracing::info!(%peer, %reason, suppressed, "a connection is closed");
        }
    }

    fn read_datagrams(&mut self, now: Instant, index: usize) {
        let count = self.inbox.receive(self.transports.udp(index));
        for datagram in 0..count {
            let socket = self.transports.udp(index);
            let Some(incoming) = self.inbox.datagram(datagram) else {
                continue;
            };
            let flow = socket.flow(incoming.remote, incoming.local);
            let bytes = incoming.bytes();
            let tally = &self.shared.tallies[self.index];
            if is_keep_alive(bytes) {
                tally.one(Counter::KeepAlives);
                continue;
            }
            if may_be_stun(bytes) && answer_stun(&mut self.residents, flow, bytes) {
                tally.one(Counter::KeepAlives);
                continue;
            }
            let mut reception = Reception {
                now,
                index: self.index,
                threads: self.shared.threads(),
                residents: &mut self.residents,
                post: &mut self.post,
                tally,
            };
            if reception.receive(flow, bytes) == Verdict::NotSip {
                log_stranger(&mut self.strangers, now, &flow, bytes.len());
            }
        }
        self.commit(now);
    }

    fn read_mail(&mut self, now: Instant, most: usize) -> ControlFlow<()> {
        for _ in 0..most {
            let mailbox = &self.shared.mailboxes[self.index];
            let Some(mail) = mailbox.take(&self.mail) else {
                break;
            };
            self.open(now, mail)?;
            if self.residents.is_full() {
                self.commit(now);
            }
        }
        self.commit(now);
        ControlFlow::Continue(())
    }

    fn open(&mut self, now: Instant, mail: Mail<M::Command>) -> ControlFlow<()> {
        match mail {
            Mail::Received(parcel) => self.open_received(now, parcel),
            Mail::Transmit(parcel) => self.open_transmit(now, parcel),
            Mail::Local(parcel) => self.open_local(now, parcel),
            Mail::Adopt(upgraded) => self.adopt(now, *upgraded),
            Mail::Command(slot, command) => self.deliver(now, slot, Input::Command(command)),
            Mail::Media(event) => self.deliver(now, event.session().slot(), Input::Media(event)),
            Mail::Answer(answer) => self.deliver(now, answer.id.slot(), Input::Answer(answer)),
            Mail::Wake(slot) => self.deliver(now, slot, Input::Wake),
            Mail::Unreachable(slot, flow) => {
                self.deliver(now, slot, Input::Unreachable { flow });
            }
            Mail::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn open_received(&mut self, now: Instant, parcel: Box<Parcel>) {
        let mut reception = Reception {
            now,
            index: self.index,
            threads: self.shared.threads(),
            residents: &mut self.residents,
            post: &mut self.post,
            tally: &self.shared.tallies[self.index],
        };
        for item in &parcel.items {
            let bytes = &parcel.bytes[item.range.clone()];
            reception.receive_forwarded(item.slot, item.flow, bytes);
        }
        self.post.give_back(parcel);
    }

    /// Messages from slot to slot: they are received as if a network had brought them.
    fn open_local(&mut self, now: Instant, parcel: Box<Parcel>) {
        let mut reception = Reception {
            now,
            index: self.index,
            threads: self.shared.threads(),
            residents: &mut self.residents,
            post: &mut self.post,
            tally: &self.shared.tallies[self.index],
        };
        for item in &parcel.items {
            reception.receive(item.flow.reversed(), &parcel.bytes[item.range.clone()]);
        }
        self.post.give_back(parcel);
    }

    fn open_transmit(&mut self, now: Instant, parcel: Box<Parcel>) {
        let tally = &self.shared.tallies[self.index];
        for item in &parcel.items {
            let bytes = &parcel.bytes[item.range.clone()];
            self.transports.transmit_stream(
                now,
                item.slot,
                item.flow,
                bytes,
                &mut self.post,
                tally,
            );
        }
        let Transports {
            poll, connections, ..
        } = &mut self.transports;
        connections.flush(poll, tally);
        self.post.give_back(parcel);
    }

    fn tell_unreachable(&mut self, now: Instant) {
        let lost = |thread: &mut Self| {
            let lost = thread.transports.take_unreachable();
            lost.or_else(|| thread.post.take_failed())
        };
        while let Some((slot, flow)) = lost(self) {
            self.tally().one(Counter::Unreachable);
            if self.shared.thread_of(slot) == self.index {
                self.deliver(now, slot, Input::Unreachable { flow });
            } else {
                self.post.unreachable(slot, flow);
            }
        }
    }

    fn deliver(&mut self, now: Instant, slot: Slot, input: Input<'_, M::Command>) {
        let tally = &self.shared.tallies[self.index];
        self.residents.handle(now, slot, input, tally);
    }

    fn commit(&mut self, now: Instant) {
        let tally = &self.shared.tallies[self.index];
        self.residents
            .commit(now, &mut self.transports, &mut self.post, tally);
        self.post.flush();
    }

    fn tally(&self) -> &Tally {
        &self.shared.tallies[self.index]
    }
}

/// Whether a socket that cannot be read now may be read later.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, WouldBlock};
    matches!(error.kind(), WouldBlock | Interrupted)
}

/// The answer to a request that was begun and not finished (RFC 3261 §21.4.9).
const TIMEOUT: StatusCode = StatusCode(408);

/// When a thread whose mailbox was full is woken again.
const AGAIN: Duration = Duration::from_millis(1);

/// Octets read from a connection at once.
const BUFFER: usize = 64 * 1024;

/// Mails that are read before the sockets get their turn.
const MAILS: usize = 256;

/// Empty lines or single octets that phones send to keep a way through a NAT open (RFC 5626 §3.5.1
/// and older habits).
fn is_keep_alive(bytes: &[u8]) -> bool {
    bytes.len() <= 4
        && bytes
            .iter()
            .all(|byte| matches!(byte, b'\r' | b'\n' | 0 | b' '))
}

/// SIP never begins with two zero bits (RFC 5626 §5.4).
fn may_be_stun(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first & 0xc0 == 0)
}

/// Answers a Binding request; `false` if it is none.
fn answer_stun<M: Machine>(residents: &mut Residents<M>, flow: Flow, bytes: &[u8]) -> bool {
    let mut is_binding = false;
    residents.answer(Slot::new(0), |answer| {
        is_binding = answer_binding(bytes, flow.remote, answer);
        is_binding.then_some(flow)
    });
    is_binding
}

fn log_stranger(seldom: &mut Seldom, now: Instant, flow: &Flow, length: usize) {
    if let Some(suppressed) = seldom.allows(now) {
        let peer = base::Pii(flow);
        tracing::info!(%peer, length, suppressed, "what came is not SIP; it is dropped");
    }
}
