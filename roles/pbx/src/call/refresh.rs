//! Session refreshes that we ask a party for, and what it says of them.
//!
//! # Source
//! RFC 4028 §10

use std::time::Duration;

use base::Token;
use sdp::Sdp;
use sip::{ClientKey, Flow, HeaderName, Message, Method, StatusCode};

use super::change::lost;
use super::leg::Refresh;
use super::{Alive, Call, Leg};
use crate::Cause;
use crate::context::{Context, SDP};

impl Call {
    /// A party answers a refresh of ours, or one that it has answered before.
    pub(super) fn refresh_answered(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        key: ClientKey,
        response: &Message<'_>,
        flow: Flow,
    ) -> Alive {
        let status = response.status().unwrap_or(StatusCode(500));
        let Some(leg) = self.refreshing(key) else {
            self.acknowledge_again(ctx, status, response);
            return Some(self);
        };
        let Some(refresh) = leg.refresh.take() else {
            return Some(self);
        };
        if !status.is_success() {
            return self.refresh_refused(ctx, refresh, response);
        }
        leg.dialog.retarget(response);
        leg.learn(response, flow);
        leg.accept_timer(ctx.now, response);
        let side = leg.side;
        if refresh.method == Method::Invite {
            let cseq = response.cseq().map_or(0, |cseq| cseq.number);
            leg.acknowledge(ctx, cseq, None);
        }
        let answer = response
            .body_of_type(SDP)
            .and_then(|text| Sdp::parse(text).ok());
        if let (Some(answer), Some(session)) = (answer, self.session.as_ref())
            && let Some(leg) = &mut self.legs[side.index()]
            && leg.end.hear_answer(&answer).is_ok()
        {
            session.connect(ctx, side, leg, &answer);
        }
        self.resume_change(ctx)
    }

    fn refresh_refused(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        refresh: Refresh,
        response: &Message<'_>,
    ) -> Alive {
        let status = response.status().unwrap_or(StatusCode(500));
        let pause = Duration::from_millis(2100 + u64::from(ctx.mint.below(1900)));
        let tag = response.from().ok().and_then(|from| from.tag());
        let tag = tag.and_then(Token::parse);
        let Some(leg) = tag.and_then(|tag| self.leg(tag)) else {
            return Some(self);
        };
        let side = leg.side;
        if matches!(status.0, 408 | 481) {
            let cause = if refresh.probe {
                Cause::MediaTimeout
            } else {
                lost(status, side)
            };
            return self.end(ctx, cause, Some(side));
        }
        let Some(timer) = leg.timer.as_mut().filter(|timer| timer.ours) else {
            return self.resume_change(ctx);
        };
        let least = response.number(HeaderName::MinSe).ok().flatten();
        if let Some(least) = least.filter(|_| status == StatusCode(422)) {
            timer.interval = timer.interval.max(least);
        }
        // Glare, or a party that can't just now: again in a moment (RFC 3261 §14.1), until the session
        // is over (RFC 4028 §10).
        timer.due = timer.expires.min(ctx.now + pause);
        self.resume_change(ctx)
    }

    /// The leg that we have asked for a refresh under `key`.
    pub(super) fn refreshing(&mut self, key: ClientKey) -> Option<&mut Leg> {
        let is_it = |leg: &&mut Leg| leg.refresh.is_some_and(|refresh| refresh.client == key);
        self.legs.iter_mut().flatten().find(is_it)
    }
}
