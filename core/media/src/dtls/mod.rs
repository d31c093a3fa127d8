//! DTLS-SRTP: keys that the parties agree on in the media path.
//!
//! An [`Endpoint`] is one side of one stream. It has no socket and no clock: datagrams go in by
//! [`handle`](Endpoint::handle), time by [`handle_timeout`](Endpoint::handle_timeout), and after
//! both, [`poll`](Endpoint::poll) says what is to be done until it has nothing more.
//!
//! - [`Identity`]: our certificate; [`Fingerprint`]: how SDP names one.
//! - `handshake`: one run of the protocol; `modern` and `classic`: by one crate or the other, each kept
//!   at arm's length; `hello`: which of them it is to be.
//!
//! # Source
//! RFC 5763, RFC 5764

mod classic;
mod endpoint;
mod fingerprint;
mod handshake;
mod hello;
mod identity;
mod modern;

pub use endpoint::{Endpoint, Output};
pub use fingerprint::{Fingerprint, Hash};
pub use identity::Identity;
pub use srtp::dtls::Keys;

/// Which side of the handshake we are.
///
/// # Source
/// RFC 4145 §4, RFC 5763 §5
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Setup {
    /// We send the ClientHello (`a=setup:active` in our description).
    Active,
    /// We wait for it (`a=setup:passive` in our description).
    Passive,
}

impl Setup {
    /// The value of `a=setup` in our description.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
        }
    }

    /// Our side, if the peer's description has this value of `a=setup`. A peer that leaves it to
    /// us (`actpass`) waits for our ClientHello: that saves the time until it has our answer.
    /// `None`: no connection is wanted now (`holdconn`), or nobody knows.
    ///
    /// # Source
    /// RFC 5763 §5
    #[must_use]
    pub fn towards(peer: &str) -> Option<Self> {
        match peer {
            "active" => Some(Self::Passive),
            "passive" | "actpass" => Some(Self::Active),
            _ => None,
        }
    }
}

/// Why there are no keys.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer's certificate is not the one that its description names.
    #[error("the certificate is not the one that was signalled")]
    Fingerprint,
    /// The peer doesn't do SRTP, or with no profile that we have.
    #[error("no SRTP profile in common")]
    NoProfile,
    /// The peer did not answer in time.
    #[error("the handshake timed out")]
    Timeout,
    /// The parties can't agree, or the peer broke off.
    #[error("the handshake failed: {0}")]
    Handshake(String),
    /// Our certificate could not be made or used.
    #[error("no certificate of our own: {0}")]
    Identity(String),
}
