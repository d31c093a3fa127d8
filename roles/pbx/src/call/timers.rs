//! The deadlines of a call.

use std::time::{Duration, Instant};

use media::Side;

use super::fork::Fork;
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
        let sessions = self
            .legs
            .iter()
            .flatten()
            .filter_map(|leg| match leg.refresh {
                Some(refresh) => Some(refresh.until),
                None => leg.timer.map(|timer| timer.due),
            });
        let exchange = self.exchange.as_ref().map(|exchange| exchange.until);
        let waiting = self.waiting.as_ref().and_then(|waiting| waiting.until);
        let parked = self.parked.as_ref().and_then(|parked| parked.until);
        let silent = self.forks.iter().filter_map(Fork::give_up);
        sessions
            .chain(ringing)
            .chain(silent)
            .chain(exchange)
            .chain(waiting)
            .chain(parked)
            .chain(self.ends_at)
            .min()
    }

    /// Does what is due.
    pub(crate) fn expire(mut self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        if let Stage::Ringing { until } = self.stage
            && until <= ctx.now
        {
            return self.ring_timeout(ctx);
        }
        let silent = |fork: &Fork| fork.give_up().is_some_and(|at| at <= ctx.now);
        if let Some(index) = self.forks.iter().position(silent) {
            return self.fork_silent(ctx, index);
        }
        if self.ends_at.is_some_and(|at| at <= ctx.now) {
            return self.end(ctx, Cause::MaxDuration, None);
        }
        if self
            .exchange
            .as_ref()
            .is_some_and(|exchange| exchange.until <= ctx.now)
        {
            return self.end(ctx, Cause::SessionTimeout, None);
        }
        if let Some(waiting) = &mut self.waiting
            && waiting.until.is_some_and(|until| until <= ctx.now)
        {
            waiting.until = None;
            return self.resume_change(ctx);
        }
        if let Some(parked) = &mut self.parked
            && parked.until.is_some_and(|until| until <= ctx.now)
        {
            return self.recall(ctx);
        }
        for side in [Side::Caller, Side::Callee] {
            if let Some(cause) = self.expire_leg(ctx, side) {
                return self.end(ctx, cause, None);
            }
        }
        Some(self)
    }

    /// Refreshes the session of a leg if it is time to, or tells why it is over.
    fn expire_leg(&mut self, ctx: &mut Context<'_>, side: Side) -> Option<Cause> {
        let call = self.id;
        let changing = self.is_changing();
        let leg = self.side(side)?;
        if let Some(refresh) = leg.refresh {
            let lost = if refresh.probe {
                Cause::MediaTimeout
            } else {
                Cause::SessionTimeout
            };
            return (refresh.until <= ctx.now).then_some(lost);
        }
        let timer = leg.timer.as_mut().filter(|timer| timer.due <= ctx.now)?;
        if timer.expires <= ctx.now {
            return Some(Cause::SessionTimeout);
        }
        if changing || leg.unacknowledged.is_some() {
            // One INVITE at a time (RFC 3261 §14.1); the change under way refreshes the session anyway.
            timer.due = timer.expires.min(ctx.now + PAUSE);
        } else {
            leg.keep_alive(ctx, call, false);
        }
        None
    }

    /// Whether an offer of one party is on its way to the other.
    pub(super) fn is_changing(&self) -> bool {
        self.exchange.is_some() || self.waiting.is_some() || self.late_ack.is_some()
    }

    /// No media has come for a while: asks the parties whether they are still there.
    pub(crate) fn silent(mut self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        let call = self.id;
        if self.invite.is_none() && !self.is_changing() {
            for side in [Side::Caller, Side::Callee] {
                if let Some(leg) = self.side(side).filter(|leg| leg.unacknowledged.is_none()) {
                    leg.keep_alive(ctx, call, true);
                }
            }
        }
        Some(self)
    }
}

/// How long a refresh waits for a change that is under way.
const PAUSE: Duration = Duration::from_secs(2);
