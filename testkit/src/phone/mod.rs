//! A scripted phone: registers, calls, rings, answers, holds, hangs up, and misbehaves where it is told
//! to. It complains about what a server does wrong.

mod call;
mod callee;
mod caller;
mod description;
mod errand;
mod forks;
mod gate;
mod line;
mod manner;
mod registration;
mod talk;
mod transfer;
mod watching;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base::Mint;
use sip::{Expired, Flow, HeaderName, Message, Method, Received};

use call::{Call, State, What};
use errand::Errand;
use gate::Gate;
pub(crate) use gate::PROVIDER_ACCOUNT;
use line::{Alarm, Line, Owner, Pending};
pub use manner::{Manner, Reply};
use registration::Registration;
pub use transfer::Referral;
use watching::Watch;
pub use watching::WatchView;

/// What a phone's user does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Registers and keeps registered.
    Register,
    /// Registers again if it keeps registered.
    RegisterAgain,
    /// Ends its registration; with `all`, those of all the user's phones.
    Unregister {
        /// `Contact: *`.
        all: bool,
    },
    /// Calls a number.
    Dial(String),
    /// Ends, refuses or gives up all calls.
    HangUp,
    /// Holds or resumes all calls.
    Hold {
        /// Hold, or resume.
        hold: bool,
        /// By UPDATE where the peer takes it, else by re-INVITE.
        update: bool,
    },
    /// Adds video to all calls.
    AddVideo,
    /// Sends a re-INVITE without a description.
    Reoffer,
    /// Sends UPDATE without a description in all calls, answered or not.
    Poke,
    /// Presses a key in all calls, and tells so by INFO.
    Key(char),
    /// Sends the party of the newest call to this number (REFER).
    Transfer(String),
    /// Puts the parties of the two newest calls together (REFER with Replaces).
    TransferAttended,
    /// Subscribes to what somebody does, and stays subscribed.
    Watch {
        /// The package: `dialog`, `presence`, …
        event: &'static str,
        /// Whom it is about.
        whom: String,
    },
    /// Ends all subscriptions.
    Unwatch,
    /// Sends a message to this number.
    Write(String),
    /// Publishes the user's presence, or refreshes that.
    Publish {
        /// Takes it back.
        ends: bool,
    },
    /// Gives up a pending re-INVITE.
    CancelChange,
    /// Makes and takes no calls any more, does not register again.
    Retire,
}

/// How a call ended, as the phone saw it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Who was called: the dialled number, or the caller's.
    pub number: String,
    /// Somebody called us.
    pub incoming: bool,
    /// It rang.
    pub rang: bool,
    /// It was answered.
    pub answered: bool,
    /// How it ended.
    pub ending: Ending,
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// We hung up.
    HungUp,
    /// The peer hung up.
    PeerHungUp,
    /// We, or the caller, gave up before the answer.
    Cancelled,
    /// It was refused with this status, by us or by them.
    Refused(u16),
    /// Our request was not answered.
    Timeout,
    /// Our answer was not acknowledged.
    NoAck,
    /// The peer does not know the call any more, or did not refresh the session.
    Lost,
}

/// A call as a test sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallView {
    /// Answered, and not over.
    pub up: bool,
    /// Where we receive audio.
    pub rtp: SocketAddr,
    /// Where the peer says that it does.
    pub remote: Option<SocketAddr>,
    /// Direction in the peer's last description.
    pub remote_direction: sdp::Direction,
    /// What both have agreed on: direction of the audio seen from here, number of open streams.
    pub state: (sdp::Direction, usize),
    /// The peer's ringing was heard.
    pub rang: bool,
    /// A description came or went before the answer.
    pub early: bool,
    /// What came of the last transfer that the phone asked for.
    pub referral: Option<Referral>,
}

/// A phone.
#[derive(Debug)]
pub struct Phone {
    line: Line,
    registration: Registration,
    calls: BTreeMap<u32, Call>,
    next_call: u32,
    media: SocketAddr,
    retired: bool,
    /// Tags of the dialogs of phones behind this one that answered too.
    siblings: Vec<base::Token>,
    outcomes: Vec<Outcome>,
    watches: Vec<Watch>,
    /// And how often it has been tried.
    errand: Option<(Errand, u8)>,
    /// Of what is published.
    etag: Option<String>,
    gate: Gate,
}

