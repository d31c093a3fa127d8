//! Hot state on disk: an append-only journal with snapshots.
//!
//! Files in the folder, `N` a generation: `bindings.N.journal` takes appended records;
//! `bindings.N.snapshot` holds the state when generation `N` had begun, so it replaces all
//! generations before `N`. Compaction first directs new records to a new generation and only then
//! copies the directory, so a record is in the copy, in the new generation, or in both.

mod files;
pub(crate) mod frame;
mod keeper;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::Bindings;
use keeper::Keeper;

/// The journal of bindings. Records are opaque here; [`record`](crate::record) makes them.
///
/// A record is safe from the end of the process once [`append`](Self::append) has returned, and
/// from the end of the machine about a second later, if the journal is being
/// [maintained](Self::maintain).
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    keeper: Mutex<Option<Keeper>>,
}

/// What the appending threads and the keeper share.
#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    current: ArcSwap<Generation>,
    /// Octets in the generations that the next snapshot will replace, but for the current one.
    earlier: AtomicU64,
    /// How many files those generations have.
    files: AtomicU64,
    /// Size of the last snapshot.
    snapshot: AtomicU64,
    healthy: AtomicBool,
    /// How many writes failed since the start.
    failures: AtomicU64,
    /// Held while compacting.
    compacting: Mutex<Compaction>,
}

#[derive(Debug)]
struct Compaction {
    /// Generation of the newest snapshot.
    snapshot: u64,
}

/// A file that records are appended to.
#[derive(Debug)]
struct Generation {
    number: u64,
    file: File,
    /// What was appended, successfully or not.
    octets: AtomicU64,
    /// Something may have been written since the last `fdatasync`.
    dirty: AtomicBool,
    /// The file's name is safe from a power cut.
    named: AtomicBool,
}

impl Journal {
    /// Opens the journal in `folder`, which is made if it doesn't exist, and returns what it holds,
    /// oldest first. Torn and damaged records are left out, and logged.
    ///
    /// # Errors
    /// If the folder or its files can't be read or written.
    pub fn open(folder: &Path) -> io::Result<(Self, Vec<Vec<u8>>)> {
        std::fs::create_dir_all(folder)?;
        let found = files::recover(folder)?;
        let current = Generation::create(folder, found.newest + 1)?;
        let shared = Shared {
            folder: folder.to_owned(),
            current: ArcSwap::from_pointee(current),
            earlier: AtomicU64::new(found.journal_octets),
            files: AtomicU64::new(found.journals),
            snapshot: AtomicU64::new(found.snapshot_octets),
            healthy: AtomicBool::new(true),
            failures: AtomicU64::new(0),
            compacting: Mutex::new(Compaction {
                snapshot: found.snapshot,
            }),
        };
        let journal = Self {
            shared: Arc::new(shared),
            keeper: Mutex::new(None),
        };
        Ok((journal, found.records))
    }

    /// Writes records with one `write(2)`. Takes no lock. The caller has changed the [`Bindings`]
    /// before: a compaction may rely on them instead of on this record.
    ///
    /// # Errors
    /// If not all was written, for example because the disk is full: then the journal is not
    /// [`healthy`](Self::healthy) until the keeper has put the whole state on disk.
    pub fn append(&self, records: &[Vec<u8>]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        FRAMES.with_borrow_mut(|frames| {
            frames.clear();
            for record in records {
                frame::put(frames, record);
            }
            self.shared.append(frames)
        })
    }

    /// Whether the last write went well: if not, nothing new should be accepted that has to be
    /// remembered.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.shared.healthy.load(Relaxed)
    }

    /// Starts the thread that syncs the file every second, compacts it when it has grown, and tries
    /// a journal that failed again. It ends with the journal.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn maintain(&self, bindings: Arc<Bindings>) -> io::Result<()> {
        let keeper = Keeper::start(Arc::clone(&self.shared), bindings)?;
        *self.keeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(keeper);
        Ok(())
    }

    /// Replaces all that is in the journal by a snapshot of `bindings`. Appending goes on meanwhile.
    ///
    /// # Errors
    /// If the disk refuses; then what was on it is still there.
    pub fn compact(&self, bindings: &Bindings) -> io::Result<()> {
        self.shared.compact(bindings)
    }

    /// Puts all that was appended out of reach of a power cut.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn sync(&self) -> io::Result<()> {
        self.shared.sync()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Ok(keeper) = self.keeper.get_mut() {
            drop(keeper.take());
        }
        if let Err(error) = self.sync() {
            tracing::error!(%error, "the binding journal could not be synced");
        }
    }
}

thread_local! {
    /// Each thread's buffer for framed records.
    static FRAMES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Generation {
    fn create(folder: &Path, number: u64) -> io::Result<Self> {
        let file = files::create_private(&files::journal(folder, number))?;
        Ok(Self {
            number,
            file,
            octets: AtomicU64::new(0),
            dirty: AtomicBool::new(false),
            named: AtomicBool::new(false),
        })
    }
}

impl Shared {
    fn append(&self, frames: &[u8]) -> io::Result<()> {
        let generation = self.current.load();
        generation.octets.fetch_add(frames.len() as u64, Relaxed);
        generation.dirty.store(true, Relaxed);
        write_once(&generation.file, frames).inspect_err(|error| self.fail(error))
    }

    fn fail(&self, error: &io::Error) {
        self.failures.fetch_add(1, Relaxed);
        if self.healthy.swap(false, Relaxed) {
            let folder = self.folder.display();
            tracing::error!(%error, %folder, "bindings can't be written; no registration is accepted");
        }
    }

    fn sync(&self) -> io::Result<()> {
        let generation = self.current.load_full();
        if generation.dirty.swap(false, Relaxed) {
            generation.file.sync_data()?;
            if !generation.named.load(Relaxed) {
                files::sync_folder(&self.folder)?;
                generation.named.store(true, Relaxed);
            }
        }
        Ok(())
    }

    fn compact(&self, bindings: &Bindings) -> io::Result<()> {
        let mut compaction = self
            .compacting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let current = self.current.load_full();
        // Old records after which newer ones are missing must not be replayed over the snapshot.
        let complete = self.healthy.load(Relaxed) || current.octets.load(Relaxed) == 0;
        let number = if current.number > compaction.snapshot && complete {
            // It has no snapshot yet, because it is the first of this process or because the last
            // attempt failed: any copy taken since it began will do.
            current.number
        } else {
            let next = Generation::create(&self.folder, current.number + 1)?;
            self.earlier
                .fetch_add(current.octets.load(Relaxed), Relaxed);
            self.files.fetch_add(1, Relaxed);
            self.current.store(Arc::new(next));
            current.number + 1
        };
        let octets = files::write_snapshot(&self.folder, number, bindings)?;
        compaction.snapshot = number;
        self.snapshot.store(octets, Relaxed);
        self.earlier.store(0, Relaxed);
        self.files.store(0, Relaxed);
        files::remove_before(&self.folder, number)
    }
}

/// All or an error: what is left over after a partial write can't be written without tearing a
/// record of another thread.
fn write_once(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    loop {
        match file.write(bytes) {
            Ok(written) if written == bytes.len() => return Ok(()),
            Ok(_) => return Err(io::ErrorKind::StorageFull.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
