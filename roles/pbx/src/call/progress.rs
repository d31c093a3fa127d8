//! What the caller is told while phones ring.
//!
//! # Source
//! RFC 3261 §13.3.1.1, RFC 3262 §3

use sdp::Sdp;
use sip::{HeaderName, StatusCode, Writer};

use super::leg::put_capabilities;
use super::{CALLER, Call};
use crate::context::{Context, SDP};

/// What a phone's provisional response tells the caller.
#[derive(Debug)]
pub(super) struct News {
    pub(super) status: u16,
    /// The phone's description, as text.
    pub(super) answer: Option<Box<str>>,
}

impl Call {
    /// Passes a provisional response on to the caller, once for each new thing that it tells; while one
    /// waits for its PRACK, the latest news waits too.
    pub(super) fn tell_progress(&mut self, ctx: &mut Context<'_>, news: News) {
        let told = (news.status, news.answer.is_some());
        if self.provisional.last == Some(told) {
            return;
        }
        if self.provisional.unacknowledged {
            self.provisional.next = Some(news);
            return;
        }
        let answer = news
            .answer
            .as_deref()
            .and_then(|text| Sdp::parse(text).ok());
        let sdp = answer.and_then(|answer| self.early_answer(ctx, &answer));
        self.provisional.last = Some(told);
        self.send_progress(ctx, news.status, sdp.as_deref());
    }

    /// The caller hears that its call goes on to somebody else (RFC 3261 §21.1.3).
    pub(super) fn tell_forwarded(&mut self, ctx: &mut Context<'_>) {
        if self.invite.is_some() {
            let (status, answer) = (181, None);
            self.tell_progress(ctx, News { status, answer });
        }
    }

    /// Sends the caller a provisional response, reliably if it can take one.
    pub(super) fn send_progress(&mut self, ctx: &mut Context<'_>, status: u16, sdp: Option<&str>) {
        let Some(invite) = self.invite.clone() else {
            return;
        };
        let Some(request) = invite.message() else {
            return;
        };
        let required = request.lists(HeaderName::Require, "100rel");
        let wanted = required || sdp.is_some() && request.lists(HeaderName::Supported, "100rel");
        // An INVITE without an offer would need the offer in a reliable response; we don't have it yet.
        let reliable = wanted && !request.body().is_empty();
        if required && !reliable {
            return;
        }
        let Some(contact) = self.legs[CALLER].as_ref().map(|caller| caller.contact(ctx)) else {
            return;
        };
        ctx.scratch.clear();
        let tag = self.id.as_str();
        let code = StatusCode(status);
        let mut writer = Writer::response_to(ctx.scratch, request, &invite.flow, code, tag);
        ctx.config.put_server(&mut writer);
        writer.copy(request, HeaderName::RecordRoute);
        put_capabilities(&mut writer, &contact, sdp);
        if reliable {
            self.provisional.rseq += 1;
            self.provisional.unacknowledged = true;
            writer
                .text(HeaderName::Require, "100rel")
                .header(HeaderName::RSeq, self.provisional.rseq);
        }
        match sdp {
            Some(sdp) => writer.body(SDP, sdp.as_bytes()),
            None => writer.finish(),
        }
        let (now, server) = (ctx.now, invite.server);
        if reliable {
            ctx.transactions
                .respond_reliably(now, server, ctx.scratch, ctx.out);
        } else {
            ctx.transactions
                .respond(now, server, code, ctx.scratch, ctx.out);
        }
    }
}
