//! RTCP of the streams that we serve.

use std::time::{SystemTime, UNIX_EPOCH};

use base::Token;
use rtp::rtcp::{Packet, Packets, ReportBlock, SenderInfo, Writer};
use rtp::xr::{self, VoipMetrics};
use rtp::{Header, Jitter, Sequence};

/// Counts what a served stream sends and hears, and reports on it.
///
/// # Source
/// RFC 3550 §6.4; intervals are the usual 5 seconds, half to one and a half of it by chance
/// (§6.3.1), as one sender and one receiver use far less than their share.
#[derive(Debug)]
pub(crate) struct Reporter {
    ssrc: u32,
    cname: Token,
    /// Ticks of the RTP clock in a millisecond.
    pub(crate) clock: u32,
    packets: u32,
    octets: u32,
    /// Timestamp of a packet and when it was sent, in milliseconds.
    last: Option<(u32, u64)>,
    jitter: Jitter,
    /// The middle of the NTP time of the peer's last report, and when it came.
    heard: Option<(u32, u64)>,
    /// The same of the time that a peer without a stream of its own has sent, and who that is.
    time: Option<(u32, u32, u64)>,
    /// The peer tells by extended reports how the call sounds to it, so it is told as well.
    extended: bool,
    next: u64,
}

impl Reporter {
    pub(crate) fn new(ssrc: u32, cname: Token, clock: u32, now: u64) -> Self {
        let mut reporter = Self {
            ssrc,
            cname,
            clock,
            packets: 0,
            octets: 0,
            last: None,
            jitter: Jitter::default(),
            heard: None,
            time: None,
            extended: false,
            next: 0,
        };
        reporter.next = now + reporter.interval() / 2;
        reporter
    }

    /// Counts a packet that was sent.
    pub(crate) fn sent(&mut self, payload: usize, timestamp: u32, now: u64) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload as u32);
        self.last = Some((timestamp, now));
    }

    /// Counts a packet that was received, whose RTP clock has `clock` ticks in a millisecond.
    pub(crate) fn received(&mut self, header: &Header, clock: u32, now: u64) {
        let arrival = (now as u32).wrapping_mul(clock);
        self.jitter.update(arrival, header.timestamp);
    }

    /// Reads the peer's RTCP.
    pub(crate) fn hear(&mut self, datagram: &[u8], now: u64) {
        for packet in Packets::new(datagram).flatten() {
            match packet {
                Packet::SenderReport(info, _) => {
                    self.heard = Some(((info.ntp >> 16) as u32, now));
                }
                Packet::Other {
                    packet_type: xr::PACKET_TYPE,
                    bytes,
                } => self.hear_extended(bytes, now),
                _ => {}
            }
        }
    }

    /// # Source
    /// RFC 3611 §4.4, §4.7
    fn hear_extended(&mut self, packet: &[u8], now: u64) {
        let ssrc = packet.get(4..8).and_then(|ssrc| ssrc.try_into().ok());
        let ssrc = u32::from_be_bytes(ssrc.unwrap_or_default());
        for block in xr::Blocks::new(packet) {
            match block {
                xr::Block::ReceiverTime(ntp) => self.time = Some((ssrc, (ntp >> 16) as u32, now)),
                xr::Block::Voip(_) => self.extended = true,
                _ => {}
            }
        }
    }

    /// Whether the peer is told how the call sounds.
    pub(crate) fn is_extended(&self) -> bool {
        self.extended
    }

    /// Whether a report is due.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        now >= self.next
    }

    /// Writes a report. `peer` is what is received: its SSRC and sequence numbers; `metrics` is how that
    /// sounds. `last` adds a goodbye.
    pub(crate) fn write<'a>(
        &mut self,
        peer: Option<(u32, &mut Sequence)>,
        metrics: Option<&VoipMetrics>,
        last: bool,
        now: u64,
        buffer: &'a mut [u8],
    ) -> &'a [u8] {
        self.next = now + self.interval();
        let block = peer.map(|(ssrc, sequence)| self.block(ssrc, sequence, now));
        let blocks = block.as_slice();
        let mut writer = Writer::new(buffer);
        match self.sender_info(now) {
            Some(info) => writer.sender_report(&info, blocks),
            None => writer.receiver_report(self.ssrc, blocks),
        }
        writer.cname(self.ssrc, self.cname.as_str());
        if let Some((ssrc, last_report, at)) = self.time {
            let delay = since(at, now);
            let delay = xr::Delay {
                ssrc,
                last_report,
                delay,
            };
            writer.delays(self.ssrc, &[delay]);
        }
        if let Some(metrics) = metrics {
            writer.voip_metrics(self.ssrc, metrics);
        }
        if last {
            writer.bye(self.ssrc);
        }
        writer.finish()
    }

    /// Writes what is said at once, about the stream `theirs`: `write` is told our SSRC and that one.
    ///
    /// # Source
    /// RFC 4585 §3.1: feedback goes with a report and a name.
    pub(crate) fn feedback<'a>(
        &self,
        theirs: u32,
        write: impl FnOnce(&mut Writer<'_>, u32, u32),
        buffer: &'a mut [u8],
    ) -> &'a [u8] {
        let mut writer = Writer::new(buffer);
        writer.receiver_report(self.ssrc, &[]);
        writer.cname(self.ssrc, self.cname.as_str());
        write(&mut writer, self.ssrc, theirs);
        writer.finish()
    }

    fn sender_info(&self, now: u64) -> Option<SenderInfo> {
        let (timestamp, at) = self.last?;
        let since = now.saturating_sub(at) as u32;
        Some(SenderInfo {
            ssrc: self.ssrc,
            ntp: ntp_time(),
            timestamp: timestamp.wrapping_add(since.wrapping_mul(self.clock)),
            packets: self.packets,
            octets: self.octets,
        })
    }

    fn block(&self, ssrc: u32, sequence: &mut Sequence, now: u64) -> ReportBlock {
        let (last_report, delay) = match self.heard {
            Some((ntp, at)) => (ntp, since(at, now)),
            None => (0, 0),
        };
        ReportBlock {
            ssrc,
            fraction_lost: sequence.fraction_lost(),
            lost: sequence.lost().min(0x7f_ffff) as i32,
            highest: sequence.extended_highest(),
            jitter: self.jitter.estimate(),
            last_report,
            delay,
        }
    }

    /// Half to one and a half of 5 seconds, in milliseconds; by chance, but from what we have.
    fn interval(&self) -> u64 {
        let mixed = (self.ssrc ^ self.packets).wrapping_mul(0x9e37_79b9);
        2500 + u64::from(mixed >> 16) * 5000 / 65_536
    }
}

