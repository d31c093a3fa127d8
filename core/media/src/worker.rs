//! The loop of a worker thread.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::{Mint, Slot};
use rustix::event::{Timespec, epoll};
use rustix::rand::GetRandomFlags;
use udp::Inbox;

use crate::certificate::Certificates;
use crate::leg::AHEAD;
use crate::mailbox::Mailbox;
use crate::pace::Pace;
use crate::plane::Deliver;
use crate::record::Recorder;
use crate::relay::{Buffer, MAX_DATAGRAM, ROOM, SIZE};
use crate::room::Rooms;
use crate::sessions::{Readable, Sessions};
use crate::shortcuts::Way;
use crate::sound::Library;
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
    /// For shared ports.
    inbox: Inbox,
    pace: Pace,
}

/// What all workers share.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) certificates: Certificates,
    pub(crate) library: Library,
    pub(crate) recorder: Recorder,
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) way: Way,
}

/// What one worker is made of, sent to its thread when it starts.
pub(crate) struct Parts {
    config: Config,
    number: usize,
    mailbox: Arc<Mailbox>,
    deliver: Deliver,
    common: Common,
    seed: [u8; 32],
    epoll: OwnedFd,
}

impl Parts {
    /// Everything that can fail is done here.
    pub(crate) fn new(
        config: &Config,
        number: usize,
        mailbox: Arc<Mailbox>,
        deliver: Deliver,
        common: Common,
    ) -> io::Result<Self> {
        let mut seed = [0; 32];
        rustix::rand::getrandom(&mut seed, GetRandomFlags::empty())?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let bell = epoll::EventData::new_u64(BELL);
        epoll::add(&epoll, mailbox.bell(), bell, epoll::EventFlags::IN)?;
        Ok(Self {
            config: config.clone(),
            number,
            mailbox,
            deliver,
            common,
            seed,
            epoll,
        })
    }
}

