//! Extended reports: what RTCP's own reports leave out.
//!
//! # Source
//! RFC 3611

use crate::rtcp::Writer;

/// The packet type.
pub const PACKET_TYPE: u8 = 207;

/// The report blocks of one packet, in order. Ends at the first damaged one.
#[derive(Clone, Copy, Debug)]
pub struct Blocks<'a> {
    rest: &'a [u8],
}

impl<'a> Blocks<'a> {
    /// Reads a packet with its header, as [`rtcp::Packet::Other`](crate::rtcp::Packet::Other) has it.
    /// Nothing is in a packet of another type.
    ///
    /// # Source
    /// RFC 3611 §2
    #[must_use]
    pub fn new(packet: &'a [u8]) -> Self {
        let rest = match packet {
            [_, PACKET_TYPE, _, _, _, _, _, _, rest @ ..] => rest,
            _ => &[],
        };
        Self { rest }
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    /// # Source
    /// RFC 3611 §3: type, what depends on it, and the length in words; unknown types are passed over.
    fn next(&mut self) -> Option<Block<'a>> {
        loop {
            let (head, rest) = self.rest.split_first_chunk::<4>()?;
            let len = 4 * usize::from(u16::from_be_bytes([head[2], head[3]]));
            let Some((body, rest)) = rest.split_at_checked(len) else {
                self.rest = &[];
                return None;
            };
            self.rest = rest;
            if let Some(block) = Block::parse(head[0], body) {
                return Some(block);
            }
        }
    }
}

/// One report block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Block<'a> {
    /// When the sender, which may send no RTP, sent this: NTP time.
    ///
    /// # Source
    /// RFC 3611 §4.4
    ReceiverTime(u64),
    /// What lets those who sent [`ReceiverTime`](Self::ReceiverTime) reckon the round trip.
    ///
    /// # Source
    /// RFC 3611 §4.5
    Delays(Delays<'a>),
    /// How a call sounds.
    ///
    /// # Source
    /// RFC 3611 §4.7
    Voip(VoipMetrics),
}

impl<'a> Block<'a> {
    fn parse(kind: u8, body: &'a [u8]) -> Option<Self> {
        Some(match kind {
            RECEIVER_TIME => Self::ReceiverTime(u64::from_be_bytes(*body.first_chunk()?)),
            DELAYS => Self::Delays(Delays(body.as_chunks().0)),
            VOIP => Self::Voip(VoipMetrics::parse(body.first_chunk()?)),
            _ => return None,
        })
    }
}

/// The entries of a block about receivers' times.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delays<'a>(&'a [[u8; DELAY_LEN]]);

impl Iterator for Delays<'_> {
    type Item = Delay;

    fn next(&mut self) -> Option<Delay> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        let word = |at: usize| {
            u32::from_be_bytes([first[at], first[at + 1], first[at + 2], first[at + 3]])
        };
        Some(Delay {
            ssrc: word(0),
            last_report: word(4),
            delay: word(8),
        })
    }
}

/// What is known of one receiver's last time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Delay {
    /// The receiver.
    pub ssrc: u32,
    /// The middle 32 bits of the NTP time that it sent; 0: none came.
    pub last_report: u32,
    /// Time since then in 1/65536 seconds.
    pub delay: u32,
}

/// How a call sounds to the sender of the report. Rates and densities are in 1/256, times in
/// milliseconds, levels in dBm; 127 stands for what is not known of levels, ratings and opinions.
///
/// # Source
/// RFC 3611 §4.7
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VoipMetrics {
    /// The source that it is about.
    pub ssrc: u32,
    /// Share of packets lost since the beginning.
    pub loss_rate: u8,
    /// Share of packets that came too late or too early to be played.
    pub discard_rate: u8,
    /// Share of what is missing during bursts, and between them.
    pub burst_density: u8,
    /// See above.
    pub gap_density: u8,
    /// Mean length of bursts, and of what is between.
    pub burst_ms: u16,
    /// See above.
    pub gap_ms: u16,
    /// Between the RTP interfaces of both ends and back; 0: not known.
    pub round_trip_ms: u16,
    /// Within the reporting end.
    pub end_delay_ms: u16,
    /// Level of speech, and of noise.
    pub signal_level: i8,
    /// See above.
    pub noise_level: i8,
    /// Residual echo return loss in decibels.
    pub echo_loss: u8,
    /// Packets without loss that end a burst.
    pub gap_least: u8,
    /// The rating by the E-model, 0 to 100, of this segment, and of another that the call crosses.
    pub rating: u8,
    /// See above.
    pub outer_rating: u8,
    /// The opinion of listeners, and of talkers, in tenths: 10 to 50.
    pub listening_mos: u8,
    /// See above.
    pub conversational_mos: u8,
    /// How losses are concealed, and how the jitter buffer works.
    pub configuration: u8,
    /// Delay of the jitter buffer: now, for what comes without jitter, at most.
    pub buffer_ms: u16,
    /// See above.
    pub buffer_max_ms: u16,
    /// See above.
    pub buffer_limit_ms: u16,
}

