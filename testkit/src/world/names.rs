//! Name servers: what they know, and how long they think.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use engine::{Answer, Ask, Found, Question, Server};
use sip::Protocol;

use super::clock::Happening;
use super::{World, place};
use crate::dice::Dice;

/// How well name servers do their work. They know `phone3.sim`, which is the third phone.
#[derive(Clone, Debug)]
pub struct Names {
    /// Milliseconds until an answer.
    pub delay: Range<u32>,
    /// Percent of the questions that are never answered.
    pub silent: u32,
    /// Percent of the questions that find nothing.
    pub empty: u32,
    /// Percent of the answers that name first somebody who is not there.
    pub misleading: u32,
}

impl Names {
    /// All is known within 20 ms.
    #[must_use]
    pub const fn good() -> Self {
        Self {
            delay: 20..20,
            silent: 0,
            empty: 0,
            misleading: 0,
        }
    }

    /// Any name servers.
    #[must_use]
    pub fn random(dice: &mut Dice) -> Self {
        Self {
            delay: 1..dice.pick(&[30, 3000, 20_000]),
            silent: dice.pick(&[0, 0, 30]),
            empty: dice.pick(&[0, 0, 20]),
            misleading: dice.pick(&[0, 30]),
        }
    }
}

impl World {
    /// Changes how name servers work.
    pub fn set_names(&mut self, names: Names) {
        self.names = names;
    }

    /// Name servers know this name too.
    pub fn name(&mut self, name: &str, address: SocketAddr) {
        self.addresses.insert(name.to_owned(), address);
    }

    /// Puts a certificate on a web server.
    pub fn publish(&mut self, url: &str, certificate: stir::Certificate) {
        self.certificates
            .insert(url.to_owned(), Arc::new(certificate));
    }

    /// What the server asked is answered later, or never.
    pub(super) fn look_up(&mut self, asks: Vec<Ask>) {
        for Ask { id, question } in asks {
            self.tap.note(self.now, format!("asked: {question:?}"));
            if self.dice.chance(self.names.silent) {
                continue;
            }
            let found = match question {
                Question::Locate(server) => Found::Ways(self.ways_to(&server)),
                Question::Certificate(url) => {
                    let known = self.certificates.get(&*url).cloned();
                    Found::Certificate(known.ok_or(stir::Fault::Unreachable))
                }
            };
            let wait = self.dice.millis(self.names.delay.clone());
            self.plan(wait, Happening::Answer(Answer { id, found }));
        }
    }

    fn ways_to(&mut self, server: &Server) -> Vec<(Protocol, SocketAddr)> {
        if self.dice.chance(self.names.empty) {
            return Vec::new();
        }
        if let Some(address) = self.addresses.get(&*server.host) {
            return vec![(Protocol::Udp, *address)];
        }
        let known = self
            .seats
            .iter()
            .find(|seat| place::name(seat.number) == *server.host);
        let Some(seat) = known else {
            return Vec::new();
        };
        let protocol = seat.place.protocol();
        let address = match protocol {
            Protocol::Udp => seat.source,
            _ => seat.phone.contact_address(),
        };
        let nobody = SocketAddr::from(([198, 51, 100, 99], 5060));
        let misleading = self.dice.chance(self.names.misleading);
        let wrong = misleading.then_some((protocol, nobody));
        wrong.into_iter().chain([(protocol, address)]).collect()
    }
}
