//! Connections that begin elsewhere.

use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpStream};

use rustls::ServerConnection;

/// A WebSocket with the subprotocol `sip` whose opening handshake a web server has done. From then on it
/// is a connection like any other.
///
/// # Source
/// RFC 7118 §4.1.
pub struct Upgraded {
    /// The socket, blocking or not.
    pub socket: TcpStream,
    /// The TLS session on it, if it is encrypted, past its handshake.
    pub session: Option<Box<ServerConnection>>,
    /// Who is at the other end, if the socket leads to a reverse proxy only.
    pub proxied: Option<Proxied>,
    /// What came after the handshake and has been read, decrypted.
    pub early: Vec<u8>,
}

/// A client that a reverse proxy stands before. All that is decided or logged by the address of a peer is
/// so by the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// The client's address, with the port that the proxy connects from, which is no other client's.
    pub client: SocketAddr,
    /// Our own address as the client would see it without the proxy.
    pub local: IpAddr,
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgraded").finish_non_exhaustive()
    }
}
