//! The media relay of a SIP proxy: the proxy shows it the descriptions of each call by the ng protocol
//! and hands on what it makes of them; media then go through the workers.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use base::{Clock, Mint, Slot};
//! use relay::{Client, Config, Input, Out, Relay};
//!
//! # let (now, seed) = (Instant::now(), [7; 32]);
//! let clock = Clock::new(now, Duration::from_secs(1_700_000_000));
//! let config = Config::at("192.0.2.1".parse()?);
//! let mut relay = Relay::new(Mint::new(Slot::new(0), seed), clock, now, config, None);
//! let from = Client { way: 0, remote: "192.0.2.7:40000".parse()? };
//! let mut out = Out::default();
//! relay.handle(now, Input::Message { from, message: b"1_1 d7:command4:pinge" }, &mut out);
//! assert_eq!(out.send, [(from, b"1_1 d6:result4:ponge".to_vec())]);
//! # Ok::<(), std::net::AddrParseError>(())
//! ```
//!
//! - `machine`: messages and events in, replies and commands for media out. - `cookies`: replies once
//!   more. - `tally`: replies that wait for counters.
//! - `call`: what is known of a call; `find`: whom a request is about.
//! - `dialog`: two parties and their media; `policy`: what a request wants of a description. - `hidden`:
//!   media that the other party is not shown; `attributes`: what a proxy wants written.
//! - `serve`: what parties hear of us. - `report`: what a query is answered. - [`config`]: what an operator says.
//!
//! Calls live by value in one machine, each under the slot that its Call-ID falls to; the numbers of
//! its media sessions carry that slot. It has no sockets: who runs it brings messages and events.

mod attributes;
mod call;
pub mod config;
mod cookies;
mod dialog;
mod find;
mod hidden;
mod machine;
mod policy;
mod report;
mod serve;
mod tally;

pub use config::{Config, Interface};
pub use machine::{Client, Input, Out, Relay};
