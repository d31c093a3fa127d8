//! How good what a party sends sounds where we hear it.

use std::fmt;

use codec::Codec;
use rtp::emodel::{self, Conditions, Equipment};
use rtp::rtcp::{Blocks, Packet, Packets};
use rtp::xr::VoipMetrics;
use rtp::{Header, Jitter};

use crate::{Payload, PayloadKind, SideStats};

/// What listeners would say of a stream on average, from 1 (bad) to 4.5, in hundredths.
///
/// # Source
/// ITU-T G.107, P.800.1: a listening quality reckoned from the network (MOS-CQE).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Mos(u16);

impl Mos {
    /// In hundredths.
    #[must_use]
    pub const fn hundredths(self) -> u16 {
        self.0
    }

    /// What they would say of this codec when so large a share of packets (0 to 1) is missing and the jitter is so
    /// many milliseconds, and the network takes no time. None: the codec has no figures.
    #[must_use]
    pub fn reckon(codec: Codec, loss: f32, jitter_ms: f32) -> Option<Self> {
        let delay_ms = ENDS_MS + 2.0 * jitter_ms;
        let conditions = Conditions { delay_ms, loss };
        Some(Self::of(equipment(codec)?, conditions))
    }

    fn of(equipment: Equipment, conditions: Conditions) -> Self {
        let opinion = emodel::mos(emodel::rating(equipment, conditions));
        Self((opinion * 100.0).round() as u16)
    }
}

impl fmt::Display for Mos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// What a party says about what it receives of us, in its RTCP.
///
/// # Source
/// RFC 3550 §6.4.1
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reported {
    /// Packets that it misses.
    pub lost: i32,
    /// The share that it has missed lately, in 1/256.
    pub fraction_lost: u8,
    /// Interarrival jitter in microseconds.
    pub jitter_us: u32,
}

/// Follows what one side sends. What each packet needs comes first.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Quality {
    stream: Option<Stream>,
    ssrc: u32,
    jitter: Jitter,
    /// In microseconds.
    worst_jitter: u32,
    /// Sender reports that the side was sent last.
    reports: [Option<Sent>; REPORTS],
    next_report: usize,
    /// In milliseconds.
    round_trip: Option<u32>,
    reported: Option<Reported>,
    /// Sum and number of the opinions so far.
    opinions: (u64, u64),
    worst: Option<Mos>,
    /// Packets and losses at the end of the last interval, and when that was.
    counted: (u64, u64),
    looked: u64,
    /// A payload type that means nothing, and how often it came in a row.
    strange: Option<(u8, u32)>,
}

/// A sender report: the middle of its NTP time, and when it went, in milliseconds that begin anew after 49 days.
#[derive(Clone, Copy, Debug)]
struct Sent {
    ntp: u32,
    at: u32,
}

/// The sound that is sent.
#[derive(Clone, Copy, Debug)]
struct Stream {
    number: u8,
    codec: Codec,
    /// Ticks of the RTP clock in a millisecond.
    clock: u32,
}

