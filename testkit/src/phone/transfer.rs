//! A phone that sends the other party elsewhere: REFER (RFC 3515, RFC 5589).

use std::fmt::Write as _;
use std::time::Instant;

use sip::{ClientKey, HeaderName, Message, Method, StatusCode};

use super::call::{Call, State};
use super::line::{Owner, Pending};
use super::{Ending, Phone};

/// A transfer that the phone has asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Referral {
    /// REFER is on its way, or was accepted and nobody has taken the party yet.
    Pending,
    /// The last word that came of it.
    Told(u16),
    /// The server did not want to hear of it.
    Refused(u16),
}

impl Phone {
    /// Sends the party of the newest call to a number.
    pub(super) fn transfer(&mut self, now: Instant, number: &str) {
        let target = format!("<sip:{number}@{}>", self.line.domain());
        if let Some(call) = self.newest_up(0) {
            self.with(call, |phone, call| phone.refer(now, call, &target));
        }
    }

    /// Puts the parties of the two newest calls together.
    pub(super) fn transfer_attended(&mut self, now: Instant) {
        let (Some(newest), Some(older)) = (self.newest_up(0), self.newest_up(1)) else {
            return;
        };
        let Some(other) = self.calls.get(&newest) else {
            return;
        };
        let dialog = &other.dialog;
        let replaces = format!(
            "{};to-tag={};from-tag={}",
            dialog.call_id, dialog.remote_tag, dialog.local_tag
        );
        let (number, domain) = (&other.number, self.line.domain());
        let target = format!("<sip:{number}@{domain}?Replaces={}>", escaped(&replaces));
        self.with(older, |phone, call| phone.refer(now, call, &target));
    }

    /// The call in which the phone talks, the `nth` newest.
    fn newest_up(&self, nth: usize) -> Option<u32> {
        let up = self.calls.values().rev();
        let mut up = up.filter(|call| call.state == State::Up && call.unacknowledged.is_none());
        up.nth(nth).map(|call| call.id)
    }

    fn refer(&mut self, now: Instant, call: &mut Call, target: &str) {
        if call.referral == Some(Referral::Pending) {
            return;
        }
        let (contact, user) = (self.line.contact_uri(), self.line.user.clone());
        let domain = self.line.domain();
        let silent = self.line.manner.refers_silently;
        let owner = Owner::Refer(call.id);
        self.line
            .request(now, &mut call.dialog, Method::Refer, owner, |mut writer| {
                writer.header(HeaderName::Contact, contact);
                writer.header(HeaderName::ReferTo, target);
                writer.header(
                    HeaderName::ReferredBy,
                    format_args!("<sip:{user}@{domain}>"),
                );
                if silent {
                    writer.other_header("Refer-Sub", "false");
                }
                writer.finish();
            });
        call.referral = Some(Referral::Pending);
    }

    /// The answer to a REFER, or none.
    pub(super) fn refer_answered(
        &mut self,
        now: Instant,
        call: &mut Call,
        key: Option<ClientKey>,
        status: StatusCode,
    ) {
        if status.is_provisional() || key.is_none() && call.referral != Some(Referral::Pending) {
            return;
        }
        let hasty = self.line.manner.leaves_when_referred || self.line.manner.refers_silently;
        match status.is_success() {
            true if hasty && call.state == State::Up => self.leave(now, call, Ending::HungUp),
            true => {}
            false => call.referral = Some(Referral::Refused(status.0)),
        }
    }

    /// What the server tells of a transfer (RFC 3515 §2.4.5).
    pub(super) fn notified(
        &mut self,
        now: Instant,
        call: &mut Call,
        pending: &Pending,
        request: &Message<'_>,
    ) {
        let event = request.header(HeaderName::Event).unwrap_or("");
        let is_refer = event.split(';').next() == Some("refer");
        let Some(known) = call.referral.filter(|_| is_refer) else {
            self.plain(now, pending, 481);
            self.line
                .complain("NOTIFY for something that was not asked for");
            return;
        };
        self.plain(now, pending, 200);
        let body = request.body_of_type("message/sipfrag").unwrap_or("");
        let status = body.split(' ').nth(1).and_then(|code| code.parse().ok());
        let Some(status) = status.filter(|_| body.starts_with("SIP/2.0 ")) else {
            self.line.complain("NOTIFY without a status line");
            return;
        };
        let state = request.header(HeaderName::SubscriptionState).unwrap_or("");
        let terminated = state.starts_with("terminated");
        if terminated != (status >= 200) {
            self.line
                .complain("the subscription of a REFER does not end with its final status");
        }
        if matches!(known, Referral::Told(last) if last >= 200) {
            self.line
                .complain("NOTIFY after the final status of a REFER");
        }
        call.referral = Some(if terminated {
            Referral::Told(status)
        } else {
            Referral::Pending
        });
        if (200..300).contains(&status) && call.state == State::Up {
            self.leave(now, call, Ending::HungUp);
        }
    }
}

/// A value inside the header part of a URI (RFC 3261 §19.1.1).
fn escaped(value: &str) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
