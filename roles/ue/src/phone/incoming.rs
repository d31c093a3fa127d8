//! Requests of the other side within calls, and what the user does about them.

use std::time::Instant;

use sdp::Direction;
use sip::{Dialog, Flow, HeaderName, Message, Method, ServerKey, StatusCode};

use super::call::{Call, State};
use super::{ALLOW, CallNumber, End, Event, Failure, Out, Phone, Reply};

impl Phone {
    /// A new call.
    pub(super) fn called(
        &mut self,
        now: Instant,
        key: ServerKey,
        flow: Flow,
        request: &Message<'_>,
        out: &mut Out,
    ) {
        if self.calls.len() >= self.settings.calls {
            self.respond(now, key, flow, request, StatusCode(486), out);
            return;
        }
        let Ok(mut dialog) = Dialog::of_request(request, flow, self.mint.token()) else {
            self.respond(now, key, flow, request, StatusCode(400), out);
            return;
        };
        dialog.flow = self.settings.server;
        let (number, rtp) = self.next_call();
        let state = State::Called {
            key,
            reply: Reply::to(request, flow),
            offer: request.body_of_type("application/sdp").map(str::to_owned),
        };
        self.calls.insert(number, Call::new(dialog, state, rtp));
        self.transactions.keep(key, number);
        let from = request.from().map_or("", |from| from.uri).to_owned();
        let call = number;
        out.events.push(Event::Incoming { call, from });
    }

    pub(super) fn ring(&mut self, now: Instant, number: CallNumber, out: &mut Out) {
        self.answer_invite(now, number, StatusCode(180), None, out);
    }

    pub(super) fn pick_up(&mut self, now: Instant, number: CallNumber, out: &mut Out) {
        let Some(call) = self.calls.get_mut(&number) else {
            return;
        };
        let State::Called { key, offer, .. } = &mut call.state else {
            return;
        };
        let (key, offer) = (*key, offer.take());
        let description = match &offer {
            Some(offer) => call.answer(offer, &self.settings).map(|(text, _)| text),
            None => Some(call.offer(&self.settings)),
        };
        let Some(description) = description else {
            let status = StatusCode(488);
            self.answer_invite(now, number, status, None, out);
            self.end(number, End::Failed(Failure::Status(status)), out);
            return;
        };
        self.answer_invite(now, number, StatusCode(200), Some(&description), out);
        if let Some(call) = self.calls.get_mut(&number) {
            call.state = State::Answered;
            call.unconfirmed = Some(key);
        }
    }

    pub(super) fn reject(
        &mut self,
        now: Instant,
        number: CallNumber,
        status: StatusCode,
        out: &mut Out,
    ) {
        if self.answer_invite(now, number, status, None, out) {
            self.end(number, End::Here, out);
        }
    }

    /// Answers the INVITE of a call that has not been answered finally; `false` if there is none.
    fn answer_invite(
        &mut self,
        now: Instant,
        number: CallNumber,
        status: StatusCode,
        description: Option<&str>,
        out: &mut Out,
    ) -> bool {
        let contact = self.contact();
        let Some(call) = self.calls.get(&number) else {
            return false;
        };
        let State::Called { key, reply, .. } = &call.state else {
            return false;
        };
        let key = *key;
        let written = reply.write(status, call.dialog.local_tag.as_str(), |mut writer| {
            writer
                .header(HeaderName::Contact, format_args!("<{contact}>"))
                .header(HeaderName::Allow, ALLOW);
            match description {
                Some(text) => writer.body("application/sdp", text.as_bytes()),
                None => writer.finish(),
            }
        });
        if let Ok(bytes) = written {
            self.transactions.respond(now, key, status, &bytes, out);
        }
        true
    }

    /// ACK for a 200 of ours.
    pub(super) fn confirmed(&mut self, now: Instant, request: &Message<'_>, out: &mut Out) {
        let Some(number) = self.call_of(request) else {
            return;
        };
        let Some(call) = self.calls.get_mut(&number) else {
            return;
        };
        let Some(key) = call.unconfirmed.take() else {
            return;
        };
        self.transactions.acknowledge(now, key);
        if !request.body().is_empty() {
            call.take_answer(request, &self.settings);
        }
        if matches!(call.state, State::Answered) {
            call.state = State::Up;
            let (rtp, sound) = (call.rtp, call.sound.clone());
            let leave = call.leave_when_confirmed;
            let call = number;
            out.events.push(Event::Up { call, rtp, sound });
            if leave {
                self.leave(now, number, End::Here, out);
            }
        }
    }

