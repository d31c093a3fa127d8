//! What observers learn from the PBX, and what operators may ask of it.

use std::net::SocketAddr;
use std::sync::Arc;

use base::{Token, UnixTime};
use sip::{Message, StatusCode};

use crate::Config;
use crate::call::Caller;
use crate::room_event::RoomEvent;
use crate::stir::Verstat;

/// Something that observers may want to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A phone has registered, or its address has changed. Refreshes are not told.
    Registered {
        /// The user's name.
        user: Arc<str>,
        /// The phone's Contact URI.
        contact: Arc<str>,
        /// Where its REGISTER came from.
        from: SocketAddr,
    },
    /// A binding has ended.
    Unregistered {
        /// The user's name.
        user: Arc<str>,
        /// The phone's Contact URI.
        contact: Arc<str>,
        /// It ran out, instead of being removed by the phone.
        expired: bool,
    },
    /// Credentials were wrong.
    AuthenticationFailed {
        /// The user name that was given.
        user: Arc<str>,
        /// Where the request came from.
        from: SocketAddr,
    },
    /// Calls can be expected to get through a trunk, for the first time or again.
    TrunkUp {
        /// The trunk's name.
        trunk: Arc<str>,
    },
    /// Calls can't be expected to get through a trunk.
    TrunkDown {
        /// The trunk's name.
        trunk: Arc<str>,
        /// Why.
        reason: Arc<str>,
    },
    /// A message that waited was refused by the user's phones for what it is, and is gone.
    MessageRefused {
        /// The user whom it was for.
        user: Arc<str>,
        /// What the phones said.
        status: StatusCode,
    },
    /// Somebody dials.
    CallStarted {
        /// The call.
        call: Token,
        /// The caller's user name.
        caller: Arc<str>,
        /// The dialled number.
        number: Arc<str>,
        /// Where the caller's INVITE came from.
        from: SocketAddr,
        /// When.
        at: UnixTime,
        /// The call is forwarded: once it is answered, its phones alone can end it.
        proxied: bool,
    },
    /// A dialog belongs to the call from now on: the caller's, or one that we have begun.
    CallLeg {
        /// The call.
        call: Token,
        /// The dialog's Call-ID.
        call_id: Arc<str>,
    },
    /// A phone rings.
    CallRinging {
        /// The call.
        call: Token,
    },
    /// The call is answered.
    CallAnswered {
        /// The call.
        call: Token,
        /// When.
        at: UnixTime,
    },
    /// How the call sounds so far; told every ten seconds.
    CallSounds {
        /// The call.
        call: Token,
        /// What came from each side of the media, indexed by [`media::Side::index`].
        stats: Box<[media::SideStats; 2]>,
    },
    /// Something is wrong with the sound of a party; each thing once.
    CallAlarm {
        /// The call.
        call: Token,
        /// The party.
        side: media::Side,
        /// What, and what may help.
        reason: Arc<str>,
        /// When.
        at: UnixTime,
    },
    /// Something has happened in a conference room.
    Room(Box<RoomEvent>),
    /// More happened in a conference room at once than can be told.
    RoomNewsLost {
        /// The room's name.
        room: Arc<str>,
        /// How much.
        lost: u64,
    },
    /// The call is over. Exactly one for each [`CallStarted`](Self::CallStarted).
    CallEnded(Box<CallRecord>),
}

impl Event {
    /// Whether observers must not miss the event, however slow they are.
    #[must_use]
    pub fn is_record(&self) -> bool {
        matches!(self, Self::CallEnded(_))
    }
}

