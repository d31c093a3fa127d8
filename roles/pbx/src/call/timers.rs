//! The deadlines of a call.

use std::time::{Duration, Instant};

use media::Side;

use super::{Alive, Call, Stage};
use crate::Cause;
use crate::context::Context;

impl Call {
    /// When the call wants [`expire`](Self::expire).
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let ringing = match self.stage {
            Stage::Ringing { until } => Some(until),
            _ => None,
        };
        let legs = [Some(&self.caller), self.callee.as_ref()]
            .into_iter()
            .flatten();
        let sessions = legs
            .filter(|leg| leg.refresh.is_none())
            .filter_map(|leg| leg.timer.map(|timer| timer.due));
        sessions.chain(ringing).chain(self.ends_at).min()
    }

    /// Does what is due.
    pub(crate) fn expire(mut self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        match self.stage {
            Stage::Ringing { until } if until <= ctx.now => return self.ring_timeout(ctx),
            _ => {}
        }
        if self.ends_at.is_some_and(|at| at <= ctx.now) {
            return self.end(ctx, Cause::MaxDuration, None);
        }
        let call = self.id;
        for side in [Side::Caller, Side::Callee] {
            let busy = self.is_changing(side);
            let Some(leg) = self.side(side) else { continue };
            match leg.timer.as_mut() {
                Some(timer) if timer.due > ctx.now || leg.refresh.is_some() => {}
                // RFC 3261 §14.1: one INVITE at a time.
                Some(timer) if timer.ours && busy && !leg.takes_update => {
                    timer.due = ctx.now + PAUSE;
                }
                Some(timer) if timer.ours => leg.keep_alive(ctx, call, false),
                Some(_) => return self.end(ctx, Cause::SessionTimeout, None),
                None => {}
            }
        }
        Some(self)
    }

    /// No media has come for a while: asks the parties whether they are still there.
    pub(crate) fn silent(mut self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        let call = self.id;
        for side in [Side::Caller, Side::Callee] {
            let busy = self.is_changing(side);
            if let Some(leg) = self.side(side).filter(|_| !busy) {
                leg.keep_alive(ctx, call, true);
            }
        }
        Some(self)
    }
}

/// How long a refresh waits for a change to be over.
const PAUSE: Duration = Duration::from_secs(1);
