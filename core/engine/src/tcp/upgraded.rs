//! Connections that begin elsewhere.

use std::fmt;
use std::net::TcpStream;

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
    /// What came after the handshake and has been read, decrypted.
    pub early: Vec<u8>,
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgraded").finish_non_exhaustive()
    }
}
