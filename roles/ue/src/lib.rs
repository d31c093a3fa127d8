//! Test phone and load generator.
//!
//! - [`phone`]: one phone as a state machine, for tests and the simulated world.
//! - [`softphone`]: that phone at the network, by a [`link`], with a [`voice`] that says a tone and measures what it
//!   hears, in every codec and protection.
//! - [`load`]: puts many registrations, calls or RTP streams on any SIP server and counts what comes
//!   back.
//!
//! What both say and how they judge an answer is free of IO and time; sockets and the clock are in
//! `load::run`, `load::socket`, `load::media`, `connection`, `link`, `softphone` and `voice` alone. They are here, and not with the sockets of
//! the product's engine, because a generator that shared code with the server under test would share
//! its faults.

mod connection;
mod credentials;
pub mod link;
pub mod load;
pub mod phone;
pub mod softphone;
mod tls;
pub mod voice;

pub use phone::Phone;
pub use softphone::Softphone;
pub use voice::Voice;
