//! The loop of one signalling thread.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use base::Slot;
use sip::Flow;

use crate::machine::{Input, Machine};
use crate::mailbox::{Mail, Parcel};
use crate::poll::{Poll, Ready};
use crate::post::Post;
use crate::reception::{Reception, Verdict};
use crate::residents::Residents;
use crate::seldom::Seldom;
use crate::shared::{Ends, Shared};
use crate::stats::{Counter, Tally};
use crate::transports::Transports;
use crate::udp::{Inbox, UdpSocket};

/// One thread: its slots' machines, its sockets, its mailbox.
pub(crate) struct Thread<M: Machine> {
    index: usize,
    shared: Arc<Shared<M::Command>>,
    mail: std::sync::mpsc::Receiver<Mail<M::Command>>,
    poll: Poll,
    inbox: Inbox,
    residents: Residents<M>,
    transports: Transports,
    post: Post<M::Command>,
    strangers: Seldom,
}

/// What one thread is made of, sent to it when it starts.
pub(crate) struct Parts<M: Machine> {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared<M::Command>>,
    pub(crate) ends: Ends<M::Command>,
    pub(crate) poll: Poll,
    pub(crate) udp: Vec<UdpSocket>,
    pub(crate) residents: Residents<M>,
}

impl<M: Machine> Thread<M> {
    pub(crate) fn new(parts: Parts<M>) -> Self {
        Self {
            index: parts.index,
            post: Post::new(parts.index, Arc::clone(&parts.shared), parts.ends.returned),
            shared: parts.shared,
            mail: parts.ends.mail,
            poll: parts.poll,
            inbox: Inbox::new(),
            residents: parts.residents,
            transports: Transports::new(parts.udp),
            strangers: Seldom::default(),
        }
    }

