//! What can be wrong with a signed number.

use sip::StatusCode;

/// Why a caller's number is not believed.
///
/// # Source
/// RFC 8224 §6.2.2: the status of each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Nobody vouches for it.
    #[error("the call has no Identity header field")]
    Absent,
    /// The certificate can't be had.
    #[error("the certificate can't be fetched")]
    Unreachable,
    /// The certificate is of nobody whom we trust, or out of date, or not for this number.
    #[error("the certificate is not trusted")]
    Untrusted,
    /// The header field is malformed.
    #[error("the Identity header field is malformed")]
    Malformed,
    /// The token is about another call.
    #[error("the signed numbers are not those of the call")]
    OtherCall,
    /// The signature is wrong.
    #[error("the signature is wrong")]
    Forged,
    /// The token is too old, or from the future.
    #[error("the signature is out of date")]
    Stale,
}

impl Fault {
    /// The answer to an INVITE that is refused for it.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        StatusCode(match self {
            Self::Absent => 428,
            Self::Unreachable => 436,
            Self::Untrusted => 437,
            Self::Malformed | Self::OtherCall | Self::Forged => 438,
            Self::Stale => 403,
        })
    }

    /// The reason phrase of the answer.
    #[must_use]
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Absent => "Use Identity Header",
            Self::Unreachable => "Bad Identity Info",
            Self::Untrusted => "Unsupported Credential",
            Self::Malformed | Self::OtherCall | Self::Forged => "Invalid Identity Header",
            Self::Stale => "Stale Date",
        }
    }
}
