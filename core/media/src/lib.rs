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
//! - [`command`], [`remote`]: the contract with signalling; [`agreement`]: it from offer and answer.
//! - `plane`, `mailbox`: starting, stopping and reaching the workers.
//! - `worker`: a thread's loop: commands, packets, time; `pace`: how often it looks.
//! - `sessions`, `leg`: the state; `transport`, `ports`, `socket`: what it is bound to; `hub`,
//!   `hubs`: ports that many legs share; `bundle`: streams of one side that share a transport.
//! - `relay`: the packet path; `latch`: whose packets are accepted; `protection`: SRTP.
//! - `shortcuts`: streams that pass in the kernel.
//! - `convert`: payload types and codecs that differ between the sides.
//! - `room`: conference rooms; [`playout`]: what comes out of a jitter buffer as sound.
//! - [`dtls`]: keys that are agreed on in the media path; `handshakes`: when; `certificate`: ours.
//! - `quality`: how good it sounds; `alarms`: what is wrong with it.
//! - `digits`: keys that parties press; `ear`: those that come as tones; `dialing`: those that we press.
//! - `serve`: echo and our own sound; `clock`, `player`, `encoder`, `prompt`: how that is made;
//!   `report`: RTCP about it; [`sound`]: files, short and long, and what is on the web;
//!   `broadcast`: music on hold, encoded once for all.
//! - [`record`]: what the parties say, as a file.
//!
//! Each session lives in one worker, chosen by its number, which owns all its sockets: nothing is
//! allocated, locked or logged for a packet. Unless signalling tells what the payload types mean,
//! payloads are passed on untouched, so any codec and SRTP between the parties work.

pub mod agreement;
mod alarms;
mod broadcast;
mod bundle;
mod certificate;
mod checks;
mod clock;
pub mod command;
mod config;
mod convert;
mod dialing;
mod digits;
pub mod dtls;
mod ear;
mod encoder;
mod handshakes;
mod hub;
mod hubs;
mod latch;
mod leg;
mod mailbox;
mod pace;
mod plane;
mod player;
pub mod playout;
mod ports;
mod prompt;
mod protection;
mod quality;
pub mod record;
mod relay;
pub mod remote;
mod report;
mod room;
mod serve;
mod sessions;
mod shortcuts;
mod socket;
pub mod sound;
mod transport;
mod worker;

pub use alarms::Alarm;
pub use certificate::OwnCertificate;
pub use codec::Parameters;
pub use codec::dtmf::Key;
pub use codec::indication::{Cadence, Signal, countries};
pub use command::{
    Codec, Command, Event, Format, Insecurity, Refusal, SessionId, Side, SideStats, Source,
    StreamPorts,
};
pub use config::{Config, Kernel};
pub use digits::DigitSource;
pub use ear::Keys;
pub use plane::{Deliver, Handle, Plane};
pub use prompt::{prompt, prompts};
pub use quality::{Mos, Reported};
pub use record::{Container, Recording};
pub use remote::{
    Bundled, Ice, IcePeer, Latching, MAX_PAYLOADS, Payload, PayloadKind, Remote, Security,
};
pub use room::{Participant, RoomId, VideoCodec, VideoFormat};
pub use sdp::Levels;
pub use sound::Music;
pub use srtp::{MasterKey, Profile};
