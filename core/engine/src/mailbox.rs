//! How a thread is told something: bounded, without locks, and with a system call only when the
//! thread sleeps.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use base::Slot;
use sip::Flow;

use crate::config::Limits;
use crate::machine::Answer;
use crate::poll::Waker;
use crate::tcp::Upgraded;

/// What one thread is told.
#[derive(Debug)]
pub(crate) enum Mail<C> {
    /// Messages that came in on another thread, for slots of this one.
    Received(Box<Parcel>),
    /// Messages of other threads' slots, for connections of this thread.
    Transmit(Box<Parcel>),
    /// Messages of slots, here or elsewhere, for machines of this thread.
    Local(Box<Parcel>),
    /// A WebSocket that a web server has opened.
    Adopt(Box<Upgraded>),
    /// An operator's wish.
    Command(Slot, C),
    /// A media worker's word.
    Media(media::Event),
    /// What a question of a slot has brought.
    Answer(Answer),
    /// Another slot has changed something that this one wants to know.
    Wake(Slot),
    /// A message of this slot did not arrive.
    Unreachable(Slot, Flow),
    /// The end.
    Stop,
}

/// Messages that go from one thread to another together.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    /// Text of all messages, one after the other.
    pub(crate) bytes: Vec<u8>,
    /// The messages in order.
    pub(crate) items: Vec<Item>,
    /// The thread that filled it.
    pub(crate) origin: usize,
}

/// One message of a [`Parcel`].
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// The slot that it is for, or from.
    pub(crate) slot: Slot,
    /// How it came, or how it goes.
    pub(crate) flow: Flow,
    /// Where it stands in the parcel's text.
    pub(crate) range: Range<usize>,
}

impl Parcel {
    pub(crate) fn push(&mut self, slot: Slot, flow: Flow, message: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(message);
        self.items.push(Item {
            slot,
            flow,
            range: start..self.bytes.len(),
        });
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
    }
}

/// The writing end of a thread's mailbox, shared by all who write.
pub(crate) struct Mailbox<C> {
    sender: SyncSender<Mail<C>>,
    bytes: AtomicUsize,
    most_bytes: usize,
    asleep: AtomicBool,
    waker: Waker,
}

impl<C> Mailbox<C> {
    /// A mailbox and its reading end.
    pub(crate) fn new(limits: &Limits) -> io::Result<(Self, Receiver<Mail<C>>)> {
        let (sender, receiver) = sync_channel(limits.mailbox.max(1));
        let mailbox = Self {
            sender,
            bytes: AtomicUsize::new(0),
            most_bytes: limits.mailbox_bytes,
            asleep: AtomicBool::new(false),
            waker: Waker::new()?,
        };
        Ok((mailbox, receiver))
    }

    /// Puts something in; gives it back if the mailbox is full or nobody reads any more.
    pub(crate) fn put(&self, mail: Mail<C>) -> Result<(), Mail<C>> {
        let bytes = size(&mail);
        if bytes > 0 && self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > self.most_bytes {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(mail);
        }
        match self.sender.try_send(mail) {
            Ok(()) => {
                self.wake();
                Ok(())
            }
            Err(TrySendError::Full(mail) | TrySendError::Disconnected(mail)) => {
                self.bytes.fetch_sub(bytes, Ordering::Relaxed);
                Err(mail)
            }
        }
    }

    /// Puts something in, waiting for room; only for callers that may wait.
    pub(crate) fn put_waiting(&self, mail: Mail<C>) {
        // The reader is gone: then there is nobody left to tell.
        let _ = self.sender.send(mail);
        self.wake();
    }

    /// Takes mail out at the reading end.
    pub(crate) fn take(&self, receiver: &Receiver<Mail<C>>) -> Option<Mail<C>> {
        let mail = receiver.try_recv().ok()?;
        let bytes = size(&mail);
        if bytes > 0 {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        Some(mail)
    }

    /// The reader is about to sleep; it must look into the mailbox once more afterwards.
    pub(crate) fn falls_asleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        // Pairs with the fence in `wake`: either the writer sees that the reader sleeps, or the
        // reader's last look finds what the writer put in.
        fence(Ordering::SeqCst);
    }

    /// The reader is awake.
    pub(crate) fn wakes_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// What the reader waits for besides its sockets.
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.waker.wake();
        }
    }
}

impl<C> fmt::Debug for Mailbox<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

fn size<C>(mail: &Mail<C>) -> usize {
    match mail {
        Mail::Received(parcel) | Mail::Transmit(parcel) | Mail::Local(parcel) => parcel.bytes.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use sip::Protocol;

    use super::*;

    fn parcel(length: usize) -> Mail<u32> {
        let flow = Flow {
            protocol: Protocol::Udp,
            local: "127.0.0.1:1".parse().unwrap(),
            remote: "127.0.0.1:2".parse().unwrap(),
            connection: None,
            tls: sip::TlsPeer::ANY,
        };
        let mut parcel = Parcel::default();
        parcel.push(Slot::new(0), flow, &vec![0; length]);
        Mail::Received(Box::new(parcel))
    }

    #[test]
    fn both_bounds_hold_and_nothing_is_lost_silently() {
        let limits = Limits {
            mailbox: 3,
            mailbox_bytes: 100,
            ..Limits::default()
        };
        let (mailbox, receiver) = Mailbox::new(&limits).unwrap();
        mailbox.put(parcel(60)).unwrap();
        assert!(mailbox.put(parcel(60)).is_err(), "too many octets");
        mailbox.put(parcel(40)).unwrap();
        mailbox.put(Mail::Command(Slot::new(1), 5)).unwrap();
        assert!(mailbox.put(Mail::Stop).is_err(), "too many");
        let taken = std::iter::from_fn(|| mailbox.take(&receiver)).count();
        assert_eq!(taken, 3);
        mailbox.put(parcel(100)).unwrap();
    }
}
