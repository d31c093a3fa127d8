//! Copies of the messages that come and go, for whoever listens.
//!
//! While nobody listens a message costs one relaxed load. While somebody does, each signalling thread
//! copies its messages into a store of its own, which the listener empties now and then. A full store
//! takes no more, and counts what it did not take: the threads never wait for the listener.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sip::Flow;

/// One listener's hold on the messages of all threads; they are copied as long as it lives.
#[derive(Debug)]
pub struct Wiretap {
    taps: Arc<Taps>,
}

/// One message that came or went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tapped<'a> {
    /// When.
    pub at: Instant,
    /// Whether it came or went.
    pub direction: Direction,
    /// Between whom.
    pub flow: Flow,
    /// Its text, without any encryption of the transport.
    pub bytes: &'a [u8],
}

/// Which way a message went.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// From the peer to us.
    Received,
    /// From us to the peer.
    Sent,
}

impl Wiretap {
    /// Begins to listen; `None` if somebody does already.
    pub(crate) fn begin(taps: &Arc<Taps>) -> Option<Self> {
        if taps.taken.swap(true, Ordering::Relaxed) {
            return None;
        }
        taps.listening.store(true, Ordering::Relaxed);
        let taps = Arc::clone(taps);
        Some(Self { taps })
    }

    /// Takes all messages since the last time, each thread's in its order, and tells how many could
    /// not be kept. `batch` lends the threads its memory.
    pub fn take(&mut self, batch: &mut Batch) -> u64 {
        batch.0.resize_with(self.taps.threads.len(), Store::default);
        let mut missed = 0;
        for (store, tap) in batch.0.iter_mut().zip(&self.taps.threads) {
            store.clear();
            std::mem::swap(store, &mut tap.lock());
            missed += std::mem::take(&mut store.missed);
        }
        missed
    }
}

impl Drop for Wiretap {
    fn drop(&mut self) {
        self.taps.listening.store(false, Ordering::Relaxed);
        for tap in &self.taps.threads {
            *tap.lock() = Store::default();
        }
        self.taps.taken.store(false, Ordering::Relaxed);
    }
}

/// Messages taken from a [`Wiretap`] in one go.
#[derive(Debug, Default)]
pub struct Batch(Vec<Store>);

impl Batch {
    /// All messages, thread by thread.
    pub fn iter(&self) -> impl Iterator<Item = Tapped<'_>> {
        self.0.iter().flat_map(Store::iter)
    }
}

/// The taps of all threads.
#[derive(Debug)]
pub(crate) struct Taps {
    listening: AtomicBool,
    /// There is a [`Wiretap`].
    taken: AtomicBool,
    threads: Vec<Tap>,
}

impl Taps {
    pub(crate) fn new(threads: usize) -> Arc<Self> {
        Arc::new(Self {
            listening: AtomicBool::new(false),
            taken: AtomicBool::new(false),
            threads: (0..threads).map(|_| Tap::default()).collect(),
        })
    }

    /// Where thread `index` puts its messages, if somebody listens.
    #[inline]
    pub(crate) fn open(&self, index: usize) -> Option<&Tap> {
        self.listening
            .load(Ordering::Relaxed)
            .then(|| &self.threads[index])
    }
}

/// Where one thread puts its messages.
#[derive(Debug, Default)]
pub(crate) struct Tap(Mutex<Store>);

impl Tap {
    /// Copies messages.
    #[cold]
    pub(crate) fn put<'a>(
        &self,
        direction: Direction,
        messages: impl Iterator<Item = (Flow, &'a [u8])>,
    ) {
        // The time of the batch would put an answer before its request when mail was read late.
        let at = Instant::now();
        let mut store = self.lock();
        for (flow, bytes) in messages {
            store.push(at, direction, flow, bytes);
        }
    }

