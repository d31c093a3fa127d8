//! The loop of a worker thread.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use crate::mailbox::Mailbox;
use crate::plane::Deliver;
use crate::relay::{Buffer, MAX_DATAGRAM};
use crate::sessions::{Sessions, Token};
use crate::{Command, Config};

pub(crate) struct Worker {
    mailbox: Arc<Mailbox>,
    deliver: Deliver,
    sessions: Sessions,
    start: Instant,
    next_sweep: u64,
}

impl Worker {
    pub(crate) fn new(
        config: &Config,
        number: usize,
        mailbox: Arc<Mailbox>,
        deliver: Deliver,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let bell = epoll::EventData::new_u64(BELL);
        epoll::add(&epoll, mailbox.bell(), bell, epoll::EventFlags::IN)?;
        Ok(Self {
            mailbox,
            deliver,
            sessions: Sessions::new(config, number, epoll),
            start: Instant::now(),
            next_sweep: 0,
        })
    }

    pub(crate) fn run(mut self) {
        let mut commands = VecDeque::new();
        let mut events = Vec::with_capacity(BATCH);
        let mut buffer: Box<Buffer> = Box::new([0; MAX_DATAGRAM + 1]);
        while !self.mailbox.is_stopping() {
            if commands.is_empty() {
                self.mailbox.take(&mut commands);
            }
            let now = self.now();
            // Packets of running calls do not wait for a long list of new ones.
            for command in commands.drain(..commands.len().min(COMMANDS)) {
                self.obey(command, now);
            }
            self.sweep(now);
            self.wait(&mut events, commands.is_empty());
            let now = self.now();
            for event in events.drain(..) {
                match event.data.u64() {
                    BELL => self.mailbox.silence(),
                    token => self
                        .sessions
                        .readable(Token::decode(token), &mut buffer, now),
                }
            }
        }
    }

    /// Milliseconds since the worker was made.
    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    #[expect(clippy::needless_pass_by_value, reason = "a command is used up")]
    fn obey(&mut self, command: Command, now: u64) {
        let sessions = &mut self.sessions;
        let event = match command {
            Command::Allocate {
                session,
                local,
                streams,
            } => sessions.allocate(session, local, streams, now),
            Command::Connect {
                session,
                stream,
                side,
                remote,
            } => return sessions.connect(session, stream, side, remote, now),
            Command::Serve { .. } => return,
            Command::Close { session } => sessions.close(session, now),
        };
        (self.deliver)(event);
    }

    fn sweep(&mut self, now: u64) {
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP_MS;
            self.sessions.sweep(now, &*self.deliver);
        }
    }

    /// Waits for packets, the bell or the next sweep; does not wait if there is `work` left.
    fn wait(&mut self, events: &mut Vec<epoll::Event>, idle: bool) {
        let doze = idle && self.mailbox.doze();
        let limit = match doze {
            false => Some(Timespec::default()),
            true if self.sessions.is_empty() => None,
            true => Some(timespec(self.next_sweep.saturating_sub(self.now()))),
        };
        let spare = rustix::buffer::spare_capacity(events);
        // An interrupted wait is an empty one.
        let _ = epoll::wait(self.sessions.epoll(), spare, limit.as_ref());
        if doze {
            self.mailbox.wake();
        }
    }
}

fn timespec(ms: u64) -> Timespec {
    Duration::from_millis(ms).try_into().unwrap_or_default()
}

const BELL: u64 = u64::MAX;
/// Datagrams handled between two looks at the mailbox.
const BATCH: usize = 256;
/// Commands obeyed between two looks at the sockets.
const COMMANDS: usize = 32;
/// How often sessions are looked over, in milliseconds.
const SWEEP_MS: u64 = 250;
