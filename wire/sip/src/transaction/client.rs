//! Client transactions: RFC 3261 §17.1 with RFC 6026 §7.2.

use std::time::{Duration, Instant};

use super::length::rename_transport;
use super::{Fate, GIVE_UP, T1, T2, T4, Timer, Transmit};
use crate::header::HeaderName;
use crate::{Flow, Message, Method, Protocol, StatusCode, Writer};

/// One client transaction.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) timer: Timer,
    method: Method<'static>,
    state: State,
    flow: Flow,
    /// It goes over a stream because it is long, and may go as a datagram if that fails.
    may_fall_back: bool,
    request: Box<[u8]>,
    /// The ACK of a refusal while repetitions of it may come.
    ack: Option<Box<[u8]>>,
    /// The CANCEL that waits for a provisional response.
    cancel: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// No answer yet; repeated at growing intervals (timers A, E) until `end` (B, F).
    Calling { interval: Duration, end: Instant },
    /// A provisional answer came. Non-INVITE requests go on being repeated at T2 (E) until `end` (F);
    /// an INVITE waits as long as its user does.
    Proceeding { end: Option<Instant> },
    /// An INVITE was answered 2xx; repetitions of it go up (M).
    Accepted,
    /// A final answer was given up; repetitions are absorbed (D, K).
    Completed,
}

impl Client {
    pub(super) fn new(now: Instant, flow: Flow, method: Method<'_>, request: &[u8]) -> Self {
        let state = State::Calling {
            interval: T1,
            end: now + GIVE_UP,
        };
        let mut timer = Timer::default();
        timer.set(if flow.protocol.is_reliable() {
            now + GIVE_UP
        } else {
            now + T1
        });
        Self {
            timer,
            method: method.detach(),
            state,
            flow,
            may_fall_back: false,
            request: request.into(),
            ack: None,
            cancel: None,
        }
    }

