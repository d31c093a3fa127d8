//! The TURN server: relays for who can't be reached otherwise.
//!
//! - [`server`]: the machine. - [`allocation`]: one client's relay. - [`channel`]: data in four octets' frame.
//! - [`credentials`]: who may have a relay, and the nonces that keep replays out.
//! - [`policy`]: with whom a relay may speak.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use ice::turn::{Client, Command, Config, Out, Server};
//!
//! let config = Config { realm: "example.org".into(), ..Config::default() };
//! let mut server = Server::new(config, [7; 32], Instant::now(), Duration::from_secs(1_795_000_000));
//! let mut out = Out::default();
//! # let (now, datagram) = (Instant::now(), [0_u8; 20]);
//! let client = Client { address: "192.0.2.1:5000".parse()?, listener: 0, connection: 0 };
//! server.handle(now, client, &datagram, &mut out);
//! for command in out.commands.drain(..) {
//!     match command {
//!         Command::ToClient { client, octets } => { /* send out.octets[octets] */ }
//!         Command::ToPeer { relay, peer, octets } => { /* send them from the relay's socket */ }
//!         Command::Bind { relay, .. } => { /* make a socket, then Server::bound */ }
//!         Command::Close { relay } => { /* close that socket */ }
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Relays speak UDP with peers. Clients speak UDP, or a stream that the caller cuts with
//! [`channel::frame`]. Not supported, and refused as RFC 8656 wants it: reserving the next port, keeping
//! datagrams whole (DONT-FRAGMENT), relays over TCP (RFC 6062), moving to another network (RFC 8016).

pub mod allocation;
pub mod channel;
pub mod credentials;
pub mod policy;
mod requests;
pub mod server;

use std::net::SocketAddr;
use std::ops::Range;

pub use credentials::Users;
pub use policy::Policy;
pub use server::{Config, Server};

/// Who speaks to the server, and by what: the 5-tuple.
///
/// # Source
/// RFC 8656 §3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Client {
    /// Its address.
    pub address: SocketAddr,
    /// The caller's number for the socket that it came to.
    pub listener: u16,
    /// The caller's number for the stream that it came by; 0: none, it came as a datagram.
    pub connection: u32,
}

/// A relayed address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelayId(pub u32);

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// These octets go to a client.
    ToClient {
        /// Whom to.
        client: Client,
        /// Of [`Out::octets`].
        octets: Range<usize>,
    },
    /// These octets leave a relay.
    ToPeer {
        /// From where.
        relay: RelayId,
        /// Where to.
        peer: SocketAddr,
        /// Of [`Out::octets`].
        octets: Range<usize>,
    },
    /// A relay needs a socket. [`Server::bound`] tells which it got.
    Bind {
        /// Its number from now on.
        relay: RelayId,
        /// An IPv6 address instead of an IPv4 one.
        ipv6: bool,
        /// Its port must be even.
        even: bool,
    },
    /// A relay is no longer needed.
    Close {
        /// Whose socket is to be closed.
        relay: RelayId,
    },
}

/// What the machine wants done, in order, and the octets for it. The caller empties both.
#[derive(Debug, Default)]
pub struct Out {
    /// What to do.
    pub commands: Vec<Command>,
    /// What to send.
    pub octets: Vec<u8>,
}

impl Out {
    /// Forgets all, and keeps the room.
    pub fn clear(&mut self) {
        self.commands.clear();
        self.octets.clear();
    }

    pub(crate) fn send(&mut self, client: Client, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.octets.len();
        write(&mut self.octets);
        let octets = start..self.octets.len();
        self.commands.push(Command::ToClient { client, octets });
    }

    pub(crate) fn forward(&mut self, relay: RelayId, peer: SocketAddr, data: &[u8]) {
        let start = self.octets.len();
        self.octets.extend_from_slice(data);
        let octets = start..self.octets.len();
        self.commands.push(Command::ToPeer {
            relay,
            peer,
            octets,
        });
    }
}

/// Allocate.
const ALLOCATE: u16 = 3;
/// Refresh.
const REFRESH: u16 = 4;
/// Send, an indication.
const SEND: u16 = 6;
/// Data, an indication.
const DATA_FROM_PEER: u16 = 7;
/// `CreatePermission`.
const CREATE_PERMISSION: u16 = 8;
/// `ChannelBind`.
const CHANNEL_BIND: u16 = 9;
