//! RTCP of the streams that we serve.

use std::time::{SystemTime, UNIX_EPOCH};

use base::Token;
use rtp::rtcp::{Packet, Packets, ReportBlock, SenderInfo, Writer};
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
            if let Packet::SenderReport(info, _) = packet {
                self.heard = Some(((info.ntp >> 16) as u32, now));
            }
        }
    }

    /// Whether a report is due.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        now >= self.next
    }

    /// Writes a report. `peer` is what is received: its SSRC and sequence numbers. `last` adds a
    /// goodbye.
    pub(crate) fn write<'a>(
        &mut self,
        peer: Option<(u32, &mut Sequence)>,
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
        if last {
            writer.bye(self.ssrc);
        }
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
            Some((ntp, at)) => (ntp, (now.saturating_sub(at) << 16) / 1000),
            None => (0, 0),
        };
        ReportBlock {
            ssrc,
            fraction_lost: sequence.fraction_lost(),
            lost: sequence.lost().min(0x7f_ffff) as i32,
            highest: sequence.extended_highest(),
            jitter: self.jitter.estimate(),
            last_report,
            delay: delay as u32,
        }
    }

    /// Half to one and a half of 5 seconds, in milliseconds; by chance, but from what we have.
    fn interval(&self) -> u64 {
        let mixed = (self.ssrc ^ self.packets).wrapping_mul(0x9e37_79b9);
        2500 + u64::from(mixed >> 16) * 5000 / 65_536
    }
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
        let bytes = reporter.write(Some((9, &mut sequence)), true, 1500, &mut buffer);
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
        let bytes = reporter.write(None, false, 0, &mut buffer);
        let first = Packets::new(bytes).next().unwrap().unwrap();
        assert!(matches!(first, Packet::ReceiverReport { ssrc: 7, .. }));
    }

    #[test]
    fn damaged_reports_are_ignored() {
        let mut reporter = reporter();
        reporter.hear(&[0x80, 200, 0, 99, 1, 2, 3], 0);
        assert_eq!(reporter.heard, None);
    }
}
