//! The queue of commands to one worker.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io;

use crate::Command;

/// Takes commands from signalling threads to one worker, in the order in which each sent them.
///
/// Signalling locks it for the length of a push and the worker for the length of a swap; a worker
/// that has no mail only reads a flag, so packets never wait for a lock.
///
/// [`Command::Allocate`] is turned away when `capacity` commands wait. The other commands are
/// always taken: they end work rather than begin it, and as a session has to be allocated first
/// and each of its SIP transactions makes a handful, what waits is bounded by the sessions that
/// were let in.
#[derive(Debug)]
pub(crate) struct Mailbox {
    waiting: Mutex<VecDeque<Command>>,
    capacity: usize,
    filled: AtomicBool,
    asleep: AtomicBool,
    /// There is something to be looked for elsewhere.
    stirred: AtomicBool,
    stopping: AtomicBool,
    bell: OwnedFd,
}

impl Mailbox {
    pub(crate) fn new(capacity: usize) -> io::Result<Self> {
        Ok(Self {
            waiting: Mutex::new(VecDeque::with_capacity(capacity.min(64))),
            capacity,
            filled: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            stirred: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Appends `commands`; gives those back that were turned away.
    pub(crate) fn push(
        &self,
        commands: impl Iterator<Item = Command>,
        turned_away: &mut Vec<Command>,
    ) {
        {
            let mut waiting = self.lock();
            for command in commands {
                let stopping = self.is_stopping();
                match command {
                    Command::Allocate { .. } if stopping || waiting.len() >= self.capacity => {
                        turned_away.push(command);
                    }
                    _ if stopping => {}
                    _ => waiting.push_back(command),
                }
            }
        }
        self.filled.store(true, Ordering::Release);
        self.ring();
    }

    /// Tells the worker to end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.ring();
    }

    /// Tells the worker to look for what other workers have published.
    pub(crate) fn stir(&self) {
        self.stirred.store(true, Ordering::Release);
        self.ring();
    }

    /// The worker is about to look.
    pub(crate) fn calm(&self) {
        if self.stirred.load(Ordering::Relaxed) {
            self.stirred.swap(false, Ordering::Acquire);
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Swaps the commands that wait with the empty `into`.
    pub(crate) fn take(&self, into: &mut VecDeque<Command>) {
        if self.filled.load(Ordering::Relaxed) && self.filled.swap(false, Ordering::Acquire) {
            std::mem::swap(&mut *self.lock(), into);
        }
    }

    /// Announces that the worker is about to wait for the bell; false if it must not.
    pub(crate) fn doze(&self) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        // Pairs with the fence in `ring`: one of the two sees what the other has stored.
        fence(Ordering::SeqCst);
        let stirred = self.stirred.load(Ordering::Relaxed);
        if self.filled.load(Ordering::Relaxed) || stirred || self.is_stopping() {
            self.wake();
            return false;
        }
        true
    }

    /// The worker is up again and looks at its mail without being rung for.
    pub(crate) fn wake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Becomes readable when the worker is rung for while it dozes.
    pub(crate) fn bell(&self) -> impl AsFd {
        &self.bell
    }

    /// Makes the bell unreadable again.
    pub(crate) fn silence(&self) {
        // Nothing to read only means that it has not rung.
        let _ = io::read(&self.bell, &mut [0; 8]);
    }

    fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            // Fails only when the counter is full: then it has rung already.
            let _ = io::write(&self.bell, &1u64.to_ne_bytes());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Command>> {
        // Pushing and swapping leave the queue whole even if the thread was killed by a panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
