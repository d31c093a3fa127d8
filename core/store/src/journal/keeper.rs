//! The thread behind the journal.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::Shared;
use crate::Bindings;

/// The running thread; dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Keeper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(shared: Arc<Shared>, bindings: Arc<Bindings>) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = Builder::new()
            .name("store".into())
            .spawn(move || keep(&shared, &bindings, &stopped))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

fn keep(shared: &Shared, bindings: &Bindings, stopped: &Receiver<()>) {
    let mut pause = PERIOD;
    loop {
        match stopped.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => pause = shared.tend(bindings, pause),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Shared {
    /// Does what is due and returns when to look again.
    fn tend(&self, bindings: &Bindings, pause: Duration) -> Duration {
        if !self.healthy.load(Relaxed) {
            return self.heal(bindings, pause);
        }
        if let Err(error) = self.sync() {
            self.fail(&error);
        } else if self.has_grown()
            && let Err(error) = self.compact(bindings)
        {
            tracing::warn!(%error, "the binding journal could not be compacted");
            return (pause * 2).min(LONGEST_PAUSE);
        }
        PERIOD
    }

    /// A write failed, so records are missing: puts the whole state on disk.
    fn heal(&self, bindings: &Bindings, pause: Duration) -> Duration {
        let failures = self.failures.load(Relaxed);
        match self.compact(bindings).and_then(|()| self.sync()) {
            // Unless a write failed meanwhile, whose record the snapshot may have come too early for.
            Ok(()) if self.failures.load(Relaxed) == failures => {
                self.healthy.store(true, Relaxed);
                tracing::info!("bindings can be written again");
                PERIOD
            }
            _ => (pause * 2).min(LONGEST_PAUSE),
        }
    }

    fn has_grown(&self) -> bool {
        let journals = self.earlier.load(Relaxed) + self.current.load().octets.load(Relaxed);
        let many = self.files.load(Relaxed) > MOST_FILES;
        many || journals > MIN_COMPACTED.max(2 * self.snapshot.load(Relaxed))
    }
}

/// How often the file is synced: what a power cut may cost.
const PERIOD: Duration = Duration::from_secs(1);

/// Between attempts on a disk that refuses.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Each start leaves a journal behind, however small.
const MOST_FILES: u64 = 8;

/// Journals smaller than this are not worth a compaction.
const MIN_COMPACTED: u64 = 4 << 20;
