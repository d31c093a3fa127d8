//! What every protocol machine shares: slots, minted identifiers, deadlines, clocks, personal data.
//!
//! ```
//! use base::{Mint, Slot};
//! let mut mint = Mint::new(Slot::new(7), [1; 32]);
//! let tag = mint.token();
//! assert_eq!(Slot::of_token(tag.as_bytes()), Some(Slot::new(7)));
//! ```
//!
//! - [`slot`]: the 256 virtual slots that calls live in, and how a packet finds its slot.
//! - [`mint`]: random identifiers that carry their slot.
//! - [`deadline`]: one heap of lazily moved deadlines for each slot.
//! - [`clock`]: wall-clock time from the monotonic time that machines are handed.
//! - [`pii`]: personal data, masked in logs.
//!
//! No IO, no clock, no threads; randomness comes from the seed a caller gives.

pub mod clock;
pub mod deadline;
pub mod mint;
pub mod pii;
pub mod slot;

pub use clock::{Clock, UnixTime};
pub use deadline::Deadlines;
pub use mint::{Mint, Token};
pub use pii::Pii;
pub use slot::{SLOTS, Slot};
