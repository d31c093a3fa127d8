//! What comes from the peer.

use std::net::SocketAddr;
use std::time::Instant;

use super::pair::{Flight, State};
use super::{Agent, EARLY, Early, Role};
use crate::Pair;
use crate::check::{Check, conflict, succeed};
use crate::stun::attribute::XOR_MAPPED_ADDRESS;
use crate::stun::{BINDING, Class, Message};

impl Agent {
    /// Takes a STUN message that came from `from` to the socket `local`; others are passed over.
    ///
    /// # Source
    /// RFC 8445 §7.2.5, §7.3.
    pub fn handle(&mut self, now: Instant, datagram: &[u8], from: SocketAddr, local: SocketAddr) {
        let Ok(message) = Message::parse(datagram) else {
            return;
        };
        if message.method() != BINDING || message.fingerprint() == Some(false) {
            return;
        }
        let path = Pair {
            local,
            remote: from,
        };
        match message.class() {
            Class::Request => self.on_request(now, &message, path),
            // It says that the peer lives, not that it consents.
            Class::Indication => {}
            Class::Success | Class::Error => self.on_response(now, &message, path),
        }
    }

    fn on_request(&mut self, now: Instant, request: &Message<'_>, path: Pair) {
        let to = request.transaction();
        if let Some(old) = &self.previous
            && Check::read(request, old).is_ok()
        {
            let old = old.clone();
            self.post(path, |out| succeed(to, path.remote, &old, out));
            return;
        }
        let local = self.local.clone();
        let check = match Check::read(request, &local) {
            Ok(check) => check,
            Err(refusal) => return self.post(path, |out| refusal.answer(to, &local, out)),
        };
        if !self.agrees_on_roles(&check) {
            return self.post(path, |out| conflict(to, &local, out));
        }
        self.post(path, |out| succeed(to, path.remote, &local, out));
        let early = Early {
            path,
            priority: check.priority,
            nominates: check.nominates,
        };
        if self.remote.is_some() {
            self.learn_and_check(now, early);
        } else if self.early.len() < EARLY {
            self.early.push(early);
        }
    }

    /// Settles who controls; `false` if the peer has to change its mind.
    ///
    /// # Source
    /// RFC 8445 §7.3.1.1.
    fn agrees_on_roles(&mut self, check: &Check) -> bool {
        let Some((controlling, tie_breaker)) = check.role else {
            return true;
        };
        if controlling != (self.role == Role::Controlling) {
            return true;
        }
        let wins = self.tie_breaker >= tie_breaker;
        match (self.role, wins) {
            (Role::Controlling, true) | (Role::Controlled, false) => false,
            (Role::Controlling, false) => {
                self.switch(Role::Controlled);
                true
            }
            (Role::Controlled, true) => {
                self.switch(Role::Controlling);
                true
            }
        }
    }

    fn switch(&mut self, role: Role) {
        self.role = role;
        for pair in &mut self.pairs {
            pair.nominated = false;
        }
    }

    fn on_response(&mut self, now: Instant, response: &Message<'_>, path: Pair) {
        if self.hears_consent(now, response, path) {
            return;
        }
        let Some(remote) = &self.remote else {
            return;
        };
        // Whoever can't sign is not the peer, and can't make a check fail either.
        if !response.is_signed_by(&remote.secret.key) {
            return;
        }
        let transaction = response.transaction();
        let mut places = 0..self.pairs.len();
        let found = places.find_map(|place| Some((place, self.pairs[place].land(transaction)?)));
        let Some((place, flight)) = found else {
            return;
        };
        if self.pairs[place].path != path {
            // RFC 8445 §7.2.5.2.1: the answer took another way than the check.
            return self.fail(place);
        }
        match (response.class(), response.error_code()) {
            (Class::Success, _) if response.address(XOR_MAPPED_ADDRESS).is_some() => {
                self.on_success(now, place, &flight);
            }
            (Class::Error, Some(487)) => self.on_conflict(place, &flight),
            _ => self.fail(place),
        }
    }

    /// # Source
    /// RFC 8445 §7.2.5.3. A mapped address that is none of ours makes no pair of its own here: it would be
    /// sent from the same socket as the one that was checked.
    fn on_success(&mut self, now: Instant, place: usize, flight: &Flight) {
        let pair = &mut self.pairs[place];
        pair.state = State::Succeeded;
        if pair.flight.is_some_and(|later| !later.nominates) {
            // It was triggered meanwhile, and has nothing more to find out.
            pair.flight = None;
        }
        let (foundation, nominated) = (pair.foundation, pair.nominated);
        self.triggered
            .retain(|queued| *queued != place || (nominated && !flight.nominates));
        self.thaw(foundation);
        self.first_valid.get_or_insert(now);
        match self.role {
            Role::Controlling if flight.nominates => self.select(now, place),
            Role::Controlled if nominated => self.accept_nomination(now, place),
            _ => {}
        }
    }

    /// # Source
    /// RFC 8445 §7.2.5.1.
    fn on_conflict(&mut self, place: usize, flight: &Flight) {
        let is_lite = self.remote.as_ref().is_some_and(|remote| remote.lite);
        let still = flight.controlling == (self.role == Role::Controlling);
        if still && !is_lite {
            self.switch(match self.role {
                Role::Controlling => Role::Controlled,
                Role::Controlled => Role::Controlling,
            });
        }
        self.pairs[place].state = State::Waiting;
        self.enqueue(place);
    }

    fn fail(&mut self, place: usize) {
        let pair = &mut self.pairs[place];
        pair.state = State::Failed;
        pair.nominated = false;
        pair.flight = None;
    }
}
