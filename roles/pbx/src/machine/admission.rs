//! Who may begin a call, and whether there is room for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::Token;
use sip::{Dialog, Flow, HeaderName, Message, ServerKey};

use crate::call::{self, Admission, Admitted, Call, Caller, Party};
use crate::context::{Context, Pending};
use crate::trunk::{Arrival, Channel, TrunkLeg};
use crate::{Trunk, User};

/// Who has been let in.
pub(super) enum Guest {
    User(Arc<User>),
    Trunk(Arrival),
}

impl Guest {
    /// Whoever has proved to be this user: a person, or the trunk that bears the name.
    pub(super) fn known(ctx: &Context<'_>, user: Arc<User>, request: &Message<'_>) -> Self {
        let is_peer = |trunk: &&Arc<Trunk>| trunk.peer.as_deref() == Some(&*user.name);
        match ctx.config.trunks.iter().find(is_peer) {
            Some(trunk) => Self::Trunk(Arrival::new(trunk, request)),
            None => Self::User(user),
        }
    }
}

/// Begins the call of somebody who has been let in, if there is room for it.
pub(super) fn begin(
    ctx: &mut Context<'_>,
    server: ServerKey,
    flow: Flow,
    request: &Message<'_>,
    guest: Guest,
) -> call::Alive {
    let tag = ctx.mint.token();
    ctx.transactions.begin(ctx.now, server, flow, request);
    let pending = Pending::new(server, flow, request.bytes());
    let dialled = match &guest {
        Guest::User(_) => call::dialled_number(request),
        Guest::Trunk(arrival) => Some(arrival.extension.clone()).filter(|n| !n.is_empty()),
    };
    let admitted = admit(ctx, &pending, request, tag, dialled)?;
    let caller = match guest {
        Guest::User(user) => Caller::of_user(&user, request),
        Guest::Trunk(arrival) => {
            let Some(channel) = Channel::take(&arrival.trunk) else {
                ctx.refuse(server, &flow, request, 503, tag.as_str());
                return None;
            };
            Caller {
                party: Party::of_caller(&arrival.caller),
                trunk: Some(TrunkLeg::new(arrival.trunk, channel)),
            }
        }
    };
    Call::start(ctx, request, pending, admitted, caller).map(|call| call.show(ctx))
}

/// Checks whether an INVITE of a known caller can become a call; refuses it if not.
fn admit(
    ctx: &mut Context<'_>,
    pending: &Pending,
    request: &Message<'_>,
    tag: Token,
    dialled: Option<String>,
) -> Option<Admitted> {
    let refusal = |ctx: &mut Context<'_>, status: u16, name: HeaderName, value: &str| {
        ctx.respond(
            pending.server,
            &pending.flow,
            request,
            status,
            tag.as_str(),
            |mut writer| {
                if !value.is_empty() {
                    writer.header(name, value);
                }
                writer.finish();
            },
        );
        None
    };
    if let Some(unknown) = call::unsupported(request) {
        return refusal(ctx, 420, HeaderName::Unsupported, &unknown);
    }
    if request.number(HeaderName::MaxForwards) == Ok(Some(0)) {
        return refusal(ctx, 483, HeaderName::Other, "");
    }
    let least = ctx.config.calls.min_session_expires.as_secs();
    let asked = request
        .header(HeaderName::SessionExpires)
        .and_then(|value| sip::SessionExpires::parse(value).ok());
    if asked.is_some_and(|asked| u64::from(asked.seconds) < least) {
        return refusal(ctx, 422, HeaderName::MinSe, &least.to_string());
    }
    let Ok(dialog) = Dialog::of_request(request, pending.flow, tag) else {
        return refusal(ctx, 400, HeaderName::Other, "");
    };
    let Some(number) = dialled else {
        return refusal(ctx, 484, HeaderName::Other, "");
    };
    let full = ctx.services.calls.load(Ordering::Relaxed) >= ctx.config.calls.max_calls;
    if full || !(ctx.services.calls_open)() {
        return refusal(ctx, 503, HeaderName::RetryAfter, "5");
    }
    let admission = Admission::new(&ctx.services.calls);
    Some(Admitted {
        dialog,
        number,
        admission,
    })
}
