//! Reading a message.

use std::fmt;
use std::net::SocketAddr;

use super::attribute::{ERROR_CODE, FINGERPRINT, MESSAGE_INTEGRITY, must_be_understood, unmask};
use super::integrity::{Key, crc32};
use super::{COOKIE, HEADER};

/// A message in the octets that it came in.
///
/// Its attributes are whole. Whether it is genuine is for [`Message::is_signed_by`] to say.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// Where MESSAGE-INTEGRITY begins, and where attributes that count end.
    integrity: Option<usize>,
}

/// What kind of message it is.
///
/// # Source
/// RFC 8489 §5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It wants an answer.
    Request,
    /// It wants none.
    Indication,
    /// The request was obeyed.
    Success,
    /// The request was refused.
    Error,
}

/// What an answer has in common with its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 12]);

/// It is no STUN message, or a broken one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Too short, or without the magic cookie.
    #[error("it is no STUN message")]
    NotStun,
    /// Its length is not what its header says.
    #[error("the header says another length")]
    Length,
    /// An attribute is longer than what is left of the message.
    #[error("an attribute ends after the message")]
    Attribute,
}

impl<'a> Message<'a> {
    /// The message that `bytes` are, all of them.
    ///
    /// # Errors
    /// If they are none.
    ///
    /// # Source
    /// RFC 8489 §5, §6.3.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let (head, body) = bytes.split_first_chunk::<HEADER>().ok_or(Error::NotStun)?;
        if head[0] & 0xc0 != 0 || head[4..8] != COOKIE {
            return Err(Error::NotStun);
        }
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if length != body.len() || length % 4 != 0 {
            return Err(Error::Length);
        }
        let mut integrity = None;
        let mut at = HEADER;
        while at < bytes.len() {
            let (kind, value, next) = attribute_at(bytes, at).ok_or(Error::Attribute)?;
            if kind == MESSAGE_INTEGRITY && integrity.is_none() && value.len() == 20 {
                integrity = Some(at);
            }
            at = next;
        }
        Ok(Self { bytes, integrity })
    }

    /// What kind of message it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self.kind() & 0x0110 {
            0x0000 => Class::Request,
            0x0010 => Class::Indication,
            0x0100 => Class::Success,
            _ => Class::Error,
        }
    }

    /// What is asked, indicated or answered.
    #[must_use]
    pub fn method(&self) -> u16 {
        let kind = self.kind();
        kind & 0x000f | (kind & 0x00e0) >> 1 | (kind & 0x3e00) >> 2
    }

    /// What its answer repeats.
    #[must_use]
    pub fn transaction(&self) -> TransactionId {
        let mut id = [0; 12];
        id.copy_from_slice(&self.bytes[8..HEADER]);
        TransactionId(id)
    }

    /// The value of the first attribute of this kind; those after MESSAGE-INTEGRITY do not count.
    ///
    /// # Source
    /// RFC 8489 §14, §14.5.
    #[must_use]
    pub fn find(&self, kind: u16) -> Option<&'a [u8]> {
        let mut attributes = self.attributes();
        attributes.find_map(|(found, value)| (found == kind).then_some(value))
    }

    /// Whether there is an attribute of this kind.
    #[must_use]
    pub fn has(&self, kind: u16) -> bool {
        self.find(kind).is_some()
    }

    /// The text of an attribute, if it is UTF-8.
    #[must_use]
    pub fn text(&self, kind: u16) -> Option<&'a str> {
        self.find(kind)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The number in an attribute of four octets.
    #[must_use]
    pub fn number(&self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.find(kind)?.try_into().ok()?))
    }

    /// The number in an attribute of eight octets.
    #[must_use]
    pub fn number64(&self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.find(kind)?.try_into().ok()?))
    }

    /// The address in a masked attribute.
    #[must_use]
    pub fn address(&self, kind: u16) -> Option<SocketAddr> {
        unmask(self.find(kind)?, &self.transaction())
    }

    /// The number of an error, 300 to 699.
    ///
    /// # Source
    /// RFC 8489 §14.8.
    #[must_use]
    pub fn error_code(&self) -> Option<u16> {
        let [_, _, class, number, ..] = self.find(ERROR_CODE)? else {
            return None;
        };
        let code = u16::from(class & 7) * 100 + u16::from(*number);
        (300..700).contains(&code).then_some(code)
    }

    /// All attributes that count: kind and value.
    pub fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let bytes = self.bytes;
        let end = self.integrity.map_or(bytes.len(), |at| at + SIGNATURE);
        let mut at = HEADER;
        std::iter::from_fn(move || {
            let (kind, value, next) = attribute_at(&bytes[..end], at)?;
            at = next;
            Some((kind, value))
        })
    }

    /// Kinds of attributes that must be understood, and are not among `known`.
    pub fn unknown<'k>(&self, known: &'k [u16]) -> impl Iterator<Item = u16> + use<'a, 'k> {
        self.attributes()
            .map(|(kind, _)| kind)
            .filter(|kind| must_be_understood(*kind) && !known.contains(kind))
    }

    /// Whether there is a MESSAGE-INTEGRITY.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.integrity.is_some()
    }

    /// Whether MESSAGE-INTEGRITY is there, and was made with this key.
    ///
    /// # Source
    /// RFC 8489 §14.5.
    #[must_use]
    pub fn is_signed_by(&self, key: &Key) -> bool {
        self.integrity.is_some_and(|at| {
            let signature = &self.bytes[at + 4..at + SIGNATURE];
            key.verify(self.bytes, at, signature)
        })
    }

    /// Whether FINGERPRINT is at the end and right; `None` if there is none.
    ///
    /// # Source
    /// RFC 8489 §14.7.
    #[must_use]
    pub fn fingerprint(&self) -> Option<bool> {
        let at = self.bytes.len().checked_sub(8).filter(|at| *at >= HEADER)?;
        let head = [0x80, 0x28, 0, 4];
        let value = self.bytes[at..].strip_prefix(&head)?;
        debug_assert_eq!(u16::from_be_bytes([head[0], head[1]]), FINGERPRINT);
        Some(value == (crc32(&[&self.bytes[..at]]) ^ FINGERPRINT_MASK).to_be_bytes())
    }

    fn kind(&self) -> u16 {
        u16::from_be_bytes([self.bytes[0], self.bytes[1]])
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("class", &self.class())
            .field("method", &self.method())
            .field("octets", &self.bytes.len())
            .finish()
    }
}

/// Kind and value of the attribute at a place, and the place of the next.
fn attribute_at(bytes: &[u8], at: usize) -> Option<(u16, &[u8], usize)> {
    let ([a, b, c, d], rest) = bytes.get(at..)?.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes([*c, *d]));
    let padded = length.next_multiple_of(4);
    let value = rest.get(..padded)?.get(..length)?;
    Some((u16::from_be_bytes([*a, *b]), value, at + 4 + padded))
}

/// Octets of a MESSAGE-INTEGRITY with its head.
pub(super) const SIGNATURE: usize = 24;

/// What the CRC-32 of a message is masked with (RFC 8489 §14.7).
pub(super) const FINGERPRINT_MASK: u32 = 0x5354_554e;
