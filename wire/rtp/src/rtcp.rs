//! RTCP: compound packets, read in place and written one after the other.
//!
//! Encrypted RTCP carries a trailer that fits no packet; relay it after [`sender`] has looked at
//! the first header only.

use crate::Error;

/// The SSRC of the sender of an RTCP datagram, from its first packet, plain or encrypted.
///
/// # Errors
/// Another version, another kind of packet, or shorter than its first eight bytes.
///
/// # Source
/// RFC 3550 appendix A.2, RFC 3711 §3.4 (the first eight bytes stay in the clear), RFC 5506
/// (the first packet need not be a report).
pub fn sender(datagram: &[u8]) -> Result<u32, Error> {
    let &[first, packet_type, _, _, a, b, c, d, ..] = datagram else {
        return Err(Error::Truncated);
    };
    if first >> 6 != 2 {
        return Err(Error::Version);
    }
    if !(192..=223).contains(&packet_type) {
        return Err(Error::PacketType);
    }
    Ok(u32::from_be_bytes([a, b, c, d]))
}

/// The packets of a compound datagram, in order. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Packets<'a> {
    /// Reads `datagram`.
    #[must_use]
    pub const fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }

    fn take(&mut self) -> Result<Packet<'a>, Error> {
        let (packet, rest) = split(self.rest)?;
        self.rest = rest;
        Packet::parse(packet)
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let packet = self.take();
        if packet.is_err() {
            self.rest = &[];
        }
        Some(packet)
    }
}

/// One RTCP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Packet<'a> {
    /// What a sender has sent and, in its blocks, received.
    SenderReport(SenderInfo, Blocks<'a>),
    /// What a receiver has received.
    ReceiverReport {
        /// The receiver.
        ssrc: u32,
        /// One block for each source that it hears.
        blocks: Blocks<'a>,
    },
    /// The source says goodbye.
    Bye {
        /// The first source that leaves; none in a legal but empty packet.
        ssrc: Option<u32>,
    },
    /// SDES, APP, feedback and everything else, left as bytes with its header.
    Other {
        /// The packet type.
        packet_type: u8,
        /// The packet with its header.
        bytes: &'a [u8],
    },
}

impl<'a> Packet<'a> {
    /// Reads one packet whose length [`split`] has checked; padding is removed already.
    fn parse(packet: &'a [u8]) -> Result<Self, Error> {
        let count = usize::from(packet[0] & 0x1f);
        Ok(match packet[1] {
            SENDER_REPORT => {
                let (info, rest) = body(packet).split_first_chunk().ok_or(Error::Truncated)?;
                Self::SenderReport(SenderInfo::parse(info), Blocks::parse(rest, count)?)
            }
            RECEIVER_REPORT => {
                let (ssrc, rest) = body(packet).split_first_chunk().ok_or(Error::Truncated)?;
                Self::ReceiverReport {
                    ssrc: u32::from_be_bytes(*ssrc),
                    blocks: Blocks::parse(rest, count)?,
                }
            }
            BYE if body(packet).len() < 4 * count => return Err(Error::Truncated),
            BYE => Self::Bye {
                ssrc: match count {
                    0 => None,
                    _ => body(packet).first_chunk().map(|s| u32::from_be_bytes(*s)),
                },
            },
            packet_type => Self::Other {
                packet_type,
                bytes: packet,
            },
        })
    }
}

/// The sender's part of a sender report.
///
/// # Source
/// RFC 3550 §6.4.1
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SenderInfo {
    /// The sender.
    pub ssrc: u32,
    /// Wall-clock time in NTP format: seconds since 1900 in the upper half, their fraction below.
    pub ntp: u64,
    /// The same moment in units of the RTP clock.
    pub timestamp: u32,
    /// RTP packets sent.
    pub packets: u32,
    /// Octets of payload sent.
    pub octets: u32,
}

