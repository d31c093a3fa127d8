//! Calls that go on to somebody else: forwarding, do not disturb, a phone that redirects.

use std::fmt::Write as _;
use std::sync::Arc;

use sip::{HeaderName, Message, NameAddr, StatusCode, Uri, Writer};

use super::{Alive, Call};
use crate::User;
use crate::config::Redirects;
use crate::context::Context;

/// Why a user could not be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Vain {
    /// On the phone, or does not want to be disturbed.
    Busy,
    /// The phones rang long enough.
    NoAnswer,
    /// There is no phone, or none that answers us.
    Unreachable,
    /// The user's phones refused for another reason.
    Refused,
}

/// A number that the call has left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Diversion {
    number: Box<str>,
    why: Why,
}

/// Why a call went on to somebody else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    Always,
    Vain(Vain),
    /// A phone redirected it.
    Deflected,
}

impl Call {
    /// Whether the user at `number` wants calls to go elsewhere, or not at all; then the call goes on.
    pub(super) fn divert_at_once(&self, ctx: &Context<'_>, user: &User) -> Option<Onward> {
        if let Some(target) = &user.forward.always {
            return Some(Onward::To(target.clone()));
        }
        let on_the_phone = !user.call_waiting && ctx.services.lines.is_busy(&user.name);
        (user.do_not_disturb || on_the_phone).then_some(Onward::Vain(Vain::Busy))
    }

    /// The user that was sought can't be had: the call goes where the user wants it then, or on in the
    /// dial plan.
    pub(super) fn sought_in_vain(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        vain: Vain,
        status: StatusCode,
    ) -> Alive {
        let user = self.seeking.take();
        let target = user.as_ref().and_then(|user| match vain {
            Vain::Busy => user.forward.busy.clone(),
            Vain::NoAnswer => user.forward.no_answer.clone(),
            Vain::Unreachable => user.forward.unreachable.clone(),
            Vain::Refused => None,
        });
        match user.zip(target) {
            Some((user, target)) => self.divert(ctx, &user.number, &target, Why::Vain(vain)),
            None => self.fail_step(ctx, status),
        }
    }

    /// The user wants all calls elsewhere.
    pub(super) fn divert_always(
        self: Box<Self>,
        ctx: &mut Context<'_>,
        user: &User,
        target: &str,
    ) -> Alive {
        self.divert(ctx, &user.number, target, Why::Always)
    }

    /// A phone redirects its calls (RFC 3261 §8.1.3.4). `None`: its wish is not followed.
    pub(super) fn redirection(&self, ctx: &Context<'_>, response: &Message<'_>) -> Option<String> {
        let values = response.values(HeaderName::Contact);
        let numbers = values.filter_map(|value| {
            let address = NameAddr::parse(value).ok()?;
            super::plain_number(&Uri::parse(address.uri).ok()?)
        });
        match ctx.config.calls.redirects {
            Redirects::Never => None,
            Redirects::Users => numbers
                .into_iter()
                .find(|number| ctx.config.user_at(number).is_some()),
            Redirects::Anywhere => numbers.into_iter().next(),
        }
    }

    /// Follows a phone that redirects.
    pub(super) fn deflect(self: Box<Self>, ctx: &mut Context<'_>, target: &str) -> Alive {
        let from = self.seeking.as_ref().map(|user| user.number.clone());
        self.divert(ctx, &from.unwrap_or_default(), target, Why::Deflected)
    }

    fn divert(
        mut self: Box<Self>,
        ctx: &mut Context<'_>,
        from: &str,
        target: &str,
        why: Why,
    ) -> Alive {
        let seen = |diversion: &Diversion| *diversion.number == *target;
        if self.diversions.len() >= MOST_DIVERSIONS || self.diversions.iter().any(seen) {
            return self.fail_step(ctx, StatusCode(482));
        }
        for session in std::mem::take(&mut self.sessions) {
            session.close(ctx);
        }
        self.diversions.push(Diversion {
            number: from.into(),
            why,
        });
        self.tell_forwarded(ctx);
        let rest: Vec<_> = self.steps.collect();
        let mut steps = ctx.config.dialplan.steps(target);
        steps.extend(rest);
        self.steps = steps.into_iter();
        self.next_step(ctx)
    }

