//! Names of servers and certificates, looked up without making a call wait.
//!
//! Signalling threads hand over their questions and go on; one task looks names up, with a cache that
//! goes by TTL, and hands the answers back. Whatever the name servers do, each question is answered
//! within [`Settings::limit`]; with no ways if nothing was found by then.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # fn deliver(answer: engine::Answer) {}
//! # async fn example(mut questions: Vec<engine::Ask>) {
//! let (desk, task) = resolver::resolver(resolver::Settings::default(), Arc::new(deliver));
//! tokio::spawn(task.run());
//! desk.ask(&mut questions); // On any thread; never blocks.
//! # }
//! ```
//!
//! - [`Desk`] (`desk`): takes questions from any thread.
//! - [`Task`] (`task`): answers them; equal questions are looked up once.
//! - [`Names`] (`names`): one lookup: name servers, hosts file, cache.
//! - [`Certificates`] (`certificates`): of those who sign callers' numbers.
//!
//! What it does not do: the order of what was found is `sip::locate`'s business, remembering which
//! servers did not answer is their users'. The C library's resolver is not used: it blocks, and a
//! statically linked program can't rely on it.

mod certificates;
mod desk;
mod names;
mod search;
mod task;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use engine::Answer;
use tokio::sync::mpsc;

pub use certificates::{Certificates, PemError, Roots, Trust};
pub use desk::Desk;
pub use names::Names;
pub use task::Task;

/// Makes both ends of a resolver. `deliver` takes the answers; it is called on the thread of the task,
/// or on the asking one if the question can't be taken, and must not block.
#[must_use]
pub fn resolver(settings: Settings, deliver: Arc<Deliver>) -> (Desk, Task) {
    let (sender, receiver) = mpsc::channel(MOST_QUEUED);
    let desk = Desk::new(sender, Arc::clone(&deliver));
    (desk, Task::new(settings, receiver, deliver))
}

/// Where answers go.
pub type Deliver = dyn Fn(Answer) + Send + Sync;

/// How names are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name servers; none: those of `/etc/resolv.conf`, and without that file public ones.
    pub servers: Vec<SocketAddr>,
    /// How long one name server may take before another one, or the same again, is asked.
    pub timeout: Duration,
    /// How long a question may take in all, shorter than Timer B (RFC 3261 §17.1.1.2): a call must be
    /// able to go on another way.
    pub limit: Duration,
    /// Whose certificates are believed, and where they may be fetched.
    pub trust: Trust,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(1),
            limit: Duration::from_secs(4),
            trust: Trust::default(),
        }
    }
}

/// Most questions that wait for the task; when it is full, further ones find nothing.
const MOST_QUEUED: usize = 1024;
