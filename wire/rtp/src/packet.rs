//! The RTP packet: a checked view over received bytes, and its fixed header for sending.

use crate::Error;

/// An RTP packet in place. All bounds were checked when it was parsed.
///
/// # Source
/// RFC 3550 §5.1
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    /// Where the CSRC list ends.
    csrc_end: usize,
    /// Where the payload starts and ends, header extension and padding excluded.
    payload: (usize, usize),
}

impl<'a> Packet<'a> {
    /// Checks `datagram` and views it as RTP.
    ///
    /// # Errors
    /// Another version than 2, or CSRC list, extension or padding reach past the end.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Error> {
        let (csrc_end, start) = bounds(datagram)?;
        let padding = match datagram[0] & PADDING {
            0 => 0,
            _ => padding(datagram, datagram.len() - start)?,
        };
        Ok(Self {
            bytes: datagram,
            csrc_end,
            payload: (start, datagram.len() - padding),
        })
    }

    /// The fixed header.
    #[must_use]
    pub fn header(&self) -> Header {
        Header {
            payload_type: self.payload_type(),
            marker: self.marker(),
            sequence: self.sequence(),
            timestamp: self.timestamp(),
            ssrc: self.ssrc(),
        }
    }

    /// The payload type, below 128.
    #[must_use]
    pub fn payload_type(&self) -> u8 {
        self.bytes[1] & 0x7f
    }

    /// The marker bit: the first packet of a talk spurt, the last of a video frame.
    #[must_use]
    pub fn marker(&self) -> bool {
        self.bytes[1] & MARKER != 0
    }

    /// The sequence number.
    #[must_use]
    pub fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    /// The timestamp, in units of the payload's clock.
    #[must_use]
    pub fn timestamp(&self) -> u32 {
        word(self.bytes, 4)
    }

    /// The synchronisation source.
    #[must_use]
    pub fn ssrc(&self) -> u32 {
        word(self.bytes, 8)
    }

    /// The contributing sources.
    pub fn csrc(&self) -> impl Iterator<Item = u32> + use<'a> {
        let (words, _) = self.bytes[HEADER_LEN..self.csrc_end].as_chunks::<4>();
        words.iter().map(|word| u32::from_be_bytes(*word))
    }

    /// The header extension.
    #[must_use]
    pub fn extension(&self) -> Option<Extension<'a>> {
        (self.bytes[0] & EXTENSION != 0).then(|| Extension {
            profile: u16::from_be_bytes([self.bytes[self.csrc_end], self.bytes[self.csrc_end + 1]]),
            data: &self.bytes[self.csrc_end + 4..self.payload.0],
        })
    }

    /// The payload, without header extension and padding.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload.0..self.payload.1]
    }
}

/// A header extension.
///
/// # Source
/// RFC 3550 §5.3.1
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extension<'a> {
    /// Defined by profile; 0xBEDE is the one-byte form of RFC 8285.
    pub profile: u16,
    /// A whole number of 32-bit words.
    pub data: &'a [u8],
}

impl<'a> Extension<'a> {
    /// The data of the element with this number, in the one-byte and the two-byte form.
    ///
    /// # Source
    /// RFC 8285 §4.2, §4.3
    #[must_use]
    pub fn element(&self, number: u8) -> Option<&'a [u8]> {
        let long = self.profile & 0xfff0 == 0x1000;
        if !long && self.profile != 0xbede {
            return None;
        }
        let mut rest = self.data;
        while let Some((&first, after)) = rest.split_first() {
            let (found, len, data) = match (first, long) {
                (0, _) => {
                    rest = after;
                    continue;
                }
                (_, true) => (first, usize::from(*after.first()?), &after[1..]),
                // Reserved: nothing behind it counts.
                (0xf0.., false) => return None,
                (_, false) => (first >> 4, usize::from(first & 15) + 1, after),
            };
            let (data, after) = data.split_at_checked(len)?;
            if found == number {
                return Some(data);
            }
            rest = after;
        }
        None
    }
}

/// The fields of the fixed header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// The payload type; only the lower 7 bits are sent.
    pub payload_type: u8,
    /// The marker bit.
    pub marker: bool,
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp, in units of the payload's clock.
    pub timestamp: u32,
    /// The synchronisation source.
    pub ssrc: u32,
}

impl Header {
    /// Reads the fixed header of `datagram` and checks CSRC list and extension, but not the
    /// padding: SRTP encrypts its count.
    ///
    /// # Errors
    /// Another version than 2, or CSRC list or extension reach past the end.
    pub fn parse(datagram: &[u8]) -> Result<Self, Error> {
        let (csrc_end, start) = bounds(datagram)?;
        let packet = Packet {
            bytes: datagram,
            csrc_end,
            payload: (start, datagram.len()),
        };
        Ok(packet.header())
    }

    /// Writes the header without CSRC, extension or padding over the first [`HEADER_LEN`] bytes of
    /// `packet` and returns how many bytes that is: 0 if `packet` is too short.
    pub fn encode(&self, packet: &mut [u8]) -> usize {
        let Some(header) = packet.first_chunk_mut::<HEADER_LEN>() else {
            return 0;
        };
        header[0] = VERSION;
        header[1] = self.payload_type & 0x7f | if self.marker { MARKER } else { 0 };
        self.stamp(header);
        HEADER_LEN
    }

    /// Replaces sequence number, timestamp and SSRC of a received `packet` and leaves the rest
    /// (flags, payload type, CSRC, extension, payload) as it is. Does nothing if `packet` is
    /// shorter than a header.
    pub fn restamp(&self, packet: &mut [u8]) {
        if let Some(header) = packet.first_chunk_mut::<HEADER_LEN>() {
            self.stamp(header);
        }
    }

