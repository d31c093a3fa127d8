//! Where the parts of a packet are.

use crate::Error;

/// What SRTP needs of an RTP header.
///
/// # Source
/// RFC 3550 §5.1, RFC 3711 §3.1
#[derive(Clone, Copy)]
pub(crate) struct Rtp {
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    /// Where what is encrypted starts: behind CSRC list and header extension.
    pub(crate) payload: usize,
}

impl Rtp {
    pub(crate) fn parse(packet: &[u8]) -> Result<Self, Error> {
        let &[first, _, high, low, ..] = packet else {
            return Err(Error::Malformed);
        };
        if first >> 6 != VERSION {
            return Err(Error::Malformed);
        }
        let mut payload = 12 + 4 * usize::from(first & 0x0f);
        if first & EXTENSION != 0 {
            let words = packet.get(payload + 2..payload + 4);
            let &[high, low] = words.ok_or(Error::Malformed)? else {
                return Err(Error::Malformed);
            };
            payload += 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
        }
        if payload > packet.len() {
            return Err(Error::Malformed);
        }
        Ok(Self {
            ssrc: word(packet, 8).ok_or(Error::Malformed)?,
            sequence: u16::from_be_bytes([high, low]),
            payload,
        })
    }
}

/// The sender of an RTCP packet. What is encrypted starts at [`RTCP_HEADER`].
///
/// # Source
/// RFC 3550 §6.4.1, RFC 3711 §3.4
pub(crate) fn rtcp_sender(packet: &[u8]) -> Result<u32, Error> {
    match packet.first() {
        Some(first) if first >> 6 == VERSION => word(packet, 4).ok_or(Error::Malformed),
        _ => Err(Error::Malformed),
    }
}

/// The big-endian word at `at`.
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes))
}

/// Header and SSRC, which RTCP leaves readable.
pub(crate) const RTCP_HEADER: usize = 8;

const VERSION: u8 = 2;
const EXTENSION: u8 = 0x10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3711_3_1_the_payload_starts_behind_csrc_and_extension() {
        let mut packet = [0; 40];
        packet[0] = 0x92;
        packet[23] = 2;
        assert_eq!(Rtp::parse(&packet).unwrap().payload, 12 + 8 + 4 + 8);
        packet[23] = 5;
        assert!(Rtp::parse(&packet).is_err());
        assert!(Rtp::parse(&packet[..22]).is_err());
        assert!(Rtp::parse(&[0x80; 11]).is_err());
        assert!(Rtp::parse(&[0x40; 12]).is_err());
        assert!(rtcp_sender(&[0x80; 7]).is_err());
    }
}
