//! One phone: registers, calls, rings, answers, holds, hangs up.
//!
//! A [`Phone`] is an [`engine::Machine`] like every role: messages and commands in, messages and
//! events out, time as an argument. So the simulated world runs it beside the server, and a test
//! plays its user.
//!
//! ```
//! use std::time::Instant;
//! use engine::{Input, Machine, Out};
//! use sip::{Flow, Protocol};
//! use ue::phone::{Command, Event, Phone, Settings};
//!
//! let mut phone = Phone::new(Settings::new("1001", "secret", "example.com", Flow {
//!     protocol: Protocol::Udp,
//!     local: "192.0.2.9:5060".parse()?,
//!     remote: "192.0.2.1:5060".parse()?,
//!     connection: None,
//!     tls: sip::TlsPeer::ANY,
//! }), [7; 32]);
//! let mut out = Out::new();
//! phone.handle(Instant::now(), Input::Command(Command::Register), &mut out);
//! assert!(out.bytes.starts_with(b"REGISTER sip:example.com SIP/2.0\r\n"));
//! # Ok::<(), std::net::AddrParseError>(())
//! ```
//!
//! - `event`: commands and events.
//! - `registration`: REGISTER and its refresh.
//! - `description`: what is agreed about its sound.
//! - `call`: what a call is; `outgoing` and `incoming`: how it comes about and changes.
//! - `reply`: answering later than the request came.
//!
//! All messages go to one server, as those of most phones do. It sends no RTP, does not transfer
//! calls, and offers neither reliable provisional answers nor session timers; it takes part in what
//! the server does of these. [`voice`](crate::voice) speaks and listens for it.

mod call;
mod description;
mod event;
mod incoming;
mod outgoing;
mod registration;
mod reply;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use base::{Mint, Slot};
use codec::Codec;
use engine::{Input, Machine};
use media::MasterKey;
use sdp::Direction;
use sip::{
    Expired, Flow, HeaderName, Message, Method, Received, ServerKey, StatusCode, Transactions,
    Writer,
};

use crate::credentials::Challenge;
use call::Call;
pub use description::{Protection, Sound};
pub use event::{CallNumber, Command, End, Event, Failure};
use registration::{Registration, granted_seconds};
use reply::Reply;

/// Who a phone is, and what it can do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its user name.
    pub user: String,
    /// Its password.
    pub password: String,
    /// Its SIP domain.
    pub domain: String,
    /// The way to its server.
    pub server: Flow,
    /// Where its first call takes RTP; each further call takes the next even port.
    pub rtp: SocketAddr,
    /// What it offers and takes, favourite first.
    pub codecs: Vec<Codec>,
    /// Whether it says keys beside the sound (RFC 4733).
    pub keys: bool,
    /// How its sound is protected.
    pub protection: Protection,
    /// Most calls at a time; further ones are busy.
    pub calls: usize,
    /// How long a registration shall last, in seconds.
    pub expires: u32,
}

impl Settings {
    /// A phone with G.711, four calls at a time, RTP from port 40000 of its SIP address.
    #[must_use]
    pub fn new(user: &str, password: &str, domain: &str, server: Flow) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
            domain: domain.to_owned(),
            server,
            rtp: SocketAddr::new(server.local.ip(), 40_000),
            codecs: vec![Codec::Pcma, Codec::Pcmu],
            keys: false,
            protection: Protection::None,
            calls: 4,
            expires: 3600,
        }
    }
}

/// One phone.
#[derive(Debug)]
pub struct Phone {
    settings: Settings,
    mint: Mint,
    transactions: Transactions<Task, CallNumber>,
    registration: Registration,
    calls: BTreeMap<CallNumber, Call>,
    last_call: u32,
    /// Where the next call takes RTP, if that was said.
    rtp: Option<SocketAddr>,
}

type Out = engine::Out<Event>;

/// Why a request of ours was sent.
#[derive(Clone, Copy, Debug)]
struct Task {
    work: Work,
    /// It carries credentials already.
    challenged: bool,
}

