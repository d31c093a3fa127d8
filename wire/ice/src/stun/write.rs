//! Writing a message.

use std::net::SocketAddr;

use super::attribute::{ERROR_CODE, FINGERPRINT, MESSAGE_INTEGRITY, masked};
use super::integrity::{Key, crc32};
use super::message::{Class, FINGERPRINT_MASK, TransactionId};
use super::{COOKIE, HEADER};

/// Appends a message to a buffer, attribute by attribute. After each call what is there is a whole
/// message, so nothing has to be finished.
///
/// ```
/// use ice::stun::{BINDING, Class, Key, Message, TransactionId, Writer, attribute};
/// let mut octets = Vec::new();
/// Writer::new(&mut octets, Class::Request, BINDING, TransactionId([7; 12]))
///     .put(attribute::USERNAME, b"them:us")
///     .sign(&Key::short_term("their password"))
///     .fingerprint();
/// let message = Message::parse(&octets)?;
/// assert_eq!(message.text(attribute::USERNAME), Some("them:us"));
/// # Ok::<(), ice::stun::Error>(())
/// ```
#[derive(Debug)]
pub struct Writer<'b> {
    out: &'b mut Vec<u8>,
    start: usize,
    transaction: TransactionId,
}

impl<'b> Writer<'b> {
    /// Begins a message.
    ///
    /// # Source
    /// RFC 8489 §5.
    pub fn new(
        out: &'b mut Vec<u8>,
        class: Class,
        method: u16,
        transaction: TransactionId,
    ) -> Self {
        let class = match class {
            Class::Request => 0x0000,
            Class::Indication => 0x0010,
            Class::Success => 0x0100,
            Class::Error => 0x0110,
        };
        let kind = class | method & 0x000f | (method & 0x0070) << 1 | (method & 0x0f80) << 2;
        let start = out.len();
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&COOKIE);
        out.extend_from_slice(&transaction.0);
        Self {
            out,
            start,
            transaction,
        }
    }

    /// Appends an attribute. One that would make the message longer than a datagram is left out.
    pub fn put(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let padded = value.len().next_multiple_of(4);
        if self.out.len() - self.start + 4 + padded > MOST {
            return self;
        }
        self.out.extend_from_slice(&kind.to_be_bytes());
        self.out
            .extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.out.extend_from_slice(value);
        self.out.resize(self.out.len() + padded - value.len(), 0);
        let length = (self.out.len() - self.start - HEADER) as u16;
        self.set_length(length);
        self
    }

    /// Appends a number of four octets.
    pub fn number(&mut self, kind: u16, number: u32) -> &mut Self {
        self.put(kind, &number.to_be_bytes())
    }

    /// Appends a masked address.
    ///
    /// # Source
    /// RFC 8489 §14.2.
    pub fn address(&mut self, kind: u16, address: SocketAddr) -> &mut Self {
        let (value, length) = masked(address, &self.transaction);
        self.put(kind, &value[..length])
    }

    /// Appends why a request is refused.
    ///
    /// # Source
    /// RFC 8489 §14.8.
    pub fn error(&mut self, code: u16, reason: &str) -> &mut Self {
        let mut value = [0; 64];
        value[2] = (code / 100) as u8;
        value[3] = (code % 100) as u8;
        let length = reason.len().min(60);
        value[4..4 + length].copy_from_slice(&reason.as_bytes()[..length]);
        self.put(ERROR_CODE, &value[..4 + length])
    }

    /// Signs what is there.
    ///
    /// # Source
    /// RFC 8489 §14.5.
    pub fn sign(&mut self, key: &Key) -> &mut Self {
        let message = &self.out[self.start..];
        let signature = key.signature(message, message.len());
        self.put(MESSAGE_INTEGRITY, &signature)
    }

    /// Appends the checksum by which STUN is told from other protocols on the same port; it is the last.
    ///
    /// # Source
    /// RFC 8489 §14.7.
    pub fn fingerprint(&mut self) -> &mut Self {
        let length = (self.out.len() - self.start - HEADER + 8) as u16;
        self.set_length(length);
        let crc = crc32(&[&self.out[self.start..]]) ^ FINGERPRINT_MASK;
        self.number(FINGERPRINT, crc)
    }

    fn set_length(&mut self, length: u16) {
        self.out[self.start + 2..self.start + 4].copy_from_slice(&length.to_be_bytes());
    }
}

/// Octets of the longest message; a datagram has at most 65507.
const MOST: usize = 65_000;
