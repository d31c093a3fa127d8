//! Our registration at a provider (RFC 3261 §10.2).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use base::{Token, UnixTime};
use sip::digest::{Answers, Learned};
use sip::{ClientKey, Dialog, Flow, HeaderName, Message, Method, Protocol};

use super::config::Register;
use super::incoming::LINE;
use super::keeper::Errand;
use super::state::{Registered, Way};
use super::{Trunk, route};
use crate::context::{ALLOW, Context, Owner};

/// A registration, from the first REGISTER to the last: one Call-ID, and a CSeq that grows.
#[derive(Debug)]
pub(super) struct Registration {
    dialog: Dialog,
    answers: Answers,
    /// Stands in our Contact.
    line: Token,
    /// Seconds that we ask for.
    expires: u32,
    phase: Phase,
    /// The way in use, and those that are left to try.
    way: Option<Way>,
    round: VecDeque<Way>,
    /// Rounds that have failed in a row.
    failures: u32,
    granted: Option<Granted>,
    service_route: Vec<Box<str>>,
    error: Option<Box<str>>,
    leaves: bool,
}

/// What a registration does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing until then.
    Waiting { until: Instant },
    /// A REGISTER is on its way; without an answer the next way is tried.
    Asking { client: ClientKey, give_up: Instant },
    /// It has been removed.
    Over,
}

/// How long the provider knows us.
#[derive(Clone, Copy, Debug)]
struct Granted {
    at: Instant,
    until: UnixTime,
}

impl Registration {
    /// One that begins at once.
    pub(super) fn new(ctx: &mut Context<'_>, trunk: &Trunk, register: &Register) -> Self {
        let (call_id, tag, line) = (ctx.mint.token(), ctx.mint.token(), ctx.mint.token());
        let aor = format!(
            "<sip:{}@{}>",
            sip::uri::escape_user(&trunk.user),
            trunk.domain
        );
        let registrar = format!("sip:{}", trunk.domain);
        let nowhere = Flow {
            protocol: Protocol::Udp,
            local: UNKNOWN,
            remote: UNKNOWN,
            connection: None,
            tls: trunk.tls,
        };
        Self {
            dialog: Dialog::begin(call_id.as_str(), tag, &aor, &aor, &registrar, nowhere),
            answers: Answers::default(),
            line,
            expires: register.expires.as_secs().min(u64::from(u32::MAX)) as u32,
            phase: Phase::Waiting { until: ctx.now },
            way: None,
            round: VecDeque::new(),
            failures: 0,
            granted: None,
            service_route: Vec::new(),
            error: None,
            leaves: false,
        }
    }

    pub(super) fn line(&self) -> Token {
        self.line
    }

    pub(super) fn service_route(&self) -> &[Box<str>] {
        &self.service_route
    }

    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    pub(super) fn state(&self) -> Registered {
        match self.granted {
            Some(granted) => Registered::Until(granted.until),
            None => Registered::Trying,
        }
    }