    /// The listener holds the lock for as long as it takes to swap a few pointers.
    fn lock(&self) -> MutexGuard<'_, Store> {
        // The store is whole after each statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Messages of one thread.
#[derive(Debug, Default)]
struct Store {
    bytes: Vec<u8>,
    items: Vec<Item>,
    missed: u64,
}

#[derive(Debug)]
struct Item {
    at: Instant,
    direction: Direction,
    flow: Flow,
    range: Range<usize>,
}

impl Store {
    fn push(&mut self, at: Instant, direction: Direction, flow: Flow, bytes: &[u8]) {
        let start = self.bytes.len();
        if self.items.len() >= MOST_ITEMS || start + bytes.len() > MOST_BYTES {
            self.missed += 1;
            return;
        }
        self.bytes.extend_from_slice(bytes);
        self.items.push(Item {
            at,
            direction,
            flow,
            range: start..self.bytes.len(),
        });
    }

    fn iter(&self) -> impl Iterator<Item = Tapped<'_>> {
        self.items.iter().map(|item| Tapped {
            at: item.at,
            direction: item.direction,
            flow: item.flow,
            bytes: &self.bytes[item.range.clone()],
        })
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
        // What a burst needed is given back.
        self.bytes.shrink_to(MOST_KEPT);
    }
}

/// Octets that wait for the listener on each thread; what comes then is counted as missed.
const MOST_BYTES: usize = 8 << 20;

/// Messages that wait for the listener on each thread; what comes then is counted as missed.
const MOST_ITEMS: usize = 16_384;

/// Octets of memory that an emptied store keeps.
const MOST_KEPT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use sip::Protocol;

    use super::*;

    fn flow() -> Flow {
        Flow {
            protocol: Protocol::Udp,
            local: "127.0.0.1:5060".parse().unwrap(),
            remote: "127.0.0.1:5070".parse().unwrap(),
            connection: None,
            tls: sip::TlsPeer::ANY,
        }
    }

    fn put(taps: &Taps, thread: usize, bytes: &[u8]) {
        if let Some(tap) = taps.open(thread) {
            tap.put(Direction::Received, std::iter::once((flow(), bytes)));
        }
    }

    #[test]
    fn messages_are_copied_only_while_somebody_listens() {
        let taps = Taps::new(2);
        put(&taps, 0, b"before");
        let mut wiretap = Wiretap::begin(&taps).unwrap();
        assert!(Wiretap::begin(&taps).is_none(), "one listener at a time");
        put(&taps, 1, b"b");
        put(&taps, 0, b"a");
        put(&taps, 0, b"c");
        let mut batch = Batch::default();
        assert_eq!(wiretap.take(&mut batch), 0);
        let texts: Vec<_> = batch.iter().map(|tapped| tapped.bytes).collect();
        assert_eq!(texts, [b"a", b"c", b"b"]);
        assert_eq!(wiretap.take(&mut batch), 0);
        assert_eq!(batch.iter().count(), 0);
        put(&taps, 0, b"left behind");
        drop(wiretap);
        put(&taps, 0, b"after");
        let mut wiretap = Wiretap::begin(&taps).unwrap();
        assert_eq!(wiretap.take(&mut batch), 0);
        assert_eq!(batch.iter().count(), 0);
    }

    #[test]
    fn a_full_store_counts_what_it_does_not_take() {
        let taps = Taps::new(1);
        let mut wiretap = Wiretap::begin(&taps).unwrap();
        let large = vec![b'x'; MOST_BYTES - 10];
        put(&taps, 0, &large);
        put(&taps, 0, b"too much for it");
        put(&taps, 0, b"fits");
        let mut batch = Batch::default();
        assert_eq!(wiretap.take(&mut batch), 1);
        let lengths: Vec<_> = batch.iter().map(|tapped| tapped.bytes.len()).collect();
        assert_eq!(lengths, [MOST_BYTES - 10, 4]);
        for _ in 0..MOST_ITEMS + 3 {
            put(&taps, 0, b"");
        }
        assert_eq!(wiretap.take(&mut batch), 3);
        assert_eq!(batch.iter().count(), MOST_ITEMS);
    }
}