impl Quality {
    /// Counts a packet of the party, whose `payloads` mean something; they are asked for when their type changes.
    pub(crate) fn note<'p>(
        &mut self,
        header: &Header,
        payloads: impl FnOnce() -> &'p [Payload],
        now: u64,
    ) {
        if self
            .stream
            .is_none_or(|stream| stream.number != header.payload_type)
            && !self.change(header.payload_type, payloads())
        {
            return;
        }
        let Some(stream) = self.stream else { return };
        if self.ssrc != header.ssrc {
            (self.ssrc, self.jitter) = (header.ssrc, Jitter::default());
        }
        let arrival = (now as u32).wrapping_mul(stream.clock);
        self.jitter.update(arrival, header.timestamp);
        self.worst_jitter = self.worst_jitter.max(self.jitter_us());
    }

    /// Finds out what another payload type means; false if it is no sound.
    fn change(&mut self, number: u8, payloads: &[Payload]) -> bool {
        let Some(payload) = payloads.iter().find(|payload| payload.number == number) else {
            let count = match self.strange {
                Some((before, count)) if before == number => count,
                _ => 0,
            };
            self.strange = Some((number, count.saturating_add(1)));
            return false;
        };
        self.strange = None;
        let PayloadKind::Codec(codec, _) = payload.kind else {
            return false;
        };
        let clock = (codec.clock() / 1000).max(1);
        if self.stream.is_some_and(|stream| stream.clock != clock) {
            self.jitter = Jitter::default();
        }
        self.stream = Some(Stream {
            number,
            codec,
            clock,
        });
        true
    }

    /// A payload type that was never agreed and of which `least` packets have come in a row.
    pub(crate) fn strange(&self, least: u32) -> Option<u8> {
        self.strange
            .filter(|(_, count)| *count >= least)
            .map(|(number, _)| number)
    }

    /// The codec of what is sent.
    pub(crate) fn codec(&self) -> Option<Codec> {
        self.stream.map(|stream| stream.codec)
    }

    /// The payload type of what is sent, and the ticks in a millisecond of its clock.
    pub(crate) fn stream(&self) -> Option<(u8, u32)> {
        self.stream.map(|stream| (stream.number, stream.clock))
    }

    /// Sixteen times the jitter, in ticks.
    pub(crate) fn jitter(&self) -> u32 {
        self.jitter.scaled()
    }

    /// Somebody else has gone on measuring the jitter: sixteen times what it is and what it was at most, in ticks.
    pub(crate) fn measured(&mut self, [jitter, worst]: [u32; 2]) {
        let clock = self.stream.map_or(8, |stream| stream.clock);
        self.jitter = Jitter::resumed(jitter);
        self.worst_jitter = self.worst_jitter.max(microseconds(worst >> 4, clock));
    }

    /// Looks at RTCP that goes to the party.
    pub(crate) fn told(&mut self, datagram: &[u8], now: u64) {
        for packet in Packets::new(datagram).flatten() {
            if let Packet::SenderReport(info, _) = packet {
                let ntp = (info.ntp >> 16) as u32;
                self.reports[self.next_report] = Some(Sent {
                    ntp,
                    at: now as u32,
                });
                self.next_report = (self.next_report + 1) % REPORTS;
            }
        }
    }

    /// Looks at RTCP of the party. What is about no report that it was sent is not believed: it may be
    /// protected with keys that we do not have.
    pub(crate) fn hear(&mut self, datagram: &[u8], now: u64) {
        for packet in Packets::new(datagram).flatten() {
            match packet {
                Packet::SenderReport(_, blocks) | Packet::ReceiverReport { blocks, .. } => {
                    self.read(blocks, now);
                }
                _ => {}
            }
        }
    }

    /// # Source
    /// RFC 3550 §6.4.1: the round trip is what is left of the time since a report when the time
    /// that it lay at the receiver is taken away.
    fn read(&mut self, blocks: Blocks<'_>, now: u64) {
        for block in blocks {
            let mut reports = self.reports.iter().flatten();
            let Some(sent) = reports.find(|sent| sent.ntp == block.last_report) else {
                continue;
            };
            let lay = (u64::from(block.delay) * 1000) >> 16;
            let since = (now as u32).wrapping_sub(sent.at);
            self.round_trip = Some(since.saturating_sub(lay as u32));
            let clock = self.stream.map_or(8, |stream| stream.clock);
            self.reported = Some(Reported {
                lost: block.lost,
                fraction_lost: block.fraction_lost,
                jitter_us: microseconds(block.jitter, clock),
            });
        }
    }

    /// What the party says that it misses of what it is sent, in percent.
    pub(crate) fn missed(&self) -> Option<u8> {
        let reported = self.reported?;
        Some((u32::from(reported.fraction_lost) * 100 / 256) as u8)
    }

    /// Forms an opinion of the last interval if that is over, or if it is the `last`, from what has been
    /// received since the beginning.
    pub(crate) fn judge(&mut self, packets: u64, lost: u64, last: bool, now: u64) {
        if !last && now.saturating_sub(self.looked) < INTERVAL_MS {
            return;
        }
        self.looked = now;
        let received = packets.saturating_sub(self.counted.0);
        let missing = lost.saturating_sub(self.counted.1);
        self.counted = (packets, lost);
        let expected = received + missing;
        if received == 0 || expected < LEAST {
            return;
        }
        let Some(equipment) = self.codec().and_then(equipment) else {
            return;
        };
        let jitter_ms = self.jitter_us() as f32 / 1000.0;
        let conditions = Conditions {
            delay_ms: self.round_trip.unwrap_or(0) as f32 / 2.0 + ENDS_MS + 2.0 * jitter_ms,
            loss: missing as f32 / expected as f32,
        };
        let mos = Mos::of(equipment, conditions);
        self.opinions.0 += u64::from(mos.0);
        self.opinions.1 += 1;
        self.worst = Some(self.worst.map_or(mos, |worst| worst.min(mos)));
    }

    /// Adds what is known to `stats`.
    pub(crate) fn report(&self, stats: &mut SideStats) {
        stats.jitter_us = self.jitter_us();
        stats.worst_jitter_us = self.worst_jitter;
        stats.round_trip_ms = self.round_trip;
        stats.reported = self.reported;
        let average = self.opinions.0.checked_div(self.opinions.1);
        stats.mos = average.map(|mos| Mos(mos as u16));
        stats.worst_mos = self.worst;
    }

    /// The same for the party, by an extended report about its stream `ssrc`, of which so many packets
    /// have come and are missing.
    ///
    /// # Source
    /// RFC 3611 §4.7
    pub(crate) fn metrics(&self, ssrc: Option<u32>, packets: u64, lost: u64) -> VoipMetrics {
        let expected = (packets + lost).max(1);
        let tenths = |mos: Mos| u8::try_from(mos.0 / 10).unwrap_or(u8::MAX);
        let mut stats = SideStats::default();
        self.report(&mut stats);
        let mut metrics = VoipMetrics {
            ssrc: ssrc.unwrap_or(0),
            loss_rate: (lost * 256 / expected).min(255) as u8,
            round_trip_ms: self.round_trip.unwrap_or(0).min(0xffff) as u16,
            ..VoipMetrics::default()
        };
        if let Some(mos) = stats.mos {
            metrics.listening_mos = tenths(mos);
            metrics.conversational_mos = tenths(mos);
        }
        metrics
    }

    fn jitter_us(&self) -> u32 {
        let clock = self.stream.map_or(8, |stream| stream.clock);
        microseconds(self.jitter.estimate(), clock)
    }
}