impl Worker {
    /// Called on its own thread, where what its legs share stays.
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { config, number, .. } = parts;
        let mint = Mint::new(Slot::new(number as u8), parts.seed);
        let start = Instant::now();
        let inbox = match config.shared {
            true => Inbox::new(DATAGRAMS, MAX_DATAGRAM + 1, ROOM - 1),
            false => Inbox::new(0, 0, 0),
        };
        Self {
            mailbox: parts.mailbox,
            deliver: parts.deliver,
            sessions: Sessions::new(&config, number, parts.epoll, mint, start, parts.common),
            start,
            next_sweep: 0,
            commands: VecDeque::new(),
            buffer: Box::new([0; SIZE]),
            inbox,
            pace: Pace::new(start),
        }
    }

    /// Works until the plane stops. A panic is a bug of one call: the hook has reported it, and the
    /// other calls go on.
    pub(crate) fn run(mut self) {
        let mut events = Vec::with_capacity(BATCH);
        while !self.mailbox.is_stopping() {
            let _ = catch_unwind(AssertUnwindSafe(|| self.turn(&mut events)));
        }
    }

    /// Makes packets that are due, waits for others and for commands, obeys these and handles those.
    fn turn(&mut self, events: &mut Vec<epoll::Event>) {
        self.make(self.now());
        let due = || self.deadline().map(|at| self.sessions.instant(at));
        if let Some(pause) = self.pace.pause(due, Instant::now()) {
            std::thread::sleep(pause);
        }
        self.wait(events);
        // A phone may talk as soon as it has its answer. Signalling says so here before it sends the answer, so who
        // looks at the mail after the wait knows about every packet that the wait has found.
        self.obey_mail(self.now());
        let full = events.len() >= BATCH;
        let packets = self.read(events);
        let urgent = std::mem::take(&mut self.sessions.urgent);
        self.pace.note(packets, urgent, full, Instant::now());
    }

    /// Does what is due by the clock, or was left to do by commands and packets.
    fn make(&mut self, now: u64) {
        self.sweep(now);
        self.sessions.tick(&mut self.buffer, now, &*self.deliver);
        self.sessions.mix(&mut self.buffer, now, &*self.deliver);
        self.mailbox.calm();
        self.sessions.show(&mut self.buffer, now);
        self.sessions.shake_hands(now, &*self.deliver);
        self.sessions.flush_bundles(&mut self.buffer);
        self.sessions.hubs.flush();
    }

    /// Obeys what has been ordered.
    fn obey_mail(&mut self, now: u64) {
        if self.commands.is_empty() {
            self.mailbox.take(&mut self.commands);
        }
        // Packets of running calls do not wait for a long list of new ones.
        for _ in 0..COMMANDS {
            let Some(command) = self.commands.pop_front() else {
                break;
            };
            self.obey(command, now);
        }
    }

    /// Handles what has come, and returns how many packets that were.
    fn read(&mut self, events: &[epoll::Event]) -> usize {
        let (now, mut packets) = (self.now(), 0);
        for events in events.chunks(AHEAD) {
            let tokens = events.iter().map(|event| event.data.u64());
            self.sessions.fetch(tokens.clone());
            for token in tokens {
                packets += self.read_one(token, now);
                self.sessions.flush_bundles(&mut self.buffer);
            }
        }
        packets
    }

    fn read_one(&mut self, token: u64, now: u64) -> usize {
        if token == BELL {
            self.mailbox.silence();
            return 1;
        }
        let deliver = &*self.deliver;
        match Readable::decode(token) {
            Readable::Port(token) => {
                let sessions = &mut self.sessions;
                sessions.readable(token, &mut self.buffer, now, deliver);
                1
            }
            Readable::Hub { hub, socket } => {
                let (place, inbox) = ((hub, socket), &mut self.inbox);
                1 + self.sessions.readable_hub(place, inbox, now, deliver)
            }
        }
    }

    /// Milliseconds since the worker was made.
    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    fn obey(&mut self, command: Command, now: u64) {
        self.sessions.recall(&command, now);
        let event = match command {
            Command::Allocate {
                session,
                local,
                streams,
            } => Some(self.sessions.allocate(session, local, streams, now)),
            Command::Serve {
                session,
                stream,
                side,
                source,
                number,
                format,
            } => {
                let place = (stream, side);
                let source = (&source, number);
                self.sessions.serve(session, place, source, format, now)
            }
            Command::Record {
                session,
                stream,
                recording,
            } => {
                let recording = recording.map(|recording| *recording);
                self.sessions.record(session, stream, recording, now)
            }
            Command::RecordRoom {
                session,
                room,
                recording,
            } => {
                let recording = recording.map(|recording| *recording);
                self.sessions.record_room(session, room, recording, now)
            }
            Command::Count { session } => Some(self.sessions.count(session)),
            Command::Close { session } => Some(self.sessions.close(session, now)),
            other => {
                self.obey_silently(other, now);
                None
            }
        };
        if let Some(event) = event {
            (self.deliver)(event);
        }
    }

    /// Obeys a command that has no answer.
    fn obey_silently(&mut self, command: Command, now: u64) {
        let sessions = &mut self.sessions;
        match command {
            Command::Keyframe {
                session,
                stream,
                side,
                full_intra,
            } => sessions.want_keyframe(session, (stream, side), full_intra, now),
            Command::Wish {
                session,
                stream,
                side,
            } => sessions.wish(session, (stream, side)),
            Command::Connect {
                session,
                stream,
                side,
                remote,
            } => sessions.connect(session, stream, side, remote, now, &*self.deliver),
            Command::PauseRecording {
                session,
                stream,
                paused,
            } => sessions.pause_recording(session, stream, paused),
            Command::Unserve {
                session,
                stream,
                side,
            } => sessions.unserve(session, stream, side, now),
            Command::Digits {
                session,
                stream,
                side,
                digits,
                duration_ms,
                pause_ms,
            } => {
                let lengths = (duration_ms, pause_ms);
                sessions.dial(session, (stream, side), &digits, lengths, now);
            }
            Command::BlockDigits {
                session,
                stream,
                side,
                blocked,
            } => sessions.block_digits(session, (stream, side), blocked),
            other => self.obey_in_room(&other, now),
        }
    }

    /// Obeys a command about a conference room.
    fn obey_in_room(&mut self, command: &Command, now: u64) {
        let sessions = &mut self.sessions;
        match *command {
            Command::Join {
                session,
                stream,
                side,
                room,
                participant,
                format,
            } => sessions.join(session, (stream, side), room, participant, format, now),
            Command::Watch {
                session,
                stream,
                side,
                room,
                format,
            } => sessions.watch(session, (stream, side), room, format, now),
            Command::Adjust {
                session,
                stream,
                side,
                participant,
            } => sessions.adjust(session, (stream, side), participant),
            Command::Leave {
                session,
                stream,
                side,
            } => sessions.leave(session, (stream, side)),
            Command::PauseRoom { room, paused, .. } => sessions.pause_room(room, paused),
            // The others have been obeyed.
            _ => {}
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
                let at = self.sessions.instant(at);
                at.saturating_duration_since(Instant::now())
            }),
        };
        events.clear();
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
/// Datagrams taken from a shared port between two looks at the others.
const DATAGRAMS: usize = 64;
/// Commands obeyed between two looks at the sockets.
const COMMANDS: usize = 32;
/// How often sessions are looked over, in milliseconds.
const SWEEP_MS: u64 = 250;
