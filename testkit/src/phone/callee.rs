//! A phone that is called.

use std::time::Instant;

use sip::{Dialog, Flow, HeaderName, Message, StatusCode};

use super::call::{Accepted, Call, State, description_of, session_expires};
use super::description::Description;
use super::line::{Alarm, Pending, SDP};
use super::{Ending, Phone, Reply, THINK};

impl Phone {
    /// An INVITE from the server.
    pub(super) fn called(
        &mut self,
        now: Instant,
        flow: Flow,
        pending: Pending,
        request: &Message<'_>,
    ) {
        let tag = self.line.mint.token();
        let busy = self.retired || self.calls.len() >= self.line.manner.calls;
        let Ok(mut dialog) = Dialog::of_request(request, flow, tag) else {
            self.line.complain("INVITE that makes no dialog");
            return;
        };
        dialog.local_cseq = self.line.manner.first_cseq;
        if busy {
            self.line
                .respond(now, &pending, 486, tag.as_str(), |writer| writer.finish());
            return;
        }
        let (id, rtp) = self.number_call();
        let number = request
            .from()
            .and_then(|from| from.parse_uri().map(|uri| uri.user_name().into_owned()))
            .unwrap_or_default();
        let description = Description::new(rtp, self.line.mint.number() >> 1, false);
        let mut call = Call::new(id, dialog, description, &number);
        call.incoming = true;
        call.state = State::Called;
        call.peer_updates = request.lists(HeaderName::Allow, "UPDATE");
        if let Some(text) = description_of(request) {
            self.hear(&mut call, text);
        }
        call.sibling = self.line.manner.forks.then(|| self.line.mint.token());
        self.line.transactions.keep(pending.server, id);
        call.invite = Some(pending);
        if let Some(ring) = self.line.manner.ring {
            self.line.wake_after(now, ring, id, Alarm::Ring);
        }
        match self.line.manner.reply {
            Reply::Answer(wait) | Reply::Refuse(wait, _) => {
                self.line.wake_after(now, wait, id, Alarm::Reply);
            }
            Reply::Never => {}
        }
        self.calls.insert(id, call);
    }

    pub(super) fn ring(&mut self, now: Instant, call: &mut Call) {
        if call.state != State::Called || call.answer_waits {
            return;
        }
        if call.unpracked {
            self.line.wake_after(now, THINK * 5, call.id, Alarm::Ring);
            return;
        }
        if self.line.manner.early_media && !call.early {
            let described = self.early_description(call);
            self.provisional(now, call, 183, described.as_deref());
            self.line.wake_after(now, THINK, call.id, Alarm::Ring);
            return;
        }
        call.rang = true;
        self.provisional(now, call, 180, None);
    }

    fn early_description(&mut self, call: &mut Call) -> Option<String> {
        call.early = true;
        let pending = call.invite.clone()?;
        let request = pending.message();
        description_of(&request).and_then(|offer| self.answer_to(call, offer))
    }

    fn provisional(&mut self, now: Instant, call: &mut Call, status: u16, sdp: Option<&str>) {
        if let Some(pending) = call.invite.clone() {
            self.progress_of(now, call, &pending, status, sdp);
        }
    }

