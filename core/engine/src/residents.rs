//! The machines that live on one thread.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base::{SLOTS, Slot};
use sip::Flow;

use crate::machine::{Input, Machine, Out};
use crate::post::Post;
use crate::seldom::Seldom;
use crate::services::Services;
use crate::stats::{Counter, Tally};
use crate::transports::Transports;

/// The machines of one thread's slots, and what they want done.
pub(crate) struct Residents<M: Machine> {
    machines: Vec<Resident<M>>,
    /// When each machine wants to be called; by themselves, because all are looked at again and again.
    deadlines: Vec<Option<Instant>>,
    threads: usize,
    /// Not later than any machine's deadline.
    next: Option<Instant>,
    out: Out<M::Event>,
    /// One for each message in `out`.
    origins: Vec<Origin>,
    services: Arc<Services<M::Event>>,
    build: Build<M>,
    full_disk: Seldom,
}

/// Makes the machine of a slot.
pub(crate) type Build<M> = Arc<Mutex<dyn FnMut(Slot) -> M + Send>>;

struct Resident<M> {
    slot: Slot,
    machine: M,
}

/// Who wants a message sent, and whether records of the same call must be safe before.
#[derive(Clone, Copy)]
struct Origin {
    slot: Slot,
    recorded: bool,
}

impl<M: Machine> Residents<M> {
    /// Builds the machines of the slots that live on thread `index` of `threads`.
    pub(crate) fn new(
        index: usize,
        threads: usize,
        build: Build<M>,
        services: Arc<Services<M::Event>>,
    ) -> Self {
        let machines: Vec<_> = (index..SLOTS)
            .step_by(threads)
            .map(|number| {
                let slot = Slot::new(number as u8);
                let machine = make(&build, slot);
                Resident { slot, machine }
            })
            .collect();
        let deadlines: Vec<_> = machines.iter().map(|m| m.machine.deadline()).collect();
        Self {
            next: deadlines.iter().flatten().min().copied(),
            deadlines,
            machines,
            threads,
            out: Out::new(),
            origins: Vec::new(),
            services,
            build,
            full_disk: Seldom::default(),
        }
    }

