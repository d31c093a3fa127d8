//! What is shown to watchers and does not come from calls: voice mail counts.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use pbx::Command;
use store::{MailboxCounts, Mailboxes, Watchers};

use super::delivery::Delivery;
use crate::folder::Folder;

/// The counts of all mailboxes, and the way to those who watch them.
#[derive(Debug)]
pub(super) struct Mailroom {
    pub(super) mailboxes: Arc<Mailboxes>,
    pub(super) watchers: Arc<Watchers>,
    delivery: Arc<Delivery>,
}

impl Mailroom {
    pub(super) fn open(folder: &Folder, delivery: Arc<Delivery>) -> Result<Self> {
        let file = folder.state().join("mailboxes");
        let mailboxes =
            Mailboxes::open(&file).with_context(|| format!("{} can't be read", file.display()))?;
        Ok(Self {
            mailboxes: Arc::new(mailboxes),
            watchers: Arc::new(Watchers::new()),
            delivery,
        })
    }

    /// Sets how many messages wait for a user, and has their phones told.
    pub(super) fn set(&self, user: &str, counts: MailboxCounts) -> std::io::Result<()> {
        if self.mailboxes.set(user, counts)? {
            let tell = |slot| self.delivery.command(slot, Command::Look);
            self.watchers.changed(user, tell);
        }
        Ok(())
    }
}
