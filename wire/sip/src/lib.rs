//! SIP: messages, URIs, digest, transactions, dialogs.
//!
//! ```
//! use sip::{HeaderName, Message, Method};
//! let bytes = b"OPTIONS sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
//!     From: <sip:a@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: 7\r\nCSeq: 1 OPTIONS\r\n\r\n";
//! let message = Message::parse(bytes)?;
//! message.check()?;
//! assert_eq!(message.method(), Some(Method::Options));
//! assert_eq!(message.header(HeaderName::CallId), Some("7"));
//! # Ok::<(), sip::ParseError>(())
//! ```
//!
//! Reading order is data order: [`flow`] (how a message came), [`Message`] (one pass, nothing copied),
//! [`header`] and [`uri`] (typed on demand), [`transaction`] (repetitions and time-outs), [`dialog`]
//! (what lasts between requests), [`encode`] (writing); [`locate`] finds servers by their names.
//!
//! No sockets, no clock, no randomness: time and identifiers are arguments.

pub mod dialog;
pub mod digest;
pub mod encode;
mod error;
mod field;
pub mod flow;
pub mod framing;
pub mod header;
pub mod locate;
mod message;
mod method;
mod owned;
pub mod proxy;
mod scan;
mod status;
pub mod transaction;
pub mod uri;

pub use dialog::Dialog;
pub use encode::{Writer, response_flow};
pub use error::ParseError;
pub use field::Field;
pub use flow::{ConnectionId, Flow, Protocol, TlsPeer};
pub use header::{CSeq, HeaderName, NameAddr, Params, RAck, Replaces, SessionExpires, Via};
pub use message::{MAX_FIELDS, Message, StartLine};
pub use method::Method;
pub use owned::OwnedMessage;
pub use status::StatusCode;
pub use transaction::{ClientKey, Expired, Received, ServerKey, Transactions, Transmit};
pub use uri::{Scheme, Uri};
