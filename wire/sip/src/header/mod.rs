//! Header fields: names, and typed views of values made on demand.

mod address;
mod list;
mod name;
mod params;
mod replaces;
mod values;
mod via;

pub use address::NameAddr;
pub use list::{List, comma_list};
pub use name::HeaderName;
pub use params::Params;
pub use replaces::Replaces;
pub use values::{CSeq, RAck, SessionExpires, unquote};
pub use via::Via;
