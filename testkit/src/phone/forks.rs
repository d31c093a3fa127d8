//! Several phones that answer one INVITE: each makes a dialog of its own.

use std::time::Instant;

use sip::{Message, Method};

use super::Phone;
use super::call::Call;
use super::description::Heard;
use super::line::Owner;

/// What was heard in one of the early dialogs of an INVITE: each has its own description and its own
/// count of reliable responses.
///
/// # Source
/// RFC 3261 §12.1.2, RFC 3262 §4, RFC 3264 §8
#[derive(Debug, Default)]
pub(super) struct Fork {
    /// The phone's tag.
    tag: Box<str>,
    heard: Heard,
    early: bool,
    rseq: u32,
    peer_updates: bool,
}

impl Call {
    /// Goes on in the dialog that a response belongs to.
    pub(super) fn switch(&mut self, response: &Message<'_>) {
        let tag = response.to().ok().and_then(|to| to.tag());
        let tag = tag.unwrap_or_default();
        let left = std::mem::take(&mut self.dialog.remote_tag);
        if *left != *tag && !left.is_empty() {
            let known = self.forks.iter().position(|fork| *fork.tag == *tag);
            let entered = known.map(|at| self.forks.swap_remove(at));
            let entered = entered.unwrap_or_default();
            self.forks.push(Fork {
                tag: left,
                heard: self.description.exchange(entered.heard),
                early: std::mem::replace(&mut self.early, entered.early),
                rseq: std::mem::replace(&mut self.rseq, entered.rseq),
                peer_updates: std::mem::replace(&mut self.peer_updates, entered.peer_updates),
            });
        }
        self.dialog.adopt(response);
    }

    /// Whether a 2xx is from another phone than the one that the call has been made with.
    pub(super) fn is_second(&self, response: &Message<'_>) -> bool {
        let tag = response.to().ok().and_then(|to| to.tag());
        tag.is_some_and(|tag| *tag != *self.dialog.remote_tag)
    }
}

impl Phone {
    /// One phone too many has answered: it is told so, and let go (RFC 3261 §13.2.2.4).
    pub(super) fn second_accepts(&mut self, now: Instant, call: &mut Call, response: &Message<'_>) {
        let mut dialog = call.dialog.clone();
        dialog.adopt(response);
        let cseq = response.cseq().map_or(0, |cseq| cseq.number);
        let known = call.let_go.contains(&dialog.remote_tag);
        self.line.ack(&dialog, cseq, None);
        if !known {
            call.let_go.push(dialog.remote_tag.clone());
            let owner = Owner::Nobody;
            self.line
                .request(now, &mut dialog, Method::Bye, owner, |writer| {
                    writer.finish();
                });
        }
    }
}
