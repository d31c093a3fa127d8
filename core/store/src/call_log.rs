//! Call records: one JSON line for each ended call in a file a month.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use base::UnixTime;

use crate::calendar::Date;

/// Appends lines to `YYYY-MM.jsonl`, on a thread of its own.
///
/// Nothing that was [taken](Self::push) is dropped: while the disk refuses, lines wait in a bounded
/// queue; from its high-water mark on, [`healthy`](Self::healthy) asks admission to begin no new
/// calls, and the room above the mark is for the calls that were in progress then.
#[derive(Debug)]
pub struct CallLog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    high_water: usize,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Queue {
    /// Lines to write with the time that chooses their file.
    lines: VecDeque<(UnixTime, String)>,
    /// How many lines the writer holds and has not written yet.
    in_hand: usize,
    closing: bool,
}

impl CallLog {
    /// Opens the log in `folder`, which is made if it doesn't exist. `calls` is how many calls may
    /// be in progress at once: so many lines have room above the high-water mark.
    ///
    /// # Errors
    /// If the folder can't be made or no thread can be started.
    pub fn open(folder: &Path, calls: usize) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            high_water: HIGH_WATER,
            capacity: HIGH_WATER + calls,
        });
        let writer = Writer::new(folder);
        let thread = {
            let shared = Arc::clone(&shared);
            Builder::new()
                .name("call-log".into())
                .spawn(move || writer.run(&shared))?
        };
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Queues the line of a call that ended at `ended`; `line` is one JSON object without a line end.
    ///
    /// # Errors
    /// Gives the line back if the queue is full, which can't happen while admission obeys
    /// [`healthy`](Self::healthy).
    pub fn push(&self, ended: UnixTime, line: String) -> Result<(), String> {
        let mut queue = self.shared.lock();
        if queue.waiting() >= self.shared.capacity {
            return Err(line);
        }
        queue.lines.push_back((ended, line));
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Whether lines are being written as fast as calls end.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.shared.lock().waiting() < self.shared.high_water
    }

    /// How many lines are not on disk yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.lock().waiting()
    }
}

impl Drop for CallLog {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn waiting(&self) -> usize {
        self.lines.len() + self.in_hand
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines and takes them all; `None` when there are none and none will come.
    fn take(&self) -> Option<VecDeque<(UnixTime, String)>> {
        let mut queue = self.lock();
        queue.in_hand = 0;
        while queue.lines.is_empty() && !queue.closing {
            let woken = self.changed.wait(queue);
            queue = woken.unwrap_or_else(PoisonError::into_inner);
        }
        queue.in_hand = queue.lines.len();
        (queue.in_hand > 0).then(|| std::mem::take(&mut queue.lines))
    }

    /// Waits before the next attempt; false if there shall be none.
    fn retry(&self) -> bool {
        let queue = self.lock();
        if queue.closing {
            return false;
        }
        let woken = self
            .changed
            .wait_timeout_while(queue, RETRY, |q| !q.closing);
        drop(woken);
        true
    }
}

/// What the thread owns.
struct Writer {
    folder: PathBuf,
    /// The open file and its month.
    open: Option<((u64, u8), File)>,
    failing: bool,
}

impl Writer {
    fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            open: None,
            failing: false,
        }
    }

    fn run(mut self, shared: &Shared) {
        while let Some(mut lines) = shared.take() {
            while let Some((ended, line)) = lines.pop_front() {
                while let Err(error) = self.write(ended, &line) {
                    self.open = None;
                    self.report(&error, shared.lock().waiting());
                    if !shared.retry() {
                        tracing::error!(lines = lines.len() + 1, "call records are lost");
                        return;
                    }
                }
                shared.lock().in_hand = lines.len();
                self.recovered();
            }
            self.sync();
        }
    }

    fn write(&mut self, ended: UnixTime, line: &str) -> io::Result<()> {
        let date = Date::from(ended);
        let month = (date.year, date.month);
        if self.open.as_ref().is_none_or(|(open, _)| *open != month) {
            self.open = Some((month, self.create(month)?));
        }
        let Some((_, file)) = &mut self.open else {
            return Ok(());
        };
        let length = file.metadata()?.len();
        let line = format!("{line}\n");
        file.write_all(line.as_bytes()).inspect_err(|_| {
            // Half a line would spoil the next one. If this fails too, the reader skips the line.
            let _ = file.set_len(length);
        })
    }

    fn create(&self, (year, month): (u64, u8)) -> io::Result<File> {
        let path = self.folder.join(format!("{year:04}-{month:02}.jsonl"));
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600).open(path)
    }

    fn sync(&self) {
        if let Some((_, file)) = &self.open
            && let Err(error) = file.sync_data()
        {
            tracing::warn!(%error, "call records could not be synced");
        }
    }

    fn report(&mut self, error: &io::Error, waiting: usize) {
        if !std::mem::replace(&mut self.failing, true) {
            let folder = self.folder.display();
            tracing::error!(%error, %folder, waiting, "call records can't be written; they wait");
        }
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.failing) {
            tracing::info!("call records are written again");
        }
    }
}

/// So many lines may wait before no new call is begun: a disk that stalls for two seconds at the highest
/// rate of calls, in 5 MB.
const HIGH_WATER: usize = 16_384;

/// Between attempts on a disk that refuses.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const NOVEMBER: UnixTime = UnixTime(1_795_236_356);
    const DECEMBER: UnixTime = UnixTime(1_796_083_200);

    #[test]
    fn lines_go_to_the_file_of_their_month_and_stay() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..2 {
            let log = CallLog::open(folder.path(), 10).unwrap();
            log.push(NOVEMBER, format!("{{\"round\":{round}}}"))
                .unwrap();
            log.push(DECEMBER, "{}".into()).unwrap();
        }
        let read = |name| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("2026-11.jsonl"), "{\"round\":0}\n{\"round\":1}\n");
        assert_eq!(read("2026-12.jsonl"), "{}\n{}\n");
    }

    #[test]
    fn lines_wait_for_a_disk_that_refuses_and_none_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        // A folder where the file should be: opening it fails until it is gone.
        let file = folder.path().join("2026-11.jsonl");
        fs::create_dir(&file).unwrap();
        let log = CallLog::open(folder.path(), 2).unwrap();
        for _ in 0..HIGH_WATER {
            assert!(log.healthy());
            log.push(NOVEMBER, "{}".into()).unwrap();
        }
        assert!(!log.healthy());
        log.push(NOVEMBER, "{}".into()).unwrap();
        log.push(NOVEMBER, "{}".into()).unwrap();
        assert_eq!(log.push(NOVEMBER, "over".into()), Err("over".into()));
        fs::remove_dir(&file).unwrap();
        let start = std::time::Instant::now();
        while log.waiting() > 0 {
            assert!(start.elapsed().as_secs() < 30, "nothing was written");
            std::thread::yield_now();
        }
        assert!(log.healthy());
        let lines = fs::read_to_string(&file).unwrap();
        assert_eq!(lines.lines().count(), HIGH_WATER + 2);
    }

    #[test]
    fn closing_doesnt_wait_for_a_disk_that_refuses() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("2026-11.jsonl")).unwrap();
        let log = CallLog::open(folder.path(), 0).unwrap();
        log.push(NOVEMBER, "{}".into()).unwrap();
        drop(log);
    }
}
