//! Connectivity checks as both kinds of agent receive them.

use std::net::SocketAddr;

use crate::credentials::Credentials;
use crate::stun::attribute::{
    ICE_CONTROLLED, ICE_CONTROLLING, MESSAGE_INTEGRITY, PRIORITY, UNKNOWN_ATTRIBUTES,
    USE_CANDIDATE, USERNAME, XOR_MAPPED_ADDRESS,
};
use crate::stun::{BINDING, Class, Key, Message, TransactionId, Writer};

/// One side's credentials, ready for use.
#[derive(Clone, Debug)]
pub(crate) struct Secret {
    pub(crate) credentials: Credentials,
    pub(crate) key: Key,
}

/// What a check of the peer says, once it is known to be genuine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check {
    /// The priority of the candidate that it came from, if we did not know that.
    pub(crate) priority: u32,
    /// Whether it nominates its pair.
    pub(crate) nominates: bool,
    /// Whether its sender is controlling, and its tie-breaker.
    pub(crate) role: Option<(bool, u64)>,
}

/// Why a check is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 400: it is incomplete.
    BadRequest,
    /// 401: it is for somebody else, or not genuine.
    Unauthenticated,
    /// 420: something in it has to be understood, and is not. It is genuine.
    Unknown(u16),
}

impl Secret {
    pub(crate) fn new(credentials: Credentials) -> Self {
        let key = Key::short_term(credentials.password());
        Self { credentials, key }
    }
}

impl Check {
    /// Reads a Binding request to us.
    ///
    /// # Source
    /// RFC 8445 §7.3, RFC 8489 §9.1.3, §6.3.1.
    pub(crate) fn read(request: &Message<'_>, local: &Secret) -> Result<Self, Refusal> {
        let user = request.text(USERNAME).ok_or(Refusal::BadRequest)?;
        if !request.is_signed() {
            return Err(Refusal::BadRequest);
        }
        let (receiver, _) = user.split_once(':').ok_or(Refusal::Unauthenticated)?;
        if receiver != local.credentials.ufrag() || !request.is_signed_by(&local.key) {
            return Err(Refusal::Unauthenticated);
        }
        if let Some(unknown) = request.unknown(KNOWN).next() {
            return Err(Refusal::Unknown(unknown));
        }
        let controlling = request.number64(ICE_CONTROLLING).map(|tie| (true, tie));
        let controlled = request.number64(ICE_CONTROLLED).map(|tie| (false, tie));
        Ok(Self {
            priority: request.number(PRIORITY).ok_or(Refusal::BadRequest)?,
            nominates: request.has(USE_CANDIDATE),
            role: controlling.or(controlled),
        })
    }
}

impl Refusal {
    /// Appends the answer.
    pub(crate) fn answer(self, to: TransactionId, local: &Secret, out: &mut Vec<u8>) {
        let mut answer = Writer::new(out, Class::Error, BINDING, to);
        match self {
            Self::BadRequest => answer.error(400, "Bad Request"),
            Self::Unauthenticated => answer.error(401, "Unauthenticated"),
            Self::Unknown(kind) => answer
                .error(420, "Unknown Attribute")
                .put(UNKNOWN_ATTRIBUTES, &kind.to_be_bytes())
                .sign(&local.key),
        };
        answer.fingerprint();
    }
}

/// Appends the answer to a check that succeeds.
///
/// # Source
/// RFC 8445 §7.3.1.2.
pub(crate) fn succeed(to: TransactionId, from: SocketAddr, local: &Secret, out: &mut Vec<u8>) {
    Writer::new(out, Class::Success, BINDING, to)
        .address(XOR_MAPPED_ADDRESS, from)
        .sign(&local.key)
        .fingerprint();
}

/// Appends the answer to a check whose sender has to take the other role.
///
/// # Source
/// RFC 8445 §7.3.1.1.
pub(crate) fn conflict(to: TransactionId, local: &Secret, out: &mut Vec<u8>) {
    Writer::new(out, Class::Error, BINDING, to)
        .error(487, "Role Conflict")
        .sign(&local.key)
        .fingerprint();
}

/// What a check may contain.
const KNOWN: &[u16] = &[USERNAME, MESSAGE_INTEGRITY, PRIORITY, USE_CANDIDATE];
