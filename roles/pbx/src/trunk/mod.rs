//! Trunks: providers and other switches, through which calls leave and come.
//!
//! - [`config`]: what an operator says of a trunk.
//! - [`state`]: what all slots know of it: its ways and their health, its registration, its load.
//! - `keeper`: one slot looks after each trunk: `registration` with the provider, `probe` by OPTIONS.
//! - `route`: which ways a call may take, in order; `outgoing`: what the trunk is told.
//! - `incoming`: which trunk a request is from, and whom it wants.
//! - [`caller_id`]: who calls, and who may know.
//! - [`numbers`] and [`countries`]: one number in its many forms.

pub mod caller_id;
pub mod config;
pub mod countries;
mod incoming;
mod keeper;
pub mod numbers;
mod outgoing;
mod probe;
mod registration;
mod route;
pub mod state;

pub use config::{Trunk, TrunkSettings, Trunks};

pub(crate) use caller_id::{ANONYMOUS_ADDRESS, CallerId, REMOTE_PARTY_ID};
pub(crate) use incoming::{Arrival, arrival};
pub(crate) use keeper::{Errand, Keeper};
pub(crate) use outgoing::{Outgoing, Proof, TrunkLeg};
pub(crate) use registration::retry_after;
pub(crate) use route::{Route, routes};
pub(crate) use state::Channel;
