//! What the signalling threads use and do not own.

use std::fmt;
use std::io;

use base::Slot;
use sip::Flow;

use crate::machine::Ask;

/// The ways out of the engine besides the network. All are called on signalling threads.
pub struct Services<E> {
    /// Writes records; when it returns without an error they are safe. Several calls of machines share
    /// one call of this. Blocking here delays every slot of the thread.
    pub records: Box<WriteRecords>,
    /// Takes the commands for the media workers out of the vector; must not block.
    pub media: Box<SubmitMedia>,
    /// Takes the machines' questions out of the vector; must not block. Answers go to
    /// [`Handle::answer`](crate::Handle::answer), in any order.
    pub ask: Box<TakeQuestions>,
    /// Takes what the slot's machine has to tell observers out of the vector; must not block. Which
    /// events may be lost when observers lag, and which may not, is decided behind this function.
    pub events: Box<PublishEvents<E>>,
    /// Whether who is at the other end of a flow may send as much as it likes, however little it has
    /// proved; asked when its source has used up [`Limits::strangers`](crate::Limits::strangers). Must
    /// not block.
    pub trusts: Box<Trusts>,
}

impl<E> Services<E> {
    /// Services that write, submit and publish nothing: for machines that need none.
    #[must_use]
    pub fn none() -> Self {
        Self {
            records: Box::new(|_| Ok(())),
            media: Box::new(|commands| commands.clear()),
            ask: Box::new(|questions| questions.clear()),
            events: Box::new(|_, events| events.clear()),
            trusts: Box::new(|_| false),
        }
    }
}

impl<E> fmt::Debug for Services<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}

/// Form of [`Services::records`].
pub type WriteRecords = dyn Fn(&[Vec<u8>]) -> io::Result<()> + Send + Sync;

/// Form of [`Services::media`].
pub type SubmitMedia = dyn Fn(&mut Vec<media::Command>) + Send + Sync;

/// Form of [`Services::ask`].
pub type TakeQuestions = dyn Fn(&mut Vec<Ask>) + Send + Sync;

/// Form of [`Services::trusts`].
pub type Trusts = dyn Fn(&Flow) -> bool + Send + Sync;

/// Form of [`Services::events`].
pub type PublishEvents<E> = dyn Fn(Slot, &mut Vec<E>) + Send + Sync;
