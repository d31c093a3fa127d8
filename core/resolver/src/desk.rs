//! Where questions are handed in.

use std::fmt;
use std::sync::Arc;

use engine::{Answer, Ask, Found, Question};
use stir::Fault;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use crate::Deliver;

/// Takes questions from any thread.
#[derive(Clone)]
pub struct Desk {
    sender: Sender<Ask>,
    deliver: Arc<Deliver>,
}

impl Desk {
    pub(crate) fn new(sender: Sender<Ask>, deliver: Arc<Deliver>) -> Self {
        Self { sender, deliver }
    }

    /// Takes the questions out of the vector. One for which there is no room is answered at once: nothing
    /// was found.
    pub fn ask(&self, questions: &mut Vec<Ask>) {
        for question in questions.drain(..) {
            let refused = self.sender.try_send(question);
            if let Err(TrySendError::Full(ask) | TrySendError::Closed(ask)) = refused {
                (self.deliver)(nothing(&ask));
            }
        }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

/// The answer that nothing was found.
pub(crate) fn nothing(ask: &Ask) -> Answer {
    let found = match &ask.question {
        Question::Locate(_) => Found::Ways(Vec::new()),
        Question::Certificate(_) => Found::Certificate(Err(Fault::Unreachable)),
    };
    Answer { id: ask.id, found }
}
