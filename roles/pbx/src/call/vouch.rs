//! Whether somebody vouches for the number of a caller from a trunk.

use std::sync::Arc;

use media::Side;
use stir::{Certificate, Fault};

use super::leg::Leg;
use super::{Alive, Call};
use crate::Cause;
use crate::context::Context;
use crate::stir::{Verify, Verstat, examine};
use crate::trunk::Trunk;

impl Call {
    /// Goes on with the dial plan, once the caller's number has been looked at where that is wanted.
    pub(super) fn verify_caller(mut self: Box<Self>, ctx: &mut Context<'_>) -> Alive {
        let Some(trunk) = self.trunk_of_caller() else {
            return self.next_step(ctx);
        };
        if trunk.stir.verify == Verify::Off {
            return self.next_step(ctx);
        }
        let now = ctx.clock.unix(ctx.now).0;
        let examined = self.with_invite(|invite, _| examine(&trunk.numbers, invite, now));
        match examined.unwrap_or(Err(Fault::Malformed)) {
            Ok(claim) => {
                let ask = &mut ctx.out.ask;
                let asked = ctx.notary.ask(ctx.now, ctx.mint, ask, claim.url(), self.id);
                if !asked {
                    return self.judge(ctx, Err(Fault::Unreachable));
                }
                self.claim = Some(Box::new(claim));
                Some(self)
            }
            Err(fault) => self.judge(ctx, Err(fault)),
        }
    }

    /// The certificate has come, or will not.
    pub(crate) fn vouched(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        found: Result<Arc<Certificate>, Fault>,
    ) -> Alive {
        let Some(claim) = self.claim.take() else {
            return Some(self);
        };
        let now = ctx.clock.unix(ctx.now).0;
        let judged = found.and_then(|certificate| claim.verify_with(&certificate, now).map(drop));
        self.judge(ctx, judged)
    }

    fn judge(mut self: Box<Self>, ctx: &mut Context<'_>, judged: Result<(), Fault>) -> Alive {
        self.record.verstat = Some(Verstat::of(&judged));
        let demanded = self
            .trunk_of_caller()
            .is_some_and(|trunk| trunk.stir.verify == Verify::Require);
        match judged {
            Err(fault) if demanded => self.refuse(ctx, fault.status(), Cause::Refused),
            _ => self.next_step(ctx),
        }
    }
    /// The user part of the caller's address with a word on whether it is the caller's, for our phones; nothing if
    /// nobody looked, or the caller wants to stay unknown.
    ///
    /// # Source
    /// TS 24.229 §7.2A.20: a parameter of the number in P-Asserted-Identity.
    pub(super) fn told_verstat(&self) -> Option<String> {
        let verstat = self.record.verstat?.name();
        let party = &self.caller_leg()?.party;
        let known = !party.private && !party.number.is_empty();
        let number = sip::uri::escape_user(&party.number);
        known.then(|| format!("{number};verstat={verstat}"))
    }

    fn caller_leg(&self) -> Option<&Leg> {
        self.legs[Side::Caller.index()].as_ref()
    }

    fn trunk_of_caller(&self) -> Option<Arc<Trunk>> {
        let leg = self.caller_leg()?.trunk.as_ref()?;
        Some(Arc::clone(&leg.trunk))
    }
}
