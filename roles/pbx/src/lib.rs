//! The PBX role: registrar, back-to-back user agent and dial plan.
//!
//! [`Pbx`] is the machine of one slot. It registers the slot's users, lets callers in by digest, walks
//! the dial plan and joins two legs, each with a dialog of its own, through the media workers:
//!
//! ```text
//! INVITE → auth → route (dial plan) → media ports → INVITE to each phone → answer → both connected
//! ```
//!
//! - [`config`] and [`dialplan`]: the snapshot that all decisions are made by.
//! - `registrar` and `auth`: who is where, and who is who.
//! - [`trunk`]: providers and other switches.
//! - `call`: one call from INVITE to record.
//! - `proxy`: calls that are forwarded instead of joined.
//! - `network`: which address a peer is told, and reached at; `locate`: servers that have a name.
//! - `events`: lamps, voice mail, presence: who watches what.
//! - [`stir`]: whose word a trunk's callers are believed on.
//! - `messages`: instant messages, kept for phones that are away.
//! - [`event`]: what observers learn; [`room_event`]: of conference rooms.
//!
//! It opens no socket and reads no clock: `engine` runs it, and so does the simulation.

mod auth;
mod call;
pub mod config;
mod context;
pub mod dialplan;
pub mod event;
pub mod events;
mod locate;
mod machine;
mod messages;
mod network;
mod orbits;
mod outbound;
mod proxy;
mod registrar;
pub mod room_event;
mod rooms;
pub mod sound;
pub mod stir;
pub mod trunk;

pub use call::record::{RecordAction, RecordStep};
pub use config::{Config, Network, User};
pub use context::{Promised, Services, WayOut};
pub use dialplan::{Conference, DialPlan, Extension, Step};
pub use event::{CallRecord, Cause, Command, Event};
pub use machine::{Load, Pbx};
pub use network::contains;
pub use orbits::Orbits;
pub use room_event::{RoomChange, RoomEvent};
pub use rooms::{Moderation, Room, Rooms, Seat};
pub use trunk::{Trunk, TrunkSettings, Trunks};