    /// No ACK came for a 200 of ours (RFC 3261 §13.3.1.4).
    pub(super) fn unconfirmed(&mut self, now: Instant, number: CallNumber, out: &mut Out) {
        if let Some(call) = self.calls.get_mut(&number) {
            call.unconfirmed = None;
            if !matches!(call.state, State::Leaving(_)) {
                self.leave(now, number, End::Failed(Failure::Timeout), out);
            }
        }
    }

    /// The other side asks for a change by INVITE or UPDATE, or refreshes the session.
    pub(super) fn changed(
        &mut self,
        now: Instant,
        key: ServerKey,
        flow: Flow,
        request: &Message<'_>,
        out: &mut Out,
    ) {
        match self.take_change(request) {
            Err(status) => self.respond(now, key, flow, request, status, out),
            Ok((number, description, direction)) => {
                self.accept_change(now, key, flow, request, number, &description, out);
                if let Some(direction) = direction {
                    out.events.push(Event::Direction(number, direction));
                }
            }
        }
    }

    /// What a change comes to: our description, and the direction if it is a new one.
    fn take_change(
        &mut self,
        request: &Message<'_>,
    ) -> Result<(CallNumber, String, Option<Direction>), StatusCode> {
        let number = self.call_of(request).ok_or(StatusCode(481))?;
        let call = self.calls.get_mut(&number).ok_or(StatusCode(481))?;
        let cseq = request.cseq().map_err(|_| StatusCode(400))?.number;
        if !call.dialog.advance(cseq) || call.unconfirmed.is_some() {
            return Err(StatusCode(500));
        }
        if call.asking.is_some() {
            return Err(StatusCode(491));
        }
        if matches!(call.state, State::Leaving(_)) {
            return Err(StatusCode(481));
        }
        call.dialog.retarget(request);
        match request.body_of_type("application/sdp") {
            Some(offer) => {
                let answer = call.answer(offer, &self.settings);
                let (text, changed) = answer.ok_or(StatusCode(488))?;
                Ok((number, text, changed.then_some(call.direction)))
            }
            None if request.method() == Some(Method::Update) => Ok((number, String::new(), None)),
            None => Ok((number, call.offer(&self.settings), None)),
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a request with its way and its answer"
    )]
    fn accept_change(
        &mut self,
        now: Instant,
        key: ServerKey,
        flow: Flow,
        request: &Message<'_>,
        number: CallNumber,
        description: &str,
        out: &mut Out,
    ) {
        let contact = self.contact();
        let written = Reply::to(request, flow).write(StatusCode(200), "", |mut writer| {
            writer
                .header(HeaderName::Contact, format_args!("<{contact}>"))
                .header(HeaderName::Allow, ALLOW);
            if description.is_empty() {
                writer.finish();
            } else {
                writer.body("application/sdp", description.as_bytes());
            }
        });
        if request.method() == Some(Method::Invite) {
            self.transactions.keep(key, number);
            if let Some(call) = self.calls.get_mut(&number) {
                call.unconfirmed = Some(key);
            }
        }
        if let Ok(bytes) = written {
            let status = StatusCode(200);
            self.transactions.respond(now, key, status, &bytes, out);
        }
    }

    /// CANCEL: the caller gave up.
    pub(super) fn cancelled(
        &mut self,
        now: Instant,
        key: ServerKey,
        flow: Flow,
        request: &Message<'_>,
        out: &mut Out,
    ) {
        let invite = self.transactions.cancelled(request);
        let status = StatusCode(if invite.is_some() { 200 } else { 481 });
        self.respond(now, key, flow, request, status, out);
        let number = invite.and_then(|invite| self.transactions.server(invite).copied());
        if let Some(number) = number
            && self.answer_invite(now, number, StatusCode(487), None, out)
        {
            self.end(number, End::There, out);
        }
    }

    /// BYE: the other side hung up.
    pub(super) fn left(
        &mut self,
        now: Instant,
        key: ServerKey,
        flow: Flow,
        request: &Message<'_>,
        out: &mut Out,
    ) {
        let Some(number) = self.call_of(request) else {
            self.respond(now, key, flow, request, StatusCode(481), out);
            return;
        };
        self.respond(now, key, flow, request, StatusCode(200), out);
        self.answer_invite(now, number, StatusCode(487), None, out);
        let Some(call) = self.calls.get_mut(&number) else {
            return;
        };
        if let Some(key) = call.unconfirmed.take() {
            // The BYE tells that the 200 has arrived.
            self.transactions.acknowledge(now, key);
        }
        let end = match call.state {
            State::Leaving(end) => end,
            _ => End::There,
        };
        self.end(number, end, out);
    }
}
