//! Connections.

mod alarm;
mod connection;
mod connections;
mod directory;
mod listeners;
mod reading;
mod session;
mod upgraded;
mod websocket;

pub(crate) use connection::{Received, Stage, local_address};
pub(crate) use connections::{Connections, Place};
pub(crate) use directory::Directory;
pub(crate) use listeners::Listeners;
pub(crate) use reading::{Outcome, read};
pub use upgraded::{Proxied, Upgraded};
