//! SIP.

pub mod encode;
mod error;
pub mod flow;
pub mod header;
mod message;
mod method;
mod status;
pub mod transaction;
pub mod uri;

pub use encode::{Writer, response_flow};
pub use error::ParseError;
pub use flow::{ConnectionId, Flow, Protocol};
pub use header::{CSeq, HeaderName, NameAddr, Params, RAck, SessionExpires, Via};
pub use message::{Field, MAX_FIELDS, Message, StartLine};
pub use method::Method;
pub use status::StatusCode;
pub use transaction::{ClientKey, Expired, Received, ServerKey, Transactions, Transmit};
pub use uri::{Scheme, Uri};
