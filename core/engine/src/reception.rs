//! What happens to a message on its way from a transport to its machine.

use std::time::Instant;

use base::Slot;
use sip::{Flow, Message, Protocol, StatusCode};

use crate::admission::Judgement;
use crate::machine::{Input, Machine};
use crate::post::Post;
use crate::refusal::{refuse, refuse_busy};
use crate::residents::Residents;
use crate::stats::{Counter, Tally};
use crate::steer::steer;
use crate::wiretap::Direction;

/// Everything that a received message may touch.
pub(crate) struct Reception<'t, M: Machine> {
    pub(crate) now: Instant,
    pub(crate) index: usize,
    pub(crate) threads: usize,
    pub(crate) residents: &'t mut Residents<M>,
    pub(crate) post: &'t mut Post<M::Command>,
    pub(crate) tally: &'t Tally,
}

/// What a peer sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// A well-formed SIP message.
    Valid,
    /// A SIP message with a fault; it has been refused or dropped.
    Malformed,
    /// A request of somebody who sends too many.
    Limited,
    /// Something else.
    NotSip,
}

impl<M: Machine> Reception<'_, M> {
    /// Checks a message, finds its slot, and hands it to the machine or forwards it to the machine's
    /// thread.
    pub(crate) fn receive(&mut self, flow: Flow, bytes: &[u8]) -> Verdict {
        let Ok(message) = Message::parse(bytes) else {
            self.tally.one(Counter::NotSip);
            return Verdict::NotSip;
        };
        self.tally.one(Counter::Received);
        self.tap(flow, &message);
        if message.method().is_some() && !self.admits(flow, &message) {
            return Verdict::Limited;
        }
        if let Err(fault) = message.check() {
            self.refuse_message(&message, flow, fault.status());
            return Verdict::Malformed;
        }
        match steer(&message) {
            None => self.tally.one(Counter::Stray),
            Some(slot) if slot.index() % self.threads == self.index => {
                let message = &message;
                self.deliver(slot, Input::Message { flow, message });
            }
            Some(slot) => self.post.forward(slot, flow, message.bytes()),
        }
        Verdict::Valid
    }

    /// Refuses what was received of a request that will never be whole.
    pub(crate) fn refuse(&mut self, flow: Flow, bytes: &[u8], status: StatusCode) {
        match Message::parse(bytes) {
            Ok(message) => {
                self.tap(flow, &message);
                self.refuse_message(&message, flow, status);
            }
            Err(_) => self.tally.one(Counter::NotSip),
        }
    }

    /// Whether a request may go on; refuses it if not, or drops it.
    fn admits(&mut self, flow: Flow, request: &Message<'_>) -> bool {
        // What comes from inside was let in before.
        if flow.protocol == Protocol::Local {
            return true;
        }
        let residents = &*self.residents;
        let judged = self.post.judge(self.now, &flow, || residents.trusts(&flow));
        if judged == Judgement::Admit {
            return true;
        }
        self.tally.one(Counter::Limited);
        if judged == Judgement::Refuse {
            let slot = Slot::of_key(request.call_id().as_bytes());
            self.residents
                .answer(slot, |bytes| refuse_busy(bytes, request, flow));
        }
        false
    }

    /// Copies a message for whoever listens.
    fn tap(&self, flow: Flow, message: &Message<'_>) {
        // What we send to ourselves is copied when it is sent.
        if flow.protocol == Protocol::Local {
            return;
        }
        if let Some(tap) = self.post.tap() {
            let message = std::iter::once((flow, message.bytes()));
            tap.put(Direction::Received, message);
        }
    }

    fn refuse_message(&mut self, message: &Message<'_>, flow: Flow, status: StatusCode) {
        self.tally.one(Counter::Malformed);
        let slot = Slot::of_key(message.call_id().as_bytes());
        self.residents
            .answer(slot, |bytes| refuse(bytes, message, flow, status));
    }

    /// Hands a message to its machine that another thread has checked.
    pub(crate) fn receive_forwarded(&mut self, slot: Slot, flow: Flow, bytes: &[u8]) {
        if let Ok(message) = Message::parse(bytes) {
            let message = &message;
            self.deliver(slot, Input::Message { flow, message });
        }
    }

    /// Gives one input to the machine of `slot`, which must live on this thread.
    pub(crate) fn deliver(&mut self, slot: Slot, input: Input<'_, M::Command>) {
        self.residents.handle(self.now, slot, input, self.tally);
    }
}
