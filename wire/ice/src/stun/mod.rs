//! STUN messages: what ICE and TURN are made of.
//!
//! - [`message`]: reading one. - [`mod@write`]: writing one. - [`attribute`]: numbers and addresses in it.
//! - [`integrity`]: keys and checksums. - [`binding`]: the server that tells a client its address.
//! - [`query`]: the client that asks for it.

pub mod attribute;
pub mod binding;
pub mod integrity;
pub mod message;
pub mod query;
pub mod write;

pub use binding::answer_binding;
pub use integrity::Key;
pub use message::{Class, Error, Message, TransactionId};
pub use query::Query;
pub use write::Writer;

/// Binding: the method by which a client learns its address, and by which ICE checks a path.
///
/// # Source
/// RFC 8489 §3.
pub const BINDING: u16 = 1;

/// Octets of a header.
///
/// # Source
/// RFC 8489 §5.
pub const HEADER: usize = 20;

/// What makes a STUN message known among others.
///
/// # Source
/// RFC 8489 §5.
pub const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
