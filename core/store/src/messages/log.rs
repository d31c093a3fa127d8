//! The file of waiting messages, and the thread that writes it.
//!
//! Records are only appended. When most of the file is about messages that have been taken, it is
//! replaced as a whole by a file of those that wait.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use base::Token;

use super::record::{self, Entry};
use super::{Shared, TextMessage, Wake};
use crate::journal::frame;
use crate::record::RecordError;

/// The writing end. Dropping it writes what is left and ends the thread.
#[derive(Debug)]
pub(super) struct Log {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

/// What is to be written. Messages in it count to the limits of [`super::Messages`], removals are as
/// many as messages, so it is bounded.
#[derive(Debug, Default)]
struct Queue {
    orders: Mutex<Orders>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Orders {
    list: Vec<Order>,
    closing: bool,
}

#[derive(Debug)]
enum Order {
    Put(TextMessage),
    Remove(Token),
}

/// The file as the thread sees it.
struct Writer {
    path: PathBuf,
    /// None before the first compaction.
    file: Option<File>,
    /// The folder is on disk with the file's name in it.
    is_named: bool,
    /// Octets that are whole.
    written: u64,
    /// Records of the messages that wait, framed, in order of arrival.
    live: BTreeMap<u64, (Token, Vec<u8>)>,
    live_octets: u64,
    next: u64,
    shared: Arc<Shared>,
    wake: Arc<Wake>,
}

impl Log {
    pub(super) fn start(
        path: &Path,
        kept: &[TextMessage],
        shared: Arc<Shared>,
        wake: Arc<Wake>,
    ) -> io::Result<Self> {
        let mut writer = Writer {
            path: path.to_owned(),
            file: None,
            is_named: false,
            written: 0,
            live: BTreeMap::new(),
            live_octets: 0,
            next: 0,
            shared,
            wake,
        };
        for message in kept {
            writer.enter(message);
        }
        writer.begin()?;
        let queue = Arc::new(Queue::default());
        let orders = Arc::clone(&queue);
        let thread = Builder::new()
            .name("messages".into())
            .spawn(move || writer.work(&orders))?;
        Ok(Self {
            queue,
            thread: Some(thread),
        })
    }

    pub(super) fn put(&self, message: TextMessage) {
        self.order(Order::Put(message));
    }

    pub(super) fn remove(&self, id: Token) {
        self.order(Order::Remove(id));
    }

    fn order(&self, order: Order) {
        self.queue.lock().list.push(order);
        self.queue.filled.notify_one();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.queue.lock().closing = true;
        self.queue.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Orders> {
        // The list is whole after each statement.
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for orders; none at the end.
    fn next(&self) -> Option<Vec<Order>> {
        let mut orders = self.lock();
        while orders.list.is_empty() && !orders.closing {
            let woken = self.filled.wait(orders);
            orders = woken.unwrap_or_else(PoisonError::into_inner);
        }
        let list = std::mem::take(&mut orders.list);
        (!list.is_empty()).then_some(list)
    }
}

impl Writer {
    fn work(mut self, queue: &Queue) {
        while let Some(orders) = queue.next() {
            self.carry_out(orders);
        }
    }

    /// Writes all orders, syncs once, then tells whose messages are safe.
    fn carry_out(&mut self, orders: Vec<Order>) {
        let mut frames = Vec::new();
        for order in &orders {
            match order {
                Order::Put(message) => frame::put(&mut frames, &record::waits(message)),
                Order::Remove(id) => frame::put(&mut frames, &record::gone(*id)),
            }
        }
        let written = self.append(&frames);
        if let Err(error) = &written {
            let file = self.path.display();
            tracing::error!(%error, %file, "messages can't be kept; their senders are told");
        }
        for order in orders {
            match order {
                Order::Put(message) => self.settle(message, written.is_ok()),
                Order::Remove(id) => self.forget(id),
            }
        }
        let wasted = self.written.saturating_sub(self.live_octets);
        if written.is_err() || wasted > LEAST_WASTE && wasted > self.live_octets {
            // What can't be replaced now is tried again with the next orders.
            let _ = self.compact();
        }
    }

    fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let mut result = file.write_all(frames).and_then(|()| file.sync_data());
        if result.is_ok() && !self.is_named {
            result = self.sync_folder();
        }
        match result {
            Ok(()) => self.written += frames.len() as u64,
            // Whatever was half written is replaced with the whole file, or not used any more.
            Err(_) => self.file = None,
        }
        result
    }

    fn settle(&mut self, message: TextMessage, kept: bool) {
        if kept {
            self.enter(&message);
        }
        let slot = message.id.slot();
        self.shared.settle(message, kept);
        (self.wake)(slot);
    }

    fn enter(&mut self, message: &TextMessage) {
        let mut framed = Vec::new();
        frame::put(&mut framed, &record::waits(message));
        self.live_octets += framed.len() as u64;
        self.live.insert(self.next, (message.id, framed));
        self.next += 1;
    }

    fn forget(&mut self, id: Token) {
        let found = self.live.iter().find(|(_, (known, _))| *known == id);
        let number = found.map(|(number, _)| *number);
        if let Some((_, framed)) = number.and_then(|number| self.live.remove(&number)) {
            self.live_octets -= framed.len() as u64;
        }
    }

    /// Takes the file as it is if nothing was ever in it: that needs not wait for the disk.
    fn begin(&mut self) -> io::Result<()> {
        let is_empty = match fs::metadata(&self.path) {
            Ok(file) => file.len() == 0,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if !is_empty {
            return self.compact();
        }
        self.file = Some(open(&self.path)?);
        Ok(())
    }

    /// Replaces the file by one with nothing but what waits.
    fn compact(&mut self) -> io::Result<()> {
        let framed: Vec<u8> = self
            .live
            .values()
            .flat_map(|(_, framed)| framed.iter().copied())
            .collect();
        let fresh = self.path.with_extension("new");
        let mut file = open(&fresh)?;
        file.write_all(&framed)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        self.sync_folder()?;
        (self.file, self.written) = (Some(file), framed.len() as u64);
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        self.is_named = true;
        Ok(())
    }
}

/// The messages in a file that wait, in order, and how many places in it are damaged.
pub(super) fn read(path: &Path) -> io::Result<(Vec<TextMessage>, usize)> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read?,
    };
    let (mut kept, mut strange) = (Vec::<TextMessage>::new(), 0);
    let mut later = None;
    let damage = frame::scan(&bytes, |bytes| match record::decode(bytes) {
        Ok(Entry::Waits(message)) => kept.push(message),
        Ok(Entry::Gone(id)) => kept.retain(|message| message.id != id),
        Err(_) => {
            later = later.or(RecordError::of_later(bytes, record::VERSION));
            strange += 1;
        }
    });
    if let Some(error) = later {
        return Err(error.refusal(path));
    }
    Ok((kept, strange + damage.places))
}

/// An empty file that only we may read.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// Octets of taken messages below which a file is not replaced.
const LEAST_WASTE: u64 = 1 << 20;
