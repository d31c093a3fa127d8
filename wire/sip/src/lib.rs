//! SIP.

pub mod flow;

pub use flow::{ConnectionId, Flow, Protocol};

/// A message.
#[derive(Debug)]
pub struct Message<'a>(&'a [u8]);