fn microseconds(ticks: u32, per_ms: u32) -> u32 {
    u32::try_from(u64::from(ticks) * 1000 / u64::from(per_ms.max(1))).unwrap_or(u32::MAX)
}

/// What a codec takes away, and how it bears losses.
///
/// The scale ends with the telephone's band (R up to 93.2), so codecs that carry more are taken as transparent on it.
///
/// | figures | for |
/// |---|---|
/// | measured | G.711 with concealment (packets of 10 ms), G.729A with VAD (20 ms), G.723.1 at 6.3 kbit/s with VAD (30 ms), AMR at 12.2 kbit/s, which is GSM-EFR (20 ms); the Ie of GSM-FR |
/// | assumed | slower modes of AMR: as the fastest; the Bpl of GSM-FR: that of GSM-EFR; L16, which we conceal as we do G.711: as that; iLBC, which makes no frame depend on the one before: the Ie of G.729A and the Bpl of G.711 |
/// | fitted | AMR-WB: the Bpl that takes of this scale what losses take at 12.65 kbit/s on the scale of G.107.1, which goes on above it (R up to 129, Ie,wb 13, Bpl,wb 4.3), to within 6 of R up to a tenth lost |
/// | guessed | G.722 and Opus, of which G.113 does not say how they bear losses: as AMR-WB |
///
/// # Source
/// ITU-T G.113 Appendix I, tables I.1 (Ie) and I.4 (Ie, Bpl; table I.3 in the edition of 2002); Appendix IV, tables
/// IV.1 and IV.4 (AMR-WB)
const fn equipment(codec: Codec) -> Option<Equipment> {
    let (impairment, robustness) = match codec {
        Codec::Pcmu | Codec::Pcma | Codec::L16 { .. } => (0.0, 25.1),
        Codec::G729 => (11.0, 19.0),
        Codec::G7231 => (15.0, 16.1),
        Codec::AmrNb => (5.0, 10.0),
        Codec::Gsm => (20.0, 10.0),
        Codec::Ilbc => (11.0, 25.1),
        Codec::G722 | Codec::Opus | Codec::AmrWb => (0.0, 20.0),
        _ => return None,
    };
    Some(Equipment {
        impairment,
        robustness,
    })
}

