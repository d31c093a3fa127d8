//! One call of a phone.

use std::net::SocketAddr;

use media::MasterKey;
use sdp::{Direction, Sdp};
use sip::transaction::{ClientKey, ServerKey};
use sip::{Dialog, Message};

use super::description::{Ours, Sound};
use super::reply::Reply;
use super::{End, Settings};

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) dialog: Dialog,
    pub(super) state: State,
    /// Where we take RTP.
    pub(super) rtp: SocketAddr,
    /// With which we protect it, if keys are in descriptions.
    key: Option<MasterKey>,
    /// What has been agreed.
    pub(super) sound: Option<Sound>,
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
    pub(super) fn new(
        dialog: Dialog,
        state: State,
        (rtp, key): (SocketAddr, Option<MasterKey>),
    ) -> Self {
        Self {
            dialog,
            state,
            rtp,
            key,
            sound: None,
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
    pub(super) fn offer(&mut self, settings: &Settings) -> String {
        let wish = self.wish;
        self.ours(settings).offer(wish)
    }

    /// Our answer to `offer`, and whether it changes the direction. `None`: nothing in common.
    pub(super) fn answer(&mut self, offer: &str, settings: &Settings) -> Option<(String, bool)> {
        let sdp = Sdp::parse(offer).ok()?;
        let wish = self.wish;
        let (text, sound) = self.ours(settings).answer(&sdp, wish)?;
        let changed = self.direction != sound.direction;
        self.direction = sound.direction;
        self.sound = Some(sound);
        Some((text, changed))
    }

    /// Takes the answer to our offer. `false`: it has nothing that we offered.
    pub(super) fn take_answer(&mut self, message: &Message<'_>, settings: &Settings) -> bool {
        let Ok(sdp) = Sdp::parse_bytes(message.body()) else {
            return false;
        };
        let wish = self.wish;
        let Some(sound) = self.ours(settings).hear(&sdp, wish) else {
            return false;
        };
        self.direction = sound.direction;
        self.sound = Some(sound);
        true
    }

    /// Takes what a provisional response says of the sound before the answer. None: nothing, nothing new, or nothing
    /// that we offered.
    ///
    /// # Source
    /// RFC 3261 §13.2.1, RFC 3960 §3
    pub(super) fn take_early(
        &mut self,
        message: &Message<'_>,
        settings: &Settings,
    ) -> Option<Sound> {
        let sdp = Sdp::parse_bytes(message.body()).ok()?;
        let wish = self.wish;
        let sound = self.ours(settings).hear(&sdp, wish)?;
        let is_new = self.sound.as_ref() != Some(&sound);
        self.sound = Some(sound.clone());
        is_new.then_some(sound)
    }

    /// Whether a request in a dialog has this call's Call-ID and tags.
    pub(super) fn matches(&self, request: &Message<'_>) -> bool {
        let tag = request.to().ok().and_then(|to| to.tag());
        self.dialog.matches_request(request) && tag == Some(self.dialog.local_tag.as_str())
    }

    fn ours<'a>(&'a mut self, settings: &'a Settings) -> Ours<'a> {
        self.version += 1;
        Ours {
            settings,
            key: self.key.as_ref(),
            rtp: self.rtp,
            version: self.version,
        }
    }
}
