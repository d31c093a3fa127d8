//! The operations under way, and what follows from each message and moment.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sip::{HeaderName, Message, Method, StatusCode};

use super::outbox::{Outbox, Way};
use super::request::{Asked, Dialog, Label, Script, rtp_address};
use super::{Failure, Job, Tally};
use crate::credentials::Challenge;

/// A fixed number of places for operations.
///
/// Requests go to whom the caller's socket is connected to, or over the connection of their user.
#[derive(Debug)]
pub(super) struct Window {
    script: Script,
    rules: Rules,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Places from here on were never used.
    fresh: u32,
    users: Vec<User>,
    /// Users with no registration under way, longest idle first: one phone registers one at a time.
    idle: VecDeque<u32>,
    tally: Tally,
    /// Where the last answered call wants its RTP, if calls carry any.
    answered: Option<SocketAddr>,
}

/// How operations run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) job: Job,
    /// 64×T1.
    pub(super) timeout: Duration,
    /// `None`: until [`Window::hang_up`].
    pub(super) hold: Option<Duration>,
    /// Registrations use the last nonce again.
    pub(super) refresh: bool,
}

#[derive(Debug)]
struct Slot {
    state: State,
    serial: u32,
    user: u32,
    cseq: u32,
    challenged: bool,
    began: Instant,
    /// When the current request went out first.
    asked: Instant,
    answered: Option<Instant>,
    due: Option<Instant>,
    interval: Duration,
    request: Vec<u8>,
    dialog: Dialog,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Idle,
    /// No answer yet: the request is sent again and again.
    Asking(Asked),
    /// The INVITE has a provisional answer.
    Ringing,
    /// The call is up until `due`.
    Talking,
}

#[derive(Clone, Default, Debug)]
struct User {
    cseq: u32,
    challenge: Option<Challenge>,
}

impl Window {
    pub(super) fn new(script: Script, rules: Rules, size: usize, now: Instant) -> Self {
        let size = u32::try_from(size.clamp(1, MAX_WINDOW)).unwrap_or(1);
        let users = script.callers.count();
        Self {
            rules,
            slots: (0..size).map(|_| Slot::new(now)).collect(),
            free: (0..size).rev().collect(),
            fresh: 0,
            users: vec![User::default(); users as usize],
            idle: (0..users).collect(),
            tally: Tally::default(),
            answered: None,
            script,
        }
    }

    /// Starts one operation; `false` if every place, or every user, is taken.
    pub(super) fn begin(&mut self, now: Instant, out: &mut Outbox) -> bool {
        let Some(&index) = self.free.last() else {
            return false;
        };
        // The serial wraps after 2^32 operations, long after whatever it could be taken for.
        let serial = self.tally.started as u32;
        let user = match self.rules.job {
            Job::Register => match self.idle.pop_front() {
                Some(user) => user,
                None => return false,
            },
            _ => serial % self.script.callers.count(),
        };
        self.free.pop();
        self.fresh = self.fresh.max(index + 1);
        self.tally.started += 1;
        let slot = &mut self.slots[index as usize];
        slot.begin(now, serial, user);
        let asked = match self.rules.job {
            Job::Options => Asked::Options,
            Job::Register => {
                slot.cseq = self.users[user as usize].cseq;
                Asked::Register
            }
            Job::Call | Job::Rtp => Asked::Invite,
        };
        self.ask(now, index, asked, None, out);
        true
    }

    /// Takes a response.
    pub(super) fn handle(&mut self, now: Instant, response: &Message<'_>, out: &mut Outbox) {
        let (Some(status), Some((label, method))) = (response.status(), self.label(response))
        else {
            self.tally.strays += 1;
            return;
        };
        let user = self.user_of(label);
        let mut dialog = None;
        if method == Method::Invite && status.is_final() {
            dialog = self.acknowledge(response, status, label, user, out);
        }
        let slot = &mut self.slots[label.slot as usize];
        if slot.serial != label.serial || slot.cseq != label.cseq {
            return;
        }
        match slot.state {
            State::Asking(asked) if asked.method() == method => {
                self.progress(now, label.slot, asked, status, response, dialog, out);
            }
            State::Ringing if method == Method::Invite => {
                self.progress(
                    now,
                    label.slot,
                    Asked::Invite,
                    status,
                    response,
                    dialog,
                    out,
                );
            }
            _ => {}
        }
    }

