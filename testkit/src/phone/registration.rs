//! A phone's registration (RFC 3261 §10.2).

use std::time::{Duration, Instant};

use base::{Mint, Token};
use sip::{Dialog, HeaderName, Message, Method, StatusCode};

use super::line::{Alarm, Line, Owner};

/// A registration.
#[derive(Debug)]
pub(super) struct Registration {
    call_id: Token,
    tag: Token,
    dialog: Option<Dialog>,
    wanted: Option<Wish>,
    /// What the request that is under way asks for.
    under_way: Option<Wish>,
    attempts: u8,
    expires: u32,
    until: Option<Instant>,
    removed: bool,
    refresh: Option<Instant>,
    pub(super) last_status: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    Add,
    Remove,
    RemoveAll,
}

impl Registration {
    pub(super) fn new(mint: &mut Mint) -> Self {
        Self {
            call_id: mint.token(),
            tag: mint.token(),
            dialog: None,
            wanted: None,
            under_way: None,
            attempts: 0,
            expires: 0,
            until: None,
            removed: false,
            refresh: None,
            last_status: None,
        }
    }

    pub(super) fn confirmed_until(&self) -> Option<Instant> {
        self.until
    }

    pub(super) fn is_removed(&self) -> bool {
        self.removed
    }

    pub(super) fn start(&mut self, line: &mut Line, now: Instant) {
        self.wanted = Some(Wish::Add);
        self.expires = line.manner.expires;
        self.begin(line, now);
    }

    pub(super) fn stop(&mut self, line: &mut Line, now: Instant, all: bool) {
        self.wanted = Some(if all { Wish::RemoveAll } else { Wish::Remove });
        self.refresh = None;
        self.begin(line, now);
    }

    /// Lets the registration run out.
    pub(super) fn rest(&mut self) {
        self.refresh = None;
        if self.wanted == Some(Wish::Add) {
            self.wanted = None;
        }
    }

    pub(super) fn refresh(&mut self, line: &mut Line, now: Instant) {
        if self.refresh.is_some_and(|at| at <= now) && self.wanted.is_some() {
            self.begin(line, now);
        }
    }

    /// Registers before it is due; what is under way is lost with its connection.
    pub(super) fn again(&mut self, line: &mut Line, now: Instant) {
        if self.wanted == Some(Wish::Add) {
            self.under_way = None;
            self.begin(line, now);
        }
    }

    fn begin(&mut self, line: &mut Line, now: Instant) {
        if self.under_way.is_some() {
            return;
        }
        self.attempts = 0;
        line.begin_authorization();
        self.send(line, now);
    }

    fn send(&mut self, line: &mut Line, now: Instant) {
        let Some(wish) = self.wanted else { return };
        self.under_way = Some(wish);
        self.removed = false;
        self.attempts += 1;
        if wish != Wish::Add {
            self.until = None;
        }
        let domain = line.domain();
        let address = format!("<sip:{}@{domain}>", line.user);
        let target = format!("sip:{domain}");
        let mut dialog = self.dialog.take().unwrap_or_else(|| {
            Dialog::begin(
                self.call_id.as_str(),
                self.tag,
                &address,
                &address,
                &target,
                line.server,
            )
        });
        dialog.flow = line.server;
        let authorization = line.authorization(Method::Register, &target);
        let contact = line.contact_uri();
        let expires = self.expires;
        let path = line.path();
        let number = line.manner.flow;
        let flow = match number {
            0 => String::new(),
            _ => format!(";+sip.instance=\"<urn:{}>\";reg-id={number}", line.user),
        };
        line.request(
            now,
            &mut dialog,
            Method::Register,
            Owner::Register,
            |mut writer| {
                match wish {
                    Wish::Add => {
                        writer.header(
                            HeaderName::Contact,
                            format_args!("{contact};expires={expires}{flow}"),
                        );
                        if number > 0 {
                            writer.text(HeaderName::Supported, "outbound");
                        }
                    }
                    Wish::Remove => {
                        writer
                            .header(HeaderName::Contact, contact)
                            .header(HeaderName::Expires, 0);
                    }
                    Wish::RemoveAll => {
                        writer
                            .header(HeaderName::Contact, "*")
                            .header(HeaderName::Expires, 0);
                    }
                }
                if let Some(path) = path {
                    writer.header(HeaderName::Path, path);
                    writer.header(HeaderName::Supported, "path");
                }
                if let Some(authorization) = authorization {
                    writer.header(HeaderName::Authorization, authorization);
                }
                writer.finish();
            },
        );
        self.dialog = Some(dialog);
    }

    pub(super) fn answered(&mut self, line: &mut Line, now: Instant, response: &Message<'_>) {
        let status = response.status().unwrap_or(StatusCode(500));
        if status.is_provisional() {
            return;
        }
        let sent = self.dialog.as_ref().map_or(0, |dialog| dialog.local_cseq);
        if response.cseq().map_or(0, |cseq| cseq.number) != sent {
            return;
        }
        let asked = self.under_way.take();
        self.last_status = Some(status.0);
        match status.0 {
            200 if asked == self.wanted || self.wanted.is_none() => {
                self.confirmed(line, now, response);
            }
            // The user changed their mind while the request was on its way.
            200 => self.begin(line, now),
            401 if self.attempts < MOST_ATTEMPTS && line.challenged(response) => {
                self.send(line, now);
            }
            423 => {
                self.expires = response
                    .number(HeaderName::MinExpires)
                    .ok()
                    .flatten()
                    .unwrap_or(3600);
                self.send(line, now);
            }
            403 => self.wanted = None,
            _ => self.later(line, now),
        }
    }

    fn confirmed(&mut self, line: &mut Line, now: Instant, response: &Message<'_>) {
        let contact = line.contact_uri();
        let ours = response
            .contacts()
            .filter_map(Result::ok)
            .find(|bound| format!("<{}>", bound.uri) == contact);
        let granted = ours.and_then(|bound| bound.params.find("expires")?.parse::<u32>().ok());
        match (self.wanted, granted) {
            (Some(Wish::Add) | None, Some(seconds)) => {
                let seconds = Duration::from_secs(u64::from(seconds));
                self.until = Some(now + seconds);
                if self.wanted.is_some() {
                    self.refresh = Some(now + seconds / 2);
                    line.wake(now + seconds / 2, 0, Alarm::Register);
                }
            }
            (Some(Wish::Remove | Wish::RemoveAll), None) => {
                self.wanted = None;
                self.removed = true;
            }
            (Some(Wish::Remove | Wish::RemoveAll), Some(_)) => {
                line.complain("the 200 to REGISTER lists a contact that was removed");
            }
            (Some(Wish::Add), None) => {
                line.complain("the 200 to REGISTER does not list our contact");
            }
            (None, None) => {}
        }
    }

    pub(super) fn failed(&mut self, line: &mut Line, now: Instant) {
        self.under_way = None;
        self.later(line, now);
    }

    fn later(&mut self, line: &mut Line, now: Instant) {
        if self.wanted.is_some() {
            self.refresh = Some(now + RETRY);
            line.wake(now + RETRY, 0, Alarm::Register);
        }
    }
}

/// How long a phone waits after a failure.
const RETRY: Duration = Duration::from_secs(20);

const MOST_ATTEMPTS: u8 = 4;
