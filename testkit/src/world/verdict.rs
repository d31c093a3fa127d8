//! What must hold in the end, and in between.

use std::time::Duration;

use pbx::Load;

use super::World;
use crate::phone::Command;
use crate::settings::MAX_CONTACTS;

impl World {
    /// Everybody goes home: all calls are hung up, no new ones are made, registrations run out. Then
    /// nothing may be left anywhere.
    pub fn settle(&mut self) {
        self.tap.note(self.now, "everybody goes home".to_owned());
        self.cut.clear();
        for phone in self.phones() {
            self.tell(phone, Command::Retire);
            self.tell(phone, Command::HangUp);
            // A user who was not free to hang up tries again.
            self.tell_after(Duration::from_secs(70), phone, Command::HangUp);
            self.tell_after(Duration::from_secs(140), phone, Command::HangUp);
        }
        self.check_registrations();
        let idle = |world: &Self| world.server.deadline().is_none() && world.next().is_none();
        let mut rests = self.run_until(Duration::from_secs(1000), idle);
        let said = self.tap.all().len();
        rests = rests || self.run_until(Duration::from_secs(3000), idle);
        let ledger = self.server.ledger();
        // Nobody tells the server of the end of a forwarded call whose phones cannot say BYE.
        let silent = |call| ledger.proxied.contains(call);
        if !rests && ledger.open().iter().all(silent) {
            rests = self.run_until(LONGEST_SILENCE, idle);
        }
        // Two ends of the server's own that phones have put together, such as an orbit and an echo, have
        // nobody who hangs up. No phone has a part in it: sessions with one are refreshed, and nothing
        // whatever has been said to any, or by any.
        let nobody = self.phones().all(|phone| self.at(phone).lines().is_empty());
        if !rests && nobody && self.tap.all().len() == said {
            self.operate(&pbx::Command::HangupAll);
            rests = self.run_until(Duration::from_secs(4000), idle);
        }
        if !rests {
            self.fault("the server or a phone never comes to rest".to_owned());
        }
        self.check_rest();
    }

    /// In a quiet world, calls that are up at one end must be up at the other, and both ends must
    /// think alike of what they have agreed on. Who has been put together by somebody else need not: a
    /// party that held its call still does, and the newcomer has never heard of it.
    pub fn check_calls(&mut self) {
        let strangers = self.tap.all().iter().any(|sent| sent.name() == "REFER");
        let lines: Vec<_> = self
            .phones()
            .flat_map(|phone| self.at(phone).lines())
            .filter(|line| line.up)
            .collect();
        let mut wrong = Vec::new();
        for line in &lines {
            let Some(port) = line.remote.map(|remote| remote.port()) else {
                continue;
            };
            if self.server.media.sends_to(port) != Some(line.rtp) {
                wrong.push(format!("media does not reach {line:?}"));
            }
            let Some(address) = self.server.media.reaches(port) else {
                if !self.server.media.is_served(port) {
                    wrong.push(format!("nobody hears {line:?}"));
                }
                continue;
            };
            match lines.iter().find(|other| other.rtp == address) {
                None => wrong.push(format!("the other end of {line:?} is gone")),
                Some(other)
                    if !strangers && other.state != (line.state.0.mirrored(), line.state.1) =>
                {
                    wrong.push(format!("{line:?} and {other:?} do not agree"));
                }
                Some(_) => {}
            }
        }
        wrong.into_iter().for_each(|fault| self.fault(fault));
    }

    /// In a quiet world every lamp shows what there is.
    pub fn check_lamps(&mut self) {
        let mut wrong = Vec::new();
        for watch in self.phones().flat_map(|phone| self.at(phone).watches()) {
            let valid = watch.until.is_some_and(|until| until > self.now);
            let Some(mut states) = watch.states.filter(|_| valid && watch.event == "dialog") else {
                continue;
            };
            let shown = self.server.lines().of(&watch.whom);
            let mut truth: Vec<_> = shown
                .iter()
                .map(|dialog| format!("{:?}", dialog.state).to_lowercase())
                .collect();
            states.sort();
            truth.sort();
            if states != truth {
                wrong.push(format!(
                    "the lamp of {} shows {states:?}, and it is {truth:?}",
                    watch.whom
                ));
            }
        }
        wrong.into_iter().for_each(|fault| self.fault(fault));
    }

    pub(super) fn check_rest(&mut self) {
        let load = self.server.load();
        let mut left = Vec::new();
        if load != Load::default() {
            let inside = self.server.remains().join("\n");
            left.push(format!("{load:?} is left in the server: {inside}"));
        }
        if self.server.counted_calls() != 0 {
            left.push(format!("{} calls are counted", self.server.counted_calls()));
        }
        if self.server.ledger().open_calls() != 0 {
            left.push("a call has no record of its end".to_owned());
        }
        if !self.server.lines().is_empty() {
            left.push(format!("lamps are lit: {:?}", self.server.lines()));
        }
        if !self.server.watchers().is_empty() {
            left.push(format!("somebody watches: {:?}", self.server.watchers()));
        }
        if !self.server.orbits().is_empty() {
            left.push(format!("calls are parked: {:?}", self.server.orbits()));
        }
        if !self.server.rooms().is_empty() {
            left.push(format!("somebody confers: {:?}", self.server.rooms()));
        }
        if !self.server.media.is_idle() {
            let ports = self.server.media.ports_in_use();
            left.push(format!("{ports} ports are in use: {:?}", self.server.media));
        }
        if !self.server.lines().is_empty() || !self.server.watchers().is_empty() {
            left.push("a line is still shown, or watched".to_owned());
        }
        if !self.server.bindings().is_empty() {
            left.push("bindings have not run out".to_owned());
        }
        for phone in self.phones().filter(|phone| self.is_alive(*phone)) {
            if self.at(phone).calls() != 0 {
                left.push(format!(
                    "{phone:?} still has a call: {:?}",
                    self.at(phone).lines()
                ));
            }
        }
        self.judge.conclude();
        self.collect_faults();
        self.faults.extend(left);
    }

    /// Registrations that the server has confirmed must be known to it.
    pub fn check_registrations(&mut self) {
        for phone in self.phones() {
            let known = self.at(phone);
            let valid = known
                .registered_until()
                .is_some_and(|until| until > self.now + Duration::from_secs(2));
            let wiped = self.wiped.contains(known.user());
            let gone = known.is_unregistered();
            if !valid && !gone || valid && wiped || self.down_until.is_some() {
                continue;
            }
            let contact = known.contact();
            let bindings = self.server.bindings().lookup(known.user());
            let bindings = bindings.as_deref().unwrap_or_default();
            let bound = bindings
                .iter()
                .any(|bound| format!("<{}>", bound.uri) == contact);
            // A phone that was silent makes room for one more than there may be.
            let full = bindings.len() >= MAX_CONTACTS;
            if valid && !bound && !full {
                self.fault(format!("the confirmed registration of {phone:?} is gone"));
            }
            if gone && bound {
                self.fault(format!("the registration that {phone:?} removed is there"));
            }
        }
    }

    pub(super) fn fault(&mut self, what: String) {
        self.tap.note(self.now, format!("WRONG: {what}"));
        self.faults.push(what);
    }

    pub(super) fn collect_faults(&mut self) {
        let mut faults = std::mem::take(&mut self.judge.faults);
        faults.append(&mut self.server.faults);
        faults.append(&mut self.server.media.take_faults());
        for fault in faults {
            self.fault(fault);
        }
    }
}

/// For so long the server keeps the record of a forwarded call of which nothing is heard, and then some.
const LONGEST_SILENCE: Duration = Duration::from_secs(13 * 3600);
