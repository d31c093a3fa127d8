//! What happens in an answered call: changes, refreshes, the end.

use std::time::{Duration, Instant};

use sdp::Direction;
use sip::{ClientKey, HeaderName, Message, Method, StatusCode};

use super::call::{Accepted, Call, Change, State, What, description_of};
use super::caller::pause;
use super::line::{Alarm, Owner, Pending, SDP};
use super::{Ending, Phone};

impl Phone {
    /// A request in the dialog of a call.
    pub(super) fn in_dialog(
        &mut self,
        now: Instant,
        call: &mut Call,
        pending: &Pending,
        request: &Message<'_>,
    ) {
        let cseq = request.cseq().map_or(0, |cseq| cseq.number);
        let method = request.method().unwrap_or(Method::Other(""));
        if method == Method::Ack {
            self.acknowledged(now, call, cseq, request);
            return;
        }
        if !call.dialog.advance(cseq) {
            self.plain(now, pending, 500);
            return;
        }
        call.dialog.retarget(request);
        match method {
            Method::Bye => self.peer_hung_up(now, call, pending),
            Method::Notify => self.notified(now, call, pending, request),
            Method::Prack => self.pracked(now, call, pending),
            _ if matches!(call.state, State::Leaving | State::Gone) => {
                self.plain(now, pending, 481);
            }
            Method::Invite => self.peer_changes(now, call, pending, request),
            Method::Update if self.line.manner.update => {
                self.peer_changes(now, call, pending, request);
            }
            Method::Info if self.line.manner.refuses_info => self.plain(now, pending, 405),
            Method::Info | Method::Options => self.plain(now, pending, 200),
            _ => self.plain(now, pending, 405),
        }
    }

    pub(super) fn plain(&mut self, now: Instant, pending: &Pending, status: u16) {
        self.line
            .respond(now, pending, status, "", |writer| writer.finish());
    }

    fn acknowledged(&mut self, now: Instant, call: &mut Call, cseq: u32, ack: &Message<'_>) {
        let Some(accepted) = call
            .unacknowledged
            .take_if(|accepted| accepted.cseq == cseq)
        else {
            return;
        };
        self.line.transactions.acknowledge(now, accepted.server);
        if accepted.offered {
            match description_of(ack) {
                Some(text) => self.hear_answer(call, text),
                None if call.state == State::Up => {
                    // The server may have nothing better if its caller is gone: a BYE must follow.
                    call.leaves_when_acknowledged = true;
                }
                None => {}
            }
        }
        if call.leaves_when_acknowledged {
            self.leave(now, call, Ending::HungUp);
        }
    }

    fn peer_hung_up(&mut self, now: Instant, call: &mut Call, pending: &Pending) {
        self.plain(now, pending, 200);
        if let Some(accepted) = call.unacknowledged.take() {
            self.line.transactions.acknowledge(now, accepted.server);
        }
        for invite in [call.invite.take(), call.considered.take()]
            .into_iter()
            .flatten()
        {
            self.plain(now, &invite, 487);
        }
        if call.state != State::Leaving {
            self.over(call, Ending::PeerHungUp);
        }
    }

    /// A re-INVITE or UPDATE of the server.
    fn peer_changes(
        &mut self,
        now: Instant,
        call: &mut Call,
        pending: &Pending,
        request: &Message<'_>,
    ) {
        let is_invite = request.method() == Some(Method::Invite);
        let offer = description_of(request);
        let touches_session = is_invite || offer.is_some();
        let clash = call
            .change
            .is_some_and(|change| change.is_invite || change.described);
        if touches_session && (clash || call.state != State::Up) {
            self.plain(now, pending, 491);
            return;
        }
        if touches_session && call.considered.is_some() {
            self.plain(now, pending, 500);
            return;
        }
        match self.line.manner.considers.filter(|_| is_invite) {
            Some(time) => self.consider(now, call, pending, time),
            None => self.accept_change(now, call, pending),
        }
    }

    /// Lets the user think about a re-INVITE.
    fn consider(&mut self, now: Instant, call: &mut Call, pending: &Pending, time: Duration) {
        self.line.transactions.keep(pending.server, call.id);
        self.progress_of(now, call, pending, 183, None);
        call.considered = Some(pending.clone());
        self.line.wake_after(now, time, call.id, Alarm::Consider);
    }

    /// Accepts a re-INVITE or UPDATE.
    pub(super) fn accept_change(&mut self, now: Instant, call: &mut Call, pending: &Pending) {
        let request = &pending.message();
        let is_invite = request.method() == Some(Method::Invite);
        let offer = description_of(request);
        let touches_session = is_invite || offer.is_some();
        if let Some(accepted) = call.unacknowledged.take_if(|_| is_invite) {
            // The server has gone on, so it has seen our answer.
            self.line.transactions.acknowledge(now, accepted.server);
        }
        let sdp = match offer {
            Some(offer) => {
                self.hear(call, offer);
                self.answer_to(call, offer)
            }
            None => is_invite.then(|| call.description.offer()),
        };
        if touches_session && sdp.is_none() {
            self.plain(now, pending, 488);
            return;
        }
        let session = self.grant_session(now, call, request);
        self.send_accept(now, call, pending, session.as_deref(), sdp.as_deref());
        if is_invite {
            self.line.transactions.keep(pending.server, call.id);
            call.unacknowledged = Some(Accepted {
                cseq: request.cseq().map_or(0, |cseq| cseq.number),
                server: pending.server,
                offered: offer.is_none(),
            });
        }
    }

