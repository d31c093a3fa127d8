//! Where the Route of a request leads, and how the proxy stays on it.

use base::{Slot, Token};
use sha2::{Digest, Sha256};

use crate::header::HeaderName;
use crate::{Message, NameAddr, Uri};

/// What is left of a request's Route when the proxy's own entries are taken off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Routing<'a> {
    /// The Request-URI: the one that came, or the last Route if a strict router has put ours there.
    pub uri: &'a str,
    /// Our token in the entry that led here; none: the request has no Route of ours.
    pub token: Option<Token>,
    /// The Route value that comes next, if there is one.
    pub next: Option<&'a str>,
    /// How many Route values at the front are ours.
    pub(super) skip: usize,
    /// The last Route value has become the Request-URI.
    pub(super) last_taken: bool,
}

impl<'a> Routing<'a> {
    /// Takes our own entries off. `is_ours` judges the token in the user part of a URI.
    ///
    /// Of the two entries that a proxy between two networks leaves, both come off (RFC 5658 §5).
    ///
    /// # Source
    /// RFC 3261 §16.4.
    #[must_use]
    pub fn of(request: &Message<'a>, is_ours: impl Fn(Token) -> bool) -> Self {
        let mut routing = Self {
            uri: request.request_uri(),
            token: None,
            next: None,
            skip: 0,
            last_taken: false,
        };
        if request.header(HeaderName::Route).is_none() {
            return routing;
        }
        if let Some(token) = token_in(routing.uri).filter(|token| is_ours(*token))
            && let Some(last) = request.values(HeaderName::Route).last()
            && let Ok(address) = NameAddr::parse(last)
        {
            routing.uri = address.uri;
            routing.token = Some(token);
            routing.last_taken = true;
        }
        for value in request.values(HeaderName::Route) {
            let token = NameAddr::parse(value).ok().and_then(|a| token_in(a.uri));
            let ours = token.filter(|token| match routing.token {
                Some(known) => *token == known,
                None => is_ours(*token),
            });
            if ours.is_none() {
                break;
            }
            routing.token = ours;
            routing.skip += 1;
        }
        routing.next = routing.rest(request).next();
        routing
    }

    /// The same once more, for a request whose own entries are known.
    pub(super) fn again(request: &Message<'a>, skip: usize, last_taken: bool) -> Self {
        let mut routing = Self {
            uri: request.request_uri(),
            token: None,
            next: None,
            skip,
            last_taken,
        };
        routing.next = routing.rest(request).next();
        routing
    }

    /// The URI that tells where the request goes next.
    #[must_use]
    pub fn next_uri(&self) -> &'a str {
        let route = self.next.and_then(|value| NameAddr::parse(value).ok());
        route.map_or(self.uri, |route| route.uri)
    }

    /// The Route values that are left.
    pub(super) fn rest<'m>(
        &self,
        request: &'m Message<'a>,
    ) -> impl Iterator<Item = &'a str> + use<'a, 'm> {
        let all = match self.last_taken {
            true => request.values(HeaderName::Route).count() - 1,
            false => usize::MAX,
        };
        let left = all.saturating_sub(self.skip);
        request.values(HeaderName::Route).skip(self.skip).take(left)
    }
}

/// The token in the user part of a Record-Route or Path entry of ours.
fn token_in(uri: &str) -> Option<Token> {
    Token::parse(Uri::parse(uri).ok()?.user)
}

/// Whether the next hop routes loosely (RFC 3261 §16.6 step 6).
pub(super) fn is_loose(route: &str) -> bool {
    let uri = NameAddr::parse(route).ok().map(|route| route.uri);
    uri.and_then(|uri| Uri::parse(uri).ok())
        .is_none_or(|uri| uri.params.has("lr"))
}

/// A token for the Record-Route of a dialog of `call_id`: who knows it has been told it by us or by a
/// party of the dialog, so that a request that carries it may pass without credentials. `salt` keeps
/// requests apart that come by more than once with one Call-ID (a spiral, RFC 3261 §6).
#[must_use]
pub fn record_token(secret: &[u8; 32], slot: Slot, call_id: &str, salt: u16) -> Token {
    let mut hash = Sha256::new();
    hash.update(secret);
    hash.update([slot.number()]);
    hash.update(salt.to_be_bytes());
    hash.update(call_id.as_bytes());
    let digest = hash.finalize();
    let mut octets = [0; 8];
    octets[..6].copy_from_slice(&digest[..6]);
    octets[6..].copy_from_slice(&salt.to_be_bytes());
    Token::new(slot, u64::from_be_bytes(octets))
}

/// Whether [`record_token`] has made `token` for `call_id`.
#[must_use]
pub fn is_route_token(secret: &[u8; 32], slot: Slot, call_id: &str, token: Token) -> bool {
    let salt = token.bits() as u16;
    token.slot() == slot && record_token(secret, slot, call_id, salt) == token
}
