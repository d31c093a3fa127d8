//! Signalling threads, slots, steering, transports.

pub mod machine;

pub use machine::{Input, Machine, Out, Send};
