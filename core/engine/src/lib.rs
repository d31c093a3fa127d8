//! Signalling threads, slots, steering, transports.
//!
//! A [`Machine`] holds the calls of one slot and does no IO. The engine owns one for each of the 256
//! slots and spreads them over a few threads. A thread runs one loop: deadlines, mailbox, sockets;
//! when nothing is to do, it sleeps until one of the three has something.
//!
//! ```
//! use std::time::Instant;
//!
//! use engine::{Config, Engine, Input, Listen, Machine, Out, Services};
//! use sip::{Method, Protocol, StatusCode, Writer, response_flow};
//!
//! /// Answers every OPTIONS.
//! struct Answer;
//!
//! impl Machine for Answer {
//!     type Command = ();
//!     type Event = ();
//!
//!     fn handle(&mut self, _: Instant, input: Input<'_, ()>, out: &mut Out<()>) {
//!         let Input::Message { flow, message } = input else { return };
//!         if message.method() == Some(Method::Options) {
//!             out.send_with(response_flow(message, flow), |bytes| {
//!                 Writer::response_to(bytes, message, &flow, StatusCode(200), "tag").finish();
//!             });
//!         }
//!     }
//!
//!     fn deadline(&self) -> Option<Instant> {
//!         None
//!     }
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! let listen = Listen { protocol: Protocol::Udp, address: ([127, 0, 0, 1], 0).into() };
//! let engine = Engine::start(Config::new(vec![listen]), |_slot| Answer, Services::none())?;
//! println!("listening on {}", engine.listening()[0]);
//! engine.stop();
//! # Ok(())
//! # }
//! ```
//!
//! # The way of a message
//!
//! A thread takes a batch of datagrams, or what a connection has, and parses each message once
//! (`reception`). A malformed one is refused at once (`refusal`). [`steer()`] finds the slot. If it lives
//! on another thread the octets go there in a parcel (`post`, `mailbox`); if not, the machine gets the
//! message (`residents`). After the batch the thread commits: the records of all machines are written
//! with one call, then all messages leave (`transports`, `udp`, `tcp`). Messages of one peer to one slot
//! never overtake each other: each peer's datagrams come in on one thread, and a mailbox keeps order.
//!
//! # Threads
//!
//! - Each thread has a socket of its own for each datagram address (`SO_REUSEPORT`), and the kernel
//!   spreads peers over them; the same for listeners. A connection stays on the thread that accepted or
//!   made it, whose number is in its id.
//! - The loop is made of epoll and nothing else. An asynchronous runtime would add a scheduler between
//!   the kernel and a loop that never has more than one thing to do, and could not receive in batches;
//!   slow work has its own runtime elsewhere.
//! - A thread that sleeps is woken by one system call, a busy one by none. Nothing is polled.
//! - A machine that panics is built again and its slot's calls are lost; the others do not notice.
//!
//! # Listening in
//!
//! [`Handle::wiretap`] gives copies of all messages in clear, whatever carries them. They are taken where
//! messages are whole: on their way to [`steer()`], and when a commit sends them.
//!
//! What this room does not do: transactions and dialogs (`sip`, and the machines), name resolution.

mod admission;
mod config;
mod engine;
mod icmp;
mod known;
pub mod machine;
mod mailbox;
mod poll;
mod post;
mod rates;
mod reception;
mod refusal;
mod residents;
mod seldom;
mod services;
mod shared;
mod slot_set;
mod socket;
mod stats;
mod steer;
mod tcp;
mod thread;
pub mod tls;
mod transports;
mod udp;
mod wiretap;

pub use config::{Config, Limits, Listen};
pub use engine::{Bound, Engine, Full, Handle, bind};
pub use machine::{Answer, Ask, Found, Input, Machine, Out, Question, Send, Server};
pub use refusal::refuse;
pub use services::{PublishEvents, Services, SubmitMedia, TakeQuestions, Trusts, WriteRecords};
pub use socket::raise_descriptor_limit;
pub use stats::{Counter, Stats};
pub use steer::{slot_of_user, steer};
pub use tcp::{Proxied, Upgraded};
pub use tls::Tls;
pub use wiretap::{Batch, Direction, Tapped, Wiretap};
