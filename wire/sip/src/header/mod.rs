//! Header fields: names, and typed views of values made on demand.

mod address;
mod list;
mod name;
mod params;
mod values;
mod via;

pub use address::NameAddr;
pub use list::{List, comma_list};
pub use name::HeaderName;
pub use params::Params;
pub use values::{CSeq, RAck, SessionExpires, unquote};
pub use via::Via;

pub(crate) use params::split_outside;

/// Linear white space: a folded line continues after it (RFC 3261 §7.3.1).
pub(crate) const LWS: [char; 4] = [' ', '\t', '\r', '\n'];