    fn stamp(&self, header: &mut [u8; HEADER_LEN]) {
        header[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        header[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        header[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
    }
}

/// Length of the fixed header in bytes.
pub const HEADER_LEN: usize = 12;

const VERSION: u8 = 2 << 6;
const PADDING: u8 = 0x20;
const EXTENSION: u8 = 0x10;
const MARKER: u8 = 0x80;

/// Where the CSRC list ends and where the payload starts, both within `datagram`.
fn bounds(datagram: &[u8]) -> Result<(usize, usize), Error> {
    let &[first, ..] = datagram else {
        return Err(Error::Truncated);
    };
    if first >> 6 != 2 {
        return Err(Error::Version);
    }
    let csrc_end = HEADER_LEN + 4 * usize::from(first & 0x0f);
    let start = match first & EXTENSION {
        0 => csrc_end,
        _ => csrc_end + 4 + 4 * usize::from(be16(datagram, csrc_end + 2)?),
    };
    if start > datagram.len() {
        return Err(Error::Truncated);
    }
    Ok((csrc_end, start))
}

/// The padding count in the last byte, which counts itself.
fn padding(datagram: &[u8], available: usize) -> Result<usize, Error> {
    let count = usize::from(datagram.last().copied().ok_or(Error::Truncated)?);
    if count == 0 || count > available {
        return Err(Error::Padding);
    }
    Ok(count)
}

fn be16(bytes: &[u8], at: usize) -> Result<u16, Error> {
    match bytes.get(at..at + 2) {
        Some(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
        _ => Err(Error::Truncated),
    }
}

/// A word of the fixed header, whose presence parsing has checked.
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> impl Strategy<Value = Header> {
        (
            0u8..128,
            any::<bool>(),
            any::<u16>(),
            any::<u32>(),
            any::<u32>(),
        )
            .prop_map(|(payload_type, marker, sequence, timestamp, ssrc)| Header {
                payload_type,
                marker,
                sequence,
                timestamp,
                ssrc,
            })
    }

    proptest! {
        /// RFC 3550 §5.1, §5.3.1.
        #[test]
        fn what_is_encoded_parses_back(
            header in header(),
            csrc in prop::collection::vec(any::<u32>(), 0..16),
            extension in prop::option::of((any::<u16>(), prop::collection::vec(any::<[u8; 4]>(), 0..5))),
            payload in prop::collection::vec(any::<u8>(), 0..300),
            padding in prop::option::of(1u8..),
        ) {
            let mut bytes = vec![0; HEADER_LEN];
            prop_assert_eq!(header.encode(&mut bytes), HEADER_LEN);
            bytes[0] |= csrc.len() as u8;
            bytes.extend(csrc.iter().flat_map(|c| c.to_be_bytes()));
            if let Some((profile, words)) = &extension {
                bytes[0] |= EXTENSION;
                bytes.extend(profile.to_be_bytes());
                bytes.extend((words.len() as u16).to_be_bytes());
                bytes.extend(words.iter().flatten());
            }
            bytes.extend(&payload);
            if let Some(count) = padding {
                bytes[0] |= PADDING;
                bytes.extend(vec![0; usize::from(count) - 1]);
                bytes.push(count);
            }

            let packet = Packet::parse(&bytes).unwrap();
            prop_assert_eq!(packet.header(), header);
            prop_assert_eq!(Header::parse(&bytes), Ok(header));
            prop_assert_eq!(packet.csrc().collect::<Vec<_>>(), csrc);
            prop_assert_eq!(packet.payload(), &payload[..]);
            let seen = packet.extension().map(|e| (e.profile, e.data.to_vec()));
            prop_assert_eq!(seen, extension.map(|(p, words)| (p, words.concat())));
        }

        #[test]
        fn any_bytes_parse_or_fail_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(packet) = Packet::parse(&bytes) {
                prop_assert!(packet.payload().len() + HEADER_LEN <= bytes.len());
                let _ = (packet.header(), packet.csrc().count(), packet.extension());
            }
        }

        #[test]
        fn restamping_leaves_the_rest(
            mut bytes in prop::collection::vec(any::<u8>(), HEADER_LEN..64),
            header in header(),
        ) {
            let before = bytes.clone();
            header.restamp(&mut bytes);
            prop_assert_eq!(&bytes[..2], &before[..2]);
            prop_assert_eq!(&bytes[HEADER_LEN..], &before[HEADER_LEN..]);
            prop_assert_eq!(word(&bytes, 8), header.ssrc);
        }
    }

    #[test]
    fn bounds_are_checked() {
        let parse = |bytes: &[u8]| Packet::parse(bytes).err();
        let with = |first: u8, tail: &[u8]| {
            let mut bytes = vec![first, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            bytes.extend(tail);
            bytes
        };
        assert_eq!(parse(&[]), Some(Error::Truncated));
        assert_eq!(parse(&[0x80; 11]), Some(Error::Truncated));
        assert_eq!(parse(&with(0x40, &[])), Some(Error::Version));
        assert_eq!(parse(&with(0x81, &[])), Some(Error::Truncated));
        assert_eq!(parse(&with(0x90, &[0, 0, 0])), Some(Error::Truncated));
        assert_eq!(parse(&with(0x90, &[0, 0, 0, 1])), Some(Error::Truncated));
        assert_eq!(parse(&with(0xa0, &[])), Some(Error::Padding));
        assert_eq!(parse(&with(0xa0, &[0])), Some(Error::Padding));
        assert_eq!(parse(&with(0xa0, &[9, 9, 4])), Some(Error::Padding));
        assert_eq!(parse(&with(0xa0, &[9, 9, 3])), None);
    }
}
