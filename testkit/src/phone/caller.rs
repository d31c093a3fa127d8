//! A phone that calls.

use std::time::{Duration, Instant};

use sip::transaction::GIVE_UP;
use sip::{ClientKey, Dialog, HeaderName, Message, Method, StatusCode};

use super::call::{Call, State, description_of, session_expires};
use super::description::Description;
use super::line::{Alarm, Owner, SDP};
use super::{Ending, Phone};

impl Phone {
    pub(super) fn dial(&mut self, now: Instant, number: &str) {
        let (id, rtp) = self.number_call();
        let line = &mut self.line;
        let domain = line.domain();
        let local = format!("<sip:{}@{domain}>", line.user);
        let remote = format!("<sip:{number}@{domain}>");
        let target = format!("sip:{number}@{domain}");
        let (call_id, tag) = (line.mint.token(), line.mint.token());
        let dialog = Dialog::begin(call_id.as_str(), tag, &local, &remote, &target, line.server);
        let mut dialog = dialog;
        dialog.local_cseq = line.manner.first_cseq;
        let description = Description::new(rtp, line.mint.number() >> 1, line.manner.video);
        let mut call = Call::new(id, dialog, description, number);
        call.session_wish = line.manner.session.unwrap_or(0);
        line.begin_authorization();
        self.invite(now, &mut call);
        if let Some(patience) = self.line.manner.patience {
            self.line.wake_after(now, patience, id, Alarm::GiveUp);
        }
        self.calls.insert(id, call);
    }

    fn invite(&mut self, now: Instant, call: &mut Call) {
        call.attempts += 1;
        let line = &mut self.line;
        let authorization = line.authorization(Method::Invite, &call.dialog.remote_target);
        let sdp = (!line.manner.offerless).then(|| call.description.offer());
        let (contact, allow, supported) = (line.contact_uri(), line.allow(), line.supported());
        let demands = line.manner.demands_reliable;
        let session = call.session_wish;
        let key = line.request(
            now,
            &mut call.dialog,
            Method::Invite,
            Owner::Invite(call.id),
            |mut writer| {
                writer.header(HeaderName::Contact, contact);
                writer.header(HeaderName::Allow, allow);
                writer.header(HeaderName::Supported, supported);
                if demands {
                    writer.header(HeaderName::Require, "100rel");
                }
                if session > 0 {
                    writer.header(HeaderName::SessionExpires, session);
                }
                if let Some(authorization) = authorization {
                    writer.header(HeaderName::Authorization, authorization);
                }
                match sdp {
                    Some(sdp) => writer.body(SDP, sdp.as_bytes()),
                    None => writer.finish(),
                }
            },
        );
        call.invite_cseq = call.dialog.local_cseq;
        call.client = Some(key);
    }

    pub(super) fn invite_answered(
        &mut self,
        now: Instant,
        call: &mut Call,
        key: ClientKey,
        response: &Message<'_>,
    ) {
        let status = response.status().unwrap_or(StatusCode(500));
        if call.client != Some(key) || status.0 == 100 {
            return;
        }
        match status.0 {
            101..=199 => self.progress(now, call, response),
            200..=299 => self.accepted(now, call, response),
            _ => self.refused(now, call, status, response),
        }
    }

    fn progress(&mut self, now: Instant, call: &mut Call, response: &Message<'_>) {
        if call.state != State::Calling || !self.same_dialog(call, response) {
            return;
        }
        call.peer_updates = response.lists(HeaderName::Allow, "UPDATE");
        if response.lists(HeaderName::Require, "100rel") && !self.prack(now, call, response) {
            return;
        }
        call.rang |= matches!(response.status(), Some(StatusCode(180)));
        if let Some(text) = description_of(response) {
            call.early = true;
            self.hear_answer(call, text);
        }
    }

    /// `false`: a repetition, or out of order.
    fn prack(&mut self, now: Instant, call: &mut Call, response: &Message<'_>) -> bool {
        let Ok(Some(rseq)) = response.number(HeaderName::RSeq) else {
            self.line.complain("reliable response without RSeq");
            return false;
        };
        if call.rseq != 0 && rseq != call.rseq + 1 {
            return false;
        }
        call.rseq = rseq;
        let cseq = call.invite_cseq;
        self.line.request(
            now,
            &mut call.dialog,
            Method::Prack,
            Owner::Nobody,
            |mut writer| {
                writer.header(HeaderName::RAck, format_args!("{rseq} {cseq} INVITE"));
                writer.finish();
            },
        );
        true
    }

    fn accepted(&mut self, now: Instant, call: &mut Call, response: &Message<'_>) {
        let cseq = response.cseq().map_or(0, |cseq| cseq.number);
        if call.answered {
            if self.meets_many(call) && call.is_second(response) {
                self.second_accepts(now, call, response);
            } else {
                self.acknowledge_again(call, cseq);
            }
            return;
        }
        if !self.same_dialog(call, response) {
            return;
        }
        call.answered = true;
        call.state = State::Up;
        call.dialog.retarget(response);
        call.peer_updates = response.lists(HeaderName::Allow, "UPDATE");
        let described = description_of(response);
        match described {
            Some(text) if self.line.manner.offerless => self.hear(call, text),
            Some(text) => self.hear_answer(call, text),
            None if call.early => {}
            // The other phone's own folly, and nothing comes of the call.
            None if self.meets_many(call) => call.given_up = true,
            None => self.line.complain("200 without a description"),
        }
        let answer = described
            .filter(|_| self.line.manner.offerless)
            .and_then(|text| self.answer_to(call, text));
        self.acknowledge(call, cseq, answer.as_deref());
        if call.given_up {
            self.leave(now, call, Ending::Cancelled);
            return;
        }
        self.take_session(now, call, response);
        if let Some(talk) = self.line.manner.talk {
            self.line.wake_after(now, talk, call.id, Alarm::HangUp);
        }
    }

