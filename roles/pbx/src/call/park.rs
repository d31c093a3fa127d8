//! Parked calls: whoever is transferred to an orbit waits there until somebody dials it.

use std::time::{Duration, Instant};

use media::Source;
use sip::StatusCode;

use super::{Alive, Call, Stage};
use crate::Step;
use crate::context::Context;
use crate::orbits::Parked;

/// A party waits in an orbit.
#[derive(Debug)]
pub(super) struct Parking {
    pub(super) place: Parked,
    /// Who is called when nobody has come.
    by: Box<str>,
    /// When that is; none: it has been called already.
    pub(super) until: Option<Instant>,
}

impl Call {
    /// Parks a party that has been transferred to `orbit`, or fetches the one that waits there for
    /// somebody who dials it.
    pub(super) fn park(mut self: Box<Self>, ctx: &mut Context<'_>, orbit: &str) -> Alive {
        if self.transfer.is_none() {
            return match ctx.services.orbits.at(orbit) {
                Some(tag) => {
                    self.dial_dialog(ctx, orbit, &format!("{tag};to-tag={tag};from-tag=0"))
                }
                None => self.fail_step(ctx, StatusCode(404)),
            };
        }
        let sought = self.sought();
        let by = self.side(sought).map(|leg| leg.party.number.clone());
        let Some(waits) = self.side(self.subject).map(|leg| leg.tag()) else {
            return Some(self);
        };
        let Some(place) = ctx.services.orbits.take(orbit, waits) else {
            return self.fail_step(ctx, StatusCode(486));
        };
        self.leave_room(ctx);
        self.parked = Some(Parking {
            place,
            by: by.unwrap_or_default(),
            until: Some(ctx.now + PATIENCE),
        });
        self.serve_source(ctx, Source::Music)
    }

    /// Nobody has come: the one who parked the party is called.
    pub(super) fn recall(mut self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        let busy = self.stage != Stage::Serving || self.is_changing();
        let Some(parked) = &mut self.parked else {
            return Some(self);
        };
        if busy {
            // Somebody is about to fetch the party; if nothing comes of it, it is called a little later.
            parked.until = Some(ctx.now + PAUSE);
            return Some(self);
        }
        parked.until = None;
        self.steps = vec![Step::Dial(parked.by.to_string())].into_iter();
        self.next_step(ctx)
    }
}

/// How long a recall waits for somebody who may fetch the party.
const PAUSE: Duration = Duration::from_secs(5);

/// How long a party waits in an orbit before whoever parked it is called.
const PATIENCE: Duration = Duration::from_secs(120);
