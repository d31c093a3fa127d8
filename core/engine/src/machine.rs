//! The contract between a slot's machine and the thread that runs it.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use base::{Slot, Token};
pub use sip::locate::Server;
use sip::{Flow, Message, Protocol};

/// The protocol logic of one slot: no IO, no clock, no threads.
///
/// The thread calls [`handle`](Self::handle) for every input and whenever the
/// [`deadline`](Self::deadline) has come, then drains [`Out`] once.
pub trait Machine: std::marker::Send + 'static {
    /// What an operator may ask of the machine.
    type Command: std::marker::Send;
    /// What observers learn from the machine.
    type Event: std::marker::Send;

    /// Takes one input at `now` and writes all that follows from it to `out`.
    fn handle(&mut self, now: Instant, input: Input<'_, Self::Command>, out: &mut Out<Self::Event>);

    /// When the machine wants [`Input::Timer`] next.
    fn deadline(&self) -> Option<Instant>;
}

/// Everything that can happen to a machine.
#[derive(Debug)]
pub enum Input<'a, C> {
    /// A well-formed SIP message: [`Message::check`] holds. Others are refused or dropped before.
    Message {
        /// How it came, and how to answer on the same way.
        flow: Flow,
        /// The message; it borrows the receive buffer.
        message: &'a Message<'a>,
    },
    /// The deadline has come.
    Timer,
    /// An operator's wish.
    Command(C),
    /// A media worker's word on a session of this slot.
    Media(media::Event),
    /// Another machine has asked in [`Out::wake`] that this one look at what they share. Several such
    /// wishes may come as one.
    Wake,
    /// What an [`Ask`] has brought.
    Answer(Answer),
    /// What was sent to this flow did not arrive: the connection could not be made or broke, or
    /// the network said that nobody is there. When a connection ends, every slot that ever sent over
    /// it hears of it once, whether its messages arrived or not.
    Unreachable {
        /// The flow of the failed [`Send`]s; its connection is the one that broke, if there was one.
        /// For datagrams compare with [`Flow::same_peer`]: our own address may be the listener's.
        flow: Flow,
    },
}

/// What a machine wants done, in order. The vectors are reused, and one drain serves several calls,
/// of several machines: they may hold what an earlier call has put in.
#[derive(Debug)]
pub struct Out<E> {
    /// Text of all messages to send, one after the other.
    pub bytes: Vec<u8>,
    /// Messages to send; each is a range of `bytes`.
    pub send: Vec<Send>,
    /// Commands for the media workers.
    pub media: Vec<media::Command>,
    /// Questions whose answers take a while.
    pub ask: Vec<Ask>,
    /// Slots whose machines are to get [`Input::Wake`], because something that they share has changed.
    pub wake: Vec<Slot>,
    /// News for observers.
    pub events: Vec<E>,
    /// Records that must be on disk before anything in `send` leaves.
    pub records: Vec<Vec<u8>>,
    /// Flows whose peer has proved who it is: what it sends no longer counts as a stranger's
    /// ([`Limits::strangers`](crate::Limits::strangers)).
    pub vouch: Vec<Flow>,
}

impl<E> Out<E> {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            send: Vec::new(),
            media: Vec::new(),
            ask: Vec::new(),
            wake: Vec::new(),
            events: Vec::new(),
            records: Vec::new(),
            vouch: Vec::new(),
        }
    }

    /// Queues the message that `write` appends to the buffer.
    pub fn send_with(&mut self, flow: Flow, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.send.push(Send {
            flow,
            range: start..self.bytes.len(),
        });
    }

    /// Empties all vectors and keeps their memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.send.clear();
        self.media.clear();
        self.ask.clear();
        self.wake.clear();
        self.events.clear();
        self.records.clear();
        self.vouch.clear();
    }
}

impl<E> sip::Transmit for Out<E> {
    fn transmit(&mut self, flow: Flow, message: &[u8]) {
        self.send_with(flow, |bytes| bytes.extend_from_slice(message));
    }
}

impl<E> Default for Out<E> {
    fn default() -> Self {
        Self::new()
    }
}

/// A question to a service that needs a while: a name server, a web server. The machine arms a time-out
/// of its own; an answer may come later than that, or never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Minted by the slot that asks; the answer brings it back.
    pub id: Token,
    /// What is asked.
    pub question: Question,
}

/// What may be asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// Where a SIP server is (RFC 3263).
    Locate(Server),
    /// The certificate at this URL, of somebody who signs callers' numbers (RFC 8226).
    Certificate(Box<str>),
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The question's id.
    pub id: Token,
    /// What was found.
    pub found: Found,
}

/// What a question brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Ways to the server, the one to try first in front; none: it can't be found.
    Ways(Vec<(Protocol, SocketAddr)>),
    /// The certificate, its chain checked, or why there is none.
    Certificate(Result<Arc<stir::Certificate>, stir::Fault>),
}

/// One message to send.
#[derive(Clone, Debug)]
pub struct Send {
    /// Where to. Datagrams go out from `flow.local`. On stream protocols the connection is used while
    /// it is open; without one, or if the one that we made has ended, a connection with
    /// `flow.remote` is reused or made. If the peer had made it, nobody listens on its port, so the
    /// message fails at once. With [`Protocol::Local`] the message goes to the machine of this process
    /// that [`steer`](crate::steer()) finds, this one perhaps, after the present commit; what one slot
    /// sends another comes in order, and if the mailbox there is full, the message fails.
    pub flow: Flow,
    /// The message in [`Out::bytes`].
    pub range: Range<usize>,
}