    /// Whose phones ring now, for what the user wants if they ring in vain.
    pub(super) fn seek(&mut self, user: &Arc<User>) {
        self.seeking = Some(Arc::clone(user));
    }
}

/// What a user wants done with a call before any phone rings.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Onward {
    /// It goes to this number.
    To(String),
    /// The user can't be had.
    Vain(Vain),
}

/// Writes what has become of the call so far: Diversion (RFC 5806), the newest first, and History-Info
/// (RFC 7044 §10).
pub(super) fn put_history(
    writer: &mut Writer<'_>,
    diversions: &[Diversion],
    number: &str,
    host: &str,
) {
    if diversions.is_empty() {
        return;
    }
    for diversion in diversions.iter().rev() {
        let number = sip::uri::escape_user(&diversion.number);
        let reason = diversion.why.reason();
        writer.header(
            HeaderName::Diversion,
            format_args!("<sip:{number}@{host}>;reason={reason};counter=1"),
        );
    }
    let (mut index, mut mapped) = (String::from("1"), String::new());
    let mut cause = String::new();
    for diversion in diversions {
        let number = sip::uri::escape_user(&diversion.number);
        let status = diversion.why.cause();
        let reason = match diversion.why {
            Why::Always | Why::Deflected => String::new(),
            Why::Vain(_) => format!("?Reason=SIP%3Bcause%3D{status}"),
        };
        writer.header(
            HeaderName::HistoryInfo,
            format_args!("<sip:{number}@{host}{cause}{reason}>;index={index}{mapped}"),
        );
        mapped = format!(";mp={index}");
        index.push_str(".1");
        cause.clear();
        let _ = write!(cause, ";cause={status}");
    }
    let number = sip::uri::escape_user(number);
    writer.header(
        HeaderName::HistoryInfo,
        format_args!("<sip:{number}@{host}{cause}>;index={index}{mapped}"),
    );
}

impl Why {
    /// The word for it (RFC 5806 §4).
    const fn reason(self) -> &'static str {
        match self {
            Self::Always => "unconditional",
            Self::Deflected => "deflection",
            Self::Vain(Vain::Busy) => "user-busy",
            Self::Vain(Vain::NoAnswer) => "no-answer",
            Self::Vain(Vain::Unreachable) => "unavailable",
            Self::Vain(Vain::Refused) => "unknown",
        }
    }

    /// The status that stands for it (RFC 4458 §3, RFC 8119).
    const fn cause(self) -> u16 {
        match self {
            Self::Always => 302,
            Self::Deflected => 480,
            Self::Vain(Vain::Busy) => 486,
            Self::Vain(Vain::NoAnswer) => 408,
            Self::Vain(Vain::Unreachable) => 503,
            Self::Vain(Vain::Refused) => 404,
        }
    }
}

/// A call that has been forwarded so often goes round in circles.
const MOST_DIVERSIONS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7044_10_1_history_tells_each_number_and_why_it_was_left() {
        let diversions = [
            Diversion {
                number: "1002".into(),
                why: Why::Vain(Vain::Busy),
            },
            Diversion {
                number: "1003".into(),
                why: Why::Always,
            },
        ];
        let mut bytes = Vec::new();
        let mut writer = Writer::request(&mut bytes, sip::Method::Invite, "sip:1004@h");
        put_history(&mut writer, &diversions, "1004", "h");
        writer.finish();
        let text = String::from_utf8(bytes).unwrap();
        for line in [
            "Diversion: <sip:1003@h>;reason=unconditional;counter=1\r\n\
             Diversion: <sip:1002@h>;reason=user-busy;counter=1\r\n",
            "History-Info: <sip:1002@h?Reason=SIP%3Bcause%3D486>;index=1\r\n\
             History-Info: <sip:1003@h;cause=486>;index=1.1;mp=1\r\n\
             History-Info: <sip:1004@h;cause=302>;index=1.1.1;mp=1.1\r\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