/// In 1/65536 seconds.
fn since(at: u64, now: u64) -> u32 {
    let delay = (u128::from(now.saturating_sub(at)) << 16) / 1000;
    u32::try_from(delay).unwrap_or(u32::MAX)
}

/// Wall-clock time: seconds since 1900 and their fraction.
fn ntp_time() -> u64 {
    const SECONDS_1900_TO_1970: u64 = 2_208_988_800;
    let unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let fraction = (u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000;
    (unix.as_secs() + SECONDS_1900_TO_1970) << 32 | fraction
}

#[cfg(test)]
mod tests {
    use base::{Mint, Slot};

    use super::*;

    fn reporter() -> Reporter {
        let token = Mint::new(Slot::new(0), [1; 32]).token();
        Reporter::new(7, token, 8, 0)
    }

    /// RFC 3550 §6.4, §6.4.1.
    #[test]
    fn a_sender_reports_what_it_sent_and_heard() {
        let mut reporter = reporter();
        (0..10).for_each(|n| reporter.sent(160, n * 160, u64::from(n) * 20));
        let mut theirs = [0; 64];
        let mut writer = Writer::new(&mut theirs);
        let info = SenderInfo {
            ssrc: 9,
            ntp: 0x1122_3344_5566_7788,
            ..SenderInfo::default()
        };
        writer.sender_report(&info, &[]);
        reporter.hear(writer.finish(), 500);
        let mut sequence = Sequence::new(10);
        [10, 11, 13].iter().for_each(|n| _ = sequence.update(*n));

        let mut buffer = [0; 256];
        let bytes = reporter.write(Some((9, &mut sequence)), None, true, 1500, &mut buffer);
        let packets: Vec<_> = Packets::new(bytes).collect::<Result<_, _>>().unwrap();
        let [
            Packet::SenderReport(info, mut blocks),
            _,
            Packet::Bye { ssrc: Some(7) },
        ] = packets[..]
        else {
            panic!("{packets:?}");
        };
        assert_eq!((info.packets, info.octets), (10, 1600));
        assert_eq!(info.timestamp, 9 * 160 + (1500 - 180) * 8);
        let block = blocks.next().unwrap();
        assert_eq!((block.ssrc, block.lost, block.fraction_lost), (9, 1, 64));
        assert_eq!((block.last_report, block.delay), (0x3344_5566, 65_536));
        assert!(!reporter.is_due(1500) && reporter.is_due(1500 + 7500));
    }

    #[test]
    fn who_sends_nothing_reports_as_receiver() {
        let mut buffer = [0; 256];
        let mut reporter = reporter();
        let bytes = reporter.write(None, None, false, 0, &mut buffer);
        let first = Packets::new(bytes).next().unwrap().unwrap();
        assert!(matches!(first, Packet::ReceiverReport { ssrc: 7, .. }));
    }

    #[test]
    fn damaged_reports_are_ignored() {
        let mut reporter = reporter();
        reporter.hear(&[0x80, 200, 0, 99, 1, 2, 3], 0);
        assert_eq!(reporter.heard, None);
    }

    /// RFC 3611 §4.5, §4.7: a receiver's time is answered, and metrics are told to who tells some.
    #[test]
    fn rfc3611_4_5_extended_reports_are_answered_in_kind() {
        let mut reporter = reporter();
        let mut theirs = [0; 128];
        let mut writer = Writer::new(&mut theirs);
        writer.receiver_report(9, &[]);
        writer.voip_metrics(9, &VoipMetrics::default());
        reporter.hear(writer.finish(), 400);
        assert!(reporter.is_extended());
        let time = [
            0x80, 207, 0, 4, 0, 0, 0, 9, 4, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8,
        ];
        reporter.hear(&time, 500);

        let mut buffer = [0; 256];
        let metrics = VoipMetrics {
            ssrc: 9,
            listening_mos: 44,
            ..VoipMetrics::default()
        };
        let bytes = reporter.write(None, Some(&metrics), false, 1500, &mut buffer);
        let packets: Vec<_> = Packets::new(bytes).collect::<Result<_, _>>().unwrap();
        let [
            _,
            _,
            Packet::Other { bytes: times, .. },
            Packet::Other { bytes: told, .. },
        ] = packets[..]
        else {
            panic!("{packets:?}");
        };
        let mut blocks = xr::Blocks::new(times);
        let Some(xr::Block::Delays(mut delays)) = blocks.next() else {
            panic!("{times:?}");
        };
        let expected = xr::Delay {
            ssrc: 9,
            last_report: 0x0304_0506,
            delay: 65_536,
        };
        assert_eq!(delays.next(), Some(expected));
        assert_eq!(xr::Blocks::new(told).next(), Some(xr::Block::Voip(metrics)));
    }
}