    /// Sends a provisional response to an INVITE.
    pub(super) fn progress_of(
        &mut self,
        now: Instant,
        call: &mut Call,
        pending: &Pending,
        status: u16,
        sdp: Option<&str>,
    ) {
        let request = pending.message();
        let reliable = self.line.manner.reliable
            && (request.lists(HeaderName::Supported, "100rel")
                || request.lists(HeaderName::Require, "100rel"));
        let (contact, allow) = (self.line.contact_uri(), self.line.allow());
        let tag = call.sibling.unwrap_or(call.dialog.local_tag);
        if reliable {
            call.rseq = if call.rseq == 0 {
                1 + self.line.mint.below(1000)
            } else {
                call.rseq + 1
            };
            call.unpracked = true;
        }
        let rseq = call.rseq;
        let fields = |mut writer: sip::Writer<'_>| {
            writer.header(HeaderName::Contact, contact);
            writer.header(HeaderName::Allow, allow);
            if reliable {
                writer.header(HeaderName::Require, "100rel");
                writer.header(HeaderName::RSeq, rseq);
            }
            match sdp {
                Some(sdp) => writer.body(SDP, sdp.as_bytes()),
                None => writer.finish(),
            }
        };
        if reliable {
            self.line
                .respond_reliably(now, pending, status, tag.as_str(), fields);
        } else {
            self.line
                .respond(now, pending, status, tag.as_str(), fields);
        }
    }

    pub(super) fn reply(&mut self, now: Instant, call: &mut Call) {
        if call.state != State::Called {
            return;
        }
        match self.line.manner.reply {
            // RFC 3262 §3: no 2xx before the PRACK of a response with a description.
            Reply::Answer(_) if call.unpracked => call.answer_waits = true,
            Reply::Answer(_) => self.accept(now, call),
            Reply::Refuse(_, status) => self.refuse(now, call, status),
            Reply::Never => {}
        }
    }

    /// Picks up.
    fn accept(&mut self, now: Instant, call: &mut Call) {
        let Some(pending) = call.invite.clone() else {
            return;
        };
        let request = pending.message();
        let offer = description_of(&request);
        let sdp = match offer {
            Some(offer) => self.answer_to(call, offer),
            None => Some(call.description.offer()),
        };
        let Some(sdp) = sdp else {
            self.refuse(now, call, 488);
            return;
        };
        call.invite = None;
        let session = self.grant_session(now, call, &request);
        call.answered = true;
        call.state = State::Up;
        // To the caller, a phone behind this one has said it in another dialog.
        let alone = call.sibling.is_none();
        let known = call.early && call.rseq > 0 && !call.unpracked && offer.is_some() && alone;
        let manner = &self.line.manner;
        let omitted = manner.senseless || manner.brief && known;
        let sdp = Some(sdp.as_str()).filter(|_| !omitted);
        self.send_accept(now, call, &pending, session.as_deref(), sdp);
        if let Some(sibling) = call.sibling.take().filter(|_| self.line.manner.both_answer) {
            self.siblings.push(sibling);
            self.sibling_accepts(&pending, sibling, sdp.unwrap_or_default());
        }
        call.unacknowledged = Some(Accepted {
            cseq: request.cseq().map_or(0, |cseq| cseq.number),
            server: pending.server,
            offered: offer.is_none(),
        });
        if let Some(talk) = self.line.manner.talk {
            self.line.wake_after(now, talk, call.id, Alarm::HangUp);
        }
    }

    /// The other phone behind this one picks up too.
    fn sibling_accepts(&mut self, pending: &Pending, tag: base::Token, sdp: &str) {
        let contact = self.line.contact_uri();
        let line = &mut self.line;
        let (flow, bytes) = line.response(pending, 200, tag.as_str(), |mut writer| {
            writer.header(HeaderName::Contact, contact);
            writer.body(SDP, sdp.as_bytes());
        });
        sip::Transmit::transmit(&mut line.out, flow, &bytes);
    }

    pub(super) fn send_accept(
        &mut self,
        now: Instant,
        call: &Call,
        pending: &Pending,
        session: Option<&str>,
        sdp: Option<&str>,
    ) {
        let (contact, allow) = (self.line.contact_uri(), self.line.allow());
        let supported = self.line.supported();
        let tag = call.dialog.local_tag;
        self.line
            .respond(now, pending, 200, tag.as_str(), |mut writer| {
                writer.header(HeaderName::Contact, contact);
                writer.header(HeaderName::Allow, allow);
                writer.header(HeaderName::Supported, supported);
                if let Some(session) = session {
                    writer.header(HeaderName::SessionExpires, session);
                    if session.ends_with("uac") {
                        writer.header(HeaderName::Require, "timer");
                    }
                }
                match sdp {
                    Some(sdp) => writer.body(SDP, sdp.as_bytes()),
                    None => writer.finish(),
                }
            });
    }

    /// Session-Expires of our 2xx (RFC 4028 §9).
    pub(super) fn grant_session(
        &mut self,
        now: Instant,
        call: &mut Call,
        request: &Message<'_>,
    ) -> Option<String> {
        call.session = None;
        let asked = session_expires(request)?;
        self.line.manner.session?;
        let peer_knows = request.lists(HeaderName::Supported, "timer");
        let peer = peer_knows && asked.refresher_is_uac.unwrap_or(call.id.is_multiple_of(2));
        call.set_session(now, asked.seconds, !peer);
        self.wake_for_session(call);
        let refresher = if peer { "uac" } else { "uas" };
        Some(format!("{};refresher={refresher}", asked.seconds))
    }

    pub(super) fn refuse(&mut self, now: Instant, call: &mut Call, status: u16) {
        let (number, domain) = (self.line.manner.redirects_to, self.line.domain());
        let elsewhere = (300..400)
            .contains(&status)
            .then(|| format!("<sip:{number}@{domain}>"));
        let overloaded = status == 503 && self.line.manner.challenges.is_some();
        if let Some(pending) = call.invite.take() {
            let tag = call.dialog.local_tag;
            self.line
                .respond(now, &pending, status, tag.as_str(), |mut writer| {
                    if let Some(elsewhere) = elsewhere {
                        writer.header(HeaderName::Contact, elsewhere);
                    }
                    if overloaded {
                        writer.header(HeaderName::RetryAfter, 3);
                    }
                    writer.finish();
                });
        }
        let ending = if status == 487 {
            Ending::Cancelled
        } else {
            Ending::Refused(status)
        };
        self.over(call, ending);
    }

    /// A CANCEL from the server.
    pub(super) fn cancelled(&mut self, now: Instant, flow: Flow, cancel: &Message<'_>) {
        let server = self.line.transactions.cancelled(cancel);
        let call = server.and_then(|server| self.line.transactions.server(server).copied());
        let cancelled = server;
        let status = if server.is_some() { 200 } else { 481 };
        let tag = self.line.mint.token();
        let mut bytes = Vec::new();
        sip::Writer::response_to(&mut bytes, cancel, &flow, StatusCode(status), tag.as_str())
            .finish();
        sip::Transmit::transmit(&mut self.line.out, sip::response_flow(cancel, flow), &bytes);
        let Some(call) = call else { return };
        self.with(call, |phone, call| {
            let considered = call
                .considered
                .take_if(|pending| Some(pending.server) == cancelled);
            if let Some(pending) = considered {
                phone
                    .line
                    .respond(now, &pending, 487, "", |writer| writer.finish());
            }
            if call.state != State::Called {
                return;
            }
            if phone.line.manner.answers_too_late {
                phone.accept(now, call);
            } else {
                phone.refuse(now, call, 487);
            }
        });
    }

    pub(super) fn pracked(&mut self, now: Instant, call: &mut Call, pending: &Pending) {
        let request = pending.message();
        let rack = request
            .header(HeaderName::RAck)
            .and_then(|value| sip::RAck::parse(value).ok());
        let expected = rack.is_some_and(|rack| rack.rseq == call.rseq);
        let status = if expected && call.unpracked { 200 } else { 481 };
        self.line
            .respond(now, pending, status, "", |writer| writer.finish());
        if status != 200 {
            return;
        }
        call.unpracked = false;
        if let Some(invite) = call.invite.as_ref().or(call.considered.as_ref()) {
            self.line
                .transactions
                .acknowledge_provisional(invite.server);
        }
        if std::mem::take(&mut call.answer_waits) {
            self.accept(now, call);
        }
    }

    pub(super) fn never_acknowledged(&mut self, now: Instant, call: &mut Call) {
        call.unacknowledged = None;
        self.leave(now, call, Ending::NoAck);
    }

    pub(super) fn never_pracked(&mut self, now: Instant, call: &mut Call) {
        if call.state == State::Called {
            self.refuse(now, call, 504);
        }
    }
}