    /// Sends again what is unanswered, gives up what is too old, ends calls that were held long enough.
    pub(super) fn sweep(&mut self, now: Instant, out: &mut Outbox) {
        for index in 0..self.fresh {
            let slot = &mut self.slots[index as usize];
            if slot.due.is_none_or(|due| due > now) {
                continue;
            }
            match slot.state {
                State::Idle => slot.due = None,
                State::Talking => self.ask(now, index, Asked::Bye, None, out),
                State::Ringing => {
                    let label = self.label_of(index);
                    let user = self.slots[index as usize].user;
                    out.send_with(self.script.way(user), |bytes| {
                        self.script
                            .close_invite(bytes, Method::Cancel, label, user, None);
                    });
                    self.end(index, Err(Failure::Timeout));
                }
                State::Asking(asked) => {
                    if now.duration_since(slot.asked) >= self.rules.timeout {
                        self.end(index, Err(Failure::Timeout));
                    } else {
                        let way = self.script.way(slot.user);
                        slot.again(now, asked, self.rules.timeout, way, out);
                        self.tally.retransmissions += 1;
                    }
                }
            }
        }
    }

    /// The other party ended the call with this Call-ID.
    pub(super) fn ended_by_peer(&mut self, call_id: &str) {
        let Some(label) = Label::of_call_id(call_id).filter(|label| label.run == self.script.run)
        else {
            return;
        };
        let slot = self.slots.get(label.slot as usize);
        if slot.is_some_and(|slot| slot.serial == label.serial && slot.state == State::Talking) {
            self.end(label.slot, Err(Failure::Ended));
        }
    }

    /// Sends BYE on every call that is up.
    pub(super) fn hang_up(&mut self, now: Instant, out: &mut Outbox) {
        for index in 0..self.fresh {
            if self.slots[index as usize].state == State::Talking {
                self.ask(now, index, Asked::Bye, None, out);
            }
        }
    }

    /// What happened so far.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Operations under way.
    pub(super) fn outstanding(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Calls that are up.
    pub(super) fn talking(&self) -> usize {
        let is_up = |slot: &&Slot| slot.state == State::Talking;
        self.slots.iter().filter(is_up).count()
    }

    /// Where the next call takes RTP.
    pub(super) fn set_rtp_port(&mut self, port: u16) {
        self.script.rtp_port = port;
    }

    /// Where the last answered call wants its RTP.
    pub(super) fn take_answered(&mut self) -> Option<SocketAddr> {
        self.answered.take()
    }

    #[expect(clippy::too_many_arguments, reason = "one answer with its context")]
    fn progress(
        &mut self,
        now: Instant,
        index: u32,
        asked: Asked,
        status: StatusCode,
        response: &Message<'_>,
        dialog: Option<Dialog>,
        out: &mut Outbox,
    ) {
        let slot = &mut self.slots[index as usize];
        if status.is_provisional() {
            if asked == Asked::Invite {
                slot.state = State::Ringing;
                slot.due = Some(now + self.rules.timeout);
            }
        } else if matches!(status.0, 401 | 407) && !slot.challenged {
            self.authenticate(now, index, asked, response, out);
        } else if !status.is_success() {
            self.end(index, Err(Failure::Status(status)));
        } else if asked != Asked::Invite {
            let held = slot.answered.map_or(Duration::ZERO, |at| slot.asked - at);
            let latency = now.duration_since(slot.began).saturating_sub(held);
            self.end(index, Ok(latency));
        } else if let Some(dialog) = dialog {
            if self.rules.job == Job::Rtp {
                self.answered = rtp_address(response);
            }
            self.talk(now, index, dialog, out);
        } else {
            self.end(index, Err(Failure::Malformed));
        }
    }

    fn talk(&mut self, now: Instant, index: u32, dialog: Dialog, out: &mut Outbox) {
        let slot = &mut self.slots[index as usize];
        slot.dialog = dialog;
        slot.answered = Some(now);
        slot.challenged = false;
        slot.state = State::Talking;
        slot.due = self.rules.hold.map(|hold| now + hold);
        self.tally.answer.record(now.duration_since(slot.began));
        if self.rules.hold == Some(Duration::ZERO) {
            self.ask(now, index, Asked::Bye, None, out);
        }
    }

    fn authenticate(
        &mut self,
        now: Instant,
        index: u32,
        asked: Asked,
        response: &Message<'_>,
        out: &mut Outbox,
    ) {
        let Some(challenge) = Challenge::of_response(response) else {
            self.end(index, Err(Failure::Challenge));
            return;
        };
        self.slots[index as usize].challenged = true;
        if asked == Asked::Register && self.rules.refresh {
            let user = self.slots[index as usize].user;
            self.users[user as usize].challenge = Some(challenge);
            self.ask(now, index, asked, None, out);
        } else {
            self.ask(now, index, asked, Some(challenge), out);
        }
    }

    /// Sends a new request, with credentials if a challenge is at hand.
    fn ask(
        &mut self,
        now: Instant,
        index: u32,
        asked: Asked,
        challenge: Option<Challenge>,
        out: &mut Outbox,
    ) {
        let script = &self.script;
        let slot = &mut self.slots[index as usize];
        let user = &mut self.users[slot.user as usize];
        slot.cseq = slot.cseq.wrapping_add(1) & (u32::MAX >> 1);
        user.cseq = slot.cseq;
        let label = Label {
            run: script.run,
            slot: index,
            serial: slot.serial,
            cseq: slot.cseq,
        };
        let mut challenge = challenge;
        let known = match asked {
            Asked::Register if challenge.is_none() => user.challenge.as_mut(),
            _ => challenge.as_mut(),
        };
        let credentials = known.and_then(|challenge| {
            let name = script.callers.user(slot.user);
            let password = script.callers.password(slot.user);
            let uri = script.uri(asked, label, &slot.dialog);
            challenge.answer(asked.method(), &uri, name, password, label.serial)
        });
        slot.request.clear();
        script.write(
            &mut slot.request,
            asked,
            label,
            slot.user,
            &slot.dialog,
            credentials
                .as_ref()
                .map(|(name, value)| (*name, value.as_str())),
        );
        out.send(script.way(slot.user), &slot.request);
        slot.state = State::Asking(asked);
        slot.asked = now;
        slot.interval = T1;
        let patience = if script.transport.is_reliable() {
            self.rules.timeout
        } else {
            T1.min(self.rules.timeout)
        };
        slot.due = Some(now + patience);
    }

    /// Answers a final response to INVITE; a success gives its dialog.
    fn acknowledge(
        &self,
        response: &Message<'_>,
        status: StatusCode,
        label: Label,
        user: u32,
        out: &mut Outbox,
    ) -> Option<Dialog> {
        let mut dialog = None;
        if status.is_success() {
            let mut ack = Vec::with_capacity(512);
            dialog = self.script.ack_success(&mut ack, label, user, response);
            if dialog.is_some() {
                out.send(self.script.way(user), &ack);
            }
        } else {
            out.send_with(self.script.way(user), |bytes| {
                let to = response.header(HeaderName::To);
                self.script
                    .close_invite(bytes, Method::Ack, label, user, to);
            });
        }
        dialog
    }

    fn end(&mut self, index: u32, how: Result<Duration, Failure>) {
        let slot = &mut self.slots[index as usize];
        slot.state = State::Idle;
        slot.due = None;
        if self.rules.job == Job::Register {
            self.idle.push_back(slot.user);
        }
        self.free.push(index);
        self.tally.count(how);
    }

    /// The label of the request that a response answers, if it is one of ours.
    fn label<'m>(&self, response: &Message<'m>) -> Option<(Label, Method<'m>)> {
        let label = Label::of_branch(response.top_via().ok()?.branch_token()?)?;
        let is_ours = label.run == self.script.run && (label.slot as usize) < self.slots.len();
        let method = response.cseq().ok()?.method;
        is_ours.then_some((label, method))
    }

