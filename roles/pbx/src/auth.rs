//! Who a request is from: digest authentication (RFC 3261 §22, RFC 7616).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use sip::digest::{self, Challenge, Credentials, Freshness, NonceKey, ReplayGuard, Use};
use sip::{Flow, HeaderName, Message, Method, Uri, Writer};

use crate::config::Algorithm;
use crate::context::Context;
use crate::{Config, Event, User, registrar};

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
    /// They were right, and have been used before: this is a repetition, or somebody replays it.
    Replayed(Arc<User>),
    /// They are wrong.
    Wrong,
    /// Too many wrong ones have come from there: nobody has looked at these.
    Unread,
}

/// Judges the credentials of a request.
pub(crate) fn authenticate(
    ctx: &mut Context<'_>,
    guard: &mut ReplayGuard,
    request: &Message<'_>,
    flow: &Flow,
) -> Verdict {
    let Some(given) = credentials(ctx.config, request) else {
        return Verdict::Challenge { stale: false };
    };
    let name = given.username.unquoted();
    let source = flow.remote.ip();
    if is_guessing(ctx, source, &name) {
        return Verdict::Unread;
    }
    let now = ctx.clock.unix_millis(ctx.now);
    let nonce = given.nonce.unquoted();
    let freshness = nonce_key(ctx.config).verify(&nonce, now, ctx.mint.slot());
    let (Freshness::Fresh(id) | Freshness::Stale(id)) = freshness else {
        // As after a restart of ours. Nobody looks at the password: the answer would tell, and whose
        // fault a wrong one is nobody knows.
        return Verdict::Challenge { stale: true };
    };
    // Behind some translators each request has another address. Whoever was challenged has to answer
    // for the password, because the source may be false.
    let holder = address_of(id.peer);
    let is_holder = peer_of(source) == id.peer;
    if !is_holder && is_guessing(ctx, holder, &name) {
        return Verdict::Unread;
    }
    let Some(user) = proven(ctx, &given, request) else {
        ctx.services.guesses.wrong(ctx.now, holder);
        let user = given.username.unquoted().as_ref().into();
        ctx.out.events.push(Event::AuthenticationFailed {
            user,
            from: flow.remote,
        });
        return Verdict::Wrong;
    };
    match freshness {
        Freshness::Fresh(id) => match guard.check(id, given.nonce_count) {
            Use::First => {
                if is_holder {
                    ctx.out.vouch.push(*flow);
                }
                Verdict::Known(user)
            }
            Use::Replayed => Verdict::Replayed(user),
            Use::Stale => Verdict::Challenge { stale: true },
        },
        Freshness::Stale(_) | Freshness::Forged => Verdict::Challenge { stale: true },
    }
}

/// The credentials for our own realm in a request.
pub(crate) fn credentials<'a>(config: &Config, request: &Message<'a>) -> Option<Credentials<'a>> {
    request
        .fields()
        .iter()
        .filter(|field| field.name == HeaderName::Authorization)
        .filter_map(|field| Credentials::parse(field.value).ok())
        .find(|given| given.realm.is(&config.realm))
}

/// The user whose password the credentials prove.
fn proven(ctx: &Context<'_>, given: &Credentials<'_>, request: &Message<'_>) -> Option<Arc<User>> {
    let config = ctx.config;
    let user = config.users.get(&*given.username.unquoted())?;
    let mut offered = config.algorithms.iter();
    let method = request.method().unwrap_or(Method::Other(""));
    let (realm, password, body) = (&config.realm, &user.password, request.body());
    let right = offered.any(|algorithm| algorithm.digest() == given.algorithm)
        && is_for(given, request)
        && given.verify(&user.name, realm, password, method, body);
    right.then(|| Arc::clone(user))
}

/// Whether too many wrong passwords have come from an address. Phones that are registered
/// from there may share it with somebody who guesses, and are let in.
///
/// # Source
/// RFC 3261 §26.1.5, §26.3.2.4
fn is_guessing(ctx: &Context<'_>, source: IpAddr, user: &str) -> bool {
    let services = ctx.services;
    if !services
        .guesses
        .exhausted(ctx.now, source, ctx.config.guesses)
    {
        return false;
    }
    let contacts = services.bindings.lookup(user);
    let mut flows = contacts
        .iter()
        .flat_map(|list| list.iter())
        .map(|contact| contact.flow);
    !flows.any(|flow| flow.remote.ip() == source)
}

/// Whether the credentials were made for this request's target: otherwise somebody on the way has
/// changed who is called (RFC 7616 §3.4.6). Hosts may differ, as where a proxy has translated them,
/// and some clients sign the server's address alone.
fn is_for(given: &Credentials<'_>, request: &Message<'_>) -> bool {
    let uri = given.uri.unquoted();
    let target = request.request_uri();
    *uri == *target
        || match (Uri::parse(&uri), Uri::parse(target)) {
            (Ok(given), Ok(target)) => {
                given.user.is_empty() || given.user_name() == target.user_name()
            }
            _ => false,
        }
}

/// Answers a request whose sender is not let in. Needs no transaction: a repetition is answered again.
pub(crate) fn refuse(ctx: &mut Context<'_>, flow: Flow, request: &Message<'_>, verdict: &Verdict) {
    let stale = match verdict {
        Verdict::Wrong => return registrar::reply(ctx, flow, request, 403, |_| {}),
        Verdict::Unread => {
            return registrar::reply(ctx, flow, request, 503, |writer| {
                writer.header(HeaderName::RetryAfter, store::guesses::FORGIVEN.as_secs());
            });
        }
        Verdict::Challenge { stale } => *stale,
        Verdict::Known(_) | Verdict::Replayed(_) => true,
    };
    let nonce = mint_nonce(ctx, &flow);
    let config = ctx.config;
    registrar::reply(ctx, flow, request, 401, |writer| {
        put_challenges(
            writer,
            &config.realm,
            &config.algorithms,
            nonce.as_str(),
            stale,
        );
    });
}

/// Adds a challenge for each algorithm, in the configured order (RFC 8760 §2.3).
fn put_challenges(
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

/// A nonce that is good in this slot from now on, for who is at the other end of `flow`.
fn mint_nonce(ctx: &mut Context<'_>, flow: &Flow) -> digest::Nonce {
    let now = ctx.clock.unix_millis(ctx.now);
    let key = nonce_key(ctx.config).for_peer(peer_of(flow.remote.ip()));
    key.mint(now, ctx.mint.slot(), ctx.mint.number())
}

/// Nonces name the address that the challenge goes to. Otherwise somebody could use one of his own
/// under another's address, and have that locked out for wrong passwords.
fn nonce_key(config: &Config) -> NonceKey {
    NonceKey::new(config.nonce_secret, config.nonce_lifetime)
}

/// An address as a number: what one subscriber has, so the front half of an IPv6 address.
fn peer_of(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    }
}

/// The address that is such a number. No IPv6 network begins with that many zeros but the host's own,
/// whose address then is 0.0.0.0 here, and always the same.
fn address_of(peer: u64) -> IpAddr {
    match u32::try_from(peer) {
        Ok(address) => Ipv4Addr::from_bits(address).into(),
        Err(_) => Ipv6Addr::from_bits(u128::from(peer) << 64).into(),
    }
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