/// The record of one call.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRecord {
    /// The call.
    pub call: Token,
    /// Call-ID of the caller's INVITE.
    pub call_id: Arc<str>,
    /// The caller's user name.
    pub caller: Arc<str>,
    /// The dialled number.
    pub number: Arc<str>,
    /// The user who answered, if a phone did.
    pub answered_by: Option<Arc<str>>,
    /// The trunk that the call came by.
    pub trunk_in: Option<Arc<str>>,
    /// The trunk that the call left by, or tried to last.
    pub trunk_out: Option<Arc<str>>,
    /// Whether somebody vouched for the caller's number, if that was looked at.
    pub verstat: Option<Verstat>,
    /// The conference room that the caller was in last.
    pub room: Option<Arc<str>>,
    /// Files in which it was recorded, as they are named in the folder of recordings.
    pub recordings: Vec<Arc<str>>,
    /// When the INVITE came.
    pub started: UnixTime,
    /// When the call was answered, if it was.
    pub answered: Option<UnixTime>,
    /// When it ended.
    pub ended: UnixTime,
    /// Milliseconds from answer to end.
    pub duration_ms: u64,
    /// How it ended.
    pub cause: Cause,
    /// Status that the caller was given; 200 if the call was answered.
    pub status: StatusCode,
    /// What came from each side of the media, indexed by [`media::Side::index`].
    pub media: [media::SideStats; 2],
    /// What was wrong with the sound, in words; at most eight things.
    pub alarms: Vec<Arc<str>>,
}

impl CallRecord {
    /// Of a call that `caller` begins now by this INVITE.
    pub(crate) fn begin(
        call: Token,
        request: &Message<'_>,
        caller: &Caller,
        number: &str,
        started: UnixTime,
    ) -> Self {
        let trunk = caller.trunk.as_ref();
        Self {
            call,
            call_id: request.call_id().into(),
            caller: (&*caller.party.name).into(),
            number: number.into(),
            answered_by: None,
            trunk_in: trunk.map(|leg| Arc::clone(&leg.trunk.name)),
            trunk_out: None,
            verstat: None,
            room: None,
            recordings: Vec::new(),
            started,
            answered: None,
            ended: UnixTime(0),
            duration_ms: 0,
            cause: Cause::Refused,
            status: StatusCode(200),
            media: Default::default(),
            alarms: Vec::new(),
        }
    }

    /// The news that the call has begun.
    pub(crate) fn started(&self, from: SocketAddr, proxied: bool) -> Event {
        Event::CallStarted {
            call: self.call,
            caller: Arc::clone(&self.caller),
            number: Arc::clone(&self.number),
            from,
            at: self.started,
            proxied,
        }
    }
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The caller hung up, or says that it knows nothing of the call any more.
    CallerHungUp,
    /// The callee hung up, or says so.
    CalleeHungUp,
    /// The caller gave up before an answer.
    Cancelled,
    /// The call was refused or failed; the status says how.
    Refused,
    /// Nobody answered in time.
    NoAnswer,
    /// The dial plan came to its end.
    Completed,
    /// An operator ended it, or the server was stopped.
    Operator,
    /// No media came from either side and no phone answered when asked.
    MediaTimeout,
    /// Keys could not be agreed on with a party that was answered: its certificate is another than it said,
    /// or it broke off the handshake.
    MediaInsecure,
    /// A phone did not refresh the session (RFC 4028), or does not answer within it.
    SessionTimeout,
    /// The longest duration was reached.
    MaxDuration,
    /// A phone did not acknowledge the answer.
    NoAck,
}

impl Cause {
    /// The cause in one word, for records and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CallerHungUp => "caller-hung-up",
            Self::CalleeHungUp => "callee-hung-up",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
            Self::NoAnswer => "no-answer",
            Self::Completed => "completed",
            Self::Operator => "operator",
            Self::MediaTimeout => "media-timeout",
            Self::MediaInsecure => "media-insecure",
            Self::SessionTimeout => "session-timeout",
            Self::MaxDuration => "max-duration",
            Self::NoAck => "no-ack",
        }
    }
}

/// What an operator may ask of a slot.
#[derive(Clone, Debug)]
pub enum Command {
    /// End this call. One that is forwarded, and has been answered, goes on: only its phones can say BYE
    /// (RFC 3261 §16.12).
    Hangup {
        /// The call.
        call: Token,
    },
    /// Send a party of this call to another number.
    Transfer {
        /// The call.
        call: Token,
        /// The party that is sent.
        who: media::Side,
        /// Where to.
        number: String,
    },
    /// Record this call, or stop.
    Record {
        /// The call.
        call: Token,
        /// What is to be done.
        action: crate::RecordAction,
    },
    /// End every call of the slot: the server is stopping.
    HangupAll,
    /// What is shown to watchers in this slot has changed ([`store::Watchers::changed`]).
    Look,
    /// Work by this configuration from now on. Calls in progress go on.
    Reload(Arc<Config>),
}