impl SenderInfo {
    fn parse(bytes: &[u8; SENDER_INFO_LEN]) -> Self {
        let mut words = [0; SENDER_INFO_LEN / 4];
        read_words(bytes, &mut words);
        let [ssrc, seconds, fraction, timestamp, packets, octets] = words;
        Self {
            ssrc,
            ntp: u64::from(seconds) << 32 | u64::from(fraction),
            timestamp,
            packets,
            octets,
        }
    }

    fn words(&self) -> [u32; SENDER_INFO_LEN / 4] {
        [
            self.ssrc,
            (self.ntp >> 32) as u32,
            self.ntp as u32,
            self.timestamp,
            self.packets,
            self.octets,
        ]
    }
}

/// What a receiver says about one source.
///
/// # Source
/// RFC 3550 §6.4.1
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReportBlock {
    /// The source.
    pub ssrc: u32,
    /// Share of packets lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost so far, 24 bits with sign.
    pub lost: i32,
    /// Highest sequence number received, with its cycles.
    pub highest: u32,
    /// Interarrival jitter in units of the RTP clock.
    pub jitter: u32,
    /// The middle 32 bits of the NTP time of the last sender report; 0 if none came.
    pub last_report: u32,
    /// Time since then in 1/65536 seconds.
    pub delay: u32,
}

impl ReportBlock {
    fn parse(bytes: &[u8; BLOCK_LEN]) -> Self {
        let mut words = [0; BLOCK_LEN / 4];
        read_words(bytes, &mut words);
        let [ssrc, loss, highest, jitter, last_report, delay] = words;
        Self {
            ssrc,
            fraction_lost: (loss >> 24) as u8,
            lost: (loss << 8) as i32 >> 8,
            highest,
            jitter,
            last_report,
            delay,
        }
    }

    fn words(&self) -> [u32; BLOCK_LEN / 4] {
        let lost = self.lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        [
            self.ssrc,
            u32::from(self.fraction_lost) << 24 | lost,
            self.highest,
            self.jitter,
            self.last_report,
            self.delay,
        ]
    }
}

/// The report blocks of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blocks<'a>(&'a [[u8; BLOCK_LEN]]);

impl<'a> Blocks<'a> {
    fn parse(bytes: &'a [u8], count: usize) -> Result<Self, Error> {
        let (blocks, _) = bytes.as_chunks();
        blocks.get(..count).map(Self).ok_or(Error::Truncated)
    }
}

impl Iterator for Blocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(ReportBlock::parse(first))
    }
}

/// Writes a compound datagram into a buffer. What does not fit is left out as a whole.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// Writes into `buffer`; 512 bytes hold a report with a name and a goodbye.
    pub const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    /// Appends a sender report with at most 31 blocks.
    pub fn sender_report(&mut self, info: &SenderInfo, blocks: &[ReportBlock]) {
        self.report(SENDER_REPORT, &info.words(), blocks);
    }

    /// Appends a receiver report with at most 31 blocks.
    pub fn receiver_report(&mut self, ssrc: u32, blocks: &[ReportBlock]) {
        self.report(RECEIVER_REPORT, &[ssrc], blocks);
    }

    /// Appends an SDES packet with the canonical name of `ssrc`, cut at 255 bytes.
    ///
    /// # Source
    /// RFC 3550 §6.5: every compound packet carries one; RFC 7022: how to choose it.
    pub fn cname(&mut self, ssrc: u32, name: &str) {
        let name = &name.as_bytes()[..name.len().min(255)];
        // Item, its length, the name, and one to four zeros up to the next word.
        let chunk = (2 + name.len() + 4) & !3;
        if let Some(body) = self.packet(1, SDES, 4 + chunk) {
            body.fill(0);
            body[..4].copy_from_slice(&ssrc.to_be_bytes());
            body[4] = CNAME;
            body[5] = name.len() as u8;
            body[6..6 + name.len()].copy_from_slice(name);
        }
    }

    /// Appends a BYE of `ssrc`.
    pub fn bye(&mut self, ssrc: u32) {
        if let Some(body) = self.packet(1, BYE, 4) {
            body.copy_from_slice(&ssrc.to_be_bytes());
        }
    }

    /// What has been written.
    #[must_use]
    pub fn finish(self) -> &'a [u8] {
        &self.buffer[..self.len]
    }

    fn report(&mut self, packet_type: u8, head: &[u32], blocks: &[ReportBlock]) {
        let blocks = &blocks[..blocks.len().min(31)];
        let len = 4 * head.len() + BLOCK_LEN * blocks.len();
        if let Some(body) = self.packet(blocks.len() as u8, packet_type, len) {
            let (start, rest) = body.split_at_mut(4 * head.len());
            write_words(start, head);
            let (spaces, _) = rest.as_chunks_mut::<BLOCK_LEN>();
            for (space, block) in spaces.iter_mut().zip(blocks) {
                write_words(space, &block.words());
            }
        }
    }

    /// Writes a header and returns the space for `len` bytes, a multiple of 4, after it.
    pub(crate) fn packet(&mut self, count: u8, packet_type: u8, len: usize) -> Option<&mut [u8]> {
        let space = self.buffer.get_mut(self.len..self.len + 4 + len)?;
        let (head, body) = space.split_at_mut(4);
        let words = (len / 4) as u16;
        head[0] = 2 << 6 | count;
        head[1] = packet_type;
        head[2..].copy_from_slice(&words.to_be_bytes());
        self.len += 4 + len;
        Some(body)
    }
}