    fn label_of(&self, index: u32) -> Label {
        let slot = &self.slots[index as usize];
        Label {
            run: self.script.run,
            slot: index,
            serial: slot.serial,
            cseq: slot.cseq,
        }
    }

    /// Who made the call with this label.
    fn user_of(&self, label: Label) -> u32 {
        label.serial % self.script.callers.count()
    }
}

impl Slot {
    fn new(now: Instant) -> Self {
        Self {
            state: State::Idle,
            serial: 0,
            user: 0,
            cseq: 0,
            challenged: false,
            began: now,
            asked: now,
            answered: None,
            due: None,
            interval: T1,
            request: Vec::new(),
            dialog: Dialog::default(),
        }
    }

    fn begin(&mut self, now: Instant, serial: u32, user: u32) {
        self.serial = serial;
        self.user = user;
        self.cseq = 0;
        self.challenged = false;
        self.began = now;
        self.answered = None;
    }

    /// Timers A and E of RFC 3261 §17.1: the interval doubles, up to T2 for all but INVITE.
    fn again(&mut self, now: Instant, asked: Asked, timeout: Duration, way: Way, out: &mut Outbox) {
        out.send(way, &self.request);
        self.interval *= 2;
        if asked != Asked::Invite {
            self.interval = self.interval.min(T2);
        }
        self.due = Some((now + self.interval).min(self.asked + timeout));
    }
}

/// RFC 3261 §17.1.1.1: the estimated round trip, 500 ms.
pub(super) const T1: Duration = Duration::from_millis(500);

/// RFC 3261 §17.1.2.2: the longest interval between retransmissions, 4 s.
const T2: Duration = Duration::from_secs(4);

/// More operations at a time than this would not fit the ports and buffers of one socket.
const MAX_WINDOW: usize = 1 << 20;