impl Default for VoipMetrics {
    fn default() -> Self {
        Self {
            ssrc: 0,
            loss_rate: 0,
            discard_rate: 0,
            burst_density: 0,
            gap_density: 0,
            burst_ms: 0,
            gap_ms: 0,
            round_trip_ms: 0,
            end_delay_ms: 0,
            signal_level: UNKNOWN as i8,
            noise_level: UNKNOWN as i8,
            echo_loss: UNKNOWN,
            gap_least: 16,
            rating: UNKNOWN,
            outer_rating: UNKNOWN,
            listening_mos: UNKNOWN,
            conversational_mos: UNKNOWN,
            configuration: 0,
            buffer_ms: 0,
            buffer_max_ms: 0,
            buffer_limit_ms: 0,
        }
    }
}

impl VoipMetrics {
    fn parse(b: &[u8; VOIP_LEN]) -> Self {
        let half = |at: usize| u16::from_be_bytes([b[at], b[at + 1]]);
        Self {
            ssrc: u32::from_be_bytes([b[0], b[1], b[2], b[3]]),
            loss_rate: b[4],
            discard_rate: b[5],
            burst_density: b[6],
            gap_density: b[7],
            burst_ms: half(8),
            gap_ms: half(10),
            round_trip_ms: half(12),
            end_delay_ms: half(14),
            signal_level: b[16] as i8,
            noise_level: b[17] as i8,
            echo_loss: b[18],
            gap_least: b[19],
            rating: b[20],
            outer_rating: b[21],
            listening_mos: b[22],
            conversational_mos: b[23],
            configuration: b[24],
            buffer_ms: half(26),
            buffer_max_ms: half(28),
            buffer_limit_ms: half(30),
        }
    }

    fn encode(&self, b: &mut [u8; VOIP_LEN]) {
        b.fill(0);
        b[..4].copy_from_slice(&self.ssrc.to_be_bytes());
        b[4..8].copy_from_slice(&[
            self.loss_rate,
            self.discard_rate,
            self.burst_density,
            self.gap_density,
        ]);
        b[8..10].copy_from_slice(&self.burst_ms.to_be_bytes());
        b[10..12].copy_from_slice(&self.gap_ms.to_be_bytes());
        b[12..14].copy_from_slice(&self.round_trip_ms.to_be_bytes());
        b[14..16].copy_from_slice(&self.end_delay_ms.to_be_bytes());
        b[16..25].copy_from_slice(&[
            self.signal_level as u8,
            self.noise_level as u8,
            self.echo_loss,
            self.gap_least,
            self.rating,
            self.outer_rating,
            self.listening_mos,
            self.conversational_mos,
            self.configuration,
        ]);
        b[26..28].copy_from_slice(&self.buffer_ms.to_be_bytes());
        b[28..30].copy_from_slice(&self.buffer_max_ms.to_be_bytes());
        b[30..32].copy_from_slice(&self.buffer_limit_ms.to_be_bytes());
    }
}

