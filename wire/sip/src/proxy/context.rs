//! The response context: all branches of one request, from its forwarding to its final answer.

use std::time::{Duration, Instant};

use base::Token;

use super::best::{Best, Chosen};
use super::check::{breadth, loop_mark};
use super::forward::{Forward, write_response};
use super::target::{MOST_TARGETS, Spare, Waiting};
use super::{Env, Policy, Routing, Target};
use crate::{ClientKey, Flow, Message, Method, NameAddr, ServerKey, StatusCode};

/// Timer C: how long an INVITE may go without a provisional answer; more than three minutes (RFC 3261
/// §16.6 step 11).
pub const TIMER_C: Duration = Duration::from_secs(181);

/// One request that is being forwarded.
///
/// The user keeps it under the request's [`ServerKey`] until [`is_over`](Self::is_over), and may then
/// drop it; 2xx answers that come later go to [`relay_late`](super::relay_late).
#[derive(Debug)]
pub struct Context {
    server: ServerKey,
    source: Flow,
    /// As it came, until it has its final answer.
    request: Box<[u8]>,
    method: Method<'static>,
    branches: Vec<Branch>,
    waiting: Waiting,
    best: Best,
    /// Own entries at the front of Route, and whether its last value was taken.
    route: (usize, bool),
    mark: u64,
    /// Over how many branches the request may spread at one time.
    breadth: u32,
    /// The request has its final answer.
    finished: bool,
    /// A 2xx was passed on.
    accepted: bool,
    /// The caller has given up.
    cancelled: bool,
}

/// One copy of the request.
#[derive(Debug)]
struct Branch {
    client: ClientKey,
    target: Box<str>,
    flow: Flow,
    /// What is tried when this way fails; none once the branch is cancelled.
    spares: Vec<Spare>,
    breadth: u32,
    /// When a provisional answer is overdue; none where nothing hangs on it.
    timer_c: Option<Instant>,
    over: bool,
}

/// What an input has brought about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Nothing that the sender of the request sees.
    Quiet,
    /// A provisional answer was passed on.
    Provisional(StatusCode),
    /// A 2xx was passed on: the first one, or that of another callee.
    Accepted(StatusCode),
    /// All have refused, and the best refusal was passed on.
    Refused(StatusCode),
}

impl Context {
    /// Forwards `request`, which has passed [`check`](super::check()) and whose server transaction has
    /// begun, to all targets of the highest priority. Without targets it is answered 480.
    pub fn begin<P: Policy>(
        env: &mut Env<'_, P>,
        server: ServerKey,
        source: Flow,
        request: &Message<'_>,
        routing: &Routing<'_>,
        targets: impl IntoIterator<Item = Target>,
    ) -> (Self, Progress) {
        let method = request.method().unwrap_or(Method::Ack).detach();
        let mut context = Self {
            server,
            source,
            request: request.bytes().into(),
            method,
            branches: Vec::new(),
            waiting: Waiting::default(),
            best: Best::default(),
            route: (routing.skip, routing.last_taken),
            mark: loop_mark(request, env.transactions),
            breadth: breadth(request),
            finished: false,
            accepted: false,
            cancelled: false,
        };
        if method == Method::Invite {
            env.answer(server, request, &source, StatusCode(100), |_| {});
        }
        context.waiting.add(targets, MOST_TARGETS);
        context.start_group(env, request, routing);
        let progress = if context.branches.is_empty() {
            context.finish_with(env, StatusCode(480))
        } else {
            Progress::Quiet
        };
        (context, progress)
    }

