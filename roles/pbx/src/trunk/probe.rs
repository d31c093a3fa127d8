//! Whether a trunk's proxies answer: OPTIONS (RFC 3261 §11).

use std::sync::Arc;
use std::time::Instant;

use sip::{Dialog, HeaderName, Message, Method, StatusCode};

use super::Trunk;
use super::keeper::Errand;
use super::registration::retry_after;
use super::state::{Health, Reach, Way};
use crate::context::{Context, Owner};

/// Asks one proxy whether it is there.
pub(super) fn ask(ctx: &mut Context<'_>, trunk: &Trunk, way: &Way) {
    let address = ctx.config.network.signalling_address(&way.flow);
    let user = sip::uri::escape_user(&trunk.user);
    let ours = format!("<sip:{user}@{address}>");
    let target = format!("sip:{}", trunk.domain);
    let (call_id, tag) = (ctx.mint.token(), ctx.mint.token());
    let remote = format!("<{target}>");
    let mut dialog = Dialog::begin(call_id.as_str(), tag, &ours, &remote, &target, way.flow);
    let owner = Owner::Trunk(Errand::Probe {
        health: Arc::clone(&way.health),
        sent: ctx.now,
    });
    ctx.request(&mut dialog, Method::Options, owner, |mut writer| {
        writer.header(HeaderName::Contact, &ours);
        writer.finish();
    });
}

/// Takes the answer, or its absence. Any answer will do: whether OPTIONS is liked is not the question;
/// but who says that it is overloaded is left in peace (RFC 3261 §21.5.4).
pub(super) fn answered(
    ctx: &Context<'_>,
    health: &Health,
    sent: Instant,
    response: Option<&Message<'_>>,
) {
    let Some(response) = response else {
        return health.set(Reach::Down);
    };
    let rtt = ctx.now.saturating_duration_since(sent);
    health.set(Reach::Up { rtt });
    if response.status() == Some(StatusCode(503)) {
        let wait = retry_after(response).as_millis() as u64;
        health.rest(ctx.clock.unix_millis(ctx.now) + wait);
    }
}
