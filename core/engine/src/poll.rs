//! Waiting for sockets, and being woken.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// The set of descriptors that one thread waits for (epoll, level-triggered).
#[derive(Debug)]
pub(crate) struct Poll {
    epoll: OwnedFd,
}

/// Room for what one wait finds.
pub(crate) struct Events(Vec<libc::epoll_event>);

/// What a descriptor is ready for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    /// The key that it was added with.
    pub(crate) key: u64,
    /// Something can be read, or the peer has closed.
    pub(crate) readable: bool,
    /// Something can be written.
    pub(crate) writable: bool,
    /// An error waits, or the peer has closed both ways.
    pub(crate) failed: bool,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are involved.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        Ok(Self {
            // SAFETY: the call above has just made this descriptor, and nobody else owns it.
            epoll: unsafe { OwnedFd::from_raw_fd(fd) },
        })
    }

    /// Waits for reading, and for writing if `writes`.
    pub(crate) fn add(&self, fd: &impl AsRawFd, key: u64, writes: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd.as_raw_fd(), key, writes)
    }

    /// Changes what a descriptor is waited for.
    pub(crate) fn change(&self, fd: &impl AsRawFd, key: u64, writes: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd.as_raw_fd(), key, writes)
    }

    /// Waits no more for a descriptor that stays open.
    pub(crate) fn remove(&self, fd: &impl AsRawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd.as_raw_fd(), 0, false)
    }

    /// Sleeps until something is ready or the time is over; forever without one. Returns how many
    /// descriptors are ready: `events` tells which.
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> usize {
        // Rounded up: a wake-up before the deadline would be one for nothing.
        let millis = timeout.map_or(-1, |time| {
            i32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        // SAFETY: the pointer and the length are those of a live vector.
        let count = unsafe {
            libc::epoll_wait(
                self.epoll.as_raw_fd(),
                events.0.as_mut_ptr(),
                EVENTS as i32,
                millis,
            )
        };
        // The only failure with valid arguments is a signal: nothing is ready then.
        usize::try_from(count).unwrap_or(0)
    }

    fn control(&self, operation: i32, fd: RawFd, key: u64, writes: bool) -> io::Result<()> {
        let writing = if writes { libc::EPOLLOUT } else { 0 };
        let mut event = libc::epoll_event {
            events: (libc::EPOLLIN | libc::EPOLLRDHUP | writing) as u32,
            u64: key,
        };
        // SAFETY: the event lives until the call returns; the kernel copies it.
        check(unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &raw mut event) })
            .map(drop)
    }
}

impl Events {
    pub(crate) fn new() -> Self {
        Self(vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS])
    }

    /// The `index`th of the descriptors that the last [`Poll::wait`] found ready.
    pub(crate) fn ready(&self, index: usize) -> Ready {
        let event = self.0[index];
        let any = |flags: i32| event.events & flags as u32 != 0;
        Ready {
            key: event.u64,
            readable: any(libc::EPOLLIN | libc::EPOLLRDHUP),
            writable: any(libc::EPOLLOUT),
            failed: any(libc::EPOLLERR | libc::EPOLLHUP),
        }
    }
}

/// Wakes a thread that sleeps in [`Poll::wait`].
#[derive(Debug)]
pub(crate) struct Waker(OwnedFd);

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are involved.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the call above has just made this descriptor, and nobody else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(crate) fn wake(&self) {
        let one = 1u64;
        // SAFETY: eight readable octets at the pointer. It fails only if the counter is at its
        // maximum, and then the thread wakes anyway.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// Takes the wake-up, so that the next one is noticed.
    pub(crate) fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: eight writable octets at the pointer. It fails only if there is nothing to take.
        unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8) };
    }
}

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Ready descriptors taken in one go.
const EVENTS: usize = 64;

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_ends_the_wait_once() {
        let poll = Poll::new().unwrap();
        let mut events = Events::new();
        let waker = Waker::new().unwrap();
        poll.add(&waker, 7, false).unwrap();
        assert_eq!(poll.wait(&mut events, Some(Duration::ZERO)), 0);
        waker.wake();
        waker.wake();
        assert_eq!(poll.wait(&mut events, None), 1);
        assert!(events.ready(0).readable);
        assert_eq!(events.ready(0).key, 7);
        waker.clear();
        assert_eq!(poll.wait(&mut events, Some(Duration::ZERO)), 0);
    }
}
