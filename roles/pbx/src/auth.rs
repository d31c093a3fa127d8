//! Who a request is from: digest authentication (RFC 3261 §22, RFC 7616).

use std::sync::Arc;

use sip::digest::{self, Challenge, Credentials, Freshness, NonceKey, ReplayGuard, Use};
use sip::{Flow, HeaderName, Message, Method, Writer};

use crate::config::Algorithm;
use crate::context::Context;
use crate::{Event, User};

/// What the credentials in a request are worth.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// They are this user's.
    Known(Arc<User>),
    /// There are none, or they are out of date: ask for them.
    Challenge {
        /// They were right, only too old (RFC 7616 §3.3).
        stale: bool,
    },
    /// They are wrong.
    Wrong,
}

/// Judges the credentials of a request. `repeated` allows a nonce count that was used before: the
/// request is a retransmission of one that was let in.
pub(crate) fn authenticate(
    ctx: &mut Context<'_>,
    guard: &mut ReplayGuard,
    request: &Message<'_>,
    flow: &Flow,
    repeated: bool,
) -> Verdict {
    let fields = request
        .fields()
        .iter()
        .filter(|field| field.name == HeaderName::Authorization);
    let ours = fields
        .filter_map(|field| Credentials::parse(field.value).ok())
        .find(|given| given.realm.is(&ctx.config.realm));
    let Some(given) = ours else {
        return Verdict::Challenge { stale: false };
    };
    let method = request.method().unwrap_or(Method::Other(""));
    let user = ctx
        .config
        .users
        .get(&*given.username.unquoted())
        .filter(|user| {
            let offered = ctx
                .config
                .algorithms
                .iter()
                .any(|algorithm| algorithm.digest() == given.algorithm);
            offered
                && given.verify(
                    &user.name,
                    &ctx.config.realm,
                    &user.password,
                    method,
                    request.body(),
                )
        });
    let now = ctx.clock.unix_millis(ctx.now);
    match (
        nonce_key(ctx).verify(&given.nonce.unquoted(), now, ctx.mint.slot()),
        user,
    ) {
        (Freshness::Fresh(id), Some(user)) => {
            if guard.check(id, given.nonce_count) == Use::First || repeated {
                Verdict::Known(Arc::clone(user))
            } else {
                Verdict::Challenge { stale: true }
            }
        }
        (Freshness::Stale, Some(_)) => Verdict::Challenge { stale: true },
        (Freshness::Forged, Some(_)) => Verdict::Challenge { stale: false },
        (_, None) => {
            let user = given.username.unquoted().as_ref().into();
            ctx.out.events.push(Event::AuthenticationFailed {
                user,
                from: flow.remote,
            });
            Verdict::Wrong
        }
    }
}

/// Adds a challenge for each algorithm, in the configured order (RFC 8760 §2.3).
pub(crate) fn put_challenges(
    writer: &mut Writer<'_>,
    realm: &str,
    algorithms: &[Algorithm],
    nonce: &str,
    stale: bool,
) {
    for algorithm in algorithms {
        let challenge = Challenge::new(realm, nonce, algorithm.digest()).stale(stale);
        writer.header(HeaderName::WwwAuthenticate, challenge);
    }
}

/// A nonce that is good in this slot from now on.
pub(crate) fn mint_nonce(ctx: &mut Context<'_>) -> digest::Nonce {
    let now = ctx.clock.unix_millis(ctx.now);
    nonce_key(ctx).mint(now, ctx.mint.slot(), ctx.mint.number())
}

fn nonce_key(ctx: &Context<'_>) -> NonceKey {
    NonceKey::new(ctx.config.nonce_secret, ctx.config.nonce_lifetime)
}

impl Algorithm {
    const fn digest(self) -> digest::Algorithm {
        match self {
            Self::Md5 => digest::Algorithm::Md5,
            Self::Sha256 => digest::Algorithm::Sha256,
            Self::Sha512_256 => digest::Algorithm::Sha512_256,
        }
    }
}