    pub(super) fn method(&self) -> Method<'static> {
        self.method
    }

    pub(super) fn flow(&self) -> Flow {
        self.flow
    }

    pub(super) fn waits_for(&self, flow: &Flow) -> bool {
        let same_connection = flow.connection.is_none()
            || self.flow.connection.is_none()
            || flow.connection == self.flow.connection;
        self.flow.same_peer(flow) && same_connection && matches!(self.state, State::Calling { .. })
    }

    /// Allows the request, which goes over a stream, to go as a datagram if nothing is heard by `until`.
    pub(super) fn allow_datagram(&mut self, until: Instant) {
        self.may_fall_back = true;
        self.timer.set(until);
    }

    /// Whether the stream has been tried in vain.
    pub(super) fn is_to_fall_back(&self, now: Instant) -> bool {
        self.may_fall_back && matches!(self.state, State::Calling { .. }) && self.timer.is_due(now)
    }

    /// Makes the stream's time be over, if there is another way; the next expiry does the rest.
    pub(super) fn give_up_stream(&mut self) -> bool {
        if let (State::Calling { end, .. }, true) = (self.state, self.may_fall_back) {
            self.timer.set(end.checked_sub(GIVE_UP).unwrap_or(end));
            return true;
        }
        false
    }

    /// Sends the request as a datagram, and from now on repeats it.
    pub(super) fn fall_back(&mut self, now: Instant, out: &mut impl Transmit) {
        self.may_fall_back = false;
        self.flow = Flow {
            protocol: Protocol::Udp,
            connection: None,
            ..self.flow
        };
        rename_transport(&mut self.request, Protocol::Udp);
        out.transmit(self.flow, &self.request);
        if let State::Calling { interval, .. } = &mut self.state {
            *interval = T1;
        }
        self.timer.set(now + T1);
    }

    pub(super) fn disarm(&mut self, now: Instant) {
        self.timer.disarm(now);
    }

    /// Takes a response; tells whether the user wants to see it.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        status: StatusCode,
        response: &Message<'_>,
        out: &mut impl Transmit,
    ) -> bool {
        match self.state {
            State::Completed => {
                if let Some(ack) = self.ack.as_deref().filter(|_| status.is_final()) {
                    out.transmit(self.flow, ack);
                }
                return false;
            }
            State::Accepted => return status.is_success(),
            State::Calling { end, .. } if status.is_provisional() => self.proceed(now, end),
            State::Proceeding { .. } if status.is_provisional() => {}
            _ => self.complete(now, status, response, out),
        }
        true
    }

    fn proceed(&mut self, now: Instant, end: Instant) {
        if self.method == Method::Invite {
            self.state = State::Proceeding { end: None };
            self.timer.stop();
            return;
        }
        self.state = State::Proceeding { end: Some(end) };
        self.timer.set(if self.flow.protocol.is_reliable() {
            end
        } else {
            end.min(now + T2)
        });
    }

    fn complete(
        &mut self,
        now: Instant,
        status: StatusCode,
        response: &Message<'_>,
        out: &mut impl Transmit,
    ) {
        self.cancel = None;
        let reliable = self.flow.protocol.is_reliable();
        let keep = match (self.method == Method::Invite, status.is_success()) {
            (true, true) => GIVE_UP,
            (true, false) => {
                let ack = self.derive(Method::Ack, response.header(HeaderName::To), None);
                out.transmit(self.flow, &ack);
                self.ack = Some(ack.into());
                if reliable { Duration::ZERO } else { GIVE_UP }
            }
            (false, _) if reliable => Duration::ZERO,
            (false, _) => T4,
        };
        let accepted = self.method == Method::Invite && status.is_success();
        self.state = if accepted {
            State::Accepted
        } else {
            State::Completed
        };
        self.timer.set(now + keep);
        if self.method != Method::Invite || accepted {
            self.request = Box::default();
        }
    }

    /// The CANCEL to send now, if the time has come; it waits for a provisional response otherwise.
    pub(super) fn cancel(&mut self, now: Instant, reason: Option<&str>) -> Option<Vec<u8>> {
        if self.method != Method::Invite || self.cancel.is_some() {
            return None;
        }
        let cancel = self.derive(Method::Cancel, None, reason);
        match self.state {
            State::Calling { .. } => {
                self.cancel = Some(cancel);
                None
            }
            State::Proceeding { end: None } => {
                self.expect_end(now);
                Some(cancel)
            }
            _ => None,
        }
    }

    /// The CANCEL that had to wait, once a provisional response has come.
    pub(super) fn take_cancel(&mut self, now: Instant) -> Option<(Vec<u8>, Flow)> {
        if !matches!(self.state, State::Proceeding { .. }) {
            return None;
        }
        let cancel = self.cancel.take()?;
        self.expect_end(now);
        Some((cancel, self.flow))
    }

    pub(super) fn expire(&mut self, now: Instant, out: &mut impl Transmit) -> Fate {
        if !self.timer.is_due(now) {
            return Fate::Lives;
        }
        match self.state {
            State::Accepted | State::Completed => Fate::Over,
            State::Calling { end, .. } | State::Proceeding { end: Some(end) } if now >= end => {
                Fate::TimedOut
            }
            State::Calling { interval, end } => {
                out.transmit(self.flow, &self.request);
                let cap = if self.method == Method::Invite {
                    GIVE_UP
                } else {
                    T2
                };
                let interval = (interval * 2).min(cap);
                self.state = State::Calling { interval, end };
                self.timer.set(end.min(now + interval));
                Fate::Lives
            }
            State::Proceeding { end: Some(end) } => {
                if self.method != Method::Invite {
                    out.transmit(self.flow, &self.request);
                }
                self.timer.set(end.min(now + T2));
                Fate::Lives
            }
            State::Proceeding { end: None } => Fate::Lives,
        }
    }

    /// After CANCEL a final answer must come within 64×T1 (RFC 3261 §9.1).
    fn expect_end(&mut self, now: Instant) {
        self.state = State::Proceeding {
            end: Some(now + GIVE_UP),
        };
        self.timer.set(now + GIVE_UP);
    }

    /// ACK of a refusal (RFC 3261 §17.1.1.3) or CANCEL (§9.1), made from the request.
    fn derive(&self, method: Method<'_>, to: Option<&str>, reason: Option<&str>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.request.len());
        // The request is one that we wrote.
        let Ok(request) = Message::parse(&self.request) else {
            return bytes;
        };
        let mut writer = Writer::request(&mut bytes, method, request.request_uri());
        if let Some(via) = request.values(HeaderName::Via).next() {
            writer.header(HeaderName::Via, via);
        }
        writer
            .copy(&request, HeaderName::Route)
            .copy(&request, HeaderName::From);
        match to {
            Some(to) => writer.header(HeaderName::To, to),
            None => writer.copy(&request, HeaderName::To),
        };
        writer.copy(&request, HeaderName::CallId);
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        writer.header(HeaderName::CSeq, format_args!("{number} {method}"));
        writer.header(HeaderName::MaxForwards, 70);
        if let Some(reason) = reason {
            writer.header(HeaderName::Reason, reason);
        }
        writer.finish();
        bytes
    }
}
