//! What all threads and all handles see.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use base::Slot;

use crate::admission::Admission;
use crate::config::Limits;
use crate::mailbox::{Mail, Mailbox, Parcel};
use crate::stats::{Stats, Tally};
use crate::tcp::Directory;
use crate::tls::{Current, Tls};
use crate::wiretap::Taps;

/// The shared part of an engine.
pub(crate) struct Shared<C> {
    pub(crate) limits: Limits,
    pub(crate) directory: Arc<Directory>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) tls: Arc<Current>,
    pub(crate) mailboxes: Vec<Mailbox<C>>,
    /// Where read parcels go back to, for each thread.
    pub(crate) stocks: Vec<SyncSender<Box<Parcel>>>,
    pub(crate) tallies: Vec<Tally>,
    pub(crate) taps: Arc<Taps>,
}

/// The ends that belong to one thread alone.
pub(crate) struct Ends<C> {
    pub(crate) mail: Receiver<Mail<C>>,
    pub(crate) returned: Receiver<Box<Parcel>>,
}

impl<C> Shared<C> {
    pub(crate) fn new(
        limits: Limits,
        tls: Option<Tls>,
        threads: usize,
    ) -> io::Result<(Arc<Self>, Vec<Ends<C>>)> {
        let mut shared = Self {
            limits,
            directory: Arc::new(Directory::new(&limits)),
            admission: Arc::new(Admission::new(&limits)),
            tls: Arc::new(Current::new(tls)),
            mailboxes: Vec::new(),
            stocks: Vec::new(),
            tallies: Vec::new(),
            taps: Taps::new(threads),
        };
        let mut ends = Vec::new();
        for _ in 0..threads {
            let (mailbox, mail) = Mailbox::new(&limits)?;
            let (stock, returned) = sync_channel(STOCK);
            shared.mailboxes.push(mailbox);
            shared.stocks.push(stock);
            shared.tallies.push(Tally::default());
            ends.push(Ends { mail, returned });
        }
        Ok((Arc::new(shared), ends))
    }

    pub(crate) fn threads(&self) -> usize {
        self.mailboxes.len()
    }

    /// The thread on which a slot lives.
    pub(crate) fn thread_of(&self, slot: Slot) -> usize {
        slot.index() % self.mailboxes.len()
    }

    pub(crate) fn mailbox_of(&self, slot: Slot) -> &Mailbox<C> {
        &self.mailboxes[self.thread_of(slot)]
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        self.tallies.iter().for_each(|tally| stats.add(tally));
        stats
    }
}

/// Empty parcels that a thread keeps at hand.
const STOCK: usize = 64;
