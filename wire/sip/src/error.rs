//! What can be wrong with a message.

use crate::StatusCode;

/// A fault in a message that a peer sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Neither a request line nor a status line.
    #[error("not a SIP message")]
    NotSip,
    /// The start line is malformed.
    #[error("malformed start line")]
    StartLine,
    /// The version is not SIP/2.0.
    #[error("version not supported")]
    Version,
    /// A header line has no colon or no legal name.
    #[error("malformed header line")]
    HeaderLine,
    /// More header fields than we keep.
    #[error("too many header fields")]
    TooManyHeaders,
    /// The header section is not UTF-8.
    #[error("header section is not UTF-8")]
    Encoding,
    /// No empty line ends the header section.
    #[error("header section is not ended")]
    Incomplete,
    /// Content-Length is not a number, or larger than what came, or given twice with two values.
    #[error("wrong Content-Length")]
    ContentLength,
    /// A header field that every message must have is missing.
    #[error("missing mandatory header field")]
    Missing,
    /// A header field that may stand once stands twice.
    #[error("repeated header field")]
    Repeated,
    /// An address is malformed.
    #[error("malformed address")]
    Address,
    /// A URI is malformed.
    #[error("malformed URI")]
    Uri,
    /// The scheme of the URI is not sip, sips or tel.
    #[error("unsupported URI scheme")]
    Scheme,
    /// A Via value is malformed.
    #[error("malformed Via")]
    Via,
    /// The CSeq is malformed or names another method.
    #[error("malformed CSeq")]
    CSeq,
    /// The RAck is malformed.
    #[error("malformed RAck")]
    RAck,
    /// A number is malformed.
    #[error("malformed number")]
    Number,
}

impl ParseError {
    /// How a request with this fault is answered.
    ///
    /// # Source
    /// RFC 3261 §16.3, §21.4.1, §21.4.14, §21.5.6.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        StatusCode(match self {
            Self::Version => 505,
            Self::Scheme => 416,
            Self::TooManyHeaders => 513,
            _ => 400,
        })
    }
}
