//! What a call shows on the lines of its parties: lamps, presence, pickup.
//!
//! After each input the picture is derived from the call's state as a whole, so that no transition can
//! forget it; it is written to the shared [`store::Lines`] only if it differs from the last one.

use std::hash::{DefaultHasher, Hash, Hasher};

use media::Side;
use store::{Direction, LineDialog, LineState, Party};

use super::leg::{self, Leg};
use super::{Call, Stage};
use crate::context::Context;

/// What was last shown.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Names of the lines that the call stands on.
    lines: Vec<Box<str>>,
    /// Changes when the picture does.
    sign: u64,
}

impl Call {
    /// Shows the call as it is now.
    pub(crate) fn show(mut self: Box<Self>, ctx: &mut Context<'_>) -> Box<Self> {
        let sign = self.sign();
        if self.shown.sign != sign {
            self.draw(ctx, sign);
        }
        self
    }

    fn draw(&mut self, ctx: &mut Context<'_>, sign: u64) {
        let picture = self.picture(ctx);
        let lines: Vec<Box<str>> = picture.iter().map(|(line, _)| line.clone()).collect();
        let before = std::mem::replace(&mut self.shown, Shown { lines, sign });
        for line in before.lines {
            if !self.shown.lines.contains(&line) {
                self.leave(ctx, &line);
            }
        }
        for (line, dialog) in picture {
            if ctx.services.lines.set(&line, dialog) {
                ctx.changed(&line);
            }
        }
    }

    /// The call is over.
    pub(super) fn hide(&mut self, ctx: &mut Context<'_>) {
        for line in std::mem::take(&mut self.shown).lines {
            self.leave(ctx, &line);
        }
    }

    fn leave(&self, ctx: &mut Context<'_>, line: &str) {
        if ctx.services.lines.remove(line, self.id) {
            ctx.changed(line);
        }
    }

    /// The call as each line sees it. A line that calls itself shows one end.
    fn picture(&self, ctx: &Context<'_>) -> Vec<(Box<str>, LineDialog)> {
        let mut picture: Vec<(Box<str>, LineDialog)> = Vec::new();
        let mut add = |leg: &Leg, state, remote: Party| {
            let line = &leg.party.name;
            if !line.is_empty() && !picture.iter().any(|(known, _)| known[..] == line[..]) {
                picture.push((line[..].into(), self.dialog(leg, state, remote)));
            }
        };
        for leg in self.legs.iter().flatten() {
            let state = self.state_of(leg);
            let remote = match &self.legs[leg.side.other().index()] {
                Some(other) => shown(&other.party),
                None => dialled(ctx, &self.record.number),
            };
            add(leg, state, remote);
        }
        let subject = self.legs[self.subject.index()].as_ref();
        let seeker = subject.map_or_else(Party::default, |leg| shown(&leg.party));
        // Of several phones of a user one that rings stands for all.
        for (rings, state) in [(true, LineState::Early), (false, LineState::Trying)] {
            let forks = self.forks.iter().map(|fork| &fork.leg);
            forks
                .filter(|leg| leg.dialog.remote_tag.is_empty() != rings)
                .for_each(|leg| add(leg, state, seeker.clone()));
        }
        if let Some((parked, leg)) = self
            .parked
            .as_ref()
            .zip(self.legs[self.subject.index()].as_ref())
        {
            let dialog = self.dialog(leg, LineState::Confirmed, shown(&leg.party));
            picture.push((parked.place.orbit.clone(), dialog));
        }
        picture
    }

    fn dialog(&self, leg: &Leg, state: LineState, remote: Party) -> LineDialog {
        LineDialog {
            call: self.id,
            direction: match leg.side {
                Side::Caller => Direction::Initiator,
                Side::Callee => Direction::Recipient,
            },
            state,
            remote,
            call_id: leg.dialog.call_id.clone(),
            phone_tag: leg.dialog.remote_tag.clone(),
            our_tag: leg.tag(),
        }
    }

    fn state_of(&self, leg: &Leg) -> LineState {
        if leg.side == Side::Callee || self.invite.is_none() || self.stage == Stage::Talking {
            LineState::Confirmed
        } else if self.provisional.last.is_some() {
            LineState::Early
        } else {
            LineState::Trying
        }
    }

    /// All that the picture depends on, in one number.
    fn sign(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        let forks = self.forks.iter().map(|fork| &fork.leg);
        for leg in self.legs.iter().flatten().chain(forks) {
            (self.state_of(leg) as u8).hash(&mut hash);
            leg.tag().hash(&mut hash);
            leg.dialog.remote_tag.hash(&mut hash);
        }
        (
            self.subject.index(),
            self.forks.len(),
            self.parked.is_some(),
        )
            .hash(&mut hash);
        hash.finish()
    }
}

fn shown(party: &leg::Party) -> Party {
    Party {
        number: party.number[..].into(),
        display: party.display[..].into(),
    }
}

/// Whom a dialled number reaches, as others see them; else the number alone.
fn dialled(ctx: &Context<'_>, number: &str) -> Party {
    match ctx.config.user_at(number) {
        Some(user) => shown(&leg::Party::of_user(user)),
        None => Party {
            number: number.into(),
            display: Box::default(),
        },
    }
}