/// Sender reports that are remembered: an answer refers to one of the last.
const REPORTS: usize = 4;
/// How often an opinion is formed, in milliseconds.
const INTERVAL_MS: u64 = 5000;
/// Fewer packets say nothing.
const LEAST: u64 = 25;
/// Delay at both ends: a packet is filled, and played out of a small buffer. In milliseconds.
const ENDS_MS: f32 = 60.0;

#[cfg(test)]
mod tests {
    use codec::Parameters;
    use proptest::prelude::*;
    use rtp::rtcp::{ReportBlock, SenderInfo, Writer};

    use super::*;

    fn payloads() -> Vec<Payload> {
        let payload = |number, kind| Payload {
            number,
            kind,
            ptime: 20,
        };
        vec![
            payload(0, PayloadKind::Codec(Codec::Pcmu, Parameters::default())),
            payload(101, PayloadKind::TelephoneEvent { clock: 8000 }),
        ]
    }

    fn header(n: u32, payload_type: u8) -> Header {
        Header {
            payload_type,
            sequence: n as u16,
            timestamp: n * 160,
            ssrc: 9,
            ..Header::default()
        }
    }

    /// 500 packets that come so many milliseconds late in turns.
    fn heard(late: u64) -> Quality {
        let (mut quality, payloads) = (Quality::default(), payloads());
        for n in 0..500 {
            let now = 1000 + u64::from(n) * 20 + u64::from(n % 2) * late;
            quality.note(&header(n, 0), || &payloads, now);
            // An event keeps its timestamp, which is no jitter.
            let event = Header {
                timestamp: 0,
                ..header(n, 101)
            };
            quality.note(&event, || &payloads, now);
        }
        quality
    }

    /// RFC 3550 §6.4.1: jitter in time, whatever the clock.
    #[test]
    fn rfc3550_6_4_1_jitter_is_measured() {
        assert_eq!(heard(0).jitter_us(), 0);
        let jitter = heard(10).jitter_us();
        assert!((9000..=10_500).contains(&jitter), "{jitter}");
    }

    #[test]
    fn opinions_follow_losses_and_short_intervals_say_nothing() {
        let mut quality = heard(0);
        let mut stats = SideStats::default();
        quality.judge(24, 0, true, 0);
        quality.report(&mut stats);
        assert_eq!(stats.mos, None);
        quality.judge(274, 0, false, 5000);
        quality.judge(300, 0, false, 5100);
        quality.report(&mut stats);
        assert_eq!(stats.mos.unwrap().to_string(), "4.38");
        quality.judge(474, 50, false, 10_000);
        quality.report(&mut stats);
        let (average, worst) = (stats.mos.unwrap(), stats.worst_mos.unwrap());
        assert!(worst < average && worst.hundredths() < 320, "{worst}");
    }

    /// RFC 3550 §6.4.1, figure 2.
    #[test]
    fn rfc3550_6_4_1_the_round_trip_is_what_the_receiver_did_not_wait() {
        let mut quality = heard(0);
        let mut buffer = [0; 256];
        let mut writer = Writer::new(&mut buffer);
        let info = SenderInfo {
            ntp: 0x1122_3344_5566_7788,
            ..SenderInfo::default()
        };
        writer.sender_report(&info, &[]);
        quality.told(writer.finish(), 20_000);
        let block = ReportBlock {
            lost: 5,
            jitter: 80,
            last_report: 0x3344_5566,
            delay: 2 << 16,
            ..ReportBlock::default()
        };
        let answer = |quality: &mut Quality, block: ReportBlock| {
            let mut buffer = [0; 256];
            let mut writer = Writer::new(&mut buffer);
            writer.receiver_report(9, &[block]);
            quality.hear(writer.finish(), 22_130);
        };
        let odd = ReportBlock {
            last_report: 7,
            ..block
        };
        answer(&mut quality, odd);
        assert_eq!(quality.round_trip, None);
        answer(&mut quality, block);
        assert_eq!(quality.round_trip, Some(130));
        let reported = quality.reported.unwrap();
        assert_eq!((reported.lost, reported.jitter_us), (5, 10_000));
        let missed = u32::from(reported.fraction_lost) * 100 / 256;
        assert_eq!(quality.missed().map(u32::from), Some(missed));
    }