    /// Asks for a change.
    pub(super) fn change(&mut self, now: Instant, call: &mut Call, what: What, attempts: u8) {
        let free = call.change.is_none() && call.unacknowledged.is_none();
        let early = matches!(call.state, State::Calling | State::Called);
        let early = early && what == What::Poke && !call.dialog.remote_tag.is_empty();
        if call.state != State::Up && !early || !free {
            if what == What::Refresh && call.state == State::Up {
                call.again = Some((what, attempts));
                self.line
                    .wake_after(now, Duration::from_secs(1), call.id, Alarm::Retry);
            }
            return;
        }
        let before = (call.description.direction, call.description.video);
        let knows_update = self.line.manner.update && call.peer_updates;
        let (method, sdp) = match what {
            What::Direction { hold, update } => {
                call.description.direction = if hold {
                    Direction::SendOnly
                } else {
                    Direction::SendRecv
                };
                let method = if update && knows_update {
                    Method::Update
                } else {
                    Method::Invite
                };
                (method, Some(call.description.offer()))
            }
            What::Video => {
                call.description.video = true;
                (Method::Invite, Some(call.description.offer()))
            }
            What::Poke if !knows_update => return,
            What::Poke => (Method::Update, None),
            What::Offerless => (Method::Invite, None),
            What::Refresh if knows_update => (Method::Update, None),
            What::Refresh => (Method::Invite, Some(call.description.offer())),
        };
        let key = self.send_change(now, call, method, sdp.as_deref());
        call.change = Some(Change {
            key,
            what,
            cseq: call.dialog.local_cseq,
            is_invite: method == Method::Invite,
            described: sdp.is_some(),
            attempts,
            before,
        });
    }

    fn send_change(
        &mut self,
        now: Instant,
        call: &mut Call,
        method: Method<'static>,
        sdp: Option<&str>,
    ) -> ClientKey {
        let line = &mut self.line;
        let (contact, allow, supported) = (line.contact_uri(), line.allow(), line.supported());
        let session = call.session;
        line.request(
            now,
            &mut call.dialog,
            method,
            Owner::Change(call.id),
            |mut writer| {
                writer.header(HeaderName::Contact, contact);
                writer.header(HeaderName::Allow, allow);
                writer.header(HeaderName::Supported, supported);
                if let Some(session) = session {
                    let refresher = if session.ours { "uac" } else { "uas" };
                    let value = format!("{};refresher={refresher}", session.interval);
                    writer.header(HeaderName::SessionExpires, value);
                }
                match sdp {
                    Some(sdp) => writer.body(SDP, sdp.as_bytes()),
                    None => writer.finish(),
                }
            },
        )
    }

    pub(super) fn change_answered(
        &mut self,
        now: Instant,
        call: &mut Call,
        key: ClientKey,
        response: &Message<'_>,
    ) {
        let status = response.status().unwrap_or(StatusCode(500));
        if status.is_provisional() {
            return;
        }
        let cseq = response.cseq().map_or(0, |cseq| cseq.number);
        let Some(change) = call.change.take_if(|change| change.key == key) else {
            self.acknowledge_again(call, cseq);
            return;
        };
        if status.is_success() {
            self.changed(now, call, change, response);
            return;
        }
        // RFC 3261 §14.1: as if it had never been asked for.
        (call.description.direction, call.description.video) = change.before;
        match status.0 {
            408 | 481 => self.leave(now, call, Ending::Lost),
            491 | 500 if change.attempts < 5 || change.what == What::Refresh => {
                call.again = Some((change.what, change.attempts.saturating_add(1)));
                let wait = pause(!call.incoming, self.line.mint.number());
                self.line.wake_after(now, wait, call.id, Alarm::Retry);
            }
            _ => {}
        }
    }

    fn changed(&mut self, now: Instant, call: &mut Call, change: Change, response: &Message<'_>) {
        call.dialog.retarget(response);
        let described = description_of(response);
        if let Some(text) = described {
            if change.what == What::Offerless {
                self.hear(call, text);
            } else {
                self.hear_answer(call, text);
            }
        } else if change.is_invite || change.described {
            self.line
                .complain("a change was accepted without a description");
        }
        if change.is_invite {
            let answer = described
                .filter(|_| change.what == What::Offerless)
                .and_then(|text| self.answer_to(call, text));
            self.acknowledge(call, change.cseq, answer.as_deref());
        }
        if call.state == State::Up {
            self.take_session(now, call, response);
        }
    }

    pub(super) fn cancel_change(&mut self, now: Instant, call: &mut Call) {
        if let Some(change) = call.change.filter(|change| change.is_invite) {
            let line = &mut self.line;
            line.transactions
                .cancel(now, change.key, None, &mut line.out);
        }
    }

    pub(super) fn info(&mut self, now: Instant, call: &mut Call, key: char) {
        if call.state != State::Up {
            return;
        }
        let body = format!("Signal={key}\r\nDuration=160\r\n");
        self.line.request(
            now,
            &mut call.dialog,
            Method::Info,
            Owner::Nobody,
            |writer| writer.body("application/dtmf-relay", body.as_bytes()),
        );
    }

    /// A session timer has come (RFC 4028 §10).
    pub(super) fn session_due(&mut self, now: Instant, call: &mut Call) {
        let Some(session) = call.session.filter(|session| session.due <= now) else {
            return;
        };
        if call.state != State::Up {
            return;
        }
        if !session.ours {
            self.leave(now, call, Ending::Lost);
        } else if self.line.manner.refreshes {
            self.change(now, call, What::Refresh, 0);
        }
    }
}