impl Writer<'_> {
    /// Appends an extended report of `ssrc` about the receivers' times that have come, if any has, at
    /// most 31 of them.
    ///
    /// # Source
    /// RFC 3611 §4.5
    pub fn delays(&mut self, ssrc: u32, delays: &[Delay]) {
        let delays = &delays[..delays.len().min(31)];
        if delays.is_empty() {
            return;
        }
        let words = |delay: &Delay| [delay.ssrc, delay.last_report, delay.delay];
        let bytes = delays.iter().flat_map(words).flat_map(u32::to_be_bytes);
        self.extended(ssrc, DELAYS, DELAY_LEN * delays.len(), |body| {
            body.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
        });
    }

    /// Appends an extended report of `ssrc` about how the call sounds.
    ///
    /// # Source
    /// RFC 3611 §4.7
    pub fn voip_metrics(&mut self, ssrc: u32, metrics: &VoipMetrics) {
        self.extended(ssrc, VOIP, VOIP_LEN, |body| {
            if let Some(body) = body.first_chunk_mut() {
                metrics.encode(body);
            }
        });
    }

    fn extended(&mut self, ssrc: u32, kind: u8, len: usize, fill: impl FnOnce(&mut [u8])) {
        if let Some(body) = self.packet(0, PACKET_TYPE, 8 + len) {
            body[..4].copy_from_slice(&ssrc.to_be_bytes());
            body[4..6].copy_from_slice(&[kind, 0]);
            body[6..8].copy_from_slice(&((len / 4) as u16).to_be_bytes());
            fill(&mut body[8..]);
        }
    }
}

const RECEIVER_TIME: u8 = 4;
const DELAYS: u8 = 5;
const VOIP: u8 = 7;
const DELAY_LEN: usize = 12;
const VOIP_LEN: usize = 32;
/// Of levels, ratings and opinions.
const UNKNOWN: u8 = 127;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rtcp::{Packet, Packets};

    proptest! {
        /// RFC 3611 §4.5, §4.7.
        #[test]
        fn rfc3611_4_7_what_is_written_reads_back(
            bytes in any::<[u8; VOIP_LEN]>(),
            entries in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u32>()), 1..31),
        ) {
            let metrics = VoipMetrics::parse(&bytes);
            let delay = |(ssrc, last_report, delay)| Delay { ssrc, last_report, delay };
            let delays: Vec<_> = entries.into_iter().map(delay).collect();
            let mut buffer = [0xff; 1024];
            let mut writer = Writer::new(&mut buffer);
            writer.receiver_report(7, &[]);
            writer.delays(7, &delays);
            writer.voip_metrics(7, &metrics);
            writer.delays(7, &[]);
            let packets: Vec<_> = Packets::new(writer.finish()).collect::<Result<_, _>>().unwrap();
            let [_, Packet::Other { bytes: one, .. }, Packet::Other { bytes: other, .. }] = packets[..] else {
                panic!("{packets:?}");
            };
            let heard: Vec<_> = Blocks::new(one).collect();
            let [Block::Delays(heard)] = heard[..] else { panic!("{heard:?}") };
            prop_assert_eq!(heard.collect::<Vec<_>>(), delays);
            prop_assert_eq!(Blocks::new(other).collect::<Vec<_>>(), [Block::Voip(metrics)]);
        }

        #[test]
        fn any_bytes_end_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 3u8..9, len in 0u8..12) {
            if bytes.len() > 12 {
                bytes[1] = PACKET_TYPE;
                (bytes[8], bytes[10], bytes[11]) = (kind, 0, len);
            }
            for block in Blocks::new(&bytes) {
                if let Block::Delays(delays) = block {
                    prop_assert!(delays.count() <= 17);
                }
            }
        }
    }

    /// RFC 3611 §3, §4.4: what is not known is passed over.
    #[test]
    fn rfc3611_4_4_a_receivers_time_is_found_behind_unknown_blocks() {
        let packet = [
            0x80, 207, 0, 7, 0, 0, 0, 9, // header, SSRC
            99, 0, 0, 1, 1, 2, 3, 4, // unknown
            4, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8, // time
            7, 0, 0, 8, // cut
        ];
        let blocks: Vec<_> = Blocks::new(&packet).collect();
        assert_eq!(blocks, [Block::ReceiverTime(0x0102_0304_0506_0708)]);
        assert_eq!(Blocks::new(&[0x80, 206, 0, 1, 0, 0, 0, 9]).count(), 0);
    }
}
