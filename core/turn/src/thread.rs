//! The loop: what has come goes into the machine, what the machine wants is done.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ice::turn::{Client, Command, Out, RelayId, Server};
use rustix::event::{Timespec, epoll};

use crate::relays::Sockets;
use crate::streams::{State, Streams, is_passing};
use crate::{Listener, Settings, Shared};

pub(crate) struct Thread {
    server: Server,
    listeners: Vec<Listener>,
    relays: Sockets,
    streams: Streams,
    epoll: OwnedFd,
    shared: Arc<Shared>,
    families: (bool, bool),
    next_sweep: Instant,
    out: Out,
    buffer: Vec<u8>,
}

/// Whose socket is ready, as the number that epoll keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Bell,
    Listener(u32),
    Stream(u32),
    Relay(u32),
}

impl Thread {
    pub(crate) fn new(
        mut settings: Settings,
        listeners: Vec<Listener>,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        watch(&epoll, &shared.bell, Key::Bell)?;
        for (number, listener) in (0..).zip(&listeners) {
            match listener {
                Listener::Udp(socket) => watch(&epoll, socket, Key::Listener(number))?,
                Listener::Tcp(socket) => watch(&epoll, socket, Key::Listener(number))?,
            }
        }
        let mut seed = [0; 32];
        rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())?;
        let now = Instant::now();
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let advertised = &settings.relays.advertise;
        let families = (
            advertised.iter().any(|ip| ip.is_ipv4()),
            advertised.iter().any(|ip| ip.is_ipv6()),
        );
        (settings.clients.ipv4, settings.clients.ipv6) = families;
        Ok(Self {
            server: Server::new(settings.clients, seed, now, since_1970),
            listeners,
            relays: Sockets::new(settings.relays),
            streams: Streams::default(),
            epoll,
            shared,
            families,
            next_sweep: now + SWEEP,
            out: Out::default(),
            buffer: vec![0; 65536],
        })
    }

    pub(crate) fn run(mut self) {
        let mut events = Vec::with_capacity(EVENTS);
        while !self.shared.stop.load(Ordering::Acquire) {
            let limit = self.limit(Instant::now());
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            // An interrupted wait is an empty one.
            let _ = epoll::wait(&self.epoll, spare, limit.as_ref());
            let now = Instant::now();
            for event in &events {
                self.on_ready(now, Key::from_number(event.data.u64()), event.flags);
            }
            self.server.wake(now, &mut self.out);
            self.obey();
            self.sweep(now);
        }
    }

    fn limit(&self, now: Instant) -> Option<Timespec> {
        let sweep = (!self.streams.is_empty()).then_some(self.next_sweep);
        let next = self.server.deadline().into_iter().chain(sweep).min()?;
        next.saturating_duration_since(now).try_into().ok()
    }

    fn on_ready(&mut self, now: Instant, key: Key, flags: epoll::EventFlags) {
        match key {
            Key::Bell => self.on_bell(),
            Key::Listener(number) => self.on_listener(now, number),
            Key::Stream(number) => self.on_stream(now, number, flags),
            Key::Relay(number) => self.on_relay(now, RelayId(number)),
        }
    }

    fn on_bell(&mut self) {
        let _ = rustix::io::read(&self.shared.bell, &mut [0; 8]);
        let place = self.shared.config.lock();
        let config = place.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut config) = config {
            (config.ipv4, config.ipv6) = self.families;
            self.server.configure(config);
        }
    }

    fn on_listener(&mut self, now: Instant, number: u32) {
        match self.listeners.get(number as usize) {
            Some(Listener::Udp(_)) => self.on_datagrams(now, number),
            Some(Listener::Tcp(_)) => self.accept(now, number),
            None => {}
        }
    }

    /// Takes at most 64 datagrams, so that no socket keeps the others waiting.
    fn on_datagrams(&mut self, now: Instant, number: u32) {
        for _ in 0..BATCH {
            let Some(Listener::Udp(socket)) = self.listeners.get(number as usize) else {
                return;
            };
            let Some((length, address)) = receive(socket, &mut self.buffer) else {
                return;
            };
            let client = Client {
                address,
                listener: number as u16,
                connection: 0,
            };
            let datagram = &self.buffer[..length];
            self.server.handle(now, client, datagram, &mut self.out);
            self.obey();
        }
    }

    fn accept(&mut self, now: Instant, number: u32) {
        for _ in 0..BATCH {
            let Some(Listener::Tcp(listener)) = self.listeners.get(number as usize) else {
                return;
            };
            let Ok((socket, _)) = listener.accept() else {
                return;
            };
            if let Ok(Some(stream)) = self.streams.add(now, socket, number as u16) {
                let key = Key::Stream(stream.client.connection);
                // One that can't be watched is closed by the next sweep.
                let _ = watch(&self.epoll, &stream.socket, key);
            }
        }
    }

    fn on_stream(&mut self, now: Instant, number: u32, flags: epoll::EventFlags) {
        let Some(stream) = self.streams.of(number) else {
            return;
        };
        if flags.contains(epoll::EventFlags::OUT) && !stream.flush() {
            let data = epoll::EventData::new_u64(Key::Stream(number).number());
            let _ = epoll::modify(&self.epoll, &stream.socket, data, epoll::EventFlags::IN);
        }
        let (server, out) = (&mut self.server, &mut self.out);
        let state = stream.read(now, &mut self.buffer, |client, message| {
            server.handle(now, client, message, out);
        });
        self.obey();
        if state == State::Closed {
            self.hang_up(number);
        }
    }

    fn on_relay(&mut self, now: Instant, relay: RelayId) {
        for _ in 0..BATCH {
            let Some(socket) = self.relays.of(relay) else {
                return;
            };
            let Some((length, peer)) = receive(socket, &mut self.buffer) else {
                return;
            };
            let data = &self.buffer[..length];
            self.server.relayed(now, relay, peer, data, &mut self.out);
            self.obey();
        }
    }

    /// Does what the machine wants. Making a socket may bring more.
    fn obey(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        let mut at = 0;
        while let Some(command) = out.commands.get(at).cloned() {
            at += 1;
            match command {
                Command::ToClient { client, octets } => self.answer(client, &out.octets[octets]),
                Command::ToPeer {
                    relay,
                    peer,
                    octets,
                } => {
                    if let Some(socket) = self.relays.of(relay) {
                        // A datagram may always be lost.
                        let _ = socket.send_to(&out.octets[octets], peer);
                    }
                }
                Command::Bind { relay, ipv6, even } => {
                    let address = self.bind(relay, ipv6, even);
                    self.server.bound(relay, address, &mut out);
                }
                Command::Close { relay } => self.relays.close(relay),
            }
        }
        out.clear();
        self.out = out;
    }

    fn bind(&mut self, relay: RelayId, ipv6: bool, even: bool) -> Option<SocketAddr> {
        let address = self.relays.bind(relay, ipv6, even)?;
        let socket = self.relays.of(relay)?;
        if watch(&self.epoll, socket, Key::Relay(relay.0)).is_ok() {
            return Some(address);
        }
        self.relays.close(relay);
        None
    }

    fn answer(&mut self, client: Client, octets: &[u8]) {
        if client.connection == 0 {
            if let Some(Listener::Udp(socket)) = self.listeners.get(usize::from(client.listener)) {
                let _ = socket.send_to(octets, client.address);
            }
        } else if let Some(stream) = self.streams.of(client.connection)
            && stream.write(octets)
        {
            let data = epoll::EventData::new_u64(Key::Stream(client.connection).number());
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT;
            let _ = epoll::modify(&self.epoll, &stream.socket, data, flags);
        }
    }

    fn hang_up(&mut self, number: u32) {
        if let Some(stream) = self.streams.remove(number) {
            self.server.hang_up(stream.client, &mut self.out);
            self.obey();
        }
    }

    /// Closes streams that are silent and have no relay.
    fn sweep(&mut self, now: Instant) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP;
        for client in self.streams.silent(now) {
            if !self.server.has_relay(client) {
                self.hang_up(client.connection);
            }
        }
    }
}

