//! A simulated world for the PBX: a virtual clock, a network that loses, doubles and reorders, phones
//! that behave and misbehave, and an oracle.
//!
//! ```
//! use std::time::Duration;
//! use testkit::{Command, Manner, Place, Settings, World};
//! let mut world = World::new(Settings::calm(1));
//! let alice = world.phone("1001", Place::Udp, Manner::default());
//! let bob = world.phone("1002", Place::Nat, Manner::default());
//! world.tell(alice, Command::Register);
//! world.tell(bob, Command::Register);
//! world.run(Duration::from_secs(1));
//! world.tell(alice, Command::Dial("1002".into()));
//! world.run(Duration::from_secs(5));
//! assert!(world.at(alice).lines()[0].up && world.at(bob).lines()[0].up);
//! world.settle();
//! assert!(world.faults().is_empty(), "{:?}", world.faults());
//! ```
//!
//! What holds in any weather, and is checked in every world:
//!
//! - every call ends in both legs released, all ports returned, and exactly one record;
//! - a confirmed registration survives a crash;
//! - everything that the server sends is well-formed, and in order: CSeq, RSeq, tags, ACK, CANCEL,
//!   versions of descriptions;
//! - the server comes to rest: no transaction, timer or session stays.
//!
//! - [`world`]: the clock, and who lives there. - [`network`]: what gets through.
//! - [`phone`]: scripted phones. - [`server`]: the machines with a disk and [`media_plane`].
//! - `judge`: rules of the wire. - [`wiretap`]: what was sent. - [`report`]: what to say of a failure.

pub mod dice;
mod judge;
pub mod media_plane;
pub mod network;
pub mod peer;
pub mod phone;
pub mod report;
pub mod server;
mod settings;
mod tamper;
pub mod walk;
pub mod wiretap;
pub mod world;

pub use dice::Dice;
pub use network::Weather;
pub use peer::Peer;
pub use phone::{Command, Ending, Manner, Outcome, Phone, Referral, Reply, WatchView};
pub use report::{Failure, examine, simulate};
pub use server::Death;
pub use world::{Names, PhoneId, Place, Settings, World, password};
