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
            .chain(self.pin_deadline())
            .chain(self.speech_deadline())
            .chain(self.name_deadline())
            .chain(self.ends_at)
            .chain(self.early_until)
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
        if self.early_until.is_some_and(|at| at <= ctx.now) {
            return self.early_is_over(ctx);
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
        if self.pin_deadline().is_some_and(|until| until <= ctx.now) {
            return self.end(ctx, Cause::Refused, None);
        }
        if self.name_deadline().is_some_and(|at| at <= ctx.now) {
            return self.has_said_name(ctx);
        }
        if self.speech_deadline().is_some_and(|at| at <= ctx.now) {
            return self.tell_speech(ctx);
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

impl Call {
    /// Media of a party can't be protected. A call that has been answered ends, and says why; before that
    /// the party may still come to its keys.
    pub(crate) fn insecure(
        self: Box<Self>,
        ctx: &mut Context<'_>,
        failed: media::SessionId,
    ) -> Alive {
        let current = self.session.as_ref().is_some_and(|s| s.id == failed);
        if current && self.invite.is_none() {
            return self.end(ctx, Cause::MediaInsecure, None);
        }
        Some(self)
    }
}

/// How long a refresh waits for a change that is under way.
const PAUSE: Duration = Duration::from_secs(2);
