//! Test phone and load generator.
//!
//! - [`load`]: puts many registrations, calls or RTP streams on any SIP server and counts what comes
//!   back.
//!
//! What the generator says and how it judges an answer is free of IO and time; sockets and the clock
//! are in `load::run`, `load::socket` and `load::media` alone. They are here, and not with the
//! sockets of the product's engine, because a generator that shared code with the server under test
//! would share its faults.

pub mod load;
