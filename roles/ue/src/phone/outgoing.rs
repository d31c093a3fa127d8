//! Requests of the phone within calls, and what their answers mean.

use std::time::Instant;

use sdp::Direction;
use sip::transaction::ClientKey;
use sip::{Dialog, HeaderName, Message, Method, StatusCode};

use super::call::{Call, State};
use super::{ALLOW, CallNumber, End, Event, Failure, Out, Phone, Task, Work};
use crate::credentials::Challenge;
use base::Token;

impl Phone {
    pub(super) fn dial(&mut self, now: Instant, uri: &str, out: &mut Out) {
        let (number, rtp) = self.next_call();
        let call_id = self.mint.token();
        let local = format!("<sip:{}@{}>", self.settings.user, self.settings.domain);
        let dialog = Dialog::begin(
            call_id.as_str(),
            self.mint.token(),
            &local,
            &format!("<{uri}>"),
            uri,
            self.settings.server,
        );
        let state = State::Calling { given_up: false };
        self.calls.insert(number, Call::new(dialog, state, rtp));
        out.events.push(Event::Dialing(number));
        self.invite(now, number, None, out);
    }

    /// Asks for another direction of media, if the call is up and nothing else is asked.
    pub(super) fn change(
        &mut self,
        now: Instant,
        number: CallNumber,
        wish: Direction,
        out: &mut Out,
    ) {
        let Some(call) = self.calls.get_mut(&number) else {
            return;
        };
        let is_free = call.asking.is_none() && call.unconfirmed.is_none();
        if matches!(call.state, State::Up) && is_free {
            call.former_wish = call.wish;
            call.wish = wish;
            self.invite(now, number, None, out);
        } else {
            // As the other side would refuse it (RFC 3261 §14.1).
            let refusal = Failure::Status(StatusCode(491));
            out.events.push(Event::ChangeRefused(number, refusal));
        }
    }

    pub(super) fn hang_up(&mut self, now: Instant, number: CallNumber, out: &mut Out) {
        let Some(call) = self.calls.get_mut(&number) else {
            return;
        };
        match &mut call.state {
            State::Calling { given_up } => {
                *given_up = true;
                if let Some(key) = call.asking {
                    self.transactions.cancel(now, key, None, out);
                }
            }
            State::Called { .. } => self.reject(now, number, StatusCode(480), out),
            State::Answered => call.leave_when_confirmed = true,
            State::Up => self.leave(now, number, End::Here, out),
            State::Leaving(_) => {}
        }
    }

    /// Ends a call that is up.
    pub(super) fn leave(&mut self, now: Instant, number: CallNumber, end: End, out: &mut Out) {
        if let Some(call) = self.calls.get_mut(&number) {
            call.state = State::Leaving(end);
            self.bye(now, number, None, out);
        }
    }

    pub(super) fn bye(
        &mut self,
        now: Instant,
        number: CallNumber,
        challenge: Option<Challenge>,
        out: &mut Out,
    ) {
        let work = Work::Bye(number);
        self.send_in_call(now, number, Method::Bye, work, challenge, out);
    }

    /// The BYE of a call has done what it can.
    pub(super) fn gone(&mut self, number: CallNumber, out: &mut Out) {
        let state = self.calls.get(&number).map(|call| &call.state);
        if let Some(&State::Leaving(end)) = state {
            self.end(number, end, out);
        }
    }

    pub(super) fn invite(
        &mut self,
        now: Instant,
        number: CallNumber,
        challenge: Option<Challenge>,
        out: &mut Out,
    ) {
        let work = Work::Invite(number);
        let key = self.send_in_call(now, number, Method::Invite, work, challenge, out);
        if let Some(call) = self.calls.get_mut(&number) {
            call.asking = key;
        }
    }

    fn send_in_call(
        &mut self,
        now: Instant,
        number: CallNumber,
        method: Method<'_>,
        work: Work,
        challenge: Option<Challenge>,
        out: &mut Out,
    ) -> Option<ClientKey> {
        let task = Task {
            work,
            challenged: challenge.is_some(),
        };
        let branch = self.mint.token();
        let contact = self.contact();
        let target = self.calls.get(&number)?.dialog.remote_target.clone();
        let salt = self.mint.number();
        let credentials = self.credentials(challenge, method, &target, salt);
        let call = self.calls.get_mut(&number)?;
        let offer = (method == Method::Invite).then(|| call.offer(&self.settings));
        let sent_by = self.settings.server.local.to_string();
        let mut bytes = Vec::with_capacity(1024);
        let mut writer = call.dialog.request(&mut bytes, method, &sent_by, branch);
        if let Some((name, value)) = credentials {
            writer.header(name, value);
        }
        match offer {
            Some(offer) => {
                writer
                    .header(HeaderName::Contact, format_args!("<{contact}>"))
                    .header(HeaderName::Allow, ALLOW);
                writer.body("application/sdp", offer.as_bytes());
            }
            None => writer.finish(),
        }
        let flow = call.dialog.flow;
        let sent = self
            .transactions
            .request(now, flow, method, branch, &bytes, task, out);
        Some(sent)
    }