    fn refused(
        &mut self,
        now: Instant,
        call: &mut Call,
        status: StatusCode,
        response: &Message<'_>,
    ) {
        let again = match status.0 {
            _ if call.given_up || call.attempts >= MOST_ATTEMPTS => false,
            401 => self.line.challenged(response),
            422 => {
                call.session_wish = response
                    .number(HeaderName::MinSe)
                    .ok()
                    .flatten()
                    .unwrap_or(1800);
                true
            }
            _ => false,
        };
        if again {
            call.dialog.remote_tag = Box::default();
            self.invite(now, call);
            return;
        }
        let ending = if call.given_up && status.0 == 487 {
            Ending::Cancelled
        } else {
            Ending::Refused(status.0)
        };
        self.over(call, ending);
    }

    fn meets_many(&self, call: &Call) -> bool {
        self.line.manner.meets_many || call.number.starts_with(FORWARDED)
    }

    /// The server joins two dialogs, so it shows us one only, unless it forwards the call.
    fn same_dialog(&mut self, call: &mut Call, response: &Message<'_>) -> bool {
        if self.meets_many(call) && call.state == State::Calling {
            call.switch(response);
            return true;
        }
        let same = call.dialog.establish(response);
        if !same {
            self.line
                .complain("answers to one INVITE have different tags");
        }
        same
    }

    pub(super) fn acknowledge(&mut self, call: &mut Call, cseq: u32, sdp: Option<&str>) {
        let ack = self.line.ack(&call.dialog, cseq, sdp);
        if call.acks.len() >= 4 {
            call.acks.remove(0);
        }
        call.acks.push((cseq, call.dialog.flow, ack));
    }

    pub(super) fn acknowledge_again(&mut self, call: &Call, cseq: u32) {
        if let Some((_, flow, ack)) = call.acks.iter().find(|(known, _, _)| *known == cseq) {
            sip::Transmit::transmit(&mut self.line.out, *flow, ack);
        }
    }

    /// Takes the peer's answer to our offer.
    pub(super) fn hear_answer(&mut self, call: &mut Call, text: &str) {
        call.description.agree();
        self.hear(call, text);
    }

    pub(super) fn hear(&mut self, call: &mut Call, text: &str) {
        if let Err(wrong) = call.description.hear(text) {
            self.line.complain(&wrong);
        }
    }

    pub(super) fn answer_to(&self, call: &mut Call, offer: &str) -> Option<String> {
        let sdp = sdp::Sdp::parse(offer).ok()?;
        call.description.answer(&sdp, self.line.manner.video)
    }

    /// Takes the session timer that a 2xx to us sets (RFC 4028 §7.2).
    pub(super) fn take_session(&mut self, now: Instant, call: &mut Call, response: &Message<'_>) {
        call.session = None;
        if let Some(granted) = session_expires(response) {
            let ours = granted.refresher_is_uac == Some(true);
            if ours && self.line.manner.session.is_none() {
                self.line
                    .complain("told to refresh, but does not know timers");
            }
            call.set_session(now, granted.seconds, ours);
            self.wake_for_session(call);
        }
    }

    pub(super) fn wake_for_session(&mut self, call: &Call) {
        if let Some(session) = call.session {
            self.line.wake(session.due, call.id, Alarm::Session);
        }
    }

    /// The user ends a call, whatever its state.
    pub(super) fn hang_up(&mut self, now: Instant, call: &mut Call) {
        match call.state {
            State::Calling => {
                call.given_up = true;
                if self.line.manner.byes_early && call.rang && !call.dialog.remote_tag.is_empty() {
                    let owner = Owner::Nobody;
                    // The answer to the INVITE must follow.
                    self.line
                        .wake_after(now, 2 * GIVE_UP, call.id, Alarm::Abandon);
                    self.line
                        .request(now, &mut call.dialog, Method::Bye, owner, |writer| {
                            writer.finish();
                        });
                } else if let Some(client) = call.client {
                    self.line
                        .transactions
                        .cancel(now, client, None, &mut self.line.out);
                }
            }
            State::Called => self.refuse(now, call, 480),
            State::Up if call.unacknowledged.is_some() => call.leaves_when_acknowledged = true,
            State::Up => self.leave(now, call, Ending::HungUp),
            State::Leaving | State::Gone => {}
        }
    }
}

/// How often an INVITE is sent with new credentials or intervals.
const MOST_ATTEMPTS: u8 = 5;

/// How long a phone waits before it tries again after 491 (RFC 3261 §14.1).
pub(super) fn pause(owns_call_id: bool, chance: u32) -> Duration {
    let tens = if owns_call_id {
        210 + chance % 190
    } else {
        chance % 200
    };
    Duration::from_millis(u64::from(tens) * 10)
}

/// Numbers of walks that begin so are forwarded: whoever calls them knows that several phones may ring.
const FORWARDED: char = '4';
