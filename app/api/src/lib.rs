//! How programs reach a running server: HTTP and JSON over a unix socket.
//!
//! ```
//! # use std::sync::Arc;
//! # fn example(server: Arc<dyn api::Server>) -> std::io::Result<()> {
//! # let path = std::path::Path::new("srv/run/dialtone.sock");
//! // In the server, on any tokio runtime:
//! let listener = api::socket::bind(path)?;
//! let serving = axum::serve(listener, api::router(server));
//! // In a command:
//! let status: Result<api::Status, api::ClientError> = api::Client::new(path).fetch("/status");
//! # Ok(()) }
//! ```
//!
//! | request | answer |
//! |---|---|
//! | `GET /status` | [`Status`] |
//! | `GET /phones` | list of [`Phone`] |
//! | `GET /trunks` | list of [`Trunk`] |
//! | `GET /waiting` | list of [`Waiting`] |
//! | `POST /users/{name}/voice-messages?new=…&old=…` | 202, or 404 with [`Refusal`] |
//! | `GET /calls` | list of [`Call`] |
//! | `DELETE /calls/{id}` | 202, or 404 with [`Refusal`] |
//! | `GET /rooms` | list of [`Room`] |
//! | `GET /rooms/events?room=…` | a [`RoomLine`] for each thing that happens, as it comes |
//! | `POST /rooms/{name}/{moderation}?call=…` | 202, or 404 with [`Refusal`] |
//! | `POST /reload` | [`Reloaded`], or 422 with [`Refusal`] |
//! | `POST /stop` | 202 |
//! | `GET /trace?call=…&phone=…&peer=…&last=…` | a [`TraceLine`] for each message, as it comes |
//! | `GET /health` | [`Health`], with status 200 or 503 |
//!
//! - [`types`]: what is answered. - [`problem`]: what is wrong with a configuration.
//! - [`router`]: requests. - [`client`]: the other end. - [`socket`]: unix sockets of any path length.
//! - [`calls`]: the read model of calls. - [`trace`], [`rooms`], [`lines()`]: messages, and what happens in
//!   rooms, as it comes.
//!
//! It doesn't know the engine: a server is whoever implements [`Server`].

pub mod calls;
pub mod client;
pub mod lines;
pub mod problem;
pub mod rooms;
mod routes;
pub mod socket;
pub mod trace;
pub mod types;

pub use calls::Calls;
pub use client::{Client, ClientError};
pub use lines::{Feed, Lines, lines};
pub use problem::{Excerpt, Problem, Severity};
pub use rooms::{RoomEvent, RoomFilter, RoomLine};
pub use routes::{Server, router};
pub use trace::{TraceFilter, TraceLine, TraceMessage};
pub use types::{
    Call, CallState, Concerned, Health, Moderation, Party, Phone, Reachability, Record,
    RecordAction, Refusal, Reloaded, Room, RoomParticipant, RoomRecording, Sound, Status, Transfer,
    Trunk, TrunkRegistration, TrunkWay, VoiceMessages, Waiting,
};