    pub(super) fn invite_answered(
        &mut self,
        now: Instant,
        key: ClientKey,
        number: CallNumber,
        response: &Message<'_>,
        challenge: Option<Challenge>,
        out: &mut Out,
    ) {
        let Some(status) = response.status() else {
            return;
        };
        let call = self.calls.get_mut(&number);
        let call = call.filter(|call| call.asking == Some(key));
        match call {
            None if status.is_success() => self.answered_again(now, number, response, out),
            None => {}
            Some(call) if status.is_provisional() => {
                let rings = status.0 > 100 && matches!(call.state, State::Calling { .. });
                if rings {
                    out.events.push(Event::Progress(number, status));
                    if let Some(sound) = call.take_early(response, &self.settings) {
                        let call = number;
                        out.events.push(Event::Early { call, sound });
                    }
                }
            }
            Some(_) if status.is_success() => self.answered(now, number, response, out),
            Some(call) => {
                call.asking = None;
                let given_up = matches!(call.state, State::Calling { given_up: true });
                match challenge.filter(|_| !given_up) {
                    Some(challenge) => self.invite(now, number, Some(challenge), out),
                    None => self.invite_failed(now, number, Failure::Status(status), out),
                }
            }
        }
    }

    /// The first success of an INVITE.
    fn answered(
        &mut self,
        now: Instant,
        number: CallNumber,
        response: &Message<'_>,
        out: &mut Out,
    ) {
        let Some(call) = self.calls.get_mut(&number) else {
            return;
        };
        call.asking = None;
        let first = matches!(call.state, State::Calling { .. });
        if first {
            call.dialog.establish(response);
        } else {
            call.dialog.retarget(response);
        }
        let understood = call.take_answer(response, &self.settings);
        let direction = call.direction;
        let (rtp, sound) = (call.rtp, call.sound.clone());
        let is_leaving = matches!(call.state, State::Leaving(_));
        let given_up = matches!(call.state, State::Calling { given_up: true });
        self.acknowledge(number, response, out);
        match (first, understood) {
            (true, _) if given_up => self.leave(now, number, End::Here, out),
            _ if is_leaving => {}
            (_, false) => self.leave(now, number, End::Failed(Failure::Malformed), out),
            (true, true) => {
                if let Some(call) = self.calls.get_mut(&number) {
                    call.state = State::Up;
                }
                let call = number;
                out.events.push(Event::Up { call, rtp, sound });
            }
            (false, true) => out.events.push(Event::Changed(number, direction)),
        }
    }

    /// A success that has been seen, or one of another phone that the call was forked to.
    fn answered_again(
        &mut self,
        now: Instant,
        number: CallNumber,
        response: &Message<'_>,
        out: &mut Out,
    ) {
        let tag = response.to().ok().and_then(|to| to.tag());
        let cseq = response.cseq().map_or(0, |cseq| cseq.number);
        let known = self.calls.get(&number).and_then(|call| {
            let (acknowledged, ack) = call.ack.as_ref()?;
            let is_ours = Some(&*call.dialog.remote_tag) == tag && *acknowledged == cseq;
            is_ours.then_some((call.dialog.flow, ack))
        });
        match known {
            Some((flow, ack)) => out.send_with(flow, |bytes| bytes.extend_from_slice(ack)),
            None => self.end_orphan(now, response, out),
        }
    }

    /// Accepts and at once ends a dialog that has no call here (RFC 3261 §13.2.2.4).
    fn end_orphan(&mut self, now: Instant, response: &Message<'_>, out: &mut Out) {
        let (Ok(from), Ok(to), Ok(cseq)) = (response.from(), response.to(), response.cseq()) else {
            return;
        };
        let Some(tag) = from.tag().and_then(Token::parse) else {
            return;
        };
        let (local, remote) = (format!("<{}>", from.uri), format!("<{}>", to.uri));
        let flow = self.settings.server;
        let mut dialog = Dialog::begin(response.call_id(), tag, &local, &remote, to.uri, flow);
        dialog.establish(response);
        dialog.local_cseq = cseq.number;
        let sent_by = flow.local.to_string();
        let branch = self.mint.token();
        out.send_with(flow, |bytes| {
            dialog.ack(bytes, cseq.number, &sent_by, branch).finish();
        });
        let branch = self.mint.token();
        let mut bytes = Vec::with_capacity(512);
        dialog
            .request(&mut bytes, Method::Bye, &sent_by, branch)
            .finish();
        let task = Task {
            work: Work::Orphan,
            challenged: true,
        };
        self.transactions
            .request(now, flow, Method::Bye, branch, &bytes, task, out);
    }

    fn acknowledge(&mut self, number: CallNumber, response: &Message<'_>, out: &mut Out) {
        let cseq = response.cseq().map_or(0, |cseq| cseq.number);
        let branch = self.mint.token();
        let sent_by = self.settings.server.local.to_string();
        if let Some(call) = self.calls.get_mut(&number) {
            let mut ack = Vec::with_capacity(512);
            call.dialog.ack(&mut ack, cseq, &sent_by, branch).finish();
            out.send_with(call.dialog.flow, |bytes| bytes.extend_from_slice(&ack));
            call.ack = Some((cseq, ack));
        }
    }

    /// An INVITE was refused or got no answer.
    pub(super) fn invite_failed(
        &mut self,
        now: Instant,
        number: CallNumber,
        failure: Failure,
        out: &mut Out,
    ) {
        let Some(call) = self.calls.get_mut(&number) else {
            return;
        };
        call.asking = None;
        match call.state {
            State::Calling { given_up: true } => self.end(number, End::Here, out),
            State::Calling { .. } => self.end(number, End::Failed(failure), out),
            State::Up if ends_the_call(failure) => {
                self.leave(now, number, End::Failed(failure), out);
            }
            State::Up => {
                call.wish = call.former_wish;
                out.events.push(Event::ChangeRefused(number, failure));
            }
            _ => {}
        }
    }
}

/// RFC 3261 §12.2.1.2: 481 and 408, or no answer at all, end the dialog.
fn ends_the_call(failure: Failure) -> bool {
    match failure {
        Failure::Status(status) => matches!(status.0, 408 | 481),
        Failure::Timeout | Failure::Unreachable => true,
        Failure::Malformed => false,
    }
}
