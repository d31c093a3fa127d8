//! Who may begin a call, and whether there is room for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::Token;
use sip::{Dialog, Flow, HeaderName, Message, Replaces, ServerKey};

use crate::call::{self, Admission, Admitted, Call, Caller, Party};
use crate::context::{Context, Pending};
use crate::proxy::Dialled;
use crate::stir::Verify;
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

    /// The number that is dialled.
    fn dialled(&self, request: &Message<'_>) -> Option<String> {
        match self {
            Self::User(_) => call::dialled_number(request),
            Self::Trunk(arrival) => Some(arrival.extension.clone()).filter(|n| !n.is_empty()),
        }
    }

    /// Where the call is forwarded to, if it is. One whose caller is to be verified is joined: that may
    /// take a certificate that has to be fetched first.
    pub(super) fn forwarded(&self, ctx: &Context<'_>, request: &Message<'_>) -> Option<Dialled> {
        let trunk = match self {
            Self::User(_) => None,
            Self::Trunk(arrival) => Some(&arrival.trunk),
        };
        if trunk.is_some_and(|trunk| trunk.stir.verify != Verify::Off) {
            return None;
        }
        let number = self.dialled(request)?;
        let trunk = trunk.map(|trunk| &*trunk.name);
        let target = ctx.config.dialplan.proxy(&number, trunk)?;
        // Who takes somebody's place in a call that goes through us can't be forwarded.
        let replaces = request.header(HeaderName::Replaces).map(Replaces::parse);
        let replaced = replaces.and_then(|replaces| Token::parse(replaces.ok()?.to_tag));
        let forwarded = !replaced.is_some_and(|tag| ctx.index.knows(&tag));
        forwarded.then_some(Dialled { number, target })
    }

    /// Who calls; nobody if the trunk has no channel left.
    pub(super) fn caller(self, request: &Message<'_>) -> Option<Caller> {
        match self {
            Self::User(user) => Some(Caller::of_user(&user, request)),
            Self::Trunk(arrival) => {
                let channel = Channel::take(&arrival.trunk)?;
                Some(Caller {
                    party: Party::of_caller(&arrival.caller),
                    trunk: Some(TrunkLeg::new(arrival.trunk, channel)),
                })
            }
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
    let dialled = guest.dialled(request);
    let admitted = admit(ctx, &pending, request, tag, dialled)?;
    let Some(caller) = guest.caller(request) else {
        ctx.refuse(server, &flow, request, 503, tag.as_str());
        return None;
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
