//! What waits for users: counts of voice mail, and instant messages.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use api::{VoiceMessages, Waiting};
use base::UnixTime;
use pbx::Command;
use store::{MailboxCounts, Mailboxes, Messages, Watchers};

use super::delivery::Delivery;
use crate::folder::Folder;

/// The counts of all mailboxes, the messages, and the way to those who watch them.
#[derive(Debug)]
pub(super) struct Mailroom {
    pub(super) mailboxes: Arc<Mailboxes>,
    pub(super) watchers: Arc<Watchers>,
    pub(super) messages: Arc<Messages>,
    delivery: Arc<Delivery>,
}

impl Mailroom {
    pub(super) fn open(folder: &Folder, delivery: Arc<Delivery>) -> Result<Self> {
        let file = folder.state().join("mailboxes");
        let mailboxes =
            Mailboxes::open(&file).with_context(|| format!("{} can't be read", file.display()))?;
        let file = folder.state().join("messages");
        let messages = {
            let delivery = Arc::clone(&delivery);
            let wake = Arc::new(move |slot| delivery.command(slot, Command::Look));
            Messages::open(&file, UnixTime(super::now()), wake)
        };
        let messages = messages.with_context(|| format!("{} can't be used", file.display()))?;
        Ok(Self {
            messages: Arc::new(messages),
            mailboxes: Arc::new(mailboxes),
            watchers: Arc::new(Watchers::new()),
            delivery,
        })
    }

    /// Sets how many messages wait for a user, and has their phones told.
    pub(super) fn set(&self, user: &str, voice: VoiceMessages) -> std::io::Result<()> {
        let counts = MailboxCounts {
            new: voice.new,
            old: voice.old,
            urgent_new: voice.urgent_new,
            urgent_old: voice.urgent_old,
        };
        if self.mailboxes.set(user, counts)? {
            let tell = |slot| self.delivery.command(slot, Command::Look);
            self.watchers.changed(user, tell);
        }
        Ok(())
    }

    /// What waits, by user.
    pub(super) fn waiting(&self) -> Vec<Waiting> {
        let messages = self.messages.counts();
        let mut users = self.mailboxes.users();
        users.extend(messages.keys().cloned());
        let of = |user: String| {
            let counts = self.mailboxes.of(&user);
            Waiting {
                messages: messages.get(&user).copied().unwrap_or(0),
                user,
                voice: VoiceMessages {
                    new: counts.new,
                    old: counts.old,
                    urgent_new: counts.urgent_new,
                    urgent_old: counts.urgent_old,
                },
            }
        };
        users.into_iter().map(of).collect()
    }
}
