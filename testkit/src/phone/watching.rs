//! A phone that wants to know what others do: SUBSCRIBE and NOTIFY (RFC 6665).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base::Token;
use sip::{Dialog, HeaderName, Message, Method, StatusCode};

use super::Phone;
use super::line::{Alarm, Line, Owner, Pending};

/// One subscription, and what it has shown.
#[derive(Debug)]
pub(super) struct Watch {
    call_id: Token,
    tag: Token,
    dialog: Option<Dialog>,
    event: &'static str,
    whom: String,
    wanted: bool,
    /// A SUBSCRIBE is on its way.
    asking: bool,
    attempts: u8,
    /// The server has confirmed it until then.
    until: Option<Instant>,
    refresh: Option<Instant>,
    /// Version of the last document of package `dialog`, and the dialogs that are not over.
    version: Option<u32>,
    /// Tag and CSeq of the last NOTIFY.
    last: Option<(String, u32)>,
    dialogs: BTreeMap<String, String>,
}

/// What a subscription to somebody's calls has shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchView {
    /// The package.
    pub event: &'static str,
    /// Whom it is about.
    pub whom: String,
    /// The server has confirmed it until then; none: it is over, or in the balance.
    pub until: Option<Instant>,
    /// States of the calls that are not over, if any document has come.
    pub states: Option<Vec<String>>,
}

impl Watch {
    fn new(line: &mut Line, event: &'static str, whom: &str) -> Self {
        Self {
            call_id: line.mint.token(),
            tag: line.mint.token(),
            dialog: None,
            event,
            whom: whom.to_owned(),
            wanted: true,
            asking: false,
            attempts: 0,
            until: None,
            refresh: None,
            version: None,
            last: None,
            dialogs: BTreeMap::new(),
        }
    }

    /// Begins again, in another dialog.
    fn renew(&mut self, line: &mut Line) {
        let (event, wanted, attempts) = (self.event, self.wanted, self.attempts);
        let whom = std::mem::take(&mut self.whom);
        *self = Self {
            wanted,
            attempts,
            ..Self::new(line, event, &whom)
        };
    }

    fn send(&mut self, line: &mut Line, now: Instant, id: u32) {
        let domain = line.domain();
        let (local, remote) = (line.user.clone(), self.whom.clone());
        let (local, remote) = (
            format!("<sip:{local}@{domain}>"),
            format!("<sip:{remote}@{domain}>"),
        );
        let target = format!("sip:{}@{domain}", self.whom);
        let mut dialog = self.dialog.take().unwrap_or_else(|| {
            Dialog::begin(
                self.call_id.as_str(),
                self.tag,
                &local,
                &remote,
                &target,
                line.server,
            )
        });
        dialog.flow = line.server;
        let uri = dialog.remote_target.to_string();
        let authorization = line.authorization(Method::Subscribe, &uri);
        let contact = line.contact_uri();
        let expires = if self.wanted { EXPIRES } else { 0 };
        let event = self.event;
        let owner = Owner::Subscribe(id);
        line.request(now, &mut dialog, Method::Subscribe, owner, |mut writer| {
            writer.header(HeaderName::Contact, contact);
            writer.header(HeaderName::Event, event);
            writer.header(HeaderName::Expires, expires);
            if let Some(authorization) = authorization {
                writer.header(HeaderName::Authorization, authorization);
            }
            writer.finish();
        });
        self.dialog = Some(dialog);
        self.asking = true;
        self.attempts += 1;
    }

    /// Takes a document of package `dialog` (RFC 4235 §4.1).
    fn read(&mut self, line: &mut Line, body: &str) {
        let attribute = |text: &str, name: &str| -> Option<String> {
            let start = text.find(&format!(" {name}=\""))? + name.len() + 3;
            text[start..].split('"').next().map(str::to_owned)
        };
        // Not the version of the XML declaration.
        let body = body.split_once("<dialog-info").map_or("", |(_, rest)| rest);
        let version = attribute(body, "version").and_then(|text| text.parse().ok());
        let Some(version) = version else {
            return line.complain("a document without a version");
        };
        if self.version.is_some_and(|last| version <= last) {
            return line.complain("the version of a document goes back");
        }
        let gap = self.version.is_some_and(|last| version != last + 1);
        self.version = Some(version);
        if attribute(body, "state").as_deref() == Some("full") {
            self.dialogs.clear();
        } else if gap {
            line.complain("a partial document is missing");
        }
        for part in body.split("<dialog ").skip(1) {
            let id = attribute(&format!(" {part}"), "id").unwrap_or_default();
            let state = part.split_once("<state").map_or("", |(_, rest)| rest);
            let state = state.split_once('>').map_or("", |(_, rest)| rest);
            let state = state.split('<').next().unwrap_or("").to_owned();
            if state == "terminated" {
                self.dialogs.remove(&id);
            } else {
                self.dialogs.insert(id, state);
            }
        }
    }
}

impl Phone {
    /// What the phone has been told of others.
    #[must_use]
    pub fn watches(&self) -> Vec<WatchView> {
        let view = |watch: &Watch| WatchView {
            event: watch.event,
            whom: watch.whom.clone(),
            until: watch.until.filter(|_| watch.wanted && !watch.asking),
            states: watch
                .version
                .map(|_| watch.dialogs.values().cloned().collect()),
        };
        self.watches.iter().map(view).collect()
    }