    /// Works until the thread is told to stop.
    pub(crate) fn run(mut self) {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.turn())) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return,
                Err(_) => {
                    tracing::error!(thread = self.index, "an input was lost to a fault of ours");
                    self.residents.abandon();
                    self.tally().one(Counter::Panics);
                }
            }
        }
    }

    /// Deadlines, mail, then sleep until something is ready, and read it.
    fn turn(&mut self) -> ControlFlow<()> {
        let now = Instant::now();
        self.tell_unreachable(now);
        let tally = &self.shared.tallies[self.index];
        self.residents.handle_deadlines(now, tally);
        self.commit(now);
        self.read_mail(now, MAILS)?;
        let ready = self.sleep(now)?;
        let now = Instant::now();
        for index in 0..ready {
            let ready = self.poll.ready(index);
            self.read(now, ready);
        }
        ControlFlow::Continue(())
    }

    /// Sleeps until a socket is ready, mail comes, or a deadline; tells how many sockets are ready.
    fn sleep(&mut self, now: Instant) -> ControlFlow<(), usize> {
        let mailbox = &self.shared.mailboxes[self.index];
        mailbox.falls_asleep();
        // Whoever wrote before the line above did not wake us.
        let late = mailbox.take(&self.mail);
        let busy = late.is_some() || self.transports.has_unreachable();
        let deadline = if busy {
            Some(now)
        } else {
            self.residents.next()
        };
        let timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let ready = self.poll.wait(timeout);
        mailbox.wakes_up();
        if let Some(mail) = late {
            self.open(Instant::now(), mail)?;
            self.commit(now);
        }
        ControlFlow::Continue(ready)
    }

    fn read(&mut self, now: Instant, ready: Ready) {
        match ready.key {
            WAKER => self.shared.mailboxes[self.index].waker().clear(),
            key => {
                if ready.failed {
                    self.transports.read_reports(key as usize);
                }
                self.read_datagrams(now, key as usize);
            }
        }
    }

    fn read_datagrams(&mut self, now: Instant, index: usize) {
        let count = self.inbox.receive(self.transports.udp(index));
        for datagram in 0..count {
            let socket = self.transports.udp(index);
            let Some((flow, bytes)) = self.inbox.datagram(datagram, socket) else {
                continue;
            };
            let tally = &self.shared.tallies[self.index];
            if is_keep_alive(bytes) {
                tally.one(Counter::KeepAlives);
                continue;
            }
            let mut reception = Reception {
                now,
                index: self.index,
                threads: self.shared.threads(),
                residents: &mut self.residents,
                post: &mut self.post,
                tally,
            };
            if reception.receive(flow, bytes) == Verdict::NotSip {
                log_stranger(&mut self.strangers, now, &flow, bytes.len());
            }
        }
        self.commit(now);
    }

    fn read_mail(&mut self, now: Instant, most: usize) -> ControlFlow<()> {
        for _ in 0..most {
            let mailbox = &self.shared.mailboxes[self.index];
            let Some(mail) = mailbox.take(&self.mail) else {
                break;
            };
            self.open(now, mail)?;
            if self.residents.is_full() {
                self.commit(now);
            }
        }
        self.commit(now);
        ControlFlow::Continue(())
    }

    fn open(&mut self, now: Instant, mail: Mail<M::Command>) -> ControlFlow<()> {
        match mail {
            Mail::Received(parcel) => self.open_received(now, parcel),
            Mail::Transmit(parcel) => self.post.give_back(parcel),
            Mail::Command(slot, command) => self.deliver(now, slot, Input::Command(command)),
            Mail::Media(event) => self.deliver(now, event.session().slot(), Input::Media(event)),
            Mail::Unreachable(slot, flow) => {
                self.deliver(now, slot, Input::Unreachable { flow });
            }
            Mail::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn open_received(&mut self, now: Instant, parcel: Box<Parcel>) {
        let mut reception = Reception {
            now,
            index: self.index,
            threads: self.shared.threads(),
            residents: &mut self.residents,
            post: &mut self.post,
            tally: &self.shared.tallies[self.index],
        };
        for item in &parcel.items {
            let bytes = &parcel.bytes[item.range.clone()];
            reception.receive_forwarded(item.slot, item.flow, bytes);
        }
        self.post.give_back(parcel);
    }

    fn tell_unreachable(&mut self, now: Instant) {
        while let Some((slot, flow)) = self.transports.take_unreachable() {
            self.tally().one(Counter::Unreachable);
            if self.shared.thread_of(slot) == self.index {
                self.deliver(now, slot, Input::Unreachable { flow });
            } else {
                self.post.unreachable(slot, flow);
            }
        }
    }

    fn deliver(&mut self, now: Instant, slot: Slot, input: Input<'_, M::Command>) {
        let tally = &self.shared.tallies[self.index];
        self.residents.handle(now, slot, input, tally);
    }

    fn commit(&mut self, now: Instant) {
        let tally = &self.shared.tallies[self.index];
        self.residents.commit(now, &mut self.transports, tally);
        self.post.flush();
    }

    fn tally(&self) -> &Tally {
        &self.shared.tallies[self.index]
    }
}

/// The key of the mailbox's waker; datagram sockets have their position as key.
pub(crate) const WAKER: u64 = u64::MAX;

/// Mails that are read before the sockets get their turn.
const MAILS: usize = 256;

/// Empty lines or single octets that phones send to keep a way through a NAT open (RFC 5626 §3.5.1
/// and older habits).
fn is_keep_alive(bytes: &[u8]) -> bool {
    bytes.len() <= 4
        && bytes
            .iter()
            .all(|byte| matches!(byte, b'\r' | b'\n' | 0 | b' '))
}

fn log_stranger(seldom: &mut Seldom, now: Instant, flow: &Flow, length: usize) {
    if let Some(suppressed) = seldom.allows(now) {
        let peer = base::Pii(flow);
        tracing::info!(%peer, length, suppressed, "what came is not SIP; it is dropped");
    }
}