/// Splits the first packet off `bytes`, its padding removed.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let &[first, packet_type, high, low, ..] = bytes else {
        return Err(Error::Truncated);
    };
    if first >> 6 != 2 {
        return Err(Error::Version);
    }
    if !(192..=223).contains(&packet_type) {
        return Err(Error::PacketType);
    }
    let len = 4 * (1 + usize::from(u16::from_be_bytes([high, low])));
    let (packet, rest) = bytes.split_at_checked(len).ok_or(Error::Truncated)?;
    if first & PADDING == 0 {
        return Ok((packet, rest));
    }
    // Padding is allowed in the last packet only, in whole words, and counts itself.
    let count = usize::from(packet[len - 1]);
    if count == 0 || count % 4 != 0 || count > len - 4 || !rest.is_empty() {
        return Err(Error::Padding);
    }
    Ok((&packet[..len - count], rest))
}

/// What follows the first word of a packet that [`split`] returned.
fn body(packet: &[u8]) -> &[u8] {
    &packet[4..]
}

fn read_words(bytes: &[u8], words: &mut [u32]) {
    let (chunks, _) = bytes.as_chunks();
    for (word, chunk) in words.iter_mut().zip(chunks) {
        *word = u32::from_be_bytes(*chunk);
    }
}

fn write_words(bytes: &mut [u8], words: &[u32]) {
    let (chunks, _) = bytes.as_chunks_mut();
    for (chunk, word) in chunks.iter_mut().zip(words) {
        *chunk = word.to_be_bytes();
    }
}

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const CNAME: u8 = 1;
const PADDING: u8 = 0x20;
const SENDER_INFO_LEN: usize = 24;
const BLOCK_LEN: usize = 24;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block() -> impl Strategy<Value = ReportBlock> {
        let words = (
            any::<u32>(),
            any::<u32>(),
            any::<u32>(),
            any::<u32>(),
            any::<u32>(),
        );
        (words, any::<u8>(), -0x80_0000..0x80_0000).prop_map(
            |((ssrc, highest, jitter, last_report, delay), fraction_lost, lost)| ReportBlock {
                ssrc,
                fraction_lost,
                lost,
                highest,
                jitter,
                last_report,
                delay,
            },
        )
    }

    fn info() -> impl Strategy<Value = SenderInfo> {
        (
            any::<u32>(),
            any::<u64>(),
            any::<u32>(),
            any::<u32>(),
            any::<u32>(),
        )
            .prop_map(|(ssrc, ntp, timestamp, packets, octets)| SenderInfo {
                ssrc,
                ntp,
                timestamp,
                packets,
                octets,
            })
    }

    proptest! {
        /// RFC 3550 §6.4.1, §6.5.
        #[test]
        fn what_is_written_reads_back(
            info in info(),
            sent in prop::collection::vec(block(), 0..32),
            heard in prop::collection::vec(block(), 0..32),
            name in "[a-z0-9@.]{0,60}",
        ) {
            let mut buffer = [0xff; 2048];
            let mut writer = Writer::new(&mut buffer);
            writer.sender_report(&info, &sent);
            writer.receiver_report(9, &heard);
            writer.cname(info.ssrc, &name);
            writer.bye(info.ssrc);
            let bytes = writer.finish();
            prop_assert_eq!(sender(bytes), Ok(info.ssrc));

            let packets: Vec<_> = Packets::new(bytes).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(packets.len(), 4);
            let Packet::SenderReport(seen, blocks) = packets[0] else { panic!("{packets:?}") };
            prop_assert_eq!(seen, info);
            prop_assert_eq!(blocks.collect::<Vec<_>>(), sent);
            let Packet::ReceiverReport { ssrc: 9, blocks } = packets[1] else { panic!("{packets:?}") };
            prop_assert_eq!(blocks.collect::<Vec<_>>(), heard);
            let Packet::Other { packet_type: SDES, bytes } = packets[2] else { panic!("{packets:?}") };
            prop_assert_eq!(&bytes[10..10 + name.len()], name.as_bytes());
            prop_assert_eq!(bytes[10 + name.len()], 0);
            prop_assert_eq!(packets[3], Packet::Bye { ssrc: Some(info.ssrc) });
        }

        #[test]
        fn any_bytes_end_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), packet_type in 198u8..206) {
            if let [first, second, third, ..] = &mut bytes[..] {
                (*first, *second, *third) = (0x80 | *first, packet_type, 0);
            }
            for packet in Packets::new(&bytes).flatten() {
                if let Packet::SenderReport(_, blocks) | Packet::ReceiverReport { blocks, .. } = packet {
                    let _ = blocks.count();
                }
            }
            let _ = sender(&bytes);
        }
    }

    /// RFC 3550 appendix A.2.
    #[test]
    fn lengths_and_counts_are_checked() {
        fn first(bytes: &[u8]) -> Result<Packet<'_>, Error> {
            Packets::new(bytes).next().unwrap()
        }
        assert_eq!(first(&[0x80, 200, 0]), Err(Error::Truncated));
        assert_eq!(first(&[0x80, 200, 0, 1, 0, 0, 0]), Err(Error::Truncated));
        assert_eq!(first(&[0x80, 200, 0, 1, 0, 0, 0, 1]), Err(Error::Truncated));
        assert_eq!(first(&[0x81, 201, 0, 1, 0, 0, 0, 1]), Err(Error::Truncated));
        assert_eq!(first(&[0x82, 203, 0, 1, 0, 0, 0, 1]), Err(Error::Truncated));
        assert_eq!(first(&[0x40, 201, 0, 1, 0, 0, 0, 1]), Err(Error::Version));
        assert_eq!(
            first(&[0x80, 100, 0, 1, 0, 0, 0, 1]),
            Err(Error::PacketType)
        );
        assert_eq!(first(&[0xa0, 203, 0, 1, 0, 0, 0, 5]), Err(Error::Padding));
        assert_eq!(first(&[0x80, 203, 0, 0]), Ok(Packet::Bye { ssrc: None }));
        assert_eq!(sender(&[0x80, 200, 0, 1, 0, 0, 0]), Err(Error::Truncated));
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut buffer = [0; 31];
        let mut writer = Writer::new(&mut buffer);
        writer.sender_report(&SenderInfo::default(), &[ReportBlock::default()]);
        writer.sender_report(&SenderInfo::default(), &[]);
        writer.bye(1);
        assert_eq!(writer.finish().len(), 28);
    }
}