#[derive(Clone, Copy, Debug)]
enum Work {
    Register,
    /// The first INVITE of a call, or a later one.
    Invite(CallNumber),
    Bye(CallNumber),
    /// BYE for an answer that came too late or from too many.
    Orphan,
}

impl Phone {
    /// A phone that is not registered. `seed` makes its identifiers: the same seed, the same ones.
    #[must_use]
    pub fn new(settings: Settings, seed: [u8; 32]) -> Self {
        let mut mint = Mint::new(Slot::new(0), seed);
        Self {
            transactions: Transactions::new(&mut mint),
            registration: Registration::new(mint.token(), mint.token()),
            calls: BTreeMap::new(),
            last_call: 0,
            rtp: None,
            mint,
            settings,
        }
    }

    /// The next call takes RTP here, and not where the settings say.
    pub fn take_rtp_at(&mut self, rtp: SocketAddr) {
        self.rtp = Some(rtp);
    }

    /// How many calls there are, in whatever state.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Whether nothing is under way: no call, no transaction.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.transactions.is_empty()
    }

    fn command(&mut self, now: Instant, command: Command, out: &mut Out) {
        match command {
            Command::Register => {
                self.registration.expires = self.settings.expires;
                self.register_in_turn(now, out);
            }
            Command::Unregister => {
                self.registration.expires = 0;
                self.register_in_turn(now, out);
            }
            Command::Dial(uri) => self.dial(now, &uri, out),
            Command::Ring(number) => self.ring(now, number, out),
            Command::Answer(number) => self.pick_up(now, number, out),
            Command::Reject(number, status) => self.reject(now, number, status, out),
            Command::HangUp(number) => self.hang_up(now, number, out),
            Command::Hold(number) => self.change(now, number, Direction::SendOnly, out),
            Command::Resume(number) => self.change(now, number, Direction::SendRecv, out),
        }
    }

    fn request(&mut self, now: Instant, flow: Flow, request: &Message<'_>, out: &mut Out) {
        let received = self.transactions.receive_request(now, flow, request, out);
        let (Received::New(key), Some(method)) = (received, request.method()) else {
            return;
        };
        let in_dialog = request.to().is_ok_and(|to| to.tag().is_some());
        match method {
            Method::Ack => self.confirmed(now, request, out),
            Method::Invite if in_dialog => self.changed(now, key, flow, request, out),
            Method::Invite => self.called(now, key, flow, request, out),
            Method::Cancel => self.cancelled(now, key, flow, request, out),
            Method::Bye => self.left(now, key, flow, request, out),
            Method::Update if in_dialog => self.changed(now, key, flow, request, out),
            Method::Options | Method::Message | Method::Notify | Method::Info | Method::Prack => {
                let is_known = !in_dialog || self.call_of(request).is_some();
                let status = if is_known { 200 } else { 481 };
                self.respond(now, key, flow, request, StatusCode(status), out);
            }
            _ => self.respond(now, key, flow, request, StatusCode(405), out),
        }
    }

    fn response(&mut self, now: Instant, response: &Message<'_>, out: &mut Out) {
        let Some(key) = self.transactions.receive_response(now, response, out) else {
            return;
        };
        let task = self.transactions.client(key).copied();
        let (Some(task), Some(status)) = (task, response.status()) else {
            return;
        };
        let is_challenge = matches!(status.0, 401 | 407) && !task.challenged;
        let challenge = is_challenge.then(|| Challenge::of_response(response));
        match (task.work, challenge.flatten()) {
            (Work::Register, challenge) => {
                self.registration_answered(now, status, response, challenge, out);
            }
            (Work::Invite(number), challenge) => {
                self.invite_answered(now, key, number, response, challenge, out);
            }
            (Work::Bye(number), Some(challenge)) => self.bye(now, number, Some(challenge), out),
            (Work::Bye(number), None) if status.is_final() => self.gone(number, out),
            (Work::Bye(_) | Work::Orphan, _) => {}
        }
    }

    fn timer(&mut self, now: Instant, out: &mut Out) {
        while let Some(expired) = self.transactions.expire(now, out) {
            match expired {
                Expired::Client(_, task) => self.failed(now, task, Failure::Timeout, out),
                Expired::Accepted(number) => self.unconfirmed(now, number, out),
                Expired::Provisional(_) => {}
            }
        }
        if self.registration.refresh.is_some_and(|at| at <= now) {
            self.register(now, None, out);
        }
    }

    /// A request got no answer.
    fn failed(&mut self, now: Instant, task: Task, failure: Failure, out: &mut Out) {
        match task.work {
            Work::Register => {
                self.registration.failed(now, true);
                out.events.push(Event::RegistrationFailed(failure));
                self.register_again(now, out);
            }
            Work::Invite(number) => self.invite_failed(now, number, failure, out),
            Work::Bye(number) => self.gone(number, out),
            Work::Orphan => {}
        }
    }

    /// Registers when the registration under way is answered (RFC 3261 §10.2).
    fn register_in_turn(&mut self, now: Instant, out: &mut Out) {
        if self.registration.is_pending {
            self.registration.again = true;
        } else {
            self.register(now, None, out);
        }
    }

    fn register(&mut self, now: Instant, challenge: Option<Challenge>, out: &mut Out) {
        let Settings {
            user,
            domain,
            server,
            ..
        } = &self.settings;
        let branch = self.mint.token();
        self.registration.cseq += 1;
        self.registration.is_pending = true;
        self.registration.asked = self.registration.expires;
        self.registration.refresh = None;
        let task = Task {
            work: Work::Register,
            challenged: challenge.is_some(),
        };
        let uri = format!("sip:{domain}");
        let mut bytes = Vec::with_capacity(512);
        let mut writer = Writer::request(&mut bytes, Method::Register, &uri);
        let (protocol, local) = (server.protocol.via_name(), server.local);
        let Registration {
            call_id,
            tag,
            cseq,
            expires,
            ..
        } = &self.registration;
        writer
            .header(
                HeaderName::Via,
                format_args!("SIP/2.0/{protocol} {local};rport;branch=z9hG4bK{branch}"),
            )
            .header(HeaderName::MaxForwards, 70)
            .header(
                HeaderName::From,
                format_args!("<sip:{user}@{domain}>;tag={tag}"),
            )
            .header(HeaderName::To, format_args!("<sip:{user}@{domain}>"))
            .header(HeaderName::CallId, call_id)
            .header(HeaderName::CSeq, format_args!("{cseq} REGISTER"))
            .header(HeaderName::Contact, format_args!("<{}>", self.contact()))
            .header(HeaderName::Expires, expires);
        let credentials = self.credentials(challenge, Method::Register, &uri, *cseq);
        if let Some((name, value)) = credentials {
            writer.header(name, value);
        }
        writer.finish();
        let (server, method) = (*server, Method::Register);
        self.transactions
            .request(now, server, method, branch, &bytes, task, out);
    }

    fn registration_answered(
        &mut self,
        now: Instant,
        status: StatusCode,
        response: &Message<'_>,
        challenge: Option<Challenge>,
        out: &mut Out,
    ) {
        let asked = self.registration.asked;
        let minimum = response.number(HeaderName::MinExpires).ok().flatten();
        match (status.0, challenge, minimum) {
            (..200, ..) => {}
            (_, Some(challenge), _) => self.register(now, Some(challenge), out),
            (200..300, ..) if asked == 0 => {
                self.registration.is_pending = false;
                out.events.push(Event::Unregistered);
            }
            (200..300, ..) => {
                let expires = granted_seconds(response, &self.contact(), asked);
                self.registration.granted(now, expires);
                out.events.push(Event::Registered { expires });
            }
            (423, _, Some(minimum)) if asked > 0 && minimum > asked && !self.registration.again => {
                self.registration.expires = minimum;
                self.register(now, None, out);
            }
            _ => {
                self.registration.failed(now, status.0 >= 500);
                let failure = Failure::Status(status);
                out.events.push(Event::RegistrationFailed(failure));
            }
        }
        self.register_again(now, out);
    }

    /// Does what was asked for while a registration was under way.
    fn register_again(&mut self, now: Instant, out: &mut Out) {
        if !self.registration.is_pending && std::mem::take(&mut self.registration.again) {
            self.register(now, None, out);
        }
    }

    /// The call that a request in a dialog belongs to.
    fn call_of(&self, request: &Message<'_>) -> Option<CallNumber> {
        let mut calls = self.calls.iter();
        calls.find_map(|(number, call)| call.matches(request).then_some(*number))
    }

    /// Answers a request at once.
    fn respond(
        &mut self,
        now: Instant,
        key: ServerKey,
        flow: Flow,
        request: &Message<'_>,
        status: StatusCode,
        out: &mut Out,
    ) {
        let tag = self.mint.token();
        let mut bytes = Vec::with_capacity(512);
        let mut writer = Writer::response_to(&mut bytes, request, &flow, status, tag.as_str());
        writer.header(HeaderName::Allow, ALLOW);
        writer.finish();
        self.transactions.respond(now, key, status, &bytes, out);
    }

    /// The header field that answers a challenge.
    fn credentials(
        &self,
        challenge: Option<Challenge>,
        method: Method<'_>,
        uri: &str,
        salt: u32,
    ) -> Option<(HeaderName, String)> {
        let Settings { user, password, .. } = &self.settings;
        challenge?.answer(method, uri, user, password, salt)
    }

    fn contact(&self) -> String {
        let Settings { user, server, .. } = &self.settings;
        if server.protocol.is_reliable() {
            format!("sip:{user}@{};transport={}", server.local, server.protocol)
        } else {
            format!("sip:{user}@{}", server.local)
        }
    }

    fn next_call(&mut self) -> (CallNumber, (SocketAddr, Option<MasterKey>)) {
        self.last_call = self.last_call.wrapping_add(1);
        let mut rtp = self.settings.rtp;
        let offset = (self.last_call % 1000) as u16 * 2;
        rtp.set_port(rtp.port().wrapping_add(offset));
        let rtp = self.rtp.take().unwrap_or(rtp);
        (CallNumber(self.last_call), (rtp, self.key()))
    }

    /// A key for a call, if keys are in descriptions.
    fn key(&mut self) -> Option<MasterKey> {
        let Protection::Sdes(profile) = self.settings.protection else {
            return None;
        };
        let bytes = std::iter::repeat_with(|| self.mint.number64().to_le_bytes()).flatten();
        let bytes: Vec<u8> = bytes.take(MasterKey::len_for(profile)).collect();
        MasterKey::parse(profile, &bytes).ok()
    }

    /// The call is over.
    fn end(&mut self, number: CallNumber, end: End, out: &mut Out) {
        if self.calls.remove(&number).is_some() {
            out.events.push(Event::Ended(number, end));
        }
    }
}

impl Machine for Phone {
    type Command = Command;
    type Event = Event;

    fn handle(&mut self, now: Instant, input: Input<'_, Command>, out: &mut Out) {
        match input {
            Input::Message { flow, message } if message.method().is_some() => {
                self.request(now, flow, message, out);
            }
            Input::Message { message, .. } => self.response(now, message, out),
            Input::Timer => self.timer(now, out),
            Input::Command(command) => self.command(now, command, out),
            Input::Unreachable { flow } => {
                for (_, task) in self.transactions.unreachable(&flow) {
                    self.failed(now, task, Failure::Unreachable, out);
                }
            }
            Input::Media(_) | Input::Answer(_) | Input::Wake => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let refresh = self.registration.refresh;
        [self.transactions.deadline(), refresh]
            .into_iter()
            .flatten()
            .min()
    }
}

const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO, MESSAGE, NOTIFY, PRACK";
