//! What a phone is told, and what it tells.

use std::fmt;
use std::net::SocketAddr;

use sdp::Direction;
use sip::StatusCode;

use super::Sound;

/// Names a call of one phone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallNumber(pub u32);

/// What the phone's user does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Registers, and keeps registered.
    Register,
    /// Removes the registration.
    Unregister,
    /// Calls a URI; [`Event::Dialing`] names the call.
    Dial(String),
    /// Lets an incoming call ring: 180.
    Ring(CallNumber),
    /// Picks up.
    Answer(CallNumber),
    /// Refuses an incoming call.
    Reject(CallNumber, StatusCode),
    /// Ends a call, whatever its state.
    HangUp(CallNumber),
    /// Puts the other party on hold.
    Hold(CallNumber),
    /// Takes the other party back.
    Resume(CallNumber),
}

/// What happens to the phone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The registration holds for this many seconds; the phone refreshes it in time.
    Registered {
        /// Seconds.
        expires: u32,
    },
    /// The registration was removed.
    Unregistered,
    /// The registration was not made or not kept. After a failure of the server or the network the
    /// phone tries again.
    RegistrationFailed(Failure),
    /// An INVITE went out.
    Dialing(CallNumber),
    /// The other side rings, or its call makes progress.
    Progress(CallNumber, StatusCode),
    /// Sound may come before the answer, such as an announcement, or comes otherwise than was said before: the other
    /// side has described it in a provisional response.
    Early {
        /// The call.
        call: CallNumber,
        /// What was agreed, until the answer.
        sound: Sound,
    },
    /// The call is up: we were answered, or our answer was confirmed.
    Up {
        /// The call.
        call: CallNumber,
        /// Where we take RTP.
        rtp: SocketAddr,
        /// What was agreed about it.
        sound: Option<Sound>,
    },
    /// Somebody calls.
    Incoming {
        /// The new call.
        call: CallNumber,
        /// The caller's URI.
        from: String,
    },
    /// The other side changed the direction of media; ours is told.
    Direction(CallNumber, Direction),
    /// The other side took our change of direction; ours is told.
    Changed(CallNumber, Direction),
    /// The other side did not take our change; the call goes on as before.
    ChangeRefused(CallNumber, Failure),
    /// The call is over. Nothing follows for it.
    Ended(CallNumber, End),
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// We hung up, gave up or rejected.
    Here,
    /// The other side hung up or gave up.
    There,
    /// It was refused or failed.
    Failed(Failure),
}

/// Why something failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Refused.
    Status(StatusCode),
    /// No answer, or no confirmation of ours.
    Timeout,
    /// The network said that nobody is there.
    Unreachable,
    /// The answer can't be used: no Contact, no common codec.
    Malformed,
}

impl fmt::Display for CallNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {}", self.0)
    }
}
