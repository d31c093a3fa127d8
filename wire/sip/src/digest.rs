//! Digest authentication, both sides (RFC 7616, RFC 8760, RFC 2617).
//!
//! A server holds one [`NonceKey`] for all slots and one [`ReplayGuard`] in each slot:
//!
//! ```
//! use std::time::Duration;
//! use base::Slot;
//! use sip::Method;
//! use sip::digest::{Algorithm, Challenge, Credentials, Freshness, NonceKey, ReplayGuard, Use};
//!
//! let (slot, now) = (Slot::new(3), 1_800_000_000_000);
//! let key = NonceKey::new([7; 32], Duration::from_secs(300));
//! let mut guard = ReplayGuard::new(10_000);
//!
//! // 401 goes out with a challenge …
//! let nonce = key.mint(now, slot, 0x1234_5678);
//! let challenge = Challenge::new("example.com", nonce.as_str(), Algorithm::Md5).to_string();
//! // … the phone answers it …
//! let challenge = Challenge::parse(&challenge)?;
//! let header = challenge
//!     .respond("1001", "secret", Method::Register, "sip:example.com", b"", 1, "f00d")
//!     .to_string();
//! // … and we judge the answer.
//! let credentials = Credentials::parse(&header)?;
//! let known = credentials.verify("1001", "example.com", "secret", Method::Register, b"");
//! let Freshness::Fresh(id) = key.verify(&credentials.nonce.unquoted(), now + 50, slot) else {
//!     panic!("minted 50 ms ago");
//! };
//! assert!(known && guard.check(id, credentials.nonce_count) == Use::First);
//! # Ok::<(), sip::digest::DigestError>(())
//! ```
//!
//! - [`Algorithm`], [`Ha1`]: the hashes, and the secret that may be kept instead of a password.
//! - [`Challenge`]: WWW-Authenticate and Proxy-Authenticate, written and read.
//! - [`Credentials`]: Authorization and Proxy-Authorization, read and verified.
//! - [`Answers`]: what a client remembers from challenge to challenge.
//! - [`NonceKey`]: nonces that need no memory; [`ReplayGuard`]: the bounded memory against replay.
//!
//! `username*`, `userhash`, `domain` and the `-sess` algorithms are not supported: SIP phones do not
//! use them, and RFC 8760 §2.2 leaves them out of SIP.

mod algorithm;
mod challenge;
mod client;
mod credentials;
mod nonce;
mod params;
mod replay;

pub use algorithm::{Algorithm, Ha1};
pub use challenge::{Challenge, Response};
pub use client::{Account, Answers, Learned};
pub use credentials::{Credentials, Qop};
pub use nonce::{Freshness, Nonce, NonceId, NonceKey};
pub use params::Quoted;
pub use replay::{ReplayGuard, Use};

/// Why a challenge or credentials cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// The scheme is not Digest.
    #[error("not digest authentication")]
    Scheme,
    /// The parameters are malformed, or one stands twice.
    #[error("malformed digest parameters")]
    Malformed,
    /// A parameter that must be there is missing.
    #[error("missing digest parameter {0}")]
    Missing(&'static str),
    /// The algorithm is none of ours.
    #[error("unsupported digest algorithm")]
    Algorithm,
    /// The quality of protection is none of ours.
    #[error("unsupported digest quality of protection")]
    Qop,
}
