//! The encrypted part of a connection.

use std::io::{self, Read as _, Write as _};

use rustls::Connection;
use socket2::Socket;

use super::connection::Received;

/// TLS between socket and messages. It does no IO of its own but reading what has come.
#[derive(Debug)]
pub(crate) struct Session {
    tls: Connection,
    /// Octets that wait inside for the end of the handshake.
    early: usize,
}

impl Session {
    pub(crate) fn new(tls: impl Into<Connection>) -> Self {
        let mut tls = tls.into();
        // The connection counts what waits, so that one bound holds for all.
        tls.set_buffer_limit(None);
        Self { tls, early: 0 }
    }

    /// Reads from the socket; what is in the messages goes to `plain`, which must have room for all
    /// that one read can bring (16 KiB), and what the peer must get goes to `unsent`.
    pub(crate) fn receive(
        &mut self,
        mut socket: &Socket,
        plain: &mut [u8],
        unsent: &mut Vec<u8>,
    ) -> io::Result<Received> {
        match self.tls.read_tls(&mut socket) {
            Ok(0) => return Ok(Received::End),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let state = self.tls.process_new_packets();
        // Even a failure has something to tell the peer.
        self.put_out(unsent);
        let ended = match state {
            Ok(state) => state.peer_has_closed(),
            Err(error) => return Ok(Received::Fault(error)),
        };
        let count = self.take(plain);
        Ok(match (count, ended) {
            (0, true) => Received::End,
            (0, false) => Received::Nothing,
            (_, _) => Received::Octets { count, last: ended },
        })
    }

    /// Takes what has been decrypted.
    pub(crate) fn take(&mut self, plain: &mut [u8]) -> usize {
        let mut count = 0;
        while count < plain.len() {
            match self.tls.reader().read(&mut plain[count..]) {
                Ok(0) | Err(_) => break,
                Ok(more) => count += more,
            }
        }
        count
    }

    /// Encrypts octets; those that come before the end of the handshake wait inside.
    pub(crate) fn write(&mut self, bytes: &[u8], unsent: &mut Vec<u8>) {
        if self.tls.is_handshaking() {
            self.early += bytes.len();
        }
        // Without a limit it takes all.
        let _ = self.tls.writer().write_all(bytes);
        self.put_out(unsent);
    }

    /// Tells the peer that nothing more will come.
    pub(crate) fn close(&mut self, unsent: &mut Vec<u8>) {
        self.tls.send_close_notify();
        self.put_out(unsent);
    }

    /// Octets that wait inside.
    pub(crate) fn waiting(&self) -> usize {
        self.early
    }

    /// Whether the handshake is over.
    pub(crate) fn is_open(&self) -> bool {
        !self.tls.is_handshaking()
    }

    /// What the peer showed, verified.
    pub(crate) fn certificate(&self) -> Option<&rustls::pki_types::CertificateDer<'static>> {
        self.tls.peer_certificates()?.first()
    }

    /// Moves what the peer must get to `unsent`.
    pub(crate) fn put_out(&mut self, unsent: &mut Vec<u8>) {
        while self.tls.wants_write() {
            // A vector takes everything.
            if self.tls.write_tls(unsent).is_err() {
                break;
            }
        }
        if self.is_open() {
            self.early = 0;
        }
    }
}
