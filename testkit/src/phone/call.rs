//! One call of a phone.

use std::time::Instant;

use sip::{ClientKey, Dialog, Flow, HeaderName, Message, ServerKey, SessionExpires};

use super::description::Description;
use super::forks::Fork;
use super::line::{Pending, SDP};
use super::transfer::Referral;

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: u32,
    pub(super) dialog: Dialog,
    pub(super) description: Description,
    pub(super) state: State,
    pub(super) incoming: bool,
    pub(super) number: String,
    /// The INVITE that called us, until it has its final answer.
    pub(super) invite: Option<Pending>,
    /// Our own first INVITE.
    pub(super) client: Option<ClientKey>,
    pub(super) invite_cseq: u32,
    pub(super) attempts: u8,
    pub(super) session_wish: u32,
    /// The user does not want the call any more.
    pub(super) given_up: bool,
    /// RSeq of the last reliable provisional response, sent or received.
    pub(super) rseq: u32,
    /// It waits for PRACK.
    pub(super) unpracked: bool,
    /// A description came or went before the answer.
    pub(super) early: bool,
    /// The user picked up, but the PRACK is awaited.
    pub(super) answer_waits: bool,
    /// Our 2xx without its ACK.
    pub(super) unacknowledged: Option<Accepted>,
    /// The ACKs of the last 2xx, for repetitions, by CSeq.
    pub(super) acks: Vec<(u32, Flow, Vec<u8>)>,
    pub(super) session: Option<Session>,
    pub(super) change: Option<Change>,
    pub(super) again: Option<(What, u8)>,
    /// A re-INVITE that the user thinks about.
    pub(super) considered: Option<Pending>,
    /// The other early dialogs of our INVITE.
    pub(super) forks: Vec<Fork>,
    /// Tags of those who answered when somebody else had.
    pub(super) let_go: Vec<Box<str>>,
    /// The tag of the other phone behind this one.
    pub(super) sibling: Option<base::Token>,
    pub(super) peer_updates: bool,
    pub(super) answered: bool,
    pub(super) leaves_when_acknowledged: bool,
    /// Ringing was heard, or rung.
    pub(super) rang: bool,
    /// The last transfer that was asked for here.
    pub(super) referral: Option<Referral>,
}

/// Where a call stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Our INVITE has no final answer.
    Calling,
    /// We have not answered.
    Called,
    /// Answered.
    Up,
    /// Our BYE is on its way.
    Leaving,
    /// Over.
    Gone,
}

/// A 2xx of ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    pub(super) cseq: u32,
    pub(super) server: ServerKey,
    /// It made an offer, so the ACK brings the answer.
    pub(super) offered: bool,
}

/// A session timer (RFC 4028).
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub(super) interval: u32,
    pub(super) ours: bool,
    pub(super) due: Instant,
}

/// What we want to change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    /// Hold or resume, by re-INVITE or UPDATE.
    Direction { hold: bool, update: bool },
    /// Video comes along.
    Video,
    /// A re-INVITE without a description.
    Offerless,
    /// The session timer's refresh.
    Refresh,
    /// UPDATE without a description, even before the answer.
    Poke,
}

/// A change under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) key: ClientKey,
    pub(super) what: What,
    pub(super) cseq: u32,
    pub(super) is_invite: bool,
    pub(super) described: bool,
    pub(super) attempts: u8,
    /// Direction and video before: what holds again if it is refused.
    pub(super) before: (sdp::Direction, bool),
}

impl Call {
    pub(super) fn new(id: u32, dialog: Dialog, description: Description, number: &str) -> Self {
        Self {
            id,
            dialog,
            description,
            state: State::Calling,
            incoming: false,
            number: number.to_owned(),
            invite: None,
            client: None,
            invite_cseq: 0,
            attempts: 0,
            session_wish: 0,
            given_up: false,
            rseq: 0,
            unpracked: false,
            early: false,
            answer_waits: false,
            unacknowledged: None,
            acks: Vec::new(),
            session: None,
            change: None,
            again: None,
            considered: None,
            forks: Vec::new(),
            let_go: Vec::new(),
            sibling: None,
            peer_updates: false,
            answered: false,
            leaves_when_acknowledged: false,
            rang: false,
            referral: None,
        }
    }

    pub(super) fn matches(&self, request: &Message<'_>) -> bool {
        let ours = request
            .to()
            .ok()
            .and_then(|to| to.tag())
            .is_some_and(|tag| {
                let tags = [Some(self.dialog.local_tag), self.sibling];
                tags.iter().flatten().any(|ours| ours.as_str() == tag)
            });
        ours && self.dialog.matches_request(request)
    }

    /// Takes the session timer from a 2xx (`we_asked`) or from what our 2xx will say.
    pub(super) fn set_session(&mut self, now: Instant, interval: u32, ours: bool) {
        let wait = if ours { interval / 2 } else { interval };
        self.session = Some(Session {
            interval,
            ours,
            due: now + std::time::Duration::from_secs(u64::from(wait)),
        });
    }
}

pub(super) fn session_expires(message: &Message<'_>) -> Option<SessionExpires> {
    message
        .header(HeaderName::SessionExpires)
        .and_then(|value| SessionExpires::parse(value).ok())
}

pub(super) fn description_of<'a>(message: &Message<'a>) -> Option<&'a str> {
    message.body_of_type(SDP)
}