impl Key {
    fn number(self) -> u64 {
        let (kind, number) = match self {
            Self::Bell => (0, 0),
            Self::Listener(number) => (1, number),
            Self::Stream(number) => (2, number),
            Self::Relay(number) => (3, number),
        };
        kind << 32 | u64::from(number)
    }

    fn from_number(key: u64) -> Self {
        let number = key as u32;
        match key >> 32 {
            0 => Self::Bell,
            1 => Self::Listener(number),
            2 => Self::Stream(number),
            _ => Self::Relay(number),
        }
    }
}

fn watch(epoll: &OwnedFd, socket: impl AsFd, key: Key) -> io::Result<()> {
    let data = epoll::EventData::new_u64(key.number());
    Ok(epoll::add(epoll, socket, data, epoll::EventFlags::IN)?)
}

/// The next datagram. Errors that a former sending has left behind are passed over.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    loop {
        match socket.recv_from(buffer) {
            Ok(received) => return Some(received),
            Err(error) if is_passing(&error) => return None,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => {
                tracing::debug!(%error, "a socket of the TURN server can't be read");
                return None;
            }
        }
    }
}

/// Sockets that one wait finds.
const EVENTS: usize = 256;

/// Datagrams that are taken from one socket before the next.
const BATCH: usize = 64;

/// How often silent streams are looked for.
const SWEEP: Duration = Duration::from_secs(10);
