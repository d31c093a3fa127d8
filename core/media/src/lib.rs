//! Media workers: threads that own the RTP sockets and move packets between them.
//!
//! Signalling sends [`Command`]s through a [`Handle`] and hears [`Event`]s from the [`Plane`]:
//!
//! ```
//! use std::sync::{Arc, mpsc};
//! use base::Slot;
//! use media::{Command, Config, Event, Plane, SessionId};
//!
//! let (sender, events) = mpsc::channel();
//! let config = Config { ports: 41000..=41099, ..Config::default() };
//! let plane = Plane::start(config, Arc::new(move |event| _ = sender.send(event)))?;
//!
//! let session = SessionId::new(Slot::new(1), 1);
//! let local = Some("127.0.0.1".parse().unwrap());
//! plane.handle().submit(&mut vec![
//!     Command::Allocate { session, local: [local, local], streams: 1 },
//!     Command::Close { session },
//! ]);
//! assert!(matches!(events.recv().unwrap(), Event::Allocated { .. }));
//! assert!(matches!(events.recv().unwrap(), Event::Closed { .. }));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! - [`command`], [`remote`]: the contract with signalling.
//! - `plane`, `mailbox`: starting, stopping and reaching the workers.
//! - `worker`: a thread's loop: commands, packets, time; `pace`: how often it looks.
//! - `sessions`, `leg`: the state; `ports`, `socket`: what it is bound to.
//! - `relay`: the packet path; `latch`: whose packets are accepted; `protection`: SRTP.
//! - `convert`: payload types and codecs that differ between the sides.
//! - [`dtls`]: keys that are agreed on in the media path; `handshakes`: when; `certificate`: ours.
//! - `serve`: echo and our own sound; `clock`, `player`, `encoder`, `prompt`: how that is made;
//!   `report`: RTCP about it.
//!
//! Each session lives in one worker, chosen by its number, which owns all its sockets: nothing is
//! allocated, locked or logged for a packet. Unless signalling tells what the payload types mean,
//! payloads are passed on untouched, so any codec and SRTP between the parties work.

mod certificate;
mod checks;
mod clock;
pub mod command;
mod config;
mod convert;
pub mod dtls;
mod encoder;
mod handshakes;
mod latch;
mod leg;
mod mailbox;
mod pace;
mod plane;
mod player;
mod ports;
mod prompt;
mod protection;
mod relay;
pub mod remote;
mod report;
mod serve;
mod sessions;
mod socket;
mod worker;

pub use codec::Parameters;
pub use command::{
    Codec, Command, Event, Format, Insecurity, Refusal, SessionId, Side, SideStats, Source,
    StreamPorts,
};
pub use config::Config;
pub use plane::{Deliver, Handle, Plane};
pub use prompt::{prompt, prompts};
pub use remote::{Payload, PayloadKind, Remote, Security};
pub use srtp::{MasterKey, Profile};