    /// Whether every branch has ended and the request has its final answer.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.finished && self.is_idle()
    }

    /// Whether a 2xx was passed on.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.accepted
    }

    /// The Request-URI of the branch with this client transaction, and the way that it took.
    #[must_use]
    pub fn target(&self, key: ClientKey) -> Option<(&str, Flow)> {
        let branch = self.branches.iter().find(|branch| branch.client == key)?;
        Some((&branch.target, branch.flow))
    }

    /// When [`expire`](Self::expire) wants to be called: the first Timer C.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let pending = self.branches.iter().filter(|branch| !branch.over);
        pending.filter_map(|branch| branch.timer_c).min()
    }

    /// Takes a response to one of the copies.
    ///
    /// # Source
    /// RFC 3261 §16.7.
    pub fn receive<P: Policy>(
        &mut self,
        env: &mut Env<'_, P>,
        key: ClientKey,
        response: &Message<'_>,
    ) -> Progress {
        let status = response.status().unwrap_or(StatusCode(500));
        let Some(branch) = self.branches.iter_mut().find(|b| b.client == key) else {
            return Progress::Quiet;
        };
        if status.is_provisional() {
            if status.0 > 100 && branch.timer_c.is_some() {
                branch.timer_c = Some(env.now + TIMER_C);
            }
            return self.pass_provisional(env, status, response);
        }
        branch.over = true;
        if status.is_success() {
            return self.pass_success(env, status, response);
        }
        if self.finished {
            return Progress::Quiet;
        }
        if matches!(status.0, 503 | 430) && self.try_spare(env, key) {
            return Progress::Quiet;
        }
        if status.0 >= 600 {
            self.waiting.clear();
            self.cancel_pending(env, None);
        }
        if self.follows(env, status, response) {
            return self.advance(env);
        }
        self.refused(env, status, response)
    }

    /// A copy got no answer: [`Expired::Client`](crate::Expired::Client) counts as 408, a fault of the
    /// transport as 503.
    ///
    /// # Source
    /// RFC 3261 §16.8, §16.9.
    pub fn lost<P: Policy>(
        &mut self,
        env: &mut Env<'_, P>,
        key: ClientKey,
        status: StatusCode,
    ) -> Progress {
        let mut branches = self.branches.iter_mut();
        let Some(branch) = branches.find(|branch| branch.client == key && !branch.over) else {
            return Progress::Quiet;
        };
        branch.over = true;
        if self.finished || self.try_spare(env, key) {
            return Progress::Quiet;
        }
        self.best.consider(status, None);
        self.advance(env)
    }

    /// The caller gives up. `reason` is what its CANCEL says (RFC 3326).
    ///
    /// # Source
    /// RFC 3261 §16.10.
    pub fn cancel<P: Policy>(&mut self, env: &mut Env<'_, P>, reason: Option<&str>) -> Progress {
        if self.finished || self.cancelled || self.method != Method::Invite {
            return Progress::Quiet;
        }
        self.cancelled = true;
        self.waiting.clear();
        self.cancel_pending(env, reason);
        Progress::Quiet
    }

    /// The user gives up: all branches are cancelled, and when they have ended the caller hears `status`
    /// if none had a better answer. `reason` goes into the CANCEL (RFC 3326).
    pub fn give_up<P: Policy>(
        &mut self,
        env: &mut Env<'_, P>,
        status: StatusCode,
        reason: Option<&str>,
    ) {
        if !self.finished {
            self.waiting.clear();
            self.best.consider(status, None);
            self.cancel_pending(env, reason);
        }
    }

    /// The same, but the caller does not wait for the end of the branches. A callee that accepts before
    /// the CANCEL reaches it is left alone.
    pub fn break_off<P: Policy>(
        &mut self,
        env: &mut Env<'_, P>,
        status: StatusCode,
        reason: Option<&str>,
    ) -> Progress {
        if self.finished {
            return Progress::Quiet;
        }
        self.cancel_pending(env, reason);
        self.finish_with(env, status)
    }

    /// Cancels branches whose Timer C has run out.
    ///
    /// # Source
    /// RFC 3261 §16.8.
    pub fn expire<P: Policy>(&mut self, env: &mut Env<'_, P>) {
        let now = env.now;
        for branch in self.branches.iter_mut().filter(|branch| !branch.over) {
            if branch.timer_c.is_some_and(|due| due <= now) {
                // If the callee does not answer that either, the client transaction tells.
                branch.timer_c = None;
                branch.spares = Vec::new();
                env.transactions.cancel(now, branch.client, None, env.out);
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.branches.iter().all(|branch| branch.over)
    }

    fn pass_provisional<P: Policy>(
        &mut self,
        env: &mut Env<'_, P>,
        status: StatusCode,
        response: &Message<'_>,
    ) -> Progress {
        // 100 is between neighbours.
        if status == StatusCode(100) || self.finished {
            return Progress::Quiet;
        }
        env.scratch.clear();
        if !write_response(response, &[], None, env.scratch) {
            return Progress::Quiet;
        }
        env.transactions
            .respond(env.now, self.server, status, env.scratch, env.out);
        Progress::Provisional(status)
    }

    fn pass_success<P: Policy>(
        &mut self,
        env: &mut Env<'_, P>,
        status: StatusCode,
        response: &Message<'_>,
    ) -> Progress {
        env.scratch.clear();
        if !write_response(response, &[], None, env.scratch) {
            return Progress::Quiet;
        }
        if self.method == Method::Invite {
            env.transactions
                .relay_success(env.now, self.server, env.scratch, env.out);
        } else {
            env.transactions
                .respond(env.now, self.server, status, env.scratch, env.out);
        }
        if !self.accepted {
            self.accepted = true;
            self.finish();
            self.cancel_pending(env, Some(COMPLETED_ELSEWHERE));
        }
        Progress::Accepted(status)
    }

    /// Whether the Contacts of a 3xx are tried instead of telling the caller.
    fn follows<P: Policy>(
        &mut self,
        env: &mut Env<'_, P>,
        status: StatusCode,
        response: &Message<'_>,
    ) -> bool {
        if status.0 / 100 != 3 || self.cancelled {
            return false;
        }
        let mut all = true;
        let mut targets = Vec::new();
        for contact in response.contacts().flatten() {
            let known = self.branches.iter().any(|b| *b.target == *contact.uri);
            match env.policy.redirect(contact.uri).filter(|_| !known) {
                Some(flow) => targets.push(Target {
                    q: quality(&contact),
                    ..Target::new(contact.uri, flow)
                }),
                None => all = false,
            }
        }
        let room = MOST_TARGETS.saturating_sub(self.branches.len());
        let added = self.waiting.add(targets, room);
        // What is left of the Contacts the caller may try.
        all && added > 0
    }

    fn refused<P: Policy>(
        &mut self,
        env: &mut Env<'_, P>,
        status: StatusCode,
        response: &Message<'_>,
    ) -> Progress {
        let last = self.is_idle() && self.waiting.is_empty();
        if last && self.best.is_beaten_by(status) {
            self.best.displace();
            return self.pass_refusal(env, status, response);
        }
        self.best.consider(status, Some(response));
        self.advance(env)
    }

    /// When all branches have ended: tries the next group, or tells the caller.
    fn advance<P: Policy>(&mut self, env: &mut Env<'_, P>) -> Progress {
        if !self.is_idle() {
            return Progress::Quiet;
        }
        if !self.waiting.is_empty() {
            let bytes = std::mem::take(&mut self.request);
            if let Ok(request) = Message::parse(&bytes) {
                let routing = Routing::again(&request, self.route.0, self.route.1);
                self.start_group(env, &request, &routing);
            }
            self.request = bytes;
            if !self.is_idle() {
                return Progress::Quiet;
            }
        }
        match self.best.take() {
            Some(Chosen {
                status,
                response: Some(bytes),
            }) => match Message::parse(&bytes) {
                Ok(response) => self.pass_refusal(env, status, &response),
                Err(_) => self.finish_with(env, status),
            },
            Some(Chosen { status, .. }) => self.finish_with(env, status),
            None => self.finish_with(env, StatusCode(if self.cancelled { 487 } else { 480 })),
        }
    }

    /// Tells the caller what a callee has said.
    fn pass_refusal<P: Policy>(
        &mut self,
        env: &mut Env<'_, P>,
        status: StatusCode,
        response: &Message<'_>,
    ) -> Progress {
        // One server's overload is not ours (RFC 3261 §16.7 step 6), and nobody waits for a late
        // non-INVITE's 408 any more (RFC 4320 §4.2).
        if status == StatusCode(503) || status == StatusCode(408) && self.method != Method::Invite {
            return self.finish_with(env, status);
        }
        let tag = self.own_tag(env, response);
        env.scratch.clear();
        if !write_response(response, self.best.lines(status), tag, env.scratch) {
            return self.finish_with(env, status);
        }
        self.finish();
        env.transactions
            .respond(env.now, self.server, status, env.scratch, env.out);
        Progress::Refused(status)
    }

    /// The tag that a refusal is passed on with, if its own will not do: if a server like us, or we
    /// ourselves, gave it, it names a slot, and the ACK, which has no Route, would be taken there. No
    /// dialog comes of a refusal, so nobody else needs the tag.
    fn own_tag<P: Policy>(&self, env: &Env<'_, P>, response: &Message<'_>) -> Option<Token> {
        let given = Token::parse(response.to().ok()?.tag()?)?;
        if self.method != Method::Invite || given.slot() == env.mint.slot() {
            return None;
        }
        let request = Message::parse(&self.request).ok()?;
        let is_first = request.to().is_ok_and(|to| to.tag().is_none());
        is_first.then(|| env.transactions.stateless_tag(env.mint.slot(), &request))
    }

    /// Answers the request ourselves.
    fn finish_with<P: Policy>(&mut self, env: &mut Env<'_, P>, status: StatusCode) -> Progress {
        let request = std::mem::take(&mut self.request);
        self.finish();
        if status == StatusCode(408) && self.method != Method::Invite {
            env.transactions.forget(self.server);
            return Progress::Refused(status);
        }
        let status = if status == StatusCode(503) {
            StatusCode(500)
        } else {
            status
        };
        if let Ok(request) = Message::parse(&request) {
            env.answer(self.server, &request, &self.source, status, |_| {});
        }
        Progress::Refused(status)
    }

    fn finish(&mut self) {
        self.finished = true;
        self.request = Box::default();
        self.waiting.clear();
    }

    fn cancel_pending<P: Policy>(&mut self, env: &mut Env<'_, P>, reason: Option<&str>) {
        if self.method != Method::Invite {
            return;
        }
        for branch in self.branches.iter_mut().filter(|branch| !branch.over) {
            branch.timer_c = None;
            branch.spares = Vec::new();
            env.transactions
                .cancel(env.now, branch.client, reason, env.out);
        }
    }

    /// Sends the copy by another way, if the branch that has failed knows one. `false`: it does not.
    ///
    /// # Source
    /// RFC 3263 §4.3
    fn try_spare<P: Policy>(&mut self, env: &mut Env<'_, P>, key: ClientKey) -> bool {
        let mut branches = self.branches.iter_mut();
        let Some(branch) = branches.find(|branch| branch.client == key) else {
            return false;
        };
        let (spares, breadth) = (std::mem::take(&mut branch.spares), branch.breadth);
        let Some(target) = Target::by_spare(0, spares) else {
            return false;
        };
        let bytes = std::mem::take(&mut self.request);
        if let Ok(request) = Message::parse(&bytes) {
            let routing = Routing::again(&request, self.route.0, self.route.1);
            self.start_branch(env, &request, &routing, target, breadth);
        }
        self.request = bytes;
        true
    }

    /// Sends copies to the targets of the highest priority that is left, as many as Max-Breadth lets go
    /// at one time.
    ///
    /// # Source
    /// RFC 3261 §16.6, RFC 5393 §5.3.3.
    fn start_group<P: Policy>(
        &mut self,
        env: &mut Env<'_, P>,
        request: &Message<'_>,
        routing: &Routing<'_>,
    ) {
        let size = self.waiting.group().min(self.breadth as usize);
        let Some(each) = self.breadth.checked_div(size as u32) else {
            return;
        };
        self.branches.reserve_exact(size);
        for _ in 0..size {
            if let Some(target) = self.waiting.pop() {
                self.start_branch(env, request, routing, target, each);
            }
        }
    }

    fn start_branch<P: Policy>(
        &mut self,
        env: &mut Env<'_, P>,
        request: &Message<'_>,
        routing: &Routing<'_>,
        target: Target,
        breadth: u32,
    ) {
        let branch = env.mint.token();
        let forward = Forward {
            request,
            source: &self.source,
            routing,
            target: &target,
            branch,
            mark: Some(self.mark),
            breadth: Some(breadth),
        };
        env.scratch.clear();
        forward.write(env.policy, env.scratch);
        let client = env.transactions.request(
            env.now,
            target.flow,
            self.method,
            branch,
            env.scratch,
            env.policy.owner(),
            env.out,
        );
        let invite = self.method == Method::Invite;
        self.branches.push(Branch {
            client,
            target: target.uri,
            flow: target.flow,
            spares: target.spares,
            breadth,
            timer_c: invite.then(|| env.now + TIMER_C),
            over: false,
        });
    }
}

/// The q parameter of a Contact, in thousandths (RFC 3261 §20.10).
fn quality(contact: &NameAddr<'_>) -> u16 {
    let given = contact.params.find("q");
    let number = given.and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
    (number.clamp(0.0, 1.0) * 1000.0) as u16
}

/// Reason of the CANCEL to those who did not answer first (RFC 3326 §2).
const COMPLETED_ELSEWHERE: &str = "SIP;cause=200;text=\"Call completed elsewhere\"";
