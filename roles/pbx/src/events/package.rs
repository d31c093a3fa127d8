//! The event packages: what may be watched, and how it is told.

use store::{LineDialog, MailboxCounts};

use super::pidf::Presence;
use super::reginfo::{self, Phone};
use super::{dialog_info, summary};
use crate::context::Context;

/// An event package (RFC 6665 §5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Package {
    /// Calls of a user (RFC 4235).
    Dialog,
    /// Voice messages of a user (RFC 3842).
    MessageSummary,
    /// Presence of a user (RFC 3856).
    Presence,
    /// Registrations of a user (RFC 3680).
    Reg,
}

/// What a watcher is shown.
#[derive(Clone, Debug)]
pub(super) enum Picture {
    Dialogs(Vec<LineDialog>),
    Summary(MailboxCounts),
    Presence(Presence),
    Phones(Vec<Phone>),
}

/// Who is shown to whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    /// The watched address as the watcher named it.
    pub(super) entity: &'a str,
    /// Host of that address.
    pub(super) host: &'a str,
    /// Number of the document, from 0.
    pub(super) version: u32,
    /// Seconds since 1970.
    pub(super) now: u64,
}

impl Package {
    /// The package with this name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "dialog" => Some(Self::Dialog),
            "message-summary" => Some(Self::MessageSummary),
            "presence" => Some(Self::Presence),
            "reg" => Some(Self::Reg),
            _ => None,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Dialog => "dialog",
            Self::MessageSummary => "message-summary",
            Self::Presence => "presence",
            Self::Reg => "reg",
        }
    }

    /// Content type of what is told (RFC 4235 §3.5, RFC 3842 §3.5, RFC 3856 §6.5, RFC 3680 §4.5).
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Dialog => "application/dialog-info+xml",
            Self::MessageSummary => "application/simple-message-summary",
            Self::Presence => "application/pidf+xml",
            Self::Reg => "application/reginfo+xml",
        }
    }

    /// Seconds that a subscription gets that names no time (RFC 4235 §3.4, RFC 3842 §3.4, RFC 3856
    /// §6.4, RFC 3680 §4.4).
    pub(super) const fn default_expires(self) -> u32 {
        match self {
            Self::Dialog | Self::MessageSummary | Self::Presence => 3600,
            Self::Reg => 3761,
        }
    }

    /// Whether only the user may watch: voice mail and registrations are nobody else's business
    /// (RFC 3842 §3.6, RFC 3680 §7).
    pub(super) const fn is_private(self) -> bool {
        matches!(self, Self::MessageSummary | Self::Reg)
    }

    /// What there is to see of `name`.
    pub(super) fn look(self, ctx: &Context<'_>, name: &str) -> Picture {
        let services = ctx.services;
        let contacts = || {
            let now = ctx.clock.unix(ctx.now);
            let bound = services.bindings.lookup(name);
            let mut phones: Vec<Phone> = Vec::new();
            for contact in bound.iter().flat_map(|list| list.iter()) {
                if contact.expires > now {
                    phones.push(Phone::of(contact));
                }
            }
            phones
        };
        match self {
            Self::Dialog => Picture::Dialogs(services.lines.of(name)),
            Self::MessageSummary => Picture::Summary(services.mailboxes.of(name)),
            Self::Presence => Picture::Presence(Presence::compose(
                &services.publications.of(name),
                !contacts().is_empty(),
                services.lines.is_busy(name),
            )),
            Self::Reg => Picture::Phones(contacts()),
        }
    }
}

impl Picture {
    /// Whether a watcher who knows `other` need not be told of this one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dialogs(a), Self::Dialogs(b)) => a == b,
            (Self::Summary(a), Self::Summary(b)) => a == b,
            (Self::Presence(a), Self::Presence(b)) => a == b,
            (Self::Phones(a), Self::Phones(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_same(b))
            }
            _ => false,
        }
    }

    /// The document, for a watcher who knows `before`.
    pub(super) fn write(&self, frame: Frame<'_>, before: Option<&Self>) -> String {
        let Frame {
            entity,
            host,
            version,
            now,
        } = frame;
        match (self, before) {
            (Self::Dialogs(dialogs), before) => {
                let before = before.and_then(|before| match before {
                    Self::Dialogs(before) => Some(before.as_slice()),
                    _ => None,
                });
                dialog_info::write(entity, host, version, before, dialogs)
            }
            (Self::Summary(counts), _) => summary::write(entity, counts),
            (Self::Presence(presence), _) => presence.write(entity),
            (Self::Phones(phones), Some(Self::Phones(before))) => {
                reginfo::write(entity, version, before, phones, now)
            }
            (Self::Phones(phones), _) => reginfo::write(entity, version, &[], phones, now),
        }
    }
}

/// The packages that may be watched, for Allow-Events. `refer` is what a REFER subscribes to.
pub(crate) const ALLOW_EVENTS: &str = "dialog, message-summary, presence, reg, refer";
