//! Feedback about streams of pictures: packets that are missing, and that a picture is wanted which
//! stands alone.

use crate::rtcp::{Packet, Packets, Writer};

/// What a receiver wants of the sender of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Feedback<'a> {
    /// A picture that can be shown without those before it: Picture Loss Indication or Full Intra
    /// Request.
    Keyframe,
    /// Packets that have not come.
    Missing(Missing<'a>),
}

/// Sequence numbers of packets that have not come, in the sender's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Missing<'a> {
    entries: &'a [[u8; 4]],
    /// Of the first entry: bits that have not been returned yet, the lowest for its own number.
    bits: u32,
}

/// The feedback in an RTCP datagram, in order; everything else in it is passed over.
///
/// # Source
/// RFC 4585 §6.2.1, §6.3.1, RFC 5104 §4.3.1
pub fn read(datagram: &[u8]) -> impl Iterator<Item = Feedback<'_>> {
    Packets::new(datagram).flatten().filter_map(|packet| {
        let Packet::Other { packet_type, bytes } = packet else {
            return None;
        };
        // After the header: who says it, and about whose stream.
        let entries = bytes.get(12..)?;
        match (packet_type, bytes[0] & 0x1f) {
            (PAYLOAD, PLI | FIR) => Some(Feedback::Keyframe),
            (TRANSPORT, NACK) => Some(Feedback::Missing(Missing::new(entries))),
            _ => None,
        }
    })
}

impl<'a> Missing<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let (entries, _) = bytes.as_chunks();
        Self {
            entries,
            bits: entries.first().map_or(0, bits),
        }
    }
}

impl Iterator for Missing<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        let (first, rest) = self.entries.split_first()?;
        let ahead = self.bits.trailing_zeros();
        self.bits &= self.bits - 1;
        if self.bits == 0 {
            self.entries = rest;
            self.bits = rest.first().map_or(0, bits);
        }
        let number = u16::from_be_bytes([first[0], first[1]]);
        Some(number.wrapping_add(ahead as u16))
    }
}

/// The packet that an entry names, and which of the 16 behind it are missing too.
fn bits(entry: &[u8; 4]) -> u32 {
    1 | u32::from(u16::from_be_bytes([entry[2], entry[3]])) << 1
}

impl Writer<'_> {
    /// Appends a Picture Loss Indication of `sender` about the stream `media`.
    ///
    /// # Source
    /// RFC 4585 §6.3.1
    pub fn picture_loss(&mut self, sender: u32, media: u32) {
        if let Some(body) = self.packet(PLI, PAYLOAD, 8) {
            about(body, sender, media);
        }
    }

    /// Appends a Full Intra Request of `sender` to the sender of the stream `media`; the same `number`
    /// again is the same request.
    ///
    /// # Source
    /// RFC 5104 §4.3.1
    pub fn full_intra(&mut self, sender: u32, media: u32, number: u8) {
        if let Some(body) = self.packet(FIR, PAYLOAD, 16) {
            about(body, sender, 0);
            body[8..12].copy_from_slice(&media.to_be_bytes());
            body[12..].copy_from_slice(&[number, 0, 0, 0]);
        }
    }

    /// Appends a negative acknowledgement of `sender`: of the stream `media`, `count` packets from
    /// `first` on are missing, at most 17.
    ///
    /// # Source
    /// RFC 4585 §6.2.1
    pub fn missing(&mut self, sender: u32, media: u32, first: u16, count: u16) {
        if let Some(body) = self.packet(NACK, TRANSPORT, 12) {
            about(body, sender, media);
            let following = (1u32 << count.clamp(1, 17).wrapping_sub(1)) - 1;
            body[8..10].copy_from_slice(&first.to_be_bytes());
            body[10..].copy_from_slice(&(following as u16).to_be_bytes());
        }
    }
}

fn about(body: &mut [u8], sender: u32, media: u32) {
    body[..4].copy_from_slice(&sender.to_be_bytes());
    body[4..8].copy_from_slice(&media.to_be_bytes());
}

/// Transport layer and payload-specific feedback (RFC 4585 §6.1).
const TRANSPORT: u8 = 205;
const PAYLOAD: u8 = 206;
const NACK: u8 = 1;
const PLI: u8 = 1;
const FIR: u8 = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 4585 §6.3.1, RFC 5104 §4.3.1.
    #[test]
    fn rfc4585_6_3_1_a_wish_for_a_keyframe_reads_back() {
        let mut buffer = [0; 128];
        let mut writer = Writer::new(&mut buffer);
        writer.receiver_report(7, &[]);
        writer.picture_loss(7, 9);
        writer.full_intra(7, 9, 3);
        let datagram = writer.finish();
        assert_eq!(
            datagram[8..20],
            [0x81, 206, 0, 2, 0, 0, 0, 7, 0, 0, 0, 9],
            "PLI"
        );
        let fir = [
            0x84, 206, 0, 4, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9, 3, 0, 0, 0,
        ];
        assert_eq!(datagram[20..], fir, "FIR");
        let wishes: Vec<_> = read(datagram).collect();
        assert_eq!(wishes, [Feedback::Keyframe, Feedback::Keyframe]);
    }

    proptest! {
        /// RFC 4585 §6.2.1.
        #[test]
        fn rfc4585_6_2_1_missing_packets_read_back(first: u16, count in 1u16..=17) {
            let mut buffer = [0; 64];
            let mut writer = Writer::new(&mut buffer);
            writer.missing(1, 2, first, count);
            let mut wishes = read(writer.finish());
            let Some(Feedback::Missing(missing)) = wishes.next() else {
                return Err(TestCaseError::fail("nothing is missing"));
            };
            let expected: Vec<u16> = (0..count).map(|n| first.wrapping_add(n)).collect();
            prop_assert_eq!(missing.collect::<Vec<_>>(), expected);
        }

        #[test]
        fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for feedback in read(&bytes) {
                if let Feedback::Missing(missing) = feedback {
                    prop_assert!(missing.count() <= 17 * 50);
                }
            }
        }
    }
}
