//! Signalling threads, slots, steering, transports.

mod address;
mod config;
mod engine;
mod icmp;
pub mod machine;
mod mailbox;
mod poll;
mod post;
mod reception;
mod refusal;
mod residents;
mod seldom;
mod services;
mod shared;
mod socket;
mod stats;
mod steer;
mod thread;
mod transports;
mod udp;

pub use config::{Config, Limits, Listen};
pub use engine::{Bound, Engine, Full, Handle, bind};
pub use machine::{Input, Machine, Out, Send};
pub use services::{PublishEvents, Services, SubmitMedia, WriteRecords};
pub use stats::{Counter, Stats};
pub use steer::{slot_of_user, steer};
