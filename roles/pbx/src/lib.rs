//! The PBX role.

pub mod config;
pub mod dialplan;

pub use config::{Config, Network, User};
pub use dialplan::{DialPlan, Extension, Step};