    /// The way by which the provider knows us.
    pub(super) fn flow(&self) -> Option<Flow> {
        self.granted?;
        Some(self.way.as_ref()?.flow)
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    pub(super) fn waits_for(&self, key: ClientKey) -> bool {
        matches!(self.phase, Phase::Asking { client, .. } if client == key)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let next = match self.phase {
            Phase::Waiting { until } => until,
            Phase::Asking { give_up, .. } => give_up,
            Phase::Over => return None,
        };
        Some(self.granted.map_or(next, |granted| granted.at.min(next)))
    }

    /// Does what is due.
    pub(super) fn expire(&mut self, ctx: &mut Context<'_>, trunk: &Trunk) {
        if self.granted.is_some_and(|granted| granted.at <= ctx.now) {
            self.granted = None;
        }
        match self.phase {
            Phase::Waiting { until } if until <= ctx.now => self.begin_round(ctx, trunk),
            Phase::Asking { give_up, .. } if give_up <= ctx.now => {
                self.try_next(ctx, trunk, "no answer", Duration::ZERO);
            }
            _ => {}
        }
    }

    /// The connection that the provider reaches us by is gone (RFC 5626 §4.4): a new one is made soon,
    /// but not by all at once.
    pub(super) fn connection_lost(&mut self, ctx: &mut Context<'_>, flow: &Flow) {
        let ours = self
            .way
            .as_ref()
            .is_some_and(|way| way.flow.same_peer(flow) && way.flow.protocol.is_reliable());
        if let (true, Phase::Waiting { until }) = (ours, self.phase) {
            let soon = ctx.now + part(ctx, RECONNECT);
            self.phase = Phase::Waiting {
                until: until.min(soon),
            };
        }
    }

    /// The address or the ways have changed, or an operator wants it: registers again at once.
    pub(super) fn renew(&mut self, ctx: &Context<'_>) {
        if let Phase::Waiting { .. } = self.phase {
            self.phase = Phase::Waiting { until: ctx.now };
        }
    }

    /// Removes the registration, if there is one.
    pub(super) fn leave(&mut self, ctx: &mut Context<'_>, trunk: &Trunk) {
        self.leaves = true;
        self.round.clear();
        if self.granted.is_some() && self.way.is_some() {
            self.answers.accepted();
            self.send(ctx, trunk);
        } else {
            self.phase = Phase::Over;
        }
    }

    fn begin_round(&mut self, ctx: &mut Context<'_>, trunk: &Trunk) {
        let view = trunk.state.view();
        let now = ctx.clock.unix_millis(ctx.now);
        let ordered = route::in_order(&view.ways, ctx.mint);
        let (usable, others): (Vec<&Way>, Vec<&Way>) = ordered
            .into_iter()
            .partition(|way| way.health.is_usable(now));
        self.round = usable.into_iter().chain(others).cloned().collect();
        // A registration stays where it is while that answers.
        if self.granted.is_some()
            && let Some(way) = &self.way
            && let Some(place) = self.round.iter().position(|other| other == way)
            && let Some(way) = self.round.remove(place)
        {
            self.round.push_front(way);
        }
        self.try_next(
            ctx,
            trunk,
            "no way to the provider is known",
            Duration::ZERO,
        );
    }

    /// Goes on with the next way, or waits after the last one.
    fn try_next(&mut self, ctx: &mut Context<'_>, trunk: &Trunk, error: &str, at_least: Duration) {
        if self.leaves {
            self.phase = Phase::Over;
            return;
        }
        if let Some(way) = self.round.pop_front() {
            self.way = Some(way);
            self.answers.accepted();
            self.send(ctx, trunk);
            return;
        }
        self.back_off(ctx, trunk, error, at_least);
    }

    /// RFC 5626 §4.5: each failure doubles the wait, up to a bound; a random half of it keeps clients
    /// that failed together from coming back together.
    fn back_off(&mut self, ctx: &mut Context<'_>, trunk: &Trunk, error: &str, at_least: Duration) {
        let register = trunk.register.clone().unwrap_or_default();
        let longest = register
            .retry
            .saturating_mul(1 << self.failures.min(16))
            .min(register.max_retry);
        self.failures += 1;
        self.wait(ctx, error, longest.max(at_least) / 2, at_least);
    }

    /// Waits at least `half`, at most twice that, and not less than `at_least`.
    fn wait(&mut self, ctx: &mut Context<'_>, error: &str, half: Duration, at_least: Duration) {
        let wait = (half + part(ctx, half)).max(at_least.min(LONGEST_WAIT));
        self.error = Some(error.into());
        self.phase = Phase::Waiting {
            until: ctx.now + wait,
        };
    }

    fn send(&mut self, ctx: &mut Context<'_>, trunk: &Trunk) {
        let Some(way) = &self.way else { return };
        self.dialog.flow = way.flow;
        let expires = if self.leaves { 0 } else { self.expires };
        let contact = self.contact(ctx, trunk);
        let cnonce = ctx.mint.token();
        let owner = Owner::Trunk(Errand::Register);
        let (dialog, answers) = (&mut self.dialog, &mut self.answers);
        let registrar = dialog.remote_target.clone();
        let client = ctx.request(dialog, Method::Register, owner, |mut writer| {
            writer
                .text(HeaderName::Contact, &contact)
                .header(HeaderName::Expires, expires)
                .text(HeaderName::Allow, ALLOW)
                .text(HeaderName::Supported, "path");
            if let Some(account) = &trunk.account {
                let method = Method::Register;
                let cnonce = cnonce.as_str();
                answers.put(&mut writer, account, method, &registrar, b"", cnonce);
            }
            writer.finish();
        });
        self.phase = Phase::Asking {
            client,
            give_up: ctx.now + trunk.timeout.max(LEAST_TIMEOUT),
        };
    }

    fn contact(&self, ctx: &Context<'_>, trunk: &Trunk) -> String {
        let flow = &self.dialog.flow;
        let user = sip::uri::escape_user(&trunk.user);
        let address = ctx.config.network.signalling_address(flow);
        let transport = match flow.protocol {
            Protocol::Udp | Protocol::Local => String::new(),
            named => format!(";transport={named}"),
        };
        format!("<sip:{user}@{address}{transport};{LINE}={}>", self.line)
    }

    /// Takes an answer to our REGISTER; none: it was lost.
    pub(super) fn answered(
        &mut self,
        ctx: &mut Context<'_>,
        trunk: &Trunk,
        response: Option<&Message<'_>>,
    ) {
        let status = response.and_then(Message::status).map_or(408, |s| s.0);
        let Some(response) = response else {
            return self.try_next(ctx, trunk, "no answer", Duration::ZERO);
        };
        match status {
            200..=299 if self.leaves => self.phase = Phase::Over,
            200..=299 => self.granted(ctx, trunk, response),
            401 | 407 => self.challenged(ctx, trunk, response),
            423 => self.too_brief(ctx, trunk, response),
            408 | 500..=599 => {
                let error = refusal(response);
                self.try_next(ctx, trunk, &error, retry_after(response));
            }
            _ => self.refused(ctx, trunk, response),
        }
    }

    /// RFC 3261 §10.2.4, RFC 3608 §6.1.
    fn granted(&mut self, ctx: &mut Context<'_>, trunk: &Trunk, response: &Message<'_>) {
        let seconds = granted_seconds(response, &self.line).unwrap_or(self.expires);
        if seconds == 0 {
            return self.refused(ctx, trunk, response);
        }
        self.answers.accepted();
        self.failures = 0;
        self.error = None;
        self.service_route = response
            .values(HeaderName::ServiceRoute)
            .take(MOST_ROUTES)
            .map(Into::into)
            .collect();
        let life = Duration::from_secs(u64::from(seconds));
        let now = ctx.clock.unix(ctx.now);
        self.granted = Some(Granted {
            at: ctx.now + life,
            until: UnixTime(now.0 + u64::from(seconds)),
        });
        let margin = (life / 10).max(MARGIN.min(life / 2));
        let early = part(ctx, life / 20);
        self.phase = Phase::Waiting {
            until: ctx.now + (life - margin).saturating_sub(early),
        };
    }

    fn challenged(&mut self, ctx: &mut Context<'_>, trunk: &Trunk, response: &Message<'_>) {
        let learned = self.answers.learn(response);
        if learned == Learned::TryAgain && trunk.account.is_some() {
            return self.send(ctx, trunk);
        }
        if self.leaves {
            self.phase = Phase::Over;
            return;
        }
        self.answers = Answers::default();
        let error = match trunk.account {
            Some(_) => "the provider does not accept user and password",
            None => "the provider wants a user and a password",
        };
        self.give_up_for_long(ctx, trunk, error, Duration::ZERO);
    }

    /// RFC 3261 §10.2.8: the provider wants to hear from us less often.
    fn too_brief(&mut self, ctx: &mut Context<'_>, trunk: &Trunk, response: &Message<'_>) {
        let least = response.number(HeaderName::MinExpires).ok().flatten();
        match least {
            Some(least) if least > self.expires && least <= LONGEST_LIFE && !self.leaves => {
                self.expires = least;
                self.answers.accepted();
                self.send(ctx, trunk);
            }
            _ => self.refused(ctx, trunk, response),
        }
    }

    /// Waiting a little would not help.
    fn refused(&mut self, ctx: &mut Context<'_>, trunk: &Trunk, response: &Message<'_>) {
        if self.leaves {
            self.phase = Phase::Over;
            return;
        }
        let error = refusal(response);
        self.give_up_for_long(ctx, trunk, &error, retry_after(response));
    }

    fn give_up_for_long(
        &mut self,
        ctx: &mut Context<'_>,
        trunk: &Trunk,
        error: &str,
        at_least: Duration,
    ) {
        let register = trunk.register.clone().unwrap_or_default();
        self.failures += 1;
        self.wait(ctx, error, register.max_retry.max(at_least) / 2, at_least);
    }
}

/// What the provider grants: the `expires` of our own Contact, else the Expires header (RFC 3261
/// §10.2.4).
fn granted_seconds(response: &Message<'_>, line: &Token) -> Option<u32> {
    let ours = response.contacts().filter_map(Result::ok).find(|contact| {
        contact
            .parse_uri()
            .is_ok_and(|uri| uri.params.find(LINE) == Some(line.as_str()))
    });
    let own = ours.and_then(|contact| contact.params.find("expires")?.parse().ok());
    own.or_else(|| response.number(HeaderName::Expires).ok().flatten())
        .map(|seconds: u32| seconds.min(LONGEST_LIFE))
}

/// RFC 3261 §20.33, without comment and parameters.
pub(crate) fn retry_after(response: &Message<'_>) -> Duration {
    let seconds = response
        .header(HeaderName::RetryAfter)
        .and_then(|value| {
            let digits = value.trim_start();
            let end = digits
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(digits.len());
            digits[..end].parse::<u32>().ok()
        })
        .unwrap_or(0);
    Duration::from_secs(u64::from(seconds)).min(LONGEST_WAIT)
}

fn refusal(response: &Message<'_>) -> String {
    let status = response.status().unwrap_or(sip::StatusCode(500));
    format!("{} {}", status.0, status.reason())
}

/// A random part of an interval.
fn part(ctx: &mut Context<'_>, interval: Duration) -> Duration {
    let millis = interval.as_millis().min(u128::from(u32::MAX)) as u32;
    Duration::from_millis(u64::from(ctx.mint.below(millis)))
}

/// Stands in a dialog until the first way is chosen.
const UNKNOWN: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// A registration is refreshed at least so long before its end, or half its life if that is less.
const MARGIN: Duration = Duration::from_secs(15);

/// After the loss of a connection, the longest wait before the next.
const RECONNECT: Duration = Duration::from_secs(2);

/// A REGISTER gets at least so long: one lost datagram is no reason to go elsewhere.
const LEAST_TIMEOUT: Duration = Duration::from_secs(3);

/// No provider keeps us away for longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// In seconds: no registration lasts longer.
const LONGEST_LIFE: u32 = 7 * 86_400;

/// Most Service-Route values that are kept; the rest are left out.
const MOST_ROUTES: usize = 8;