    /// When the next machine wants to be called, or earlier.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Gives one input to the machine of `slot`, which must live here.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        slot: Slot,
        input: Input<'_, M::Command>,
        tally: &Tally,
    ) {
        let before = Lengths::of(&self.out);
        let index = slot.index() / self.threads;
        let resident = &mut self.machines[index];
        let out = &mut self.out;
        let called = catch_unwind(AssertUnwindSafe(|| {
            resident.machine.handle(now, input, out);
            resident.machine.deadline()
        }));
        let deadline = called.unwrap_or_else(|_| {
            tracing::error!(%slot, "the machine of this slot failed; its calls are lost and it starts afresh");
            tally.one(Counter::Panics);
            before.cut(out);
            resident.machine = make(&self.build, slot);
            resident.machine.deadline()
        });
        self.deadlines[index] = deadline;
        self.next = earlier(self.next, deadline);
        if !self.out.events.is_empty() {
            (self.services.events)(slot, &mut self.out.events);
            self.out.events.clear();
        }
        self.end_call(slot, before.records < self.out.records.len());
    }

    /// Whether this peer may send as much as it likes.
    pub(crate) fn trusts(&self, flow: &Flow) -> bool {
        (self.services.trusts)(flow)
    }

    /// Queues an answer that no machine made.
    pub(crate) fn answer(&mut self, slot: Slot, write: impl FnOnce(&mut Vec<u8>) -> Option<Flow>) {
        let start = self.out.bytes.len();
        let Some(flow) = write(&mut self.out.bytes) else {
            self.out.bytes.truncate(start);
            return;
        };
        self.out.send.push(crate::Send {
            flow,
            range: start..self.out.bytes.len(),
        });
        self.end_call(slot, false);
    }

    /// Calls all machines whose deadline has come.
    pub(crate) fn handle_deadlines(&mut self, now: Instant, tally: &Tally) {
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        for index in 0..self.deadlines.len() {
            if self.deadlines[index].is_some_and(|deadline| deadline <= now) {
                self.handle(now, self.machines[index].slot, Input::Timer, tally);
                // A machine that does not move its deadline must not keep the thread from its work.
                self.deadlines[index] = self.deadlines[index].map(|at| at.max(now + SHORTEST));
            }
        }
        self.next = self.deadlines.iter().flatten().min().copied();
    }

    /// Does all that the machines wanted since the last time: writes the records, then sends.
    pub(crate) fn commit(
        &mut self,
        now: Instant,
        transports: &mut Transports,
        post: &mut Post<M::Command>,
        tally: &Tally,
    ) {
        let written = self.write_records(now);
        if !self.out.media.is_empty() {
            (self.services.media)(&mut self.out.media);
        }
        if !self.out.ask.is_empty() {
            (self.services.ask)(&mut self.out.ask);
        }
        for slot in self.out.wake.drain(..) {
            post.wake(slot);
        }
        for flow in self.out.vouch.drain(..) {
            post.vouch(now, &flow);
        }
        if !self.out.send.is_empty() {
            let messages = self.out.send.iter().zip(&self.origins);
            let allowed = messages
                .filter(|(_, origin)| written || !origin.recorded)
                .map(|(send, origin)| (origin.slot, send));
            transports.transmit(now, &self.out.bytes, allowed, post, tally);
            if !written {
                let withheld = self.origins.iter().filter(|origin| origin.recorded);
                tally.many(Counter::Withheld, withheld.count() as u64);
            }
        }
        self.abandon();
        self.out.bytes.shrink_to(MOST_KEPT);
    }

    /// Throws away what the machines wanted since the last commit.
    pub(crate) fn abandon(&mut self) {
        // Whoever was to be woken is woken all the same: what they share has changed already.
        let wake = std::mem::take(&mut self.out.wake);
        self.origins.clear();
        self.out.clear();
        self.out.wake = wake;
    }

    /// Whether so much waits to be sent that a commit should not be put off.
    pub(crate) fn is_full(&self) -> bool {
        self.out.bytes.len() > MOST_KEPT
    }

    fn end_call(&mut self, slot: Slot, recorded: bool) {
        self.origins
            .resize(self.out.send.len(), Origin { slot, recorded });
    }

    fn write_records(&mut self, now: Instant) -> bool {
        if self.out.records.is_empty() {
            return true;
        }
        let result: io::Result<()> = (self.services.records)(&self.out.records);
        if let Err(error) = &result
            && let Some(suppressed) = self.full_disk.allows(now)
        {
            tracing::error!(%error, suppressed, "records cannot be written; what depends on them is not answered");
        }
        result.is_ok()
    }
}

/// How far the vectors of an [`Out`] were filled.
struct Lengths {
    bytes: usize,
    send: usize,
    media: usize,
    ask: usize,
    events: usize,
    records: usize,
}

impl Lengths {
    fn of<E>(out: &Out<E>) -> Self {
        Self {
            bytes: out.bytes.len(),
            send: out.send.len(),
            media: out.media.len(),
            ask: out.ask.len(),
            events: out.events.len(),
            records: out.records.len(),
        }
    }

    fn cut<E>(&self, out: &mut Out<E>) {
        out.bytes.truncate(self.bytes);
        out.send.truncate(self.send);
        out.media.truncate(self.media);
        out.ask.truncate(self.ask);
        out.events.truncate(self.events);
        out.records.truncate(self.records);
    }
}

fn make<M>(build: &Build<M>, slot: Slot) -> M {
    // A panic while building one machine leaves nothing behind that could be wrong for another.
    let mut build = build.lock().unwrap_or_else(PoisonError::into_inner);
    build(slot)
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Shortest time between two calls of a machine whose deadline does not move.
const SHORTEST: Duration = Duration::from_millis(1);

/// Octets of buffer that are kept for the next batch.
const MOST_KEPT: usize = 1 << 20;
