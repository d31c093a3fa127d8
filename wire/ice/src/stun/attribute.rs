//! Numbers of attributes, and the addresses in them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::COOKIE;
use super::message::TransactionId;

/// Where the client appears to be, unmasked; some NATs rewrite it.
pub const MAPPED_ADDRESS: u16 = 0x0001;
/// Who asks.
pub const USERNAME: u16 = 0x0006;
/// HMAC-SHA1 of what is before it.
pub const MESSAGE_INTEGRITY: u16 = 0x0008;
/// Why a request is refused.
pub const ERROR_CODE: u16 = 0x0009;
/// Attributes that the server had to understand, and did not.
pub const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
/// The number of a TURN channel (RFC 8656 §18.1).
pub const CHANNEL_NUMBER: u16 = 0x000c;
/// For how many seconds an allocation lives (RFC 8656 §18.2).
pub const LIFETIME: u16 = 0x000d;
/// The peer that is meant (RFC 8656 §18.3).
pub const XOR_PEER_ADDRESS: u16 = 0x0012;
/// What goes to or comes from a peer (RFC 8656 §18.4).
pub const DATA: u16 = 0x0013;
/// The domain of a user name.
pub const REALM: u16 = 0x0014;
/// What a client has to repeat, so that its words can't be replayed for long.
pub const NONCE: u16 = 0x0015;
/// Where peers reach the client (RFC 8656 §18.5).
pub const XOR_RELAYED_ADDRESS: u16 = 0x0016;
/// IPv4 or IPv6 (RFC 8656 §18.6).
pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
/// An even port is wanted, perhaps with the next one (RFC 8656 §18.7).
pub const EVEN_PORT: u16 = 0x0018;
/// By what the relay speaks with peers (RFC 8656 §18.8).
pub const REQUESTED_TRANSPORT: u16 = 0x0019;
/// Relayed datagrams must not be cut in pieces (RFC 8656 §18.9).
pub const DONT_FRAGMENT: u16 = 0x001a;
/// Where the client appears to be, masked.
pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// A port that was kept with an even one (RFC 8656 §18.10).
pub const RESERVATION_TOKEN: u16 = 0x0022;
/// The priority of a candidate that this check would discover (RFC 8445 §16.1).
pub const PRIORITY: u16 = 0x0024;
/// The pair of this check is nominated (RFC 8445 §16.1).
pub const USE_CANDIDATE: u16 = 0x0025;
/// What sends this, in words.
pub const SOFTWARE: u16 = 0x8022;
/// Another server to ask.
pub const ALTERNATE_SERVER: u16 = 0x8023;
/// CRC-32 of what is before it.
pub const FINGERPRINT: u16 = 0x8028;
/// The sender is controlled, and its tie-breaker (RFC 8445 §16.1).
pub const ICE_CONTROLLED: u16 = 0x8029;
/// The sender is controlling, and its tie-breaker (RFC 8445 §16.1).
pub const ICE_CONTROLLING: u16 = 0x802a;

/// Whether a receiver that does not know `kind` must refuse the message.
///
/// # Source
/// RFC 8489 §14.
#[must_use]
pub const fn must_be_understood(kind: u16) -> bool {
    kind < 0x8000
}

/// The address in a masked attribute such as XOR-MAPPED-ADDRESS.
///
/// # Source
/// RFC 8489 §14.2.
#[must_use]
pub fn unmask(value: &[u8], transaction: &TransactionId) -> Option<SocketAddr> {
    let mask = mask(transaction);
    let (head, address) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([head[2] ^ COOKIE[0], head[3] ^ COOKIE[1]]);
    let ip = match (head[1], address.len()) {
        (1, 4) => IpAddr::V4(Ipv4Addr::from(xor(
            <[u8; 4]>::try_from(address).ok()?,
            &mask,
        ))),
        (2, 16) => IpAddr::V6(Ipv6Addr::from(xor(
            <[u8; 16]>::try_from(address).ok()?,
            &mask,
        ))),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// The value of a masked attribute, and how many octets of it count.
pub(super) fn masked(address: SocketAddr, transaction: &TransactionId) -> ([u8; 20], usize) {
    let mask = mask(transaction);
    let port = address.port().to_be_bytes();
    let mut value = [0; 20];
    value[2..4].copy_from_slice(&[port[0] ^ COOKIE[0], port[1] ^ COOKIE[1]]);
    match address.ip() {
        IpAddr::V4(ip) => {
            value[1] = 1;
            value[4..8].copy_from_slice(&xor(ip.octets(), &mask));
            (value, 8)
        }
        IpAddr::V6(ip) => {
            value[1] = 2;
            value[4..].copy_from_slice(&xor(ip.octets(), &mask));
            (value, 20)
        }
    }
}

fn mask(transaction: &TransactionId) -> [u8; 16] {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&COOKIE);
    mask[4..].copy_from_slice(&transaction.0);
    mask
}

fn xor<const N: usize>(mut octets: [u8; N], mask: &[u8; 16]) -> [u8; N] {
    for (octet, mask) in octets.iter_mut().zip(mask) {
        *octet ^= mask;
    }
    octets
}
