//! What one thread has for the others: collected, then handed over together.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use base::Slot;
use sip::{Flow, Message};

use crate::admission::Judgement;
use crate::mailbox::{Mail, Parcel};
use crate::shared::Shared;
use crate::slot_set::SlotSet;
use crate::stats::Counter;
use crate::steer::steer;
use crate::wiretap::Tap;

/// The outgoing post of one thread.
pub(crate) struct Post<C> {
    index: usize,
    shared: Arc<Shared<C>>,
    /// Emptied parcels that came back.
    returned: Receiver<Box<Parcel>>,
    received: Vec<Option<Box<Parcel>>>,
    transmit: Vec<Option<Box<Parcel>>>,
    local: Vec<Option<Box<Parcel>>>,
    /// Messages that no thread took to send, with the slots that sent them.
    failed: Vec<(Slot, Flow)>,
    /// Slots that are still to be woken.
    wake: SlotSet,
}

impl<C> Post<C> {
    pub(crate) fn new(
        index: usize,
        shared: Arc<Shared<C>>,
        returned: Receiver<Box<Parcel>>,
    ) -> Self {
        let none = || (0..shared.threads()).map(|_| None).collect();
        Self {
            index,
            received: none(),
            transmit: none(),
            local: none(),
            failed: Vec::new(),
            wake: SlotSet::default(),
            shared,
            returned,
        }
    }

    /// Forwards a message that came in here to the thread of its slot.
    pub(crate) fn forward(&mut self, slot: Slot, flow: Flow, message: &[u8]) {
        let thread = self.shared.thread_of(slot);
        self.received[thread]
            .get_or_insert_with(|| fresh(&self.returned, self.index))
            .push(slot, flow, message);
    }

    /// Has a message sent by the thread that owns its connection.
    pub(crate) fn transmit(&mut self, thread: usize, slot: Slot, flow: Flow, message: &[u8]) {
        self.transmit[thread]
            .get_or_insert_with(|| fresh(&self.returned, self.index))
            .push(slot, flow, message);
    }

    /// Sends a message of `slot` to a machine of this process, on this thread or another. It goes by the
    /// mailbox in either case, so that a machine never hears of what it sends while it is sending.
    pub(crate) fn send_inside(&mut self, slot: Slot, flow: Flow, message: &[u8]) {
        let to = Message::parse(message).ok().and_then(|text| steer(&text));
        let Some(to) = to else {
            // An answer to nothing that we asked.
            return self.count(Counter::Stray, 1);
        };
        let thread = self.shared.thread_of(to);
        self.local[thread]
            .get_or_insert_with(|| fresh(&self.returned, self.index))
            .push(slot, flow, message);
    }

    /// Wakes the machine of `slot`: at the next flush, or at a later one if its mailbox is full.
    pub(crate) fn wake(&mut self, slot: Slot) {
        self.wake.insert(slot);
    }

    /// A peer has proved who it is.
    pub(crate) fn vouch(&self, now: Instant, flow: &Flow) {
        self.shared.admission.vouch(now, flow);
    }

    /// How a request of this peer is to be treated.
    pub(crate) fn judge(
        &self,
        now: Instant,
        flow: &Flow,
        trusts: impl FnOnce() -> bool,
    ) -> Judgement {
        self.shared.admission.judge(now, flow, trusts)
    }

    /// Whether machines are still to be woken.
    pub(crate) fn has_unwoken(&self) -> bool {
        !self.wake.is_empty()
    }

    /// Where copies of messages go, if somebody listens.
    #[inline]
    pub(crate) fn tap(&self) -> Option<&Tap> {
        self.shared.taps.open(self.index)
    }

    /// Tells the thread of `slot` that a message of the slot did not arrive.
    pub(crate) fn unreachable(&mut self, slot: Slot, flow: Flow) {
        let thread = self.shared.thread_of(slot);
        if self.shared.mailboxes[thread]
            .put(Mail::Unreachable(slot, flow))
            .is_err()
        {
            self.count(Counter::MailboxFull, 1);
        }
    }

    /// Hands over all that was collected.
    pub(crate) fn flush(&mut self) {
        if self.has_unwoken() {
            self.wake_slots();
        }
        for thread in 0..self.received.len() {
            if let Some(parcel) = self.received[thread].take() {
                let count = parcel.items.len();
                let put = self.shared.mailboxes[thread].put(Mail::Received(parcel));
                self.count(
                    put.map_or(Counter::MailboxFull, |()| Counter::Forwarded),
                    count,
                );
            }
            let transmit = self.transmit[thread].take().map(Mail::Transmit);
            let local = self.local[thread].take().map(Mail::Local);
            for mail in transmit.into_iter().chain(local) {
                if let Err(mail) = self.shared.mailboxes[thread].put(mail) {
                    self.fail(&mail);
                }
            }
        }
    }

    fn wake_slots(&mut self) {
        for slot in std::mem::take(&mut self.wake).iter() {
            let mailbox = &self.shared.mailboxes[self.shared.thread_of(slot)];
            if mailbox.put(Mail::Wake(slot)).is_err() {
                self.wake.insert(slot);
            }
        }
    }

    /// Gives a read parcel back to the thread that filled it.
    pub(crate) fn give_back(&self, mut parcel: Box<Parcel>) {
        if parcel.bytes.capacity() > MOST_KEPT {
            return;
        }
        parcel.clear();
        // A full stock needs no more.
        let _ = self.shared.stocks[parcel.origin].try_send(parcel);
    }

    /// Takes a failure that its slot must be told of.
    pub(crate) fn take_failed(&mut self) -> Option<(Slot, Flow)> {
        self.failed.pop()
    }

    /// Whether slots must be told of failures.
    pub(crate) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    fn fail(&mut self, mail: &Mail<C>) {
        if let Mail::Transmit(parcel) | Mail::Local(parcel) = mail {
            self.count(Counter::MailboxFull, parcel.items.len());
            let items = parcel.items.iter();
            self.failed.extend(items.map(|item| (item.slot, item.flow)));
        }
    }

    fn count(&self, counter: Counter, count: usize) {
        self.shared.tallies[self.index].many(counter, count as u64);
    }
}

fn fresh(returned: &Receiver<Box<Parcel>>, origin: usize) -> Box<Parcel> {
    let mut parcel = returned.try_recv().unwrap_or_default();
    parcel.origin = origin;
    parcel
}

/// Largest buffer that is kept for another parcel.
const MOST_KEPT: usize = 256 * 1024;
