//! Test phone and load generator.
//!
//! - [`phone`]: one phone as a state machine, for tests and the simulated world.
//! - [`load`]: puts many registrations, calls or RTP streams on any SIP server and counts what comes
//!   back.
//!
//! What both say and how they judge an answer is free of IO and time; sockets and the clock are in
//! `load::run`, `load::socket` and `load::media` alone. They are here, and not with the sockets of
//! the product's engine, because a generator that shared code with the server under test would share
//! its faults.

mod credentials;
pub mod load;
pub mod phone;

pub use phone::Phone;
