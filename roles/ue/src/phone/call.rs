//! One call of a phone.

use std::net::SocketAddr;

use sdp::{Codec, Direction, Local, Origin, Sdp};
use sip::transaction::{ClientKey, ServerKey};
use sip::{Dialog, Message};

use super::End;
use super::reply::Reply;

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) dialog: Dialog,
    pub(super) state: State,
    /// Where we take RTP.
    pub(super) rtp: SocketAddr,
    /// Where the other side does.
    pub(super) media: Option<SocketAddr>,
    /// What we want media to do.
    pub(super) wish: Direction,
    /// What we wanted before we asked for a change.
    pub(super) former_wish: Direction,
    /// What media do, seen from here.
    pub(super) direction: Direction,
    /// Version of our session description.
    version: u64,
    /// Our INVITE, first or later, that has no final answer yet.
    pub(super) asking: Option<ClientKey>,
    /// The other side's INVITE whose 200 is not confirmed yet.
    pub(super) unconfirmed: Option<ServerKey>,
    /// The user hung up before the other side had confirmed our answer, so that BYE must wait (RFC
    /// 3261 §15).
    pub(super) leave_when_confirmed: bool,
    /// ACK of the last 200, with its CSeq.
    pub(super) ack: Option<(u32, Vec<u8>)>,
}

/// Where a call stands.
#[derive(Debug)]
pub(super) enum State {
    /// We called; no final answer yet.
    Calling {
        /// The user gave up: whatever comes, the call ends.
        given_up: bool,
    },
    /// We are called and have not answered.
    Called {
        key: ServerKey,
        reply: Reply,
        /// The caller's description, if it sent one.
        offer: Option<String>,
    },
    /// We answered; the other side has not confirmed it yet.
    Answered,
    /// Answered and confirmed.
    Up,
    /// Our BYE is under way.
    Leaving(End),
}

impl Call {
    pub(super) fn new(dialog: Dialog, state: State, rtp: SocketAddr) -> Self {
        Self {
            dialog,
            state,
            rtp,
            media: None,
            wish: Direction::SendRecv,
            former_wish: Direction::SendRecv,
            direction: Direction::SendRecv,
            version: 0,
            asking: None,
            unconfirmed: None,
            leave_when_confirmed: false,
            ack: None,
        }
    }

    /// Our offer.
    pub(super) fn offer(&mut self, codecs: &[Codec]) -> String {
        let mut text = String::new();
        let local = self.local();
        sdp::offer(codecs, self.wish, &local, &mut text);
        text
    }

    /// Our answer to `offer`, and whether it changes the direction. `None`: no codec in common.
    pub(super) fn answer(&mut self, offer: &str, codecs: &[Codec]) -> Option<(String, bool)> {
        let sdp = Sdp::parse(offer).ok()?;
        let mut agreed = sdp::agree(&sdp, codecs)?;
        agreed.direction = both(agreed.direction, self.wish);
        let changed = self.direction != agreed.direction;
        self.direction = agreed.direction;
        self.media = address(&sdp);
        let mut text = String::new();
        let local = self.local();
        sdp::answer(&sdp, &agreed, &local, &mut text);
        Some((text, changed))
    }

    /// Takes the answer to our offer. `false`: it has no codec that we offered.
    pub(super) fn take_answer(&mut self, message: &Message<'_>, codecs: &[Codec]) -> bool {
        let Ok(sdp) = Sdp::parse_bytes(message.body()) else {
            return false;
        };
        let Some(agreed) = sdp::agree(&sdp, codecs) else {
            return false;
        };
        self.direction = both(agreed.direction, self.wish);
        self.media = address(&sdp);
        true
    }

    /// Whether a request in a dialog has this call's Call-ID and tags.
    pub(super) fn matches(&self, request: &Message<'_>) -> bool {
        let tag = request.to().ok().and_then(|to| to.tag());
        self.dialog.matches_request(request) && tag == Some(self.dialog.local_tag.as_str())
    }

    fn local(&mut self) -> Local {
        self.version += 1;
        Local {
            origin: Origin {
                session_id: u64::from(self.rtp.port()),
                version: self.version,
                address: self.rtp.ip(),
            },
            rtp: self.rtp,
        }
    }
}

/// What is left of media if one side allows `a` and the other `b`, both seen from here.
fn both(a: Direction, b: Direction) -> Direction {
    let sends = |direction| matches!(direction, Direction::SendRecv | Direction::SendOnly);
    let receives = |direction| matches!(direction, Direction::SendRecv | Direction::RecvOnly);
    match (sends(a) && sends(b), receives(a) && receives(b)) {
        (true, true) => Direction::SendRecv,
        (true, false) => Direction::SendOnly,
        (false, true) => Direction::RecvOnly,
        (false, false) => Direction::Inactive,
    }
}

fn address(sdp: &Sdp<'_>) -> Option<SocketAddr> {
    Some(sdp.media_at(0)?.transport()?.rtp)
}
