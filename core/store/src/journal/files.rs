//! The journal's files: names, recovery, snapshots, removal.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base::Slot;

use super::frame;
use crate::record::RecordError;
use crate::{Bindings, record};

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Records, oldest first.
    pub(super) records: Vec<Vec<u8>>,
    /// The highest generation of any file; 0 if there is none.
    pub(super) newest: u64,
    /// Generation of the snapshot that was read; 0 if there is none.
    pub(super) snapshot: u64,
    pub(super) snapshot_octets: u64,
    pub(super) journal_octets: u64,
    /// How many journals were read.
    pub(super) journals: u64,
}

/// Reads the newest snapshot and all journals from its generation on.
pub(super) fn recover(folder: &Path) -> io::Result<Found> {
    let mut snapshots = generations(folder, SNAPSHOT)?;
    let mut journals = generations(folder, JOURNAL)?;
    snapshots.sort_unstable();
    journals.sort_unstable();
    let mut found = Found {
        snapshot: snapshots.last().copied().unwrap_or(0),
        ..Found::default()
    };
    found.newest = journals.last().copied().unwrap_or(0).max(found.snapshot);
    if found.snapshot > 0 {
        let path = snapshot(folder, found.snapshot);
        found.snapshot_octets = read(&path, &mut found.records)?;
    }
    for generation in journals.into_iter().filter(|&n| n >= found.snapshot) {
        let path = journal(folder, generation);
        found.journals += 1;
        found.journal_octets += read(&path, &mut found.records)?;
    }
    Ok(found)
}

fn read(path: &Path, records: &mut Vec<Vec<u8>>) -> io::Result<u64> {
    let file = fs::read(path)?;
    let mut later = None;
    let damage = frame::scan(&file, |record| {
        later = later.or(RecordError::of_later(record, record::VERSION));
        records.push(record.to_vec());
    });
    if let Some(error) = later {
        return Err(error.refusal(path));
    }
    if damage.places > 0 {
        let (file, places, octets) = (path.display(), damage.places, damage.octets);
        tracing::warn!(%file, places, octets, "damaged records were skipped");
    }
    Ok(file.len() as u64)
}

/// Writes the snapshot of this generation; returns its size.
pub(super) fn write_snapshot(folder: &Path, number: u64, bindings: &Bindings) -> io::Result<u64> {
    let temporary = folder.join("bindings.tmp");
    let octets = fill_snapshot(&temporary, bindings).inspect_err(|_| {
        // Half a snapshot is of no use, and a full disk wants the room back.
        let _ = fs::remove_file(&temporary);
    })?;
    fs::rename(&temporary, snapshot(folder, number))?;
    sync_folder(folder)?;
    Ok(octets)
}

fn fill_snapshot(path: &Path, bindings: &Bindings) -> io::Result<u64> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    let (mut octets, mut frames) = (0, Vec::new());
    for number in 0..=u8::MAX {
        // Encoded under the slot's lock, written after it.
        frames.clear();
        bindings.for_each_in(Slot::new(number), |user, contacts| {
            frame::put(&mut frames, &record::encode(user, contacts));
        });
        file.write_all(&frames)?;
        octets += frames.len() as u64;
    }
    file.sync_all()?;
    Ok(octets)
}

/// Removes what the snapshot of generation `number` replaces.
pub(super) fn remove_before(folder: &Path, number: u64) -> io::Result<()> {
    for (suffix, path) in [
        (SNAPSHOT, snapshot as fn(&Path, u64) -> PathBuf),
        (JOURNAL, journal),
    ] {
        for old in generations(folder, suffix)? {
            if old < number {
                fs::remove_file(path(folder, old))?;
            }
        }
    }
    Ok(())
}

/// Opens a new file for appending that only its owner may read.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).open(path)
}

/// Makes new names in `folder` survive a power cut.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

pub(super) fn journal(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{generation:010}{JOURNAL}"))
}

pub(super) fn snapshot(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{generation:010}{SNAPSHOT}"))
}

fn generations(folder: &Path, suffix: &str) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| {
            let name = name.strip_prefix(PREFIX)?.strip_suffix(suffix)?;
            let number = name.parse::<u64>().ok();
            // Other spellings are somebody else's.
            number.filter(|number| format!("{number:010}") == name)
        });
        numbers.extend(number);
    }
    Ok(numbers)
}

const PREFIX: &str = "bindings.";
const JOURNAL: &str = ".journal";
const SNAPSHOT: &str = ".snapshot";
