//! How many voice messages wait for each user.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Voice messages of one user (RFC 3842 §5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailboxCounts {
    /// Not heard yet.
    pub new: u32,
    /// Heard and kept.
    pub old: u32,
    /// Urgent ones among the new.
    pub urgent_new: u32,
    /// Urgent ones among the old.
    pub urgent_old: u32,
}

/// The counts of all users, kept in a small file. Shared by all threads.
#[derive(Debug)]
pub struct Mailboxes {
    counts: Mutex<BTreeMap<Box<str>, MailboxCounts>>,
    /// None: they are kept in memory alone.
    file: Option<PathBuf>,
}

impl Mailboxes {
    /// Counts that are in memory alone.
    #[must_use]
    pub fn in_memory() -> Self {
        Self {
            counts: Mutex::default(),
            file: None,
        }
    }

    /// The counts in this file, which need not exist yet. Lines that are not understood count as
    /// absent.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn open(file: &Path) -> io::Result<Self> {
        let text = match fs::read_to_string(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        Ok(Self {
            counts: Mutex::new(text.lines().filter_map(parse).collect()),
            file: Some(file.to_owned()),
        })
    }

    /// The counts of a user; all zero if none were ever set.
    #[must_use]
    pub fn of(&self, user: &str) -> MailboxCounts {
        self.lock().get(user).copied().unwrap_or_default()
    }

    /// The users who have messages.
    #[must_use]
    pub fn users(&self) -> BTreeSet<String> {
        self.lock().keys().map(ToString::to_string).collect()
    }

    /// Sets the counts of a user, and makes them safe from a crash. `false`: they were so already. Not
    /// for signalling threads: it waits for the disk.
    ///
    /// # Errors
    /// If the file can't be written; then nothing is changed.
    pub fn set(&self, user: &str, counts: MailboxCounts) -> io::Result<bool> {
        let mut all = self.lock();
        let before = all.get(user).copied().unwrap_or_default();
        if before == counts {
            return Ok(false);
        }
        let mut after = all.clone();
        if counts == MailboxCounts::default() {
            after.remove(user);
        } else {
            after.insert(user.into(), counts);
        }
        if let Some(file) = &self.file {
            write(file, &after)?;
        }
        *all = after;
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Box<str>, MailboxCounts>> {
        // The map is whole after each statement.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Four numbers, then the user's name to the end of the line.
fn parse(line: &str) -> Option<(Box<str>, MailboxCounts)> {
    let mut parts = line.splitn(5, ' ');
    let mut number = || parts.next()?.parse().ok();
    let counts = MailboxCounts {
        new: number()?,
        old: number()?,
        urgent_new: number()?,
        urgent_old: number()?,
    };
    Some((parts.next()?.into(), counts))
}

fn write(file: &Path, all: &BTreeMap<Box<str>, MailboxCounts>) -> io::Result<()> {
    let mut text = String::new();
    for (user, counts) in all {
        let MailboxCounts {
            new,
            old,
            urgent_new,
            urgent_old,
        } = counts;
        // Writing to a string does not fail.
        let _ = writeln!(text, "{new} {old} {urgent_new} {urgent_old} {user}");
    }
    let fresh = file.with_extension("new");
    let mut out = File::create(&fresh)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    fs::rename(&fresh, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_survive_and_strange_lines_do_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mailboxes");
        let counts = MailboxCounts {
            new: 2,
            old: 8,
            urgent_new: 1,
            urgent_old: 0,
        };
        {
            let mailboxes = Mailboxes::open(&file).unwrap();
            assert!(mailboxes.set("a user", counts).unwrap());
            assert!(!mailboxes.set("a user", counts).unwrap());
            assert!(mailboxes.set("1002", counts).unwrap());
            assert!(mailboxes.set("1002", MailboxCounts::default()).unwrap());
        }
        let mut text = fs::read_to_string(&file).unwrap();
        text.push_str("nonsense\n1 2 3\n");
        fs::write(&file, text).unwrap();
        let mailboxes = Mailboxes::open(&file).unwrap();
        assert_eq!(mailboxes.of("a user"), counts);
        assert_eq!(mailboxes.of("1002"), MailboxCounts::default());
        assert_eq!(mailboxes.lock().len(), 1);
    }
}
