//! STUN, ICE and TURN: how two parties find a way to each other through NATs.
//!
//! - [`stun`]: the messages that all of it is made of, and the server that tells a client its address.
//! - [`candidate`], [`credentials`]: what agents tell each other in SDP.
//! - [`lite`]: the agent for who has a public address; it only answers.
//! - [`agent`]: the full agent, which checks ways itself.
//! - [`turn`]: the server that relays for who can not be reached otherwise.
//!
//! Two agents, and between them a network that never loses anything:
//!
//! ```
//! use std::time::Instant;
//! use ice::{Agent, Candidate, Credentials, Role};
//!
//! let now = Instant::now();
//! let addresses = ["192.0.2.1:5000".parse()?, "192.0.2.2:5000".parse()?];
//! let mut agents = [Role::Controlling, Role::Controlled].map(|role| {
//!     Agent::new(role, Credentials::mint(1, [role as u8; 24]), [role as u8; 32])
//! });
//! let credentials = agents.each_ref().map(|agent| agent.local().clone());
//! for (us, them) in [(0, 1), (1, 0)] {
//!     agents[us].add_local(now, Candidate::host(addresses[us], 65535));
//!     agents[us].set_remote(now, credentials[them].clone(), false);
//!     agents[us].add_remote(now, &Candidate::host(addresses[them], 65535));
//! }
//! let mut clock = now;
//! let mut datagram = Vec::new();
//! while agents.iter().any(|agent| agent.selected().is_none()) {
//!     clock = agents.iter().filter_map(Agent::deadline).min().expect("there is work").max(clock);
//!     for (us, them) in [(0, 1), (1, 0)] {
//!         agents[us].wake(clock);
//!         while let Some(path) = agents[us].poll_transmit(&mut datagram) {
//!             agents[them].handle(clock, &datagram, path.local, path.remote);
//!         }
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An agent is for one component: RTP and RTCP on one port, which is what everybody does who does ICE, or
//! several streams in a bundle. Candidates over TCP and names of multicast DNS are passed over. It neither asks
//! STUN servers for its address nor TURN servers for a relay: who has learnt such addresses adds them.

pub mod agent;
pub mod candidate;
mod check;
pub mod credentials;
pub mod lite;
pub mod stun;
pub mod turn;

use std::net::SocketAddr;

pub use agent::{Agent, Role};
pub use candidate::Candidate;
pub use credentials::Credentials;
pub use lite::Lite;

/// A way between two agents, as seen by one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    /// Our socket.
    pub local: SocketAddr,
    /// Where the peer is reached from there.
    pub remote: SocketAddr,
}

/// What an agent has to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Media go this way from now on.
    Selected(Pair),
    /// The peer does not consent any more: nothing may be sent until ICE is restarted, or the peer
    /// nominates another way.
    Disconnected,
    /// No way was found. New candidates of the peer, or its checks, may still bring one.
    Failed,
}
