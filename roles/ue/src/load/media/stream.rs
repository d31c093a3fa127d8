//! RTP at real pace on many sockets.

use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::stamp::{SPACE, Stream};
use super::{Leg, MediaReport};
use crate::load::Histogram;

/// All legs' streams. Each sends every 20 ms; leg `i` has the millisecond `i mod 20`, so that the load
/// is even.
pub(super) struct Streams {
    legs: Vec<(Leg, Stream)>,
    epoll: Epoll,
    timer: TimerFd,
    began: Instant,
    /// Milliseconds whose packets have been sent.
    tick: u64,
    ticks: u64,
    delay: Histogram,
    lateness: Duration,
    refused: u64,
}

impl Streams {
    /// Connects the sockets of `legs` and starts the clock.
    pub(super) fn new(legs: Vec<Leg>, duration: Duration) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        timer.set(
            Expiration::Interval(TimeSpec::from_duration(TICK)),
            TimerSetTimeFlags::empty(),
        )?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        for (index, leg) in legs.iter().enumerate() {
            leg.socket.connect(leg.remote)?;
            leg.socket.set_nonblocking(true)?;
            let event = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
            epoll.add(leg.socket.as_fd(), event)?;
        }
        let with_stream = |(number, mut leg): (u32, Leg)| {
            let form = std::mem::take(&mut leg.form);
            (leg, Stream::new(number, form))
        };
        Ok(Self {
            legs: (0..).zip(legs).map(with_stream).collect(),
            epoll,
            timer,
            began: Instant::now(),
            tick: 0,
            ticks: duration.as_millis() as u64,
            delay: Histogram::new(),
            lateness: Duration::ZERO,
            refused: 0,
        })
    }

    /// Sends what is due, waits, takes what has come; breaks when all is over.
    pub(super) fn step(&mut self) -> io::Result<ControlFlow<()>> {
        self.send_due()?;
        let mut events = [EpollEvent::empty(); 256];
        let count = match self.epoll.wait(&mut events, EpollTimeout::from(20u8)) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        for event in &events[..count] {
            match event.data() {
                TIMER => drop(self.timer.wait()),
                index => self.take(index as usize)?,
            }
        }
        let is_over = self.tick >= self.ticks
            && (self.all_arrived() || self.began.elapsed() > TICK * self.ticks as u32 + DRAIN);
        Ok(if is_over {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }

    /// Sends no more.
    pub(super) fn stop(&mut self) {
        self.ticks = self.tick;
    }

    pub(super) fn report(&self) -> MediaReport {
        let sum = |count: fn(&Stream) -> u64| self.legs.iter().map(|(_, s)| count(s)).sum::<u64>();
        let sent = sum(|stream| u64::from(stream.sent));
        let received = sum(|stream| stream.seen.received);
        let mut pace = Histogram::new();
        for late in self
            .legs
            .iter()
            .flat_map(|(_, stream)| stream.times.lateness())
        {
            pace.record(Duration::from_micros(late));
        }
        MediaReport {
            legs: self.legs.len(),
            sent,
            received,
            lost: self.expected().saturating_sub(received),
            reordered: sum(|stream| stream.seen.reordered),
            duplicated: sum(|stream| stream.seen.duplicated),
            foreign: sum(|stream| stream.seen.foreign),
            refused: self.refused,
            silent: self.legs.iter().filter(|(_, s)| s.is_silent()).count(),
            delay: self.delay.percentiles(),
            pace: pace.percentiles(),
            lateness: self.lateness,
        }
    }

    fn send_due(&mut self) -> io::Result<()> {
        // A generator that is behind reads in between, or the server's packets would be lost here.
        for _ in 0..4 {
            let due = TICK * self.tick as u32;
            let at = self.began.elapsed();
            if self.tick >= self.ticks || at < due {
                break;
            }
            self.lateness = self.lateness.max(at - due);
            let first = (self.tick % SPREAD as u64) as usize;
            for index in (first..self.legs.len()).step_by(SPREAD) {
                self.send(index)?;
            }
            self.tick += 1;
        }
        Ok(())
    }

    fn send(&mut self, index: usize) -> io::Result<()> {
        let at = self.began.elapsed();
        let (leg, stream) = &mut self.legs[index];
        let Some(packet) = stream.next(at) else {
            return Ok(());
        };
        match leg.socket.send(packet) {
            Ok(_) => Ok(()),
            Err(error) if is_passing(&error) => {
                self.refused += 1;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn take(&mut self, index: usize) -> io::Result<()> {
        let (leg, stream) = &mut self.legs[index];
        let mut packet = [0; SPACE];
        // One a turn: to learn that there is no second would cost as much as the first, and what is
        // left makes the socket readable again.
        match leg.socket.recv(&mut packet) {
            Ok(length) => {
                let delay = stream.receive(&mut packet[..length], self.began.elapsed());
                if let Some(delay) = delay {
                    self.delay.record(delay);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if is_passing(&error) => self.refused += 1,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn all_arrived(&self) -> bool {
        let received = self.legs.iter().map(|(_, stream)| stream.seen.received);
        self.expected() == received.sum::<u64>()
    }

    /// How many packets were to arrive.
    fn expected(&self) -> u64 {
        let pairs = self.legs.chunks(2).map(|pair| match pair {
            [(_, one), (_, other)] => one.expected(other.sent) + other.expected(one.sent),
            _ => 0,
        });
        pairs.sum()
    }
}

/// Lets the process open as many sockets as the system allows it at all.
pub fn allow_many_sockets() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Without it, opening the sockets tells what is wrong.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// The server may not listen yet, or no more; a full buffer drops a packet like any network.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::WouldBlock | ErrorKind::Interrupted
    )
}

/// The clock's step.
const TICK: Duration = Duration::from_millis(1);

/// Ticks between two packets of a stream: 20 ms.
const SPREAD: usize = 20;

/// How long the last packets may take.
const DRAIN: Duration = Duration::from_millis(500);

/// The timer's name among the legs' numbers.
const TIMER: u64 = u64::MAX;
