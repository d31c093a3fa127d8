//! Figures of the product, measured beside peers in one run.
//!
//! - [`machine`]: CPU clocks, memory and CPUs of processes.
//! - [`server`]: a server under test: started, asked whether it answers, stopped.
//! - [`peers`]: how each server is configured and started.
//! - [`signalling`], [`relay`], [`media`], [`memory`], [`birth`]: what is measured.
//! - [`table`]: what is printed.
//!
//! The method is in `README.md` of this folder.

pub mod birth;
pub mod machine;
pub mod media;
pub mod memory;
pub mod peers;
pub mod relay;
pub mod server;
pub mod signalling;
pub mod table;
