//! The loop of a worker thread.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{Mint, Slot};
use rustix::event::{Timespec, epoll};
use rustix::rand::GetRandomFlags;

use crate::certificate::Certificate;
use crate::mailbox::Mailbox;
use crate::pace::Pace;
use crate::plane::Deliver;
use crate::relay::{Buffer, SIZE};
use crate::sessions::{Sessions, Token};
use crate::{Command, Config};

pub(crate) struct Worker {
    mailbox: Arc<Mailbox>,
    deliver: Deliver,
    sessions: Sessions,
    start: Instant,
    next_sweep: u64,
    /// Taken from the mailbox and not yet obeyed.
    commands: VecDeque<Command>,
    buffer: Box<Buffer>,
    pace: Pace,
}

impl Worker {
    pub(crate) fn new(
        config: &Config,
        number: usize,
        mailbox: Arc<Mailbox>,
        deliver: Deliver,
        certificate: Certificate,
    ) -> io::Result<Self> {
        let mut seed = [0; 32];
        rustix::rand::getrandom(&mut seed, GetRandomFlags::empty())?;
        let mint = Mint::new(Slot::new(number as u8), seed);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let bell = epoll::EventData::new_u64(BELL);
        epoll::add(&epoll, mailbox.bell(), bell, epoll::EventFlags::IN)?;
        let start = Instant::now();
        Ok(Self {
            mailbox,
            deliver,
            sessions: Sessions::new(config, number, epoll, mint, certificate, start),
            start,
            next_sweep: 0,
            commands: VecDeque::new(),
            buffer: Box::new([0; SIZE]),
            pace: Pace::new(start),
        })
    }

    /// Works until the plane stops. A panic is a bug of one call: the hook has reported it, and the
    /// other calls go on.
    pub(crate) fn run(mut self) {
        let mut events = Vec::with_capacity(BATCH);
        while !self.mailbox.is_stopping() {
            let _ = catch_unwind(AssertUnwindSafe(|| self.turn(&mut events)));
        }
    }

    /// Obeys commands, makes packets that are due, waits for packets and handles them.
    fn turn(&mut self, events: &mut Vec<epoll::Event>) {
        if self.commands.is_empty() {
            self.mailbox.take(&mut self.commands);
        }
        let now = self.now();
        // Packets of running calls do not wait for a long list of new ones.
        for _ in 0..COMMANDS {
            let Some(command) = self.commands.pop_front() else {
                break;
            };
            self.obey(command, now);
        }
        self.sweep(now);
        self.sessions.tick(&mut self.buffer, now, &*self.deliver);
        self.sessions.shake_hands(now, &*self.deliver);
        if let Some(pause) = self.pace.pause(Instant::now()) {
            std::thread::sleep(pause);
        }
        self.wait(events);
        self.pace.note(events.len(), Instant::now());
        let now = self.now();
        for event in events.drain(..) {
            match event.data.u64() {
                BELL => self.mailbox.silence(),
                token => {
                    let token = Token::decode(token);
                    let deliver = &*self.deliver;
                    self.sessions
                        .readable(token, &mut self.buffer, now, deliver);
                }
            }
        }
    }

    /// Milliseconds since the worker was made.
    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    fn obey(&mut self, command: Command, now: u64) {
        let sessions = &mut self.sessions;
        let event = match command {
            Command::Allocate {
                session,
                local,
                streams,
            } => Some(sessions.allocate(session, local, streams, now)),
            Command::Connect {
                session,
                stream,
                side,
                remote,
            } => {
                sessions.connect(session, stream, side, remote, now, &*self.deliver);
                None
            }
            Command::Serve {
                session,
                stream,
                source,
                format,
            } => sessions.serve(session, stream, &source, format, now),
            Command::Close { session } => Some(sessions.close(session, now)),
        };
        if let Some(event) = event {
            (self.deliver)(event);
        }
    }

    fn sweep(&mut self, now: u64) {
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP_MS;
            self.sessions.sweep(now, &*self.deliver);
        }
    }

    /// Waits for packets, the bell, the next sweep or the next packet to make; only looks if there
    /// is other work.
    fn wait(&mut self, events: &mut Vec<epoll::Event>) {
        let doze = self.commands.is_empty() && self.mailbox.doze();
        let limit = match doze {
            false => Some(Duration::ZERO),
            true => self.deadline().map(|at| {
                let at = self.start + Duration::from_millis(at);
                at.saturating_duration_since(Instant::now())
            }),
        };
        let limit: Option<Timespec> = limit.map(|l| l.try_into().unwrap_or_default());
        let spare = rustix::buffer::spare_capacity(events);
        // An interrupted wait is an empty one.
        let _ = epoll::wait(self.sessions.epoll(), spare, limit.as_ref());
        if doze {
            self.mailbox.wake();
        }
    }

    /// When there is something to do even without packets, in milliseconds.
    fn deadline(&self) -> Option<u64> {
        let sweep = (!self.sessions.is_empty()).then_some(self.next_sweep);
        let tick = self.sessions.deadline();
        sweep.into_iter().chain(tick).min()
    }
}

const BELL: u64 = u64::MAX;
/// Datagrams handled between two looks at the mailbox.
const BATCH: usize = 256;
/// Commands obeyed between two looks at the sockets.
const COMMANDS: usize = 32;
/// How often sessions are looked over, in milliseconds.
const SWEEP_MS: u64 = 250;
