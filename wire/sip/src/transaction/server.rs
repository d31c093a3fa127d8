//! Server transactions: RFC 3261 §17.2 with RFC 6026 §7.1.

use std::time::{Duration, Instant};

use super::{Fate, GIVE_UP, T1, T2, T4, Timer, Transmit};
use crate::{Flow, Method, StatusCode};

/// One server transaction.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) timer: Timer,
    invite: bool,
    state: State,
    flow: Flow,
    /// The last response, for repetitions.
    response: Box<[u8]>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// No final answer yet.
    Proceeding,
    /// A reliable provisional answer is repeated until its PRACK (RFC 3262 §3).
    Provisional(Repeat),
    /// INVITE answered 2xx, repeated until its ACK.
    Accepted(Repeat),
    /// INVITE answered 2xx, which is acknowledged or not ours to repeat; repetitions of the INVITE are
    /// absorbed (timer L).
    Acknowledged,
    /// INVITE refused, repeated until its ACK (timers G and H).
    Refused(Repeat),
    /// Answered; repetitions are absorbed (timers I and J).
    Completed,
}

/// A response that is repeated at growing intervals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Repeat {
    interval: Duration,
    end: Instant,
}

impl Server {
    pub(super) fn new(now: Instant, method: Method<'_>, flow: Flow) -> Self {
        let invite = method == Method::Invite;
        let mut timer = Timer::default();
        if !invite {
            // The client has given up by then (timer F), so an answer would help nobody.
            timer.set(now + GIVE_UP);
        }
        Self {
            timer,
            invite,
            state: State::Proceeding,
            flow,
            response: Box::default(),
        }
    }

    pub(super) fn is_provisional(&self) -> bool {
        matches!(self.state, State::Provisional(_))
    }

    pub(super) fn disarm(&mut self, now: Instant) {
        self.timer.disarm(now);
    }

    /// Takes a repeated request or an ACK. `false`: it is an ACK that the user must see.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        method: Method<'_>,
        out: &mut impl Transmit,
    ) -> bool {
        if method == Method::Ack {
            return match self.state {
                State::Refused(_) => {
                    self.state = State::Completed;
                    self.timer.set(if self.flow.protocol.is_reliable() {
                        now
                    } else {
                        now + T4
                    });
                    true
                }
                // A 2xx is acknowledged under another branch; a peer that reuses the INVITE's is heard too.
                State::Accepted(_) | State::Acknowledged => false,
                _ => true,
            };
        }
        let repeats = matches!(
            self.state,
            State::Proceeding | State::Provisional(_) | State::Refused(_)
        ) || self.state == State::Completed && !self.invite;
        if repeats && !self.response.is_empty() {
            out.transmit(self.flow, &self.response);
        }
        true
    }

    pub(super) fn respond(
        &mut self,
        now: Instant,
        status: StatusCode,
        response: &[u8],
        out: &mut impl Transmit,
    ) {
        if !matches!(self.state, State::Proceeding | State::Provisional(_)) {
            return;
        }
        out.transmit(self.flow, response);
        if status.is_provisional() {
            if self.state == State::Proceeding {
                self.response = response.into();
            }
            return;
        }
        self.response = response.into();
        let reliable = self.flow.protocol.is_reliable();
        let repeat = Repeat {
            interval: T1,
            end: now + GIVE_UP,
        };
        match (self.invite, status.is_success()) {
            (true, true) => {
                self.state = State::Accepted(repeat);
                self.timer.set(now + T1);
            }
            (true, false) => {
                self.state = State::Refused(repeat);
                self.timer.set(if reliable { repeat.end } else { now + T1 });
            }
            (false, _) => {
                self.state = State::Completed;
                self.timer.set(if reliable { now } else { now + GIVE_UP });
            }
        }
    }

    /// RFC 6026 §7.1: in Accepted the user's 2xx responses are passed, and none is repeated.
    pub(super) fn relay_success(&mut self, now: Instant, response: &[u8], out: &mut impl Transmit) {
        match self.state {
            State::Proceeding | State::Provisional(_) => {
                self.state = State::Acknowledged;
                self.response = Box::default();
                self.timer.set(now + GIVE_UP);
            }
            State::Acknowledged => {}
            _ => return,
        }
        out.transmit(self.flow, response);
    }

    pub(super) fn respond_reliably(
        &mut self,
        now: Instant,
        response: &[u8],
        out: &mut impl Transmit,
    ) {
        if !matches!(self.state, State::Proceeding | State::Provisional(_)) {
            return;
        }
        out.transmit(self.flow, response);
        self.response = response.into();
        self.state = State::Provisional(Repeat {
            interval: T1,
            end: now + GIVE_UP,
        });
        self.timer.set(now + T1);
    }

    pub(super) fn acknowledge_provisional(&mut self) {
        if self.is_provisional() {
            self.state = State::Proceeding;
            self.timer.stop();
        }
    }

    pub(super) fn acknowledge(&mut self, now: Instant) {
        if let State::Accepted(repeat) = self.state {
            self.state = State::Acknowledged;
            self.response = Box::default();
            self.timer.set(repeat.end.max(now));
        }
    }

    pub(super) fn expire(&mut self, now: Instant, out: &mut impl Transmit) -> Fate {
        if !self.timer.is_due(now) {
            return Fate::Lives;
        }
        let (State::Provisional(repeat) | State::Accepted(repeat) | State::Refused(repeat)) =
            self.state
        else {
            return if self.state == State::Proceeding && self.invite {
                Fate::Lives
            } else {
                Fate::Over
            };
        };
        if now >= repeat.end {
            return if matches!(self.state, State::Refused(_)) {
                Fate::Over
            } else {
                Fate::TimedOut
            };
        }
        out.transmit(self.flow, &self.response);
        self.repeat_later(now, repeat);
        Fate::Lives
    }

    fn repeat_later(&mut self, now: Instant, repeat: Repeat) {
        // Provisional responses double without T2 as a ceiling (RFC 3262 §3).
        let ceiling = if self.is_provisional() { GIVE_UP } else { T2 };
        let next = Repeat {
            interval: (repeat.interval * 2).min(ceiling),
            end: repeat.end,
        };
        self.state = match self.state {
            State::Provisional(_) => State::Provisional(next),
            State::Accepted(_) => State::Accepted(next),
            _ => State::Refused(next),
        };
        self.timer.set(next.end.min(now + next.interval));
    }
}