    #[test]
    fn payload_types_that_nobody_agreed_to_show() {
        let (mut quality, payloads) = (heard(0), payloads());
        (0..50).for_each(|n| quality.note(&header(n, 18), || &payloads, 0));
        assert_eq!((quality.strange(50), quality.strange(51)), (Some(18), None));
    }

    #[test]
    fn an_opinion_is_reckoned_from_loss_and_jitter() {
        let mos = |loss, jitter| Mos::reckon(Codec::Pcmu, loss, jitter).unwrap();
        assert_eq!(mos(0.0, 0.0).to_string(), "4.38");
        assert!(mos(0.05, 0.0) < mos(0.0, 0.0) && mos(0.0, 100.0) < mos(0.0, 0.0));
        assert!(Mos::reckon(Codec::G729, 0.0, 0.0) < Mos::reckon(Codec::Pcma, 0.0, 0.0));
    }

    /// The rating of a codec after so many milliseconds, when so many percent are lost.
    fn rated(codec: Codec, delay_ms: f32, percent: f32) -> f32 {
        let loss = percent / 100.0;
        emodel::rating(equipment(codec).unwrap(), Conditions { delay_ms, loss })
    }

    /// ITU-T G.113 Appendix I (09/1999), tables I.2 and I.3: the impairment that was measured at so many percent of
    /// random loss, to which the figures of later editions were fitted.
    #[test]
    fn itu_g113_appendix_i_losses_cost_what_was_measured() {
        for (codec, percent, measured, within) in [
            (Codec::G729, 0.0, 11.0, 0.1),
            (Codec::G729, 2.0, 19.0, 0.1),
            (Codec::G729, 8.0, 36.0, 0.5),
            (Codec::G729, 16.0, 49.0, 0.5),
            (Codec::G7231, 0.0, 15.0, 0.1),
            (Codec::G7231, 16.0, 55.0, 1.0),
            (Codec::AmrNb, 0.0, 5.0, 0.1),
            (Codec::AmrNb, 5.0, 33.0, 2.1),
            (Codec::Pcmu, 1.0, 5.0, 1.5),
            (Codec::Pcma, 5.0, 15.0, 1.0),
            (Codec::Pcmu, 10.0, 25.0, 2.2),
        ] {
            let impairment = 93.2 - rated(codec, 0.0, percent);
            let off = (impairment - measured).abs();
            assert!(off <= within, "{codec:?} {percent} %: {impairment}");
        }
    }

    /// 2 % lost and 150 ms from mouth to ear: an example of a lecture at the technical university of Ostrava (Rozhon,
    /// Vozňák), with the whole of G.107.
    #[test]
    fn an_example_that_others_reckoned_comes_out() {
        for (codec, rating, opinion) in [(Codec::G729, 70.5, 3.62), (Codec::Pcma, 82.5, 4.12)] {
            let rated = rated(codec, 150.0, 2.0);
            assert!((rated - rating).abs() < 0.3, "{codec:?}: {rated}");
            let mos = emodel::mos(rated);
            assert!((mos - opinion).abs() < 0.011, "{codec:?}: {mos}");
        }
    }

    /// ITU-T G.107.1 with the figures of G.113 tables IV.1 and IV.4 for 12.65 kbit/s; what is above the telephone's
    /// scale is its end.
    #[test]
    fn itu_g107_1_amr_wb_bears_losses_as_on_the_wider_scale() {
        for percent in 0..=10u8 {
            let percent = f32::from(percent);
            let wider = 129.0 - 13.0 - (95.0 - 13.0) * percent / (percent + 4.3);
            let off = rated(Codec::AmrWb, 0.0, percent) - wider.min(93.2);
            assert!(off.abs() < 6.0, "{percent} %: {off}");
        }
    }

    proptest! {
        #[test]
        fn any_rtcp_is_survived(datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20)) {
            let mut quality = heard(0);
            for mut datagram in datagrams {
                if let [first, second, third, ..] = &mut datagram[..] {
                    (*first, *second, *third) = (0x81, 200 | *second & 1, 0);
                }
                quality.told(&datagram, 5);
                quality.hear(&datagram, 3);
                quality.judge(7, 1 << 40, false, u64::MAX);
            }
        }
    }
}
