//! One thing after the other.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use engine::Answer;
use sip::Flow;

use super::{Fate, PhoneId, World};
use crate::phone::Command;

#[derive(Debug)]
pub(super) enum Happening {
    Tell(PhoneId, Command),
    Unreachable(Flow),
    Heal,
    Answer(Answer),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) at: Instant,
    pub(super) number: u64,
    pub(super) happening: Happening,
}

impl World {
    pub(super) fn plan(&mut self, wait: Duration, happening: Happening) {
        self.entries += 1;
        let (at, number) = (self.now + wait, self.entries);
        self.agenda.push(Reverse(Entry {
            at,
            number,
            happening,
        }));
    }

    /// When something happens next.
    pub(super) fn next(&self) -> Option<Instant> {
        let phones = self
            .seats
            .iter()
            .filter(|seat| seat.fate == Fate::Lives)
            .filter_map(|seat| seat.phone.deadline());
        let agenda = self.agenda.peek().map(|Reverse(entry)| entry.at);
        let server = if self.down_until.is_some() {
            self.down_until
        } else {
            [self.server.deadline(), self.server.media.next()]
                .into_iter()
                .flatten()
                .min()
        };
        [agenda, self.network.next(), server]
            .into_iter()
            .flatten()
            .chain(phones)
            .min()
    }

    /// The next thing happens, if it does before `end`.
    pub(super) fn step(&mut self, end: Instant) -> bool {
        let Some(at) = self.next().filter(|at| *at <= end) else {
            return false;
        };
        self.now = at.max(self.now);
        self.still = match self.still {
            (last, count) if last == self.now => (last, count + 1),
            _ => (self.now, 0),
        };
        assert!(self.still.1 < 100_000, "time stands still");
        if let Some(packet) = self.network.receive(self.now) {
            self.arrive(&packet);
        } else if self
            .agenda
            .peek()
            .is_some_and(|Reverse(entry)| entry.at <= self.now)
        {
            if let Some(Reverse(entry)) = self.agenda.pop() {
                self.happen(entry.happening);
            }
        } else {
            self.expire();
        }
        self.collect_faults();
        true
    }

    pub(super) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tell(phone, command) => {
                if !self.is_alive(phone) {
                    return;
                }
                self.tap.note(self.now, format!("{phone:?}: {command:?}"));
                let seat = &mut self.seats[phone.0];
                if command == (Command::Unregister { all: true }) {
                    self.wiped.insert(seat.phone.user().to_owned());
                }
                seat.phone.command(self.now, &command);
                self.drain_phone(phone);
            }
            Happening::Unreachable(flow) => {
                if self.down_until.is_none() {
                    self.judge.unreachable(self.now, flow.remote);
                    self.server.unreachable(self.now, flow);
                    self.drain_server();
                }
            }
            Happening::Heal => self.cut.clear(),
            Happening::Answer(answer) => {
                if self.down_until.is_none() {
                    self.server.answer(self.now, answer);
                    self.drain_server();
                }
            }
        }
    }

    pub(super) fn expire(&mut self) {
        if self.down_until.is_some_and(|until| until <= self.now) {
            self.down_until = None;
            self.tap.note(self.now, "the server is back".to_owned());
            self.judge.crashed();
            self.server.restart(self.now);
            for phone in self.phones() {
                self.come_back(phone);
            }
            self.check_registrations();
        }
        if self.down_until.is_none() {
            self.server.expire(self.now);
            self.drain_server();
            self.hear_media();
        }
        for phone in self.phones() {
            let seat = &mut self.seats[phone.0];
            if seat.fate == Fate::Lives && seat.phone.deadline().is_some_and(|at| at <= self.now) {
                seat.phone.expire(self.now);
                self.drain_phone(phone);
            }
        }
    }

    pub(super) fn hear_media(&mut self) {
        let seats = &self.seats;
        let sending = |address: SocketAddr| {
            seats
                .iter()
                .any(|seat| seat.fate == Fate::Lives && seat.phone.sends_from(address))
        };
        let mut events = Vec::new();
        while let Some(event) = self.server.media.speak(self.now, sending) {
            events.push(event);
        }
        for event in events {
            if self.down_until.is_none() {
                self.server.media_event(self.now, event);
                self.drain_server();
            }
        }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