impl Phone {
    pub(crate) fn new(
        user: &str,
        password: &str,
        manner: Manner,
        server: Flow,
        hosts: (String, String),
        mut mint: Mint,
    ) -> Self {
        let registration = Registration::new(&mut mint);
        Self {
            line: Line::new(user, password, manner, server, hosts, mint),
            registration,
            calls: BTreeMap::new(),
            next_call: 0,
            media: SocketAddr::new(server.local.ip(), 30_000),
            retired: false,
            siblings: Vec::new(),
            outcomes: Vec::new(),
            watches: Vec::new(),
            errand: None,
            etag: None,
            gate: Gate::default(),
        }
    }

    /// The phone's user.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.line.user
    }

    /// Its behaviour; may be changed at any time.
    pub fn manner(&mut self) -> &mut Manner {
        &mut self.line.manner
    }

    /// Calls that are over, in the order of their ends.
    #[must_use]
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// How many calls are not over.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// The calls that are not over.
    #[must_use]
    pub fn lines(&self) -> Vec<CallView> {
        self.calls
            .values()
            .map(|call| CallView {
                up: call.state == State::Up,
                rtp: call.description.rtp,
                remote: call.description.remote(),
                remote_direction: call.description.remote_direction(),
                state: call.description.state(),
                rang: call.rang,
                early: call.early,
                referral: call.referral,
            })
            .collect()
    }

    /// Until when the server has confirmed the registration; none if it is removed or in the balance.
    #[must_use]
    pub fn registered_until(&self) -> Option<Instant> {
        self.registration.confirmed_until()
    }

    /// The server has confirmed that the phone is not registered, and the phone has not tried since.
    #[must_use]
    pub fn is_unregistered(&self) -> bool {
        self.registration.is_removed()
    }

    /// Status of the last final answer to a REGISTER.
    #[must_use]
    pub fn registration_status(&self) -> Option<u16> {
        self.registration.last_status
    }

    /// Whether the phone sends RTP from this address: an answered call is there.
    pub(crate) fn sends_from(&self, address: SocketAddr) -> bool {
        self.calls
            .values()
            .any(|call| call.state == State::Up && call.description.rtp == address)
    }

    pub(crate) fn contact(&self) -> String {
        self.line.contact_uri()
    }

    pub(crate) fn contact_address(&self) -> SocketAddr {
        self.line.server.local
    }

    pub(crate) fn server(&mut self) -> &mut Flow {
        &mut self.line.server
    }

    pub(crate) fn take_sent(&mut self) -> Vec<(Flow, Vec<u8>)> {
        std::mem::take(&mut self.line.out.sent)
    }

    pub(crate) fn take_complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.line.complaints)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.line.deadline()
    }

    pub(crate) fn command(&mut self, now: Instant, command: &Command) {
        let provider = self.line.manner.challenges.is_some();
        match command {
            Command::Register | Command::RegisterAgain | Command::Watch { .. } if provider => {}
            Command::Write(_) | Command::Publish { .. } if provider || self.retired => {}
            Command::Write(to) => self.run_errand(now, Errand::Write { to: to.clone() }),
            Command::Publish { ends } => self.run_errand(now, Errand::Publish { ends: *ends }),
            Command::Register => self.registration.start(&mut self.line, now),
            Command::RegisterAgain => self.registration.again(&mut self.line, now),
            Command::Unregister { all } => self.registration.stop(&mut self.line, now, *all),
            Command::Dial(number) if !self.retired => self.dial(now, number),
            Command::Dial(_) => {}
            Command::Retire => {
                self.retired = true;
                self.registration.rest();
                self.rest_watching();
            }
            Command::HangUp => self.each(|phone, call| phone.hang_up(now, call)),
            Command::Hold { hold, update } => {
                let (hold, update) = (*hold, *update);
                self.each(|phone, call| {
                    phone.change(now, call, What::Direction { hold, update }, 0);
                });
            }
            Command::AddVideo => self.each(|phone, call| phone.change(now, call, What::Video, 0)),
            Command::Reoffer => {
                self.each(|phone, call| phone.change(now, call, What::Offerless, 0));
            }
            Command::Poke => self.each(|phone, call| phone.change(now, call, What::Poke, 0)),
            Command::Key(key) => self.each(|phone, call| phone.info(now, call, *key)),
            Command::Watch { .. } if self.retired => {}
            Command::Watch { event, whom } => self.watch(now, event, whom),
            Command::Unwatch => self.unwatch(now),
            Command::Transfer(number) => self.transfer(now, number),
            Command::TransferAttended => self.transfer_attended(now),
            Command::CancelChange => self.each(|phone, call| phone.cancel_change(now, call)),
        }
    }

    /// Takes a message from the network.
    pub(crate) fn receive(&mut self, now: Instant, flow: Flow, message: &Message<'_>) {
        if let Err(fault) = message.check() {
            self.line.complain(&format!("malformed message: {fault}"));
            return;
        }
        match message.method() {
            None => self.response(now, message),
            Some(Method::Cancel) => self.cancelled(now, flow, message),
            Some(_) => self.request(now, flow, message),
        }
    }

    /// Does what is due.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(expired) = self.line.transactions.expire(now, &mut self.line.out) {
            match expired {
                Expired::Client(_, owner) => self.unanswered(now, owner),
                Expired::Accepted(call) => {
                    self.with(call, |phone, call| phone.never_acknowledged(now, call));
                }
                Expired::Provisional(call) => {
                    self.with(call, |phone, call| phone.never_pracked(now, call));
                }
            }
        }
        while let Some((call, alarm)) = self.line.alarm(now) {
            match alarm {
                Alarm::Watch => self.watch_due(now, call),
                Alarm::Register => self.registration.refresh(&mut self.line, now),
                _ => self.with(call, |phone, call| phone.rings(now, call, alarm)),
            }
        }
    }

    fn rings(&mut self, now: Instant, call: &mut Call, alarm: Alarm) {
        match alarm {
            Alarm::Ring => self.ring(now, call),
            Alarm::Reply => self.reply(now, call),
            Alarm::HangUp => self.hang_up(now, call),
            Alarm::GiveUp if !call.answered => self.hang_up(now, call),
            Alarm::Session => self.session_due(now, call),
            Alarm::Retry => {
                if let Some((what, attempts)) = call.again.take() {
                    self.change(now, call, what, attempts);
                }
            }
            Alarm::Consider => {
                if let Some(pending) = call.considered.take() {
                    self.accept_change(now, call, &pending);
                }
            }
            Alarm::Abandon if call.state == State::Calling => self.over(call, Ending::Cancelled),
            Alarm::GiveUp | Alarm::Abandon | Alarm::Register | Alarm::Watch => {}
        }
    }

    fn response(&mut self, now: Instant, response: &Message<'_>) {
        let line = &mut self.line;
        let Some(key) = line
            .transactions
            .receive_response(now, response, &mut line.out)
        else {
            return;
        };
        let Some(owner) = line.transactions.client(key).copied() else {
            return;
        };
        match owner {
            Owner::Register => self.registration.answered(line, now, response),
            Owner::Errand => self.errand_answered(now, Some(response)),
            Owner::Subscribe(id) => self.subscribe_answered(now, id, Some(response)),
            Owner::Invite(call) => {
                self.with(call, |phone, call| {
                    phone.invite_answered(now, call, key, response);
                });
            }
            Owner::Change(call) => {
                self.with(call, |phone, call| {
                    phone.change_answered(now, call, key, response);
                });
            }
            Owner::Refer(call) => {
                let status = response.status().unwrap_or(sip::StatusCode(500));
                self.with(call, |phone, call| {
                    phone.refer_answered(now, call, Some(key), status);
                });
            }
            Owner::Bye(call) => self.with(call, |_, call| {
                if !response
                    .status()
                    .is_some_and(sip::StatusCode::is_provisional)
                {
                    call.state = State::Gone;
                }
            }),
            Owner::Nobody => {}
        }
    }

    fn unanswered(&mut self, now: Instant, owner: Owner) {
        match owner {
            Owner::Register => self.registration.failed(&mut self.line, now),
            Owner::Errand => self.errand_answered(now, None),
            Owner::Subscribe(id) => self.subscribe_answered(now, id, None),
            Owner::Invite(call) => self.with(call, |phone, call| {
                let ending = if call.given_up {
                    Ending::Cancelled
                } else {
                    Ending::Timeout
                };
                phone.over(call, ending);
            }),
            Owner::Change(call) => self.with(call, |phone, call| {
                call.change = None;
                if call.state == State::Up {
                    phone.leave(now, call, Ending::Timeout);
                }
            }),
            Owner::Refer(call) => self.with(call, |phone, call| {
                phone.refer_answered(now, call, None, sip::StatusCode(408));
            }),
            Owner::Bye(call) => self.with(call, |_, call| call.state = State::Gone),
            Owner::Nobody => {}
        }
    }

    fn request(&mut self, now: Instant, flow: Flow, request: &Message<'_>) {
        let line = &mut self.line;
        let received = line
            .transactions
            .receive_request(now, flow, request, &mut line.out);
        let Received::New(server) = received else {
            return;
        };
        let pending = Pending::new(server, flow, request);
        if !self.lets_in(now, &pending, request) {
            return;
        }
        let call = self
            .calls
            .values()
            .find(|call| call.matches(request))
            .map(|call| call.id);
        let in_dialog = request.to().is_ok_and(|to| to.tag().is_some());
        match (call, request.method()) {
            (Some(call), _) => {
                self.with(call, |phone, call| {
                    phone.in_dialog(now, call, &pending, request);
                });
            }
            (None, Some(Method::Ack)) => {}
            (None, Some(Method::Notify)) if self.shown(now, &pending, request) => {}
            (None, Some(Method::Invite)) if !in_dialog => self.called(now, flow, pending, request),
            (None, Some(Method::Options)) if !in_dialog => {
                let tag = self.line.mint.token();
                let allow = self.line.allow();
                self.line
                    .respond(now, &pending, 200, tag.as_str(), |mut writer| {
                        writer.header(HeaderName::Allow, allow);
                        writer.finish();
                    });
            }
            (None, Some(Method::Message)) if !in_dialog => {
                let tag = self.line.mint.token();
                let busy = matches!(self.line.manner.reply, Reply::Refuse(..));
                let status = if busy { 480 } else { 200 };
                self.line
                    .respond(now, &pending, status, tag.as_str(), |writer| {
                        writer.finish();
                    });
            }
            (None, Some(Method::Bye)) if self.is_siblings(request) => {
                self.line
                    .respond(now, &pending, 200, "", |writer| writer.finish());
            }
            (None, _) => {
                let tag = self.line.mint.token();
                self.line
                    .respond(now, &pending, 481, tag.as_str(), |writer| writer.finish());
            }
        }
    }

    fn is_siblings(&self, request: &Message<'_>) -> bool {
        let tag = request.to().ok().and_then(|to| to.tag());
        self.siblings
            .iter()
            .any(|sibling| Some(sibling.as_str()) == tag)
    }

    fn with(&mut self, id: u32, act: impl FnOnce(&mut Self, &mut Call)) {
        let Some(mut call) = self.calls.remove(&id) else {
            return;
        };
        act(self, &mut call);
        if call.state != State::Gone {
            self.calls.insert(id, call);
        }
    }

    fn each(&mut self, mut act: impl FnMut(&mut Self, &mut Call)) {
        for id in self.calls.keys().copied().collect::<Vec<_>>() {
            self.with(id, &mut act);
        }
    }

    fn number_call(&mut self) -> (u32, SocketAddr) {
        self.next_call += 1;
        let port = 30_000 + (self.next_call % 5000) as u16 * 4;
        (self.next_call, SocketAddr::new(self.media.ip(), port))
    }

    /// Writes down how a call ended.
    fn ended(&mut self, call: &Call, ending: Ending) {
        self.outcomes.push(Outcome {
            number: call.number.clone(),
            incoming: call.incoming,
            rang: call.rang,
            answered: call.answered,
            ending,
        });
    }

    /// The call is over without a BYE of ours.
    fn over(&mut self, call: &mut Call, ending: Ending) {
        if call.state != State::Leaving {
            self.ended(call, ending);
        }
        call.state = State::Gone;
    }

    /// Ends a call with BYE.
    fn leave(&mut self, now: Instant, call: &mut Call, ending: Ending) {
        if matches!(call.state, State::Leaving | State::Gone) {
            return;
        }
        self.ended(call, ending);
        call.state = State::Leaving;
        let owner = Owner::Bye(call.id);
        self.line
            .request(now, &mut call.dialog, Method::Bye, owner, |writer| {
                writer.finish();
            });
    }
}

/// How long a user thinks before trying again after a clash.
const THINK: Duration = Duration::from_millis(100);