    pub(super) fn watch(&mut self, now: Instant, event: &'static str, whom: &str) {
        if self.watches.len() >= MOST_WATCHES {
            return;
        }
        let mut watch = Watch::new(&mut self.line, event, whom);
        let id = self.watches.len() as u32;
        self.line.begin_authorization();
        watch.send(&mut self.line, now, id);
        self.watches.push(watch);
    }

    /// Ends all subscriptions.
    pub(super) fn unwatch(&mut self, now: Instant) {
        for (id, watch) in self.watches.iter_mut().enumerate() {
            if std::mem::take(&mut watch.wanted) && !watch.asking && watch.until.is_some() {
                watch.attempts = 0;
                watch.send(&mut self.line, now, id as u32);
            }
        }
    }

    /// Lets all subscriptions run out.
    pub(super) fn rest_watching(&mut self) {
        self.watches
            .iter_mut()
            .for_each(|watch| watch.wanted = false);
    }

    pub(super) fn watch_due(&mut self, now: Instant, id: u32) {
        let Some(watch) = self.watches.get_mut(id as usize) else {
            return;
        };
        let due = watch.refresh.is_some_and(|at| at <= now);
        if due && watch.wanted && !watch.asking {
            (watch.refresh, watch.attempts) = (None, 0);
            watch.send(&mut self.line, now, id);
        }
    }

    /// The answer to a SUBSCRIBE; none: there was none.
    pub(super) fn subscribe_answered(
        &mut self,
        now: Instant,
        id: u32,
        response: Option<&Message<'_>>,
    ) {
        let line = &mut self.line;
        let Some(watch) = self.watches.get_mut(id as usize) else {
            return;
        };
        let status = response
            .and_then(Message::status)
            .unwrap_or(StatusCode(408));
        let cseq = response.map(|response| response.cseq().map_or(0, |cseq| cseq.number));
        let sent = watch.dialog.as_ref().map(|dialog| dialog.local_cseq);
        if status.is_provisional() || cseq.is_some() && cseq != sent {
            return;
        }
        watch.asking = false;
        let wait = match (status.0, response) {
            (200..=299, Some(response)) => {
                let dialog = watch.dialog.as_mut();
                if dialog.is_some_and(|dialog| !dialog.establish(response)) {
                    line.complain("the tag of a subscription has changed");
                }
                let expires = response.number(HeaderName::Expires).ok().flatten();
                let Some(expires) = expires else {
                    return line.complain("a 2xx to SUBSCRIBE without Expires");
                };
                let expires = Duration::from_secs(u64::from(expires));
                watch.until = (!expires.is_zero()).then(|| now + expires);
                if expires.is_zero() {
                    return;
                }
                expires / 2
            }
            (401, Some(response)) if watch.attempts < MOST_ATTEMPTS => {
                if line.challenged(response) {
                    watch.send(line, now, id);
                }
                return;
            }
            (408 | 481 | 503, _) => {
                watch.renew(line);
                RETRY
            }
            _ => {
                watch.wanted = false;
                watch.until = None;
                return;
            }
        };
        watch.refresh = Some(now + wait);
        line.wake(now + wait, id, Alarm::Watch);
    }

    /// A NOTIFY that belongs to no call. `false`: nor to a subscription.
    pub(super) fn shown(&mut self, now: Instant, pending: &Pending, request: &Message<'_>) -> bool {
        let tag = request.to().ok().and_then(|to| to.tag()).unwrap_or("");
        let known = self.watches.iter_mut().enumerate();
        let found = known
            .filter(|(_, watch)| watch.tag.as_str() == tag)
            .find(|(_, watch)| watch.call_id.as_str() == request.call_id());
        let Some((id, watch)) = found else {
            return false;
        };
        let line = &mut self.line;
        let cseq = request.cseq().map_or(0, |cseq| cseq.number);
        if watch
            .dialog
            .as_mut()
            .is_some_and(|dialog| !dialog.advance(cseq))
        {
            line.respond(now, pending, 500, "", |writer| writer.finish());
            return true;
        }
        line.respond(now, pending, 200, "", |writer| writer.finish());
        let notifier = request
            .from()
            .ok()
            .and_then(|from| from.tag().map(str::to_owned));
        let notice = (notifier.unwrap_or_default(), cseq);
        match &watch.last {
            // Repeated when its transaction had been forgotten.
            Some(last) if *last == notice => return true,
            // A server that has forgotten the SUBSCRIBE took it anew: another dialog, which counts afresh.
            Some((tag, _)) if *tag != notice.0 => watch.version = None,
            _ => {}
        }
        watch.last = Some(notice);
        let event = request.header(HeaderName::Event).unwrap_or("");
        if event.split(';').next() != Some(watch.event) {
            line.complain("NOTIFY of another package");
        }
        let body = String::from_utf8_lossy(request.body());
        if watch.event == "dialog" && !body.is_empty() {
            watch.read(line, &body);
        }
        let state = request.header(HeaderName::SubscriptionState).unwrap_or("");
        if state.starts_with("terminated") {
            let asking = watch.asking;
            watch.until = None;
            if watch.wanted && !asking {
                watch.renew(line);
                watch.refresh = Some(now + RETRY);
                line.wake(now + RETRY, id as u32, Alarm::Watch);
            }
        } else if !state.starts_with("active") {
            line.complain("NOTIFY without a state of the subscription");
        }
        true
    }
}

/// Seconds that a phone subscribes for.
const EXPIRES: u32 = 300;

/// How long a phone waits before it subscribes again.
const RETRY: Duration = Duration::from_secs(15);

const MOST_ATTEMPTS: u8 = 4;

const MOST_WATCHES: usize = 6;
