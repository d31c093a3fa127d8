//! What outlives a message: who is registered where, on disk and in memory, and what was called.
//!
//! ```no_run
//! # fn main() -> std::io::Result<()> {
//! use std::sync::Arc;
//!
//! let (journal, records) = store::Journal::open("srv/state".as_ref())?;
//! let bindings = Arc::new(store::Bindings::new());
//! bindings.restore(&records, base::UnixTime(1_700_000_000));
//! journal.maintain(Arc::clone(&bindings))?;
//! // A signalling thread: change the directory first, then the journal, then send the 200.
//! bindings.replace("1001", &[]);
//! journal.append(&[store::record::encode("1001", &[])])?;
//! # Ok(()) }
//! ```
//!
//! - [`bindings`]: the registration directory, written by the owning slot and read by all.
//! - [`lines`]: who is on the phone, written by calls in any slot.
//! - [`watchers`]: which slots are to be woken when that changes.
//! - [`mailboxes`]: how many voice messages wait.
//! - [`messages`]: instant messages that wait for a phone, on disk.
//! - [`presence`]: what phones have published.
//! - [`record`]: a user's contacts as one versioned record.
//! - [`journal`]: those records on disk, written before the 200 leaves.
//! - [`call_log`]: one JSON line for each ended call, by month.
//! - [`guesses`]: who sends wrong passwords.
//! - [`calendar`]: dates for file names and lines.
//!
//! It knows nothing of passwords or dial plans: those are files that people edit.

pub mod bindings;
pub mod calendar;
pub mod call_log;
pub mod guesses;
pub mod journal;
pub mod lines;
pub mod mailboxes;
pub mod messages;
mod packed;
pub mod presence;
pub mod record;
pub mod watchers;

pub use bindings::{Bindings, Contact, Reach};
pub use call_log::CallLog;
pub use guesses::Guesses;
pub use journal::Journal;
pub use lines::{Direction, LineDialog, LineState, Lines, Party};
pub use mailboxes::{MailboxCounts, Mailboxes};
pub use messages::{Messages, Put, Settled, TextMessage};
pub use presence::{Publications, Said};
pub use watchers::{Watch, Watchers};
