//! Channels: data behind a number instead of an address.

use std::ops::RangeInclusive;

use crate::stun::HEADER;

/// The head of channel data: its number and length.
pub const HEAD: usize = 4;

/// Numbers that a channel may have.
///
/// # Source
/// RFC 5766 §11. RFC 8656 §12 ends at 0x4fff, but clients in use take all of the older range.
pub const NUMBERS: RangeInclusive<u16> = 0x4000..=0x7fff;

/// Number and data, if this is channel data. What follows is padding.
///
/// # Source
/// RFC 8656 §12.4, §12.5.
#[must_use]
pub fn parse(datagram: &[u8]) -> Option<(u16, &[u8])> {
    let ([a, b, c, d], rest) = datagram.split_first_chunk::<HEAD>()?;
    let number = u16::from_be_bytes([*a, *b]);
    let data = rest.get(..usize::from(u16::from_be_bytes([*c, *d])))?;
    NUMBERS.contains(&number).then_some((number, data))
}

/// Appends channel data; on a stream it is padded to four octets.
///
/// # Source
/// RFC 8656 §12.5.
pub fn encode(number: u16, data: &[u8], stream: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&(data.len() as u16).to_be_bytes());
    out.extend_from_slice(data);
    if stream {
        let padding = data.len().next_multiple_of(4) - data.len();
        out.extend_from_slice(&[0; 3][..padding]);
    }
}

/// How the beginning of a stream is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// More octets have to come.
    Incomplete,
    /// So many octets are one message or channel data with its padding.
    Whole(usize),
    /// It is neither; the stream is of no use any more.
    Broken,
}

/// Finds the end of what a stream begins with.
///
/// # Source
/// RFC 8656 §12.5, RFC 8489 §6.2.2.
#[must_use]
pub fn frame(stream: &[u8]) -> Frame {
    let Some([a, _, c, d]) = stream.first_chunk() else {
        return Frame::Incomplete;
    };
    let length = usize::from(u16::from_be_bytes([*c, *d]));
    let whole = match a {
        0..=0x3f if length % 4 == 0 => HEADER + length,
        0x40..=0x7f => HEAD + length.next_multiple_of(4),
        _ => return Frame::Broken,
    };
    if stream.len() < whole {
        Frame::Incomplete
    } else {
        Frame::Whole(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8656_12_5_a_stream_is_cut_and_padded() {
        let mut stream = Vec::new();
        encode(0x4001, b"hello", true, &mut stream);
        assert_eq!(stream, b"\x40\x01\0\x05hello\0\0\0");
        assert_eq!(frame(&stream), Frame::Whole(12));
        assert_eq!(parse(&stream), Some((0x4001, &b"hello"[..])));
        for end in 0..stream.len() {
            assert_eq!(frame(&stream[..end]), Frame::Incomplete);
        }
        assert_eq!(frame(&[0x80, 0, 0, 0]), Frame::Broken);
        assert_eq!(frame(&[0, 1, 0, 3]), Frame::Broken);
    }
}
